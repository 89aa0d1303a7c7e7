"""Measure what measuring costs: metrics of rounds, observers of streams, the page of metrics.

    python tests/bench/telemetry.py --streams 32

Each part is timed by itself, many times over, and compared with the processor time that a server in
a process of its own needs for the same unit: a step of its engine, a message of a stream. Both are
measured in one run, so that the ratio holds on a busy machine too. Streams send chunks of 20 ms,
which makes messages as many and as cheap as real clients do.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

from ossicle.data.sample import sample_utterance
from ossicle.model.runtime import list_models
from ossicle.service.bench.load import Load, Settings
from ossicle.service.bench.recording import load_recordings
from ossicle.service.bench.target import MetricsPage, ServerSettings, own_server
from ossicle.service.client.access import Access
from ossicle.service.events import Final, Partial, UtteranceEnd
from ossicle.service.rounds import Round
from ossicle.service.telemetry.call import Call
from ossicle.service.telemetry.metrics import ServerMetrics
from ossicle.service.telemetry.stream import StreamObserver
from prometheus_client import generate_latest

CHUNK_SECONDS = 0.02
REPEATS = 7


def seconds_each(work: Callable[[], object], times: int) -> float:
    """Processor time of one call, the least of several tries."""
    tries = []
    for _ in range(REPEATS):
        began = time.thread_time()
        for _ in range(times):
            work()
        tries.append((time.thread_time() - began) / times)
    return min(tries)


def row(name: str, seconds: float, of: float, unit: str) -> None:
    share = f"{100 * seconds / of:.3f} % of {1e6 * of:.0f} µs for {unit}" if of else unit
    print(f"{name:<44}{1e6 * seconds:>9.2f} µs  {share}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what measuring costs.")
    parser.add_argument("--streams", type=int, default=32, help="live streams (32)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of streaming (15)")
    options = parser.parse_args()

    with own_server(ServerSettings(options.streams)) as target:
        before = MetricsPage.read(target.metrics)
        load = Load(
            target.address,
            Access(),
            load_recordings([sample_utterance()]),
            Settings(CHUNK_SECONDS),
            options.streams,
            ramp_seconds=1.0,
            seconds=options.seconds,
        )
        asyncio.run(load.run())
        after = MetricsPage.read(target.metrics)

    def grown(name: str) -> float:
        return after.total(name) - before.total(name)

    messages = sum(len(record.lateness) for client in load.records for record in client)
    processor = grown("process_cpu_seconds_total")
    steps = grown("ossicle_batch_streams_count")
    print(
        f"{options.streams} streams: {messages} messages, {steps:.0f} steps of "
        f"{grown('ossicle_batch_streams_sum') / steps:.1f} streams, "
        f"{processor:.1f} s of processor time"
    )

    metrics = ServerMetrics()
    of_model = metrics.of_model(list_models()[0])
    done = Round(options.streams, 2560, 0.012, 0.045, 0.02)
    clocks = 3 * seconds_each(time.perf_counter, 5000)
    counting = seconds_each(lambda: of_model.round(done), 5000)
    row("a step", counting + clocks, processor / steps, "a step")

    call = Call("r", "StreamingRecognize")
    fresh = StreamObserver(call, 16_000, of_model)
    position = iter(range(10**9))
    row(
        "a message before the first partial",
        seconds_each(lambda: fresh.received(next(position)), 5000),
        processor / messages,
        "a message",
    )
    later = StreamObserver(call, 16_000, of_model)
    later.answered(Partial(0.1, 0.1, "a", (), 0.0))
    row(
        "a message after it",
        seconds_each(lambda: later.received(0), 5000),
        processor / messages,
        "a message",
    )
    partial, final = (
        Partial(0.1, 0.1, "a", (), 0.0),
        Final(0.1, 0.1, (), 0.0, UtteranceEnd.END_OF_AUDIO),
    )
    row("a partial", seconds_each(lambda: later.answered(partial), 5000), 0, "each")
    row("a final", seconds_each(lambda: later.answered(final), 5000), 0, "each")
    row("the page", seconds_each(lambda: generate_latest(metrics.registry), 20), 0, "a scrape")


if __name__ == "__main__":
    main()
