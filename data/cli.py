"""`ossicle data`: bring corpora into manifests and check manifests."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from ossicle.data.check import check_utterances
from ossicle.data.corpora import CORPORA, CorpusError, Imported, import_corpus
from ossicle.data.manifest import ManifestError, Utterance, read_manifest, write_manifest
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

LISTED = 20
"""Examples of each kind of problem that are printed."""

data_app = typer.Typer(
    no_args_is_help=True, help="Bring speech corpora into manifests and check manifests."
)

_report = Console()
_errors = Console(stderr=True)


@data_app.command("import")
def import_command(
    corpus: Annotated[str, typer.Argument(help=f"One of {', '.join(CORPORA)}.")],
    path: Annotated[Path, typer.Argument(help="Folder that the corpus is unpacked in.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Manifest to write, e.g. train.jsonl.")
    ],
    subset: Annotated[
        str, typer.Option(help="Part of the corpus, e.g. train-clean-100 or dev.")
    ] = "",
) -> None:
    """Write a manifest of a corpus on this disk: paths, durations and normalised text.

    Recordings that cannot be used are counted and listed. Exits with 1 if none can be used.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    try:
        with Progress(*columns, console=_errors, transient=True) as bar:
            task = bar.add_task(f"reading {corpus}", total=None)
            imported = import_corpus(
                corpus, path, subset, lambda done: bar.update(task, completed=done)
            )
    except CorpusError as error:
        raise _fail(str(error)) from error
    _list_failures(imported)
    if not imported.utterances:
        raise _fail(f"no recording of {path} can be used; {output} is not written")
    try:
        write_manifest(output, imported.utterances)
    except OSError as error:
        raise _fail(f"cannot write {output}: {error.strerror}") from error
    _report.print(f"{escape(str(output))}: {_summary(imported.utterances)}", soft_wrap=True)


@data_app.command("check")
def check_command(
    manifests: Annotated[list[Path], typer.Argument(help="Manifests (JSON lines).")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every recording and compare its duration.")
    ] = False,
) -> None:
    """Count and list what would make training fail or learn something wrong.

    Finds missing files, empty text, text too long for its audio, characters outside the
    vocabulary and duplicates; with --deep also recordings that cannot be decoded or whose duration
    is not the manifest's. Exits with 1 if there is any problem.
    """
    utterances: list[Utterance] = []
    for manifest in manifests:
        try:
            read = read_manifest(manifest)
        except ManifestError as error:
            raise _fail(str(error)) from error
        _report.print(f"{escape(str(manifest))}: {_summary(read)}", soft_wrap=True)
        utterances += read
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=_errors, transient=True) as bar:
        task = bar.add_task("decoding" if deep else "checking", total=len(utterances))
        problems = check_utterances(
            utterances,
            deep,
            workers=os.cpu_count() or 1,
            progress=lambda done: bar.update(task, completed=done),
        )
    if not problems:
        _report.print("no problems found")
        return
    counts = Counter(problem.kind for problem in problems)
    table = Table("problem", "utterances")
    for kind, count in counts.most_common():
        table.add_row(kind.value, str(count))
    _report.print(table)
    for kind, count in counts.most_common():
        _report.print(f"\n[bold]{kind.value}[/bold]")
        for problem in [p for p in problems if p.kind is kind][:LISTED]:
            _report.print(escape(f"  {problem.audio}: {problem.detail}"), soft_wrap=True)
        if count > LISTED:
            _report.print(f"  and {count - LISTED} more")
    raise typer.Exit(1)


def _list_failures(imported: Imported) -> None:
    failures = imported.failures
    if not failures:
        return
    total = len(failures) + len(imported.utterances)
    _errors.print(f"[yellow]{len(failures)} of {total} recordings are left out:[/yellow]")
    for failure in failures[:LISTED]:
        _errors.print(escape(f"  {failure.item}: {failure.reason}"), soft_wrap=True)
    if len(failures) > LISTED:
        _errors.print(f"  and {len(failures) - LISTED} more")


def _summary(utterances: list[Utterance]) -> str:
    hours = sum(utterance.duration for utterance in utterances) / 3600
    speakers = len({utterance.speaker for utterance in utterances if utterance.speaker})
    return f"{len(utterances)} utterances, {hours:.2f} hours, {speakers or 'unknown'} speakers"


def _fail(message: str) -> typer.Exit:
    _errors.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
    return typer.Exit(1)
