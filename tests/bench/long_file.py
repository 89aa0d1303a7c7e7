"""Transcribe an hour through a server that is killed in its midst, and see that memory stays flat.

    python tests/bench/long_file.py --minutes 60 --container mp3

The bundled recording, over and over, is encoded into one file. It is transcribed through one server
without a disturbance, then through two, of which the first is killed after a third of the file. The
two transcripts must be the same, word for word and time for time. Each minute of audio the memory
of client and servers is looked at: from the fifth part on it may grow by a little only. Takes about
as long as three times the file at the speed that `ossicle transcribe` shows.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
from ossicle.data.audio import read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.service.client import SpeechClient
from ossicle.service.formats import Transcript
from ossicle.service.happenings import Happening, Progress, Spoken
from ossicle.service.transcribe_remote import transcribing_remote

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
from processes import Served, serve, stop
from recipes import RECIPES

MORE_MIB = 30.0


def written(path: Path, minutes: float, recipe: str) -> None:
    """Write the bundled recording over and over; a minute at a time, for memory's sake."""
    chosen = RECIPES[recipe]
    clip = np.frombuffer(to_linear16(read_audio(sample_path())), "<i2")
    with av.open(str(path), "w", format=chosen.muxer, options=chosen.options) as output:
        stream = output.add_stream(chosen.codec, rate=chosen.rate)
        stream.layout = chosen.layout
        converter = av.AudioResampler(
            stream.codec_context.format, chosen.layout, chosen.rate, stream.frame_size or 1024
        )
        for number in range(round(minutes * 60 * 16_000 / len(clip))):
            frame = av.AudioFrame.from_ndarray(clip[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
            frame.pts = number * len(clip)
            for ready in converter.resample(frame):
                output.mux(stream.encode(ready))
        for ready in converter.resample(None):
            output.mux(stream.encode(ready))
        output.mux(stream.encode(None))


def own_memory_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found
    return int(found[1]) / 1024


class Watch:
    """What progress tells: how fast it is, and the memory of all who take part.

    Args:
        servers: that take part.
        seconds: of the file, about.
    """

    def __init__(self, servers: list[Served], seconds: float) -> None:
        self._servers = servers
        self._seconds = seconds
        self._began = time.monotonic()
        self._done = 0.0
        self._told = 0.0
        self._early: list[float] = []
        self._late: list[float] = []

    def look_at(self, progress: Progress) -> None:
        self._done += progress.seconds
        if self._done < self._told + 60:
            return
        self._told = self._done
        held = [own_memory_mib()]
        held += [each.memory_mib() for each in self._servers if each.process.poll() is None]
        speed = self._done / (time.monotonic() - self._began)
        memory = " + ".join(f"{mib:.0f}" for mib in held)
        print(f"{self._done:6.0f} s done, {speed:4.0f} x real time, {memory} MiB", flush=True)
        if len(held) == len(self._servers) + 1:
            times = self._early if self._done < self._seconds / 5 else self._late
            times.append(sum(held))

    def check(self) -> None:
        grown = max(self._late, default=0.0) - max(self._early, default=float("inf"))
        if grown > MORE_MIB:
            raise SystemExit(f"memory has grown by {grown:.0f} MiB")


def transcript(
    path: Path, servers: list[Served], seconds: float, on_spoken: Callable[[float], None]
) -> Transcript:
    watch = Watch(servers, seconds)

    def watched() -> Iterator[Happening]:
        with SpeechClient([each.address for each in servers]) as client:
            for _, happening in transcribing_remote([path], client, on_progress=watch.look_at):
                if isinstance(happening, Spoken):
                    on_spoken(happening.segment.end)
                yield happening

    *_, end = watched()
    if not isinstance(end, Transcript):
        raise SystemExit(f"not transcribed: {end}")
    watch.check()
    return end


def said(transcript: Transcript) -> list[tuple[str, float, float]]:
    """The words and their times; without confidences, which float in the last bits."""
    return [
        (word.text, word.start, word.end) for each in transcript.segments for word in each.words
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--container", choices=[*RECIPES], default="mp3")
    given = parser.parse_args()
    seconds = given.minutes * 60
    servers = [serve() for _ in range(2)]
    victim, steady = servers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / given.container
        written(path, given.minutes, given.container)
        print(f"{given.container}: {path.stat().st_size / 1e6:.1f} MB")
        undisturbed = transcript(path, [steady], seconds, lambda end: None)

        def kill(end: float) -> None:
            if end > seconds / 3 and victim.process.poll() is None:
                print(f"killing a server after {end:.0f} s", flush=True)
                victim.kill()

        resumed = transcript(path, servers, seconds, kill)
    code = stop(steady)
    for one, other in zip_longest(said(undisturbed), said(resumed)):
        if one != other:
            raise SystemExit(f"not the same: {one} and {other}")
    print(f"{len(resumed.segments)} utterances, {resumed.duration:.1f} s: the same words and times")
    return code


if __name__ == "__main__":
    sys.exit(main())
