"""A value that follows its files, however they are replaced."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from calls import own_messages
from ossicle.service.security.watched import Watched


def number(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())


def write_over(path: Path, text: str) -> None:
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.replace(path)


def point_elsewhere(path: Path, text: str) -> None:
    """As Kubernetes does: a link to a folder is replaced by a link to another."""
    folder = path.parent / f"version-{text}"
    folder.mkdir()
    (folder / "value").write_text(text)
    link = path.parent / "link.new"
    link.symlink_to(folder / "value")
    os.replace(link, path)


@pytest.mark.parametrize("change", [write_over, replace, point_elsewhere])
def test_changes_are_noticed_however_they_are_made(
    change: Callable[[Path, str], None], tmp_path: Path
) -> None:
    path = tmp_path / "value"
    change(path, "1")
    watched = Watched([path], number(path))
    assert watched.current() == watched.current() == 1
    for value in (2222, 3, 44):
        change(path, str(value))
        assert watched.current() == value


def test_a_file_that_is_missing_or_wrong_at_first_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "value"
    with pytest.raises(FileNotFoundError):
        Watched([path], number(path))
    path.write_text("one")
    with pytest.raises(ValueError, match="one"):
        Watched([path], number(path))


def test_later_what_was_said_before_stays_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "value"
    path.write_text("1")
    watched = Watched([path], number(path))
    with caplog.at_level(logging.INFO):
        path.write_text("one")
        assert [watched.current() for _ in range(3)] == [1, 1, 1]
        path.unlink()
        assert [watched.current() for _ in range(3)] == [1, 1, 1]
        path.write_text("22")
        assert [watched.current() for _ in range(3)] == [22, 22, 22]
    wrong, missing, again = own_messages(caplog)
    assert "'one'" in wrong
    assert "stays in force" in wrong
    assert "No such file" in missing
    assert "read again" in again


def test_what_may_be_read_at_last_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that belongs to somebody else until its status alone changes."""
    path = tmp_path / "value"
    path.write_text("1")
    owner = "us"

    def read() -> int:
        if owner != "us":
            raise PermissionError(13, "Permission denied")
        return int(path.read_text())

    watched = Watched([path], read)
    owner = "root"
    with caplog.at_level(logging.INFO):
        replace(path, "22")
        assert [watched.current() for _ in range(3)] == [1, 1, 1]
        owner = "us"  # an open folder, a disk that is back: nothing of the file has changed
        assert watched.current() == 22
    denied, again = own_messages(caplog)
    assert "Permission denied" in denied
    assert "read again" in again
    watched = Watched([path], number(path))
    path.write_text("nonsense")
    assert watched.current() == 22
    reads = path.stat()
    path.write_text("33333333")
    os.utime(path, ns=(reads.st_atime_ns, reads.st_mtime_ns))
    assert watched.current() == 33333333


def test_threads_that_ask_at_once_read_a_change_once(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("1")
    reads = []

    def read() -> int:
        reads.append(threading.get_ident())
        return int(path.read_text())

    watched = Watched([path], read)
    replace(path, "22")
    values: list[int] = []
    threads = [threading.Thread(target=lambda: values.append(watched.current())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [22] * 20
    assert len(reads) == 2
