"""What an MP4 file announces, told from its outermost boxes, however its bytes come."""

from __future__ import annotations

import struct
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.audio import AudioError, open_decoder, read_audio
from ossicle.data.mp4 import MOST_SAMPLES, Mp4Boxes

FTYP = b"\x00\x00\x00\x18ftypM4A " + bytes(12)
# What announces ever so many samples, were it an index.
TERRIBLE = b"stsz" + bytes(4) + b"\xff" * 8 + b"cmov" + bytes(64)


def box(name: bytes, body: bytes, *, long: bool = False) -> bytes:
    if long:
        return struct.pack(">I4sQ", 1, name, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, name) + body


def look_at(data: bytes, cuts: list[int]) -> Mp4Boxes:
    boxes = Mp4Boxes()
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(bounds):
        boxes.look_at(data[begin:end])
    return boxes


@pytest.mark.parametrize("long", [False, True])
@given(cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_sound_may_look_like_an_index(long: bool, cuts: list[int]) -> None:
    data = FTYP + box(b"moov", bytes(40)) + box(b"mdat", TERRIBLE, long=long)
    data += box(b"moof", bytes(30)) + box(b"mdat", TERRIBLE) + box(b"free", b"")
    assert look_at(data, cuts).first == b"moov"


@pytest.mark.parametrize("tail", [b"", box(b"free", bytes(9))])
@given(cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_an_index_behind_the_sound_is_looked_at(tail: bytes, cuts: list[int]) -> None:
    data = FTYP + box(b"mdat", TERRIBLE) + box(b"moov", tail + TERRIBLE)
    with pytest.raises(AudioError, match=f"more than the {MOST_SAMPLES}"):
        look_at(data, cuts)


@pytest.mark.parametrize("name", [b"moov", b"moof", b"free", b"udta"])
def test_a_box_without_an_end_is_looked_at_unless_it_is_sound(name: bytes) -> None:
    begin = FTYP + box(b"moov", bytes(40))
    look_at(begin + b"\x00\x00\x00\x00mdat" + TERRIBLE, [])
    with pytest.raises(AudioError, match="announces"):
        look_at(begin + b"\x00\x00\x00\x00" + name + TERRIBLE, [])


def test_many_small_boxes_are_refused_soon() -> None:
    """Each is looked at once: as many bytes as may be collected take no hour."""
    data = FTYP + 100_000 * box(b"free", b"")
    began = time.thread_time()
    with pytest.raises(AudioError, match="boxes in"):
        look_at(data, list(range(0, len(data), 1 << 16)))
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("name", ["m4a-index-first", "m4a-fragmented"])
def test_a_recording_with_more_sound_behind_it_is_read(
    recordings: dict[str, bytes], name: str
) -> None:
    """Streamed, so that nobody could look for the index at its end."""
    data = recordings[name]
    with open_decoder() as decoder:
        blocks = [decoder.feed(data + box(b"mdat", TERRIBLE)), decoder.finish()]
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(data))
