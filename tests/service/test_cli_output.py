"""Live text on a terminal and elsewhere, samples at the pace of speech, errors in one line."""

from __future__ import annotations

import errno
import io
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from ossicle.data.pcm import to_linear16
from ossicle.service.commands.output import LiveText, errors_in_one_line
from ossicle.service.commands.stream import from_linear16, spoken_now


class Terminal(io.StringIO):
    """Keeps what a user would see on a terminal: its lines, the last one perhaps unfinished."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        plain = self.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "")
        return [line.split("\r\x1b[2K")[-1] for line in plain.split("\n")]


def test_partials_rewrite_one_line_until_the_final_replaces_them() -> None:
    terminal = Terminal()
    text = LiveText(terminal)
    text.partial("every")
    text.partial("every day")
    assert terminal.screen() == ["  … every day"]
    text.final("every day luigi")
    assert terminal.screen() == ["every day luigi", ""]
    text.partial("led")
    text.end()
    assert terminal.screen() == ["every day luigi", ""]


def test_a_partial_longer_than_the_terminal_shows_its_newest_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    LiveText(terminal).partial("one two three four five six seven")
    (line,) = terminal.screen()
    assert len(line) < 20
    assert line.endswith("six seven")


def test_a_repeated_partial_is_not_written_again() -> None:
    terminal = Terminal()
    text = LiveText(terminal)
    text.partial("every day")
    before = terminal.getvalue()
    text.partial("every day")
    assert terminal.getvalue() == before


def test_a_file_gets_finals_only_unless_partials_are_asked_for() -> None:
    quiet, full = io.StringIO(), io.StringIO()
    for text in (LiveText(quiet), LiveText(full, partial_lines=True)):
        text.partial("every")
        text.final("every day")
        text.final("")
    assert quiet.getvalue() == "every day\n"
    assert full.getvalue() == "  … every\nevery day\n"


def test_an_os_error_names_the_file_and_not_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, errors_in_one_line(OSError):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "talk.wav")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "error: talk.wav: No such file or directory\n"


def test_a_reader_that_has_seen_enough_is_no_error_of_ours() -> None:
    with pytest.raises(BrokenPipeError), errors_in_one_line(OSError):
        raise BrokenPipeError


@given(numpy_strategies.arrays(np.float32, 50, elements=st.floats(-2, 2, width=32)))
def test_samples_survive_16_bits_within_half_a_step_and_are_clipped(samples: np.ndarray) -> None:
    back = from_linear16(to_linear16(samples))
    assert back.dtype == np.float32
    clipped = np.clip(samples, -1, 32767 / 32768)
    assert np.abs(back - clipped).max() <= 0.5 / 32768 + 1e-7


def test_blocks_come_when_a_microphone_would_have_recorded_them(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(6400, np.float32), 16_000)
    began = time.monotonic()
    with spoken_now(tmp_path / "a.wav") as chunks:
        times = [time.monotonic() - began for _ in chunks]
    assert len(times) == 4
    assert all(at >= 0.1 * (i + 1) - 0.005 for i, at in enumerate(times))
    assert times[-1] < 1.5
