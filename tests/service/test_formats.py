"""Transcripts written as txt, json, srt, vtt and tsv."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ossicle.service.formats import (
    CUE_LINES,
    CUE_SECONDS,
    FORMATS,
    LINE_CHARACTERS,
    Segment,
    Transcript,
    Word,
    format_transcript,
    milliseconds,
    subtitle_cues,
    timecode,
    to_json,
)

TIMES = st.floats(min_value=0, max_value=400_000, allow_nan=False)
WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz'<>&-", min_size=1, max_size=50)


def transcript(*segments: Segment) -> Transcript:
    return Transcript("talk.wav", 20.0, "en-US", "small", segments)


def spoken(text: str, start: float = 0.0, seconds_per_word: float = 0.3) -> Segment:
    """A segment whose words follow each other without a pause."""
    words = tuple(
        Word(word, start + i * seconds_per_word, start + (i + 1) * seconds_per_word, 0.9)
        for i, word in enumerate(text.split())
    )
    return Segment(text, words[0].start, words[-1].end, 0.9, words)


@given(TIMES)
def test_timecode_reads_back_as_the_same_millisecond(seconds: float) -> None:
    code = timecode(milliseconds(seconds), ",")
    match = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3})", code)
    assert match is not None, code
    hours, minutes, whole, fraction = map(int, match.groups())
    assert ((hours * 60 + minutes) * 60 + whole) * 1000 + fraction == round(seconds * 1000)


@given(TIMES, TIMES)
def test_timecodes_sort_as_their_times_below_a_hundred_hours(a: float, b: float) -> None:
    first, second = sorted((a % 359_999, b % 359_999))
    assert timecode(milliseconds(first), ".") <= timecode(milliseconds(second), ".")


def test_a_time_that_rounds_up_carries_into_the_hours() -> None:
    assert timecode(milliseconds(3599.9996), ".") == "01:00:00.000"


@pytest.mark.parametrize("seconds", [-0.001, float("nan"), float("inf")])
def test_an_impossible_time_is_refused_by_value(seconds: float) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(seconds))):
        milliseconds(seconds)


@given(st.lists(st.tuples(WORDS, st.floats(0, 2), st.floats(0, 3)), min_size=1, max_size=60))
def test_cues_keep_every_word_in_order_within_two_lines_and_never_overlap(
    drawn: list[tuple[str, float, float]],
) -> None:
    words = []
    now = 0.0
    for text, pause, length in drawn:
        words.append(Word(text, now + pause, now + pause + length))
        now = words[-1].end
    text = " ".join(word.text for word in words)
    cues = list(subtitle_cues([Segment(text, words[0].start, now, 0.5, tuple(words))]))

    assert " ".join(line for cue in cues for line in cue.lines) == text
    longest_word = max(len(word.text) for word in words)
    for cue in cues:
        assert cue.start_ms < cue.end_ms
        if sum(len(line.split()) for line in cue.lines) > 1:
            assert cue.end_ms - cue.start_ms <= 1000 * CUE_SECONDS + 1
        assert 1 <= len(cue.lines) <= CUE_LINES
        assert all(len(line) <= max(LINE_CHARACTERS, longest_word) for line in cue.lines)
    for earlier, later in pairwise(cues):
        assert earlier.end_ms <= later.start_ms


@given(st.lists(WORDS, min_size=2, max_size=30))
def test_words_fit_if_there_is_a_break_that_makes_both_lines_short_enough(
    texts: list[str],
) -> None:
    words = [Word(text, 0.0, 0.1) for text in texts]
    segment = Segment(" ".join(texts), 0.0, 0.1, 0.5, tuple(words))
    breaks = [(" ".join(texts[:cut]), " ".join(texts[cut:])) for cut in range(1, len(texts))]
    fit = any(max(map(len, lines)) <= LINE_CHARACTERS for lines in breaks)
    cues = list(subtitle_cues([segment]))
    if fit:
        assert len(cues) == 1
    else:
        assert len(cues) > 1 or len(cues[0].lines) == 1


def test_a_cue_is_timed_by_its_own_words() -> None:
    text = "the quick brown fox jumps over the lazy dog and then it does so again until evening "
    segment = spoken(text + "comes down over the quiet fields", start=2.0, seconds_per_word=0.25)
    cues = list(subtitle_cues([segment]))
    assert len(cues) == 2
    words_before = 0
    for cue in cues:
        count = sum(len(line.split()) for line in cue.lines)
        assert cue.start_ms == 2000 + 250 * words_before
        words_before += count
        assert cue.end_ms == 2000 + 250 * words_before


def test_long_text_is_shared_evenly_so_that_no_word_is_left_alone() -> None:
    segment = spoken(" ".join(["words"] * 15), seconds_per_word=0.1)
    cues = list(subtitle_cues([segment]))
    counts = [sum(len(line.split()) for line in cue.lines) for cue in cues]
    assert len(counts) == 2
    assert abs(counts[0] - counts[1]) <= 1


def test_a_long_pause_starts_a_new_cue() -> None:
    words = (Word("yes", 0.0, 0.4), Word("no", 3.0, 3.4))
    cues = list(subtitle_cues([Segment("yes no", 0.0, 3.4, 0.9, words)]))
    assert [(cue.start_ms, cue.end_ms, cue.lines) for cue in cues] == [
        (0, 1000, ("yes",)),
        (3000, 4000, ("no",)),
    ]


def test_what_does_not_fit_is_cut_at_its_pauses() -> None:
    words = list(spoken("we could have walked along the river for hours " * 2).words)
    late = [Word(word.text, word.start + 0.6, word.end + 0.6) for word in words[6:]]
    words[6:] = late
    text = " ".join(word.text for word in words)
    cues = list(subtitle_cues([Segment(text, 0.0, words[-1].end, 0.9, tuple(words))]))
    assert " ".join(cues[0].lines) == "we could have walked along the"
    assert cues[1].start_ms == 2400


def test_a_short_cue_stays_until_it_can_be_read_or_the_next_begins() -> None:
    cues = list(subtitle_cues([spoken("yes"), spoken("no", 0.7), spoken("well", 5.0)]))
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 700), (700, 1700), (5000, 6000)]


@pytest.mark.parametrize(("name", "count"), [("srt", 3), ("vtt", 3), ("tsv", 3), ("txt", 1)])
def test_words_have_cues_and_rows_of_their_own(name: str, count: int) -> None:
    one = transcript(spoken("one two three", 1.0, 0.5))
    text = format_transcript(one, name, words=True)
    marks = {"srt": " --> ", "vtt": " --> ", "tsv": "\t", "txt": "\n"}
    rows = sum(marks[name] in line for line in text.splitlines(keepends=True))
    assert rows - (name == "tsv") == count
    assert ("1500\t2000\ttwo" in text) == (name == "tsv")
    assert format_transcript(one, "json", words=True) == to_json(one)


def test_a_segment_without_word_times_is_timed_by_length() -> None:
    cues = list(subtitle_cues([Segment("word " * 28, 10.0, 16.0)]))
    assert len(cues) == 2
    assert (cues[0].start_ms, cues[-1].end_ms) == (10_000, 16_000)
    assert cues[0].end_ms == cues[1].start_ms == 13_000


def test_srt_numbers_cues_and_separates_them_by_one_blank_line() -> None:
    text = format_transcript(transcript(spoken("one two"), spoken("three", 5.0)), "srt")
    assert text == (
        "1\n00:00:00,000 --> 00:00:01,000\none two\n\n2\n00:00:05,000 --> 00:00:06,000\nthree\n"
    )


def test_vtt_escapes_what_would_be_markup() -> None:
    text = format_transcript(transcript(spoken("a<b> & c-->d")), "vtt")
    assert text == ("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na&lt;b&gt; &amp; c--&gt;d\n")


def test_no_text_of_a_cue_can_be_read_as_a_line_of_times() -> None:
    text = format_transcript(transcript(spoken("00:00:00,000 --> 00:00:01,000")), "srt")
    assert sum("-->" in line for line in text.splitlines()) == 1


def test_tsv_has_whole_milliseconds_and_no_stray_tabs() -> None:
    text = format_transcript(transcript(Segment("tab\there\nand there", 0.0404, 1.5)), "tsv")
    assert text == "start\tend\ttext\n40\t1500\ttab here and there\n"


def test_json_holds_every_field_and_reads_back() -> None:
    whole = transcript(spoken("it's naïve", 1.0), Segment("", 4.0, 4.0))
    document = json.loads(to_json(whole))
    assert document["file"] == "talk.wav"
    assert document["duration"] == 20.0
    assert document["language"] == "en-US"
    assert document["model"] == "small"
    assert document["text"] == "it's naïve"
    assert document["segments"][0]["words"] == [
        {"word": "it's", "start": 1.0, "end": 1.3, "confidence": 0.9},
        {"word": "naïve", "start": 1.3, "end": 1.6, "confidence": 0.9},
    ]
    assert "naïve" in to_json(whole)
    assert to_json(whole, indent=None).count("\n") == 1


@pytest.mark.parametrize(
    ("name", "empty"),
    [("txt", ""), ("srt", ""), ("vtt", "WEBVTT\n"), ("tsv", "start\tend\ttext\n")],
)
def test_a_recording_without_speech_gives_an_empty_but_valid_file(name: str, empty: str) -> None:
    assert format_transcript(transcript(Segment("", 0.0, 5.0)), name) == empty


def test_txt_has_a_line_for_each_segment() -> None:
    text = format_transcript(
        transcript(spoken("one two"), Segment("", 2, 2), spoken("three")), "txt"
    )
    assert text == "one two\nthree\n"


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'docx'.*txt, json, srt, vtt, tsv"):
        format_transcript(transcript(), "docx")
    assert set(FORMATS) == {"txt", "json", "srt", "vtt", "tsv"}
