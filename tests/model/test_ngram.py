"""The n-gram model as decoding asks it, and its file."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from ossicle.model.ngram.file import (
    NgramError,
    NgramTrie,
    ProbabilityCode,
    encode_trie,
    read_trie,
    write_trie,
)
from ossicle.model.ngram.model import NgramModel

A, B, C, UNK, BOS, EOS = range(6)


@pytest.fixture
def trie() -> NgramTrie:
    """Words a, b, c; pairs "<s> a", "a b", "b c"; triples "<s> a b", "a b c"."""
    probabilities = [0.2, 0.3, 0.1, 0.15, 0, 0.25, 0.5, 0.4, 0.6, 0.9, 0.7]
    log_probs = np.log(np.maximum(probabilities, 1e-30), dtype=np.float32)
    code = ProbabilityCode.fitting(log_probs)
    return NgramTrie(
        words=("a", "b", "c"),
        order=3,
        numbers=np.array([A, B, C, UNK, BOS, EOS, B, C, A, C, B], np.int32),
        continuations=np.array([1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0], np.int32),
        codes=code.encode(log_probs),
        code=code,
        # After nothing, "a", "b", "<s>", "a b" and "<s> a".
        back_offs=np.log(np.array([1, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)),
        about={"texts": ["novels"]},
    )


def ask(model: NgramModel, words: list[int]) -> list[float]:
    """The probability of each word after a sentence's start and the words before."""
    context = np.array([model.start()])
    probabilities = []
    for word in words:
        log_probs, context = model.score(context, np.array([word], np.int32))
        probabilities.append(float(np.exp(log_probs[0])))
    return probabilities


def test_longest_ngram_counts_else_the_back_offs(trie: NgramTrie) -> None:
    model = NgramModel(trie)
    p = np.exp(trie.code.decode(trie.codes)).tolist()
    a, b, _, unknown, _, end, a_b, b_c, start_a, a_b_c, start_a_b = p
    assert start_a == pytest.approx(0.6, rel=0.1), "a code of such a range is coarse"
    # "<s> a"; "<s> a b"; "a b c".
    assert ask(model, [A, B, C]) == pytest.approx([start_a, start_a_b, a_b_c], rel=1e-5)
    # "<s>" and b alone; "b c"; c continues nothing, so a alone.
    assert ask(model, [B, C, A]) == pytest.approx([0.6 * b, b_c, a], rel=1e-5)
    # "<s> a", "a" and the end alone.
    assert ask(model, [A, EOS]) == pytest.approx([start_a, 0.4 * 0.8 * end], rel=1e-5)
    # "<s> a", "a" and an unknown word alone; after it nothing is known.
    assert ask(model, [A, UNK, B]) == pytest.approx([start_a, 0.4 * 0.8 * unknown, b], rel=1e-5)
    # "a b", then "b", then nothing but a: two steps down in one query.
    assert ask(model, [C, A, B, A])[2:] == pytest.approx([a_b, 0.5 * 0.7 * a], rel=1e-5)


def test_histories_that_are_one_to_the_model_have_one_context(trie: NgramTrie) -> None:
    model = NgramModel(trie)
    starts = np.full(2, model.start())
    _, contexts = model.score(starts, np.array([C, UNK], np.int32))
    assert contexts[0] == contexts[1]
    _, after_b = model.score(np.array([contexts[0], model.start()]), np.array([B, B], np.int32))
    assert after_b[0] == after_b[1]
    assert after_b[0] != contexts[0]


def test_many_queries_at_once_are_as_one_by_one(trie: NgramTrie) -> None:
    model = NgramModel(trie)
    words = np.array([w for w in (A, B, C, UNK, EOS) for _ in range(6)], np.int32)
    contexts = np.array(list(range(6)) * 5)
    log_probs, after = model.score(contexts, words)
    for i in range(len(words)):
        one, then = model.score(contexts[i : i + 1], words[i : i + 1])
        assert (one[0], then[0]) == (log_probs[i], after[i])
    nothing, _ = model.score(contexts[:0], words[:0])
    assert nothing.shape == (0,)
    assert (log_probs.dtype, after.dtype) == (np.float32, np.int64)


