"""A disk without room: told in one line, and nothing that was there before is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from calls import free_port, until
from ossicle.data.sample import sample_path
from ossicle.service.client import OssicleError, SpeechClient
from processes import COMMAND

FULL = Path("/dev/full")
SAMPLE = str(sample_path())
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


@pytest.fixture(autouse=True)
def _buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed waits in a buffer, as it does for most."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(disk: Path) -> None:
    with (disk / "rest").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize(
    "arguments", [["--version"], ["transcribe", SAMPLE, "--decoder", "greedy"], ["token", "--help"]]
)
def test_output_that_cannot_be_written_is_an_error_of_one_line(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        run = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=100
        )
    assert (run.returncode, run.stderr) == (1, "error: No space left on device\n")


def test_tokens_stay_as_they_are(disk: Path) -> None:
    tokens = disk / "tokens.json"
    add = [*COMMAND, "token", "add", "--tokens", str(tokens)]
    subprocess.run([*add, "first"], check=True, capture_output=True)
    before = tokens.read_text(encoding="utf-8")
    fill(disk)
    run = subprocess.run([*add, "second"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: ")
    assert "No space left on device" in run.stderr
    assert "Traceback" not in run.stderr
    assert tokens.read_text(encoding="utf-8") == before
    assert json.loads(before)["tokens"]


def test_a_transcript_that_has_no_room_fails_and_says_so(disk: Path) -> None:
    fill(disk)
    folder = disk / "transcripts"
    run = subprocess.run(
        [*COMMAND, "transcribe", SAMPLE, "--decoder", "greedy", "-o", str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 1
    assert "No space left on device" in run.stderr
    assert not list(folder.glob("*.txt"))


def test_a_server_whose_log_has_no_room_goes_on() -> None:
    port = free_port()
    options = ["--port", str(port), "--decoder", "greedy"]
    with FULL.open("w") as full:
        server = subprocess.Popen(
            [*COMMAND, "serve", *options], stdout=subprocess.DEVNULL, stderr=full
        )
    try:
        with SpeechClient(f"127.0.0.1:{port}") as client:
            assert until(lambda: serves(client), 60)
            for _ in range(3):
                assert client.recognize(sample_path()).text
    finally:
        server.terminate()
    assert server.wait(30) == 0


def serves(client: SpeechClient) -> bool:
    try:
        return client.health()
    except OssicleError:
        return False
