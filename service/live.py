"""Transcribe audio while it is being spoken, without a server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ossicle.model.decoding.decoders import DecodingConfig

from .engine import Engine
from .session import Event, Final, Partial, SessionConfig
from .transcribe import written_alternatives, written_words
from .values import Result

if TYPE_CHECKING:
    from ossicle.data.audio import Samples
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.runtime import AcousticModel

# The consumer looks up this often, so that Ctrl-C is noticed on every system.
_WAIT_SECONDS = 0.5


def live(
    blocks: Iterable[Samples],
    model: AcousticModel,
    decoding: Decoding | None = None,
    search: DecodingConfig | None = None,
) -> Iterator[Result]:
    """The results that a server would give for a stream of samples, partial ones included.

    The blocks are read in a thread of their own. An exception that they raise is raised here.

    Args:
        blocks: samples (N,) at the model's rate, in pieces of any length.
        model: the model; no one else may use it meanwhile.
        decoding: what the model has for decoding; None for its tokens alone.
        search: how transcripts are searched for; None for the model's default.

    Yields:
        Any number of partial results and one final result for each utterance.

    Raises:
        EngineStopped: the model failed.
        ValueError: the model cannot be decoded so.
    """
    results: queue.SimpleQueue[Result | Exception | None] = queue.SimpleQueue()

    def tell(events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Partial | Final):
                results.put(_result(event))

    def feed() -> None:
        try:
            for block in blocks:
                stream.wait_for_room()
                stream.write(block)
        except Exception as error:
            results.put(error)
        finally:
            stream.close()

    engine = Engine(model, decoding, slots=1)
    config = SessionConfig(interim_results=True, decoding=search or DecodingConfig())
    stream = engine.open(config, tell, results.put)
    engine.start()
    threading.Thread(target=feed, name="ossicle-live", daemon=True).start()
    try:
        while True:
            try:
                item = results.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        engine.stop()


def _result(event: Partial | Final) -> Result:
    return Result(
        text=event.text,
        is_final=isinstance(event, Final),
        end=event.offset,
        confidence=event.confidence if isinstance(event, Final) else 0.0,
        stability=event.stability if isinstance(event, Partial) else 0.0,
        words=written_words(event.words),
        alternatives=written_alternatives(event) if isinstance(event, Final) else (),
        audio_processed=event.processed,
        request_id="",
    )
