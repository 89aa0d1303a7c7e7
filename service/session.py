"""One stream's life: samples in, partial and final transcripts and events out.

A :class:`Session` knows nothing of sockets, threads or the network's state tensors. It hands out
blocks of samples (:meth:`Session.take`), is given their log-probabilities (:meth:`Session.put`)
and says when the network must begin anew (:meth:`Session.take_reset`).

Positions. The stream is cut into *segments*: stretches over which the network's state runs on.
A segment starts at a sample of the stream and is counted in frames from there. The network looks
ahead, so output k of a segment is about its audio frame k - look-ahead. Every utterance ends its
segment: the outputs after its last frame are thrown away and their audio is fed again to the next
segment. Hence what is recognised depends on the samples alone, never on the size of chunks and
blocks, and another session can go on from any final. Where speech was cut, the next segment starts
with the last of what was said, its *context*: the network hears it again, and its outputs are not
decoded. Where silence ended an utterance, it ended before the last of that silence: the network
answers late, and a word may have begun in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from ossicle.model.decoding.hypothesis import BLANK, Decoder, Hypothesis, Word

from .endpoint import EndpointDetector, Signal
from .events import (
    Alternative,
    EndOfUtterance,
    Event,
    Final,
    Partial,
    Silence,
    SpeechBegin,
    SpeechEnd,
    UtteranceEnd,
)
from .partials import PartialText
from .session_config import CONTEXT_SECONDS, SessionConfig

if TYPE_CHECKING:
    from ossicle.model.runtime import ModelInfo

# A decoder may keep what it was given since the utterance began. Until there is a word, it is made
# to forget this often, so that silence needs no memory however long it lasts.
FORGET_SECONDS = 10.0

MOST_LEFT_OUT = 2
"""Partials in a row that are left out where more audio waits."""

_LATE_SECONDS = 0.32
"""The end of a silence that is left to the next utterance, if it lasted twice as long."""


Hearing = Generator[NDArray[np.float32], None, list[Event]]
"""What a block of log-probabilities leads to, between stretches of decoding."""


class Session:
    """One stream.

    Args:
        info: the model's frame length, look-ahead and tokens.
        config: how to answer.
        decoder: what ``config.decoding`` asks for; nobody else may use it.

    Attributes:
        decoder: as given.
        finished: whether the last final was given.
    """

    def __init__(self, info: ModelInfo, config: SessionConfig, decoder: Decoder) -> None:
        self._config = config
        self._rate = info.sample_rate
        self._frame = info.frame_samples
        self._lookahead = info.lookahead_frames
        self._separators = [i for i, token in enumerate(info.tokens) if i and not token.strip()]
        self._silent = [BLANK, *self._separators]
        self._forget_samples = FORGET_SECONDS * info.sample_rate
        self.decoder = decoder
        self._shown = PartialText()
        self._detector = EndpointDetector(config.endpointing, info.frame_seconds)

        self._samples: NDArray[np.float32] = np.zeros(0, np.float32)  # kept and not yet fed
        self._samples_start = 0  # position in the stream of the first of them
        self._received = 0
        self._boundaries: deque[int] = deque()  # where finalize and close were asked for
        self._closed = False
        self._interrupted = False
        self._most_context = round(CONTEXT_SECONDS / info.frame_seconds)  # frames
        self._late = round(_LATE_SECONDS / info.frame_seconds)
        self._segment = 0  # position of the present segment's frame 0
        self._context = 0  # frames of the segment before the present utterance
        self._fed = 0  # frames of the segment that were taken, padding included
        self._utterance = 0  # position of the present utterance's start
        self._taken = 0  # frames in the block that is out, 0 if none is
        self._partial = ""
        self._left_out = 0  # partials, since the last that was looked for
        self._must_reset = False
        self.finished = False
        if config.context:
            context = round(config.context / info.frame_seconds)
            self._start_segment(context * self._frame, context, in_speech=True)

    @property
    def position(self) -> int:
        """Position in the stream, in samples, of the next sample that will be taken."""
        return min(self._segment + self._fed * self._frame, self._received)

    def accept(self, samples: NDArray[np.float32]) -> None:
        """Append samples, (N,), mono at the model's rate.

        Raises:
            RuntimeError: after :meth:`close`.
        """
        if self._closed:
            raise RuntimeError("the session was closed; it takes no more samples")
        self._received += len(samples)
        if not self.finished:
            self._samples = np.concatenate([self._samples, samples])

    def finalize(self) -> None:
        """Ask for a final of what was accepted so far; the session goes on."""
        self._boundaries.append(self._received)

    def close(self, interrupted: bool = False) -> None:
        """Accept no more; a last final follows and then the session is finished.

        Args:
            interrupted: the audio would have gone on.
        """
        if not self._closed:
            self._closed = True
            self._interrupted = interrupted
            self._boundaries.append(self._received)

    def settle(self) -> list[Event]:
        """Answer the requests for a final that no audio precedes."""
        events: list[Event] = []
        while self._boundaries and self._boundaries[0] <= self._segment and not self.finished:
            events += self._end_by_boundary(0)
        return events

    def take(self, frames: int) -> NDArray[np.float32] | None:
        """The next block of samples, (frames * frame_samples,), or None if there is not enough.

        The last block before a requested final is filled up with zeros: to a whole frame, then for
        the look-ahead, then for the block. Each block must be answered with :meth:`put` before
        the next is taken.
        """
        if self.finished:
            return None
        start = self._segment + self._fed * self._frame
        size = frames * self._frame
        if self._boundaries and start + size > self._boundaries[0]:
            block = np.zeros(size, np.float32)
            if start < self._boundaries[0]:
                rest = self._slice(start, self._boundaries[0])
                block[: len(rest)] = rest
        elif start + size <= self._received:
            block = self._slice(start, start + size)
        else:
            return None
        self._taken = frames
        return block

    def put(self, log_probs: NDArray[np.float32]) -> list[Event]:
        """Take the log-probabilities, (U, V), of the block that was taken.

        Returns:
            What follows from them, in order.

        Raises:
            ValueError: if they are not as many as the block's frames, or are not numbers.
        """
        hearing = self.hear(log_probs)
        while True:
            try:
                frames = next(hearing)
            except StopIteration as end:
                events: list[Event] = end.value
                return events
            self.decoder.advance(frames)

    def hear(self, log_probs: NDArray[np.float32], *, hurried: bool = False) -> Hearing:
        """Do what :meth:`put` does, but leave the decoding to the caller.

        So that it can be done for many sessions at once.

        Args:
            hurried: more audio waits already, whose partial would replace this one at once: most
                are left out then, which are half of the work. Finals are the same.

        Yields:
            Frames, (U, V), that :attr:`decoder` must be given before this goes on.

        Returns:
            What follows from them, in order.

        Raises:
            ValueError: as :meth:`put` does.
        """
        if len(log_probs) != self._taken:
            raise ValueError(f"{len(log_probs)} frames for a block of {self._taken}")
        if np.isnan(log_probs).any():
            raise ValueError("the network's output is not a number")
        first = self._fed - self._lookahead  # the audio frame that output 0 is about
        self._fed += self._taken
        self._taken = 0
        end = first + len(log_probs)
        last = False
        if self._boundaries:
            audio_frames = -(-(self._boundaries[0] - self._segment) // self._frame)
            last = end >= audio_frames
            end = min(end, audio_frames)
        start = max(first, self._context)
        decoded = log_probs[start - first : max(end - first, start - first)]
        events = yield from self._advance(start, decoded, hurried)
        same_segment = self._fed > 0
        if last and same_segment and not self.finished:
            events += self._end_by_boundary(end)
        self._forget()
        return events

    def take_reset(self) -> bool:
        """Whether the network must begin anew before the next block; asking clears it."""
        must_reset, self._must_reset = self._must_reset, False
        return must_reset

    def _advance(self, start: int, log_probs: NDArray[np.float32], hurried: bool) -> Hearing:
        """Decode frames ``start``... of the segment, up to the first that ends the segment."""
        events: list[Event] = []
        silence = np.exp(log_probs[:, self._silent]).sum(axis=1).tolist()
        best = log_probs.argmax(axis=1).tolist()
        undecoded = 0
        for i, token in enumerate(best):
            frame = start + i
            separator = token in self._separators
            if self._detector.cuts_before(separator):
                yield log_probs[undecoded:i]
                undecoded = i
                context = min(self._decoded(frame) // self._frame, self._most_context)
                events += self._end_by_rule(frame, UtteranceEnd.MAX_DURATION, context)
                # It may have been cut in a pause, whose begin was told.
                in_speech = self._detector.in_speech
                self._start_segment(self._position(frame), context, in_speech=in_speech)
                return events
            signals = self._detector.advance(
                silence[i], token != BLANK and not separator, separator
            )
            for signal in signals:
                if signal is Signal.SPEECH_BEGIN:
                    events.append(SpeechBegin(self._time(frame), self._time(frame + 1)))
                elif signal is Signal.SPEECH_END:
                    events.append(self._speech_end(frame + 1))
                else:
                    yield log_probs[undecoded : i + 1]
                    late = min(self._late, self._detector.wordless // 2)
                    end = frame + 1 - late
                    if self._heard or self._config.single_utterance:
                        events += self._end_by_rule(end, UtteranceEnd.SILENCE, late=late)
                    else:
                        if self._detector.in_speech:
                            # Speech was cut just before, and nothing came after the cut.
                            events.append(self._speech_end(end, late))
                        events.append(self._silence(end, late))
                    self._start_segment(self._position(end))
                    return events
            if not self._detector.spoken and self._decoded(frame + 1) >= self._forget_samples:
                yield log_probs[undecoded : i + 1]
                undecoded = i + 1
                events += self._forget_silence(frame + 1)
        yield log_probs[undecoded:]
        if self._config.interim_results:
            if hurried and self._left_out < MOST_LEFT_OUT:
                self._left_out += 1
            else:
                self._left_out = 0
                events += self._changed_partial(start + len(best))
        return events

    @property
    def _heard(self) -> bool:
        """Whether the utterance has a word: a beam may find one where no frame alone has any."""
        return self._detector.spoken or bool(self.decoder.hypothesis().text)

    def _forget_silence(self, frame: int) -> list[Event]:
        """Start the utterance again at ``frame``, unless there is a word in it."""
        if self._heard:
            self._detector.note_word()
            return []
        self._start_utterance(self._position(frame))
        return [self._silence(frame)]

    def _silence(self, frame: int, late: int = 0) -> Event:
        return Silence(self._time(frame), self._time(frame + late))

    def _changed_partial(self, frame: int) -> list[Event]:
        decoded = self._decoded(frame) // self._frame
        hypothesis = self.decoder.hypothesis()
        words = self._shown.update(hypothesis, decoded, self.decoder.agreement)
        text = " ".join(word.text for word in words)
        if text == self._partial:
            return []
        self._partial = text
        # What was shown may turn out to be nothing: then it is taken back.
        stability = 1 - len(words[-1].text) / len(text) if words else 0.0
        time = self._time(frame)
        return [Partial(time, time, text, self._timed(words, time), stability)]

    def _end_by_rule(
        self, frame: int, reason: UtteranceEnd, context: int = 0, late: int = 0
    ) -> list[Event]:
        """The events that end an utterance before ``frame`` because a rule says so.

        Args:
            frame: the first that is not its own.
            reason: the rule.
            context: frames before that, which what comes next must have heard.
            late: frames from that on that it took to find out.
        """
        events = self._end_utterance(frame, reason, context, late)
        if not self._config.single_utterance:
            return events
        end = EndOfUtterance(self._time(frame), self._time(frame + late))
        return [*events[:-1], end, events[-1]]

    def _end_by_boundary(self, frame: int) -> list[Event]:
        """The events that end an utterance before ``frame`` because the owner asked for it."""
        if len(self._boundaries) > 1 or not self._closed:
            reason = UtteranceEnd.FINALIZE
        elif self._interrupted:
            reason = UtteranceEnd.INTERRUPTED
        else:
            reason = UtteranceEnd.END_OF_AUDIO
        events = self._end_utterance(frame, reason)
        self._pass_boundary()
        return events

    def _end_utterance(
        self, frame: int, reason: UtteranceEnd, context: int = 0, late: int = 0
    ) -> list[Event]:
        """The events that end the utterance before ``frame``; the next segment is to be started."""
        events: list[Event] = []
        cut = reason is UtteranceEnd.MAX_DURATION and not self._config.single_utterance
        # After a cut and after an interruption the speech goes on.
        if self._detector.in_speech and not (cut or reason is UtteranceEnd.INTERRUPTED):
            events.append(self._speech_end(frame, late))
        time = self._time(frame)
        readings = tuple(
            self._alternative(hypothesis, time)
            for hypothesis in self.decoder.finish(self._config.alternatives)
        )
        start = min(self._utterance / self._rate, time)
        resume = time - context * self._frame / self._rate
        processed = self._time(frame + late)
        events.append(Final(time, processed, readings, start, reason, resume))
        self.finished = self.finished or self._config.single_utterance
        return events

    def _speech_end(self, frame: int, late: int = 0) -> Event:
        end = min(self._detector.speech_end, frame)
        return SpeechEnd(self._time(end), self._time(frame + late))

    def _alternative(self, hypothesis: Hypothesis, end: float) -> Alternative:
        return Alternative(
            hypothesis.text,
            self._timed(hypothesis.words, end),
            hypothesis.confidence if hypothesis.text else 0.0,
        )

    def _timed(self, words: Sequence[Word], end: float) -> tuple[Word, ...]:
        """The words with times of the stream instead of the utterance, none past ``end``."""
        shift = self._utterance / self._rate
        return tuple(
            replace(word, start=min(word.start + shift, end), end=min(word.end + shift, end))
            for word in words
        )

    def _decoded(self, frame: int) -> int:
        """Samples of the utterance before a frame of the segment."""
        return self._segment + frame * self._frame - self._utterance

    def _start_utterance(self, position: int) -> None:
        self.decoder.reset()
        self._shown.reset()
        self._utterance = position
        self._partial = ""

    def _start_segment(self, position: int, context: int = 0, *, in_speech: bool = False) -> None:
        """Start an utterance at ``position``, and feed the network afresh.

        Args:
            position: of the utterance.
            context: frames before it that the network hears.
            in_speech: whether speech is under way there.
        """
        self._start_utterance(position)
        self._detector.reset(context, in_speech=in_speech)
        self._segment = position - context * self._frame
        self._context = context
        self._fed = 0
        self._must_reset = True

    def _pass_boundary(self) -> None:
        position = self._boundaries.popleft()
        if position < self._utterance:  # in the context, which stays one
            context = (self._utterance - position) // self._frame
            self._start_segment(self._utterance, context, in_speech=True)
        else:
            self._start_segment(position)
        self.finished = self.finished or (self._closed and not self._boundaries)

    def _position(self, frame: int) -> int:
        """Where a frame of the segment starts in the stream, at most where its audio ends."""
        position = self._segment + frame * self._frame
        return min(position, self._boundaries[0] if self._boundaries else self._received)

    def _time(self, frame: int) -> float:
        return self._position(frame) / self._rate

    def _slice(self, start: int, end: int) -> NDArray[np.float32]:
        return self._samples[start - self._samples_start : end - self._samples_start]

    def _forget(self) -> None:
        """Drop the samples that no next segment can begin with."""
        kept = self._position(max(self._fed - self._lookahead - self._most_context, 0))
        self._samples = self._samples[kept - self._samples_start :]
        self._samples_start = kept
