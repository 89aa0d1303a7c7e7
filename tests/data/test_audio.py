"""Every container: the right samples, the same however they are read."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ossicle.data.audio import (
    AudioError,
    AudioTooLongError,
    Encoding,
    open_decoder,
    read_audio,
    stream_audio,
)
from recipes import Int16, Recipe, encode

Samples = npt.NDArray[np.float32]

EVERY = [
    "flac",
    "flac-stereo-44k",
    "mp3",
    "mp3-stereo-48k",
    "ogg-opus",
    "ogg-vorbis",
    "webm-opus",
    "m4a-index-last",
    "m4a-index-first",
    "m4a-fragmented",
    "wav",
    "wav-24",
    "wav-float",
    "wav-mulaw-8k",
]


def push(data: bytes, sizes: list[int], **declared: object) -> Samples:
    """Feed `data` in pieces of the given sizes, over and over."""
    blocks, position, turn = [], 0, 0
    with open_decoder(**declared) as decoder:  # type: ignore[arg-type]
        while position < len(data):
            size = sizes[turn % len(sizes)]
            blocks.append(decoder.feed(data[position : position + size]))
            position, turn = position + size, turn + 1
        blocks.append(decoder.finish())
    return np.concatenate(blocks)


def best_correlation(decoded: Samples, speech: Samples) -> float:
    """Correlation with the original at the best of all lags up to 150 ms."""
    size = 1 << 17
    middle = speech[4000:40000]
    spectrum = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(middle, size))
    lag = int(np.argmax(np.fft.irfft(spectrum)[1600:6400])) + 1600
    return float(np.corrcoef(decoded[lag : lag + len(middle)], middle)[0, 1])


@pytest.mark.parametrize("name", EVERY)
def test_container_holds_the_speech(
    name: str, recordings: dict[str, bytes], speech: npt.NDArray[np.int16]
) -> None:
    samples = read_audio(recordings[name])
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    # Codecs pad by less than a tenth of a second.
    assert 0 <= len(samples) - len(speech) < 2000
    assert best_correlation(samples, speech / 32768) > 0.94


@pytest.mark.parametrize("name", ["flac", "wav", "wav-float"])
def test_lossless_containers_are_exact(
    name: str, recordings: dict[str, bytes], speech: npt.NDArray[np.int16]
) -> None:
    np.testing.assert_array_equal(read_audio(recordings[name]), speech / np.float32(32768))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_flac_agrees_with_libsndfile(subtype: str, speech: npt.NDArray[np.int16]) -> None:
    file = io.BytesIO()
    wide = (np.stack([speech, speech[::-1]], 1).astype(np.int32) << 16) + 0x1200
    soundfile.write(file, wide, 24_000, format="FLAC", subtype=subtype)
    file.seek(0)
    reference = soundfile.read(file, dtype="float32")[0].mean(axis=1)
    expected = soxr.resample(reference, 24_000, 16_000)
    np.testing.assert_allclose(read_audio(file.getvalue()), expected, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_all_ways_of_reading_agree(name: str, recordings: dict[str, bytes], tmp_path: Path) -> None:
    data = recordings[name]
    path = tmp_path / name
    path.write_bytes(data)
    whole = read_audio(data)
    for source in (path, str(path), io.BytesIO(data)):
        np.testing.assert_array_equal(read_audio(source), whole)
    blocks = list(stream_audio(path, block_seconds=0.3))
    assert {len(block) for block in blocks[:-1]} == {4800}
    assert 0 < len(blocks[-1]) <= 4800
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    np.testing.assert_array_equal(push(data, [len(data)]), whole)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(20, 5000), min_size=1, max_size=5))
def test_chunking_of_containers_does_not_matter(
    name: str, recordings: dict[str, bytes], sizes: list[int]
) -> None:
    np.testing.assert_array_equal(push(recordings[name], sizes), read_audio(recordings[name]))


@pytest.mark.parametrize("name", ["mp3-stereo-48k", "ogg-opus", "webm-opus", "m4a-fragmented"])
def test_byte_by_byte(name: str, recordings: dict[str, bytes]) -> None:
    np.testing.assert_array_equal(push(recordings[name], [1]), read_audio(recordings[name]))


def test_live_pipe_gives_audio_before_it_ends(recordings: dict[str, bytes]) -> None:
    data = recordings["webm-opus"]
    reading, writing = os.pipe()
    first_block = threading.Event()

    def write() -> None:
        with open(writing, "wb", buffering=0) as pipe:
            pipe.write(data[: len(data) // 2])
            assert first_block.wait(10)
            pipe.write(data[len(data) // 2 :])

    writer = threading.Thread(target=write)
    writer.start()
    blocks = []
    with open(reading, "rb") as pipe:
        for block in stream_audio(pipe, block_seconds=0.1):
            blocks.append(block)
            first_block.set()
    writer.join()
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(data))


def test_pictures_and_video_are_passed_over(recordings: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "video.webm"
    with av.open(io.BytesIO(recordings["webm-opus"])) as source, av.open(str(path), "w") as output:
        video = output.add_stream("libvpx", rate=5)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = output.add_stream_from_template(source.streams.audio[0])
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for number in range(5):
            frame.pts = number
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = audio
                output.mux(packet)
    assert abs(len(read_audio(path)) - len(read_audio(recordings["webm-opus"]))) < 400


@pytest.mark.parametrize(
    ("container", "codec"),
    [("avi", "mp3"), ("mpegts", "aac"), ("mov", "aac"), ("flv", "aac"), ("aiff", "pcm_s16be")],
)
def test_a_file_may_be_in_any_container_that_ffmpeg_knows(
    container: str,
    codec: str,
    speech: npt.NDArray[np.int16],
    tmp_path: Path,
) -> None:
    path = tmp_path / f"recording.{container}"
    encode(speech, Recipe(container, codec, 44_100), path)
    assert best_correlation(read_audio(path), speech.astype(np.float32) / 32768) > 0.95


def test_the_length_of_a_file_without_one_is_not_guessed(
    speech: npt.NDArray[np.int16], tmp_path: Path
) -> None:
    """FFmpeg takes the bit rate of the quiet beginning for that of all."""
    path = tmp_path / "recording.aac"
    quiet = np.zeros(64_000, np.int16)
    encode(np.concatenate([quiet, speech]), Recipe("adts", "aac", 16_000), path)
    samples = read_audio(path)
    assert abs(len(samples) - len(quiet) - len(speech)) < 4_000


def test_a_long_video_whose_index_is_last_is_read_without_being_held(
    tmp_path: Path,
) -> None:
    """Pushed bytes of such a file would have to be kept until the index comes."""
    path = tmp_path / "long.mp4"
    data = encode(np.zeros(48_000, np.int16), Recipe("mp4", "aac"), path)
    index = data.index(b"moov") - 4
    # Before the index a box of 80 MiB that nobody reads and that takes no room on the disk.
    with path.open("wb") as file:
        file.write(data[:index])
        file.write((80 << 20).to_bytes(4, "big") + b"free")
        file.seek((80 << 20) - 8, os.SEEK_CUR)
        file.write(data[index:])
    tracemalloc.start()
    seconds = sum(len(block) for block in stream_audio(path)) / 16_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds > 2.9
    assert peak < 8 << 20


def test_a_playlist_is_not_followed(tmp_path: Path) -> None:
    encode(np.zeros(48_000, np.int16), Recipe("mpegts", "aac"), tmp_path / "part.ts")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\npart.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="no audio we know"):
        read_audio(playlist)


def test_unknown_codec_is_refused(recordings: dict[str, bytes]) -> None:
    data = recordings["webm-opus"].replace(b"A_OPUS", b"A_NONE")
    with pytest.raises(AudioError, match=r"WEBM is in a codec that is not known.*FLAC"):
        read_audio(data)


def test_container_without_audio(tmp_path: Path) -> None:
    path = tmp_path / "silent.webm"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libvpx", rate=5)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    with pytest.raises(AudioError, match="has no audio in it"):
        read_audio(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"RIFF", "no audio we know"),
        (b"This is a letter, not a recording.\n" * 100, "starts with b'This is a le'"),
        (bytes(100_000), "write samples without a header into a WAV file"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "no audio we know"),
        (b"fLaC" + b"\xff" * 5000, "not FLAC audio"),
        (b"OggS" + b"\x00" * 5000, "not OGG audio"),
        (b"\x1a\x45\xdf\xa3" + b"\x55" * 5000, "not WEBM audio"),
        (b"\x00\x00\x00\x18ftypM4A " + b"\x00" * 5000, "M4A file is damaged"),
        (b"ID3\x04" + b"\x00" * 5000, "no audio we know"),
        (b"\xff\xfb" + b"\x00" * 5000, "not MP3 audio"),
    ],
)
def test_what_is_no_audio_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_audio(data)
    with pytest.raises(AudioError, match=message):
        push(data, [1000])


@pytest.mark.parametrize("container", ["FLAC", "OGG", "WAV"])
@pytest.mark.parametrize("channels", range(1, 10))
def test_one_to_eight_channels_are_averaged(
    container: str, channels: int, speech: npt.NDArray[np.int16]
) -> None:
    """PyAV itself takes eight planes of samples for nine, and reads what is behind the last."""
    file = io.BytesIO()
    silent = np.zeros((len(speech), channels - 1), np.int16)
    if container == "FLAC" and channels == 9:
        pytest.skip("FLAC has eight channels at most")
    soundfile.write(file, np.column_stack([speech, silent]), 16_000, format=container)
    if channels == 9:
        with pytest.raises(AudioError, match="9 channels are not supported; send 1 to 8"):
            read_audio(file.getvalue())
        return
    samples = read_audio(file.getvalue())
    expected = speech / (32768 * channels)
    assert np.abs(samples[: len(speech)] - expected).max() < (0.1 if container == "OGG" else 1e-4)
    assert np.corrcoef(samples[: len(speech)], expected)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["flac", "wav", "m4a-index-last", "m4a-index-first"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_truncation_is_noticed(name: str, share: float, recordings: dict[str, bytes]) -> None:
    data = recordings[name]
    with pytest.raises(AudioError, match=r"cut short|damaged|not M4A audio"):
        push(data[: int(len(data) * share)], [1000])


def test_an_error_stays() -> None:
    decoder = open_decoder()
    for _ in range(3):
        with pytest.raises(AudioError, match="no audio we know"):
            decoder.feed(b"This is a letter.")
    with pytest.raises(AudioError, match="no audio we know"):
        decoder.finish()


def test_truncated_flac_gives_what_came_before(recordings: dict[str, bytes]) -> None:
    data, whole = recordings["flac"], read_audio(recordings["flac"])
    decoder = open_decoder()
    delivered = decoder.feed(data[:-2000])
    assert len(delivered) > 16_000
    np.testing.assert_array_equal(delivered, whole[: len(delivered)])
    with pytest.raises(AudioError, match="cut short"):
        decoder.finish()


def test_flac_truncated_between_frames(recordings: dict[str, bytes]) -> None:
    data = recordings["flac"]
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    tail = sum(packet.size for packet in packets[-3:])
    with pytest.raises(AudioError, match=r"cut short: 2\.\d\d s of the 3\.00 s"):
        read_audio(data[:-tail])


@pytest.mark.parametrize(
    ("name", "declared", "message"),
    [
        ("flac", {"encoding": Encoding.MP3}, "declared MP3 but starts like FLAC"),
        ("flac", {"sample_rate": 8000}, "declared as 8000 Hz but the header says 16000 Hz"),
        ("flac", {"channels": 2}, "2 channels are declared but the header says 1"),
        ("wav", {"sample_rate": 44_100}, "declared as 44100 Hz but the header says 16000 Hz"),
        ("ogg-opus", {"sample_rate": 8000}, "declared as 8000 Hz but the header says 48000 Hz"),
        ("ogg-vorbis", {"encoding": Encoding.OGG_OPUS}, "declared OGG_OPUS but it is vorbis"),
    ],
)
def test_disagreeing_declarations_are_refused(
    name: str, declared: dict[str, object], message: str, recordings: dict[str, bytes]
) -> None:
    with pytest.raises(AudioError, match=message):
        push(recordings[name], [4000], **declared)


@pytest.mark.parametrize(
    ("name", "encoding", "rate"),
    [
        ("flac", Encoding.FLAC, 16_000),
        ("mp3", Encoding.MP3, 16_000),
        ("ogg-opus", Encoding.OGG_OPUS, 48_000),
        ("webm-opus", Encoding.WEBM_OPUS, 48_000),
        ("m4a-index-last", Encoding.M4A, 44_100),
        ("wav", Encoding.WAV, 16_000),
        ("wav", Encoding.AUTO, 16_000),
    ],
)
def test_true_declarations_are_accepted(
    name: str, encoding: Encoding, rate: int, recordings: dict[str, bytes]
) -> None:
    samples = push(recordings[name], [4000], encoding=encoding, sample_rate=rate)
    np.testing.assert_array_equal(samples, read_audio(recordings[name]))


def test_opus_may_be_declared_at_the_rate_of_its_source(speech: npt.NDArray[np.int16]) -> None:
    file = io.BytesIO()
    soundfile.write(file, speech, 16_000, format="OGG", subtype="OPUS")
    declared = push(file.getvalue(), [1000], encoding=Encoding.OGG_OPUS, sample_rate=16_000)
    np.testing.assert_array_equal(declared, read_audio(file.getvalue()))


@pytest.mark.parametrize("name", ["flac", "mp3", "ogg-opus", "webm-opus", "m4a-index-last", "wav"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 1])
def test_close_at_any_moment(name: str, share: float, recordings: dict[str, bytes]) -> None:
    before = threading.active_count()
    decoder = open_decoder()
    decoder.feed(recordings[name][: int(len(recordings[name]) * share)])
    decoder.close()
    decoder.close()
    with pytest.raises(RuntimeError, match="closed"):
        decoder.feed(b"x")
    _await_threads(before)


@pytest.mark.parametrize("container", ["mp3", "flac", "ogg-opus"])
@pytest.mark.parametrize("attempt", range(8))
def test_close_while_another_thread_feeds(
    recordings: dict[str, bytes], container: str, attempt: int
) -> None:
    before = threading.active_count()
    decoder = open_decoder()
    started = threading.Event()

    def feed() -> None:
        try:
            for start in range(0, len(recordings[container]), 100):
                decoder.feed(recordings[container][start : start + 100])
                started.set()
            while True:
                decoder.feed(b"")
        except RuntimeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert started.wait(10)
    decoder.close()
    feeder.join(10)
    assert not feeder.is_alive()
    _await_threads(before)


def test_forgotten_decoder_takes_its_thread_along(recordings: dict[str, bytes]) -> None:
    before = threading.active_count()
    decoder = open_decoder()
    decoder.feed(recordings["ogg-opus"][:5000])
    assert threading.active_count() == before + 1
    del decoder
    _await_threads(before)


def _await_threads(count: int) -> None:
    for thread in threading.enumerate():
        if thread.name == "audio-decoder":
            thread.join(10)
    assert threading.active_count() == count


def test_hours_of_silence_in_little_flac_stay_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "silence.flac"
    seconds = 1200
    soundfile.write(path, np.zeros(seconds * 16_000, np.int16), 16_000)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    samples = sum(len(block) for block in stream_audio(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert samples == seconds * 16_000
    assert peak < 10_000_000 < samples * 4

    decoder = open_decoder(max_seconds=60)
    with pytest.raises(AudioTooLongError, match="longer than the allowed 60 s"):
        decoder.feed(path.read_bytes())
    decoder.close()


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_audio_that_is_too_long_is_decoded_up_to_there(rate: int) -> None:
    decoder = open_decoder(Encoding.LINEAR16, rate, 1, max_seconds=3)
    decoded: list[int] = []
    with pytest.raises(AudioTooLongError):
        decoded.extend(map(len, decoder.feed_blocks(bytes(2 * rate * 5))))
    assert sum(decoded) == 3 * 16_000


def test_use_after_finish_is_refused(recordings: dict[str, bytes]) -> None:
    decoder = open_decoder()
    decoder.feed(recordings["mp3"])
    decoder.finish()
    with pytest.raises(RuntimeError, match="open another"):
        decoder.feed(b"more")


def id3(size: int) -> bytes:
    return (
        b"ID3\x04\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)
    )


@pytest.mark.parametrize("before", [id3(30), id3(30) + id3(5000)], ids=["one", "two"])
@pytest.mark.parametrize("name", ["aac", "mp3", "mp3-stereo-48k"])
def test_files_behind_tags_are_read(
    recordings: dict[str, bytes], speech: Int16, tmp_path: Path, name: str, before: bytes
) -> None:
    path, plain = tmp_path / "tagged", tmp_path / "plain"
    if name == "aac":
        encode(speech, Recipe("adts", "aac"), plain)
    else:
        plain.write_bytes(recordings[name])
    path.write_bytes(before + plain.read_bytes())
    np.testing.assert_array_equal(read_audio(path), read_audio(plain))


@pytest.mark.parametrize("tag", [b"", id3(30)])
@pytest.mark.parametrize("damage", ["padding", "cut"])
def test_mp3_files_may_begin_anywhere(
    recordings: dict[str, bytes], tmp_path: Path, tag: bytes, damage: str
) -> None:
    data = recordings["mp3"]
    path = tmp_path / "ripped.mp3"
    path.write_bytes(tag + (bytes(200) + data if damage == "padding" else data[1000:]))
    whole = read_audio(data)
    assert abs(len(read_audio(path)) - len(whole)) < 0.5 * 16_000


def test_a_recording_that_ends_inside_its_tag_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp3"
    path.write_bytes(id3(1000)[:500])
    with pytest.raises(AudioError, match="announces 510 more bytes"):
        read_audio(path)


def test_missing_file_and_bad_block(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "nowhere.wav")
    with pytest.raises(ValueError, match="block_seconds is 0"):
        next(stream_audio(b"", block_seconds=0))
