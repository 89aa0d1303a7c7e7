"""How far a transcription of files is, as a bar on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ossicle.service.happenings import STANDARD_INPUT, Progress

from .recordings import Recording


@contextmanager
def progress_bar(
    recordings: Sequence[Recording], wanted: bool = True
) -> Iterator[Callable[[Progress], None]]:
    """Where to report progress: a bar on standard error, nothing where that is no terminal.

    Args:
        recordings: what is transcribed.
        wanted: False for no bar anywhere.
    """
    if not (wanted and recordings and sys.stderr.isatty()):
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
        # Texts that are printed on the same terminal must appear above the bar.
        redirect_stdout=sys.stdout.isatty(),
    )
    task = bar.add_task("", total=_bytes(recordings), done="")
    seconds = 0.0
    finished = 0

    def report(progress: Progress) -> None:
        nonlocal seconds, finished
        seconds += progress.seconds
        finished += progress.finished
        speed = seconds / (bar.tasks[task].elapsed or 1.0)
        files = f"{finished}/{len(recordings)} files, " if len(recordings) > 1 else ""
        done = f"{files}{_clock(seconds)} of audio, {speed:.0f} s a second"
        bar.update(task, advance=progress.bytes_read, done=done)

    with bar:
        yield report


def _bytes(recordings: Sequence[Recording]) -> int | None:
    """How much there is to read, None if that is not known."""
    if any(recording.file == STANDARD_INPUT for recording in recordings):
        return None
    files = (recording.file for recording in recordings)
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file))


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"
