"""Finished transcripts and the files they are written to: txt, json, srt, vtt, tsv.

All times are seconds from the start of the recording. The writers are pure functions from a
:class:`Transcript` to text, so the command line, the client and a program of yours share them:

    >>> transcript = Transcript("a.wav", 1.2, "en-US", "small", (Segment("hello", 0.2, 1.4),))
    >>> print(format_transcript(transcript, "srt"), end="")
    1
    00:00:00,200 --> 00:00:01,400
    hello
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

# Broadcasters' subtitle guidelines agree on about 42 characters in at most two lines, and on
# seconds a viewer can be asked to look at one cue, or needs to find it.
LINE_CHARACTERS = 42
CUE_LINES = 2
CUE_SECONDS = 7.0
CUE_LEAST_SECONDS = 1.0
# A silence this long between two words starts a new cue even if the old one has room.
CUE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Word:
    """One word with its place in the recording.

    Attributes:
        text: the word, without spaces.
        start: seconds from the start of the recording.
        end: seconds from the start of the recording.
        confidence: 0 to 1, 0 when not known.
    """

    text: str
    start: float
    end: float
    confidence: float = 0.0


@dataclass(frozen=True)
class Alternative:
    """One reading of an utterance.

    Attributes:
        text: the words with single spaces between them, may be empty.
        confidence: 0 to 1, 0 when not known.
        words: the words with their times; empty when they were not asked for.
    """

    text: str
    confidence: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Segment:
    """One utterance: what was said between two endpoints.

    Attributes:
        text: the words with single spaces between them.
        start: seconds from the start of the recording.
        end: seconds from the start of the recording.
        confidence: 0 to 1, 0 when not known.
        words: the words with their times; empty when they were not asked for.
        alternatives: all readings of the utterance, best first, which is the segment's own; empty
            if there is no other.
    """

    text: str
    start: float
    end: float
    confidence: float = 0.0
    words: tuple[Word, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording.

    Attributes:
        file: the recording's name as the caller gave it ("-" for standard input).
        duration: seconds of audio.
        language: language of the model, for example "en-US".
        model: name of the model.
        segments: the utterances in order.
    """

    file: str
    duration: float
    language: str
    model: str
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The words of all segments in one line."""
        return " ".join(segment.text for segment in self.segments if segment.text)


@dataclass(frozen=True)
class Cue:
    """One subtitle: up to two lines shown together.

    Attributes:
        start_ms: milliseconds from the start of the recording.
        end_ms: milliseconds, at least one more than ``start_ms``.
        lines: the lines of text, top to bottom.
    """

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def segment_of(readings: Sequence[Alternative]) -> Segment:
    """An utterance that spans the words of its best reading; there is at least one."""
    best = readings[0]
    return Segment(
        best.text,
        best.words[0].start,
        best.words[-1].end,
        best.confidence,
        best.words,
        tuple(readings) if len(readings) > 1 else (),
    )


def milliseconds(seconds: float) -> int:
    """Seconds as whole milliseconds, rounded to the nearest.

    Raises:
        ValueError: the time is negative or not a finite number.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"a time in a transcript must be 0 or more seconds, got {seconds!r}")
    return round(seconds * 1000)


def timecode(time_ms: int, decimal_mark: str) -> str:
    """``HH:MM:SS`` and milliseconds after ``decimal_mark`` (a comma in SRT, a point in WebVTT).

    The hours take more digits when a recording is longer than 99 hours.
    """
    seconds, fraction = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimal_mark}{fraction:03d}"


def subtitle_cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Cut segments into cues of at most two lines of 42 characters, timed by their words.

    A segment without word times has its duration shared among its words by their length. Cues
    are in order, never overlap and never are empty. A word longer than a line keeps a line of
    its own rather than being cut. What is said faster than it can be read is shown a little
    longer, where the next cue allows.
    """
    before: Cue | None = None
    for segment in segments:
        for words in _cues(segment.words or _words_by_length(segment)):
            start_ms = max(milliseconds(words[0].start), before.end_ms if before else 0)
            # WebVTT forbids a cue that ends when it starts.
            end_ms = max(milliseconds(words[-1].end), start_ms + 1)
            if before:
                yield _shown_long_enough(before, start_ms)
            before = Cue(start_ms, end_ms, _two_lines([word.text for word in words]))
    if before:
        yield _shown_long_enough(before, math.inf)


def _shown_long_enough(cue: Cue, next_ms: float) -> Cue:
    long_enough = cue.start_ms + milliseconds(CUE_LEAST_SECONDS)
    return replace(cue, end_ms=max(cue.end_ms, int(min(long_enough, next_ms))))


def word_by_word(transcript: Transcript) -> Transcript:
    """The transcript with a segment for each word, which each gets a cue or a row of its own."""
    return replace(
        transcript,
        segments=tuple(
            Segment(word.text, word.start, word.end, word.confidence, (word,))
            for segment in transcript.segments
            for word in segment.words or _words_by_length(segment)
        ),
    )


def to_txt(transcript: Transcript) -> str:
    """One line of text for each segment that has words."""
    return "".join(f"{_one_line(segment.text)}\n" for segment in _spoken(transcript))


def to_json(transcript: Transcript, indent: int | None = 2) -> str:
    """The whole transcript as one JSON object; ``indent=None`` keeps it on one line.

    Segments with alternatives have them under a key of their own.
    """
    document: dict[str, Any] = {
        "file": transcript.file,
        "duration": _rounded(transcript.duration),
        "language": transcript.language,
        "model": transcript.model,
        "text": transcript.text,
        "segments": [segment_object(segment) for segment in transcript.segments],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"


def to_srt(transcript: Transcript) -> str:
    """SubRip subtitles: numbered cues, a comma before the milliseconds."""
    cues = []
    for number, cue in enumerate(subtitle_cues(_spoken(transcript)), start=1):
        # SubRip knows no escapes; an arrow inside the text would be read as a line of times.
        text = "\n".join(cue.lines).replace("-->", "->")
        cues.append(f"{number}\n{_span(cue, ',')}\n{text}\n")
    return "\n".join(cues)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles: a header, a point before the milliseconds, ``& < >`` escaped."""
    cues = ["WEBVTT\n"]
    for cue in subtitle_cues(_spoken(transcript)):
        text = "\n".join(cue.lines)
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"{_span(cue, '.')}\n{text}\n")
    return "\n".join(cues)


