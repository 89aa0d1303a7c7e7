"""Headerless samples and WAV: exact values, any chunking, bad headers."""

from __future__ import annotations

import io
import struct
import tracemalloc
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ossicle.data.audio import AudioError, Encoding, open_decoder, read_audio

Int16 = npt.NDArray[np.int16]


def push(
    data: bytes, cuts: list[int], encoding: Encoding, rate: int = 0, channels: int = 0
) -> npt.NDArray[np.float32]:
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    with open_decoder(encoding, rate, channels) as decoder:
        blocks = [decoder.feed(data[a:b]) for a, b in pairwise(bounds)]
        return np.concatenate([*blocks, decoder.finish()])


@pytest.mark.parametrize(
    ("encoding", "subtype"), [(Encoding.MULAW, "ULAW"), (Encoding.ALAW, "ALAW")]
)
def test_companding_tables_agree_with_libsndfile(encoding: Encoding, subtype: str) -> None:
    codes = bytes(range(256))
    reference, _ = soundfile.read(
        io.BytesIO(codes), dtype="float32", format="RAW", subtype=subtype, samplerate=16_000,
        channels=1,
    )  # fmt: skip
    np.testing.assert_array_equal(push(codes, [], encoding, 16_000, 1), reference)


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 60_000), max_size=30),
    rate=st.sampled_from([8000, 11_025, 16_000, 44_100, 48_000, 192_000]),
    channels=st.integers(1, 3),
    encoding=st.sampled_from([Encoding.LINEAR16, Encoding.MULAW, Encoding.ALAW]),
    seed=st.integers(0, 1000),
)
def test_chunking_of_raw_samples_does_not_matter(
    cuts: list[int], rate: int, channels: int, encoding: Encoding, seed: int
) -> None:
    data = np.random.default_rng(seed).bytes(10_000 * channels)
    whole = push(data, [], encoding, rate, channels)
    np.testing.assert_array_equal(push(data, cuts, encoding, rate, channels), whole)
    count = 10_000 // (2 if encoding is Encoding.LINEAR16 else 1)
    assert abs(len(whole) - count * 16_000 / rate) <= 1


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_sample_by_sample(rate: int, speech: Int16) -> None:
    data = speech[:8000].tobytes()
    single = push(data, list(range(0, len(data), 1)), Encoding.LINEAR16, rate, 1)
    np.testing.assert_array_equal(single, push(data, [], Encoding.LINEAR16, rate, 1))


def test_channels_are_averaged_and_resampled(speech: Int16) -> None:
    stereo = np.stack([speech, np.zeros_like(speech)], 1)
    decoded = push(stereo.tobytes(), [], Encoding.LINEAR16, 8000, 2)
    expected = soxr.resample(speech.astype(np.float32) / 65536, 8000, 16_000)
    np.testing.assert_allclose(decoded, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "channels", "message"),
    [
        (0, 1, "its sample rate is 0; declare the true one"),
        (16_000, 0, "its channel count is 0"),
        (10_000_000, 1, "a sample rate of 10000000 Hz is not supported; send 8000 to 192000 Hz"),
        (4000, 1, "a sample rate of 4000 Hz"),
        (-16_000, 1, "a sample rate of -16000 Hz"),
        (16_000, 9, "9 channels are not supported; send 1 to 8"),
        (16_000, -1, "-1 channels"),
    ],
)
@pytest.mark.parametrize("encoding", [Encoding.LINEAR16, Encoding.MULAW])
def test_impossible_rates_and_channels(
    encoding: Encoding, rate: int, channels: int, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        open_decoder(encoding, rate, channels)


def test_odd_byte_is_refused() -> None:
    with pytest.raises(AudioError, match=r"1 byte\(s\) are left over, 16-bit samples"):
        push(bytes(2001), [], Encoding.LINEAR16, 16_000, 1)
    with pytest.raises(AudioError, match=r"2 byte\(s\) are left over"):
        push(bytes(2002), [7], Encoding.LINEAR16, 16_000, 2)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_nothing_is_refused(encoding: Encoding) -> None:
    with pytest.raises(AudioError, match="empty"):
        push(b"", [], encoding, 16_000, 1)


def test_wav_declared_as_raw(wav_bytes, speech: Int16) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AudioError, match="starts with a WAV header; declare WAV"):
        push(wav_bytes(speech), [1, 5, 9], Encoding.LINEAR16, 16_000, 1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("file_format", ["WAV", "WAVEX", "RF64"])
def test_wav_agrees_with_libsndfile(subtype: str, file_format: str, speech: Int16) -> None:
    file = io.BytesIO()
    soundfile.write(file, speech / 32768, 16_000, format=file_format, subtype=subtype)
    reference, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    np.testing.assert_array_equal(read_audio(file.getvalue()), reference)
    pushed = push(file.getvalue(), [3, 40, 41, 43, 100, 777], Encoding.WAV)
    np.testing.assert_array_equal(pushed, reference)


@settings(max_examples=30, suppress_health_check=[HealthCheck.differing_executors])
@given(cuts=st.lists(st.integers(0, 3000), max_size=20), length=st.integers(0, 900))
def test_chunks_of_a_wav_header_do_not_matter(cuts: list[int], length: int) -> None:
    samples = np.arange(1000, dtype="<i2").tobytes()
    note = b"LIST" + struct.pack("<I", length) + bytes(length + length % 2)
    data = _wav(struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16), samples, before=note)
    decoded = push(data + b"LIST\x04\x00\x00\x00tail", cuts, Encoding.AUTO)
    np.testing.assert_array_equal(decoded * 32768, np.arange(1000))


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_live_wav_of_unknown_length(size: int, speech: Int16) -> None:
    header = _wav(struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16), b"")[:-4]
    decoder = open_decoder()
    assert len(decoder.feed(header + struct.pack("<I", size))) == 0
    # Live audio comes out at once.
    first = decoder.feed(speech[:160].tobytes())
    assert len(first) == 160
    rest = decoder.feed(speech[160:].tobytes())
    whole = np.concatenate([first, rest, decoder.finish()])
    np.testing.assert_array_equal(whole * 32768, speech)


