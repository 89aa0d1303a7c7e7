"""Tracks over time, as pages and as images, and the command that draws a recording."""

from __future__ import annotations

import base64
import os
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from matplotlib.image import imread
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.model.decoding.hypothesis import TimedToken, Word
from ossicle.model.folder import LoadedModel
from ossicle.model.pictures.colours import RAMP, heat_image
from ossicle.model.pictures.figure import write_figure
from ossicle.model.pictures.inspection import Inspection, inspect_recording, inspection_page
from ossicle.model.pictures.timeline import timeline
from ossicle.model.pictures.tracks import Heat, Letters, Lines, Track, Wave, Words, scaled
from ossicle.model.runtime import find_model
from ossicle.service.cli import app
from typer.testing import CliRunner

TRACKS: list[Track] = [
    Wave("wave", np.array([0.0, 0.5, -0.5, 2.0], np.float32), 2),
    Heat("heat", np.array([[0.0, 1.0, 0.5]]), 0.5, {1: "row <one>"}),
    Lines("lines", {"up": np.array([0.0, 1.0]), "down": np.array([1.0, 0.0])}, 1.0),
    Letters("letters", [TimedToken("a", 1, 2, 0.9), TimedToken(" ", 3, 4, 0.9)], 0.5),
    Words("words", [Word("<a>", 0.5, 1.0, 0.25), Word("b", 1.0, 1.5, 1.0)]),
]