def to_tsv(transcript: Transcript) -> str:
    """Tab-separated start, end (whole milliseconds) and text, with a header, as whisper's."""
    rows = ["start\tend\ttext\n"]
    for segment in _spoken(transcript):
        times = f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}"
        rows.append(f"{times}\t{_one_line(segment.text)}\n")
    return "".join(rows)


_WRITERS: dict[str, Callable[[Transcript], str]] = {
    "txt": to_txt,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
    "tsv": to_tsv,
}
FORMATS = tuple(_WRITERS)


def format_transcript(transcript: Transcript, name: str, *, words: bool = False) -> str:
    """The transcript in the format called ``name``.

    Args:
        transcript: what was said.
        name: one of :data:`FORMATS`.
        words: with a cue or a row for each word; json has all words in any case, txt no times.

    Raises:
        ValueError: there is no such format.
    """
    if name not in _WRITERS:
        raise ValueError(f"unknown transcript format {name!r}; choose one of {', '.join(FORMATS)}")
    by_word = words and name not in ("txt", "json")
    return _WRITERS[name](word_by_word(transcript) if by_word else transcript)


def _spoken(transcript: Transcript) -> Iterator[Segment]:
    return (segment for segment in transcript.segments if segment.text.strip())


def segment_object(segment: Segment) -> dict[str, Any]:
    """The segment as JSON has it."""
    document = {
        "start": _rounded(segment.start),
        "end": _rounded(segment.end),
        **_reading_object(segment),
    }
    if segment.alternatives:
        document["alternatives"] = [_reading_object(reading) for reading in segment.alternatives]
    return document


def _reading_object(reading: Segment | Alternative) -> dict[str, Any]:
    return {
        "text": reading.text,
        "confidence": _rounded(reading.confidence),
        "words": [
            {
                "word": word.text,
                "start": _rounded(word.start),
                "end": _rounded(word.end),
                "confidence": _rounded(word.confidence),
            }
            for word in reading.words
        ],
    }


def _one_line(text: str) -> str:
    """Tabs and line breaks would end a field, a row or a cue."""
    return " ".join(text.split())


def _rounded(value: float) -> float:
    return round(value, 3)


def _span(cue: Cue, decimal_mark: str) -> str:
    return f"{timecode(cue.start_ms, decimal_mark)} --> {timecode(cue.end_ms, decimal_mark)}"


def _words_by_length(segment: Segment) -> list[Word]:
    """Words of a segment without word times, each as long as its share of the characters."""
    texts = segment.text.split()
    characters = sum(map(len, texts))
    words = []
    position = 0
    for text in texts:
        start = segment.start + (segment.end - segment.start) * position / characters
        position += len(text)
        end = segment.start + (segment.end - segment.start) * position / characters
        words.append(Word(text, start, end))
    return words


def _cues(words: Sequence[Word]) -> list[Sequence[Word]]:
    """The words cut where it costs least: at pauses, into few cues of about equal fullness.

    As Knuth and Plass 1981 break paragraphs into lines: the best way to cut the first n words is
    the best way to cut some of them and one more cue.
    """
    costs = [0.0]
    cuts = [0]
    places = [0, *accumulate(len(word.text) + 1 for word in words)]
    for end in range(1, len(words) + 1):
        best = math.inf
        cut = end - 1
        for start in range(end - 1, -1, -1):
            if start < end - 1 and not _fits(words, places, start, end):
                break
            fullness = (places[end] - places[start] - 1) / (CUE_LINES * LINE_CHARACTERS)
            cost = costs[start] + 1 + fullness**2
            if start:
                pause = words[start].start - words[start - 1].end
                cost -= min(max(pause, 0.0) / CUE_PAUSE_SECONDS, 1.0)
            if cost < best:
                best, cut = cost, start
            if start and words[start].start - words[start - 1].end >= CUE_PAUSE_SECONDS:
                break
        costs.append(best)
        cuts.append(cut)
    cues: list[Sequence[Word]] = []
    end = len(words)
    while end:
        cues.append(words[cuts[end] : end])
        end = cuts[end]
    return cues[::-1]


def _fits(words: Sequence[Word], places: Sequence[int], start: int, end: int) -> bool:
    """Whether some of the words may be one cue, as long as it is and as many as they are.

    Args:
        places: where each word begins in the text of all, and where one behind them would.
    """
    if words[end - 1].end - words[start].start > CUE_SECONDS:
        return False
    # The second line is shortest if the first has as many words as it can have.
    second = bisect_right(places, places[start] + LINE_CHARACTERS + 1, start, end + 1) - 1
    return start < second and places[end] - places[second] - 1 <= LINE_CHARACTERS


def _two_lines(texts: list[str]) -> tuple[str, ...]:
    """One line if it fits, else the break that makes the longer line shortest."""
    whole = " ".join(texts)
    if len(whole) <= LINE_CHARACTERS or len(texts) == 1:
        return (whole,)
    breaks = ((" ".join(texts[:cut]), " ".join(texts[cut:])) for cut in range(1, len(texts)))
    return min(breaks, key=lambda lines: max(map(len, lines)))
