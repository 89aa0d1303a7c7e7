"""Hostile media: refused or read, in bounded time and memory, and nothing else.

`tests/bench/fuzz.py` does the same with as many recordings as one likes.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from bombs import bombs
from cost_of_bombs import LONGEST, decoded_seconds
from hostile_media import HostileMedia
from ossicle.data.audio import AudioError, read_audio

MEDIA = HostileMedia()


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


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, float]]:
    """What each bomb takes, in a process where nothing else does."""
    script = Path(__file__).with_name("cost_of_bombs.py")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return {cost["name"]: cost for cost in map(json.loads, run.stdout.splitlines())}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little_time_and_memory(name: str, costs: dict[str, dict[str, float]]) -> None:
    cost = costs[name]
    assert cost["decoded_seconds"] <= LONGEST
    assert cost["mebibytes"] < 100
    assert cost["processor_seconds"] < 10


def test_tags_in_front_are_passed_over() -> None:
    tag = b"ID3\x04\0\x10" + bytes((0, 0, 2, 0)) + bytes(256 + 10)
    for name in ("mp3", "flac"):
        recording = MEDIA.recordings[name]
        assert (read_audio(tag * 2 + recording) == read_audio(recording)).all()
    with pytest.raises(AudioError, match="empty"):
        read_audio(tag)
