"""Which recordings are meant: files, the recordings in folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ossicle.service.transcribe import STANDARD_INPUT, FailedFile

# What of a folder is taken for a recording; what a file named by itself holds is seen by its bytes.
SUFFIXES = (
    *(".aac", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac", ".m4a", ".m4b"),
    *(".mka", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".tta", ".w64", ".wav", ".weba"),
    *(".wma", ".wv"),
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".ogv", ".ts", ".webm", ".wmv"),
)


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
    seen: set[str] = set()
    for parent, folders, names in os.walk(root, onerror=problems.append, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:  # a link to where it is already
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                found = True
                stem = path.relative_to(root).with_suffix("")
                yield Recording(os.fspath(path), os.fspath(stem))
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
