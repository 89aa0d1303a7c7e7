"""The engine of the extra `tts`: hibari (Apache-2.0), a small neural source-filter vocoder.

Its network predicts the envelopes and the pitch from which a signal is then made, so that many
pseudo-speakers can be made from a voice at some hundred times real time on one core. The voice
"heart" is in the package; hibari downloads its other voices when they are first used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.data import onnx_telemetry
from ossicle.data.synthesis_engine import SynthesisError
from ossicle.data.synthesis_speakers import (
    PseudoSpeaker,
    change_pitch,
    move_formants,
    pseudo_speakers,
)

DEFAULT_VOICE = "heart"
MAX_PHONEMES = 400
"""What hibari was trained on at a time."""
INTONATION_RANGE = (0.6, 1.15)
"""How lively a reading is; 1 is as the voice was trained."""


class HibariEngine:
    """An `Engine` of hibari's voices.

    Args:
        voices: hibari's names of them.

    Raises:
        SynthesisError: hibari is not installed, or a voice is unknown or cannot be downloaded.
    """

    def __init__(self, voices: Sequence[str] = (DEFAULT_VOICE,)) -> None:
        onnx_telemetry.switch_off()  # its networks run in ONNX Runtime
        try:
            from hibari.voices import VOICES, voice_path
        except ImportError as error:
            raise SynthesisError(
                "making speech needs hibari; install it with: pip install 'ossicle[tts]'"
            ) from error
        speakers: list[PseudoSpeaker] = []
        for voice in dict.fromkeys(voices):
            try:
                voice_path(voice)
            except (ValueError, RuntimeError) as error:
                raise SynthesisError(str(error)) from error
            speakers += pseudo_speakers("hibari", voice, VOICES[voice]["british"])
        self._speakers = {speaker.name: speaker for speaker in speakers}
        self._voices: dict[tuple[str, bool], Any] = {}

    @cached_property
    def name(self) -> str:
        """Engine, version and voices."""
        voices = dict.fromkeys(speaker.voice for speaker in self._speakers.values())
        return f"hibari-tts {version('hibari-tts')}: {', '.join(voices)}"

    @property
    def rate(self) -> int:
        """Samples a second."""
        return 24_000

    @property
    def speakers(self) -> Sequence[str]:
        """Names of the pseudo-speakers of all voices."""
        return list(self._speakers)

    def speak(self, text: str, speaker: str, speed: float, seed: int) -> NDArray[np.float32]:
        """See `Engine.speak`; empty if there is nothing to say, or too much for one breath."""
        from hibari import dsp

        who = self._speakers[speaker]
        voice = self._voice(who.voice, who.british)
        # The text is in words already: hibari's own reading of short forms might differ.
        phonemes = voice.g2p(text, normalize_text=False)
        tokens = voice.ids(phonemes)
        if not 3 <= len(tokens) <= MAX_PHONEMES:
            return np.zeros(0, dtype=np.float32)
        inputs = {"ids": np.array([tokens], np.int64), "speed": np.array([speed], np.float32)}
        outputs = (output[0] for output in voice.sess.run(None, inputs))
        harmonic, dispersion, noise, residual, phase, pitch = outputs
        rng = np.random.default_rng(seed)
        intonation = float(rng.uniform(*INTONATION_RANGE))
        if who.pitch != 1.0:
            # This part carries the old pitch in its phases.
            residual = residual - 1.5
        return np.asarray(
            dsp.synth(
                move_formants(harmonic, who.formants),
                move_formants(dispersion, who.formants),
                move_formants(noise, who.formants) + np.float32(who.breath),
                move_formants(residual, who.formants),
                move_formants(phase, who.formants, angles=True),
                change_pitch(pitch, who.pitch, intonation),
                rng,
            ),
            dtype=np.float32,
        )

    def _voice(self, voice: str, british: bool) -> Any:
        from hibari import Hibari
        from hibari.g2p import G2P

        key = (voice, british)
        if key not in self._voices:
            self._voices[key] = Hibari(voice, g2p=G2P(british=british))
        return self._voices[key]
