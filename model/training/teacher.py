"""A teacher: a network trained on far more speech, whose hearing a pupil learns to foretell.

Texts tell which words are in a recording. What an encoder of many speakers hears in each frame
tells far more: what resembles what, and little of who speaks. It hears each recording before room,
noise and codec, and the pupil after them.

Such an encoder is an ONNX file that takes samples at 16 kHz and gives frames of features, which it
spreads evenly over them; Moonshine's, for instance (Jeffries et al. 2024, "Moonshine: speech
recognition for live transcription and voice commands").
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.text import FRAME_SAMPLES
from ossicle.model.onnx_runtime import ort

_SHORTEST = 16_000  # samples: encoders refuse what is shorter than their first filters


class TeacherError(ValueError):
    """The encoder cannot be used as a teacher."""


class Teacher:
    """Hears recordings, each alone.

    The session is opened by the process that first asks: it does not survive a fork.

    Args:
        encoder: ONNX file.

    Raises:
        TeacherError: naming what is wrong with it.
    """

    def __init__(self, encoder: Path) -> None:
        self._encoder = encoder
        try:
            outputs = ort.InferenceSession(encoder, _options()).get_outputs()
        except Exception as error:  # ONNX Runtime has many, of no common class
            raise TeacherError(
                f"the teacher's encoder cannot be read: {encoder}: {error}"
            ) from error
        self.features = outputs[0].shape[-1]
        if len(outputs) != 1 or not isinstance(self.features, int):
            raise TeacherError(
                f"the teacher's encoder {encoder} gives {[o.shape for o in outputs]}: needs one "
                "output of (batch, frames, features)"
            )

    @cached_property
    def _session(self) -> ort.InferenceSession:
        return ort.InferenceSession(self._encoder, _options())

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples (N,) -> its features in each whole or begun frame of 40 ms, (U, D)."""
        padded = np.zeros((1, max(len(samples), _SHORTEST)), dtype=np.float32)
        padded[0, : len(samples)] = samples
        inputs = {}
        for each in self._session.get_inputs():
            # Where the encoder has a second input, it asks which samples count.
            audio = each.type == "tensor(float)"
            inputs[each.name] = padded if audio else np.ones_like(padded, dtype=np.int64)
        features: NDArray[np.float32] = self._session.run(None, inputs)[0][0]
        count = -(-len(samples) // FRAME_SAMPLES)
        return in_frames(features, padded.shape[1] / FRAME_SAMPLES, count)


def in_frames(features: NDArray[np.float32], length: float, count: int) -> NDArray[np.float32]:
    """Features (M, D), spread evenly over a length in frames -> their means in each, (count, D)."""
    sums = np.concatenate([np.zeros_like(features[:1]), features.cumsum(axis=0)])
    ends = np.minimum(np.arange(count + 1) * len(features) / length, len(features))
    whole = np.minimum(ends.astype(np.int64), len(features) - 1)
    at_ends = sums[whole] + (ends - whole)[:, None] * features[whole]
    widths = np.maximum(np.diff(ends), 1e-6)[:, None]
    return (np.diff(at_ends, axis=0) / widths).astype(np.float32)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # each worker has its own
    options.inter_op_num_threads = 1
    return options
