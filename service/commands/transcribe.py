"""The command ``ossicle transcribe``: recordings to text, subtitles or tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer
from ossicle.model.commands.options import thread_count
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.options import (
    USAGE,
    ModelOption,
    OptionalServerOption,
    SearchOptions,
    ThreadsOption,
    local_folder,
    local_model,
    options_of,
    with_group,
    with_search,
)
from ossicle.service.commands.output import (
    FAILURE,
    INTERRUPTED,
    complain,
    errors_in_one_line,
    fail,
)

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import DecodingConfig
    from ossicle.service.files.outputs import OutputFolder
    from ossicle.service.files.recordings import Recording
    from ossicle.service.happenings import Draft, FailedFile, Happening, Progress

_STANDARD_INPUT = "-"


class Format(str, Enum):
    """What a transcript can be written as."""

    TXT = "txt"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where."""

    format: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            "-f",
            help="What to write, txt if not given; with --output-dir it may be given repeatedly.",
        ),
    ] = None
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-o",
            metavar="DIR",
            help="Write files here, named after the recordings, instead of printing. A recording "
            "whose files are there is passed over; one that was interrupted is gone on with.",
        ),
    ] = None
    again: Annotated[
        bool, typer.Option("--again", help="Pass over no recording, and replace its files.")
    ] = False
    words: Annotated[
        bool,
        typer.Option(
            "--words", help="A caption or a row for each word; json always has them with times."
        ),
    ] = False
    alternatives: Annotated[
        int,
        typer.Option(
            min=1, max=10, metavar="N", help="Up to N readings of each utterance; as json only."
        ),
    ] = 1
    json_lines: Annotated[
        bool,
        typer.Option(
            "--json-lines",
            help="For scripts: print a JSON object a line for each utterance as soon as it is "
            "known, and for each recording that is done, passed over or failed.",
        ),
    ] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="On standard error print nothing but errors.")
    ] = False

    @property
    def formats(self) -> list[str]:
        """Names of the formats, each once."""
        return list(dict.fromkeys(name.value for name in self.format or [Format.TXT]))

    def __post_init__(self) -> None:
        """Check that they can be followed together."""
        formats = self.formats
        if self.alternatives > 1 and "json" not in formats and not self.json_lines:
            raise ValueError(
                f"--alternatives {self.alternatives} cannot be shown as {formats[0]}; "
                "add --format json"
            )
        if self.words and formats == ["txt"] and not self.json_lines:
            raise ValueError("--words cannot be shown as txt; add --format tsv, srt, vtt or json")
        if self.output_dir is None:
            if self.again:
                raise ValueError("--again is about files; name their folder with --output-dir")
            if self.json_lines and self.format:
                raise ValueError("--json-lines has a form of its own; leave --format out")
            if len(formats) > 1:
                raise ValueError(
                    f"{' and '.join(formats)} make as many files; name a folder for them with "
                    "--output-dir"
                )
        elif self.output_dir.exists() and not self.output_dir.is_dir():
            raise ValueError(f"--output-dir {self.output_dir} is a file; name a folder")


