"""Folders that have one writer at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ossicle.data.folder_lock import FolderInUseError, only_writer

WRITER = """
import sys
from pathlib import Path
from ossicle.data.folder_lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["kill", "leave"])
def test_a_folder_has_one_writer_until_its_process_ends(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "new" / "run"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        with (
            pytest.raises(FolderInUseError, match=r"another process writes to .*run: wait"),
            only_writer(folder),
        ):
            pytest.fail("two writers")
        writer.kill() if end == "kill" else writer.stdin.close()
        writer.wait()
        with only_writer(folder):
            (folder / "file").touch()


def test_a_writer_that_fails_leaves_the_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), only_writer(tmp_path):
            raise ValueError("broken")
