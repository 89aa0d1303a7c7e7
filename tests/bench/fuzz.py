"""Send a server what no client of ours would send, and give its decoders what is no recording.

    python tests/bench/fuzz.py --media 120000 --calls 80000
    python tests/bench/fuzz.py --media 1000 --first 5000       # go on, or look at some again

Media: damaged recordings in every container, each known by its seed, are decoded in a process of
their own by what decodes them in a server (`open_decoder`, fed in pieces), with the longest audio
that `Recognize` takes. Calls: a real server on the loopback interface gets every method with wild
fields, damaged recordings, messages in the wrong order, bytes that are no message and connections
that are no HTTP/2, many at a time. Each tenth part prints what the ends were and the memory of the
process. The program fails if a process dies or hangs, if its memory grows, if a call ends with a
status that is no proper one, if the server writes a traceback, or if it has forgotten how to
recognise speech afterwards. It tells the seed then.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from ossicle.data.audio import AudioError, AudioTooLongError, open_decoder
from ossicle.data.sample import sample_path
from ossicle.service.client import SpeechClient

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
from hostile_client import HostileClient
from hostile_media import HostileMedia
from processes import Served, serve, stop

LONGEST_AUDIO = 120.0
# One recording or one call; a second or two at most where nothing else runs.
LONGEST_SECONDS = 60.0
# What allocators and gRPC take in the first tenth is theirs; what comes after that must not grow.
MORE_MIB = 100.0
MOST_MIB = 600.0
SERVER = (
    *("--max-streams", "16", "--max-unary-seconds", "20", "--idle-timeout-seconds", "5"),
    *("--max-session-seconds", "60", "--max-call-seconds", "30"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--media", type=int, default=2000, help="damaged recordings to decode")
    parser.add_argument("--calls", type=int, default=1000, help="calls to make")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    if given.media:
        _decode_in_a_process(range(given.first, given.first + given.media))
    if given.calls:
        _call_a_server(range(given.first, given.first + given.calls))
    return 0


def _tenths(seeds: range) -> Iterator[range]:
    size = max(len(seeds) // 10, 1)
    for start in range(seeds.start, seeds.stop, size):
        yield range(start, min(start + size, seeds.stop))


def _memory_mib(process: int | str, line: str = "VmRSS") -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(rf"{line}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def _tell(what: str, done: int, began: float, memory: float, ends: Counter[str]) -> None:
    seconds = time.monotonic() - began
    counts = ", ".join(f"{name} {count}" for name, count in sorted(ends.items()))
    print(f"{what} {done:7} {seconds:6.0f} s {memory:5.0f} MiB  {counts}", flush=True)


def _judge(what: str, least: float, kept: float, most: float) -> None:
    """Fail if memory has grown: from `least` to `kept`, with `most` at some moment, in MiB."""
    print(f"{what}: the most memory at any moment was {most:.0f} MiB", flush=True)
    if kept > least + MORE_MIB:
        raise SystemExit(f"{what}: memory grew from {least:.0f} to {kept:.0f} MiB")
    if most > MOST_MIB:
        raise SystemExit(f"{what}: {most:.0f} MiB are more than the {MOST_MIB:.0f} allowed")


# Media


def _decode_in_a_process(seeds: range) -> None:
    context = get_context("spawn")
    seed = context.Value("q", seeds.start)
    process = context.Process(target=_decode_all, args=(seeds, seed))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"media: the process ended with {process.exitcode} at seed {seed.value}")


def _decode_all(seeds: range, present: object) -> None:
    media = HostileMedia()
    ends: Counter[str] = Counter()
    began = time.monotonic()
    least = kept = 0.0
    for tenth in _tenths(seeds):
        for seed in tenth:
            present.value = seed  # type: ignore[attr-defined]
            faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
            ends[_decode(media, seed)] += 1
        faulthandler.cancel_dump_traceback_later()
        # Not the most it ever had: one recording in some ten thousand takes 90 MiB for a moment.
        kept = _memory_mib("self", "VmRSS")
        least = least or kept
        _tell("media", tenth.stop - seeds.start, began, kept, ends)
    _judge("media", least, kept, _memory_mib("self", "VmHWM"))


def _decode(media: HostileMedia, seed: int) -> str:
    _, data = media.damaged(seed)
    rng = random.Random(seed)
    samples = 0
    end = "read"
    with open_decoder(max_seconds=LONGEST_AUDIO) as decoder:
        try:
            while data:
                size = rng.choice((1, 100, 4000, 100_000))
                piece, data = data[:size], data[size:]
                samples += sum(len(block) for block in decoder.feed_blocks(piece))
            samples += sum(len(block) for block in decoder.finish_blocks())
        except AudioTooLongError:
            end = "refused as too long"
        except AudioError:
            end = "refused after some audio" if samples else "refused"
    assert samples <= LONGEST_AUDIO * 16_000
    return end


# Calls


def _understood(server: Served) -> str:
    with SpeechClient(server.address) as client:
        return client.recognize(sample_path()).text


def _call_a_server(seeds: range) -> None:
    server = serve(*SERVER)
    try:
        said = _understood(server)
        client = HostileClient(server.address, longest=LONGEST_SECONDS)
        began = time.monotonic()
        least = kept = 0.0
        for tenth in _tenths(seeds):
            asyncio.run(client.run(tenth))
            kept = _memory_mib(server.process.pid, "VmRSS")
            least = least or kept
            _tell("calls", tenth.stop - seeds.start, began, kept, client.ends)
            if client.improper:
                raise SystemExit("calls:\n" + "\n".join(client.improper[:20]))
        _judge("calls", least, kept, _memory_mib(server.process.pid, "VmHWM"))
        if _understood(server) != said:
            raise SystemExit("calls: the server does not understand any more what it understood")
    finally:
        code = stop(server)
        faults = [line for line in server.written().splitlines() if _is_fault(line)]
        print("\n".join(faults[:50]))
    if code or faults:
        raise SystemExit(f"calls: the server ended with {code} and {len(faults)} lines of faults")


def _is_fault(line: str) -> bool:
    return "Traceback" in line or " ERROR " in line


if __name__ == "__main__":
    sys.exit(main())