class Elements(HTMLParser):
    """The elements of a page by name, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def inspection(sample: np.ndarray) -> Inspection:
    loaded = LoadedModel.load(find_model())
    return inspect_recording("luigi.flac", sample, loaded, DecodingConfig())


def test_an_envelope_keeps_the_peaks_within_full_scale() -> None:
    wave = Wave("", np.array([0, 0.5, -0.5, 2.0, 0.1], np.float32), 5)
    np.testing.assert_allclose(wave.envelope(2), [[0, 0.5], [-0.5, 1.0]])
    assert wave.envelope(10).shape == (10, 2)


def test_colours_get_brighter() -> None:
    brightness = RAMP @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) >= 0).all()
    assert brightness[0] < 30
    assert brightness[-1] > 225


def test_an_image_has_a_pixel_for_each_value_and_its_first_row_lowest() -> None:
    data = heat_image(np.array([[0.0, 1.0], [np.nan, 0.5], [-1.0, 9.0]]))
    png = base64.b64decode(data.removeprefix("data:image/png;base64,"))
    (frame,) = av.open(BytesIO(png)).decode(video=0)
    pixels = frame.to_ndarray(format="rgb24")
    expected = RAMP[[[255, 128, 255], [0, 0, 0]]]
    np.testing.assert_array_equal(pixels, expected)


def test_scaled_values_leave_the_extremes_out() -> None:
    values = scaled(np.arange(1001.0))
    assert values[50] == pytest.approx(0.0)
    assert values[998] == pytest.approx(1.0)


def test_tracks_share_an_axis() -> None:
    picture = Elements(timeline(TRACKS, 2.0))
    names, drawn = picture.found["svg"]
    assert names["height"] == drawn["height"]
    pixels = float(drawn["data-pixels"] or 0)
    assert float(drawn["width"] or 0) == 2 * pixels
    (image,) = picture.found["image"]
    assert float(image["width"] or 0) == 0.5 * pixels
    bars = [float(rect["x"] or 0) for rect in picture.found["rect"]]
    assert bars == [0.5 * pixels, pixels]
    for text in ("row <one>", "<a>: 0.50 to 1.00 s, confidence 0.25", "␣", "0 s", "2 s"):
        assert text in picture.text


def test_an_unknown_track_is_refused() -> None:
    with pytest.raises(TypeError, match="a track is str"):
        timeline(["wave"], 1.0)  # type: ignore[list-item]


def test_the_same_tracks_are_drawn_as_an_image(tmp_path: Path) -> None:
    short, long = tmp_path / "short.png", tmp_path / "long.png"
    write_figure(TRACKS, 2.0, "a title", short)
    write_figure(TRACKS, 12.0, "a title", long)
    small, large = imread(short), imread(long)
    assert large.shape[1] > 1.5 * small.shape[1]
    assert small[..., :3].std() > 0.05
    with pytest.raises(ValueError, match="not supported"):
        write_figure(TRACKS, 2.0, "a title", tmp_path / "a.xyz")


def test_an_inspection_holds_every_step_from_sound_to_words(
    inspection: Inspection, sample: np.ndarray
) -> None:
    seconds = len(sample) / 16_000
    assert inspection.seconds == pytest.approx(seconds)
    assert inspection.mel.shape == (round(seconds * 100), 80)
    assert inspection.log_probs.shape == (round(seconds * 25), len(inspection.tokens))
    assert " ".join(word.text for word in inspection.heard.words) == inspection.heard.text
    waveform, mel, tokens, letters, words = inspection.tracks()
    assert isinstance(mel, Heat)
    assert isinstance(tokens, Heat)
    assert set(mel.labels.values()) == {"0.5 kHz", "1 kHz", "2 kHz", "4 kHz"}
    assert list(tokens.labels) == list(range(len(inspection.tokens)))
    # Where a letter is said to be, the network finds it likely.
    assert isinstance(letters, Letters)
    numbers = [inspection.tokens.index(token.text) for token in letters.tokens]
    frames = [token.frame for token in letters.tokens]
    assert np.median(tokens.values[frames, numbers] ** 2) > 0.5
    assert (waveform.title, words.title) == ("waveform", "words")


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_recording_whose_name_is_no_text_is_drawn(
    tmp_path: Path, sample: np.ndarray, suffix: str
) -> None:
    recording = tmp_path / os.fsdecode(b"not\xffutf8.flac")
    soundfile.write(os.fsencode(recording), sample[:16_000], 16_000)
    target = tmp_path / f"drawn{suffix}"
    result = CliRunner().invoke(app, ["inspect", str(recording), "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert target.stat().st_size > 1000
    if suffix == ".html":
        assert "not�utf8.flac" in target.read_text(encoding="utf-8")


def test_the_page_asks_nothing_of_the_network(inspection: Inspection) -> None:
    page = inspection_page(inspection)
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "@import" not in page
    assert "url(" not in page
    elements = Elements(page)
    assert len(elements.found["image"]) == 2
    (sound,) = elements.found["audio"]
    wav = base64.b64decode((sound["src"] or "").removeprefix("data:audio/wav;base64,"))
    assert len(wav) == 44 + 2 * len(inspection.samples)
    for word in inspection.heard.words:
        assert f"{word.text}: {word.start:.2f} to" in elements.text


class TestCommand:
    def test_a_page_of_a_part(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "page.html"
        arguments = ["--start", "5", "--seconds", "2", "--decoder", "greedy", "-o", str(target)]
        done = CliRunner().invoke(app, ["inspect", str(sample_path()), *arguments])
        assert done.exit_code == 0, done.output
        assert "written" in done.output
        assert "2.00 s" in Elements(target.read_text(encoding="utf-8")).text

    def test_an_image(self, tmp_path: Path) -> None:
        target = tmp_path / "a.png"
        done = CliRunner().invoke(
            app, ["inspect", str(sample_path()), "--seconds", "1", "-o", str(target)]
        )
        assert done.exit_code == 0, done.output
        assert imread(target).shape[1] > 600

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["-o", "a.gif"], 2, "ends in .html or .png"),
            (["--start", "11"], 2, "ends before 11 s"),
            (["--model", "none"], 1, "there is no model 'none'"),
            (["--decoder", "greedy", "--phrase", "a"], 2, "phrases need a beam search"),
        ],
    )
    def test_what_cannot_be_drawn_is_said_in_a_line(
        self, arguments: list[str], code: int, message: str
    ) -> None:
        done = CliRunner().invoke(app, ["inspect", str(sample_path()), *arguments])
        assert done.exit_code == code
        assert message in " ".join(done.output.split())

    def test_what_is_no_recording(self, tmp_path: Path) -> None:
        text = tmp_path / "a.txt"
        text.write_text("nothing to be heard")
        for file, message in ((text, "no audio we know"), (tmp_path / "b.wav", "No such file")):
            done = CliRunner().invoke(app, ["inspect", str(file)])
            assert done.exit_code == 1
            assert message in " ".join(done.output.split())
