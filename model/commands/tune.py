"""The command `tune`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.model.commands.errors import fail, one_line
from ossicle.model.commands.options import ModelOption, ThreadsOption, thread_count
from rich.console import Console
from rich.markup import escape
from rich.progress import track

if TYPE_CHECKING:  # what the command needs is imported when it runs: --help must not wait
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.decoding.heard import HeardSet
    from ossicle.model.decoding.tuning import Trial
    from ossicle.model.runtime import AcousticModel

_out = Console()
_err = Console(stderr=True)


def tune_command(
    manifests: Annotated[
        list[Path],
        typer.Argument(help="JSONL manifests of speech that the model was not trained on."),
    ],
    model: ModelOption = None,
    beam_width: Annotated[
        int, typer.Option(min=1, help="Hypotheses that are kept while weights are looked for.")
    ] = 16,
    frames: Annotated[
        int,
        typer.Option(min=100, help="Output frames (40 ms) of each set to look for weights with."),
    ] = 8000,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what the network heard for the next time."),
    ] = None,
    threads: ThreadsOption = 0,
) -> None:
    """Find how much the language models count, and how wide and deep a beam pays.

    Lowers the mean of the sets' word error rates, prints each trial, measures the outcome on all
    of the sets, and writes it into the model's decoding.json. Then run `ossicle calibrate`:
    confidences depend on these weights.

    Example: `ossicle tune dev.jsonl --model models/tiny --cache tune-cache/`
    """
    from dataclasses import replace

    from ossicle.data.audio import AudioError
    from ossicle.data.manifest import ManifestError
    from ossicle.model.decoding.decoders import Decoding, DecodingSettings, write_settings
    from ossicle.model.decoding.tuning import Tuner
    from ossicle.model.runtime import AcousticModel, ModelError, find_model

    try:
        folder = find_model(model)
        acoustic = AcousticModel.load(folder, threads=thread_count(threads))
        decoding = Decoding.load(folder, acoustic.info)
        language = decoding.language
        if language is None:
            raise fail(
                f"{folder} has no lm.ngram, so there is nothing to tune: make it with "
                "`ossicle lm train`",
                code=2,
            )
        sets = [_heard(acoustic, decoding, folder, manifest, cache) for manifest in manifests]
        tokens = acoustic.info.tokens
        _out.print(f"mean WER %, WER % of {', '.join(heard.name for heard in sets)}:")
        tuner = Tuner([heard.part(frames) for heard in sets], tokens, language, _print)
        settings = decoding.settings
        beam = replace(settings.beam, width=beam_width)
        found = tuner.weights(beam, settings.language)
        _out.print("all of the sets:")
        whole = Tuner(sets, tokens, language, _print)
        best = whole.narrowed(found, settings.language)
        tuned = DecodingSettings(best.beam, best.language, settings.rescoring)
        if decoding.rescorer:
            rescoring, rate = whole.rescoring(
                best, settings.rescoring, decoding.rescorer, decoding.spell
            )
            tuned = replace(tuned, rescoring=rescoring)
            _out.print(f"rescored: {100 * rate:.2f} with {rescoring}", highlight=False)
        write_settings(folder, tuned.to_dict())
    except (AudioError, ManifestError, ModelError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    except KeyboardInterrupt:
        raise fail("stopped; the model is as it was", code=130) from None
    _out.print(f"written: {folder / 'decoding.json'}", highlight=False, markup=False)


def _heard(
    model: AcousticModel, decoding: Decoding, folder: Path, manifest: Path, cache: Path | None
) -> HeardSet:
    from ossicle.model.decoding.heard import hear_set, kept_file
    from ossicle.model.runtime import graph_path

    kept = kept_file(cache, graph_path(folder, model.precision), manifest) if cache else None
    progress = partial(
        track,
        description=escape(manifest.stem),
        console=_err,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    return hear_set(model, manifest, decoding.write, kept, progress)


def _print(trial: Trial) -> None:
    language, rates = trial.language, _percent(trial.rates)
    _out.print(
        f"{100 * trial.mean:6.2f}  {rates}  {trial.frame_ms:.3f} ms a frame  "
        f"beam {trial.beam.width} within {trial.beam.margin:g}, "
        f"lm {language.lm_weight:g}, word {language.word_score:g}, "
        f"unknown {language.unknown_score:g}, letter {language.letter_score:g}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _percent(rates: Sequence[float]) -> str:
    return " ".join(f"{100 * rate:5.1f}" for rate in rates)
