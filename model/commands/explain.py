"""The commands `ossicle explain ...`: what goes on in the recurrent layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.model.commands.errors import fail, need_training_packages, one_line
from ossicle.model.commands.options import ModelOption
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ossicle.model.explain.comparison import Result
    from ossicle.model.explain.copying import CopyResults
    from ossicle.model.explain.flow import Flow
    from ossicle.model.explain.gates import Layer
    from ossicle.model.network import Network

explain_app = typer.Typer(
    help="See the recurrent layers at work: error flow, gates, cells compared.",
    no_args_is_help=True,
)

_out = Console()
_LAGS = (1, 10, 30, 100, 300, 1000)
_LISTED = 5
_CLIP_POWER, _CLIP_RATE, _CLIP_UPDATES = 100, 1e-3, 150


@explain_app.command("flow")
def flow_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Recordings, one after the other; default: the bundled sample."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of `ossicle explain cells`, for its cells after training."),
    ] = None,
    model: ModelOption = None,
    steps: Annotated[int, typer.Option(min=10, max=10_000, help="Follow errors so far back.")] = (
        1000
    ),
    output: Annotated[Path, typer.Option("--output", "-o", help="The image to write.")] = Path(
        "flow.png"
    ),
) -> None:
    """How much of an error is left k steps back in time, for every cell, on real speech.

    At initialisation, after training where --run has trained the cells, and for the model: the
    size of the error at each layer's states, beside powers of 0.9 and 1.1, and what clipping the
    gradient does where it explodes.

    Example: `ossicle explain flow talk.flac --run runs/cells -o flow.png`
    """
    need_training_packages("torch", "matplotlib")
    import torch
    from ossicle.data.audio import AudioError, read_audio
    from ossicle.data.sample import sample_path
    from ossicle.model.config import CELL_NAMES
    from ossicle.model.explain.clipping import descend
    from ossicle.model.explain.flow import (
        cut_stretches,
        error_flow,
        normalise_by,
        scalar_flow,
    )
    from ossicle.model.explain.plots import plot_flow
    from ossicle.model.export import load_checkpoint
    from ossicle.model.runtime import ModelError, find_model

    try:
        recordings = [read_audio(path) for path in files or [sample_path()]]
        stretches = cut_stretches(recordings, steps)
        start: list[Flow] = []
        for cell in CELL_NAMES:
            network = _new_network(cell)
            normalise_by(network, stretches)
            start.append(error_flow(cell, network, stretches))
            if cell == "rnn":
                with torch.no_grad():
                    for name, weight in network.named_parameters():
                        if name.endswith("weight_hh_l0"):
                            weight.mul_(4)
                start.append(error_flow("rnn, weights x 4", network, stretches))
        trained: list[Flow] = []
        if run is not None:
            for cell in CELL_NAMES:
                network = load_checkpoint(run / cell / "resume.ckpt")
                trained.append(error_flow(cell, network, stretches))
        folder = find_model(model)
        network = _float_network(folder)
        trained.append(error_flow(folder.name, network, stretches))
        name = f"{folder.name}, along the memory only"
        trained.append(error_flow(name, network, stretches, memory_only=True))
        clipped, unclipped = (
            descend(
                1.1, steps=_CLIP_POWER, learning_rate=_CLIP_RATE, updates=_CLIP_UPDATES, clip=clip
            )
            for clip in (1.0, None)
        )
        scalars = [scalar_flow(weight, steps) for weight in (0.9, 1.1)]
        groups = {"at initialisation": start, "after training": trained}
        plot_flow(groups, scalars, clipped, unclipped, _CLIP_POWER, output)
    except (AudioError, ModelError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    for title, flows in groups.items():
        _print_flows(title, [*flows, *scalars], steps)
    for kind, descent in (("clipped to 1", clipped), ("not clipped", unclipped)):
        _say(
            f"w from 1.1, {kind}: gradient {descent.gradients[0]:.3g}, then w = "
            f"{descent.weights[1]:.6g}; in the end w = "
            f"{descent.weights[-1]:.6g}, loss {descent.losses[-1]:.3g}"
        )
    _say(f"wrote {output}")


def _float_network(folder: Path) -> Network:
    from ossicle.model.export import WEIGHTS, load_weights

    if not (folder / WEIGHTS).is_file():
        raise fail(
            f"{folder} has no {WEIGHTS}: give a model folder that `ossicle export` made, or that "
            "of the repository, to look inside"
        )
    return load_weights(folder)


def _new_network(cell: str) -> Network:
    """As in the packaged comparison, before training."""
    import torch
    from ossicle.model.explain.comparison import CONFIG, contenders
    from ossicle.model.network import Network
    from ossicle.model.training.config import TrainingConfig

    config = TrainingConfig.load(CONFIG)
    (contender,) = (c for c in contenders(config) if c.name == cell)
    torch.manual_seed(config.seed)
    return Network(contender.config.model).eval()


def _print_flows(title: str, flows: Sequence[Flow], steps: int) -> None:
    lags = [lag for lag in _LAGS if lag <= steps]
    table = Table(title, *(f"k = {lag}" for lag in lags))
    for flow in flows:
        table.add_row(flow.name, *(_power(flow.at(lag)) for lag in lags))
    _out.print(table)


def _power(log10: float) -> str:
    """A number given by its logarithm, which may be too small or large for a number."""
    exponent = int(log10 // 1)
    if -3 <= exponent < 4:
        return f"{10**log10:.3g}"
    return f"{10 ** (log10 - exponent):.1f}e{exponent}"


@explain_app.command("gates")
def gates_command(
    file: Annotated[Path, typer.Argument(help="A recording in any common format.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A page (.html) or an image (.png). Default: the recording's name with .html.",
        ),
    ] = None,
    model: ModelOption = None,
    start: Annotated[
        float, typer.Option(min=0, help="Seconds of the recording to leave out.")
    ] = 0.0,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds to draw at most, as one utterance.")
    ] = 10.0,
    layer: Annotated[
        int | None, typer.Option(min=1, help="The one layer of the image. Default: all.")
    ] = None,
) -> None:
    """What every gate of every unit does while a recording is heard, on one axis with the words.

    Gates, candidate, memory and hidden state of each layer as heat maps under waveform, log-mel
    and words; which units keep longest what they have, and which fire when a word ends. On the
    page one picks a layer and a unit, and moves along time.

    Example: `ossicle explain gates talk.flac --start 60 -o talk.html`
    """
    need_training_packages("torch", "matplotlib")
    from ossicle.data.audio import AudioError, read_stretch
    from ossicle.model.decoding.decoders import DecodingConfig
    from ossicle.model.explain.gates import gate_tracks, trace_gates
    from ossicle.model.explain.gates_page import gates_page
    from ossicle.model.folder import LoadedModel
    from ossicle.model.pictures.figure import write_figure
    from ossicle.model.pictures.inspection import inspect_recording
    from ossicle.model.runtime import ModelError, find_model

    target = output or Path(file.stem + ".html")
    is_page = target.suffix.lower() == ".html"
    if not is_page and target.suffix.lower() != ".png":
        raise fail(f"--output is {target}; give a name that ends in .html or .png", code=2)
    if is_page and layer is not None:
        raise fail("--layer is of images: the page has all layers", code=2)
    try:
        folder = find_model(model)
        loaded, network = LoadedModel.load(folder), _float_network(folder)
        samples = read_stretch(file, start, seconds)
        if not len(samples):
            raise fail(f"{file} ends before {start:g} s; give an earlier --start", code=2)
        inspection = inspect_recording(file.name, samples, loaded, DecodingConfig())
        layers = trace_gates(network, inspection)
        if layer is not None and layer > len(layers):
            raise fail(f"--layer is {layer}: {folder.name} has {len(layers)} layers", code=2)
        if is_page:
            target.write_text(gates_page(inspection, layers), encoding="utf-8")
        else:
            tracks = gate_tracks(inspection, layers, layer)
            write_figure(tracks, inspection.seconds, inspection.name, target)
    except (AudioError, ModelError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    _print_units(layers)
    _say(f"wrote {target}")


def _print_units(layers: Sequence[Layer]) -> None:
    table = Table("layer", "keep longest: unit (ms)", "fire at word ends: unit (σ)", "by chance")
    for number, layer in enumerate(layers, 1):
        keep = "no forget gate"
        if layer.times is not None:
            keep = ", ".join(f"{u} ({layer.times[u]:.0f})" for u in layer.order[::-1][:_LISTED])
        first = (-layer.word_ends).argsort(kind="stable")[:_LISTED]
        fire = ", ".join(f"{u} ({layer.word_ends[u]:+.1f})" for u in first)
        table.add_row(str(number), keep, fire, f"{layer.chance:.1f}")
    _out.print(table)


@explain_app.command("cells")
def cells_command(
    config: Annotated[
        Path | None,
        typer.Argument(help="A training configuration; default: model/configs/cells.yaml."),
    ] = None,
    run: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("runs/cells"),
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of the processor; 0: as many as cores.")
    ] = 0,
) -> None:
    """Train every cell on the same speech with the same budget, and LSTMs of 1 to 5 layers.

    What the folder has is kept: stop it with Ctrl-C and start it again to go on. Writes cells.png,
    copying.png and their numbers, cells.json and copying.json, beside the runs. The bundled
    configuration tells which manifests to make for it.

    Example: `ossicle explain cells model/configs/cells.yaml --run runs/cells --threads 1`
    """
    need_training_packages("torch", "pytorch_lightning", "matplotlib")
    import torch
    from ossicle.data.cache import CacheError
    from ossicle.data.folder_lock import FolderInUseError
    from ossicle.data.manifest import ManifestError
    from ossicle.model.explain.comparison import CONFIG, compare
    from ossicle.model.explain.copying import CopyTask, copy_lags
    from ossicle.model.explain.plots import plot_cells, plot_copying
    from ossicle.model.training.allocator import keep_freed_memory
    from ossicle.model.training.config import TrainingConfig
    from ossicle.model.training.run import RunExistsError

    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    refused = (RunExistsError, FolderInUseError, ManifestError, CacheError, ValueError, OSError)
    try:
        training = TrainingConfig.load(config or CONFIG)
        run.mkdir(parents=True, exist_ok=True)
        results = compare(training, run, _say)
        plot_cells(results, run / "cells.png")
        copying = copy_lags(CopyTask(), run / "copying.json", _say)
        plot_copying(copying, run / "copying.png")
    except refused as error:
        raise fail(one_line(error)) from error
    except KeyboardInterrupt:
        raise fail("stopped; the same command goes on", code=130) from None
    _print_results(results)
    _print_copying(copying)
    _say(f"wrote {run / 'cells.png'} and {run / 'copying.png'}")


def _print_results(results: Sequence[Result]) -> None:
    table = Table("network", "parameters", "WER %", "95 %", "CER %", "ms a step")
    for r in results:
        table.add_row(
            r.name,
            f"{r.parameters:,}",
            f"{100 * r.wer:.1f}",
            f"{100 * r.low:.0f} to {100 * r.high:.0f}",
            f"{100 * r.cer:.1f}",
            f"{1000 * r.step_seconds:.0f}",
        )
    _out.print(table)


def _print_copying(copying: CopyResults) -> None:
    tables = {"usual start": copying.usual, "times up to the lag": copying.spread}
    lags = sorted(copying.task.lags)
    for title, rows in tables.items():
        table = Table(f"told right, %, {title}", *(str(lag) for lag in lags))
        for cell, row in rows.items():
            table.add_row(cell, *(f"{100 * row[n]:.0f}" if n in row else "-" for n in lags))
        _out.print(table)


def _say(text: str) -> None:
    _out.print(text, highlight=False, markup=False, soft_wrap=True)