@with_connection
@with_search
@with_group("output", options_of(OutputOptions), OutputOptions)
def transcribe_command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Recordings in any common format, video too; folders of them; patterns such as "
            "'talks/**/*.mp3'; - for standard input.",
        ),
    ],
    server: OptionalServerOption = None,
    model: ModelOption = None,
    threads: ThreadsOption = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Recordings at once. Default: 16 for each process, or 4 with --server.",
        ),
    ] = None,
    *,
    connection: Connection,
    search: SearchOptions,
    output: OutputOptions,
) -> None:
    """Transcribe recordings.

    Many recordings are shared out among processes, as many as --threads.

    Several recordings printed as txt have a line each, after their name; as json, an object each.
    What cannot be transcribed is told at the end; the exit code is then 1.

    Example: `ossicle transcribe -f srt -f json -o captions/ films/ talk.mp3`
    """
    from ossicle.service.files.progress import progress_bar
    from ossicle.service.files.recordings import Recording, find_recordings
    from ossicle.service.files.together import in_order
    from ossicle.service.happenings import FailedFile, Spoken

    found = list(find_recordings(files))
    recordings = [item for item in found if isinstance(item, Recording)]
    if output.output_dir:
        recordings = list(dict.fromkeys(recordings))
    failures = [item for item in found if isinstance(item, FailedFile)]
    if sum(recording.file == _STANDARD_INPUT for recording in recordings) > 1:
        fail("standard input (-) can be read only once", USAGE)
    folder = _output_folder(output, recordings)
    listeners = _listeners(output, folder, several=len(found) > 1)
    for failure in failures:
        for listen in listeners:
            listen(Recording(failure.file, ""), failure)
    todo = _unfinished(recordings, folder, output)
    try:
        with (
            errors_in_one_line(*_expected_errors()),
            progress_bar(todo, wanted=not output.quiet) as on_progress,
            # Whatever ends the loop, what transcribes is stopped at once, not when Python ends.
            closing(
                _by_server(todo, server, connection, model, jobs, search, output, on_progress)
                if server
                else _in_process(todo, folder, model, threads, jobs, search, output, on_progress)
            ) as as_it_comes,
        ):
            happenings: Iterator[tuple[int, Happening]] = as_it_comes
            if not (folder or output.json_lines):
                happenings = in_order(happenings, lambda event: not isinstance(event, Spoken))
            for number, event in happenings if todo else ():
                for listen in listeners:
                    listen(todo[number], event)
                if isinstance(event, FailedFile):
                    failures.append(_with_remains(event, todo[number], folder))
    except KeyboardInterrupt:
        complain("interrupted" + ("; the same command goes on from here" if folder else ""))
        raise typer.Exit(INTERRUPTED) from None
    finally:
        order = [item.file for item in found]
        for failure in sorted(failures, key=lambda failure: order.index(failure.file)):
            complain(f"{failure.file}: {failure.message}")
    if failures:
        raise typer.Exit(FAILURE)


def _output_folder(output: OutputOptions, recordings: list[Recording]) -> OutputFolder | None:
    """Where transcripts are written, None if they are printed."""
    from ossicle.service.files.outputs import OutputFolder

    if output.output_dir is None:
        name = output.formats[0]
        if len(recordings) > 1 and name not in ("txt", "json") and not output.json_lines:
            fail(
                f"{len(recordings)} recordings as {name} make as many files; "
                "name a folder for them with --output-dir",
                USAGE,
            )
        return None
    folder = OutputFolder(output.output_dir, output.formats, words=output.words)
    try:
        folder.check(recordings)
    except OSError as error:
        reason = error.strerror or str(error)
        fail(f"--output-dir {output.output_dir} cannot be written to: {reason}", USAGE)
    except ValueError as error:
        fail(str(error), USAGE)
    return folder


def _unfinished(
    recordings: list[Recording], folder: OutputFolder | None, output: OutputOptions
) -> list[Recording]:
    """The recordings without those that were transcribed by an earlier run, which are told."""
    from ossicle.service.files.printing import print_passed_over

    if folder is None or output.again:
        return recordings
    finished = [recording for recording in recordings if folder.has(recording)]
    if output.json_lines:
        for recording in finished:
            print_passed_over(recording, folder)
    elif finished and not output.quiet:
        print(
            f"{len(finished)} of {len(recordings)} recordings have their files in {folder.folder} "
            "already; --again replaces them",
            file=sys.stderr,
        )
    done = set(finished)
    return [recording for recording in recordings if recording not in done]


def _listeners(
    output: OutputOptions, folder: OutputFolder | None, *, several: bool
) -> list[Callable[[Recording, Happening], None]]:
    """What is done with everything that becomes known."""
    from ossicle.service.files.printing import json_lines_printer, text_printer

    listeners: list[Callable[[Recording, Happening], None]] = []
    if folder:
        listeners.append(folder.listen)
    if output.json_lines:
        listeners.append(json_lines_printer(folder))
    elif not folder:
        listeners.append(text_printer(output.formats[0], several=several, words=output.words))
    return listeners


