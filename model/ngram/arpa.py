"""Back-off models of other tools, read from the ARPA format.

The format is text: after `\\data\\` the number of n-grams of each order, then for each order a line
an n-gram, with log10 of its probability, its words, and log10 of its back-off weight
(ngram-format(5) of the SRI Language Modeling Toolkit).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ossicle.data.text import normalize
from ossicle.data.text_file import read_lines
from ossicle.model.ngram.back_off import BOS, EOS, BackOffModel, BackOffNgrams
from ossicle.model.ngram.file import NgramError

_SECTION = re.compile(r"\\(\d+)-grams:")


def read_arpa(path: Path) -> BackOffModel:
    """The model of a file, `.gz` and `.xz` packed.

    Its words are in lower case. N-grams with words that are not in normal form, such as `<unk>` and
    "3rd", are left out.

    Raises:
        TextFileError: it cannot be read.
        NgramError: it is not in the ARPA format, or has no words in normal form.
    """
    known: dict[str, int] = {BOS: 0, EOS: 1}
    lines = enumerate(read_lines(path), start=1)
    if not any(line.strip() == "\\data\\" for _, line in lines):
        raise NgramError(
            f"{path} is neither a language model of `ossicle lm train` nor one in the ARPA format: "
            "it has no line \\data\\"
        )
    orders: list[BackOffNgrams] = []
    ended = False
    for place, line in lines:
        if ended := line.strip() == "\\end\\":
            break
        if section := _SECTION.fullmatch(line.strip()):
            if int(section[1]) != len(orders) + 1:
                raise NgramError(f"{path}, line {place}: {len(orders) + 1}-grams should come next")
            orders.append(_read_order(path, lines, len(orders) + 1, known))
    if not ended:
        raise NgramError(f"{path} is cut off: it has no line \\end\\")
    if len(known) <= 2:
        raise NgramError(f"{path} has no words in normal form: a to z and apostrophes")
    return BackOffModel(path, path.name, tuple(known), tuple(orders))


def _read_order(
    path: Path, lines: Iterator[tuple[int, str]], n: int, known: dict[str, int]
) -> BackOffNgrams:
    """The n-grams up to the next empty line; new words of order 1 are added to `known`."""
    words: list[list[int]] = []
    numbers: list[tuple[float, float]] = []
    for place, line in lines:
        fields = line.split()
        if not fields:
            break
        try:
            log_prob, back_off = float(fields[0]), float(fields[n + 1]) if fields[n + 1 :] else 0.0
        except ValueError:
            fields = []
        else:
            if math.isnan(log_prob) or math.isnan(back_off):
                fields = []
        if not n + 1 <= len(fields) <= n + 2:
            raise NgramError(
                f"{path}, line {place}: {line.strip()[:60]!r} is not a number, {n} words and "
                "perhaps one more number"
            )
        spelled = [field.lower() for field in fields[1 : n + 1]]
        if n == 1 and spelled[0] not in known and normalize(spelled[0]) == spelled[0]:
            known[spelled[0]] = len(known)
        if all(word in known for word in spelled):
            words.append([known[word] for word in spelled])
            numbers.append((log_prob, back_off))
    factors = 10 ** np.array(numbers, np.float64).reshape(-1, 2)
    # "The" and "the" are one word here, as likely as both; the likelier says what follows.
    numbered = np.array(words, np.int32).reshape(-1, n)
    ngrams, places = np.unique(numbered, axis=0, return_inverse=True)
    places = places.ravel()  # numpy 2.0 gives it the shape of what it numbers
    order = np.argsort(factors[:, 0], kind="stable")
    back_offs = np.ones(len(ngrams))
    back_offs[places[order]] = factors[order, 1]
    probabilities = np.bincount(places, factors[:, 0], len(ngrams))
    return BackOffNgrams(
        ngrams, np.minimum(probabilities, 1).astype(np.float32), back_offs.astype(np.float32)
    )
