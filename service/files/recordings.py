"""Which recordings are meant: files, the recordings in folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ossicle.data.folders import recordings_in
from ossicle.service.happenings import STANDARD_INPUT, FailedFile


@dataclass(frozen=True)
class Recording:
    """A recording to transcribe.

    Attributes:
        file: its path, "-" for standard input.
        stem: path of what is written about it, below the folder for it and without a suffix.
    """

    file: str
    stem: str


def find_recordings(arguments: Sequence[str]) -> Iterator[Recording | FailedFile]:
    """The recordings that arguments name, in their order, those of a folder sorted by name.

    Args:
        arguments: files; folders, whose recordings are taken at any depth, and of which what is
            written keeps the structure; patterns such as ``talks/**/*.mp3``, for shells that leave
            them as they are; "-".

    Yields:
        Recordings, and folders and patterns without any.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield Recording(STANDARD_INPUT, "stdin")
        elif os.path.isdir(argument):
            yield from _in_folder(argument)
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            yield Recording(argument, Path(argument).stem)
        else:
            yield from _by_pattern(argument)


def _in_folder(folder: str) -> Iterator[Recording | FailedFile]:
    root = Path(folder)
    found = False
    problems: list[OSError] = []
    for path in recordings_in(root, problems.append):
        found = True
        yield Recording(os.fspath(path), os.fspath(path.relative_to(root).with_suffix("")))
    for problem in problems:
        yield FailedFile(os.fspath(problem.filename), problem.strerror or str(problem))
    if not found and not problems:
        yield FailedFile(folder, "no recording is in this folder; name files that have other names")


def _by_pattern(pattern: str) -> Iterator[Recording | FailedFile]:
    paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not paths:
        yield FailedFile(pattern, "no file is named like this")
    for path in paths:
        yield Recording(path, Path(path).stem)
