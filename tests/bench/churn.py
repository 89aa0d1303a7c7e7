"""Open and close many streams, in every way in which streams end, and see that nothing is left.

    python tests/bench/churn.py --streams 10000

A server runs as a process of its own. Streams come and go, several at a time: some end in order,
some are left in a word, some expire, some are wrong from the start, some never send a thing and
some are refused because the server is full. Every tenth part prints what the server then holds:
memory, file descriptors, threads and streams. Memory may grow while its pools fill up; the program
fails if the last half needs more than a little on top of the first, if descriptors or threads stay
behind, or if a stream ends in a way that was not meant.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ossicle.data.audio import SAMPLE_RATE, read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.service.client import (
    AsyncSpeechClient,
    BusyError,
    InvalidRequestError,
    TimedOutError,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
from processes import Served, serve, stop

SECONDS = 1.0
# gRPC and the allocator fill pools for a while; what comes after that must not grow.
MORE_MIB = 12.0
MORE_DESCRIPTORS = 8
MORE_THREADS = 4


@dataclass(frozen=True)
class Held:
    """What a process has."""

    memory_mib: float
    descriptors: int
    threads: int

    @classmethod
    def by(cls, server: Served) -> Held:
        process = Path(f"/proc/{server.process.pid}")
        descriptors = sum(1 for _ in (process / "fd").iterdir())
        threads = sum(1 for _ in (process / "task").iterdir())
        return cls(server.memory_mib(), descriptors, threads)


class Streams:
    """Streams that end in different ways.

    Args:
        client: where they go.
        speech: what they send.
    """

    def __init__(self, client: AsyncSpeechClient, speech: bytes) -> None:
        self._client = client
        self._speech = speech
        self._sample = sample_path().read_bytes()[:40_000]
        self.ends: Counter[str] = Counter()
        self.ways: list[Callable[[], Awaitable[str]]] = [
            self.in_order,
            self.cut_container,
            self.left,
            self.expired,
            self.wrong,
            self.nothing,
        ]

    async def run(self, way: Callable[[], Awaitable[str]]) -> None:
        try:
            outcome = await asyncio.wait_for(way(), 120)
        except BusyError:
            outcome = "busy"
        except Exception as error:
            outcome = f"NOT MEANT: {way.__name__}: {type(error).__name__}: {error}"
        self.ends[outcome] += 1

    async def in_order(self) -> str:
        finals = 0
        async for result in self._client.stream(
            [self._speech], encoding="linear16", sample_rate=SAMPLE_RATE, interim_results=True
        ):
            finals += result.is_final
        return "in order" if finals else "NOT MEANT: no final"

    async def cut_container(self) -> str:
        try:
            async for _ in self._client.stream([self._sample]):
                pass
        except InvalidRequestError:
            return "cut container"
        return "NOT MEANT: half a file was taken for a whole"

    async def left(self) -> str:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield self._speech
                await asyncio.sleep(0.05)

        results = self._client.stream(
            endless(), encoding="linear16", sample_rate=SAMPLE_RATE, interim_results=True
        )
        await anext(results)
        await results.aclose()  # type: ignore[attr-defined]
        return "left"

    async def expired(self) -> str:
        async def silent() -> AsyncIterator[bytes]:
            yield self._speech
            await asyncio.sleep(60)

        try:
            async for _ in self._client.stream(
                silent(), encoding="linear16", sample_rate=SAMPLE_RATE, timeout=0.3
            ):
                pass
        except TimedOutError:
            return "expired"
        return "NOT MEANT: a stream past its deadline ended in order"

    async def wrong(self) -> str:
        try:
            async for _ in self._client.stream([self._speech], language="de-DE"):
                pass
        except InvalidRequestError:
            return "wrong"
        return "NOT MEANT: German was taken"

    async def nothing(self) -> str:
        results = [r async for r in self._client.stream([], encoding="mulaw", sample_rate=8000)]
        return "nothing" if [r.text for r in results] == [""] else "NOT MEANT: words of nothing"


async def churn(server: Served, streams: int, at_once: int, speech: bytes) -> list[Held]:
    held = []
    began = time.monotonic()
    async with AsyncSpeechClient(server.address, resumption=None) as client:
        kinds = Streams(client, speech)
        ways = itertools.cycle(kinds.ways)
        room = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with room:
                await kinds.run(next(ways))

        print(f"{'streams':>8}{'seconds':>9}{'MiB':>8}{'files':>7}{'threads':>9}  ends")
        for part in range(10):
            await asyncio.gather(*(one() for _ in range(streams // 10)))
            await asyncio.sleep(1.0)  # the server learns of the last that have left
            now = Held.by(server)
            held.append(now)
            print(
                f"{(part + 1) * streams // 10:>8}{time.monotonic() - began:>9.0f}"
                f"{now.memory_mib:>8.1f}{now.descriptors:>7}{now.threads:>9}  "
                f"{dict(sorted(kinds.ends.items()))}",
                flush=True,
            )
        # All slots at once: none was lost.
        whole = [asyncio.create_task(kinds.in_order()) for _ in range(at_once)]
        after = await asyncio.gather(*whole, return_exceptions=True)
    if any(outcome != "in order" for outcome in after):
        kinds.ends[f"NOT MEANT: slots are missing: {Counter(map(repr, after))}"] += 1
    for outcome, count in kinds.ends.items():
        if outcome.startswith("NOT MEANT"):
            print(f"{count} x {outcome}", file=sys.stderr)
    if any(outcome.startswith("NOT MEANT") for outcome in kinds.ends):
        raise SystemExit(1)
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description="Open and close many streams.")
    parser.add_argument("--streams", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--at-once", type=int, default=16, help="of them at the same time (16)")
    options = parser.parse_args()
    samples = read_audio(sample_path())[: round(SECONDS * SAMPLE_RATE)]
    speech = to_linear16(np.ascontiguousarray(samples))
    # Fewer slots than streams, so that some are refused.
    server = serve("--max-streams", str(options.at_once), "--idle-timeout-seconds", "30")
    try:
        held = asyncio.run(churn(server, options.streams, options.at_once, speech))
    finally:
        code = stop(server)
    half, end = held[4], held[-1]
    grown = {
        "memory, MiB": (end.memory_mib - half.memory_mib, MORE_MIB),
        "file descriptors": (end.descriptors - half.descriptors, MORE_DESCRIPTORS),
        "threads": (end.threads - half.threads, MORE_THREADS),
    }
    for name, (more, allowed) in grown.items():
        verdict = "more" if more > allowed else "fine"
        print(f"{name}: {more:+.1f} over the second half, {allowed:g} allowed: {verdict}")
    return 1 if code or any(more > allowed for more, allowed in grown.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
