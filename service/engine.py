"""One step of the network for all live streams.

A single thread owns the model. Every state tensor has one row per *slot*; a stream is admitted
to a free slot and keeps it until it ends. In each round the thread collects the streams that have a
block of samples ready, gathers their rows, steps them as one batch, scatters the new rows back and
hands each stream's events to its owner. A stream that has nothing ready is left out of the round,
so a slow one delays nobody, and rows of streams that are left out are not touched. Beside live
streams those that are sent faster than speech get what is left: see :mod:`~ossicle.service.turns`.

Owners talk to the engine through their :class:`~ossicle.service.stream.Stream`, from any thread.
Their callbacks run in the engine's thread and must not block; in asyncio pass them on with
``call_soon_threadsafe``.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.beam_decoder import decode_together
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.decoding.together import SomeFailedError

from .admission import Admission, EngineStopped
from .capacity import Capacity
from .rounds import Round, RoundCallback
from .session import Hearing, Session
from .session_config import SessionConfig
from .slots import SlotStates
from .stream import EndCallback, EventsCallback, Request, Stream
from .turns import in_turn, is_ahead, is_late, most_ahead

if TYPE_CHECKING:
    from ossicle.model.runtime import AcousticModel, ModelInfo

log = logging.getLogger(__name__)

# A round that lacks some of the streams waits this long for them before it starts.
BATCH_WAIT_SECONDS = 0.003
FINALS_AT_ONCE = 16
"""Finals that a stream asks for and is given before the others have their turn."""
# The fastest of so many steps is what the network needs.
WARM_UP_STEPS = 3


class Engine:
    """The owner of a model.

    Args:
        model: the model; from :meth:`start` on only the engine's thread uses it.
        decoding: what the model has for decoding; None for its tokens alone.
        slots: streams at the same time.
        block_frames: frames of each stream in a step; 4 for live streams, more for throughput.
        queue_seconds: audio that a stream may have waiting.
        live_first: streams that are sent faster than speech get what others leave; all are alike
            else.
        max_delay_seconds: streams that would make others wait longer are refused; 0 for as many as
            there are slots.
        on_failure: called from the engine's thread if the engine fails.
        on_round: called from the engine's thread after each step.

    Attributes:
        has_failed: an error has ended all of its streams, and it takes no more.
    """

    def __init__(
        self,
        model: AcousticModel,
        decoding: Decoding | None = None,
        *,
        slots: int = 64,
        block_frames: int = 4,
        queue_seconds: float = 10.0,
        live_first: bool = False,
        max_delay_seconds: float = 0.0,
        on_failure: Callable[[Exception], None] | None = None,
        on_round: RoundCallback | None = None,
    ) -> None:
        if slots < 1 or block_frames < 1:
            raise ValueError(f"slots ({slots}) and block_frames ({block_frames}) must be positive")
        block_seconds = block_frames * model.info.frame_seconds
        if queue_seconds < block_seconds:
            raise ValueError(
                f"queue_seconds is {queue_seconds:g}; a block alone has {block_seconds:g} s"
            )
        self.slots = slots
        self._live_first = live_first
        self._capacity = Capacity(block_seconds, max_delay_seconds) if max_delay_seconds else None
        self._queue_samples = queue_seconds * model.info.sample_rate
        self._model = model
        self.decoding = decoding or Decoding(model.info)
        self._block_frames = block_frames
        self._on_failure = on_failure
        self.has_failed = False
        self._on_round = on_round
        self._waiting_since: float | None = None
        self._numbers = itertools.count(1)
        block_samples = block_frames * model.info.frame_samples
        self._admission = Admission(slots, block_samples, self._capacity)
        self._state = SlotStates(model, self._admission.rows)
        self._starting = threading.Lock()
        self._started = False
        self._stopping = False
        self._wake = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ossicle-engine", daemon=True)

    @property
    def info(self) -> ModelInfo:
        """The model's properties."""
        return self._model.info

    @property
    def active(self) -> int:
        """Slots that are taken."""
        return self._admission.active

    @property
    def capacity(self) -> int:
        """Busy streams that it takes now."""
        return self._admission.capacity

    @property
    def backlog(self) -> int:
        """Samples that all streams together have waiting."""
        return sum(stream.backlog for stream in self._admission.streams)

    def start(self) -> None:
        """Start the thread, which warms the model up and then serves."""
        with self._starting:
            if not self._started:
                self._started = True
                self._thread.start()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Block until the model is warm.

        Returns:
            False if that took longer than ``timeout`` seconds.

        Raises:
            EngineStopped: if the engine has failed or was stopped.
        """
        ready = self._ready.wait(timeout)
        self._admission.check_open()
        return ready

    def open(
        self,
        config: SessionConfig,
        on_events: EventsCallback,
        on_end: EndCallback = lambda error: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> Stream:
        """Take a slot for a new stream.

        Args:
            config: how to answer it.
            on_events: called with what happened, in order.
            on_end: called once after the last event, with None or the error that ended the
                stream; not after :meth:`Stream.cancel`.
            on_room: called when there is room again after :meth:`Stream.has_room` was false.

        Raises:
            NoFreeSlot: if all are taken.
            Overloaded: if as many streams are busy as are answered in time.
            EngineStopped: if the engine has failed or was stopped.
            ValueError: the model cannot be decoded as the configuration asks.
        """
        session = Session(self.info, config, self.decoding.decoder(config.decoding))
        stream = self._admission.admit(
            lambda slot: Stream(
                next(self._numbers),
                slot,
                session,
                on_events,
                on_end,
                on_room,
                self._queue_samples,
                self.wake,
            )
        )
        self.wake()
        return stream

    def check_room(self) -> None:
        """Nothing, if another stream would be taken now; raises as `open`."""
        self._admission.check_room()

    def wake(self) -> None:
        """Make the thread look for work."""
        if self._waiting_since is None:
            self._waiting_since = time.perf_counter()
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> bool:
        """End all streams with :class:`EngineStopped` and stop.

        Args:
            timeout: seconds to wait for the step that is under way.

        Returns:
            Whether the thread has stopped; it has ended all streams in any case.
        """
        self._stopping = True
        self.wake()
        with self._starting:
            started = self._started
        if started:
            self._thread.join(timeout)
        self._end_all(EngineStopped("the engine was stopped"))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._warm_up()
            self._ready.set()
            while not self._stopping:
                self._wake.wait()
                self._wake.clear()
                while not self._stopping and self._round():
                    pass
            self._end_all(EngineStopped("the engine was stopped"))
        except Exception as error:
            log.exception("the engine has failed; all its streams end")
            self.has_failed = True
            self._end_all(EngineStopped(f"the recogniser has failed: {error}"))
            if self._on_failure:
                self._on_failure(error)
        finally:
            self._ready.set()

    def _warm_up(self) -> None:
        """Step batches of silence, the smallest and the largest, so that no client waits for it."""
        seconds = {}
        for batch in {1, self.slots}:
            silence = np.zeros((batch, self._block_frames * self.info.frame_samples), np.float32)
            state = self._model.initial_state(batch)
            times = []
            for _ in range(WARM_UP_STEPS if self._capacity else 1):
                started = time.perf_counter()
                self._model.step(silence, state)
                times.append(time.perf_counter() - started)
            seconds[batch] = min(times)
        if self._capacity:
            self._capacity.warmed_up(seconds)

    def _round(self) -> bool:
        """Step every stream that is ready once; False if none was."""
        since, self._waiting_since = self._waiting_since, None
        taken: set[Stream] = set()
        blocks = self._collect(taken)
        if blocks and len(blocks) < self.active:
            deadline = time.monotonic() + BATCH_WAIT_SECONDS
            while len(blocks) < self.active and (left := deadline - time.monotonic()) > 0:
                self._wake.wait(left)
                self._wake.clear()
                self._waiting_since = None
                blocks += self._collect(taken)
        if not blocks:
            return False
        self._state.settle([stream.slot for stream, _ in blocks if stream.session.take_reset()])
        slots = [stream.slot for stream, _ in blocks]
        samples = np.stack([block for _, block in blocks])
        started = time.perf_counter()
        log_probs, state = self._model.step(samples, self._state.take(slots))
        self._state.put(slots, state)
        stepped = time.perf_counter()
        self._answer([stream for stream, _ in blocks], log_probs)
        waited = None if since is None else started - since
        answering = time.perf_counter() - stepped
        done = Round(len(blocks), samples.shape[1], waited, stepped - started, answering)
        if self._capacity:
            self._capacity.note(done)
        if self._on_round:
            self._on_round(done)
        return True

    def _collect(self, taken: set[Stream]) -> list[tuple[Stream, NDArray[np.float32]]]:
        """The blocks that are ready; streams are admitted and removed on the way.

        Args:
            taken: streams whose blocks this round has already; the others' are added.
        """
        streams = [stream for stream in self._admission.streams if stream not in taken]
        live, ahead = in_turn(streams)
        blocks = self._take_blocks(live, taken, len(live))
        most = most_ahead(taken, live, len(ahead)) if self._live_first else len(ahead)
        return blocks + self._take_blocks(ahead, taken, most)

    def _take_blocks(
        self, streams: list[Stream], taken: set[Stream], most: int
    ) -> list[tuple[Stream, NDArray[np.float32]]]:
        """The blocks that some streams have ready, so many at most."""
        blocks: list[tuple[Stream, NDArray[np.float32]]] = []
        for stream in streams:
            if stream.cancelled:
                self._remove(stream)
                continue
            if len(blocks) >= most:
                continue
            try:
                block = self._next_block(stream)
            except Exception as error:
                self._fail(stream, error)
                continue
            if block is not None:
                stream.busy_at = time.monotonic()
                taken.add(stream)
                blocks.append((stream, block))
        return blocks

    def _next_block(self, stream: Stream) -> NDArray[np.float32] | None:
        """Move as much of the queue into the session as one block needs, and take the block."""
        session, finals = stream.session, 0
        while True:
            stream.deliver(session.settle())
            block = session.take(self._block_frames)
            if block is not None or session.finished or not stream.inbox:
                break
            if finals == FINALS_AT_ONCE:
                self._wake.set()
                break
            item = stream.inbox.popleft()
            if item is Request.FINALIZE:
                session.finalize()
                finals += 1
            elif isinstance(item, Request):
                session.close(interrupted=item is Request.INTERRUPT)
            else:
                session.accept(item)
        if session.finished:
            self._end_stream(stream, None)
            return None
        stream.announce_room()
        return block

    def _answer(self, streams: list[Stream], log_probs: NDArray[np.float32]) -> None:
        """Give streams their frames, (B, U, V), and their owners what follows from them."""
        block = self._block_frames * self.info.frame_samples
        # Owners may have left during the step; what was computed is nobody's then.
        hearing = [
            (stream, stream.session.hear(rows, hurried=is_late(stream, block)))
            for stream, rows in zip(streams, log_probs, strict=True)
            if not (stream.cancelled or stream.ended)
        ]
        while hearing:
            paused = [(*each, self._resume(*each)) for each in hearing]
            decoding = [
                (stream, rest, frames) for stream, rest, frames in paused if frames is not None
            ]
            try:
                decode_together(
                    [stream.session.decoder for stream, _, _ in decoding],
                    [frames for _, _, frames in decoding],
                )
            except SomeFailedError as failed:
                for place, error in failed.errors.items():
                    self._fail(decoding[place][0], error)
            hearing = [(stream, rest) for stream, rest, _ in decoding if not stream.ended]

    def _resume(self, stream: Stream, hearing: Hearing) -> NDArray[np.float32] | None:
        """Go on with a stream up to the next frames that must be decoded, None if there are none.

        Then its owner has been given what follows.
        """
        try:
            try:
                return next(hearing)
            except StopIteration as heard:
                events = heard.value
            stream.consumed = stream.session.position
            stream.ahead = is_ahead(stream, self.info.sample_rate)
            stream.deliver(events)
            stream.announce_room()
        except Exception as error:
            self._fail(stream, error)
        return None

    def _fail(self, stream: Stream, error: Exception) -> None:
        """End one stream, and only that one, because of an error in it or its owner's callback."""
        log.warning("stream %d ends: %s", stream.number, error, exc_info=error)
        self._end_stream(stream, error)

    def _end_stream(self, stream: Stream, error: Exception | None) -> None:
        """Free a stream's slot and tell its owner."""
        self._remove(stream)
        self._tell_end(stream, error)

    @staticmethod
    def _tell_end(stream: Stream, error: Exception | None) -> None:
        if stream.cancelled:
            return
        try:
            stream.announce_room()
            stream.on_end(error)
        except Exception:
            log.exception("stream %d could not be told of its end", stream.number)

    def _remove(self, stream: Stream) -> None:
        """Free a stream's slot, settled for the next."""
        stream.ended = True
        stream.inbox.clear()
        self._state.settle([stream.slot])
        self._admission.free(stream)

    def _end_all(self, end: EngineStopped) -> None:
        for stream in self._admission.end(end):
            stream.ended = True
            self._tell_end(stream, copy(end))
