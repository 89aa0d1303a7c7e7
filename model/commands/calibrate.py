"""The command `calibrate`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ossicle.model.commands.errors import fail, one_line
from ossicle.model.commands.options import ModelOption, ThreadsOption, thread_count
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:  # what the command needs is imported when it runs: --help must not wait
    from ossicle.model.decoding.calibration import Calibrator, Fitted
    from ossicle.model.decoding.decoders import Search

_out = Console()
_err = Console(stderr=True)


def calibrate_command(
    manifests: Annotated[
        list[Path],
        typer.Argument(help="JSONL manifests of speech that the model was not trained on."),
    ],
    model: ModelOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="SVG file of the reliability plot. Default: reliability.svg in the model's folder."
        ),
    ] = None,
    threads: ThreadsOption = 0,
) -> None:
    """Make a model's word confidences probabilities, and its word times those of the sound.

    Recognises the recordings with every search that the model has, sees which words are right,
    and writes what it learnt into the model's decoding.json. Says how well confidences foretell
    right words before and after, measured on speakers that were
    held out, or on recordings where there is but one speaker or none is known.

    Example: `ossicle calibrate dev.jsonl --model models/tiny`
    """
    from ossicle.data.audio import AudioError
    from ossicle.data.manifest import ManifestError, read_manifest
    from ossicle.model.decoding.calibration import Calibrator, fit_confidences
    from ossicle.model.decoding.decoders import Decoding, write_settings
    from ossicle.model.runtime import AcousticModel, ModelError, find_model

    if plot and not plot.parent.is_dir():
        raise fail(f"--plot {plot}: there is no folder {plot.parent}", code=2)
    try:
        folder = find_model(model)
        acoustic = AcousticModel.load(folder, threads=thread_count(threads))
        calibrator = Calibrator(acoustic, Decoding.load(folder, acoustic.info))
        utterances = [u for manifest in manifests for u in read_manifest(manifest)]
        for _ in track(
            calibrator.hear(utterances),
            "recognising",
            total=len(utterances),
            console=_err,
            transient=True,
            disable=not sys.stderr.isatty(),
        ):
            pass
        fitted = {search: fit_confidences(j) for search, j in calibrator.judged.items()}
        changes: dict[str, Any] = {
            "confidence": {search: f.calibration.to_dict() for search, f in fitted.items()}
        }
        shift = calibrator.lateness.shift()
        if shift is not None:
            changes["times"] = {"start": shift.start, "end": shift.end}
        plot = plot or folder / "reliability.svg"
        plot.write_text(_plot(fitted), encoding="utf-8")
        write_settings(folder, changes)
    except (AudioError, ManifestError, ModelError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    except KeyboardInterrupt:
        raise fail("stopped; the model is as it was", code=130) from None
    _print_confidences(fitted)
    _print_times(calibrator)
    _out.print(
        f"written: {folder / 'decoding.json'}, {plot}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _plot(fitted: dict[Search, Fitted]) -> str:
    from ossicle.model.evaluation.reliability import Curve, reliability_svg

    curves = []
    for search, f in fitted.items():
        curves += [
            Curve(f"{search} search, before", f.bins_before),
            Curve(f"{search} search, calibrated (held-out {f.held_out})", f.bins_after),
        ]
    return reliability_svg(curves)


def _print_confidences(fitted: dict[Search, Fitted]) -> None:
    table = Table("search", "", "words", "right %", "ECE", "NCE", "Brier")
    for search, f in fitted.items():
        for when, r in (("before", f.before), ("after", f.after)):
            table.add_row(
                escape(search),
                when,
                str(r.words),
                f"{100 * r.accuracy:.1f}",
                f"{r.ece:.3f}",
                f"{r.nce:.3f}",
                f"{r.brier:.3f}",
            )
    _out.print(table)


def _print_times(calibrator: Calibrator) -> None:
    from ossicle.model.decoding.word_times import FEWEST

    lateness = calibrator.lateness
    shift = lateness.shift()
    counts = f"{len(lateness.starts)} words after and {len(lateness.ends)} before a pause"
    if shift is None:
        text = f"word times are left as they are: {counts}, at least {FEWEST} of each are needed"
    else:
        text = (
            f"word starts {1000 * shift.start:+.0f} ms, ends {1000 * shift.end:+.0f} ms ({counts})"
        )
    _out.print(text, highlight=False, markup=False, soft_wrap=True)
