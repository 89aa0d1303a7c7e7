"""Many speakers from one voice: pseudo-speakers who differ in vocal tract, pitch and breath.

A shorter vocal tract raises all formants by one factor (Lee and Rose 1998, "A frequency warping
approach to speaker normalization"; for training data Jaitly and Hinton 2013, "Vocal tract length
perturbation"), and mostly comes with a higher pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPEAKERS = 300
"""Pseudo-speakers of a voice, itself included."""

LOWEST_PITCH = 45.0
"""Hz; below it creaks."""

_SEED = 7_102


@dataclass(frozen=True)
class PseudoSpeaker:
    """A speaker made from a voice.

    Attributes:
        name: unique among those of all voices.
        voice: the voice it is made from.
        formants: factor on the frequencies of the formants.
        pitch: factor on the mean pitch.
        breath: added to the log-magnitude of the noise in the voice.
        british: whether words are pronounced as in British English.
    """

    name: str
    voice: str
    formants: float = 1.0
    pitch: float = 1.0
    breath: float = 0.0
    british: bool = False


def pseudo_speakers(engine: str, voice: str, british: bool) -> list[PseudoSpeaker]:
    """The speakers of a voice, always the same ones: first the voice itself.

    Args:
        engine: first part of their names.
        british: accent of the voice; a third of the others have the other one.
    """
    # Drawn from one seed for every voice: names stay the same people over all versions and runs.
    rng = np.random.default_rng(_SEED)
    speakers = [PseudoSpeaker(f"{engine}/{voice}", voice, british=british)]
    for number in range(1, SPEAKERS):
        formants = 1 / rng.uniform(0.82, 1.14)
        # Long vocal tracts are mostly men's, whose voices lie a fifth to an octave lower.
        register = 1.0 if formants > 0.97 else 0.68
        pitch = np.clip(register * rng.uniform(0.78, 1.2) * formants, 0.5, 1.4)
        speakers.append(
            PseudoSpeaker(
                name=f"{engine}/{voice}-{number:03d}",
                voice=voice,
                formants=round(float(formants), 3),
                pitch=round(float(pitch), 3),
                breath=round(float(rng.uniform(0, 0.5)), 2),
                british=british != (rng.random() < 1 / 3),
            )
        )
    return speakers


def move_formants(
    spectrum: NDArray[np.float32], factor: float, *, angles: bool = False
) -> NDArray[np.float32]:
    """Stretch spectra (bins, frames) along their frequencies.

    Args:
        factor: on the frequency of everything in them.
        angles: the values are angles, which cannot be interpolated: the nearest are taken.
    """
    if factor == 1.0:
        return spectrum
    source = np.minimum(np.arange(len(spectrum)) / factor, len(spectrum) - 1.001)
    if angles:
        return np.asarray(spectrum[np.rint(source).astype(int)], dtype=np.float32)
    below = source.astype(int)
    share = (source - below)[:, None]
    moved = spectrum[below] * (1 - share) + spectrum[below + 1] * share
    return np.asarray(moved, dtype=np.float32)


def change_pitch(pitch: NDArray[np.float32], factor: float, range_: float) -> NDArray[np.float32]:
    """Move a pitch curve (frames,) in Hz, 0 where unvoiced.

    Args:
        factor: on its geometric mean.
        range_: factor on its logarithmic distance from that mean: below 1 is more monotonous.
    """
    voiced = pitch > LOWEST_PITCH
    if not voiced.any():
        return pitch
    mean = np.exp(np.log(pitch[voiced]).mean())
    moved = pitch.copy()
    moved[voiced] = np.maximum(mean * factor * (pitch[voiced] / mean) ** range_, LOWEST_PITCH)
    return moved
