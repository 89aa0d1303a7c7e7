"""Text files, plain or compressed, as lines."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class TextFileError(ValueError):
    """A text file cannot be read; the message names it and says why."""


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 text file without their ends; `.gz` and `.xz` are unpacked.

    A byte order mark, as some editors put before the first, is none of it.

    Only a line at a time is held in memory.

    Raises:
        TextFileError: while reading, if the file is missing, damaged or not UTF-8.
    """
    try:
        with _open(path) as file:
            for line in file:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise TextFileError(
            f"{path} is not UTF-8 text: save it as that, or convert it with iconv"
        ) from error
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise TextFileError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise TextFileError(f"cannot read {path}: {error.strerror}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def write_compressed(path: Path, temporary: Path) -> TextIO:
    """A file to write UTF-8 text with LF to, packed as `read_lines` unpacks `path`.

    Args:
        path: whose suffix tells how.
        temporary: what is written.
    """
    if path.suffix == ".gz":
        return gzip.open(temporary, "wt", encoding="utf-8", newline="\n")
    if path.suffix == ".xz":
        return lzma.open(temporary, "wt", encoding="utf-8", newline="\n")
    return temporary.open("w", encoding="utf-8", newline="\n")


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest: named `.jsonl`, also compressed, or of a JSON object a line.

    Raises:
        TextFileError: it cannot be read.
    """
    if ".jsonl" in path.suffixes:
        return True
    if not path.is_file():  # what a pipe brings can be read but once
        return False
    first = next((line for line in read_lines(path) if line.strip()), "")
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False
