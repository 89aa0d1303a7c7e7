"""Measure what phrases to expect are worth: rare words that were said, among as many that were not.

    python tests/bench/phrases.py ../shared/speech/dev-libri.jsonl --phrases 100 --length 2

Half of the phrases are the rarest in the texts of the manifest, by the language model, one word
long or --length; the others are made of words that are as rare and occur in no text. With each
boost all of them are listened for in all recordings. Printed are how many of the phrases that
were said are heard, how many are heard where nobody said them, and the word error rate. Boost 0
is what is heard without phrases.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import jiwer
import numpy as np
from flicker import log_probabilities
from ossicle.data.manifest import read_manifest
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import LANGUAGE_MODEL, Decoding, DecodingConfig, Phrase
from ossicle.model.ngram.model import NgramModel
from ossicle.model.runtime import AcousticModel, find_model

BOOSTS = (0.0, 5.0, 10.0, 15.0, 20.0)
SHORTEST_WORD = 4


def ngrams(text: str, length: int) -> Iterator[str]:
    """The phrases of a text that have so many words."""
    words = text.split()
    for start in range(len(words) - length + 1):
        yield " ".join(words[start : start + length])


def frequency(phrase: str, model: NgramModel) -> float:
    """Of its most frequent word, as a natural-log probability; unknown words are the rarest."""
    unknown = float(model.unigrams.min())
    return max(
        unknown if number == model.unk else float(model.unigrams[number])
        for number in model.numbers(phrase.split())
    )


def rarest(texts: Sequence[str], length: int, most: int, model: NgramModel) -> list[str]:
    """The phrases of texts whose most frequent word is the rarest."""
    said = {phrase for text in texts for phrase in ngrams(text, length)}
    long = [phrase for phrase in said if min(map(len, phrase.split())) >= SHORTEST_WORD]
    return sorted(long, key=lambda phrase: (frequency(phrase, model), phrase))[:most]


def unsaid(said: Sequence[str], texts: Sequence[str], model: NgramModel) -> list[str]:
    """As many phrases of words that are about as rare as those said, and are in no text."""
    known = {word for text in texts for word in text.split()}
    words = [
        word
        for word in model.words
        if len(word) >= SHORTEST_WORD and word.isalpha() and word not in known
    ]
    rates = model.unigrams[model.numbers(words)]
    order = np.argsort(rates)
    rng = random.Random(1)
    made: dict[str, None] = {}
    for phrase in said:
        near = int(np.searchsorted(rates[order], frequency(phrase, model)))
        # As wide at either end of the list, so that there are enough words for all.
        first = min(max(near - 500, 0), max(len(words) - 1001, 0))
        window = [words[place] for place in order[first : first + 1001]]
        for _ in range(1000):
            new = " ".join(rng.choice(window) for _ in phrase.split())
            if new not in made:
                made[new] = None
                break
    return list(made)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("manifest", type=Path, help="JSONL manifest")
    parser.add_argument("--model", help="name of a model, or a folder")
    parser.add_argument("--phrases", type=int, default=100, help="half of them said; 100")
    parser.add_argument("--length", type=int, default=1, help="words of a phrase; 1")
    given = parser.parse_args()
    folder = find_model(given.model)
    model = AcousticModel.load(folder)
    decoding = Decoding.load(folder, model.info)
    language = NgramModel.load(folder / LANGUAGE_MODEL)
    utterances = read_manifest(given.manifest)
    texts = [normalize(utterance.text) for utterance in utterances]
    heard = [log_probabilities(model, utterance.audio_filepath) for utterance in utterances]
    said = rarest(texts, given.length, given.phrases // 2, language)
    listed = {*said, *unsaid(said, texts, language)}
    occurrences = [Counter(p for p in ngrams(text, given.length) if p in listed) for text in texts]
    spoken = sum(count.total() for count in occurrences)
    print(
        f"{len(listed)} phrases, {len(said)} of them said {spoken} times: {', '.join(said[:8])}, …"
    )
    print(f"{'boost':>6}{'heard':>8}{'false':>8}{'WER':>9}")
    for boost in BOOSTS:
        config = DecodingConfig("beam", phrases=tuple(Phrase(text, boost) for text in listed))
        found, false, read = 0, 0, []
        for log_probs, truth in zip(heard, occurrences, strict=True):
            decoder = decoding.decoder(config)
            decoder.advance(log_probs)
            read.append(decoder.finish()[0].text)
            count = Counter(p for p in ngrams(read[-1], given.length) if p in listed)
            found += (count & truth).total()
            false += (count - truth).total()
        print(f"{boost:>6g}{found:>8}{false:>8}{jiwer.wer(texts, read):>9.1%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
