"""`ossicle align`: when each word of a known text was said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ossicle.data.audio import read_audio
from ossicle.data.manifest import Utterance, read_manifest, write_manifest
from ossicle.data.sample import sample_path, sample_text, sample_utterance
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.decoding.known_text import Aligner
from ossicle.model.runtime import AcousticModel, find_model, transcribe_whole
from ossicle.service.cli import app
from typer.testing import CliRunner


def ossicle(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["align", *(str(argument) for argument in arguments)])


def test_words_are_found(tmp_path: Path) -> None:
    """Said and heard alike, the times are those of the recogniser's own alignment."""
    sample = sample_utterance()
    other = Utterance(sample.audio_filepath, sample.duration, "nobody says any of this in it")
    silent = Utterance(sample.audio_filepath, sample.duration, "")
    fast = Utterance(sample.audio_filepath, sample.duration, sample.text + " so fast" * 200)
    write_manifest(tmp_path / "in.jsonl", [other, sample, silent, fast])
    result = ossicle(tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    assert "the words of 1 of 4 recordings have times" in " ".join(result.output.split())
    without = [(u.audio_filepath, u.text, u.word_times) for u in (other, silent, fast)]
    found = read_manifest(tmp_path / "out.jsonl")
    assert [(u.audio_filepath, u.text, u.word_times) for u in found if not u.word_times] == without
    assert found[1].text == sample.text
    times = found[1].word_times
    assert len(times) == len(normalize(sample.text).split())
    folder = find_model()
    model = AcousticModel.load(folder, threads=1)
    decoder = Decoding.load(folder, model.info).decoder()
    samples = read_audio(sample_path())
    state = model.settled_state(1)
    decoder.advance(
        transcribe_whole(model.step, state, samples[None], model.info.lookahead_frames)[0]
    )
    heard = decoder.finish(1)[0].words
    reference = normalize(sample_text()).split()
    same = [
        (word, times[reference.index(word.text)])
        for word in heard
        if reference.count(word.text) == 1 and [w.text for w in heard].count(word.text) == 1
    ]
    assert len(same) >= 10
    near = [
        abs(word.start - start) <= 0.1 and abs(word.end - end) <= 0.1 for word, (start, end) in same
    ]
    assert sum(near) >= 0.9 * len(near)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jsonl", "-o", "out.jsonl"], "cannot read absent.jsonl"),
        (["IN", "-o", "absent/out.jsonl"], "--output absent/out.jsonl: there is no folder absent"),
        (["IN", "-o", "out.jsonl", "--model", "nope"], "no model 'nope'"),
        (["LOST", "-o", "out.jsonl"], "lost.wav: No such file"),
        (["IN", "-o", "."], "--output . is a folder"),
    ],
)
def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest("in.jsonl", [sample_utterance()])
    line = {"audio_filepath": "lost.wav", "duration": 1.0, "text": "lost"}
    Path("lost.jsonl").write_text(json.dumps(line))
    names = {"IN": "in.jsonl", "LOST": "lost.jsonl"}
    result = ossicle(*(names.get(argument, argument) for argument in arguments))
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
    assert not Path("out.jsonl").exists()


def test_recordings_that_cannot_be_decoded_do_not_stop_the_others(tmp_path: Path) -> None:
    sample = sample_utterance()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(sample.audio_filepath.read_bytes()[:9000])
    lost = tmp_path / "lost.wav"
    bad = [Utterance(path, 60.0, "too long", word_times=((0.1, 0.2),)) for path in (cut, lost)]
    write_manifest(tmp_path / "in.jsonl", [bad[0], sample, bad[1]])
    result = ossicle(tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 1
    printed = " ".join(result.output.split())
    assert "2 of 3 recordings cannot be decoded" in printed
    assert str(cut) in printed
    assert str(lost) in printed
    found = read_manifest(tmp_path / "out.jsonl")
    assert [bool(utterance.word_times) for utterance in found] == [False, True, False]


def test_alignment_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_utterance()
    lines = [replace(sample, speaker=f"{number}") for number in range(3)]
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_manifest(source, lines)
    whole, heard = Aligner.__call__, []

    def interrupted(self: Aligner, utterances: Sequence[Utterance]) -> Iterator[Any]:
        for found in whole(self, utterances[:1]):
            heard.append(len(utterances))
            yield found
        if len(utterances) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Aligner, "__call__", interrupted)
    result = ossicle(source, "-o", output)
    assert result.exit_code == 130
    assert f"ossicle align {output} -o {output} --missing" in " ".join(result.output.split())
    found = read_manifest(output)
    assert [bool(each.word_times) for each in found] == [True, False, False]

    result = ossicle(source, "-o", output)  # from the beginning, over what is there
    assert "nothing was written" in result.output
    assert read_manifest(output) == found

    assert ossicle(output, "-o", output, "--missing").exit_code == 130
    result = ossicle(output, "-o", output, "--missing")
    assert result.exit_code == 0, result.output
    assert heard == [3, 3, 2, 1]
    times = [each.word_times for each in read_manifest(output)]
    assert times[0]
    assert times == times[:1] * 3
