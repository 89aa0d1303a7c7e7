"""One stream as its caller sees it, over as many connections as it takes.

Nothing here waits or sends: the clients for threads and for asyncio both drive a
:class:`Conversation`.

Going on without a loss. With each final result a server says from where another stream gives the
same results from there on, and how much of that audio is heard for context only; after long
silence that is where the silence event is. The final of a server that shuts down is held back, for
its audio is sent to another server, which is told the whole utterance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ossicle.service.durations import duration, seconds
from ossicle.service.formats import Word
from ossicle.service.values import Finalize, Result, SpeechEvent, SpeechEventKind
from ossicle.speech.v1 import speech_pb2 as pb

from . import messages
from .kept_audio import KeptAudio

# What was said before goes along with the audio; no language model reads further back.
_SAID_UTTERANCES = 8
_SAID_CHARACTERS = 10_000
# Times travel in microseconds; a sample lasts longer than this.
_SAME_TIME = 1e-5
_BYTES_PER_SAMPLE = {
    pb.AUDIO_ENCODING_LINEAR16: 2,
    pb.AUDIO_ENCODING_MULAW: 1,
    pb.AUDIO_ENCODING_ALAW: 1,
}
_REQUESTED = {pb.UTTERANCE_END_FINALIZE, pb.UTTERANCE_END_END_OF_AUDIO}


@dataclass(frozen=True)
class _Connection:
    """What is particular to the present connection.

    Attributes:
        origin: where its audio begins, seconds.
        start: the same in bytes.
        requests: requests for a final to leave out, since they were answered.
        repeated: requests for a final that are sent again though they were answered.
        until: end of the audio about which results come again, seconds; they do where only a
            header knows where in the bytes a moment is, so that all is sent again.
    """

    origin: float = 0.0
    start: int = 0
    requests: int = 0
    repeated: int = 0
    until: float = -math.inf


class Conversation:
    """One stream.

    Args:
        first: the message that opens it.
        keep_bytes: audio to keep at most, for another server; 0: it cannot go on at another.
    """

    def __init__(self, first: pb.StreamingRecognizeRequest, keep_bytes: int) -> None:
        config = first.streaming_config.config
        # 0 where only a header knows where in the bytes a moment is.
        self._sample_bytes = _BYTES_PER_SAMPLE.get(config.encoding, 0) * (
            config.audio_channel_count or 1
        )
        self._rate = config.sample_rate_hertz
        self._first = first
        self._single_utterance = first.streaming_config.single_utterance
        self._resumable = keep_bytes > 0
        first.streaming_config.enable_silence_events = self._resumable
        self._kept = KeptAudio(keep_bytes if self._resumable else math.inf)
        self._connection = _Connection()
        self._next = 0  # number of the piece to send next
        self._ended = False
        self.complete = False
        """All was answered; only the status is missing."""

        self._told = 0.0  # end of the last final that was told
        self._answered = 0  # requests for a final
        self._processed = 0.0
        self._said: deque[str] = deque(maxlen=_SAID_UTTERANCES)
        self._start = 0.0  # where a connection can begin
        self._context = 0.0  # seconds after that which are for its context
        self._event: SpeechEvent | None = None  # the last that was told
        self._utterance = 0.0  # start of the present utterance of this connection
        self._held: Result | None = None
        self._model: pb.ModelVersion | None = None

    # What is sent

    def add(self, content: bytes | Finalize) -> None:
        """Take what is to be sent next; at most 64 KiB of audio."""
        self._kept.add(content)

    def end(self) -> None:
        """Take the end of what is to be sent."""
        self._ended = True

    @property
    def waiting(self) -> bool:
        """Whether something was added that was not sent on this connection."""
        return self._next < self._kept.count

    @property
    def all_sent(self) -> bool:
        """Whether this connection can be half-closed."""
        return self._ended and not self.waiting

    def connect(self) -> pb.StreamingRecognizeRequest | None:
        """The first message of a new connection, which goes on from what was told.

        Returns:
            None if that is not possible any more, because the audio was not kept.
        """
        if self._next == 0:
            return self._first
        start = self._position(self._start)
        if not self._resumable or start < self._kept.start:
            return None
        self._utterance = self._start + self._context
        if self._sample_bytes:
            self._connection = _Connection(self._start, start, requests=self._answered)
        else:
            self._connection = _Connection(repeated=self._answered, until=self._told or -math.inf)
        self._next = self._kept.first
        opening = pb.StreamingRecognizeRequest()
        opening.CopyFrom(self._first)
        opening.streaming_config.previous_transcripts.extend(self._said_before())
        if self._context:
            opening.streaming_config.context.CopyFrom(duration(self._context))
        if self._model:
            # Another server may have another default, of another language.
            opening.streaming_config.config.model = self._model.name
        return opening

    def next_request(self) -> pb.StreamingRecognizeRequest | None:
        """The next message of this connection, None if nothing waits."""
        while self.waiting:
            piece = self._kept.piece(self._next)
            self._next += 1
            content = piece.content
            if not self._resumable:
                self._kept.forget_first()
            if isinstance(content, Finalize):
                if piece.requests >= self._connection.requests:
                    return messages.part_request(content)
            elif rest := content[max(self._connection.start - piece.position, 0) :]:
                return messages.part_request(rest)
        return None

    # What is received

    def receive(self, response: pb.StreamingRecognizeResponse) -> Iterator[Result | SpeechEvent]:
        """What a response tells that was not told before, on the stream's own clock."""
        origin = self._connection.origin
        if response.HasField("model_version"):
            before, self._model = self._model, response.model_version
            if before and before.digest != self._model.digest:
                yield SpeechEvent(SpeechEventKind.MODEL_CHANGED, origin)
        processed = _later(seconds(response.audio_processed), origin)
        self._processed = max(self._processed, processed)
        if response.speech_event_type == pb.SPEECH_EVENT_TYPE_SILENCE:
            self._pass_silence(_later(seconds(response.speech_event_offset), origin))
        elif (event := messages.speech_event(response)) is not None:
            event = replace(event, offset=_later(event.offset, origin))
            if self._is_news(event):
                self._event = event
                yield event
        for message in response.results:
            result = _shifted(messages.stream_result(response, message), origin)
            result = replace(result, audio_processed=self._processed)
            if not result.is_final:
                if result.end - _SAME_TIME > self._connection.until:
                    yield result
            elif message.utterance_end == pb.UTTERANCE_END_INTERRUPTED and self._resumable:
                # One that goes away while it catches up has heard less than the one before.
                if self._held is None or result.end >= self._held.end:
                    self._held = result
            elif self._is_new_final(result, message.utterance_end):
                self._tell(result, message.utterance_end)
                resume = _later(seconds(message.resume_offset), origin)
                self._start_at(resume, result.end - resume, result.text)
                yield result

    @property
    def settled(self) -> float:
        """How far the audio is done with, seconds; grows with finals and with silence."""
        return max(self._told, self._start)

    def give_up(self) -> Iterator[Result]:
        """What was held back for another server to tell better, which none will."""
        if self._held is not None:
            yield self._held
        self._held = None

    def _is_news(self, event: SpeechEvent) -> bool:
        if self._event is None:
            return True
        if event.kind is SpeechEventKind.END_OF_UTTERANCE:  # of which a stream has one
            return self._event.kind is not event.kind
        later = event.offset - self._event.offset
        return later > _SAME_TIME or (later > -_SAME_TIME and event.kind is not self._event.kind)

    def _is_new_final(self, result: Result, reason: int) -> bool:
        """Whether a final is about audio that none was told about."""
        start, self._utterance = self._utterance, result.end
        connection = self._connection
        if reason == pb.UTTERANCE_END_FINALIZE and connection.repeated:
            self._connection = replace(connection, repeated=connection.repeated - 1)
            return False
        # Another server may cut a little earlier or later; the middle tells which one it is.
        return reason in _REQUESTED or (start + result.end) / 2 > connection.until

    def _tell(self, result: Result, reason: int) -> None:
        self._held = None
        self._told = max(self._told, result.end)
        if reason == pb.UTTERANCE_END_FINALIZE:
            self._answered += 1
        if reason == pb.UTTERANCE_END_END_OF_AUDIO or self._single_utterance:
            self.complete = True

    def _pass_silence(self, offset: float) -> None:
        self._utterance = offset
        if offset > self._told:
            self._start_at(offset)

    def _start_at(self, offset: float, context: float = 0.0, said: str = "") -> None:
        """Let another connection begin here.

        Args:
            offset: where.
            context: seconds after that which are for its context.
            said: what was said up to there.
        """
        if not (self._resumable and self._sample_bytes):
            return
        self._start, self._context = offset, context
        if said:
            self._said.append(said)
        self._kept.forget(self._position(offset), self._answered)

    def _position(self, offset: float) -> int:
        """Where a moment is in the bytes; the start of them all where only a header knows."""
        return round(offset * self._rate) * self._sample_bytes

    def _said_before(self) -> list[str]:
        """The latest finals, the latest last."""
        chosen: list[str] = []
        room = _SAID_CHARACTERS
        for text in reversed(self._said):
            room -= len(text)
            if room < 0:
                break
            chosen.append(text)
        return chosen[::-1]


def _shifted(result: Result, origin: float) -> Result:
    """A result with times of the stream instead of the connection."""
    if not origin:
        return result
    readings = tuple(
        replace(reading, words=_shifted_words(reading.words, origin))
        for reading in result.alternatives
    )
    return replace(
        result,
        end=_later(result.end, origin),
        words=_shifted_words(result.words, origin),
        alternatives=readings,
    )


def _shifted_words(words: tuple[Word, ...], origin: float) -> tuple[Word, ...]:
    return tuple(
        replace(word, start=_later(word.start, origin), end=_later(word.end, origin))
        for word in words
    )


def _later(offset: float, origin: float) -> float:
    """A time of the stream, without what adding numbers with a fraction adds to it."""
    return round(offset + origin, 6)
