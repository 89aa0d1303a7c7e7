"""Language models of CMU Sphinx in the ARPA format, for that of the shipped model.

    pip download --no-deps pocketsphinx==5.1.1 SpeechRecognition==3.10.4
    unzip pocketsphinx-*.whl -d sphinx && unzip SpeechRecognition-*.whl -d sphinx
    cd sphinx && S=../model/configs/sphinx_arpa.py
    python $S pocketsphinx/model/en-us/en-us.lm.bin one.arpa
    python $S speech_recognition/pocketsphinx-data/en-US/language-model.lm.bin two.arpa
    ossicle lm train … --mix sphinx/one.arpa --mix sphinx/two.arpa -o lm.ngram

Both are of the same makers and of three words, and know today's English, spoken and written, as our
books do not. pocketsphinx itself cannot write them: a file holds fewer word pairs than it says.

The file is CMU Sphinx's "Trie Language Model" (src/lm/lm_trie.c of pocketsphinx): a tree of words
from the last to the first, whose levels are arrays of bit fields, with probabilities and back-off
weights as places in tables of logarithms to the base 1.0001.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"Trie Language Model\x03"
_BINS = 65_536
_SINGLE = np.dtype([("log", "<f4"), ("back_off", "<f4"), ("next", "<u4")])
_LOG10 = math.log10(1.0001)

Ints = NDArray[np.int64]


@dataclass
class _Reader:
    """Goes through the file."""

    data: bytes
    place: int = 0

    def take(self, kind: str | np.dtype[Any] | type, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, kind, count, self.place)
        self.place += values.nbytes
        return values


def _fields(level: NDArray[np.uint8], width: int, first: int, bits: int, count: int) -> Ints:
    """(count,) a field of each entry of a level, entries being `width` bits each."""
    starts = np.arange(count, dtype=np.int64) * width + first
    value = np.zeros(count, np.uint64)
    for byte in range(5):
        value |= level[(starts >> 3) + byte].astype(np.uint64) << np.uint64(8 * byte)
    value >>= (starts & 7).astype(np.uint64)
    return (value & np.uint64((1 << bits) - 1)).astype(np.int64)


def convert(data: bytes, output: TextIO) -> None:
    """Write a model of three words as ARPA.

    Raises:
        ValueError: it is none.
    """
    if not data.startswith(_MAGIC):
        raise ValueError("this is no language model of CMU Sphinx with three words")
    reader = _Reader(data, len(_MAGIC))
    words, pairs, triples = reader.take("<u4", 3).tolist()
    reader.take("<u4", 1)  # the kind of quantisation, of which there is one
    pair_logs, pair_back_offs, triple_logs = reader.take("<f4", 3 * _BINS).reshape(3, _BINS)
    single = reader.take(_SINGLE, words + 1)
    word_bits, next_bits = words.bit_length(), triples.bit_length()
    pair_width, triple_width = word_bits + 32 + next_bits, word_bits + 16
    second = reader.take(np.uint8, ((1 + pairs) * pair_width + 7) // 8 + 8)
    third = reader.take(np.uint8, ((1 + triples) * triple_width + 7) // 8 + 8)
    spelled = (
        bytes(reader.take(np.uint8, int(reader.take("<i4", 1)[0]))).decode("latin-1").split("\0")
    )

    firsts: Ints = single["next"].astype(np.int64)
    held = int(firsts[-1])
    last = np.repeat(np.arange(words), np.diff(firsts))
    before = _fields(second, pair_width, 0, word_bits, held)
    back_offs = pair_back_offs[_fields(second, pair_width, word_bits, 16, held)]
    logs = pair_logs[_fields(second, pair_width, word_bits + 16, 16, held)]
    ends = _fields(second, pair_width, word_bits + 32, next_bits, held + 1)
    pair = np.repeat(np.arange(held), np.diff(ends))
    first = _fields(third, triple_width, 0, word_bits, len(pair))
    long_logs = triple_logs[_fields(third, triple_width, word_bits, 16, len(pair))]

    sizes = (words, held, len(pair))
    output.write("\\data\\\n")
    output.writelines(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
    _write(output, spelled, [np.arange(words)], single["log"][:-1], single["back_off"][:-1])
    _write(output, spelled, [before, last], logs, back_offs)
    _write(output, spelled, [first, before[pair], last[pair]], long_logs)
    output.write("\n\\end\\\n")


def _write(
    output: TextIO,
    spelled: list[str],
    words: list[Ints],
    logs: NDArray[np.float32],
    back_offs: NDArray[np.float32] | None = None,
) -> None:
    output.write(f"\n\\{len(words)}-grams:\n")
    texts: Iterable[str] = (
        " ".join(spelled[word] for word in row)
        for row in zip(*(places.tolist() for places in words), strict=True)
    )
    ends = [f"\t{x * _LOG10:.4f}" for x in back_offs.tolist()] if back_offs is not None else None
    for place, (log, text) in enumerate(zip(logs.tolist(), texts, strict=True)):
        output.write(f"{log * _LOG10:.4f}\t{text}{ends[place] if ends else ''}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="en-us.lm.bin")
    parser.add_argument("arpa", type=Path, help="file to write")
    arguments = parser.parse_args()
    with arguments.arpa.open("w", encoding="utf-8") as file:
        convert(arguments.model.read_bytes(), file)
