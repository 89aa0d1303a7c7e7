"""The command ``ossicle inspect``: a picture of what a model makes of a recording."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.model.commands.options import ModelOption
from ossicle.service.commands.options import USAGE, SearchOptions, with_search
from ossicle.service.commands.output import errors_in_one_line, fail

if TYPE_CHECKING:
    from ossicle.data.audio import Samples
    from ossicle.model.decoding.decoders import DecodingConfig
    from ossicle.model.folder import LoadedModel

PAGE, IMAGE = ".html", ".png"


@with_search
def inspect_command(
    file: Annotated[Path, typer.Argument(help="A recording in any common format.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A page (.html) or an image (.png, which needs the extra train). "
            "Default: the recording's name with .html, here.",
        ),
    ] = None,
    model: ModelOption = None,
    start: Annotated[
        float, typer.Option(min=0, max=1e6, help="Seconds of the recording to leave out.")
    ] = 0.0,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=120, help="Seconds to draw at most, as one utterance.")
    ] = 30.0,
    *,
    search: SearchOptions,
) -> None:
    """Draw waveform, log-mel, token probabilities and words of a recording on one time axis.

    The page plays the recording; it is one file that needs nothing but a browser. Example:
    `ossicle inspect talk.flac --start 60 --seconds 15 -o talk.png`
    """
    from ossicle.data.audio import AudioError, read_stretch
    from ossicle.model.folder import LoadedModel
    from ossicle.model.runtime import ModelError, find_model

    target = output or Path(file.stem + PAGE)
    if target.suffix.lower() not in (PAGE, IMAGE):
        fail(f"--output is {target}; give a name that ends in {PAGE} or {IMAGE}", USAGE)
    if target.suffix.lower() == IMAGE and find_spec("matplotlib") is None:
        fail(f"an image needs matplotlib: pip install 'ossicle[train]', or give a {PAGE}", USAGE)
    with errors_in_one_line(ModelError, OSError):
        loaded = LoadedModel.load(find_model(model))
        try:
            samples = read_stretch(file, start, seconds)
        except AudioError as error:
            fail(f"{file}: {error}")
        if not len(samples):
            fail(f"{file} ends before {start:g} s; give an earlier --start", USAGE)
        _draw(file.name, samples, loaded, search.decoding(loaded.decoding), target)
    print(f"written: {target}")


def _draw(
    name: str, samples: Samples, loaded: LoadedModel, config: DecodingConfig, target: Path
) -> None:
    from ossicle.model.pictures.inspection import inspect_recording, inspection_page

    inspection = inspect_recording(name, samples, loaded, config)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix.lower() == PAGE:
        target.write_text(inspection_page(inspection), encoding="utf-8")
        return
    from ossicle.model.pictures.figure import write_figure

    write_figure(inspection.tracks(), inspection.seconds, inspection.name, target)
