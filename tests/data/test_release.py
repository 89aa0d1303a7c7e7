"""A decoder that is done with is gone at once, however it ended: FFmpeg's memory is not Python's.

Python looks for objects that know each other only after so many new ones, and sees of a decoder a
few hundred bytes, not the hundreds of thousands that FFmpeg holds for it.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from collections.abc import Iterator
from itertools import pairwise

import pytest
from ossicle.data.audio import AudioDecoder, AudioError, open_decoder, read_audio


class Allocations(ctypes.Structure):
    """glibc's `struct mallinfo2`: what its allocator holds."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "mapped"),
            *("usmblks", "fsmblks", "used", "fordblks", "keepcost"),
        )
    ]


NAMES = ["flac", "mp3", "ogg-opus", "webm-opus", "m4a-index-last", "m4a-index-first", "wav"]


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Objects that know each other stay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def decoded(
    data: bytes, max_seconds: float = float("inf")
) -> tuple[weakref.ref[AudioDecoder], str]:
    """What is left of a decoder that has decoded, and what it said."""
    decoder = open_decoder(max_seconds=max_seconds)
    said = ""
    try:
        decoder.feed(data[:1000])
        decoder.feed(data[1000:])
        decoder.finish()
    except AudioError as error:
        said = str(error)
    finally:
        decoder.close()
    for thread in threading.enumerate():
        if thread.name == "audio-decoder":
            thread.join(10)
    # The one that wraps it may be gone while the container's is not.
    return weakref.ref(decoder._inner or decoder), said  # type: ignore[attr-defined]


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", NAMES)
def test_after_a_whole_recording(name: str, recordings: dict[str, bytes]) -> None:
    left, said = decoded(recordings[name])
    assert (left(), said) == (None, "")


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", ["flac", "m4a-index-last", "m4a-index-first", "wav"])
def test_after_a_recording_cut_short(name: str, recordings: dict[str, bytes]) -> None:
    left, said = decoded(recordings[name][: len(recordings[name]) // 2])
    assert left() is None
    assert "cut short" in said or "not M4A audio" in said


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", NAMES)
def test_after_a_recording_that_is_too_long(name: str, recordings: dict[str, bytes]) -> None:
    left, said = decoded(recordings[name], max_seconds=1.0)
    assert left() is None
    assert "longer than the allowed 1 s" in said


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", NAMES)
def test_after_a_header_with_junk_behind_it(name: str, recordings: dict[str, bytes]) -> None:
    left, _ = decoded(recordings[name][:64] + bytes(range(256)) * 32)
    assert left() is None


def test_damaged_recordings_leave_nothing_with_ffmpeg(recordings: dict[str, bytes]) -> None:
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("only glibc 2.33 and later tell what is allocated")
    mallinfo2.restype = Allocations
    cut = recordings["flac"][:-2000]
    times, used = 200, []
    for _ in range(4):
        for _ in range(times):
            with pytest.raises(AudioError, match="cut short"):
                read_audio(cut)
        gc.collect()
        now = mallinfo2()
        used.append(now.used + now.mapped)
    # It was 190 bytes for each; other parts of the process may take a little meanwhile.
    assert min(after - before for before, after in pairwise(used)) < 30 * times
