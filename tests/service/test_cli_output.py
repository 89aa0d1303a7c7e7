"""Samples at the pace of speech, errors in one line."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from ossicle.model.commands.tables import print_table
from ossicle.service.commands.output import errors_in_one_line
from ossicle.service.commands.stream import spoken_now
from rich.table import Table


def test_an_os_error_names_the_file_and_not_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, errors_in_one_line(OSError):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "talk.wav")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "error: talk.wav: No such file or directory\n"


def test_a_reader_that_has_seen_enough_is_no_error_of_ours() -> None:
    with pytest.raises(BrokenPipeError), errors_in_one_line(OSError):
        raise BrokenPipeError


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes descriptors")
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("--version >&-", 0, ""),
        ("--version 2>&-", 0, ""),
        ("transcribe - <&-", 2, "error: standard input is closed: name a file, or give it"),
        ("transcribe missing.wav <&-", 1, "missing.wav: No such file"),
    ],
)
def test_closed_descriptors_are_no_traceback(command: str, code: int, told: str) -> None:
    line = f"'{sys.executable}' -m ossicle.service.cli {command}"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    assert told in run.stderr
    assert "Traceback" not in run.stderr


def test_names_are_whole_in_a_pipe_and_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "customer-with-a-long-name-mobile-app-production-eu-west-1-blue"
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("name", "streams")
    table.add_row(name, "any")
    print_table(table)
    assert f" {name} " in capsys.readouterr().out
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    print_table(table)
    rows = [
        line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line
    ]
    assert "".join(rows) == name


def test_blocks_come_when_a_microphone_would_have_recorded_them(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(6400, np.float32), 16_000)
    began = time.monotonic()
    with spoken_now(tmp_path / "a.wav") as chunks:
        times = [time.monotonic() - began for _ in chunks]
    assert len(times) == 4
    assert all(at >= 0.1 * (i + 1) - 0.005 for i, at in enumerate(times))
    assert times[-1] < 1.5
