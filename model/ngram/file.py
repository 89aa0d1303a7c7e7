"""The file of an n-gram model, `lm.ngram`: a trie of n-grams in a few bytes each.

The n-grams lie in breadth-first order: all single words, then all pairs by their first word, then
all triples by their first two, and so on; of each one only its last word is stored, with the number
of n-grams that continue it. So the file is

- `<8sIII`: the magic `OSSNGRAM`, the format's version, the length of the header, and the CRC-32 of
  all that follows;
- the header, JSON: order, n-grams of each order, scales of the codes, lengths of the sections, and
  `about`, what the maker wants to be known of the model;
- the sections, each compressed by zlib: the words, one a line, sorted; how many n-grams continue
  each n-gram that may be continued; the last word of each n-gram of two words and more, as its rank
  by probability; an 8-bit code of each probability; an 8-bit code of the back-off weight of each
  n-gram that is continued. Whole numbers are stored byte plane by byte plane, lowest first.

Word numbers are places in the sorted list of words; after them come three that are no words:
unknown word, start and end of a sentence.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ossicle.data.replacing import replacing

VERSION = 1
SPECIAL_NUMBERS = 3
"""Numbers after those of the words: unknown word, start of a sentence, end of a sentence."""

_MAGIC = b"OSSNGRAM"
_PREAMBLE = struct.Struct("<8sIII")
_IMPOSSIBLE = 255
"""Code of probability zero: a sentence does not start twice."""


class NgramError(ValueError):
    """An n-gram model cannot be read or made; the message names the file and the remedy."""


class ProbabilityCode:
    """Natural logarithms of probabilities in 8 bits, finer where probabilities are large.

    The value of code k is lowest × (k / 254)^1.5, so that with a lowest value of −17 a probability
    of 0.9 is kept to 1 %, one of 1e-7 to 5 %.

    Attributes:
        lowest: the least logarithm that has a code; what is less is kept as that.
    """

    def __init__(self, lowest: float) -> None:
        self.lowest = min(float(lowest), -1.0)
        steps = np.arange(_IMPOSSIBLE + 1) / (_IMPOSSIBLE - 1)
        self._values = (self.lowest * steps**1.5).astype(np.float32)
        self._values[_IMPOSSIBLE] = -np.inf

    @classmethod
    def fitting(cls, log_probs: NDArray[np.float32]) -> ProbabilityCode:
        """The code with which the least of these finite values can be kept."""
        return cls(float(log_probs[np.isfinite(log_probs)].min(initial=-1.0)))

    def encode(self, log_probs: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The code of the nearest value, of any shape."""
        share = np.clip(log_probs / np.float32(self.lowest), 0, 1)
        codes = np.rint(share ** np.float32(2 / 3) * (_IMPOSSIBLE - 1)).astype(np.uint8)
        return np.where(np.isneginf(log_probs), np.uint8(_IMPOSSIBLE), codes)

    def decode(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The values of codes, of any shape."""
        return self._values[codes]


@dataclass(frozen=True)
class NgramTrie:
    """All n-grams of a back-off model, in breadth-first order.

    G is the number of n-grams, S the number of those that are continued, plus one: the empty
    n-gram, which comes first and is continued by all single words.

    Attributes:
        words: sorted.
        order: words in the longest n-grams.
        numbers: (G,) int32, the number of the last word of each n-gram.
        continuations: (G,) int32, how many n-grams continue each n-gram by one word.
        codes: (G,) uint8, by `code`, natural logarithm of the last word's probability after the
            others.
        code: of all codes.
        back_offs: (S,) float32, natural logarithm of the back-off weight after each n-gram that is
            continued; of the empty one, 0.
        about: facts that the maker wants to be known: texts, settings, perplexities.
    """

    words: tuple[str, ...]
    order: int
    numbers: NDArray[np.int32]
    continuations: NDArray[np.int32]
    codes: NDArray[np.uint8]
    code: ProbabilityCode
    back_offs: NDArray[np.float32]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> list[int]:
        """How many n-grams there are of each order from 1 on."""
        counts = [len(self.words) + SPECIAL_NUMBERS]
        start = 0
        for _ in range(1, self.order):
            counts.append(int(self.continuations[start : start + counts[-1]].sum()))
            start += counts[-2]
        return counts


def write_trie(trie: NgramTrie, path: Path) -> None:
    """Write the file, replacing an earlier one only when all of it is written.

    Raises:
        OSError: the folder cannot be written to.
    """
    content = encode_trie(trie)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def encode_trie(trie: NgramTrie) -> bytes:
    """The content of the file of a model."""
    counts = trie.counts
    ranks = np.empty(counts[0], np.int64)
    ranks[_by_rank(trie.codes[: counts[0]])] = np.arange(counts[0])
    low, step = _linear_scale(trie.back_offs)
    back_offs = np.rint((trie.back_offs - low) / step).astype(np.uint8)
    sections = [
        zlib.compress(plain, 9)
        for plain in (
            "\n".join(trie.words).encode(),
            _planes(trie.continuations[: sum(counts[:-1])]),
            _planes(ranks[trie.numbers[counts[0] :]]),
            trie.codes.tobytes(),
            back_offs.tobytes(),
        )
    ]
    header = json.dumps(
        {
            "order": trie.order,
            "counts": counts,
            "lowest_log_prob": trie.code.lowest,
            "back_off_scale": [low, step],
            "sections": [len(section) for section in sections],
            "about": trie.about,
        },
        ensure_ascii=False,
    ).encode()
    body = b"".join([header, *sections])
    return _PREAMBLE.pack(_MAGIC, VERSION, len(header), zlib.crc32(body)) + body


def is_trie(path: Path) -> bool:
    """Whether a file can be read, and begins as that of a model does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_trie(path: Path) -> NgramTrie:
    """Read the file of a model.

    Raises:
        NgramError: there is no such file, or it is no n-gram model, of another version or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NgramError(f"cannot read the language model {path}: {error.strerror}") from error
    if not content.startswith(_MAGIC):
        raise NgramError(
            f"{path} is no n-gram model of Ossicle; `ossicle lm train` makes one from text"
        )
    damaged = NgramError(f"{path} is damaged: copy it again, or make it anew: ossicle lm train")
    if len(content) < _PREAMBLE.size:
        raise damaged
    _, version, header_length, checksum = _PREAMBLE.unpack_from(content)
    if version != VERSION:
        raise NgramError(
            f"{path} has version {version} of the format, this Ossicle reads {VERSION}: "
            "make it anew with `ossicle lm train`, or install the Ossicle it was made with"
        )
    body = memoryview(content)[_PREAMBLE.size :]
    if zlib.crc32(body) != checksum:
        raise damaged
    header = json.loads(bytes(body[:header_length]))
    plain = []
    start = header_length
    for length in header["sections"]:
        plain.append(zlib.decompress(body[start : start + length]))
        start += length
    words, continuations, ranks, codes, back_offs = plain
    counts = header["counts"]
    total = sum(counts)
    log_prob_codes = np.frombuffer(codes, np.uint8)
    numbers = np.empty(total, np.int32)
    numbers[: counts[0]] = np.arange(counts[0])
    by_rank = _by_rank(log_prob_codes[: counts[0]]).astype(np.int32)
    numbers[counts[0] :] = by_rank[_from_planes(ranks, total - counts[0])]
    continued = np.zeros(total, np.int32)
    continued[: total - counts[-1]] = _from_planes(continuations, total - counts[-1])
    low, step = header["back_off_scale"]
    return NgramTrie(
        words=tuple(words.decode().split("\n")) if words else (),
        order=header["order"],
        numbers=numbers,
        continuations=continued,
        codes=log_prob_codes,
        code=ProbabilityCode(header["lowest_log_prob"]),
        back_offs=np.frombuffer(back_offs, np.uint8) * np.float32(step) + np.float32(low),
        about=header["about"],
    )


def _by_rank(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Word numbers from the most probable on: small ranks compress best."""
    return np.argsort(codes, kind="stable")


def _linear_scale(values: NDArray[np.float32]) -> tuple[float, float]:
    """Lowest value and step of 256 levels, 0 being one of them: (low, step)."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    step = max((high - low) / 254, 1e-6)
    return -step * np.ceil(-low / step).item(), step


def _planes(values: NDArray[Any]) -> bytes:
    """Whole numbers below 2^32 as their lowest bytes, then their second bytes, and so on."""
    return values.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def _from_planes(content: bytes, size: int) -> NDArray[np.int32]:
    planes = np.frombuffer(content, np.uint8).reshape(4, size)
    values: NDArray[np.int32] = planes[0].astype(np.int32)
    for place in range(1, 4):
        if planes[place].any():
            values |= planes[place].astype(np.int32) << (8 * place)
    return values
