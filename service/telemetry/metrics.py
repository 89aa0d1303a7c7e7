"""The metrics of a server, in Prometheus' form.

Nothing here is done for each chunk of a stream: the engine is measured once a round for all its
streams, calls and latencies at their events, and what can be looked up is looked up when the page
is asked for. Every histogram has buckets of its own, with edges where a limit of ours is.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from ossicle.speech.v1 import speech_pb2
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
)

if TYPE_CHECKING:
    from ossicle.model.runtime import ModelInfo
    from ossicle.service.engine import Engine
    from ossicle.service.limits import Limits
    from ossicle.service.rounds import Round

SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"]
REFUSALS = (
    *("no_free_slot", "overloaded", "draining", "open_calls", "token_rate", "token_streams"),
    *("no_token", "bad_token", "unknown_token", "expired_token"),
)
FAULTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS")
"""Statuses that are never a client's fault."""
# Up to 300 ms, which live results are to keep below, in steps fine enough for a quantile.
LATENCY_BUCKETS = (
    *(0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3),
    *(0.35, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0),
)
# A block of live audio has 160 ms: an engine that needs longer for a round falls behind.
ROUND_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.16),
    *(0.2, 0.32, 0.5, 1.0, 2.5),
)
BATCH_BUCKETS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# From a short recording to a day's stream.
CALL_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)


class ServerMetrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.calls_active = self._gauge("calls_active", "Calls that are being answered.", "method")
        self.calls = self._counter("calls", "Calls that have ended, by status.", "method", "code")
        for method in SERVICE.methods:
            for code in FAULTS:  # an increase is seen only of a series that was there before
                self.calls.labels(method.name, code)
        self.call_seconds = self._histogram(
            "call_seconds", "Time from a call's start to its end.", CALL_BUCKETS, "method"
        )
        self.refused = self._counter(
            "refused", "Calls that were refused before anything was heard, by reason.", "reason"
        )
        for reason in REFUSALS:
            self.refused.labels(reason)
        self._serving = self._gauge("serving", "Processes that take calls; 0 before and after.")
        self.workers = self._gauge("workers", "Processes that there are to be to take calls.")
        self.workers.set(1)
        self.worker_restarts = self._counter(
            "worker_restarts", "Workers that ended and were replaced."
        )
        self._limit = self._gauge(
            "limit", "Limits in force, in the unit that their name says.", "limit"
        )
        self._build = self._gauge(
            "build_info", "Always 1.", "version", "python_version", "onnxruntime_version"
        )
        self._build.labels(
            version("ossicle"), platform.python_version(), version("onnxruntime")
        ).set(1)
        self._model = self._gauge(
            "model_info", "Always 1.", "model", "language", "lookahead_ms", "sample_rate"
        )
        self._certificate = self._gauge(
            "certificate_expiry_timestamp_seconds", "When the server's certificate ends.", "file"
        )
        self._active = self._gauge("streams_active", "Streams that hold a slot.", "model")
        self._slots = self._gauge("stream_slots", "Streams there may be, of all models together.")
        self._capacity = self._gauge(
            "stream_capacity",
            "Busy streams that are answered in time, as it measures; more are refused.",
            "model",
        )
        self._waiting = self._gauge(
            "queue_audio_seconds", "Audio of all streams that waits to be recognised.", "model"
        )
        self.audio = self._counter(
            "audio_seconds", "Audio recognised, the padding of last blocks included.", "model"
        )
        self.batch = self._histogram(
            "batch_streams", "Streams in one step of the network.", BATCH_BUCKETS, "model"
        )
        self.step = self._histogram(
            "step_seconds",
            "Time of the parts of a step: network; decoding, with handing the results over.",
            ROUND_BUCKETS,
            *("model", "part"),
        )
        self.queue_wait = self._histogram(
            "queue_wait_seconds",
            "How long the first chunk that came for a step waited until the step began.",
            ROUND_BUCKETS,
            "model",
        )
        self.first_partial = self._histogram(
            "first_partial_latency_seconds",
            "From the arrival of the last audio that a stream's first partial covers to the "
            "partial.",
            LATENCY_BUCKETS,
            "model",
        )
        self.final = self._histogram(
            "final_latency_seconds",
            "From a client's half-close or finalize to the final it asks for.",
            LATENCY_BUCKETS,
            "model",
        )

    def set_serving(self, serving: bool) -> None:
        """Tell whether calls are taken."""
        self._serving.set(serving)

    def set_limits(self, limits: Limits) -> None:
        """Tell the limits in force."""
        for limit in fields(limits):
            self._limit.labels(limit.name).set(getattr(limits, limit.name))

    def of_model(self, info: ModelInfo) -> ModelMetrics:
        """The metrics of one of the models."""
        return ModelMetrics(self, info)

    def watch(
        self, infos: Sequence[ModelInfo], slots: int, engines: Callable[[str], Sequence[Engine]]
    ) -> None:
        """Look up the streams of these models, and of no others, whenever the page is asked for.

        Args:
            infos: the models.
            slots: streams there may be, of all models together.
            engines: those that run the model of a name.
        """
        self._slots.set(slots)
        for gauge in (self._model, self._active, self._capacity, self._waiting):
            gauge.clear()
        for info in infos:
            name, rate = info.name, info.sample_rate
            self._model.labels(name, info.language, str(info.lookahead_ms), str(rate)).set(1)
            self._active.labels(name).set_function(partial(_active, engines, name))
            self._capacity.labels(name).set_function(partial(_capacity, engines, name))
            self._waiting.labels(name).set_function(partial(_waiting, engines, name, rate))

    def watch_certificate(self, file: str, expires: Callable[[], float]) -> None:
        """Look up when the server's certificate ends, in Unix time, with every page."""
        self._certificate.labels(file).set_function(expires)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ossicle_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"ossicle_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"ossicle_{name}", text, labels, buckets=buckets, registry=self.registry)


def _active(engines: Callable[[str], Sequence[Engine]], name: str) -> float:
    return sum(engine.active for engine in engines(name))


def _capacity(engines: Callable[[str], Sequence[Engine]], name: str) -> float:
    found = engines(name)
    return found[0].capacity if found else 0.0  # while another model takes its place


def _waiting(engines: Callable[[str], Sequence[Engine]], name: str, rate: int) -> float:
    return sum(engine.backlog for engine in engines(name)) / rate


class ModelMetrics:
    """The metrics of one model, with their labels already looked up.

    Args:
        metrics: those of its server.
        info: the model.
    """

    def __init__(self, metrics: ServerMetrics, info: ModelInfo) -> None:
        self._rate = info.sample_rate
        self._audio = metrics.audio.labels(info.name)
        self._batch = metrics.batch.labels(info.name)
        self._network = metrics.step.labels(info.name, "network")
        self._decoding = metrics.step.labels(info.name, "decoding")
        self._wait = metrics.queue_wait.labels(info.name)
        self.first_partial: Callable[[float], None] = metrics.first_partial.labels(
            info.name
        ).observe
        self.final: Callable[[float], None] = metrics.final.labels(info.name).observe

    def round(self, done: Round) -> None:
        """Count one round of the model's engine."""
        self._audio.inc(done.streams * done.audio / self._rate)
        self._batch.observe(done.streams)
        self._network.observe(done.network)
        self._decoding.observe(done.answering)
        if done.waited is not None:
            self._wait.observe(done.waited)
