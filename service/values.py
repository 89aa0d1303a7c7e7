"""What clients of a server receive, as plain values without protobuf.

All times are seconds from the start of the stream or of the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .formats import Alternative, Segment, Word

HIGHEST_BOOST = 20.0
DEFAULT_BOOST = 10.0
"""What the contract takes an unset boost for."""


@dataclass(frozen=True)
class Result:
    """What is known about an utterance so far, or for good.

    Attributes:
        text: the words with single spaces between them, may be empty.
        is_final: the utterance is over and its text will not change.
        end: end of the audio that the text covers, seconds.
        confidence: finals only, 0 to 1.
        stability: partials only, the share of the text that is unlikely to change, 0 to 1.
        words: words with times and confidences, if they were asked for.
        alternatives: finals only, the readings of the utterance, best first: the first is that of
            ``text``, ``confidence`` and ``words``.
        audio_processed: seconds of audio recognised when this was sent.
        request_id: the call's name in the server's log.
    """

    text: str
    is_final: bool
    end: float
    confidence: float
    stability: float
    words: tuple[Word, ...]
    alternatives: tuple[Alternative, ...]
    audio_processed: float
    request_id: str


class SpeechEventKind(str, Enum):
    """What a :class:`SpeechEvent` tells."""

    SPEECH_BEGIN = "speech_begin"
    SPEECH_END = "speech_end"
    END_OF_UTTERANCE = "end_of_utterance"
    MODEL_CHANGED = "model_changed"


@dataclass(frozen=True)
class SpeechEvent:
    """Something other than words: speech began, speech ended, the one utterance is over.

    ``MODEL_CHANGED``: the stream goes on at another server, which has another version of the model.

    Attributes:
        kind: what happened.
        offset: when it happened in the audio, seconds.
    """

    kind: SpeechEventKind
    offset: float


@dataclass(frozen=True)
class Finalize:
    """Put between chunks of a stream: answer what was sent so far now, and stay open."""


@dataclass(frozen=True)
class SpeechContext:
    """Phrases that are likelier than usual.

    Attributes:
        phrases: words, or phrases of several.
        boost: how strongly to prefer them: 0 not at all, 20 as strongly as possible.

    Raises:
        TypeError: the phrases are one text, whose letters would be taken for phrases.
    """

    phrases: Sequence[str]
    boost: float = DEFAULT_BOOST

    def __post_init__(self) -> None:
        """Refuse one text."""
        if isinstance(self.phrases, str):
            raise TypeError(f"phrases is the text {self.phrases!r}; put it into a list")


@dataclass(frozen=True)
class Endpointing:
    """When an utterance ends; None leaves the choice to the server, 0 switches a rule off.

    Attributes:
        leading_silence_timeout: seconds without a word after which an utterance is given up.
        trailing_silence: seconds of silence after the last word that end an utterance.
        max_utterance_duration: seconds after its first word at which an utterance is cut; cannot
            be switched off.
    """

    leading_silence_timeout: float | None = None
    trailing_silence: float | None = None
    max_utterance_duration: float | None = None


@dataclass(frozen=True)
class Recognition:
    """The transcript of one recording.

    Attributes:
        segments: the utterances in order, without empty ones.
        duration: seconds of audio.
        request_id: the call's name in the server's log.
    """

    segments: tuple[Segment, ...]
    duration: float
    request_id: str

    @property
    def text(self) -> str:
        """The words of all segments in one line."""
        return " ".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class ModelDescription:
    """One model of a server.

    Attributes:
        name: what to pass as ``model``.
        description: one sentence for people.
        languages: BCP-47 tags.
        sample_rate: Hz; audio recorded at this rate loses nothing.
        lookahead: seconds of audio that the model waits for before it decides.
        frame_duration: resolution of its times, seconds.
        encodings: what to pass as ``encoding``.
        digest: its version: servers with the same one give the same results. "" if it has none.
    """

    name: str
    description: str
    languages: tuple[str, ...]
    sample_rate: int
    lookahead: float
    frame_duration: float
    encodings: tuple[str, ...]
    digest: str = ""


@dataclass(frozen=True)
class ServerLimits:
    """The limits of a server.

    Attributes:
        max_streams: streams and recordings at the same time.
        max_message_bytes: bytes of audio in one message.
        max_unary_audio: seconds of the longest recording for ``recognize``.
        idle_timeout: seconds a stream may send nothing.
        max_session_audio: seconds of audio in one stream, None for no limit.
    """

    max_streams: int
    max_message_bytes: int
    max_unary_audio: float
    idle_timeout: float
    max_session_audio: float | None


@dataclass(frozen=True)
class ModelList:
    """What a server can do.

    Attributes:
        models: the models; the first is the default.
        limits: the limits of this server.
        request_id: the call's name in the server's log.
    """

    models: tuple[ModelDescription, ...]
    limits: ServerLimits
    request_id: str
