"""Recordings whose sound is shorter than their pictures, begins later, or has holes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from ossicle.data.audio import AudioError, read_audio
from recipes import Int16


def film(
    speech: Int16,
    path: Path,
    container: str,
    *,
    pictures: float,
    begin: float = 0.0,
    hole: float = 0.0,
) -> Path:
    """The recording as the sound of a film, of which the second half comes so many seconds later.

    Args:
        pictures: seconds of them.
        begin: seconds before the sound.
    """
    with av.open(path, "w", format=container) as out:
        sound = out.add_stream("aac", rate=16_000, layout="mono")
        picture = out.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for number in range(round(pictures * 25)):
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 25)
            out.mux(picture.encode(image))
        out.mux(picture.encode(None))
        for start in range(0, len(speech), 1024):
            frame = av.AudioFrame.from_ndarray(speech[None, start : start + 1024], layout="mono")
            frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
            late = begin + (hole if start >= len(speech) // 2 else 0.0)
            frame.pts = start + round(late * 16_000)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("container", ["matroska", "avi", "mp4", "mov", "mpegts"])
def test_pictures_may_last_longer_than_the_sound(
    speech: Int16, tmp_path: Path, container: str
) -> None:
    heard = read_audio(
        film(speech, tmp_path / "film", container, pictures=len(speech) / 16_000 + 2)
    )
    assert abs(len(heard) - len(speech)) < 4096


@pytest.mark.parametrize("container", ["matroska", "mp4", "mov", "mpegts"])
@pytest.mark.parametrize(("begin", "hole"), [(3.0, 0.0), (0.0, 5.0), (3.0, 5.0), (0.1, 0.1)])
def test_times_are_those_of_the_film(
    speech: Int16, tmp_path: Path, container: str, begin: float, hole: float
) -> None:
    """Captions would else come seconds too early."""
    path = film(speech, tmp_path / "film", container, pictures=1, begin=begin, hole=hole)
    heard = read_audio(path)
    before, between = (late if late > 1 else 0.0 for late in (begin, hole))
    assert abs(len(heard) - len(speech) - 16_000 * (before + between)) < 4096
    silent = np.abs(heard) < 1e-4
    assert silent[: round(16_000 * max(before - 0.3, 0))].all()
    middle = round(16_000 * before) + len(speech) // 2
    assert silent[middle + 6000 : middle + round(16_000 * between) - 6000].all()


def test_a_clock_that_leaps_makes_no_hours_of_silence(speech: Int16, tmp_path: Path) -> None:
    path = film(speech, tmp_path / "film", "matroska", pictures=1, hole=36_000)
    assert abs(len(read_audio(path)) - len(speech)) < 4096


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_film_that_is_cut_is_told(speech: Int16, tmp_path: Path, share: float) -> None:
    whole = film(speech, tmp_path / "film", "mp4", pictures=1).read_bytes()
    with pytest.raises(AudioError):
        read_audio(whole[: int(share * len(whole))])
