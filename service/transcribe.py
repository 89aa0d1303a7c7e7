"""Transcribe files without a server: many at once over the slots of one engine, or of several.

Each of a few worker threads takes the next file, decodes it block by block and writes it to a
slot of the engine, which steps all slots as one batch. A worker waits while its slot has enough
audio, so memory stays bounded however long and however many the files are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .files.together import as_it_comes, in_order
from .formats import Transcript
from .happenings import Draft, FailedFile, Happening, Progress, Recording, Spoken
from .transcriber import Transcriber

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding, DecodingConfig
    from ossicle.model.runtime import AcousticModel

# Files at once. More slots make larger batches, but the last files leave most of them empty.
DEFAULT_SLOTS = 16

Work = Callable[
    [Recording, Draft, Callable[[Happening], None], Callable[[Progress], None]],
    Transcript | FailedFile,
]
"""What transcribes a recording; see `Transcriber.__call__`."""


def transcribe(
    recordings: Sequence[Recording],
    model: AcousticModel,
    decoding: Decoding | None = None,
    *,
    search: DecodingConfig | None = None,
    alternatives: int = 1,
    slots: int = DEFAULT_SLOTS,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[Transcript | FailedFile]:
    """Transcribe recordings, several at a time, and give the results in their order.

    Leaving the loop early stops all work.

    Args:
        recordings: paths, or binary file objects such as ``sys.stdin.buffer``.
        model: the model; no one else may use it meanwhile.
        decoding: what the model has for decoding; None for its tokens alone.
        search: how transcripts are searched for; None for the model's default.
        alternatives: readings of each segment at most, 1 to 10.
        slots: files at once.
        on_progress: called from several threads while files are read.

    Yields:
        For each recording its transcript, or what was wrong with it; the others go on.

    Raises:
        EngineStopped: the model failed, which ends them all.
        ValueError: the model cannot be decoded so, or not so many alternatives.
    """
    happenings = transcribing(
        recordings,
        model,
        decoding,
        search=search,
        alternatives=alternatives,
        slots=slots,
        on_progress=on_progress,
    )
    outcomes = ((number, event) for number, event in happenings if not isinstance(event, Spoken))
    for _, outcome in in_order(outcomes, lambda outcome: True):
        yield outcome


def transcribing(
    recordings: Sequence[Recording],
    model: AcousticModel,
    decoding: Decoding | None = None,
    *,
    search: DecodingConfig | None = None,
    alternatives: int = 1,
    slots: int = DEFAULT_SLOTS,
    drafts: Sequence[Draft] = (),
    others: Sequence[Work] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[tuple[int, Happening]]:
    """Transcribe recordings, several at a time, and tell what happens as it happens.

    Args:
        recordings: as for :func:`transcribe`, as are the others.
        model: likewise.
        decoding: likewise.
        search: likewise.
        alternatives: likewise.
        slots: likewise.
        drafts: where the transcript of each recording is kept while it is made, and gone on with;
            by default in memory.
        others: what else transcribes them, such as other processes, each one at a time.
        on_progress: likewise.

    Yields:
        The number of a recording, from 0, with each utterance of it as soon as it is known, and
        at last with its transcript or with what was wrong with it.

    Raises:
        EngineStopped, ValueError: as :func:`transcribe`.
    """
    drafts = drafts or [Draft() for _ in recordings]
    slots = max(1, min(slots, len(recordings)))
    transcriber = Transcriber(model, decoding, search, alternatives, slots)

    def working(
        work: Work, item: tuple[Recording, Draft], tell: Callable[[Happening], None]
    ) -> Transcript | FailedFile:
        return work(*item, tell, on_progress)

    works: list[Work] = [*[transcriber] * slots, *others]
    try:
        yield from as_it_comes(
            list(zip(recordings, drafts, strict=True)), [partial(working, work) for work in works]
        )
    finally:
        transcriber.stop()
