"""Texts as the tokens of a network that hears phonemes."""

from __future__ import annotations

from ossicle.data.text import Tokenizer
from ossicle.model.pronunciation.dictionary import Pronunciations
from ossicle.model.pronunciation.phonemes import PHONEMES

PHONEME_CHARACTERS: tuple[str, ...] = (" ", *PHONEMES)
"""What pronounced text is made of, in token order."""


class PhonemeTokenizer(Tokenizer):
    """Words to the token numbers of their pronunciations.

    Args:
        pronunciations: of the words.
    """

    def __init__(self, pronunciations: Pronunciations) -> None:
        super().__init__(PHONEME_CHARACTERS)
        self._pronunciations = pronunciations

    def encode(self, text: str) -> list[int]:
        """Token numbers of the pronunciations of a normalised text's words.

        Raises:
            ValueError: naming characters that no word has; `normalize` removes them.
        """
        return super().encode(self._pronunciations.pronounce_text(text))
