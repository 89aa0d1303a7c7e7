"""Observing one stream of audio: how long its results take, and what it says if that is asked."""

from __future__ import annotations

import logging
import time
from collections import deque

from ossicle.service.events import Event, Final, Partial

from .call import Call, Fact
from .metrics import ModelMetrics

log = logging.getLogger(__name__)

# Messages of audio before the first result whose arrivals are remembered; of more, the newest.
MAX_ARRIVALS = 256


class StreamObserver:
    """Measures the first partial of a stream, and the finals that its client asks for.

    The first partial's latency runs from the arrival of the message with the last sample that it
    covers, and so includes the model's look-ahead and the wait for a block to be full. A requested
    final's runs from the arrival of the request. Finals that an endpoint rule made are not
    measured: they are as late as the rule has them. Both end when the result is ready to be sent,
    so that a client that reads slowly does not count.

    Arrivals are noted until the first partial only; for the rest of a stream's life a message costs
    one comparison.

    Args:
        call: the call, which is told of both as events.
        sample_rate: of the positions, Hz.
        metrics: where latencies are counted.
        log_transcripts: log the text of finals.
    """

    def __init__(
        self, call: Call, sample_rate: int, metrics: ModelMetrics, log_transcripts: bool = False
    ) -> None:
        self.call = call
        self._rate = sample_rate
        self._metrics = metrics
        self._log_transcripts = log_transcripts
        self._finals = 0
        self._arrivals: deque[tuple[int, float]] | None = deque(maxlen=MAX_ARRIVALS)
        self._requests: deque[tuple[int, float]] = deque()

    def received(self, position: int) -> None:
        """Audio has come; its first sample is number ``position`` of the stream."""
        if self._arrivals is not None:
            self._arrivals.append((position, time.perf_counter()))

    def requested(self, position: int, arrived: float) -> None:
        """A final of the audio before ``position`` was asked for.

        Args:
            position: samples.
            arrived: when the request came, by ``time.perf_counter``.
        """
        self._requests.append((position, arrived))

    def answered(self, event: Event) -> None:
        """A result is ready to be sent."""
        if isinstance(event, Partial):
            if self._arrivals is not None:
                self._first_partial(event)
        elif isinstance(event, Final):
            self._final(event)

    def ended(self, samples: int) -> None:
        """The stream is over; it had so many samples."""
        self.call.facts["audio_seconds"] = round(samples / self._rate, 3)
        self.call.facts["finals"] = self._finals

    def _first_partial(self, partial: Partial) -> None:
        covered = round(partial.offset * self._rate)
        came = [arrived for position, arrived in self._arrivals or () if position < covered]
        self._arrivals = None
        if came:
            latency = time.perf_counter() - came[-1]
            self._metrics.first_partial(latency)
            self.call.on_event("first partial", {"ossicle.latency_seconds": latency})

    def _final(self, final: Final) -> None:
        self._finals += 1
        facts: dict[str, Fact] = {"ossicle.offset_seconds": final.offset}
        if self._requests and round(final.offset * self._rate) >= self._requests[0][0]:
            latency = time.perf_counter() - self._requests.popleft()[1]
            self._metrics.final(latency)
            facts["ossicle.latency_seconds"] = latency
        self.call.on_event("final", facts)
        if self._log_transcripts:
            said: dict[str, Fact] = {"offset_seconds": round(final.offset, 3), "text": final.text}
            log.info("final", extra={"facts": said})
