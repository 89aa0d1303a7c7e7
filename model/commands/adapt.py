"""The command `adapt`, mounted into `ossicle` by `service/cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from ossicle.model.commands.errors import fail, one_line
from ossicle.model.commands.lm import TEXTS, ExcludeOption
from ossicle.model.commands.options import ModelOption
from rich.console import Console
from rich.markup import escape

_out = Console()
_err = Console(stderr=True)

_SHOWN = 8
"""New words that are shown with their sounds; `ossicle dictionary show` tells those of others."""


def adapt_command(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help=TEXTS)],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Model folder to make, by whose name the model is called.",
        ),
    ],
    model: ModelOption = None,
    share: Annotated[
        float,
        typer.Option(help="How much the texts count, between 0 and 1, beside what was known."),
    ] = 0.5,
    size: Annotated[
        float | None,
        typer.Option(
            metavar="MB",
            help="Megabytes of the language model at most. Default: 1 more than before.",
        ),
    ] = None,
    exclude: ExcludeOption = None,
) -> None:
    """Make a model that knows the words of a field, from another model and texts of the field.

    Half a minute; needs neither speech nor torch. Of the model, only the language model changes.

    Example: `ossicle adapt contracts.txt judgements.txt -o models/law`
    """
    from ossicle.data.manifest import ManifestError
    from ossicle.data.signals import stoppable
    from ossicle.data.text_file import TextFileError
    from ossicle.model.adaptation import adapt
    from ossicle.model.ngram.text import TextSource
    from ossicle.model.runtime import ModelError, find_model

    try:
        with stoppable(f"{output} is not written", fail):
            new = adapt(
                find_model(model),
                [TextSource.parse(text) for text in texts],
                output,
                share=share,
                megabytes=size,
                exclude=[TextSource.parse(text) for text in exclude or []],
                report=lambda line: _err.print(escape(line), highlight=False, soft_wrap=True),
            )
    except OSError as error:
        raise fail(f"cannot make {output}: {one_line(error)}") from error
    except (ModelError, ManifestError, TextFileError, ValueError) as error:
        raise fail(one_line(error)) from error
    words = f"{len(new)} word{'' if len(new) == 1 else 's'} not known before"
    _say(f"{output}: {words}{_sounds(output, new)}")
    quote = '"' if " " in str(output) else ""
    _say(f"next: ossicle transcribe FILE --model {quote}{output}{quote}")


def _say(line: str) -> None:
    _out.print(line, highlight=False, markup=False, soft_wrap=True)


def _sounds(folder: Path, words: list[str]) -> str:
    """How the likeliest new words of a model of phonemes are thought to sound."""
    from ossicle.model.pronunciation.dictionary import Pronunciations
    from ossicle.model.runtime import ModelInfo

    if not words or ModelInfo.load(folder).units != "phonemes":
        return ""
    pronunciations = Pronunciations.load(folder)
    shown = [
        f"{word} ({pronunciations.pronounce(word)}{'' if word in pronunciations else ', guessed'})"
        for word in words[:_SHOWN]
    ]
    return f": {', '.join(shown)}{' …' if words[_SHOWN:] else ''}"
