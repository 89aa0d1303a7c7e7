"""Calls that no client of ours would make: any number of them, each known by its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hostile_media import EXTREMES, HostileMedia, damage
from ossicle.speech.v1 import speech_pb2 as pb

SPEECH = "/ossicle.speech.v1.SpeechService/"
_OTHERS = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    SPEECH + "ListModels",
    SPEECH + "Recognise",
    "/a/b",
)
# As long as what it is replaced by on the wire, where texts must be UTF-8.
_NO_TEXT, _NO_UTF8 = "NOTATEXT", b"\xff\xfe\xc0\x80\xed\xa0\x80\xff"
_TEXTS = ("", " ", "\0", "en-US", "de", "%s%n", "../..", "\N{EAR}" * 300, "a" * 30_000, _NO_TEXT)
_NUMBERS = (0, 1, -1, 2, 7, 10, 11, 99, 8000, 16_000, 44_100, 192_000, 192_001)
_FLOATS = (0.0, 1.0, 19.9, 20.1, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))


@dataclass(frozen=True)
class HostileCall:
    """One call.

    Attributes:
        path: its method.
        messages: what is sent, as bytes.
        metadata: what goes with it.
        leaves: whether the client leaves after the first answer, or in the midst of sending.
        timeout: seconds that it gives the server; None for as many as it takes.
    """

    path: str
    messages: tuple[bytes, ...]
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    leaves: bool = False
    timeout: float | None = None


class HostileRequests:
    """Calls of every method: wild fields, damaged recordings, and bytes that are no message."""

    def __init__(self) -> None:
        self.media = HostileMedia()

    def call(self, seed: int) -> HostileCall:
        """The call of a seed."""
        rng = random.Random(seed)
        kind = rng.random()
        if kind < 0.5:
            path, messages = SPEECH + "StreamingRecognize", self._stream(rng)
        elif kind < 0.85:
            path, messages = SPEECH + "Recognize", [self._recording(rng)]
        else:
            path = rng.choice(_OTHERS)
            messages = [rng.randbytes(rng.choice((0, 1, 5, 100)))]
        messages = [_on_the_wire(rng, message) for message in messages]
        if rng.random() < 0.03:
            messages = messages * 2 if rng.random() < 0.5 else []
        return HostileCall(
            path,
            tuple(messages),
            _metadata(rng),
            leaves=path.endswith("/Watch") or rng.random() < 0.05,
            timeout=rng.choice((0.001, 0.01, 0.1)) if rng.random() < 0.03 else None,
        )

    def _recording(self, rng: random.Random) -> bytes:
        audio, config = self._audio(rng)
        request = pb.RecognizeRequest(config=config, audio_content=audio)
        if rng.random() < 0.3:
            fill(request, rng, 0.3)
        return request.SerializeToString()

    def _stream(self, rng: random.Random) -> list[bytes]:
        audio, config = self._audio(rng)
        opening = pb.StreamingRecognitionConfig(config=config, interim_results=True)
        if rng.random() < 0.4:
            fill(opening, rng, rng.choice((0.1, 0.6)))
        requests = [pb.StreamingRecognizeRequest(streaming_config=opening)]
        while audio:
            size = rng.choice((1, 100, 1600, 1601, 30_000))
            requests.append(pb.StreamingRecognizeRequest(audio_content=audio[:size]))
            audio = audio[size:] if len(requests) < 40 else b""
        for _ in range(rng.choice((0, 0, 1, 2, 10))):
            other = rng.choice(
                (
                    pb.StreamingRecognizeRequest(finalize=pb.Finalize()),
                    pb.StreamingRecognizeRequest(audio_content=b""),
                    pb.StreamingRecognizeRequest(),
                    requests[0],
                )
            )
            requests.insert(rng.randrange(len(requests) + 1), other)
        if rng.random() < 0.05:
            rng.shuffle(requests)
        return [request.SerializeToString() for request in requests]

    def _audio(self, rng: random.Random) -> tuple[bytes, pb.RecognitionConfig]:
        """Some audio, and a configuration that mostly fits."""
        config = pb.RecognitionConfig()
        if rng.random() < 0.7:
            _, audio = self.media.damaged(rng.randrange(1 << 40))
        else:
            audio = rng.randbytes(rng.choice((0, 1, 3200, 9601)))
            config.encoding = rng.choice((1, 3, 4))
            config.sample_rate_hertz = 16_000
        if rng.random() < 0.2:
            fill(config, rng, 0.15)
        return audio, config


def fill(message: Message, rng: random.Random, share: float) -> None:
    """Put anything that its type allows into some fields of a message, and of those within it."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() > share:
            continue
        if not field.is_repeated:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                part = getattr(message, field.name)
                part.SetInParent()
                fill(part, rng, 0.5)
            else:
                setattr(message, field.name, _value(field, rng))
            continue
        parts = getattr(message, field.name)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for _ in range(rng.choice((1, 1, 2, 5))):
                fill(parts.add(), rng, 0.5)
        else:
            value = _value(field, rng)
            parts.extend([value] * rng.choice((1, 2, 30, 1100 if len(value) < 1000 else 3)))


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(_TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 1000)))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return rng.choice(_FLOATS)
    bits = 64 if field.type == FieldDescriptor.TYPE_INT64 else 32
    number = rng.choice((*_NUMBERS, *EXTREMES)) % (1 << bits)
    return number - (1 << bits) if number >> (bits - 1) else number


def _on_the_wire(rng: random.Random, message: bytes) -> bytes:
    """The bytes of a message, which a few times are none."""
    message = message.replace(_NO_TEXT.encode(), _NO_UTF8)
    kind = rng.random()
    if kind < 0.06:
        data = bytearray(message)
        for _ in range(rng.choice((1, 2, 10))):
            # Its first bytes say what it is.
            damage(rng, data, rng.randrange(min(len(data), rng.choice((8, 100, 1 << 20))) + 1))
        return bytes(data)
    if kind < 0.07:
        return rng.randbytes(rng.choice((1, 10, 1000)))
    if kind < 0.08:  # groups within groups, and a field that nobody knows
        return message + b"\x9b\x06" * rng.choice((1, 10_000))
    if kind < 0.09:
        return message + b"\x9a\x06\x04even" * rng.choice((1, 10_000))
    return message


def _metadata(rng: random.Random) -> tuple[tuple[str, str | bytes], ...]:
    if rng.random() > 0.1:
        return ()
    return rng.choice(
        (
            (("x-request-id", rng.choice(("", " ", "a" * 65, "a:b.c-d_e", "%0a%0d", "{}"))),),
            (("authorization", rng.choice(("", "Bearer", "Bearer  ", "Basic YTpi"))),),
            (("traceparent", rng.choice(("", "00-0-0-00", "00-" + "f" * 32 + "-0-01"))),),
            (("noise-bin", rng.randbytes(rng.choice((0, 100, 4000)))),) * 3,
        )
    )
