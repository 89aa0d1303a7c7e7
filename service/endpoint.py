"""When an utterance begins and ends, decided frame by frame from the network's posteriors.

A frame is silent when the network gives most of its probability to the blank and to the separator
between words. The rules are the usual three of streaming recognisers: nothing was said for too
long, silence followed speech, the utterance is too long. They see frames one at a time, in order,
so their decisions do not depend on how the audio was cut into chunks or the frames into blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

SILENCE_PROBABILITY = 0.8
# The pauses between the spikes that CTC emits within a word are shorter than this.
SPEECH_END_SECONDS = 0.6
# Under steady noise the posteriors may never be sure of silence; the lack of words must do.
UNSURE_SILENCE_FACTOR = 2
# A too long utterance is cut between words if a separator comes this close to its limit.
CUT_WINDOW_SECONDS = 2.0

SHORTEST_LEADING_SILENCE = 0.2  # each costs the network as much as it looks ahead
SHORTEST_TRAILING_SILENCE = 0.1
SHORTEST_UTTERANCE = 1.0
LONGEST_UTTERANCE = 300.0


@dataclass(frozen=True)
class EndpointConfig:
    """When an utterance ends; all in seconds.

    Attributes:
        leading_silence_timeout: an utterance without a word for so long is given up, 0.2 or
            more; 0 never.
        trailing_silence: silence after the last word that ends an utterance; 0 never.
        max_utterance_duration: longest utterance from its first word, 1 to 300.

    Raises:
        ValueError: for a value out of its range.
    """

    leading_silence_timeout: float = 5.0
    trailing_silence: float = 1.2
    max_utterance_duration: float = 20.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        leading = self.leading_silence_timeout
        if leading != 0 and not SHORTEST_LEADING_SILENCE <= leading < math.inf:
            raise ValueError(
                f"leading_silence_timeout is {leading:g} s; give 0 (never) or at least "
                f"{SHORTEST_LEADING_SILENCE:g} s"
            )
        trailing = self.trailing_silence
        if trailing != 0 and not SHORTEST_TRAILING_SILENCE <= trailing < math.inf:
            raise ValueError(
                f"trailing_silence is {trailing:g} s; give 0 (never) or at least "
                f"{SHORTEST_TRAILING_SILENCE:g} s"
            )
        if not SHORTEST_UTTERANCE <= self.max_utterance_duration <= LONGEST_UTTERANCE:
            raise ValueError(
                f"max_utterance_duration is {self.max_utterance_duration:g} s; give "
                f"{SHORTEST_UTTERANCE:g} to {LONGEST_UTTERANCE:g} s"
            )


class Signal(Enum):
    """What a frame brought about."""

    SPEECH_BEGIN = "speech begins with this frame"
    SPEECH_END = "speech ended at speech_end"
    LEADING_SILENCE = "nothing was said for too long"
    TRAILING_SILENCE = "silence followed speech"


class EndpointDetector:
    """The endpointing of one stream.

    Frames are counted from the last :meth:`reset`; the caller knows where that is in the stream.

    Args:
        config: the rules.
        frame_seconds: length of a frame.
    """

    def __init__(self, config: EndpointConfig, frame_seconds: float) -> None:
        def frames(seconds: float) -> int:
            return math.ceil(seconds / frame_seconds - 1e-6)

        self._leading = frames(config.leading_silence_timeout)
        self._trailing = frames(config.trailing_silence)
        self._longest = frames(config.max_utterance_duration)
        longest = config.max_utterance_duration
        self._cut_from = frames(longest - min(CUT_WINDOW_SECONDS, longest / 4))
        self._speech_end = frames(SPEECH_END_SECONDS)
        self.reset()

    def reset(self, context: int = 0, *, in_speech: bool = False) -> None:
        """Start over.

        Args:
            context: frames before the next one that were heard before.
            in_speech: whether speech was under way there.
        """
        self._start = self._frame = context
        self._silent_frames = 0
        self._last_token = context - 1
        self._after_separator = False
        self.in_speech = in_speech
        self._first_token: int | None = None

    def note_word(self) -> None:
        """Take the utterance for spoken: the search has a word, though no frame alone has one."""
        if self._first_token is None:
            self._first_token = self._frame

    @property
    def spoken(self) -> bool:
        """Whether this utterance has a word."""
        return self._first_token is not None

    @property
    def speech_end(self) -> int:
        """One past the last frame that had a token."""
        return self._last_token + 1

    @property
    def wordless(self) -> int:
        """Frames since the last that had a token, or since the last :meth:`reset`."""
        return self._frame - self.speech_end

    def cuts_before(self, separator: bool) -> bool:
        """Whether an utterance that has grown too long is to end before the next frame.

        Args:
            separator: the next frame's likeliest token separates words.
        """
        if self._first_token is None:
            return False
        length = self._frame - self._first_token
        between_words = separator and not self._after_separator
        return length >= self._longest or (length >= self._cut_from and between_words)

    def advance(self, silence: float, token: bool, separator: bool = False) -> list[Signal]:
        """Take the next frame.

        Args:
            silence: probability, 0 to 1, of the blank and the separators between words together.
            token: the likeliest token is neither.
            separator: the likeliest token is a separator.

        Returns:
            What the frame brought about, in order; LEADING_SILENCE and TRAILING_SILENCE end the
            utterance with this frame and come last.
        """
        signals = []
        self._silent_frames = self._silent_frames + 1 if silence > SILENCE_PROBABILITY else 0
        self._after_separator = separator
        if token:
            self._last_token = self._frame
            if self._first_token is None:
                self._first_token = self._frame
            if not self.in_speech:
                self.in_speech = True
                signals.append(Signal.SPEECH_BEGIN)
        self._frame += 1

        if self.in_speech and self.wordless >= self._speech_end:
            self.in_speech = False
            signals.append(Signal.SPEECH_END)
        if not self.spoken:
            if self._leading and self._frame - self._start >= self._leading:
                signals.append(Signal.LEADING_SILENCE)
        elif self._trailing:
            silent = min(self._silent_frames, self.wordless)
            if silent >= self._trailing or self.wordless >= UNSURE_SILENCE_FACTOR * self._trailing:
                signals.append(Signal.TRAILING_SILENCE)
        return signals
