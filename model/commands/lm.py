"""`ossicle lm`: make word n-gram language models from text, and judge them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from ossicle.model.commands.errors import fail
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

lm_app = typer.Typer(
    no_args_is_help=True,
    help="Make word n-gram language models from text, and judge them by text. An LSTM language "
    "model is made by train and export.",
)

_out = Console()
_err = Console(stderr=True)

TEXTS = (
    "Text with a sentence a line, or a manifest (.jsonl); either may be .gz or .xz. "
    "MANIFEST:SOURCE,SOURCE takes utterances of these sources only."
)
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Learn no sentence of 6 words or more that is in this text, and none that shares "
        "8 words in a row with it; may be repeated.",
    ),
]
_MODEL = "A language model, lm.ngram, or the name or the folder of a model that has one."


@lm_app.command("train")
def train_command(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help=TEXTS)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write, or model folder to write lm.ngram in."),
    ],
    order: Annotated[int, typer.Option(help="Words in the longest n-grams, 2 to 6.")] = 4,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            help="Words to know at most. Default: 60000, and as many as the MODELs know.",
        ),
    ] = None,
    size: Annotated[
        float | None,
        typer.Option(
            metavar="MB", help="Megabytes at most: prune what matters least. Default: keep all."
        ),
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(
            help="How much a TEXT counts; once for each, in their order, then LISTs, then MODELs."
        ),
    ] = None,
    words: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LIST",
            help="Words that the texts lack or hardly have: a word, a space and how often it is "
            "said, relative to the others, a line; may be repeated.",
        ),
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="A language model to mix in, as one more TEXT: that of a model by its name or "
            "folder, a file of lm train, or one of another tool in the ARPA format, which may be "
            ".gz or .xz; may be repeated.",
        ),
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Choose the weights by this text, and report its perplexity; may be repeated.",
        ),
    ] = None,
    exclude: ExcludeOption = None,
    repeats: Annotated[
        int, typer.Option(help="Count an identical sentence of a text at most so many times.")
    ] = 3,
) -> None:
    """Make the word n-gram model that a beam search asks, `lm.ngram` in a model folder.

    Each TEXT is smoothed on its own and all are mixed: by the weights given, else as the
    validation texts are predicted best, else by their lengths. What the model was made from is
    stored in it.

    Example: `ossicle lm train law.txt --mix ossicle-small-en --validation dev.jsonl -o lm.ngram`
    """
    from ossicle.data.manifest import ManifestError
    from ossicle.data.signals import stoppable
    from ossicle.data.text_file import TextFileError
    from ossicle.model.decoding.decoders import LANGUAGE_MODEL
    from ossicle.model.ngram.file import NgramError, write_trie
    from ossicle.model.ngram.text import TextSource, WordList
    from ossicle.model.ngram.training import NgramTrainingConfig, train_ngrams

    if output.is_dir():
        output /= LANGUAGE_MODEL
    try:
        with stoppable(f"{output} is not written", fail):
            trie = train_ngrams(
                [TextSource.parse(text) for text in texts],
                NgramTrainingConfig(
                    order, vocabulary, size, repeats, tuple(weight) if weight else None
                ),
                word_lists=[WordList(path) for path in words or []],
                others=[_model_file(model) for model in mix or []],
                validation=[TextSource.parse(text) for text in validation or []],
                exclude=[TextSource.parse(text) for text in exclude or []],
                report=lambda line: _err.print(escape(line), highlight=False, soft_wrap=True),
            )
            write_trie(trie, output)
    except (NgramError, ManifestError, TextFileError) as error:
        raise fail(str(error)) from error
    except OSError as error:
        raise fail(f"cannot write {output}: {error.strerror}") from error
    _out.print(
        f"{output}: {output.stat().st_size / 1e6:.2f} MB, {len(trie.words)} words, "
        f"{sum(trie.counts)} n-grams",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@lm_app.command("score")
def score_command(
    model: Annotated[str, typer.Argument(help=_MODEL)],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help=TEXTS)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Judge a model by texts: perplexity, and the share of words that it does not know.

    The perplexity is per word and end of sentence. That of all words lets an unknown word have the
    probability of being any unknown word; that of known words leaves unknown ones out.

    Example: `ossicle lm score models/tiny dev.jsonl`
    """
    from ossicle.data.manifest import ManifestError
    from ossicle.data.text_file import TextFileError
    from ossicle.model.ngram.model import NgramError, NgramModel
    from ossicle.model.ngram.perplexity import perplexity
    from ossicle.model.ngram.text import TextSource

    try:
        loaded = NgramModel.load(_model_file(model))
        sources = [TextSource.parse(text) for text in texts]
        results = [perplexity(loaded, source.sentences()) for source in sources]
    except (NgramError, ManifestError, TextFileError) as error:
        raise fail(str(error)) from error
    if as_json:
        numbers = {
            text: {
                "sentences": result.sentences,
                "words": result.words,
                "unknown_words": result.unknown,
                "perplexity": round(result.value, 3),
                "perplexity_of_known_words": round(result.of_known_words, 3),
            }
            for text, result in zip(texts, results, strict=True)
        }
        print(json.dumps(numbers, indent=2))
        return
    table = Table(
        Column("text", overflow="fold"),
        "sentences",
        "words",
        "unknown %",
        "perplexity",
        "of known words",
    )
    # Names of files without their folders, which would leave the numbers no room.
    for source, result in zip(sources, results, strict=True):
        table.add_row(
            escape(str(source)),
            str(result.sentences),
            str(result.words),
            f"{100 * result.unknown_share:.2f}",
            f"{result.value:.1f}",
            f"{result.of_known_words:.1f}",
        )
    _out.print(table)


@lm_app.command("show")
def show_command(
    model: Annotated[str, typer.Argument(help=_MODEL)],
) -> None:
    """Print what a model consists of and what it was made from, as JSON.

    Example: `ossicle lm show models/tiny`
    """
    from ossicle.model.ngram.file import NgramError, read_trie

    try:
        trie = read_trie(_model_file(model))
    except NgramError as error:
        raise fail(str(error)) from error
    facts = {"order": trie.order, "words": len(trie.words), "ngrams": trie.counts, **trie.about}
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def _model_file(name: str) -> Path:
    """The file of a language model, given by itself or by the model that has it.

    Raises:
        NgramError: there is none.
    """
    from ossicle.model.decoding.decoders import LANGUAGE_MODEL
    from ossicle.model.ngram.file import NgramError
    from ossicle.model.runtime import ModelError, find_model

    path = Path(name)
    if path.is_file():
        return path
    try:
        folder = path if path.is_dir() else find_model(name)
    except ModelError as error:
        raise NgramError(f"{error}, and so does the file of a language model") from error
    if not (folder / LANGUAGE_MODEL).is_file():
        raise NgramError(f"{folder} has no language model; `ossicle lm train` makes one from text")
    return folder / LANGUAGE_MODEL
