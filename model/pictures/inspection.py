"""What a model makes of one recording, from the samples to the words, to be looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ossicle.model.config import FRAME_SECONDS, HOP, SAMPLE_RATE, FeatureConfig, ModelConfig
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.model.decoding.hypothesis import Hypothesis
from ossicle.model.folder import LoadedModel
from ossicle.model.mel import log_mel, mel_edges
from ossicle.model.pictures.markup import Markup, tag
from ossicle.model.pictures.page import facts_list, page
from ossicle.model.pictures.player import player
from ossicle.model.pictures.timeline import STYLE, SURE, timeline
from ossicle.model.pictures.tracks import Heat, Letters, Track, Wave, Words, scaled
from ossicle.model.runtime import hear

_MEL_KILOHERTZ = (0.5, 1, 2, 4)


@dataclass(frozen=True)
class Inspection:
    """One recording and what was made of it, as one utterance.

    Attributes:
        name: of the recording.
        model: its name.
        samples: (N,) at 16 kHz.
        mel: log-mel frames (T, F), not normalised.
        features: how they were made.
        tokens: V.
        units: what they are.
        log_probs: of the tokens, (U, V).
        heard: the best hypothesis.
    """

    name: str
    model: str
    samples: NDArray[np.float32]
    mel: NDArray[np.float64]
    features: FeatureConfig
    tokens: tuple[str, ...]
    units: str
    log_probs: NDArray[np.float32]
    heard: Hypothesis

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.samples) / SAMPLE_RATE

    def tracks(self) -> list[Track]:
        """The steps from sound to words, in order."""
        centres = mel_edges(self.features)[1:-1]
        hertz = {int(abs(centres - 1000 * k).argmin()): f"{k:g} kHz" for k in _MEL_KILOHERTZ}
        names = {0: "blank"} | {
            number: "␣" if token == " " else token
            for number, token in enumerate(self.tokens)
            if number
        }
        # The square root shows what is unlikely, too.
        likely = np.exp(self.log_probs / 2)
        return [
            Wave("waveform", self.samples, SAMPLE_RATE),
            Heat("log-mel", scaled(self.mel), HOP / SAMPLE_RATE, hertz, 160),
            Heat("CTC tokens", likely, FRAME_SECONDS, names, max(10 * len(self.tokens), 100)),
            Letters(self.units, self.heard.tokens, FRAME_SECONDS),
            Words("words", self.heard.words),
        ]


def inspect_recording(
    name: str,
    samples: NDArray[np.float32],
    loaded: LoadedModel,
    search: DecodingConfig,
) -> Inspection:
    """Look at what a model makes of samples (N,) at 16 kHz; at least one.

    Args:
        name: of the recording; what of a file's name is no text is shown as "�".

    Raises:
        ValueError: the model cannot decode so, or it was not loaded from a folder.
    """
    if loaded.folder is None:
        raise ValueError(f"the model {loaded.info.name} has no folder, whose features to show")
    features = ModelConfig.load(loaded.folder / "config.json").features
    decoder = loaded.decoding.decoder(search)
    (log_probs,) = hear(loaded.network, [samples])
    decoder.advance(log_probs)
    (best,) = decoder.finish()
    return Inspection(
        os.fsencode(name).decode(errors="replace"),
        loaded.info.name,
        samples,
        log_mel(samples, features),
        features,
        loaded.info.tokens,
        loaded.info.units,
        log_probs,
        best,
    )


def inspection_page(inspection: Inspection) -> str:
    """The picture as a page that plays the recording; it needs nothing but a browser."""
    heard = inspection.heard
    facts = {
        "model": inspection.model,
        "length": f"{inspection.seconds:.2f} s",
        "confidence": f"{heard.confidence:.2f}, the share of the words to expect right",
    }
    body = [
        tag("h1", inspection.name),
        _transcript(inspection),
        player(inspection.samples),
        timeline(inspection.tracks(), inspection.seconds),
        tag(
            "p",
            "Click in the picture to hear from there. The brighter, the louder, or the likelier: "
            "of each frame of 40 ms, the network tells how likely every token is, the blank where "
            f"nothing new begins. Bars of words with less confidence than {SURE:g} are of another "
            "colour.",
            class_="note",
        ),
        facts_list(facts),
        _table(inspection),
    ]
    return page(f"{inspection.name}: what was heard", body, STYLE)


def _transcript(inspection: Inspection) -> Markup:
    words = inspection.heard.words
    if not words:
        return tag("p", "No word was heard.", class_="transcript")
    spans = [
        tag("span", word.text, class_="doubtful" if word.confidence < SURE else None)
        for word in words
    ]
    return tag("p", *(part for span in spans for part in (span, " ")), class_="transcript")


def _table(inspection: Inspection) -> Markup:
    heads = ("word", "from", "to", "confidence")
    rows = [
        tag(
            "tr",
            tag("td", word.text),
            *(tag("td", f"{value:.2f}") for value in (word.start, word.end, word.confidence)),
        )
        for word in inspection.heard.words
    ]
    return tag(
        "details",
        tag("summary", "The words as a table"),
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
            tag("tbody", *rows),
        ),
    )
