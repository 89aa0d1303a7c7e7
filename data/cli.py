"""`ossicle data`: import corpora, cut recordings, check manifests, find leaks, synthesize."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.data.cores import usable_cores
from ossicle.data.signals import stoppable
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
)
from rich.table import Table

if TYPE_CHECKING:  # what a command needs is imported when it runs: `ossicle --help` must not wait
    from ossicle.data.corpora import Imported
    from ossicle.data.leaks import Leak
    from ossicle.data.manifest import Utterance
    from ossicle.data.synthesis import SynthesisProgress
    from ossicle.data.transcripts import CutRecordings

LISTED = 20
"""Examples of each kind of problem that are printed."""

CORPUS_NAMES = ("librispeech", "commonvoice", "ljspeech", "speechcommands", "yesno", "folder")
"""The keys of `corpora.CORPORA`."""

data_app = typer.Typer(
    no_args_is_help=True,
    help="Import speech corpora, cut recordings by transcripts, check manifests, find leaks, and "
    "make synthetic speech.",
)

_report = Console()
_errors = Console(stderr=True)


@data_app.command("import")
def import_command(
    corpus: Annotated[str, typer.Argument(help=f"One of {', '.join(CORPUS_NAMES)}.")],
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

    Example: `ossicle data import librispeech /corpora/LibriSpeech --subset dev-clean -o dev.jsonl`
    """
    from ossicle.data.corpora import CorpusError, import_corpus
    from ossicle.data.manifest import write_manifest

    if output.is_dir():
        raise _fail(f"--output {output} is a folder; name a file", code=2)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    try:
        with stoppable(f"{output} is not written", _fail), _progress(*columns) as bar:
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


