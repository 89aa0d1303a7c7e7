"""Which decoder a request gets: what it may ask for, and what its model can give.

A :class:`Decoding` is loaded once for a model and shared by all streams; each stream gets a
decoder of its own from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ossicle.data.replacing import replacing
from ossicle.model.decoding.annotation import Annotator
from ossicle.model.decoding.beam import BeamConfig, BeamSearch
from ossicle.model.decoding.beam_decoder import BeamDecoder
from ossicle.model.decoding.hypothesis import Decoder, GreedyDecoder
from ossicle.model.decoding.language import SPACE, Language, LanguageWeights, TextScorer
from ossicle.model.decoding.phrases import Phrase, PhraseMatcher, check_phrases, spoken
from ossicle.model.decoding.reranking import Reranker, RescoringWeights
from ossicle.model.decoding.rescoring import Rescorer
from ossicle.model.decoding.spelling import Speller
from ossicle.model.ngram.model import NgramError, NgramModel
from ossicle.model.pronunciation.dictionary import DictionaryError, Pronunciations
from ossicle.model.runtime import ModelError, ModelInfo

__all__ = ["Decoding", "DecodingConfig", "DecodingSettings", "Phrase", "Search", "write_settings"]

SETTINGS = "decoding.json"
LANGUAGE_MODEL = "lm.ngram"
WIDEST_BEAM = 256
_LOOKED_UP_AT_ONCE = 16  # words: some 40 ms
_MATCHERS = 16  # lists of phrases whose automata are kept: many streams use the same

Search = Literal["beam", "greedy"]


@dataclass(frozen=True)
class DecodingConfig:
    """How one stream is to be decoded.

    Attributes:
        search: None is the model's default: beam where it has a language model or where there
            are phrases, else greedy.
        beam_width: hypotheses kept from frame to frame, at most twice as many where there are
            phrases; 0 is the model's default.
        phrases: to listen for.
        said: what was said before, the latest last; context for the rescoring.
    """

    search: Search | None = None
    beam_width: int = 0
    phrases: tuple[Phrase, ...] = ()
    said: tuple[str, ...] = ()


_SETTINGS_PARTS: tuple[tuple[str, Any, str], ...] = (
    ("beam", BeamConfig, "beam_"),
    ("language", LanguageWeights, ""),
    ("rescoring", RescoringWeights, "rescoring_"),
)

_OF_ANNOTATIONS = {"confidence", "times"}  # in the same file, read by `Annotator`


@dataclass(frozen=True)
class DecodingSettings:
    """What `decoding.json` in a model folder sets; `ossicle tune` finds what is best.

    The file's keys are the names of `LanguageWeights`, and those of `BeamConfig` and
    `RescoringWeights` with `beam_` and `rescoring_` before them.
    """

    beam: BeamConfig = field(default_factory=BeamConfig)
    language: LanguageWeights = field(default_factory=LanguageWeights)
    rescoring: RescoringWeights = field(default_factory=RescoringWeights)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DecodingSettings:
        """The settings among the values of a `decoding.json`; defaults for those that lack.

        Raises:
            ValueError: a value is not a number that will do, or there is no such setting.
        """
        known = cls._names() | _OF_ANNOTATIONS
        if unknown := sorted(values.keys() - known):
            raise ValueError(f'"{unknown[0]}" is no setting; these are: {", ".join(sorted(known))}')
        for key in cls._names() & values.keys():
            number = values[key]
            if not isinstance(number, (int, float)) or isinstance(number, bool):
                raise ValueError(f'"{key}" is {number!r}, not a number')
            if not math.isfinite(number):  # JSON has none of these, but Python's reader takes them
                raise ValueError(f'"{key}" is {number!r}; give a finite number')
        if values.get("rescoring_lead", 0.0) < 0:
            raise ValueError(f'"rescoring_lead" is {values["rescoring_lead"]}; give 0 or more')
        for key in ("beam_margin", "rescoring_margin"):
            if values.get(key, 1.0) <= 0:
                raise ValueError(f'"{key}" is {values[key]}; give more than 0')
        # With others no token would be looked at, and nothing heard.
        for key, low, high in (("least_probable", -math.inf, -0.1), ("certain_blank", -0.7, 0.0)):
            if not low <= values.get(f"beam_{key}", -0.5) <= high:
                raise ValueError(
                    f'"beam_{key}" is {values[f"beam_{key}"]}; it is the natural logarithm of a '
                    f"probability: give {low:g} to {high:g}"
                )
        if not 0 <= values.get("rescoring_weight", 0.0) <= 1:
            raise ValueError(
                f'"rescoring_weight" is {values["rescoring_weight"]}; it is a share, 0 to 1'
            )
        for key in ("beam_width", "rescoring_texts"):
            count = values.get(key, 1)
            if not (isinstance(count, int) and 1 <= count <= WIDEST_BEAM):
                raise ValueError(f'"{key}" is {count}; give 1 to {WIDEST_BEAM}')
        return cls(
            **{
                name: part(
                    **{
                        item.name: values[prefix + item.name]
                        for item in fields(part)
                        if prefix + item.name in values
                    }
                )
                for name, part, prefix in _SETTINGS_PARTS
            }
        )

    def to_dict(self) -> dict[str, float]:
        """As it is kept in `decoding.json`."""
        return {
            prefix + item.name: getattr(getattr(self, name), item.name)
            for name, part, prefix in _SETTINGS_PARTS
            for item in fields(part)
        }

    @staticmethod
    def _names() -> set[str]:
        return {prefix + item.name for _, part, prefix in _SETTINGS_PARTS for item in fields(part)}


class Decoding:
    """All that decoding needs of one model; loaded once, shared by all streams, only read.

    Args:
        info: of the model.
        ngram: its language model; None: words are not judged.
        rescorer: its language model for whole sentences, or None.
        values: what `decoding.json` holds.
        pronunciations: of a model whose tokens are phonemes.

    Raises:
        ValueError: a value cannot be used; names its key.
    """

    def __init__(
        self,
        info: ModelInfo,
        ngram: NgramModel | None = None,
        values: Mapping[str, Any] | None = None,
        rescorer: Rescorer | None = None,
        pronunciations: Pronunciations | None = None,
    ) -> None:
        self._info = info
        self._pronunciations = pronunciations
        values = values or {}
        self.settings = DecodingSettings.from_dict(values)
        pronounce = pronunciations.pronounce if pronunciations else None
        self._language = (
            Language(ngram, info.tokens, self.settings.language, pronounce) if ngram else None
        )
        self._rescorer = rescorer
        self._annotators = {
            search: Annotator.configured(info.tokens, info.frame_seconds, values, search)
            for search in ("greedy", "beam")
        }
        self._matcher = lru_cache(_MATCHERS)(self._build_matcher)

    @classmethod
    def load(cls, folder: Path, info: ModelInfo) -> Decoding:
        """What a model folder has for decoding: weights, a language model, calibrations, or none.

        Raises:
            ModelError: a file that is there is damaged; names it.
        """
        path = folder / SETTINGS
        model = folder / LANGUAGE_MODEL
        try:
            values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if not isinstance(values, dict):
                raise ValueError("it holds no JSON object")
            ngram = NgramModel.load(model) if model.is_file() else None
            pronunciations = Pronunciations.load(folder) if info.units == "phonemes" else None
            return cls(info, ngram, values, Rescorer.load(folder), pronunciations)
        except (NgramError, DictionaryError) as error:
            raise ModelError(str(error)) from error
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be used: {error}") from error

    @property
    def language(self) -> Language | None:
        """What judges words, if anything does; then the default search is the beam."""
        return self._language

    @property
    def rescores(self) -> bool:
        """Whether the hypotheses of a beam search are rescored."""
        return bool(self._rescorer and self._language and self.settings.rescoring.weight)

    @property
    def rescorer(self) -> Rescorer | None:
        """What judges whole sentences, if anything does."""
        return self._rescorer

    def annotator(self, search: Search) -> Annotator:
        """What gives the texts of a search their times and confidences."""
        return self._annotators[search]

    def write(self, text: str) -> str:
        """A text in normal form as the model's tokens write it: as it is, or its pronunciation."""
        return self._pronunciations.pronounce_text(text) if self._pronunciations else text

    def spell(self, written: str) -> str:
        """The likeliest words of a text that the model's tokens write so."""
        speller = self._speller()
        return speller.text(written) if speller else written

    def check(self, config: DecodingConfig) -> None:
        """Refuse what cannot be done.

        Raises:
            ValueError: naming the field, its value and the remedy.
        """
        if config.search not in (None, "beam", "greedy"):
            raise ValueError(f"search is {config.search!r}; give beam or greedy")
        if not 0 <= config.beam_width <= WIDEST_BEAM:
            raise ValueError(
                f"beam_width is {config.beam_width}; give 1 to {WIDEST_BEAM}, or 0 for the default"
            )
        if self._search(config) == "greedy":
            if config.phrases:
                raise ValueError(
                    "phrases need a beam search, and the search is greedy; leave them out, or "
                    "choose beam search"
                )
            if config.beam_width:
                raise ValueError(
                    f"beam_width is {config.beam_width}, but the search is greedy; give 0, or "
                    f"choose beam search"
                )
        elif SPACE not in self._info.tokens:
            raise ValueError(
                f"the model {self._info.name} has no token that separates words, which a beam "
                f"search needs; use greedy search"
            )
        check_phrases(config.phrases)
        for phrase in config.phrases:
            strange = set(self.write(spoken(phrase.text))).difference(self._info.tokens)
            if strange:
                raise ValueError(
                    f"the model {self._info.name} cannot spell the phrase {phrase.text[:40]!r}: "
                    f"it has no token for {', '.join(sorted(strange))}"
                )

    def look_up(self, phrases: Sequence[Phrase]) -> Iterator[None]:
        """Find out how phrases are written in tokens, which `check` and `decoder` then know.

        A thousand words that no dictionary has take seconds; between any few of them this can be
        paused, or left. Phrases that are refused are not looked up.
        """
        try:
            check_phrases(phrases)
        except ValueError:  # which `check` will say
            return
        words = chain.from_iterable(spoken(phrase.text).split() for phrase in phrases)
        for number, word in enumerate(words, 1):
            self.write(word)
            if number % _LOOKED_UP_AT_ONCE == 0:
                yield

    def _search(self, config: DecodingConfig) -> Search:
        if config.search:
            return config.search
        return "beam" if self._language or config.phrases else "greedy"

    def decoder(self, config: DecodingConfig = DecodingConfig()) -> Decoder:
        """A decoder for one stream; errors as `check`."""
        self.check(config)
        info = self._info
        search = self._search(config)
        annotator = self._annotators[search]
        if search == "greedy":
            return GreedyDecoder(info.tokens, info.frame_seconds, annotator, self._speller())
        phrases = tuple(phrase for phrase in config.phrases if phrase.boost)
        space = info.tokens.index(SPACE)
        scorer = TextScorer(space, self._language, self._matcher(phrases) if phrases else None)
        beam = self.settings.beam
        if config.beam_width:
            beam = replace(beam, width=config.beam_width)
        weights = self.settings.rescoring
        speller = self._speller(phrases)
        reranker = None
        if self._rescorer and self._language and self.rescores:
            spell = speller.text if speller else str
            reranker = Reranker(self._rescorer, self._language, weights, config.said, spell)
        return BeamDecoder(
            info.tokens,
            info.frame_seconds,
            partial(BeamSearch, scorer, beam),
            annotator,
            reranker,
            speller,
        )

    def _speller(self, phrases: tuple[Phrase, ...] = ()) -> Speller | None:
        if self._pronunciations is None:
            return None
        return Speller(self._pronunciations, self._language, phrases)

    def _build_matcher(self, phrases: tuple[Phrase, ...]) -> PhraseMatcher:
        language = self._language
        return PhraseMatcher(
            phrases,
            self._info.tokens,
            language.unknown_prices if language else None,
            self.write,
        )


def write_settings(folder: Path, changes: dict[str, Any]) -> None:
    """Change keys of a model folder's `decoding.json`; the others stay as they are.

    Raises:
        ValueError: the file that is there is not JSON, or no object.
        OSError: it cannot be written.
    """
    path = folder / SETTINGS
    settings: Any = {}
    if path.exists():
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        if not isinstance(settings, dict):
            raise ValueError(f"{path} holds no JSON object")
    with replacing(path) as new:
        new.write_text(json.dumps(settings | changes, indent=2) + "\n", encoding="utf-8")
