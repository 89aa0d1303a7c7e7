"""Leaks of validation data into training data."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import random
import sys
import threading
from pathlib import Path

import pytest
from ossicle.data.cli import data_app
from ossicle.data.leaks import (
    Leak,
    LeakKind,
    LeakReport,
    LeakRules,
    find_leaks,
)
from ossicle.data.manifest import ManifestError, read_manifest
from ossicle.data.shared_text import HeldOutText, SentenceIndex
from ossicle.data.text_file import TextFileError
from typer.testing import CliRunner

QUOTE = "it is a truth universally acknowledged that a single man must be in want of a wife"


def manifest(path: Path, *rows: dict[str, str]) -> Path:
    lines = [
        json.dumps({"audio_filepath": f"{path.stem}/{number}.ogg", "duration": 2.0, **row})
        for number, row in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def spoken(text: str, speaker: str = "", source: str = "") -> dict[str, str]:
    return {"text": text, "speaker": speaker, "source": source}


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    return manifest(
        tmp_path / "dev.jsonl",
        spoken("Two.", "digits/ann", "digits"),
        spoken(QUOTE, "books/ben", "books"),
        spoken("Please call 5 people back tonight", "prompts/cleo", "prompts"),
        spoken("open the red door", "prompts/cleo", "prompts"),
    )


def search(dev: Path, *lines: str, rules: LeakRules | None = None) -> LeakReport:
    text = dev.with_name("text.txt")
    text.write_text("\n".join(lines) + "\n")
    return find_leaks([text], [dev], rules)


def only(report: LeakReport) -> Leak:
    (leak,) = report.leaks
    return leak


def test_unrelated_data_do_not_leak(dev: Path, tmp_path: Path) -> None:
    train = manifest(tmp_path / "train.jsonl", spoken("good morning to all of you", "books/dora"))
    report = find_leaks([train], [dev])
    assert report == LeakReport([], [], sentences=4, short=2, speakers=3, unnamed=0, lines=1)
    assert report.summary() == (
        "1 line of training data searched for 4 sentences and 3 speakers: no leak"
    )


def test_a_shared_speaker_leaks(dev: Path, tmp_path: Path) -> None:
    train = manifest(
        tmp_path / "train.jsonl",
        spoken("good morning", "books/dora"),
        spoken("good night", "books/ben"),
        spoken("good bye", "books/ben"),
    )
    leak = only(find_leaks([train], [dev]))
    assert leak.kind is LeakKind.SPEAKER
    assert str(leak) == f"speaker 'books/ben' of {dev}:2 is in {train}:2 and 1 line more"


@pytest.mark.parametrize("name", ["train_manifest.json", "train", "train.json.gz"])
def test_a_manifest_is_one_by_what_it_holds(dev: Path, tmp_path: Path, name: str) -> None:
    written = manifest(tmp_path / "train.jsonl", spoken(QUOTE, "books/ben")).read_bytes()
    train = tmp_path / name
    train.write_bytes(gzip.compress(written) if name.endswith(".gz") else b"\n" + written)
    leaks = find_leaks([train], [dev]).leaks
    assert {leak.kind for leak in leaks} == {LeakKind.SPEAKER, LeakKind.SENTENCE}


def test_text_in_braces_is_no_manifest(dev: Path) -> None:
    report = search(dev, "{laughter} good morning", "", QUOTE)
    assert only(report).kind is LeakKind.SENTENCE
    assert report.lines == 2


def test_nameless_speakers_are_counted_and_not_taken_for_one(tmp_path: Path) -> None:
    dev = manifest(tmp_path / "dev.jsonl", spoken("one"))
    train = manifest(tmp_path / "train.jsonl", spoken("two"), spoken("three"))
    report = find_leaks([train], [dev])
    assert report.leaks == []
    assert report.unnamed == 3
    assert report.summary().endswith("no leak; 3 utterances without a speaker, who may be anybody")


def test_a_shared_recording_leaks(dev: Path, tmp_path: Path) -> None:
    row = {"audio_filepath": "dev/0.ogg", "duration": 1.0, "text": "too"}
    train = tmp_path / "train.jsonl"
    train.write_text(json.dumps(row) + "\n")
    leak = only(find_leaks([train], [dev]))
    assert (leak.kind, leak.shared) == (LeakKind.RECORDING, str(tmp_path / "dev" / "0.ogg"))


def test_a_recording_leaks_under_any_of_its_names(dev: Path, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "dev")
    row = {"audio_filepath": "linked/0.ogg", "duration": 1.0, "text": "too"}
    train = tmp_path / "train.jsonl"
    train.write_text(json.dumps(row) + "\n")
    assert only(find_leaks([train], [dev])).kind is LeakKind.RECORDING


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_manifest_that_comes_through_a_pipe_is_not_taken_for_text(
    dev: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=[dev.read_bytes()], daemon=True).start()
    with pytest.raises(TextFileError, match="pipe brings a manifest but is no file"):
        find_leaks([pipe], [dev])


def test_one_word_said_over_and_over_is_searched_in_no_time() -> None:
    index = SentenceIndex()
    index.add("no " * 1500)
    assert index.runs("no " * 1400) == {0: ["no"] * 1400}


def test_a_shared_sentence_leaks_in_any_spelling(dev: Path) -> None:
    leak = only(search(dev, "Hello!", "PLEASE call five people — back... tonight", "please call"))
    assert (leak.kind, leak.shared) == (LeakKind.SENTENCE, "please call five people back tonight")
    assert (leak.training.line, leak.validation.line, leak.count) == (2, 3, 1)


def test_short_sentences_are_everybodys(dev: Path) -> None:
    lines = ("two", "open the red door")
    assert search(dev, *lines).leaks == []
    assert only(search(dev, *lines, rules=LeakRules(sentence_words=4))).shared == lines[1]


@pytest.mark.parametrize("run_words", range(1, 10))
def test_a_run_of_words_leaks_wherever_it_stands(dev: Path, run_words: int) -> None:
    words = QUOTE.split()
    rules = LeakRules(run_words=run_words)
    generator = random.Random(run_words)
    for start in range(len(words) - run_words + 1):
        run = words[start : start + run_words]
        line = " ".join(["x"] * generator.randrange(6) + run + ["y"] * generator.randrange(6))
        leak = only(search(dev, line, rules=rules))
        assert (leak.kind, leak.shared) == (LeakKind.RUN, " ".join(run))


def test_a_run_one_word_short_is_no_leak(dev: Path) -> None:
    words = QUOTE.split()
    for start in range(len(words) - 7):
        seven = " ".join(words[start : start + 7])
        assert search(dev, seven, f"so {seven} and", f"so or {seven} and").leaks == []


def test_the_longest_run_is_told_once(dev: Path) -> None:
    nine = " ".join(QUOTE.split()[3:12])
    leak = only(search(dev, f"well {nine} indeed", "well", f"{nine} again"))
    assert (leak.shared, leak.training.line, leak.count) == (nine, 1, 2)
    assert only(search(dev, QUOTE)).kind is LeakKind.SENTENCE


def test_a_sentence_too_short_as_a_whole_leaks_as_a_run(dev: Path) -> None:
    rules = LeakRules(sentence_words=99)
    assert only(search(dev, QUOTE, rules=rules)).kind is LeakKind.RUN


def test_compressed_text_and_manifests_are_read(dev: Path, tmp_path: Path) -> None:
    train = manifest(tmp_path / "train.jsonl", spoken(QUOTE, "books/dora"))
    packed = tmp_path / "train.jsonl.gz"
    packed.write_bytes(gzip.compress(train.read_bytes()))
    text = tmp_path / "text.txt.xz"
    text.write_bytes(lzma.compress(f"one\n\n{QUOTE}\n".encode()))
    report = find_leaks([packed, text], [dev])
    assert (only(report).count, report.lines) == (2, 3)
    assert str(only(find_leaks([text], [dev])).training) == f"{text}:3"


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        (LeakRules(shared_speakers=("prompts/cleo",)), LeakKind.SPEAKER),
        (LeakRules(shared_sources=("prompts",)), LeakKind.SENTENCE),
    ],
)
def test_what_is_meant_to_be_shared_is_accepted_and_told(
    dev: Path, tmp_path: Path, rules: LeakRules, kind: LeakKind
) -> None:
    train = manifest(
        tmp_path / "train.jsonl",
        spoken("please call five people back tonight", "prompts/cleo"),
        spoken(QUOTE, "books/dora"),
    )
    report = find_leaks([train], [dev], rules)
    assert [leak.kind for leak in report.accepted] == [kind]
    assert len(report.leaks) == 2
    assert f"accepted: 1 {kind.value}" in report.summary()


@pytest.mark.parametrize("order", [("prompts", "books"), ("books", "prompts")])
def test_a_sentence_of_two_sources_is_shared_if_both_are_meant_to(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    dev = manifest(tmp_path / "dev.jsonl", *(spoken(QUOTE, "", source) for source in order))
    assert only(search(dev, QUOTE, rules=LeakRules(shared_sources=("prompts",))))
    assert not search(dev, QUOTE, rules=LeakRules(shared_sources=("prompts", "books"))).leaks


def test_the_message_names_examples_and_the_remedy(dev: Path, tmp_path: Path) -> None:
    train = manifest(
        tmp_path / "train.jsonl", spoken("hello", "books/ben"), spoken(QUOTE, "books/dora")
    )
    message = find_leaks([train], [dev]).message()
    assert "hold 1 speaker, 1 sentence of the validation data" in message
    assert f"'books/ben' of {dev}:2 is in {train}:1" in message
    assert f"sentence {QUOTE!r} of {dev}:2 is in {train}:2" in message
    assert "shared_speakers" in message


def test_held_out_text(dev: Path) -> None:
    held_out = HeldOutText(utterance.text for utterance in read_manifest(dev))
    assert held_out.shares(QUOTE)
    assert held_out.shares(f"well {' '.join(QUOTE.split()[2:10])} indeed")
    assert not held_out.shares(f"well {' '.join(QUOTE.split()[2:9])} indeed")
    assert not held_out.shares("two")
    assert list(held_out.leave_out(["two", QUOTE, "three"])) == ["two", "three"]
    assert held_out.left_out == 1
    assert not HeldOutText([]).shares(QUOTE)


def test_many_examples_are_cut_short(dev: Path, tmp_path: Path) -> None:
    rows = [spoken(f"the sentence {chr(97 + n)} has six words") for n in range(9)]
    report = find_leaks(
        [manifest(tmp_path / "train.jsonl", *rows)], [manifest(tmp_path / "test.jsonl", *rows)]
    )
    assert len(report.leaks) == 9
    assert "and 4 sentences more" in report.message(examples=5)


def test_bad_files_are_named(dev: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('\n{"text": "no audio", "duration": 1}\n')
    with pytest.raises(ManifestError, match=r"broken\.jsonl:2: the key \"audio_filepath\""):
        find_leaks([broken], [dev])
    words = " ".join(str(number) for number in range(9999)).encode()
    packed = gzip.compress(words, mtime=0)
    for name, content, reason in (
        ("cut.txt.xz", lzma.compress(b"word " * 9999)[:-50], r"is damaged"),
        ("no.txt.gz", b"plain", r"is damaged"),
        ("bad.txt.gz", packed[:200] + b"\xff" * 20 + packed[220:], r"is damaged"),
        ("latin.txt", b"caf\xe9", r"is not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TextFileError, match=reason):
            find_leaks([tmp_path / name], [dev])
    with pytest.raises(TextFileError, match=r"cannot read .*gone\.txt: No such file"):
        find_leaks([tmp_path / "gone.txt"], [dev])
    with pytest.raises(ValueError, match="run_words is 0"):
        LeakRules(run_words=0)


def test_leaks_command(dev: Path, tmp_path: Path) -> None:
    train = manifest(tmp_path / "train.jsonl", spoken("hello there", "books/ben"), spoken("hi"))
    text = tmp_path / "lm.txt"
    text.write_text(f"{QUOTE}\n")
    arguments = ["leaks", str(train), str(text), "--against", str(dev)]
    result = CliRunner().invoke(data_app, arguments)
    assert result.exit_code == 1
    assert f"speaker 'books/ben' of {dev}:2 is in {train}:1" in result.output
    assert f"is in {text}:1" in result.output
    assert "1 utterance without a speaker" in result.output
    assert "3 lines of training data searched for 4 sentences" in result.output

    meant = ["--shared-speaker", "books/ben", "--shared-source", "books"]
    result = CliRunner().invoke(data_app, [*arguments, *meant])
    assert result.exit_code == 0
    assert "no leak; accepted: 1 speaker, 1 sentence" in result.output
    assert f"is in {text}:1" in result.output

    result = CliRunner().invoke(data_app, ["leaks", str(train), "-a", str(tmp_path / "no.jsonl")])
    assert result.exit_code == 1
    assert "cannot read" in result.output


def test_a_search_reports_progress(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ossicle.data.leaks.PROGRESS_LINES", 2)
    text = dev.with_name("text.txt")
    text.write_text("a\nb\nc\nd\ne\n")
    seen: list[int] = []
    find_leaks([text], [dev], progress=seen.append)
    assert seen == [2, 4]
