"""What a session tells about its stream: partials, finals, and when speech begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ossicle.model.decoding.hypothesis import Word


@dataclass(frozen=True)
class Event:
    """Something that happened in a stream; times are seconds from the start of the stream.

    Attributes:
        offset: where it happened; for partials and finals the end of the audio they cover.
        processed: audio recognised when it was found out.
    """

    offset: float
    processed: float


@dataclass(frozen=True)
class Partial(Event):
    """What an utterance seems to say so far; the next partial or final replaces it.

    Attributes:
        text: the words, separated by single spaces; never empty.
        words: the same with times.
        stability: share of the characters that are in words which another follows, 0 to 1; on the
            development sets about one such word in twenty changed.
    """

    text: str
    words: tuple[Word, ...]
    stability: float


@dataclass(frozen=True)
class Alternative:
    """One reading of an utterance.

    Attributes:
        text: the words, separated by single spaces; may be empty.
        words: the same with times.
        confidence: 0 to 1; 0 if the text is empty.
    """

    text: str
    words: tuple[Word, ...]
    confidence: float


class UtteranceEnd(Enum):
    """Why an utterance ended."""

    SILENCE = auto()
    MAX_DURATION = auto()
    FINALIZE = auto()
    END_OF_AUDIO = auto()
    INTERRUPTED = auto()


@dataclass(frozen=True)
class Final(Event):
    """What an utterance said; it is over.

    Attributes:
        alternatives: its readings, best first, at least one.
        start: where the utterance started.
        reason: why it ended.
        resume: where the audio of another session must begin to give what this one gives after
            this final; what lies between is its context.
    """

    alternatives: tuple[Alternative, ...]
    start: float
    reason: UtteranceEnd
    resume: float

    @property
    def text(self) -> str:
        """The words of the best reading; may be empty."""
        return self.alternatives[0].text

    @property
    def words(self) -> tuple[Word, ...]:
        """The same with times."""
        return self.alternatives[0].words

    @property
    def confidence(self) -> float:
        """0 to 1; 0 if the text is empty."""
        return self.alternatives[0].confidence


@dataclass(frozen=True)
class SpeechBegin(Event):
    """Speech began."""


@dataclass(frozen=True)
class SpeechEnd(Event):
    """Speech ended."""


@dataclass(frozen=True)
class EndOfUtterance(Event):
    """The one utterance of a ``single_utterance`` stream is over; its final follows."""


@dataclass(frozen=True)
class Silence(Event):
    """Nothing was said since the last final."""
