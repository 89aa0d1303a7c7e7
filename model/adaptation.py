"""A model that knows the words of a field: another one with texts mixed into its language model.

The network stays as it is, and nothing is trained but the n-gram model: it takes half a minute.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ossicle.model.decoding.decoders import LANGUAGE_MODEL
from ossicle.model.folder import served_files
from ossicle.model.ngram.file import read_trie, write_trie
from ossicle.model.ngram.text import TextSource
from ossicle.model.ngram.training import NgramTrainingConfig, train_ngrams
from ossicle.model.pronunciation.dictionary import Pronunciations
from ossicle.model.runtime import ModelError, ModelInfo

_FEW_WORDS = 1000
"""Texts of fewer predict little, and what they count is taken from what the model knew."""


def adapt(
    model: Path,
    texts: Sequence[TextSource],
    folder: Path,
    *,
    share: float = 0.5,
    megabytes: float | None = None,
    exclude: Sequence[TextSource] = (),
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Make a model folder, named as it is called, from another model and texts of a field.

    It has what serving needs of the other, not its float graph or weights.

    Args:
        model: the other model's folder.
        texts: of the field; each has as much of the share.
        folder: is made, whole or not at all; must not be there.
        share: how much the texts count, between 0 and 1; the rest is left to what the model knew. A
            text counts more in histories that it knows better, whatever its share.
        megabytes: of the language model at most; None: one more than before.
        exclude: texts of which no sentence may be learnt, such as those to judge by.
        report: called with a line on each step.

    Returns:
        The words that the model did not know, the likeliest first.

    Raises:
        ModelError: the model has no language model, or a file of it is missing or damaged.
        NgramError, DictionaryError, TextFileError, ManifestError: a text, the language model or the
            pronouncing dictionary cannot be read.
        ValueError: the share is none, the folder is there already, or is called like the model.
        OSError: the folder cannot be written.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the texts is {share}: give more than 0 and less than 1")
    folder = folder.absolute()
    _check_folder(folder)
    info = ModelInfo.load(model)
    if folder.name == info.name:
        raise ValueError(
            f"a server could not tell {folder} from the model that it is made from: "
            f"call it otherwise than {info.name}"
        )
    if info.units == "phonemes":
        Pronunciations.load(model)
    files = [path for path in served_files(model) if path.is_file()]
    before = model / LANGUAGE_MODEL
    if before not in files:
        raise ModelError(f"{model} has no language model; `ossicle lm train` makes one from text")
    known = read_trie(before)
    config = NgramTrainingConfig(
        order=known.order,
        size=before.stat().st_size / 1e6 + 1 if megabytes is None else megabytes,
        weights=(*[share / len(texts)] * len(texts), 1 - share),
    )
    trie = train_ngrams(texts, config, others=[before], exclude=exclude, report=report)
    words = sum(text["words"] for text in trie.about["texts"])
    if words < _FEW_WORDS:
        report(
            f"{words} words are few for {share:g} of what is said: give more text, or a smaller "
            "share; for a name or two, phrases of a request do without"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
    ) as made:
        part = Path(made) / folder.name
        part.mkdir()
        for path in files:
            shutil.copyfile(path, part / path.name)
        _rename(part / "config.json", folder.name)
        write_trie(trie, part / LANGUAGE_MODEL)
        part.rename(folder)
    new = np.flatnonzero(~np.isin(trie.words, known.words))
    # The likelier, the lower its code.
    return [trie.words[place] for place in new[np.argsort(trie.codes[new], kind="stable")]]


def _check_folder(folder: Path) -> None:
    """Find out before the work, not after it, that a folder cannot be made."""
    if os.path.lexists(folder):
        raise ValueError(f"{folder} is there already: name another folder, or remove it")
    above = next(parent for parent in folder.parents if parent.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if not os.access(above, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))


def _rename(config: Path, name: str) -> None:
    """Give a model the name that requests will choose it by."""
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(
        json.dumps({**values, "name": name}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
