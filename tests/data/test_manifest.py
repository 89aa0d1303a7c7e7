from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest
import soundfile
from ossicle.data.manifest import (
    ManifestError,
    Utterance,
    batches,
    manifest_digest,
    read_manifest,
    write_manifest,
)
from ossicle.data.sample import sample_path, sample_text, sample_utterance
from ossicle.data.text import normalize


def test_written_manifest_reads_back(tmp_path: Path) -> None:
    inside = Utterance(
        tmp_path / "clips" / "a.flac", 1.25, "naïve ☃", "s/1", "made", ((0.1, 0.5), (0.5, 1.0))
    )
    outside = Utterance(tmp_path.parent / "b.wav", 2.0, "")
    write_manifest(tmp_path / "m.jsonl", [inside, outside])
    assert read_manifest(tmp_path / "m.jsonl") == [inside, outside]
    lines = (tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["audio_filepath"] == "clips/a.flac"
    assert json.loads(lines[1])["audio_filepath"] == (tmp_path.parent / "b.wav").as_posix()
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_batches_hold_recordings_of_like_length() -> None:
    seconds = [3.0, 1.0, 2.0, 5.0, 4.0]
    utterances = [Utterance(Path(f"{s}.wav"), s, "") for s in seconds]
    assert [[u.duration for u in batch] for batch in batches(utterances, 2)] == [
        [1, 2],
        [3, 4],
        [5],
    ]


def test_manifest_moves_with_its_folder(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_manifest(old / "m.jsonl", [Utterance(old / "a.wav", 1.0, "a")])
    old.rename(new)
    assert read_manifest(new / "m.jsonl")[0].audio_filepath == new / "a.wav"


def test_failed_write_keeps_the_old_manifest(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, [Utterance(tmp_path / "a.wav", 1.0, "a")])
    before = path.read_bytes()

    def broken():  # type: ignore[no-untyped-def]
        yield Utterance(tmp_path / "b.wav", 1.0, "b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not valid JSON"),
        ("[1]", "line 2: expected a JSON object, found list"),
        ('{"duration": 1, "text": "a"}', 'line 2: the key "audio_filepath" is missing'),
        ('{"audio_filepath": "", "duration": 1, "text": "a"}', "audio_filepath is empty"),
        ('{"audio_filepath": "a", "duration": "1", "text": "a"}', "duration is '1'"),
        ('{"audio_filepath": "a", "duration": 0, "text": "a"}', "duration is 0"),
        (f'{{"audio_filepath": "a", "duration": 1{"0" * 400}, "text": "a"}}', "duration is 1000"),
        ('{"audio_filepath": "a", "duration": NaN, "text": "a"}', "duration is nan"),
        ('{"audio_filepath": "a", "duration": true, "text": "a"}', "duration is True"),
        ('{"audio_filepath": "a", "duration": 1}', 'the key "text" is missing'),
        ('{"audio_filepath": "a", "duration": 1, "text": null}', 'the key "text" is null'),
        ('{"audio_filepath": "a", "duration": 1, "text": "a", "speaker": 7}', "speaker is 7"),
        *(
            (
                f'{{"audio_filepath": "a", "duration": 1, "text": "a", "word_times": {times}}}',
                message,
            )
            for times, message in (
                ("7", "word_times is 7; expected a list"),
                ("[[0.1]]", "word_times has [0.1]; expected [start, end] in seconds"),
                ('[[0.1, "b"]]', "expected [start, end] in seconds"),
                ("[[0.2, 0.1]]", "word_times has [0.2, 0.1]; words begin where"),
                ("[[0, 0.5], [0.4, 1]]", "word_times has [0.4, 1]; words begin where"),
                ("[[-1, 0.5]]", "word_times has [-1, 0.5]; words begin where"),
                ("[[0, NaN]]", "word_times has [0, nan]; words begin where"),
            )
        ),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio_filepath": "a", "duration": 1, "text": "a"}\n' + line + "\n")
    with pytest.raises(ManifestError, match=r"m\.jsonl, line 2") as caught:
        read_manifest(path)
    assert message in str(caught.value)


def test_a_link_leads_to_the_new_manifest(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.jsonl", tmp_path / "link.jsonl"
    real.write_text("old")
    link.symlink_to(real)
    write_manifest(link, [Utterance(tmp_path / "a.wav", 1.0, "a")])
    assert link.is_symlink()
    assert read_manifest(link)[0].audio_filepath == tmp_path / "a.wav"
    assert real.read_text() == link.read_text() != "old"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_manifest_goes_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    lines: list[str] = []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: lines.append(pipe.read_text()))
    reader.start()
    write_manifest(pipe, [Utterance(tmp_path / "a.wav", 1.0, "a")])
    reader.join(20)
    assert json.loads(lines[0])["text"] == "a"
    assert list(tmp_path.iterdir()) == [pipe]


def test_what_other_programs_leave_in_manifests(tmp_path: Path) -> None:
    """A byte order mark, empty lines, and null for what is not known."""
    line = '{"audio_filepath": "a", "duration": 1, "text": "a", "speaker": null, "source": null}'
    (tmp_path / "m.jsonl").write_text(f"\ufeff\n{line}\n\n", encoding="utf-8")
    (utterance,) = read_manifest(tmp_path / "m.jsonl")
    assert (utterance.speaker, utterance.source) == ("", "")


def test_what_means_nothing_here_stays_in_a_manifest(tmp_path: Path) -> None:
    line = {"audio_filepath": "a.wav", "duration": 1.0, "text": "a", "lang": "en", "tags": [1, 2]}
    (tmp_path / "m.jsonl").write_text(json.dumps(line))
    write_manifest(tmp_path / "n.jsonl", read_manifest(tmp_path / "m.jsonl"))
    assert line.items() <= json.loads((tmp_path / "n.jsonl").read_text()).items()


@pytest.mark.parametrize("name", ["m.jsonl.gz", "m.jsonl.xz"])
def test_a_manifest_is_packed_as_its_name_says(tmp_path: Path, name: str) -> None:
    written = [Utterance(tmp_path / "a.wav", 1.0, "naïve ☃")]
    write_manifest(tmp_path / name, written)
    assert read_manifest(tmp_path / name) == written
    assert b"duration" not in (tmp_path / name).read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"caf\xe9.wav")
    write_manifest(tmp_path / "m.jsonl", [Utterance(named, 1.0, "a")])
    assert read_manifest(tmp_path / "m.jsonl")[0].audio_filepath == named


def test_unreadable_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nowhere\.jsonl"):
        read_manifest(tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(ManifestError, match="holds no utterance"):
        read_manifest(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="not UTF-8"):
        read_manifest(tmp_path / "binary.jsonl")


def test_digest_follows_content_and_order(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    a.write_bytes(b"1")
    b.write_bytes(b"2")
    c.write_bytes(b"1")
    assert manifest_digest(a) == manifest_digest(c) != manifest_digest(b)
    assert manifest_digest(a, b) != manifest_digest(b, a)


def test_bundled_sample_is_as_its_manifest_says() -> None:
    info = soundfile.info(sample_path())
    assert (info.samplerate, info.channels) == (16_000, 1)
    assert info.duration == pytest.approx(sample_utterance().duration, abs=1e-3)
    assert sample_text() == normalize(sample_text())
    assert sum(f.stat().st_size for f in sample_path().parent.glob("*.*")) < 1_000_000
