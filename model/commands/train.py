"""The commands `train` and `export`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.data.signals import heeded
from ossicle.model.commands.errors import fail, need_training_packages, one_line
from rich.console import Console

if TYPE_CHECKING:
    from ossicle.model.network import Network

_out = Console()


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
    """Train an acoustic model, or a language model, from a configuration file.

    Checkpoints, curves and the facts of the run are kept in its folder. Stop it with Ctrl-C and
    go on later with --resume: the curve continues where the last checkpoint was.

    Example: `ossicle train model/configs/tiny.yaml --run runs/tiny`
    """
    need_training_packages("torch", "pytorch_lightning", "onnx")
    import torch
    from ossicle.data.cache import CacheError
    from ossicle.data.folder_lock import FolderInUseError
    from ossicle.data.manifest import ManifestError
    from ossicle.model.lstm_lm.config import LanguageTrainingConfig, is_language_model
    from ossicle.model.lstm_lm.train import train_language_model
    from ossicle.model.training.allocator import keep_freed_memory
    from ossicle.model.training.config import TrainingConfig
    from ossicle.model.training.interruption import Terminated
    from ossicle.model.training.run import RunExistsError, is_first
    from ossicle.model.training.train import train

    is_language = is_language_model(config)
    if is_language and devices > 1:
        raise fail(f"--devices {devices}: a language model trains on one", code=2)
    if accelerator not in ("auto", "cpu", "gpu"):
        raise fail(f"--accelerator is {accelerator!r}: use auto, cpu or gpu", code=2)
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise fail("--accelerator gpu, but torch sees no GPU: use cpu or auto", code=2)
    there = torch.cuda.device_count()
    if devices > there > 0 and accelerator != "cpu":
        raise fail(f"--devices {devices}: torch sees {there}", code=2)
    if accelerator == "auto":
        # Lightning would take Apple's GPU too, for which torch has no CTC loss.
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    if threads:
        torch.set_num_threads(threads)
    if accelerator == "cpu":
        keep_freed_memory()
    folder = run or Path("runs") / config.stem
    refused = (RunExistsError, FolderInUseError, ManifestError, CacheError, ValueError, OSError)

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        # Until training itself heeds it: before the first step recordings are decoded.
        with heeded(("SIGTERM",), end):
            if is_language:
                language = LanguageTrainingConfig.load(config)
                train_language_model(language, folder, resume=resume, accelerator=accelerator)
            else:
                train(
                    TrainingConfig.load(config),
                    folder,
                    resume=resume,
                    accelerator=accelerator,
                    devices=devices,
                )
    except refused as error:
        raise fail(one_line(error)) from error
    except torch.OutOfMemoryError as error:
        raise fail(f"no room for a batch: lower data.batch_seconds ({one_line(error)})") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise fail(f"a process that makes batches has died: out of memory? ({error})") from error
    except KeyboardInterrupt as stop:
        code = 143 if isinstance(stop, Terminated) else 130
        if (folder / "resume.ckpt").exists():
            raise fail(f"stopped; go on with --resume --run {folder}", code=code) from None
        raise fail("stopped before the first checkpoint", code=code) from None
    if is_first():
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
    average_with: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint or weights that this training began from: export a mean of both."
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Share of --average-with in the mean.", show_default="0.5"
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(help="Recording for the parity check; default: the bundled sample."),
    ] = None,
) -> None:
    """Make a model folder for serving, and check that it computes what training computed.

    Of a language model's checkpoint, lm.lstm.onnx is made in FOLDER, to rescore what the acoustic
    model there has heard; NAME and AUDIO are an acoustic model's.

    Example: `ossicle export runs/tiny/best.ckpt models/tiny`
    """
    need_training_packages("torch", "pytorch_lightning", "onnx")
    from ossicle.data.audio import AudioError, read_audio
    from ossicle.data.sample import sample_path
    from ossicle.model.export import (
        FLOAT_TOLERANCE,
        WEIGHTS,
        average,
        check_parity,
        copy_record,
        export,
        load_checkpoint,
        load_weights,
    )
    from ossicle.model.lstm_lm.export import is_language_checkpoint
    from ossicle.model.pronunciation.dictionary import copy_dictionary
    from ossicle.model.runtime import INT8_CELLS, ModelError

    def load(path: Path) -> Network:
        if not path.is_file():
            raise fail(f"there is no checkpoint {path}", code=2)
        if path.suffix != ".safetensors":
            return load_checkpoint(path)
        if path.name != WEIGHTS:
            raise fail(f"{path} is not a model folder's {WEIGHTS}", code=2)
        return load_weights(path.parent)

    if is_language_checkpoint(checkpoint):
        if name or audio or average_with or share is not None:
            raise fail(
                f"{checkpoint} is of a language model: leave out --name, --audio, --average-with "
                "and --share",
                code=2,
            )
        _export_language_model(checkpoint, folder)
        return
    if share is not None and average_with is None:
        raise fail(f"--share {share:g} is of no use without --average-with", code=2)
    try:
        samples = read_audio(audio or sample_path())
        network = load(checkpoint)
        if average_with is not None:
            average(network, load(average_with), 0.5 if share is None else share)
        if network.config.units == "phonemes":
            copy_dictionary(checkpoint.parent, folder)
        export(network, folder, name=name)
        copy_record(checkpoint.parent, folder)
        exact = check_parity(network, folder, "float", samples[None])
        _out.print(str(exact), highlight=False)
        cell = network.config.network.recurrence.cell
        if cell in INT8_CELLS:
            _out.print(str(check_parity(network, folder, "int8", samples[None])), highlight=False)
        else:
            _out.print(f"no int8: {cell} cells have none, float is served", highlight=False)
    except (AudioError, ModelError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    if exact.log_probs > FLOAT_TOLERANCE:
        raise fail(
            f"the exported graph differs from the network by {exact.log_probs:.2e}, "
            f"more than {FLOAT_TOLERANCE:.0e}: do not use {folder}"
        )
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        _out.print(f"  {path.stat().st_size / 1e6:7.2f} MB  {path.name}", highlight=False)


def _export_language_model(checkpoint: Path, folder: Path) -> None:
    from ossicle.model.lstm_lm.export import (
        TOLERANCE,
        check_language_parity,
        export_language_model,
        load_language_checkpoint,
        training_record,
    )
    from ossicle.model.runtime import ModelError

    try:
        network, units = load_language_checkpoint(checkpoint)
        path = export_language_model(network, units, folder, training_record(checkpoint.parent))
        parity = check_language_parity(network, units, folder)
    except (ModelError, ValueError, OSError) as error:
        raise fail(one_line(error)) from error
    _out.print(str(parity), highlight=False, soft_wrap=True)
    if parity.difference > TOLERANCE:
        raise fail(f"that is more than {TOLERANCE} nats a unit: do not use {path}")
