"""Workers that do not start, break, stay or end again and again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")
PROGRAM = Path(__file__).with_name("odd_workers.py")


class Run:
    """A supervisor of odd workers as a process of its own."""

    def __init__(self, behaviour: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), behaviour, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, words: str) -> None:
        """Read the log until a line has these words."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip())
            if words in line:
                return
        raise AssertionError(self.lines)

    def until_greeting(self) -> None:
        """Wait until all workers have served."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "greeting\n"

    def ended(self, *, terminate: bool = True) -> int:
        if terminate:
            self._process.terminate()
        _, rest = self._process.communicate(timeout=60)
        self.lines += rest.splitlines()
        assert "Traceback" not in " ".join(self.lines)
        return self._process.returncode


def test_the_exit_code_of_a_worker_that_does_not_start_is_the_servers(tmp_path: Path) -> None:
    run = Run("does_not_start", tmp_path)
    assert run.ended(terminate=False) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-0"]  # and no other was tried


def test_a_worker_that_is_killed_before_it_serves_is_told(tmp_path: Path) -> None:
    run = Run("is_killed", tmp_path)
    assert run.ended(terminate=False) == 1
    assert "worker 0 has ended by signal 9 before all were serving" in run.lines


def test_a_worker_whose_recogniser_has_failed_is_replaced(tmp_path: Path) -> None:
    run = Run("breaks_once", tmp_path)
    run.until("the recogniser of worker 1 has failed")
    run.until("worker 1 has ended by exit code 0; another is started in 0.5 s")
    run.until("worker 1 serves again")
    assert run.ended() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-0", "1-0", "1-1"]


def test_a_worker_that_does_not_end_is_killed_and_that_is_a_failure(tmp_path: Path) -> None:
    run = Run("stays", tmp_path)
    run.until_greeting()
    assert run.ended() == 1
    assert "worker 0 has not ended within 1 s and is killed" in run.lines


def test_a_worker_that_stands_still_is_killed_and_replaced(tmp_path: Path) -> None:
    run = Run("stands_still", tmp_path)
    run.until("worker 1 has not answered for 1.5 s and is killed")
    run.until("worker 1 has ended by signal 9; another is started in 0.5 s")
    run.until("worker 1 serves again")
    time.sleep(2.5)  # longer than one that does not answer is let live
    assert run.ended() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-0", "1-0", "1-1"]


def test_a_worker_that_hangs_while_it_replaces_another_is_killed_and_replaced(
    tmp_path: Path,
) -> None:
    run = Run("hangs_while_it_starts", tmp_path)
    run.until("worker 1 has ended by exit code 7; another is started in 0.5 s")
    run.until("worker 1 does not serve after")
    run.until("worker 1 has ended by signal 9; another is started in 1 s")
    run.until("worker 1 serves again")
    assert run.ended() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-0", "1-0", "1-1", "1-2"]


def test_a_worker_that_ends_again_and_again_is_started_ever_later(tmp_path: Path) -> None:
    run = Run("ends_again_and_again", tmp_path)
    for wait in ("0.5", "1", "2"):
        run.until(f"worker 1 has ended by exit code 7; another is started in {wait} s")
        run.until("worker 1 serves again")
    assert run.ended() == 0
    assert len(list(tmp_path.glob("0-*"))) == 1
