"""The pronouncing dictionary: its alphabet, its file, its tokens, and how it is made."""

import gzip
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from ossicle.model.config import UNITS, ModelConfig
from ossicle.model.decoding.decoders import LANGUAGE_MODEL
from ossicle.model.ngram.model import NgramModel
from ossicle.model.pronunciation.dictionary import (
    DICTIONARY,
    GRAPHONES,
    DictionaryError,
    Pronunciations,
    copy_dictionary,
    read_dictionary,
    write_dictionary,
)
from ossicle.model.pronunciation.graphones import train_graphones
from ossicle.model.pronunciation.making import make_dictionary, pronouncer, read_cmudict
from ossicle.model.pronunciation.phonemes import PHONEMES, from_arpabet, from_misaki, with_s
from ossicle.model.pronunciation.tokenizer import PhonemeTokenizer
from ossicle.service.cli import app
from typer.testing import CliRunner

CMUDICT = """\
a AH0
bus B AH1 S
cat K AE1 T
cat's K AE1 T S
lead L EH1 D
lead(2) L IY1 D
night N AY1 T # a comment

# and another
the DH IY0
the(2) DH AH0
"""


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("N AY1 T", "nIt"),
        ("DH AH0", "ðə"),
        ("B AH1 T", "bʌt"),
        ("CH ER1 CH", "ʧɝʧ"),
        ("B OY1", "bY"),
    ],
)
def test_arpabet(symbols: str, expected: str) -> None:
    assert from_arpabet(symbols.split()) == expected


def test_arpabet_refuses_other_symbols() -> None:
    with pytest.raises(ValueError, match="'QX1' is no phoneme"):
        from_arpabet(["QX1"])


@pytest.mark.parametrize(
    ("misaki", "expected"),
    [
        ("həlˈO", "həlO"),
        ("lˈædəɹ", "lædɝ"),
        ("əɹˈWnd", "ɝWnd"),
        ("bˈɜɹd", "bɝd"),
        ("lˈAbəɹəɹ", "lAbɝɝ"),
        ("wˈɔːɾɚ?", "wɔtɝ"),
        ("mˈɛTədˌATə", "mɛtədAtə"),
        ("hwˈɪʧ", "wɪʧ"),
        ("bˈɛɡəɹɹi", "bɛɡɝi"),
    ],
)
def test_misaki(misaki: str, expected: str) -> None:
    assert from_misaki(misaki) == expected


def test_phonemes_are_the_tokens_of_a_model() -> None:
    config = ModelConfig(units="phonemes")
    assert config.tokens == ("<blank>", " ", *PHONEMES) == ("<blank>", *UNITS["phonemes"])
    assert len(set(PHONEMES)) == len(PHONEMES) == 40
    assert all(len(phoneme) == 1 for phoneme in PHONEMES)
    assert ModelConfig.from_dict(asdict(config)) == config
    with pytest.raises(ValueError, match="'syllables': use letters or phonemes"):
        ModelConfig(units="syllables")
    with pytest.raises(ValueError, match="characters of its own"):
        ModelConfig(units="phonemes", characters=("a", "b"))


@pytest.mark.parametrize(
    ("stem", "expected"), [("bʌs", "bʌsɪz"), ("kæt", "kæts"), ("dɔɡ", "dɔɡz"), ("mi", "miz")]
)
def test_possessives(stem: str, expected: str) -> None:
    assert with_s(stem) == expected


def test_a_dictionary_is_made_of_another_and_a_pronouncer(tmp_path: Path) -> None:
    path = tmp_path / "cmudict.dict"
    path.write_text(CMUDICT)
    known = read_cmudict(path)
    assert known["lead"] == "lɛd"  # the first
    assert known["the"] == "ðə"  # as it is said among others
    assert "lead(2)" not in known
    asked = []

    def pronounce(word: str) -> str:
        asked.append(word)
        return "blɪk" if word == "blick" else ""

    known |= {"talking": "tɔkɪŋ"}
    words = ["cat", "night's", "bus's", "bus'", "talkin'", "blick", "hm", "ruin'"]
    made = make_dictionary(words, known, pronounce)
    assert sorted(asked) == ["blick", "hm", "ruin'"]
    forms = {"night's": "nIts", "bus's": "bʌsɪz", "bus'": "bʌs", "talkin'": "tɔkɪn"}
    assert made == known | forms | {"blick": "blɪk"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("", "has no words"),
        ("cat K AE9X\n", "line 1: 'AE9X' is no phoneme"),
        ("# of words\n\ncat\n", "line 3: 'cat' has no phonemes"),
    ],
)
def test_bad_cmudict(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "cmudict.dict"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DictionaryError, match=message):
        read_cmudict(path)


def test_any_word_is_pronounced() -> None:
    pytest.importorskip("hibari", reason="the extra tts is not installed")
    pronounce = pronouncer()
    assert pronounce("night") == "nIt"
    assert set(pronounce("ossicle")) <= set(PHONEMES)


