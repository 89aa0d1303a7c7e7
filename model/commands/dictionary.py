"""`ossicle dictionary`: make pronouncing dictionaries, and ask them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from ossicle.model.commands.errors import fail
from ossicle.model.commands.options import ModelOption
from rich.console import Console
from rich.markup import escape

dictionary_app = typer.Typer(
    no_args_is_help=True,
    help="Make the pronouncing dictionary of a model whose tokens are phonemes, and ask it.",
)

_out = Console()
_err = Console(stderr=True)


@dictionary_app.command("make")
def make_command(
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT",
            help="Whose words are to be pronounced: text with a sentence a line, or a manifest "
            "(.jsonl); either may be .gz or .xz.",
        ),
    ],
    cmudict: Annotated[Path, typer.Option(help="The CMU Pronouncing Dictionary, cmudict.dict.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write into, such as a model's.")
    ],
) -> None:
    """Give every word one pronunciation, and learn from them to guess those of others.

    Words that the CMU dictionary lacks are pronounced by hibari-tts (`pip install
    'ossicle[tts]'`). Writes pronunciations.txt.gz and graphones.ngram, in a few minutes.

    Example: `ossicle dictionary make books.txt train.jsonl --cmudict cmudict.dict -o models/mine`
    """
    from ossicle.data.manifest import ManifestError
    from ossicle.data.text_file import TextFileError
    from ossicle.model.ngram.file import NgramError
    from ossicle.model.ngram.text import TextSource
    from ossicle.model.pronunciation.dictionary import (
        DICTIONARY,
        GRAPHONES,
        DictionaryError,
        write_dictionary,
    )
    from ossicle.model.pronunciation.graphones import train_graphones
    from ossicle.model.pronunciation.making import make_dictionary, pronouncer, read_cmudict

    try:
        known = read_cmudict(cmudict)
        said: Counter[str] = Counter()
        for text in texts:
            for sentence in TextSource.parse(text).sentences():
                said.update(sentence.split())
        lacking = len(said.keys() - known.keys())
        _err.print(f"{len(known)} words known, {lacking} to be pronounced", highlight=False)
        made = make_dictionary(said, known, pronouncer())
        output.mkdir(parents=True, exist_ok=True)
        write_dictionary(made, said, output / DICTIONARY)
        _err.print(f"{len(made)} words; learning to guess others", highlight=False)
        train_graphones(sorted(made.items()), output / GRAPHONES)
    except (DictionaryError, ManifestError, NgramError, TextFileError) as error:
        raise fail(str(error)) from error
    except OSError as error:
        raise fail(f"cannot write into {output}: {error.strerror}") from error
    for path in (output / DICTIONARY, output / GRAPHONES):
        _out.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", highlight=False, soft_wrap=True)


@dictionary_app.command("show")
def show_command(
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="Words to pronounce.")],
    model: ModelOption = None,
) -> None:
    """Show how a model thinks that words sound; what it had to guess is marked.

    Example: `ossicle dictionary show ossicle cochlea`
    """
    from ossicle.data.text import normalize
    from ossicle.model.pronunciation.dictionary import DictionaryError, Pronunciations
    from ossicle.model.runtime import ModelError, ModelInfo, find_model

    try:
        folder = find_model(model)
        if ModelInfo.load(folder).units != "phonemes":
            raise fail(f"{folder} hears letters: it has no pronouncing dictionary", code=2)
        pronunciations = Pronunciations.load(folder)
    except (ModelError, DictionaryError) as error:
        raise fail(str(error)) from error
    spoken = normalize(" ".join(words)).split()
    if not spoken:
        raise fail(f"{' '.join(words)!r} has no word that is spoken", code=2)
    for word in spoken:
        guessed = "" if word in pronunciations else "  (guessed)"
        _out.print(f"{escape(word)}  {pronunciations.pronounce(word)}{guessed}", highlight=False)
