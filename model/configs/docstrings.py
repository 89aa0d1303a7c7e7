"""Sentences about programming, some of them spoken: what docs/fine-tuning.md goes through.

    apt install flite
    python model/configs/docstrings.py speech

makes in the folder, from the docstrings of Python's standard library and with a voice of the
synthesiser flite:

- train.jsonl, held-out.jsonl: manifests of 20 and 7 minutes of speech, and the recordings;
- docstrings.txt: the other sentences, for the language model (`ossicle adapt`).
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import subprocess
import sysconfig
import wave
from collections.abc import Iterator
from pathlib import Path

from ossicle.data.manifest import Utterance, write_manifest
from ossicle.data.text import normalize

VOICE = "awb"  # made from recordings of a Scottish speaker
MINUTES = {"train": 20.0, "held-out": 7.0}

_WORDS = range(4, 23)  # of a sentence
_SENTENCE = re.compile(r"[A-Z][A-Za-z ,;'-]+(?=\.(\s|$))")


def sentences() -> list[str]:
    """Whole sentences without code, in normal form, each once."""
    found: dict[str, None] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        for docstring in _docstrings(path):
            for match in _SENTENCE.finditer(" ".join(docstring.split())):
                text = normalize(match[0])
                if len(text.split()) in _WORDS:
                    found[text] = None
    return list(found)


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # examples of how not to
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def speak(text: str, path: Path) -> float:
    """Write a recording of a text; its seconds."""
    subprocess.run(["flite", "-voice", VOICE, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as recording:
        return float(recording.getnframes() / recording.getframerate())


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    texts = sentences()
    random.Random(1).shuffle(texts)
    for name, minutes in MINUTES.items():
        spoken: list[Utterance] = []
        while sum(utterance.duration for utterance in spoken) < 60 * minutes:
            path = folder / f"{name}-{len(spoken):04d}.wav"
            text = texts.pop()
            spoken.append(Utterance(path.resolve(), speak(text, path), text, VOICE))
        write_manifest(folder / f"{name}.jsonl", spoken)
        words = sum(len(utterance.text.split()) for utterance in spoken)
        print(f"{name}: {len(spoken)} recordings, {minutes:g} minutes, {words} words")
    (folder / "docstrings.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    print(f"docstrings.txt: {len(texts)} sentences")


if __name__ == "__main__":
    main()