@pytest.mark.parametrize("size", [1000, 0x7FFFDFFF, 0x80000001, 0x90000000, 0xFFFFEFFF])
def test_a_length_that_no_program_leaves_for_an_unknown_one_is_one(size: int) -> None:
    """A recording of more than 2 GiB may have tags behind its samples: they are none."""
    header = _wav(struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16), b"")[:-4]
    with pytest.raises(AudioError, match=f"announces {size - 320} more bytes"):
        push(header + struct.pack("<I", size) + bytes(320), [], Encoding.AUTO)


def test_a_chunk_that_is_passed_over_takes_no_memory() -> None:
    junk = b"RIFF\xff\xff\xff\xffWAVEJUNK" + struct.pack("<I", 0xFFFFFFF0)
    block = bytes(1 << 20)
    with open_decoder() as decoder:
        decoder.feed(junk)
        tracemalloc.start()
        try:
            for _ in range(32):
                decoder.feed(block)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1, 1, 0, 0, 2, 16), "a sample rate of 0 Hz is not supported"),
        ((1, 1, 10_000_000, 20_000_000, 2, 16), "a sample rate of 10000000 Hz"),
        ((1, 0, 16_000, 32_000, 2, 16), "0 channels are not supported"),
        ((1, 64, 16_000, 32_000, 128, 16), "64 channels are not supported"),
        ((2, 1, 16_000, 8000, 256, 4), "format tag 2 and 4 bits is not supported"),
        ((1, 2, 16_000, 32_000, 2, 16), "the WAV header contradicts itself"),
    ],
)
def test_bad_wav_headers(fields: tuple[int, ...], message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_audio(_wav(struct.pack("<HHIIHH", *fields), bytes(3200)))


def test_broken_wav_structure() -> None:
    good = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    with pytest.raises(AudioError, match="ends inside its header"):
        read_audio(_wav(good, bytes(100))[:30])
    with pytest.raises(AudioError, match='no "fmt " chunk'):
        read_audio(b"RIFF\x00\x00\x00\x00WAVEdata\x10\x00\x00\x00" + bytes(16))
    with pytest.raises(AudioError, match="a format chunk of 4 bytes"):
        read_audio(_wav(good[:4], bytes(100)))
    with pytest.raises(AudioError, match="announces 20 more bytes"):
        read_audio(_wav(good, bytes(100))[:-20])
    with pytest.raises(AudioError, match="the audio is empty"):
        read_audio(_wav(good, b""))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 20_000.0])
def test_floating_point_that_is_no_audio(bad: float) -> None:
    samples = np.zeros(1000, "<f4")
    samples[500] = bad
    data = _wav(struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32), samples.tobytes())
    with pytest.raises(AudioError, match="a floating-point sample has the magnitude"):
        read_audio(data)


def _wav(fmt: bytes, samples: bytes, before: bytes = b"") -> bytes:
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + before
    chunks += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
