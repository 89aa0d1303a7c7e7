"""The demonstration, and how it fails."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ossicle.data.sample import sample_text
from ossicle.model.runtime import find_model
from ossicle.service.cli import app
from ossicle.service.commands import demo
from typer.testing import CliRunner

runner = CliRunner()


def test_the_demonstration_shows_partials_finals_and_error_rates() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ossicle.service.cli", "demo"], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert sum(line.startswith("  … ") for line in lines) >= 3
    assert f"      said  {sample_text()}" in lines
    for name in ("  streamed  ", "in process  "):
        (position,) = [i for i, line in enumerate(lines) if line.startswith(name)]
        assert lines[position].removeprefix(name).strip()
        assert re.fullmatch(
            r" +word error rate [\d.]+%, character error rate [\d.]+%", lines[position + 1]
        )
    # The server has gone: nothing listens at its address any more.
    address = re.match(r"server at 127\.0\.0\.1:(\d+)", lines[0])
    assert address is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address[1]))) != 0


def test_a_server_that_does_not_start_fails_the_demonstration_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(demo, "_free_port", lambda: taken.getsockname()[1])
        result = runner.invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "the server did not start" in result.stderr
    assert "cannot listen on 127.0.0.1" in result.stderr


def test_what_is_set_for_other_servers_is_not_for_that_of_the_demonstration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OSSICLE_HOST", "0.0.0.0")
    monkeypatch.setenv("OSSICLE_TOKENS", "missing.json")
    with demo._server(str(find_model())) as address:
        assert address.startswith("127.0.0.1:")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_the_server_goes_when_the_demonstration_is_told_to() -> None:
    command = [sys.executable, "-u", "-m", "ossicle.service.cli", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        address = re.match(r"server at 127\.0\.0\.1:(\d+)", run.stdout.readline())
        run.terminate()
        assert run.wait(30) == 143
    assert address is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address[1]))) != 0


def test_an_unknown_model_fails_the_demonstration() -> None:
    result = runner.invoke(app, ["demo", "--model", "whispering"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "'whispering'" in result.stderr