def test_the_file_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / DICTIONARY
    known = {"night": "nIt", "knight": "nIt", "o'clock": "əklɑk"}
    write_dictionary(known, {}, path)
    assert read_dictionary(path) == known
    before = path.read_bytes()
    write_dictionary(dict(reversed(known.items())), {}, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("commonest", ["to", "two", "t'o"])
def test_the_commonest_of_words_that_sound_alike_is_the_first(
    tmp_path: Path, shipped_folder: Path, commonest: str
) -> None:
    known = dict.fromkeys(["to", "too", "two", "t'o"], "tu") | {"a": "ə"}
    write_dictionary(known, {"too": 1, commonest: 2}, tmp_path / DICTIONARY)
    (tmp_path / GRAPHONES).write_bytes((shipped_folder / GRAPHONES).read_bytes())
    assert Pronunciations.load(tmp_path).spell("tu") == commonest


@pytest.mark.parametrize(
    ("packed", "text", "cut", "message"),
    [
        (False, "night nIt\n", 0, "is no pronouncing dictionary"),
        (True, "night\n", 0, "line 1: 'night' is not a word, a space"),
        (True, "night nI!\n", 0, "has '!': the phonemes are"),
        (True, "night nIt\n", 9, "is no pronouncing dictionary"),
    ],
)
def test_damaged_files(tmp_path: Path, packed: bool, text: str, cut: int, message: str) -> None:
    path = tmp_path / DICTIONARY
    content = gzip.compress(text.encode()) if packed else text.encode()
    path.write_bytes(content[: len(content) - cut])
    with pytest.raises(DictionaryError, match=message):
        read_dictionary(path)


def test_what_is_missing_is_named(tmp_path: Path, shipped_folder: Path) -> None:
    with pytest.raises(DictionaryError, match=GRAPHONES):
        Pronunciations.load(tmp_path)
    (tmp_path / GRAPHONES).write_bytes((shipped_folder / GRAPHONES).read_bytes())
    with pytest.raises(DictionaryError, match="ossicle dictionary make"):
        Pronunciations.load(tmp_path)
    (tmp_path / GRAPHONES).write_bytes(b"nothing")
    with pytest.raises(DictionaryError, match=GRAPHONES):
        Pronunciations.load(tmp_path)


def test_no_word_of_the_shipped_language_model_is_guessed(shipped_folder: Path) -> None:
    """It would be whenever the model is loaded, 2 ms each."""
    known = Pronunciations.load(shipped_folder)
    words = NgramModel.load(shipped_folder / LANGUAGE_MODEL).words
    assert {"bluetooth", "covid", "podcasts", "colourful"} <= set(words)
    assert [word for word in words if word not in known] == []


def test_graphones_must_know_all_phonemes(tmp_path: Path) -> None:
    write_dictionary({"night": "nIt"}, {}, tmp_path / DICTIONARY)
    train_graphones([("night", "nIt"), ("tin", "tɪn")] * 3, tmp_path / GRAPHONES)
    with pytest.raises(DictionaryError, match="make it from more words"):
        Pronunciations.load(tmp_path)


def test_a_dictionary_that_is_missing_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="copy there the one that the network was taught by"):
        copy_dictionary(tmp_path, tmp_path / "model")


def test_the_commands(tmp_path: Path) -> None:
    pytest.importorskip("hibari", reason="the extra tts is not installed")
    (tmp_path / "cmudict.dict").write_text(CMUDICT)
    (tmp_path / "text.txt").write_text("The cat's night was blickish.\n")
    run = partial(CliRunner().invoke, app)
    arguments = ["text.txt", "--cmudict", "cmudict.dict", "-o", "made"]
    made = run(
        [
            "dictionary",
            "make",
            *(a if a.startswith("-") else str(tmp_path / a) for a in arguments),
        ]
    )
    assert made.exit_code == 0, made.output
    known = read_dictionary(tmp_path / "made" / DICTIONARY)
    assert known["cat's"] == "kæts"
    assert {"was", "blickish"} < known.keys()
    shown = run(["dictionary", "show", "Night", "ossiclization"])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[0].split() == ["night", "nIt"]
    assert lines[1].endswith("(guessed)")
    nothing = run(["dictionary", "show", "!!!"])
    assert nothing.exit_code == 2
    assert "'!!!'" in nothing.output


def test_the_shipped_dictionary(pronunciations: Pronunciations) -> None:
    assert pronunciations.pronounce_text("the night larry") == "ðə nIt lɛɹi"
    assert "night" in pronunciations
    assert "ossiclization" not in pronunciations
    assert set(pronunciations.pronounce("ossiclization")) <= set(PHONEMES)
    assert pronunciations.pronounce(pronunciations.spell("nIt")) == "nIt"
    assert pronunciations.spell("blɪkstɝ").startswith("bl")


def test_tokens_of_words(pronunciations: Pronunciations) -> None:
    tokenizer = PhonemeTokenizer(pronunciations)
    assert tokenizer.decode(tokenizer.encode("the night")) == "ðə nIt"
    assert tokenizer.encode("night") == tokenizer.encode("knight")
