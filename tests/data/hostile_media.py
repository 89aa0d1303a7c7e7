"""Recordings that somebody has tampered with: any number of them, each known by its seed."""

from __future__ import annotations

import random
import tempfile
from functools import cached_property
from pathlib import Path

import soundfile
from checksums import flac_repaired, ogg_repaired
from ossicle.data.sample import sample_path
from recipes import every_recording

# What a parser takes for a length, a count, a rate or an offset.
EXTREMES = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 65535, 1 << 16, 1 << 24)
EXTREMES += (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10_000_000, 1 << 62, (1 << 64) - 1)

# Behind these are the numbers that a demuxer believes.
_MARKS = (
    *(b"moov", b"mvhd", b"tkhd", b"mdhd", b"hdlr", b"stsd", b"mp4a", b"esds", b"stts", b"stsc"),
    *(b"stsz", b"stco", b"ctts", b"elst", b"moof", b"tfhd", b"tfdt", b"trun", b"mdat", b"ftyp"),
    *(b"RIFF", b"fmt ", b"data", b"ds64", b"LIST", b"fLaC", b"ID3", b"Xing", b"Info", b"LAME"),
    *(b"OggS", b"OpusHead", b"OpusTags", b"\x01vorbis", b"\x03vorbis", b"\x05vorbis"),
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"),
    *(b"\x15\x49\xa9\x66", b"A_OPUS", b"webm", b"\xa3", b"\xb5", b"\x9f", b"\xae", b"\xe1"),
)


class HostileMedia:
    """Damaged recordings, each container and codec we read in its turn."""

    @cached_property
    def recordings(self) -> dict[str, bytes]:
        """What the damage is done to: four tenths of a second of speech."""
        speech, _ = soundfile.read(sample_path(), dtype="int16", start=8000, stop=14_400)
        with tempfile.TemporaryDirectory() as folder:
            made = every_recording(speech, Path(folder))
        vorbis = bytearray(made["ogg-vorbis"])
        ogg_repaired(vorbis, serial=b"same")  # by chance, otherwise
        return {**made, "ogg-vorbis": bytes(vorbis)}

    def damaged(self, seed: int) -> tuple[str, bytes]:
        """The name of a recording, and its bytes after some damage."""
        rng = random.Random(seed)
        names = sorted(self.recordings)
        name = names[seed % len(names)]
        data = bytearray(self.recordings[name])
        kind = rng.random()
        if kind < 0.05:  # what looks right for a few bytes and is noise from there
            data[rng.randrange(4, 200) :] = rng.randbytes(rng.randrange(3000))
        elif kind < 0.1:
            del data[rng.randrange(len(data)) :]
        elif kind < 0.15:  # the beginning of one and the end of another
            other = self.recordings[rng.choice(names)]
            data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
        else:
            for _ in range(rng.choice((1, 1, 2, 3, 5, 9, 20))):
                damage(rng, data, _place(rng, data))
        # Where checksums are wrong, what else is wrong is not looked at.
        if rng.random() < 0.8:
            if name.startswith("ogg"):
                ogg_repaired(data)
            elif name.startswith("flac"):
                flac_repaired(data)
        return name, bytes(data)


def damage(rng: random.Random, data: bytearray, place: int) -> None:
    """Change something at a place of some bytes."""
    kind = rng.randrange(9)
    size = rng.choice((1, 2, 3, 4, 8, 30, 500))
    if kind <= 1 and data:
        data[min(place, len(data) - 1)] ^= 1 << rng.randrange(8)
    elif kind <= 4:
        width = rng.choice((1, 2, 4, 8))
        number = rng.choice(EXTREMES) & ((1 << 8 * width) - 1)
        data[place : place + width] = number.to_bytes(width, rng.choice(("big", "little")))
    elif kind == 5:
        data[place : place + size] = rng.randbytes(size)
    elif kind == 6:
        del data[place : place + size]
    elif kind == 7:
        data[place:place] = rng.randbytes(size)
    else:
        data[place:place] = data[place : place + size] * rng.choice((1, 2, 50))


def _place(rng: random.Random, data: bytearray) -> int:
    """Somewhere in a recording, mostly where it tells of itself."""
    kind = rng.random()
    if kind < 0.4:
        at = data.find(rng.choice(_MARKS))
        if at >= 0:
            return at + rng.randrange(40)
    if kind < 0.7:
        return rng.randrange(min(len(data), 300) + 1)
    return rng.randrange(len(data) + 1)
