"""The commands `train`, `export` and `evaluate`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

_out = Console()
_err = Console(stderr=True)


def fail(message: str, code: int = 1) -> typer.Exit:
    """Print an error and return the exception that ends the command."""
    _err.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def _need_training_packages() -> None:
    missing = [name for name in ("torch", "pytorch_lightning", "onnx") if find_spec(name) is None]
    if missing:
        raise fail(f"this command needs {', '.join(missing)}: pip install 'ossicle[train]'", code=2)


def train_command(
    config: Annotated[Path, typer.Argument(help="YAML file; see model/configs/.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the run. Default: runs/NAME of the config file."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in that folder.")
    ] = False,
    accelerator: Annotated[
        str, typer.Option(help="auto, cpu or gpu: auto takes a GPU if there is one.")
    ] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many GPUs (DDP when several).")] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of the processor; 0: as many as cores.")
    ] = 0,
) -> None:
    """Train a model from a configuration file.

    Checkpoints, curves and the facts of the run are kept in its folder. Stop it with Ctrl-C and
    go on later with --resume: the curve continues where the last checkpoint was.
    """
    _need_training_packages()
    import torch
    from ossicle.data.cache import CacheError
    from ossicle.data.manifest import ManifestError
    from ossicle.model.train import RunExistsError, train
    from ossicle.model.training_config import TrainingConfig

    if accelerator not in ("auto", "cpu", "gpu"):
        raise fail(f"--accelerator is {accelerator!r}: use auto, cpu or gpu", code=2)
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise fail("--accelerator gpu, but torch sees no GPU: use cpu or auto", code=2)
    if threads:
        torch.set_num_threads(threads)
    folder = run or Path("runs") / config.stem
    try:
        train(
            TrainingConfig.load(config),
            folder,
            resume=resume,
            accelerator=accelerator,
            devices=devices,
        )
    except (RunExistsError, ManifestError, CacheError, ValueError, OSError) as error:
        raise fail(str(error)) from error
    except KeyboardInterrupt:
        if (folder / "resume.ckpt").exists():
            raise fail(f"stopped; go on with --resume --run {folder}", code=130) from None
        raise fail("stopped before the first checkpoint", code=130) from None
    _out.print(
        f"done; next: ossicle export {folder / 'resume.ckpt'} FOLDER",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def export_command(
    checkpoint: Annotated[
        Path, typer.Argument(help="A run's checkpoint (.ckpt) or a model folder's weights.")
    ],
    folder: Annotated[Path, typer.Argument(help="The model folder to write.")],
    name: Annotated[
        str | None,
        typer.Option(help="The model's name; default: as configured."),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(help="Recording for the parity check; default: the bundled sample."),
    ] = None,
) -> None:
    """Make a model folder for serving, and check that it computes what training computed."""
    _need_training_packages()
    from ossicle.data.audio import AudioError, read_audio
    from ossicle.data.sample import sample_path
    from ossicle.model.export import (
        FLOAT_TOLERANCE,
        WEIGHTS,
        check_parity,
        copy_record,
        export,
        load_checkpoint,
        load_weights,
    )
    from ossicle.model.runtime import ModelError

    try:
        samples = read_audio(audio or sample_path())
        if not checkpoint.is_file():
            raise fail(f"there is no checkpoint {checkpoint}", code=2)
        if checkpoint.suffix == ".safetensors":
            if checkpoint.name != WEIGHTS:
                raise fail(f"{checkpoint} is not a model folder's {WEIGHTS}", code=2)
            network = load_weights(checkpoint.parent)
        else:
            network = load_checkpoint(checkpoint)
        export(network, folder, name=name)
        copy_record(checkpoint.parent, folder)
        exact = check_parity(network, folder, "float", samples[None])
        _out.print(str(exact), highlight=False)
        _out.print(str(check_parity(network, folder, "int8", samples[None])), highlight=False)
    except (AudioError, ModelError, ValueError, OSError) as error:
        raise fail(str(error)) from error
    if exact.log_probs > FLOAT_TOLERANCE:
        raise fail(
            f"the exported graph differs from the network by {exact.log_probs:.2e}, "
            f"more than {FLOAT_TOLERANCE:.0e}: do not use {folder}"
        )
    for path in sorted(folder.iterdir()):
        _out.print(f"  {path.stat().st_size / 1e6:7.2f} MB  {path.name}", highlight=False)


def evaluate_command(
    manifests: Annotated[list[Path], typer.Argument(help="JSONL manifests with references.")],
    model: Annotated[
        str | None,
        typer.Option(envvar="OSSICLE_MODEL", help="Name or folder of the model."),
    ] = None,
    precision: Annotated[str, typer.Option(help="int8 or float.")] = "int8",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all scores and transcripts as JSON.")
    ] = False,
) -> None:
    """Measure error rates on manifests: WER, CER, kinds of errors, per set and per source."""
    from ossicle.data.audio import AudioError
    from ossicle.data.manifest import ManifestError, read_manifest
    from ossicle.model.evaluation import Evaluation, Recognized, Score, score, score_by
    from ossicle.model.runtime import AcousticModel, ModelError, find_model

    if precision not in ("int8", "float"):
        raise fail(f"--precision is {precision!r}: use int8 or float", code=2)
    scores: dict[str, Score] = {}
    heard: dict[str, list[Recognized]] = {}
    try:
        evaluation = Evaluation(
            AcousticModel.load(
                find_model(model), "int8" if precision == "int8" else "float", threads=threads
            )
        )
        stems = [manifest.stem for manifest in manifests]
        for manifest in manifests:
            name = manifest.stem if stems.count(manifest.stem) == 1 else str(manifest)
            utterances = read_manifest(manifest)
            recognized = list(
                track(
                    evaluation.recognize(utterances),
                    escape(name),
                    total=len(utterances),
                    console=_err,
                    transient=True,
                    disable=not sys.stderr.isatty(),
                )
            )
            heard[name] = recognized
            scores[name] = score(recognized)
            sources = score_by(recognized, lambda r: r.utterance.source)
            if len(sources) > 1:
                scores |= {f"{name}: {source}": s for source, s in sources.items()}
    except (AudioError, ManifestError, ModelError, ValueError, OSError) as error:
        raise fail(str(error)) from error
    speed = evaluation.audio_seconds / evaluation.model_seconds
    if as_json:
        result = {
            "model": evaluation.model.info.name,
            "precision": precision,
            "times_real_time": round(speed, 1),
            "threads": threads,
            "scores": {name: s.to_dict() for name, s in scores.items()},
            "transcripts": {
                name: [
                    {
                        "audio_filepath": str(r.utterance.audio_filepath),
                        "reference": r.reference,
                        "hypothesis": r.hypothesis,
                    }
                    for r in items
                ]
                for name, items in heard.items()
            },
        }
        print(json.dumps(result, indent=2))
        return
    table = Table("set", "utterances", "words", "WER %", "95 %", "CER %", "sub", "del", "ins")
    for name, s in scores.items():
        table.add_row(
            escape(name),
            str(s.utterances),
            str(s.words),
            f"{100 * s.wer:.1f}",
            f"{100 * s.wer_low:.1f} to {100 * s.wer_high:.1f}",
            f"{100 * s.cer:.1f}",
            str(s.substitutions),
            str(s.deletions),
            str(s.insertions),
        )
    _out.print(table)
    _out.print(
        f"{evaluation.model.info.name} {precision}: {speed:.0f} times real time on {threads} "
        f"thread(s), batches of recordings, decoding of audio files not counted",
        highlight=False,
        markup=False,
    )
