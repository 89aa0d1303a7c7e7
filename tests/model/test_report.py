from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.model.decoding.hypothesis import Word
from ossicle.model.evaluation.breakdown import Breakdown
from ossicle.model.evaluation.charts import interval_plot, noise_plot, ticks
from ossicle.model.evaluation.record import Cost, Record, Settings
from ossicle.model.evaluation.report import ReportError, check_folder, write_report
from ossicle.model.evaluation.report_page import render
from ossicle.model.evaluation.scoring import Recognized, score
from ossicle.model.pictures.markup import Markup, tag
from ossicle.service.cli import app
from typer.testing import CliRunner

HOSTILE = "<script>alert('&\"')</script>"


class Page(HTMLParser):
    """Elements and text of a page; fails where end tags do not match."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def settings(**changes: str) -> Settings:
    values = {"model": "m", "model_digest": "d" * 64, "precision": "int8", "search": "beam"}
    return Settings(
        **{**values, **changes},
        beam_width=16,
        language_model=True,
        rescoring=False,
        chunk_ms=160,
        batch=8,
        threads=1,
        date="2026-01-02T03:04:05+00:00",
        version="1.0",
    )


def record(folder: Path, name: str = "set", speaker: str = "s", model: str = "m") -> Record:
    """Two recordings of two speakers, one of them with errors, also in noise."""
    items = []
    for i, (said, heard) in enumerate([("a b c", "a x c d"), ("all right", "all right")]):
        path = folder / f"{i}.flac"
        soundfile.write(path, np.zeros(160, dtype=np.float32), 16_000)
        words = tuple(Word(text, 0.0, 0.1, 0.7) for text in heard.split())
        utterance = Utterance(path, 1.0 + 4 * i, said, speaker=f"{speaker}{i}", source=speaker)
        items.append(Recognized(utterance, said, heard, words))
    noisy = {snr: score(items) for snr in (20, 0)}
    cost = Cost(10.0, 0.5, 0.25, 0.2, 0.1)
    return Record(settings(model=model), cost, [Breakdown(name, "e" * 64, items, noisy)])


class TestFolder:
    def test_holds_page_record_and_the_sound_of_the_worst(self, tmp_path: Path) -> None:
        made = record(tmp_path)
        write_report(made, tmp_path / "report")
        page = Page((tmp_path / "report" / "index.html").read_text())
        (player,) = page.named("audio")
        assert player["src"] == "audio/001.flac"
        assert (tmp_path / "report/audio/001.flac").read_bytes() == (
            tmp_path / "0.flac"
        ).read_bytes()
        assert json.loads((tmp_path / "report" / "report.json").read_text()) == made.to_dict()

    def test_replaces_an_earlier_report_and_nothing_else(self, tmp_path: Path) -> None:
        folder = tmp_path / "report"
        write_report(record(tmp_path), folder)
        (folder / "audio" / "099.flac").write_bytes(b"of an earlier one")
        write_report(record(tmp_path), folder)
        assert [path.name for path in (folder / "audio").iterdir()] == ["001.flac"]
        with pytest.raises(ReportError, match=r"holds 0\.flac, which is of no report"):
            check_folder(tmp_path)
        with pytest.raises(ReportError, match="is a file"):
            check_folder(tmp_path / "0.flac")

    @pytest.mark.parametrize("name", ["audio/mine.flac", "audio/001.txt", "notes.md", "audio"])
    def test_a_folder_with_anything_else_is_left_alone(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "audio").mkdir(exist_ok=name != "audio")
        if name == "audio":
            (tmp_path / "audio").rmdir()
        (tmp_path / name).write_bytes(b"mine")
        (tmp_path / "report.json").write_text("{}")
        made = record(Path(tempfile.mkdtemp(dir=tmp_path.parent)))
        with pytest.raises(ReportError):
            write_report(made, tmp_path)
        assert (tmp_path / name).read_bytes() == b"mine"
        assert (tmp_path / "report.json").read_text() == "{}"

    def test_a_name_that_is_no_text_is_told_and_read_back(self, tmp_path: Path) -> None:
        made = record(tmp_path, speaker="\udcff")
        write_report(made, tmp_path / "report")
        assert "\\udcff" in (tmp_path / "report/index.html").read_text(encoding="utf-8")
        record_file = tmp_path / "report/report.json"
        assert json.loads(record_file.read_text(encoding="utf-8")) == made.to_dict()

    def test_can_be_moved_and_asks_nothing_of_the_network(self, tmp_path: Path) -> None:
        write_report(record(tmp_path), tmp_path / "report")
        moved = tmp_path / "elsewhere"
        (tmp_path / "report").rename(moved)
        text = (moved / "index.html").read_text()
        assert "@import" not in text
        assert "url(" not in text
        page = Page(text)
        assert not page.named("script", "link", "img", "iframe")
        links = [a.get("src") or a.get("href") for a in page.named("a", "audio")]
        ids = {attributes.get("id") for _, attributes in page.elements}
        for link in links:
            assert link is not None
            if link.startswith("#"):
                assert link[1:] in ids
            else:
                assert (moved / unquote(link)).is_file()


class TestPage:
    def test_one_recording_heard_right_has_no_interval_and_no_nan(self, tmp_path: Path) -> None:
        made = record(tmp_path)
        (part,) = made.sets
        one = replace(made, sets=[Breakdown("one", "e" * 64, part.recognized[1:], {})])
        html = render(one, {})
        assert "<small>(" not in html
        text = Page(html).text
        assert "nan" not in text
        assert "normalised cross entropy" not in text
        assert "2 words, 100.0% right" in text

    def test_hostile_names_stay_text(self, tmp_path: Path) -> None:
        made = record(tmp_path, name=HOSTILE, speaker=HOSTILE, model=HOSTILE)
        text = render(made, {r.utterance.audio_filepath: HOSTILE for r in made.sets[0].recognized})
        page = Page(text)
        assert page.named("script") == []
        assert "<script" not in text
        assert page.text.count(HOSTILE) >= 5
        assert page.named("audio")[0]["src"] == HOSTILE

    def test_says_what_was_measured_with_what(self, tmp_path: Path) -> None:
        page = Page(render(record(tmp_path), {tmp_path / "0.flac": "audio/1.flac"}))
        for words in (
            "beam search of width 16 with a language model",
            "2026-01-02T03:04:05+00:00 by Ossicle 1.0",
            "d" * 64,
            "e" * 64,
            "0.0200 s of one core",
            "13 times real time",
        ):
            assert words in page.text

    def test_alignments_tell_errors_by_words_too(self, tmp_path: Path) -> None:
        text = render(record(tmp_path), {tmp_path / "0.flac": "audio/1.flac"})
        assert '<li class="substitute"><span>b</span><span class="heard">x</span></li>' in text
        assert '<ins class="heard">d</ins>' in text
        assert "2 errors in 3 words" in text

    def test_every_plot_has_a_title(self, tmp_path: Path) -> None:
        text = render(record(tmp_path), {tmp_path / "0.flac": "audio/1.flac"})
        drawings = re.findall(r"<svg[^>]*>\s*(<title>[^<]+</title>)?", text)
        assert len(drawings) >= 6
        assert all(drawings)

    def test_without_an_error_there_is_nothing_to_show(self, tmp_path: Path) -> None:
        full = record(tmp_path)
        perfect = Breakdown("set", "", full.sets[0].recognized[1:])
        text = render(Record(full.settings, full.cost, [perfect]), {})
        assert "without an error" in text
        assert "In noise" not in text


class TestCharts:
    def rows(self):
        said = Utterance(Path("x"), 1.0, "a b")
        good, bad = Recognized(said, "a b", "a b"), Recognized(said, "a b", "a c")
        return {"good": score([good, good]), "bad": score([good, bad]), "one": score([bad])}

    def test_dots_lie_where_the_axis_says(self) -> None:
        drawing = interval_plot("t", self.rows())
        places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawing)]
        labels = dict(re.findall(r'<text x="([\d.]+)" y="94"[^>]*>([\d.]+%)</text>', drawing))
        scale = {label: float(x) for x, label in labels.items()}
        zero, unit = scale["0%"], (scale["20%"] - scale["0%"]) / 20
        assert places == pytest.approx([zero, zero + 25 * unit, zero + 50 * unit], abs=0.1)

    def test_one_recording_has_no_interval(self) -> None:
        drawing = interval_plot("t", self.rows())
        assert drawing.count('class="interval"') == 2
        assert "50.0%, 1 recording" in drawing

    def test_noise_rises_from_clean(self) -> None:
        rows = self.rows()
        drawing = noise_plot("t", rows["good"], {20: rows["bad"]}, 1.0)
        (clean, noisy) = (
            float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawing)
        )
        assert noisy < clean  # upwards
        assert "20 dB" in drawing

    @pytest.mark.parametrize(
        ("top", "expected"), [(1.0, [0, 20, 40, 60, 80, 100]), (0.05, [0, 1, 2, 3, 4, 5])]
    )
    def test_ticks_are_round(self, top: float, expected: list[int]) -> None:
        assert [100 * tick for tick in ticks(top)] == pytest.approx(expected)


def test_markup_escapes_text_once() -> None:
    inner = tag("b", "1 < 2", title='"')
    assert inner == '<b title="&quot;">1 &lt; 2</b>'
    assert tag("p", inner, " & ", class_="x", hidden=None) == f'<p class="x">{inner} &amp; </p>'
    assert tag("audio", controls=True, muted=False) == "<audio controls></audio>"
    assert tag("rect", tag("title", "t"), x=1.0) == '<rect x="1"><title>t</title></rect>'
    assert isinstance(inner, Markup)


@pytest.mark.parametrize("kind", ["flac", "aiff"])
def test_the_command_writes_a_report(tmp_path: Path, sample: np.ndarray, kind: str) -> None:
    recording = tmp_path / f"a.{kind}"
    soundfile.write(recording, sample[:16_000], 16_000)
    write_manifest(tmp_path / "m.jsonl", [Utterance(recording, 1.0, "not these words")])
    arguments = ["evaluate", str(tmp_path / "m.jsonl"), "--decoder", "greedy", "--report"]
    refused = CliRunner().invoke(app, [*arguments, str(tmp_path)])
    assert refused.exit_code == 1
    assert "which is of no report" in " ".join(refused.output.split())
    made = CliRunner().invoke(app, [*arguments, str(tmp_path / "report")])
    assert made.exit_code == 0, made.output
    assert "index.html" in made.output
    page = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert "3 words" in page.text
    result = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert result["scores"]["m"]["words"] == 3
    # No browser but one plays AIFF.
    (sound,) = (tmp_path / "report" / "audio").iterdir()
    assert sound.suffix == (".flac" if kind == "flac" else ".wav")
    np.testing.assert_allclose(soundfile.read(sound)[0], sample[:16_000], atol=1e-4)


def test_a_report_that_cannot_be_written_costs_no_scores(
    tmp_path: Path, sample: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.flac", sample[:16_000], 16_000)
    write_manifest(tmp_path / "m.jsonl", [Utterance(tmp_path / "a.flac", 1.0, "not these words")])
    arguments = ["evaluate", str(tmp_path / "m.jsonl"), "--decoder", "greedy", "--report"]
    report = tmp_path / "report"
    assert CliRunner().invoke(app, [*arguments, str(report)]).exit_code == 0

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    failed = CliRunner().invoke(app, [*arguments, str(report)])
    assert failed.exit_code == 1
    assert "utterances" in failed.stdout
    assert "No space left on device" in failed.stderr
    names = sorted(path.relative_to(report).as_posix() for path in report.rglob("*"))
    assert names == ["audio", "audio/001.flac", "index.html", "report.json"]