@data_app.command("cut")
def cut_command(
    transcripts: Annotated[
        list[Path],
        typer.Argument(help="What ossicle transcribe --format json wrote, or folders of it."),
    ],
    output_dir: Annotated[
        Path,
        typer.Option(
            "--output-dir", "-o", metavar="DIR", help="Folder for the cuts and their manifest."
        ),
    ],
    confidence: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Leave out what has a smaller share of words likely to be right."
        ),
    ] = 0.8,
    longest: Annotated[
        float, typer.Option(min=0.5, help="Cut speech of more seconds at its longest pauses.")
    ] = 10.0,
    source: Annotated[
        str, typer.Option(help="What the manifest calls the corpus.")
    ] = "transcripts",
) -> None:
    """Cut recordings by their transcripts into a manifest to train on.

    For recordings without texts (pseudo-labels): of what a model heard that is kept which it was
    sure of. What was corrected in the transcripts is kept in any case. Exits with 1 if nothing is.

    Example: `ossicle data cut transcripts/ -o heard/ --confidence 0.85`
    """
    from ossicle.data.transcripts import (
        MANIFEST,
        CutConfig,
        CutRecordings,
        TranscriptsError,
        cut_transcripts,
        find_transcripts,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    result = CutRecordings()
    try:
        found = find_transcripts(transcripts)
        with (
            stoppable(f"{output_dir / MANIFEST} is not written", _fail),
            _progress(*columns) as bar,
        ):
            task = bar.add_task("cutting", total=len(found))
            config = CutConfig(confidence, longest, source)
            for so_far in cut_transcripts(found, output_dir, config):
                result = so_far
                bar.advance(task)
    except TranscriptsError as error:
        raise _fail(str(error)) from error
    _list_failures(result, "transcripts and utterances")
    if result.doubtful:
        _errors.print(
            f"{_count(result.doubtful, 'utterance')} left out, {result.doubtful_seconds / 60:.1f} "
            f"minutes: fewer than {confidence:.0%} of their words are likely to be right",
            highlight=False,
            soft_wrap=True,
        )
    if not result.utterances:
        raise _fail(f"nothing is left to train on; {output_dir / MANIFEST} is not written")
    manifest = escape(str(output_dir / MANIFEST))
    _report.print(f"{manifest}: {_summary(result.utterances)}", soft_wrap=True)


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

    Example: `ossicle data check train.jsonl dev.jsonl --deep`
    """
    from ossicle.data.check import LONGEST_SECONDS, SHORTEST_SECONDS, check_utterances
    from ossicle.data.manifest import ManifestError, read_manifest

    utterances: list[Utterance] = []
    for manifest in manifests:
        try:
            with stoppable("nothing was checked", _fail):
                read = read_manifest(manifest)
        except ManifestError as error:
            raise _fail(str(error)) from error
        _report.print(f"{escape(str(manifest))}: {_summary(read)}", soft_wrap=True)
        unfit = [u for u in read if not SHORTEST_SECONDS <= u.duration <= LONGEST_SECONDS]
        if unfit:
            hours = sum(utterance.duration for utterance in unfit) / 3600
            _report.print(
                f"  {_count(len(unfit), 'utterance')}, {hours:.2f} hours, not of "
                f"{SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} s, are left out of training, unless "
                "data.min_seconds and data.max_seconds say otherwise",
                highlight=False,
                soft_wrap=True,
            )
        utterances += read
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with stoppable("the check is not complete", _fail), _progress(*columns) as bar:
        task = bar.add_task("decoding" if deep else "checking", total=len(utterances))
        problems = check_utterances(
            utterances,
            deep,
            workers=usable_cores(),
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


@data_app.command("leaks")
def leaks_command(
    training: Annotated[
        list[Path],
        typer.Argument(
            help="What is trained on: manifests (.jsonl) and text, a sentence a line; "
            "also .gz and .xz."
        ),
    ],
    against: Annotated[
        list[Path],
        typer.Option("--against", "-a", help="Manifest to validate or test on; may be repeated."),
    ],
    sentence_words: Annotated[
        int, typer.Option(min=1, help="A shared sentence of so many words or more is a leak.")
    ] = 6,
    run_words: Annotated[
        int, typer.Option(min=1, help="So many words in a row that are shared are a leak.")
    ] = 8,
    shared_speaker: Annotated[
        list[str] | None,
        typer.Option(help="Speaker meant to be on both sides; may be repeated."),
    ] = None,
    shared_source: Annotated[
        list[str] | None,
        typer.Option(
            help="Source of utterances to validate on whose sentences may be trained on, such as "
            "prompts that everybody reads; may be repeated."
        ),
    ] = None,
) -> None:
    """Find speakers, recordings and sentences that are trained on and judged by.

    A shared speaker or recording is always a leak. A sentence is one if all of it, in normal form,
    or a long run of its words is in the training data; shorter ones belong to the language.
    Exits with 1 if there is a leak that was not named as meant.

    Example: `ossicle data leaks train.jsonl --against dev.jsonl`
    """
    from ossicle.data.leaks import LeakRules, find_leaks
    from ossicle.data.manifest import ManifestError
    from ossicle.data.text_file import TextFileError

    rules = LeakRules(
        sentence_words, run_words, tuple(shared_speaker or ()), tuple(shared_source or ())
    )
    try:
        with (
            stoppable("the search is not complete", _fail),
            _progress(
                SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn()
            ) as bar,
        ):
            task = bar.add_task("lines searched", total=None)
            report = find_leaks(
                training, against, rules, lambda lines: bar.update(task, completed=lines)
            )
    except (ManifestError, TextFileError) as error:
        raise _fail(str(error)) from error
    _list_leaks("found", report.leaks)
    _list_leaks("accepted", report.accepted)
    _report.print(escape(report.summary()), highlight=False, soft_wrap=True)
    if report.leaks:
        raise typer.Exit(1)


@data_app.command("synthesize")
def synthesize_command(
    text: Annotated[
        Path, typer.Argument(help="Text to be spoken, a sentence a line; also .gz and .xz.")
    ],
    output_dir: Annotated[
        Path,
        typer.Option(
            "--output-dir", "-o", metavar="DIR", help="Folder for the speech and its manifest."
        ),
    ],
    hours: Annotated[float, typer.Option(help="Hours of speech in the folder in the end.")],
    voice: Annotated[
        list[str] | None,
        typer.Option(
            help="Voice of hibari; may be repeated. heart is installed with it; emma, fable, "
            "fenrir and kore are downloaded when first used.",
            show_default="heart",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Another seed gives other speech of the same text.")
    ] = 1,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes; their number does not change the speech.")
    ] = 1,
) -> None:
    """Make synthetic speech to train on: 300 pseudo-speakers of each voice.

    Writes Ogg/Opus recordings and DIR/manifest.jsonl. Stop it with Ctrl-C; the same command goes
    on, and with more --hours adds to what is there. Odd speech is left out and listed in
    DIR/rejected.jsonl.

    Example: `ossicle data synthesize sentences.txt -o synthetic/ --hours 10`
    """
    from ossicle.data.synthesis import SynthesisConfig, synthesize
    from ossicle.data.synthesis_engine import SynthesisError
    from ossicle.data.synthesis_hibari import DEFAULT_VOICE, HibariEngine
    from ossicle.data.text_file import TextFileError

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    try:
        with stoppable("the same command goes on", _fail), _progress(*columns) as bar:
            task = bar.add_task("speaking", total=hours * 3600, state="")

            def show(reached: SynthesisProgress) -> None:
                bar.update(task, completed=reached.seconds, state=_reached(reached))

            reached = synthesize(
                SynthesisConfig(text, output_dir, hours, seed, processes),
                partial(HibariEngine, tuple(voice or (DEFAULT_VOICE,))),
                show,
            )
    except (SynthesisError, TextFileError, ValueError) as error:
        raise _fail(str(error)) from error
    if reached.skipped:
        _errors.print(
            f"{_count(reached.skipped, 'line')} of the text left out: too long, or how to say "
            "them is not sure",
            highlight=False,
        )
    _report.print(
        f"{escape(str(output_dir))}: {_reached(reached)}", highlight=False, soft_wrap=True
    )


def _reached(reached: SynthesisProgress) -> str:
    utterances = _count(reached.utterances, "utterance")
    return f"{utterances}, {reached.seconds / 3600:.2f} hours, {reached.rejected} rejected"


def _list_leaks(title: str, leaks: Sequence[Leak]) -> None:
    for kind in dict.fromkeys(leak.kind for leak in leaks):
        of_kind = [leak for leak in leaks if leak.kind is kind]
        _report.print(f"[bold]{title}: {kind.value}[/bold]")
        for leak in of_kind[:LISTED]:
            _report.print(escape(f"  {leak}"), highlight=False, soft_wrap=True)
        if len(of_kind) > LISTED:
            _report.print(f"  and {len(of_kind) - LISTED} more")


def _list_failures(made: Imported | CutRecordings, what: str = "recordings") -> None:
    failures = made.failures
    if not failures:
        return
    total = len(failures) + len(made.utterances)
    _errors.print(f"[yellow]{len(failures)} of {total} {what} are left out:[/yellow]")
    for failure in failures[:LISTED]:
        _errors.print(escape(f"  {failure.item}: {failure.reason}"), soft_wrap=True)
    if len(failures) > LISTED:
        _errors.print(f"  and {len(failures) - LISTED} more")


def _summary(utterances: list[Utterance]) -> str:
    hours = sum(utterance.duration for utterance in utterances) / 3600
    speakers = len({utterance.speaker for utterance in utterances if utterance.speaker})
    known = _count(speakers, "speaker") if speakers else "unknown speakers"
    return f"{_count(len(utterances), 'utterance')}, {hours:.2f} hours, {known}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _progress(*columns: ProgressColumn) -> Progress:
    # Disabled, it prints nothing; otherwise it would leave an empty line in a log.
    return Progress(*columns, console=_errors, transient=True, disable=not _errors.is_terminal)


def _fail(message: str, code: int = 1) -> typer.Exit:
    _errors.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
    return typer.Exit(code)
