"""The command ``ossicle transcribe``: recordings to text, subtitles or tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.options import (
    USAGE,
    ModelOption,
    OptionalServerOption,
    SearchOptions,
    ThreadsOption,
    local_model,
    with_search,
)
from ossicle.service.commands.output import FAILURE, complain, errors_in_one_line, fail
from ossicle.service.formats import Transcript, format_transcript, to_json

if TYPE_CHECKING:
    from ossicle.service.transcribe import FailedFile, Progress

_STANDARD_INPUT = "-"


class Format(str, Enum):
    """What a transcript can be written as."""

    TXT = "txt"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


@with_connection
@with_search
def transcribe_command(
    files: Annotated[
        list[str],
        typer.Argument(help="Recordings in any common format; - reads standard input."),
    ],
    server: OptionalServerOption = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="What to write.")] = Format.TXT,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-o",
            metavar="DIR",
            help="Write a file for each recording here instead of printing.",
        ),
    ] = None,
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    alternatives: Annotated[
        int,
        typer.Option(
            min=1, max=10, metavar="N", help="Up to N readings of each utterance; as json only."
        ),
    ] = 1,
    *,
    connection: Connection,
    search: SearchOptions,
) -> None:
    """Transcribe recordings.

    Files that cannot be transcribed are reported on standard error, the others go on, and the
    exit code is then 1. Several recordings printed as txt have a line each, after their name; as
    json, one object a line.
    """
    _check(files, format.value, output_dir, alternatives)
    write = (
        _printer(format.value, len(files))
        if output_dir is None
        else _filer(format.value, output_dir)
    )
    recordings: list[str | BinaryIO] = [
        _standard_input() if file == _STANDARD_INPUT else file for file in files
    ]
    failures = 0
    with errors_in_one_line(*_expected_errors()), _progress_bar(files) as on_progress:
        outcomes = (
            _by_server(recordings, connection, server, model, search, alternatives, on_progress)
            if server
            else _in_process(recordings, model, threads, search, alternatives, on_progress)
        )
        for outcome in outcomes:
            if isinstance(outcome, Transcript):
                write(outcome)
            else:
                failures += 1
                complain(f"{outcome.file}: {outcome.message}")
    if failures:
        raise typer.Exit(FAILURE)


def _by_server(
    recordings: list[str | BinaryIO],
    connection: Connection,
    server: str,
    model: str | None,
    search: SearchOptions,
    alternatives: int,
    on_progress: Callable[[Progress], None],
) -> Iterator[Transcript | FailedFile]:
    from ossicle.service.transcribe_remote import transcribe_remote

    options = {**search.request(), "alternatives": alternatives}
    with connection.open(server) as client:
        yield from transcribe_remote(
            recordings, client, model=model or "", options=options, on_progress=on_progress
        )


def _in_process(
    recordings: list[str | BinaryIO],
    model: str | None,
    threads: int,
    search: SearchOptions,
    alternatives: int,
    on_progress: Callable[[Progress], None],
) -> Iterator[Transcript | FailedFile]:
    from ossicle.service.transcribe import transcribe

    network, decoding = local_model(model, threads)
    yield from transcribe(
        recordings,
        network,
        decoding,
        search=search.decoding(decoding),
        alternatives=alternatives,
        on_progress=on_progress,
    )


def _standard_input() -> BinaryIO:
    """Standard input without its buffer.

    After Ctrl-C a worker may still wait for a silent pipe, and Python cannot exit while a thread
    holds the buffer's lock.
    """
    buffer = sys.stdin.buffer
    return cast("BinaryIO", getattr(buffer, "raw", buffer))


def _expected_errors() -> tuple[type[Exception], ...]:
    from ossicle.model.runtime import ModelError
    from ossicle.service.client.errors import OssicleError
    from ossicle.service.engine import EngineStopped

    return ModelError, OssicleError, EngineStopped, OSError


def _check(files: list[str], format_name: str, output_dir: Path | None, alternatives: int) -> None:
    """End the command if it cannot make sense, before any work is done."""
    if files.count(_STANDARD_INPUT) > 1:
        fail("standard input (-) can be read only once", USAGE)
    if alternatives > 1 and format_name != "json":
        fail(
            f"--alternatives {alternatives} cannot be shown as {format_name}; add --format json",
            USAGE,
        )
    if output_dir is None:
        if len(files) > 1 and format_name not in ("txt", "json"):
            fail(
                f"{len(files)} recordings as {format_name} make as many files; "
                "name a folder for them with --output-dir",
                USAGE,
            )
        return
    if output_dir.exists() and not output_dir.is_dir():
        fail(f"--output-dir {output_dir} is a file; name a folder", USAGE)
    sources: dict[str, str] = {}
    for file in files:
        other = sources.setdefault(_stem(file), file)
        if other is not file:
            target = output_dir / f"{_stem(file)}.{format_name}"
            fail(f"{other} and {file} would both be written to {target}; rename one", USAGE)


def _stem(file: str) -> str:
    return "stdin" if file == _STANDARD_INPUT else Path(file).stem


def _printer(format_name: str, count: int) -> Callable[[Transcript], None]:
    def write(transcript: Transcript) -> None:
        if count == 1:
            text = format_transcript(transcript, format_name)
        elif format_name == "json":
            text = to_json(transcript, indent=None)
        else:
            text = f"{transcript.file}: {transcript.text}\n"
        sys.stdout.write(text)
        sys.stdout.flush()

    return write


def _filer(format_name: str, folder: Path) -> Callable[[Transcript], None]:
    def write(transcript: Transcript) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{_stem(transcript.file)}.{format_name}"
        target.write_text(format_transcript(transcript, format_name), encoding="utf-8")

    return write


@contextmanager
def _progress_bar(files: list[str]) -> Iterator[Callable[[Progress], None]]:
    """Where to report progress: a bar on standard error, nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    paths = [Path(file) for file in files if file != _STANDARD_INPUT]
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    known = len(paths) == len(files)
    bar = Bar(
        BarColumn(),
        TextColumn("{task.fields[finished]}/{task.fields[files]} files"),
        TextColumn("{task.fields[audio]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Texts that are printed on the same terminal must appear above the bar.
        redirect_stdout=sys.stdout.isatty(),
    )
    task = bar.add_task(
        "", total=sum(sizes) if known else None, files=len(files), finished=0, audio=""
    )
    seconds = 0.0
    finished = 0

    def report(progress: Progress) -> None:
        nonlocal seconds, finished
        seconds += progress.seconds
        finished += progress.finished
        speed = seconds / (bar.tasks[task].elapsed or 1.0)
        audio = f"{seconds / 60:.1f} min of audio, {speed:.0f}x real time"
        bar.update(task, advance=progress.bytes_read, finished=finished, audio=audio)

    with bar:
        yield report
