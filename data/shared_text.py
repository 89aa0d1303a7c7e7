"""Sentences, and runs of words, that two texts share: what must not be learnt and judged by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ossicle.data.text import normalize

SENTENCE_WORDS = 6
"""Shorter sentences ("two", "i don't know") belong to the language and not to a text."""
RUN_WORDS = 8
"""So many words in a row are hardly ever the same by chance."""


class SentenceIndex:
    """Sentences that are found again in other texts.

    Args:
        sentence_words: a whole sentence is looked for if it has so many words or more.
        run_words: so many words in a row of a sentence are looked for.

    Attributes:
        sentences: the words of each, in normal form; a sentence's number is its place.
    """

    def __init__(self, sentence_words: int = SENTENCE_WORDS, run_words: int = RUN_WORDS) -> None:
        self.sentences: list[list[str]] = []
        self._sentence_words = sentence_words
        self._run_words = run_words
        self._gram_words = run_words // 2 + 1
        # A run of `run_words` words holds a whole gram that starts at a multiple of the stride:
        # the first multiple in it is at most its word number stride - 1, and the gram then ends
        # at its last word. So only every stride-th gram of another text is looked up.
        self._stride = run_words - self._gram_words + 1
        self._numbers: dict[str, int] = {}
        self._grams: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def add(self, text: str) -> bool:
        """Take a sentence; false if it is there already, or has no words."""
        text = normalize(text)
        if not text or text in self._numbers:
            return False
        number, words = len(self.sentences), text.split()
        self._numbers[text] = number
        self.sentences.append(words)
        if len(words) >= self._run_words:
            for start in range(len(words) - self._gram_words + 1):
                gram = " ".join(words[start : start + self._gram_words])
                self._grams[gram].append((number, start))
        return True

    def number(self, text: str) -> int | None:
        """The number of the sentence that a text is, if it is one."""
        return self._numbers.get(normalize(text))

    def whole(self, text: str) -> int | None:
        """The number of the sentence that a text is, in normal form and long enough."""
        number = self._numbers.get(text)
        if number is None or len(self.sentences[number]) < self._sentence_words:
            return None
        return number

    def runs(self, text: str) -> dict[int, list[str]]:
        """The longest run of words that a text in normal form shares with each sentence, by number.

        Sentences whose longest run is too short are left out.
        """
        words, length = text.split(), self._gram_words
        runs: dict[int, list[str]] = {}
        known: dict[tuple[int, int], int] = {}  # where the last run of a shift of each ends
        for start in range(0, len(words) - length + 1, self._stride):
            for number, other in self._grams.get(" ".join(words[start : start + length]), ()):
                if start < known.get((number, other - start), 0):
                    continue
                begin, stop = _extend(words, start, self.sentences[number], other, length)
                known[number, other - start] = stop
                if stop - begin >= max(self._run_words, len(runs.get(number, ()))):
                    runs[number] = words[begin:stop]
        return runs


class HeldOutText:
    """Texts of which nothing may be learnt but short sentences, as models are judged by them.

    Args:
        texts: the sentences.
        sentence_words, run_words: what counts as shared, as of `SentenceIndex`.

    Attributes:
        left_out: how many sentences `leave_out` has left out so far.
    """

    def __init__(
        self,
        texts: Iterable[str],
        sentence_words: int = SENTENCE_WORDS,
        run_words: int = RUN_WORDS,
    ) -> None:
        self.left_out = 0
        self._index = SentenceIndex(sentence_words, run_words)
        for text in texts:
            self._index.add(text)

    def shares(self, text: str) -> bool:
        """Whether a text has a sentence or a run of words in common with these."""
        text = normalize(text)
        return self._index.whole(text) is not None or bool(self._index.runs(text))

    def leave_out(self, sentences: Iterable[str]) -> Iterator[str]:
        """The sentences that share nothing with these."""
        for sentence in sentences:
            if self.shares(sentence):
                self.left_out += 1
            else:
                yield sentence


def _extend(
    words: list[str], start: int, others: list[str], other: int, length: int
) -> tuple[int, int]:
    """Of `length` words shared from `start` and `other` on, where in the words the whole run that
    they are part of begins and stops."""
    stop, other_stop = start + length, other + length
    while start > 0 and other > 0 and words[start - 1] == others[other - 1]:
        start, other = start - 1, other - 1
    while stop < len(words) and other_stop < len(others) and words[stop] == others[other_stop]:
        stop, other_stop = stop + 1, other_stop + 1
    return start, stop