def _with_remains(
    failure: FailedFile, recording: Recording, folder: OutputFolder | None
) -> FailedFile:
    """The failure, and where to find what was understood of the recording before it."""
    remains = folder.unfinished(recording) if folder else None
    if remains is None:
        return failure
    return replace(failure, message=f"{failure.message}; what came before is in {remains}")


def _by_server(
    todo: list[Recording],
    server: str,
    connection: Connection,
    model: str | None,
    jobs: int | None,
    search: SearchOptions,
    output: OutputOptions,
    on_progress: Callable[[Progress], None],
) -> Generator[tuple[int, Happening], None, None]:
    from ossicle.service.transcribe_remote import DEFAULT_JOBS, transcribing_remote

    options = {**search.request(), "alternatives": output.alternatives}
    with connection.open(server) as client:
        yield from transcribing_remote(
            _sources(todo),
            client,
            model=model or "",
            options=options,
            jobs=jobs or DEFAULT_JOBS,
            on_progress=on_progress,
        )


def _in_process(
    todo: list[Recording],
    folder: OutputFolder | None,
    model: str | None,
    threads: int,
    jobs: int | None,
    search: SearchOptions,
    output: OutputOptions,
    on_progress: Callable[[Progress], None],
) -> Generator[tuple[int, Happening], None, None]:
    from ossicle.data.free_memory import free_memory
    from ossicle.service.transcribe import DEFAULT_SLOTS, transcribing
    from ossicle.service.transcribe_process import HelperProcess, process_count

    cores = thread_count(threads)
    sources = _sources(todo)
    # Standard input is this process's alone.
    paths = all(isinstance(source, str) for source in sources)
    processes = process_count(len(todo), cores, jobs, free_memory()) if paths else 1
    each = cores // processes
    # No more than its share: what this process takes while the others begin, they cannot take.
    slots = min(-(-(jobs or len(todo)) // processes), jobs or DEFAULT_SLOTS)
    helpers = []
    with ExitStack() as stack:
        for _ in range(processes - 1):
            helper = HelperProcess(local_folder(model), each, slots, output.alternatives)
            stack.callback(helper.stop)
            helpers.append(helper)
        network, decoding = local_model(model, each)
        config = search.decoding(decoding)
        for helper in helpers:
            helper.begin(config)
        yield from transcribing(
            sources,
            network,
            decoding,
            search=config,
            alternatives=output.alternatives,
            slots=slots,
            drafts=_drafts(todo, folder, model, config, output),
            others=[helper for helper in helpers for _ in range(slots)],
            on_progress=on_progress,
        )


def _drafts(
    todo: list[Recording],
    folder: OutputFolder | None,
    model: str | None,
    config: DecodingConfig,
    output: OutputOptions,
) -> list[Draft]:
    """What an earlier run has found out of the recordings; none if nothing is kept."""
    from ossicle.model.folder import model_digest

    if folder is None:
        return []
    settings = {
        "model": model_digest(local_folder(model)),
        "search": asdict(config),
        "alternatives": output.alternatives,
    }
    return [folder.draft(recording, settings) for recording in todo]


def _sources(recordings: list[Recording]) -> list[str | BinaryIO]:
    """What to read recordings from.

    Standard input without its buffer: after Ctrl-C a worker may still wait for a silent pipe, and
    Python cannot exit while a thread holds the buffer's lock.
    """
    if all(recording.file != _STANDARD_INPUT for recording in recordings):
        return [recording.file for recording in recordings]
    if sys.stdin is None:
        fail("standard input is closed: name a file, or give it a recording", USAGE)
    if hasattr(os, "set_blocking"):
        # Some programs leave a pipe that says "nothing yet" as others say "nothing more".
        with suppress(OSError):
            os.set_blocking(sys.stdin.fileno(), True)
    buffer = sys.stdin.buffer
    standard_input = cast("BinaryIO", getattr(buffer, "raw", buffer))
    return [
        standard_input if recording.file == _STANDARD_INPUT else recording.file
        for recording in recordings
    ]


def _expected_errors() -> tuple[type[Exception], ...]:
    from ossicle.model.runtime import ModelError
    from ossicle.service.admission import EngineStopped
    from ossicle.service.client.errors import OssicleError

    return ModelError, OssicleError, EngineStopped, OSError