def test_texts_are_judged_word_by_word_and_with_their_ends(trie: NgramTrie) -> None:
    model = NgramModel(trie)
    texts = {"a b c": [A, B, C, EOS], "": [EOS], "a zebra b": [A, UNK, B, EOS], "b": [B, EOS]}
    judged = model.judge(list(texts))
    for log_probs, numbers in zip(judged, texts.values(), strict=True):
        assert np.exp(log_probs) == pytest.approx(ask(model, numbers), rel=1e-5)
    assert model.judge([]) == []


def test_words_and_their_numbers(trie: NgramTrie) -> None:
    model = NgramModel(trie)
    assert (model.unk, model.bos, model.eos) == (UNK, BOS, EOS)
    assert model.numbers(["c", "zebra", "a"]).tolist() == [C, UNK, A]
    assert np.array_equal(model.unigrams, trie.code.decode(trie.codes[:3]))
    assert model.counts == [6, 3, 2]


def test_file_keeps_the_model(trie: NgramTrie, tmp_path: Path) -> None:
    write_trie(trie, tmp_path / "folder" / "lm.ngram")
    read = read_trie(tmp_path / "folder" / "lm.ngram")
    assert (read.words, read.order, read.about) == (trie.words, trie.order, trie.about)
    assert np.array_equal(read.numbers, trie.numbers)
    assert np.array_equal(read.continuations, trie.continuations)
    assert np.array_equal(read.codes, trie.codes)
    assert read.code.lowest == trie.code.lowest
    assert read.back_offs == pytest.approx(trie.back_offs, abs=0.005)
    # What was read is written without a further loss.
    assert encode_trie(read) == (tmp_path / "folder" / "lm.ngram").read_bytes()


def test_code_of_probabilities_is_finest_where_they_are_large() -> None:
    log_probs = -np.linspace(0, 17, 1000, dtype=np.float32)
    code = ProbabilityCode.fitting(log_probs)
    error = np.abs(code.decode(code.encode(log_probs)) - log_probs)
    assert error.max() < 0.051
    assert error[np.exp(log_probs) > 0.9].max() < 0.01
    assert code.decode(code.encode(np.array([-np.inf], np.float32)))[0] == -np.inf


@pytest.mark.parametrize("place", [25, 200, -1])
def test_damaged_file(trie: NgramTrie, tmp_path: Path, place: int) -> None:
    content = bytearray(encode_trie(trie))
    content[place] ^= 4
    path = tmp_path / "lm.ngram"
    path.write_bytes(content)
    with pytest.raises(NgramError, match=r"lm\.ngram is damaged: copy it again"):
        NgramModel.load(path)


def test_file_cut_short(trie: NgramTrie, tmp_path: Path) -> None:
    path = tmp_path / "lm.ngram"
    content = encode_trie(trie)
    for length in (12, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(NgramError, match="is damaged"):
            NgramModel.load(path)


def test_file_of_another_sort_version_or_none(trie: NgramTrie, tmp_path: Path) -> None:
    path = tmp_path / "lm.ngram"
    with pytest.raises(NgramError, match=r"cannot read .*lm\.ngram: No such file"):
        NgramModel.load(path)
    path.write_bytes(b"\\data\\\nngram 1=6\n")
    with pytest.raises(NgramError, match="is no n-gram model of Ossicle; `ossicle lm train`"):
        NgramModel.load(path)
    content = encode_trie(trie)
    path.write_bytes(content[:8] + struct.pack("<I", 9) + content[12:])
    with pytest.raises(NgramError, match="has version 9 of the format, this Ossicle reads 1"):
        NgramModel.load(path)


def test_file_is_as_documented(trie: NgramTrie) -> None:
    content = encode_trie(trie)
    magic, version, length, checksum = struct.unpack_from("<8sIII", content)
    assert (magic, version, checksum) == (b"OSSNGRAM", 1, zlib.crc32(content[20:]))
    header = json.loads(content[20 : 20 + length])
    assert header["counts"] == [6, 3, 2]
    assert zlib.decompress(content[20 + length :][: header["sections"][0]]) == b"a\nb\nc"
    assert len(content) == 20 + length + sum(header["sections"])
