"""Samples at the pace of speech, errors in one line."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from ossicle.service.commands.output import errors_in_one_line
from ossicle.service.commands.stream import spoken_now


def test_an_os_error_names_the_file_and_not_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, errors_in_one_line(OSError):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "talk.wav")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "error: talk.wav: No such file or directory\n"


def test_a_reader_that_has_seen_enough_is_no_error_of_ours() -> None:
    with pytest.raises(BrokenPipeError), errors_in_one_line(OSError):
        raise BrokenPipeError


def test_blocks_come_when_a_microphone_would_have_recorded_them(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(6400, np.float32), 16_000)
    began = time.monotonic()
    with spoken_now(tmp_path / "a.wav") as chunks:
        times = [time.monotonic() - began for _ in chunks]
    assert len(times) == 4
    assert all(at >= 0.1 * (i + 1) - 0.005 for i, at in enumerate(times))
    assert times[-1] < 1.5
