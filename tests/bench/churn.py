"""Open and close many streams, in every way in which streams end, and see that nothing is left.

    python tests/bench/churn.py --streams 10000
    python tests/bench/churn.py --minutes 20 --at-once 64 --plot memory.svg

A server runs as a process of its own. Streams come and go, several at a time: some end in order,
some are left in a word, some expire, some are wrong from the start, some never send a thing, some
send half a file, some are recordings, and some are refused because the server is full. They are
sent at once; with --minutes at the pace of speech, for so long. Every tenth part prints what the
server then holds: memory, file descriptors, threads and streams. Memory may grow while its pools
fill up; the program fails if the last quarter needs more than a little on top of the second, if
descriptors or threads stay behind, or if a stream ends in a way that was not meant.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

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
BYTES_A_SECOND = 2 * SAMPLE_RATE
PACED_SECONDS = (1.0, 8.0)
CHUNK_SECONDS = 0.1
BUSY_SECONDS = 0.2
# gRPC and the allocator fill pools for a while; what comes after that must not grow.
MORE_MIB = 8.0
MORE_DESCRIPTORS = 8
MORE_THREADS = 4


@dataclass(frozen=True)
class Held:
    """What a process has, so many seconds after the beginning, with so many streams open."""

    seconds: float
    streams: int
    memory_mib: float
    descriptors: int
    threads: int

    @classmethod
    def by(cls, server: Served, seconds: float, streams: int) -> Held:
        process = Path(f"/proc/{server.process.pid}")
        descriptors = sum(1 for _ in (process / "fd").iterdir())
        threads = sum(1 for _ in (process / "task").iterdir())
        return cls(seconds, streams, server.memory_mib(), descriptors, threads)


class Streams:
    """Streams that end in different ways.

    Args:
        client: where they go.
        speech: what they send, LINEAR16.
        paced: at the pace of speech, a part of random length; else the first second at once.
    """

    def __init__(self, client: AsyncSpeechClient, speech: bytes, paced: bool) -> None:
        self._client = client
        self._speech = speech
        self._paced = paced
        self._random = random.Random(0)
        self._sample = sample_path().read_bytes()[:40_000]
        self.ends: Counter[str] = Counter()
        self.begun = 0
        self.open = 0
        self.ways: list[Callable[[], Awaitable[str]]] = [
            self.in_order,
            self.cut_container,
            self.left,
            self.expired,
            self.wrong,
            self.nothing,
            self.recording,
            self.cut_recording,
        ]

    async def spoken(self) -> AsyncIterator[bytes]:
        """Speech, chunk by chunk."""
        if not self._paced:
            yield self._speech[: round(SECONDS * BYTES_A_SECOND)]
            return
        size = round(CHUNK_SECONDS * BYTES_A_SECOND)
        end = round(self._random.uniform(*PACED_SECONDS) * BYTES_A_SECOND)
        due = time.monotonic()
        for start in range(0, end, size):
            due += CHUNK_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield self._speech[start : start + size]

    async def run(self, way: Callable[[], Awaitable[str]]) -> None:
        self.begun += 1
        self.open += 1
        try:
            outcome = await asyncio.wait_for(way(), 120)
        except BusyError:
            outcome = "busy"
            await asyncio.sleep(BUSY_SECONDS)
        except Exception as error:
            outcome = f"NOT MEANT: {way.__name__}: {type(error).__name__}: {error}"
        self.open -= 1
        self.ends[outcome] += 1

    async def in_order(self) -> str:
        finals = 0
        async for result in self._client.stream(
            self.spoken(), encoding="linear16", sample_rate=SAMPLE_RATE, interim_results=True
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
                async for chunk in self.spoken():
                    yield chunk
                await asyncio.sleep(0.05)

        results = self._client.stream(
            endless(), encoding="linear16", sample_rate=SAMPLE_RATE, interim_results=True
        )
        await anext(results)
        await results.aclose()  # type: ignore[attr-defined]
        return "left"

    async def expired(self) -> str:
        async def silent() -> AsyncIterator[bytes]:
            async for chunk in self.spoken():
                yield chunk
            await asyncio.sleep(60)

        timeout = self._random.uniform(*PACED_SECONDS) if self._paced else 0.3
        try:
            async for _ in self._client.stream(
                silent(), encoding="linear16", sample_rate=SAMPLE_RATE, timeout=timeout
            ):
                pass
        except TimedOutError:
            return "expired"
        return "NOT MEANT: a stream past its deadline ended in order"

    async def wrong(self) -> str:
        try:
            async for _ in self._client.stream(self.spoken(), language="de-DE"):
                pass
        except InvalidRequestError:
            return "wrong"
        return "NOT MEANT: German was taken"

    async def nothing(self) -> str:
        results = [r async for r in self._client.stream([], encoding="mulaw", sample_rate=8000)]
        return "nothing" if [r.text for r in results] == [""] else "NOT MEANT: words of nothing"

    async def recording(self) -> str:
        speech = self._speech[: round(SECONDS * BYTES_A_SECOND)]
        heard = await self._client.recognize(speech, encoding="linear16", sample_rate=SAMPLE_RATE)
        return "recording" if heard.text else "NOT MEANT: nothing was heard"

    async def cut_recording(self) -> str:
        try:
            await self._client.recognize(self._sample)
        except InvalidRequestError:
            return "cut recording"
        return "NOT MEANT: half a file was taken for a whole"


async def churn(
    server: Served, streams: int, minutes: float, at_once: int, speech: bytes
) -> tuple[Held, Held, list[Held], Counter[str]]:
    """What the server holds after the first half, after all, and each second; how streams ended."""
    began = time.monotonic()
    readings: list[Held] = []
    async with AsyncSpeechClient(server.address, resumption=None) as client:
        kinds = Streams(client, speech, bool(minutes))
        ways = itertools.cycle(kinds.ways)

        def share() -> float:
            """How much of it all is done."""
            seconds = time.monotonic() - began
            return seconds / (60 * minutes) if minutes else kinds.begun / streams

        async def one_after_the_other(until: float) -> None:
            while share() < until:
                await kinds.run(next(ways))

        async def run(until: float) -> Held:
            await asyncio.gather(*(one_after_the_other(until) for _ in range(at_once)))
            await asyncio.sleep(1.0)  # the server learns of the last that have left
            return Held.by(server, time.monotonic() - began, kinds.open)

        async def watch() -> None:
            print(f"{'streams':>8}{'seconds':>9}{'MiB':>8}{'files':>7}{'threads':>9}  ends")
            told = 0
            while True:
                now = Held.by(server, time.monotonic() - began, kinds.open)
                readings.append(now)
                if share() * 10 >= told + 1:
                    told = int(share() * 10)
                    print(
                        f"{kinds.begun:>8}{now.seconds:>9.0f}{now.memory_mib:>8.1f}"
                        f"{now.descriptors:>7}{now.threads:>9}  {dict(sorted(kinds.ends.items()))}",
                        flush=True,
                    )
                await asyncio.sleep(1.0)

        watching = asyncio.create_task(watch())
        half, end = await run(0.5), await run(1.0)
        watching.cancel()
        # All slots at once: none was lost.
        whole = [asyncio.create_task(kinds.in_order()) for _ in range(at_once)]
        after = await asyncio.gather(*whole, return_exceptions=True)
    if any(outcome != "in order" for outcome in after):
        kinds.ends[f"NOT MEANT: slots are missing: {Counter(map(repr, after))}"] += 1
    print(f"{kinds.begun} streams: {dict(sorted(kinds.ends.items()))}")
    return half, end, readings, kinds.ends


def usual_memory(readings: list[Held], begin: float, end: float) -> float:
    """The median of a stretch of seconds, in MiB: the allocator takes and gives in large steps."""
    return statistics.median(r.memory_mib for r in readings if begin <= r.seconds <= end)


def plot(readings: list[Held], title: str, path: Path) -> None:
    """Draw memory and open streams over time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from ossicle.model.pictures.figure import LOOK

    minutes = [held.seconds / 60 for held in readings]
    with mpl.rc_context({**LOOK, "svg.hashsalt": "churn"}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        memory, streams = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        memory.plot(minutes, [held.memory_mib for held in readings])
        memory.set(ylabel="memory of the server, MiB", ylim=(0, None))
        streams.plot(minutes, [held.streams for held in readings], linewidth=0.8)
        streams.set(ylabel="streams open", ylim=(0, None), xlabel="minutes")
        for axes in (memory, streams):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid()
        figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description="Open and close many streams.")
    parser.add_argument("--streams", type=int, default=10_000, help="how many (10000)")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="at the pace of speech, for so long instead"
    )
    parser.add_argument("--at-once", type=int, default=16, help="of them at the same time (16)")
    parser.add_argument("--plot", type=Path, help="image of the memory over time to write")
    options = parser.parse_args()
    speech = to_linear16(read_audio(sample_path()))
    # As many slots as streams, which are free a little after the next is begun: some are refused.
    server = serve("--max-streams", str(options.at_once), "--idle-timeout-seconds", "30")
    try:
        half, end, readings, ends = asyncio.run(
            churn(server, options.streams, options.minutes, options.at_once, speech)
        )
    finally:
        code = stop(server)
    if options.plot:
        most = max(held.memory_mib for held in readings)
        title = f"{options.at_once} streams coming and going: at most {most:.0f} MiB"
        plot(readings, title, options.plot)
    second = usual_memory(readings, half.seconds / 2, half.seconds)
    last = usual_memory(readings, (half.seconds + end.seconds) / 2, end.seconds)
    grown = {
        "MiB from the second quarter to the last": (last - second, MORE_MIB),
        "file descriptors from half to end": (end.descriptors - half.descriptors, MORE_DESCRIPTORS),
        "threads from half to end": (end.threads - half.threads, MORE_THREADS),
    }
    for name, (more, allowed) in grown.items():
        verdict = "too many" if more > allowed else "fine"
        print(f"{more:+.1f} {name}, {allowed:g} allowed: {verdict}")
    wrong = {outcome: count for outcome, count in ends.items() if outcome.startswith("NOT MEANT")}
    for outcome, count in wrong.items():
        print(f"{count} x {outcome}", file=sys.stderr)
    return 1 if code or wrong or any(more > allowed for more, allowed in grown.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
