"""Hostile media: refused or read, in bounded time and memory, and nothing else.

`tests/bench/fuzz.py` does the same with as many recordings as one likes.
"""

from __future__ import annotations

import random
import re
import sys
import time
from pathlib import Path

import pytest
from bombs import bombs
from hostile_media import HostileMedia
from ossicle.data.audio import AudioError, open_decoder, read_audio

MEDIA = HostileMedia()
LONGEST = 120.0


def decoded_seconds(data: bytes, rng: random.Random) -> float:
    """Decode bytes in pieces as a server does; what is refused has lasted until then."""
    samples = 0
    with open_decoder(max_seconds=LONGEST) as decoder:
        try:
            while data:
                size = rng.choice((1, 100, 4000, 100_000, 1 << 20))
                piece, data = data[:size], data[size:]
                samples += sum(len(block) for block in decoder.feed_blocks(piece))
            samples += sum(len(block) for block in decoder.finish_blocks())
        except AudioError:
            pass
    return samples / 16_000


@pytest.mark.parametrize("start", range(0, 1200, 300))
def test_damaged_recordings_are_read_or_refused(start: int) -> None:
    for seed in range(start, start + 300):
        _, data = MEDIA.damaged(seed)
        assert decoded_seconds(data, random.Random(seed)) <= LONGEST


def test_damage_is_the_same_for_a_seed_and_reaches_every_recording() -> None:
    again = HostileMedia()
    names = set()
    for seed in range(len(MEDIA.recordings)):
        name, data = MEDIA.damaged(seed)
        assert (name, data) == again.damaged(seed)
        names.add(name)
    assert names == set(MEDIA.recordings)


BOMBS = bombs(MEDIA.recordings)


def memory(what: str) -> float:
    """A line of this process' memory, in MiB."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found
    return int(found[1]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little_time_and_memory(name: str) -> None:
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak is counted from now on
    began = time.thread_time()
    assert decoded_seconds(BOMBS[name], random.Random(1)) <= LONGEST
    assert memory("VmHWM") - before < 100
    assert time.thread_time() - began < 10


def test_tags_in_front_are_passed_over() -> None:
    tag = b"ID3\x04\0\x10" + bytes((0, 0, 2, 0)) + bytes(256 + 10)
    for name in ("mp3", "flac"):
        recording = MEDIA.recordings[name]
        assert (read_audio(tag * 2 + recording) == read_audio(recording)).all()
    with pytest.raises(AudioError, match="empty"):
        read_audio(tag)
