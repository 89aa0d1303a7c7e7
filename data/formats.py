"""What audio may come in: encodings, rates, channel counts, and the marks of each container."""

from __future__ import annotations

from enum import Enum

SAMPLE_RATE = 16_000
"""Samples a second of all audio inside Ossicle."""

MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 8


class AudioError(ValueError):
    """Audio cannot be decoded; the message names the offending value and the remedy."""


class AudioTooLongError(AudioError):
    """Audio goes on past the length that the caller allows."""


class Encoding(str, Enum):
    """How the bytes of a recording are encoded.

    `LINEAR16` (little-endian), `MULAW` and `ALAW` are bare samples without a header; the others
    are containers that say themselves what they hold; `AUTO` finds out which container it is.
    """

    AUTO = "auto"
    LINEAR16 = "linear16"
    MULAW = "mulaw"
    ALAW = "alaw"
    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OGG_OPUS = "ogg_opus"
    WEBM_OPUS = "webm_opus"
    M4A = "m4a"

    @property
    def headerless(self) -> bool:
        """Whether the rate and channel count must be told, as no header tells them."""
        return self in (Encoding.LINEAR16, Encoding.MULAW, Encoding.ALAW)


RECORDING_SUFFIXES = frozenset(
    (
        *(".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac", ".m4a"),
        *(".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".tta", ".w64", ".wav"),
        *(".weba", ".wma", ".wv"),
        *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"),
    )
)
"""What of a folder is taken for a recording; what a file named by itself holds is seen by its
bytes."""

HEAD_BYTES = 12
"""As many bytes of the beginning as `container_of` needs to be certain."""


def container_of(head: bytes) -> Encoding | None:
    """The container that a recording starting with `head` is in, `None` if it is none we know.

    Deciding here, and not by FFmpeg's probing, keeps its playlist and network formats out of
    reach of uploaded bytes and gives an answer after twelve bytes.
    """
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return Encoding.WAV
    if head[:4] == b"fLaC":
        return Encoding.FLAC
    if head[:4] == b"OggS":
        return Encoding.OGG_OPUS
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Encoding.WEBM_OPUS
    if head[4:8] == b"ftyp":
        return Encoding.M4A
    # Eleven bits of frame synchronisation, any MPEG version, layer III.
    mpeg_frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    if head[:3] == b"ID3" or mpeg_frame:
        return Encoding.MP3
    return None


def id3_bytes(head: bytes) -> int:
    """Bytes of the ID3 tag that a recording starts with; 0 if there is none."""
    version, flags, size = head[3:5], head[5:6], head[6:10]
    if head[:3] != b"ID3" or len(size) < 4 or 0xFF in version or max(size) > 0x7F:
        return 0
    header_and_footer = 20 if flags[0] & 0x10 else 10
    return header_and_footer + sum(bits << 7 * (3 - place) for place, bits in enumerate(size))


def check_rate(rate: int) -> None:
    """Refuse sample rates that are no audio or that we do not resample.

    Raises:
        AudioError: `rate` in Hz lies outside 8000 to 192 000.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"a sample rate of {rate} Hz is not supported; send {MIN_RATE} to {MAX_RATE} Hz "
            f"({SAMPLE_RATE} is best)"
        )


def check_channels(channels: int) -> None:
    """Refuse channel counts other than 1 to 8.

    Raises:
        AudioError: naming the count.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{channels} channels are not supported; send 1 to {MAX_CHANNELS}")


def check_declared(
    declared_rate: int, declared_channels: int, rates: tuple[int, ...], channels: int
) -> None:
    """Refuse a declaration that disagrees with the header; 0 declares nothing.

    Args:
        declared_rate: What the caller says, in Hz.
        declared_channels: What the caller says.
        rates: The rates in Hz that the header gives; Opus has two, of the codec and of the source.
        channels: The channel count that the header gives.

    Raises:
        AudioError: stating both values.
    """
    if declared_rate and declared_rate not in rates:
        raise AudioError(
            f"the sample rate is declared as {declared_rate} Hz but the header says "
            f"{' or '.join(f'{rate} Hz' for rate in rates)}; declare that or 0 to use the header"
        )
    if declared_channels and declared_channels != channels:
        raise AudioError(
            f"{declared_channels} channels are declared but the header says {channels}; "
            "declare that or 0 to use the header"
        )
