"""What a measurement found, as numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ossicle.model.evaluation.scoring import word_error_rate

from .load import Load, StreamRecord
from .target import Usage


@dataclass(frozen=True)
class Latency:
    """Latencies of one kind in milliseconds; NaN if there were none.

    Attributes:
        count: how many there were.
        mean: their mean.
        p50: half are at most this.
        p95: 95 % are.
        p99: 99 % are.
    """

    count: int
    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Of latencies in seconds."""
        if not seconds:
            return cls(0, *[math.nan] * 4)
        milliseconds = np.asarray(seconds) * 1000
        p50, p95, p99 = np.quantile(milliseconds, [0.5, 0.95, 0.99]).tolist()
        return cls(len(seconds), float(milliseconds.mean()), p50, p95, p99)


@dataclass(frozen=True)
class ServerUse:
    """What the server needed while all clients were streaming.

    Attributes:
        cpu_cores: processors that were busy with it, in the mean.
        memory_mib: most memory.
        batch_streams: streams in a step of the network, in the mean.
        network_ms: time of the network in a step, in the mean.
        decoding_ms: time of decoding in a step, in the mean.
        queue_wait_ms: time that chunks waited for a step, in the mean.
        samples: each second: seconds, MiB of memory, streams.
    """

    cpu_cores: float
    memory_mib: float
    batch_streams: float
    network_ms: float
    decoding_ms: float
    queue_wait_ms: float
    samples: tuple[tuple[float, float, float], ...]

    @classmethod
    def of(cls, usage: Usage) -> ServerUse:
        """Of a server that was watched."""
        step = "ossicle_step_seconds"
        return cls(
            usage.rate("process_cpu_seconds_total"),
            usage.memory_mib,
            usage.mean("ossicle_batch_streams"),
            1000 * usage.mean(step, part="network"),
            1000 * usage.mean(step, part="decoding"),
            1000 * usage.mean("ossicle_queue_wait_seconds"),
            tuple(usage.samples),
        )


@dataclass(frozen=True)
class Run:
    """One load and what came of it.

    Latencies are of results that came while all clients were streaming.

    Attributes:
        streams: clients at once.
        files: further clients, which sent files as fast as the server took them.
        file_speed: how many times faster than speech they sent, all together; NaN without any.
        held: clients none of whose streams failed.
        finished: streams that came to their end.
        failed: the other streams, those with files included.
        errors: how many ended with which status.
        reasons: what was said of each of these, once.
        partial: from when the last audio that a partial covers was spoken.
        partial_sent: from when the chunk with that audio was sent.
        final: from half-closing to the last final.
        overall: partials and finals together.
        late: how late chunks were sent.
        identical: finished streams whose transcript is that of the same recording sent alone.
        wer_alone: word errors against that transcript.
        wer_text: word errors against the texts of the recordings; NaN if they are unknown.
        client_cpu_cores: processors that were busy with the clients.
        server: None if the server's metrics could not be asked.
    """

    streams: int
    files: int
    file_speed: float
    held: int
    finished: int
    failed: int
    errors: dict[str, int]
    reasons: dict[str, str]
    partial: Latency
    partial_sent: Latency
    final: Latency
    overall: Latency
    late: Latency
    identical: int
    wer_alone: float
    wer_text: float
    client_cpu_cores: float
    server: ServerUse | None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; what is not known is None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def summarize(
    load: Load, alone: dict[str, str], client_cpu_cores: float, usage: Usage | None
) -> Run:
    """Count what a load that has run brought.

    Args:
        load: the load.
        alone: the transcript of each recording when it was sent alone, by name.
        client_cpu_cores: processors that were busy with the clients.
        usage: what the server needed; None if that is unknown.
    """
    records = [record for client in load.records for record in client]
    finished = [record for record in records if not record.error]
    failed = [record for record in [*records, *load.file_records] if record.error]
    start, end = load.steady

    def steady(items: Iterable[tuple[float, ...]], which: int) -> list[float]:
        return [item[which] for item in items if start <= item[0] <= end]

    partials = [partial for record in records for partial in record.partials]
    finals = [record.final for record in finished if record.final is not None]
    spoken, last = steady(partials, 1), steady(finals, 1)
    known = [record for record in finished if record.recording.text]
    return Run(
        streams=load.clients,
        files=load.files,
        file_speed=_speed(load.file_records),
        held=sum(not any(record.error for record in client) for client in load.records),
        finished=len(finished),
        failed=len(failed),
        errors=dict(Counter(record.error for record in failed)),
        reasons={record.error: record.reason for record in failed},
        partial=Latency.of(spoken),
        partial_sent=Latency.of(steady(partials, 2)),
        final=Latency.of(last),
        overall=Latency.of([*spoken, *last]),
        late=Latency.of([late for record in records for late in record.lateness]),
        identical=sum(record.transcript == alone[record.recording.name] for record in finished),
        wer_alone=_word_errors(finished, lambda record: alone[record.recording.name]),
        wer_text=_word_errors(known, lambda record: record.recording.text),
        client_cpu_cores=client_cpu_cores,
        server=None if usage is None else ServerUse.of(usage),
    )


def _speed(records: Sequence[StreamRecord]) -> float:
    """Audio of streams in the time from when the first began until the last was over."""
    whole = [(record, record.final[0]) for record in records if record.final is not None]
    if not whole:
        return math.nan
    seconds = max(end for _, end in whole) - min(record.began for record, _ in whole)
    return sum(record.recording.seconds for record, _ in whole) / seconds


def _word_errors(
    records: Sequence[StreamRecord], reference: Callable[[StreamRecord], str]
) -> float:
    """Word error rate; each pair of texts, of which a load has few, is compared once."""
    pairs = Counter((reference(record), record.transcript) for record in records)
    words = sum(count * len(said.split()) for (said, _), count in pairs.items())
    if not words:
        return math.nan
    errors = sum(
        count * word_error_rate([said], [heard]) * len(said.split())
        for (said, heard), count in pairs.items()
        if said.split() and said != heard
    )
    errors += sum(
        count * len(heard.split()) for (said, heard), count in pairs.items() if not said.split()
    )
    return errors / words


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
