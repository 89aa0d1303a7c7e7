"""The command `evaluate`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.model.commands.errors import fail, one_line
from ossicle.model.commands.options import (
    ModelOption,
    Precision,
    Search,
    ThreadsOption,
    thread_count,
)
from ossicle.model.commands.tables import print_table
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:  # what the command needs is imported when it runs: --help must not wait
    from ossicle.data.manifest import Utterance
    from ossicle.model.evaluation.breakdown import Breakdown
    from ossicle.model.evaluation.evaluation import Condition, Evaluation
    from ossicle.model.evaluation.noise import Noises
    from ossicle.model.evaluation.record import Record
    from ossicle.model.evaluation.scoring import Recognized, Score

MAX_CHUNK_MS = 60_000  # of a batch, so much sound is padded and taken at once
_out = Console()
_err = Console(stderr=True)


def evaluate_command(
    manifests: Annotated[list[Path], typer.Argument(help="JSONL manifests with references.")],
    model: ModelOption = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="int8 is what serves, float what it was made from. "
            "Default: int8 if the model's cells can."
        ),
    ] = None,
    decoder: Annotated[
        Search | None, typer.Option(help="Default: beam if the model has a language model.")
    ] = None,
    beam_width: Annotated[
        int, typer.Option(min=0, help="Hypotheses that a beam search keeps; 0: the default.")
    ] = 0,
    chunk_ms: Annotated[
        int,
        typer.Option(help="Audio of one step of the network; changes the cost, not the words."),
    ] = 160,
    batch: Annotated[
        int, typer.Option(min=1, help="Recordings that step together; 1 is a single live stream.")
    ] = 8,
    threads: ThreadsOption = 1,
    silence: Annotated[
        float,
        typer.Option(help="Seconds of silence before each recording, as a live stream has."),
    ] = 0.0,
    noise: Annotated[
        Path | None,
        typer.Option(help="JSONL manifest of noises: also measure with noise at 20, 10, 5, 0 dB."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder to write a report into: index.html, report.json, audio/."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all scores and transcripts as JSON.")
    ] = False,
) -> None:
    """Measure error rates on manifests: WER and CER per set and source, and what it costs.

    Each recording is recognised as one utterance of a live stream, without endpoints. The cost is
    told in seconds of one core for a second of audio (real-time factor); the decoding of audio
    files is not counted.

    Example: `ossicle evaluate dev.jsonl --model models/tiny --report report/`
    """
    from ossicle.data.audio import AudioError
    from ossicle.data.digest import file_digest
    from ossicle.data.manifest import ManifestError, read_manifest
    from ossicle.model.config import FRAME_SECONDS
    from ossicle.model.decoding.decoders import Decoding, DecodingConfig
    from ossicle.model.evaluation.breakdown import Breakdown
    from ossicle.model.evaluation.evaluation import Evaluation
    from ossicle.model.evaluation.noise import Noises
    from ossicle.model.evaluation.report import ReportError, check_folder, write_report
    from ossicle.model.runtime import AcousticModel, ModelError, find_model

    frame_ms = round(1000 * FRAME_SECONDS)
    if beam_width and decoder is Search.GREEDY:
        raise fail(f"--beam-width {beam_width} is of no use to --decoder greedy", code=2)
    if not frame_ms <= chunk_ms <= MAX_CHUNK_MS or chunk_ms % frame_ms:
        use = f"use a multiple of {frame_ms}, up to {MAX_CHUNK_MS}"
        raise fail(f"--chunk-ms is {chunk_ms}: {use}", code=2)
    try:
        if report is not None:
            check_folder(report)
        folder = find_model(model)
        threads = thread_count(threads)
        acoustic = AcousticModel.load(
            folder, precision.value if precision else None, threads=threads
        )
        evaluation = Evaluation(
            acoustic,
            Decoding.load(folder, acoustic.info),
            DecodingConfig(decoder.value if decoder else None, beam_width),
            step_frames=chunk_ms // frame_ms,
            batch=batch,
            silence=silence,
        )
        sets = [(name, path, read_manifest(path)) for name, path in _named(manifests)]
        noises = None if noise is None else Noises.load(noise)
        breakdowns = []
        for name, path, utterances in sets:
            recognized = _recognize(evaluation, utterances, name)
            _need_text(recognized, path)
            by_snr = _by_snr(evaluation, utterances, name, noises) if noises else {}
            breakdowns.append(Breakdown(name, file_digest(path), recognized, by_snr))
        record = _record(evaluation, folder, threads, noise, breakdowns)
    except (AudioError, ManifestError, ModelError, ReportError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    except KeyboardInterrupt:
        raise fail("stopped; nothing is written", code=130) from None
    if as_json:
        print(json.dumps(record.to_dict(), indent=2))
    else:
        _print(record)
    if report is not None:
        try:
            write_report(record, report)
        except (ReportError, AudioError, OSError) as error:
            raise fail(one_line(error)) from error
        _err.print(
            f"written: {report / 'index.html'}", highlight=False, markup=False, soft_wrap=True
        )


def _named(manifests: Sequence[Path]) -> list[tuple[str, Path]]:
    """Names that keep the manifests apart: the stem, or the shortest ends of paths that differ."""
    if len(set(manifests)) < len(manifests):
        twice = next(m for m in manifests if manifests.count(m) > 1)
        raise ValueError(f"the manifest {twice} is given twice: give it once")
    names = [manifest.stem for manifest in manifests]
    for length in range(2, max(len(m.parts) for m in manifests) + 1):
        names = [
            name if names.count(name) == 1 else str(Path(*m.parts[-length:]).with_suffix(""))
            for name, m in zip(names, manifests, strict=True)
        ]
    return list(zip(names, manifests, strict=True))


def _recognize(
    evaluation: Evaluation,
    utterances: Sequence[Utterance],
    label: str,
    condition: Condition | None = None,
) -> list[Recognized]:
    recognized: Iterable[Recognized] = track(
        evaluation.recognize(utterances, condition),
        escape(label),
        total=len(utterances),
        console=_err,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    return list(recognized)


def _need_text(recognized: Sequence[Recognized], manifest: Path) -> None:
    if not any(r.reference for r in recognized):
        raise ValueError(f"{manifest}: no recording has a text to score against; fill in `text`")


def _by_snr(
    evaluation: Evaluation, utterances: Sequence[Utterance], name: str, noises: Noises
) -> dict[int, Score]:
    from ossicle.model.evaluation.evaluation import Condition
    from ossicle.model.evaluation.noise import SNRS
    from ossicle.model.evaluation.scoring import score

    return {
        snr: score(
            _recognize(evaluation, utterances, f"{name} at {snr} dB", Condition(noises, snr))
        )
        for snr in SNRS
    }


def _record(
    evaluation: Evaluation,
    folder: Path,
    threads: int,
    noise: Path | None,
    breakdowns: Sequence[Breakdown],
) -> Record:
    from ossicle.data.digest import file_digest
    from ossicle.model.config import FRAME_SECONDS
    from ossicle.model.evaluation.record import Cost, Record, Settings
    from ossicle.model.runtime import graph_path

    model, config, decoding = evaluation.model, evaluation.config, evaluation.decoding
    search = config.search or ("beam" if decoding.language else "greedy")
    beam = search == "beam"
    settings = Settings(
        model=model.info.name,
        model_digest=file_digest(graph_path(folder, model.precision)),
        precision=model.precision,
        search=search,
        beam_width=(config.beam_width or decoding.settings.beam.width) if beam else 0,
        language_model=beam and decoding.language is not None,
        rescoring=beam and decoding.rescores,
        chunk_ms=round(1000 * FRAME_SECONDS) * evaluation.step_frames,
        batch=evaluation.batch,
        threads=threads,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=version("ossicle"),
        noise_digest="" if noise is None else file_digest(noise),
        silence=evaluation.silence,
    )
    cost = Cost(
        audio_seconds=evaluation.audio_seconds,
        network_seconds=evaluation.network.seconds,
        decoder_seconds=evaluation.decoder.seconds,
        network_cpu_seconds=evaluation.network.cpu_seconds,
        decoder_cpu_seconds=evaluation.decoder.cpu_seconds,
    )
    return Record(settings, cost, breakdowns)


def _print(record: Record) -> None:
    table = Table("set", "utterances", "words", "WER %", "95 %", "CER %", "sub", "del", "ins")
    for name, s in record.table().items():
        table.add_row(
            escape(name),
            str(s.utterances),
            str(s.words),
            f"{100 * s.wer:.1f}",
            # Resampling one recording tells nothing.
            f"{100 * s.wer_low:.1f} to {100 * s.wer_high:.1f}" if s.utterances > 1 else "",
            f"{100 * s.cer:.1f}",
            str(s.substitutions),
            str(s.deletions),
            str(s.insertions),
        )
    for column in table.columns[1:]:
        column.no_wrap = True
    print_table(table)
    settings, cost = record.settings, record.cost
    after = f"; each after {settings.silence:g} s of silence" if settings.silence else ""
    _out.print(
        f"{settings.model} {settings.precision}, {settings.decoder}: {cost.speed:.0f} times real "
        f"time on {settings.threads} thread(s), {settings.batch} recording(s) stepping together "
        f"by {settings.chunk_ms} ms, decoding of audio files not counted{after}\n"
        f"seconds of one core for a second of audio: network {cost.network:.4f}, decoder "
        f"{cost.decoder:.4f}",
        highlight=False,
        markup=False,
    )
