"""What callers give as audio, as the bytes that are sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.data.pcm import to_linear16
from ossicle.service.limits import CLIENTS_SEND_BYTES
from ossicle.service.values import Finalize
from ossicle.speech.v1 import speech_pb2 as pb

Array = NDArray[np.floating[Any]] | NDArray[np.int16]
"""Samples (N,), or (N, C) of C channels: floating-point ones in -1 to 1, or 16-bit integers."""

Audio = bytes | str | os.PathLike[str] | Array
"""A recording: the bytes of a file, its path, or samples."""

Chunk = bytes | Array | Finalize
"""A piece of a stream: bytes cut anywhere, or samples; or a request for a final result now."""


def recording_bytes(audio: Audio, config: pb.RecognitionConfig) -> bytes:
    """The bytes of a recording; ``config`` is told what those of an array are.

    Raises:
        OSError: the file cannot be read.
        ValueError, AudioError: as of :func:`parts`.
        TypeError: it is none of these.
    """
    if isinstance(audio, np.ndarray):
        if config.encoding == pb.AUDIO_ENCODING_UNSPECIFIED:
            config.encoding = pb.AUDIO_ENCODING_LINEAR16
        if audio.ndim == 2 and not config.audio_channel_count:
            config.audio_channel_count = audio.shape[1]
        return _array_bytes(audio, config)
    if isinstance(audio, (str, os.PathLike)):
        return Path(audio).read_bytes()
    if isinstance(audio, (bytes, bytearray, memoryview)):
        return bytes(audio)
    raise TypeError(
        f"a recording is {type(audio).__name__}; give a path, the bytes of a file, or a numpy array"
    )


def parts(chunk: Chunk, config: pb.RecognitionConfig) -> Iterator[bytes | Finalize]:
    """One chunk in pieces that fit into a message: a long one is cut, an empty one has none.

    Raises:
        ValueError: an array in a stream of another encoding, without a rate, or of another shape.
        AudioError: a sample of an array is not a number, or far outside of -1 to 1.
        TypeError: the chunk is neither bytes nor samples.
    """
    if isinstance(chunk, Finalize):
        yield chunk
        return
    if isinstance(chunk, np.ndarray):
        chunk = _array_bytes(chunk, config)
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"a chunk of audio is {type(chunk).__name__}; give bytes, a numpy array or Finalize()"
        )
    view = memoryview(chunk).cast("B")
    for start in range(0, len(view), CLIENTS_SEND_BYTES):
        yield bytes(view[start : start + CLIENTS_SEND_BYTES])


def _array_bytes(samples: NDArray[Any], config: pb.RecognitionConfig) -> bytes:
    """Samples (N,) or (N, C) as signed 16-bit little-endian ones, interleaved."""
    if config.encoding != pb.AUDIO_ENCODING_LINEAR16 or not config.sample_rate_hertz:
        raise ValueError(
            "an array needs encoding='linear16', which it is sent as, and its sample_rate; got "
            f"{pb.AudioEncoding.Name(config.encoding)} and {config.sample_rate_hertz}"
        )
    channels = config.audio_channel_count or 1
    if samples.ndim not in (1, 2) or (samples.shape[1] if samples.ndim == 2 else 1) != channels:
        raise ValueError(
            f"an array has the shape {samples.shape}; give (N,) for one channel, or (N, channels) "
            f"and channels, which is {channels}"
        )
    if samples.dtype == np.int16:
        return samples.astype("<i2").tobytes()
    if not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(
            f"an array has {samples.dtype} samples; give floating-point ones in -1 to 1, or int16"
        )
    return to_linear16(samples)
