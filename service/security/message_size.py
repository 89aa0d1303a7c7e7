"""How much a message holds besides audio, found out before anything is made of it.

A message in protobuf's own form may have a field every two bytes, each of which becomes an object
of some dozens of bytes: the megabytes that audio may have would take gigabytes, and half a minute
of the event loop. The form is that of https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from ossicle.service.errors import ServiceError
from ossicle.speech.v1 import speech_pb2 as pb

Message = TypeVar("Message")

MAX_SETTINGS_BYTES = 1 << 18
"""A configuration with all the phrases and all the text before that it may have is smaller."""

FIELD_BYTES = 64
"""What a field of the message itself counts at least: of very many, few are to be looked at."""

_AUDIO = pb.StreamingRecognizeRequest.AUDIO_CONTENT_FIELD_NUMBER
assert _AUDIO == pb.RecognizeRequest.AUDIO_CONTENT_FIELD_NUMBER
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def sized(deserialize: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    """A deserializer that does the same, but raises for messages with too much besides audio.

    It raises ServiceError with OUT_OF_RANGE.
    """

    def checked(message: bytes) -> Message:
        if exceeds(message, MAX_SETTINGS_BYTES):
            raise ServiceError(
                grpc.StatusCode.OUT_OF_RANGE,
                f"the message has more than {MAX_SETTINGS_BYTES} bytes besides audio_content; send "
                "fewer phrases and less text",
            )
        return deserialize(message)

    return checked


def exceeds(message: bytes, most: int) -> bool:
    """Whether a message has more than so many bytes that are not audio.

    What is no protobuf counts as far as it can be told apart.
    """
    place = besides = 0
    while place < len(message) and besides <= most:
        begin = place
        tag, place = _varint(message, place)
        kind, size = tag & 7, 0
        if kind in (_VARINT, _LENGTH):
            value, place = _varint(message, place)
            size = value if kind == _LENGTH else 0
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        place = min(place + size, len(message))
        audio = size if (tag >> 3, kind) == (_AUDIO, _LENGTH) else 0
        besides += max(place - begin - audio, FIELD_BYTES)
    return besides > most


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of at most ten bytes, and where the next part begins."""
    value = 0
    for count, byte in enumerate(message[place : place + 10]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, place + count + 1
    return value, min(place + 10, len(message))
