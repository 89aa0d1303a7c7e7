"""Measure live streams: how long results take, and what the server needs, with 1 and N streams.

    python tests/bench/streams.py --streams 32

A server runs as a process of its own on the loopback interface. Each stream sends the bundled
recording in chunks of 0.1 s when a microphone would have recorded them; the streams begin evenly
spread over one chunk. Client and server share the processor, and the sender's own lateness is
printed, so that a machine too slow to send in time is not mistaken for a slow server.

Latency of a partial: from when the last audio it covers was due to be spoken until the result is
here. It includes the model's look-ahead and the wait for a block to be full. Latency of the last
final: from half-closing until it is here.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from ossicle.data.audio import SAMPLE_RATE, read_audio
from ossicle.data.sample import sample_path
from ossicle.service.client import AsyncSpeechClient, OssicleError
from ossicle.service.commands.stream import to_linear16

CHUNK_SECONDS = 0.1
CHUNK_BYTES = round(CHUNK_SECONDS * SAMPLE_RATE) * 2


@dataclass
class Measured:
    """What was measured over the streams of one round; seconds."""

    partials: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    server_mib: float = 0.0


async def one_stream(client: AsyncSpeechClient, audio: bytes, delay: float, to: Measured) -> None:
    await asyncio.sleep(delay)
    began = time.monotonic()
    half_closed = began

    async def spoken() -> AsyncIterator[bytes]:
        nonlocal half_closed
        for start in range(0, len(audio), CHUNK_BYTES):
            chunk = audio[start : start + CHUNK_BYTES]
            due = began + (start + len(chunk)) / 2 / SAMPLE_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            to.lateness.append(time.monotonic() - due)
            yield chunk
        half_closed = time.monotonic()

    last = None
    try:
        results = client.stream(
            spoken(), encoding="linear16", sample_rate=SAMPLE_RATE, interim_results=True
        )
        async for result in results:
            last = result
            if not result.is_final:
                to.partials.append(time.monotonic() - began - result.end)
    except OssicleError as error:
        to.errors.append(f"{type(error).__name__}: {error}")
        return
    if last is None or not last.is_final:
        to.errors.append("the stream ended without a final")
    else:
        to.finals.append(time.monotonic() - half_closed)


async def measure(address: str, pid: int, audio: bytes, streams: int) -> Measured:
    measured = Measured()
    async with AsyncSpeechClient(address, resumption=None) as client:
        await client.health()
        delays = [i * CHUNK_SECONDS / streams for i in range(streams)]
        running = asyncio.gather(*(one_stream(client, audio, d, measured) for d in delays))
        while not running.done():
            await asyncio.wait({running}, timeout=1.0)
            resident = await asyncio.to_thread(resident_mib, pid)
            measured.server_mib = max(measured.server_mib, resident)
        await running
    return measured


def resident_mib(pid: int) -> float:
    """Memory of a process in MiB."""
    kib = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True)
    return int(kib.stdout) / 1024


@contextmanager
def server(streams: int, threads: int, decoder: str | None) -> Iterator[tuple[str, int]]:
    """Address and process id of a server that runs meanwhile."""
    command = [sys.executable, "-m", "ossicle.service.cli", "serve", "--port", "0"]
    command += ["--decoder", decoder] if decoder else []
    process = subprocess.Popen(
        [*command, "--max-streams", str(streams), "--threads", str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        match = re.match(r"serving on (\S+)", process.stdout.readline())
        if match is None:
            raise SystemExit("the server did not start; try: ossicle serve")
        yield match[1], process.pid
    finally:
        process.terminate()
        process.communicate()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure live streams, N against 1.")
    parser.add_argument("--streams", type=int, default=32, help="streams at the same time (32)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the recording (15)")
    parser.add_argument("--threads", type=int, default=0, help="of the network; 0: each core")
    parser.add_argument("--decoder", choices=("beam", "greedy"), help="default: the model's")
    options = parser.parse_args()
    audio = to_linear16(read_audio(sample_path())[: round(options.seconds * SAMPLE_RATE)])

    with server(options.streams, options.threads, options.decoder) as (address, pid):
        one, many = (
            asyncio.run(measure(address, pid, audio, streams)) for streams in (1, options.streams)
        )

    def row(name: str, values: tuple[float, float], unit: str) -> None:
        ratio = values[1] / values[0] if values[0] else float("nan")
        print(f"{name:<28}{values[0]:>10.1f}{values[1]:>10.1f}  {unit:<4}{ratio:>8.2f}")

    def quantile(name: str, share: float) -> tuple[float, float]:
        one_ms, many_ms = (
            float(np.quantile(getattr(measured, name) or [np.nan], share)) * 1000
            for measured in (one, many)
        )
        return one_ms, many_ms

    load = os.getloadavg()[0]
    print(f"{len(audio) / 2 / SAMPLE_RATE:.1f} s each, {os.cpu_count()} cores, load {load:.1f}")
    print(f"{'streams':<28}{1:>10}{options.streams:>10}{'ratio':>14}")
    row("partial latency, p50", quantile("partials", 0.5), "ms")
    row("partial latency, p95", quantile("partials", 0.95), "ms")
    row("last final latency, p95", quantile("finals", 0.95), "ms")
    row("sender late by, p95", quantile("lateness", 0.95), "ms")
    row("server memory, most", (one.server_mib, many.server_mib), "MiB")
    row("partials", (len(one.partials), len(many.partials)), "")
    row("streams that failed", (len(one.errors), len(many.errors)), "")
    for error in sorted({*one.errors, *many.errors}):
        print(error, file=sys.stderr)
    return 1 if one.errors or many.errors else 0


if __name__ == "__main__":
    sys.exit(main())
