"""Sequence-discriminative training: the true text against all others that sound alike.

CTC asks that the true text be probable, given that frames are independent of one another. What is
recognised is the text that sounds right *and* is likely as text, so here the same question is
asked: with p(l|x) CTC's probability of a text l and P(l) that of a letter model, training minimises

    -log [ p(l|x) P(l) / Z ]  =  ctc(l) - log P(l) + log Z,    Z = sum over all l' of p(l'|x) P(l')

of which log P(l) does not depend on the network. After Xiang and Ou 2019, "CRF-based single-stage
acoustic modeling with CTC topology", with trigrams of letters where they have 4-grams of phonemes.
Z is summed exactly, by the forward algorithm.

Shape letters are defined in `model/config.py`; here G is the V - 1 letters (tokens but the blank).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

SMOOTHING = 0.5
"""Added to each trigram's count."""


def letter_trigrams(texts: Iterable[Sequence[int]], vocabulary: int, start: int) -> Tensor:
    """Probabilities (G, G, G) of each letter after each two, as counted in texts.

    Args:
        texts: token numbers, none the blank.
        vocabulary: V.
        start: the token that a text is taken to follow, twice: the space.
    """
    counts = np.full((vocabulary - 1,) * 3, SMOOTHING)
    for text in texts:
        letters = np.concatenate([[start, start], np.asarray(text, dtype=np.int64)]) - 1
        np.add.at(counts, (letters[:-2], letters[1:-1], letters[2:]), 1.0)
    return torch.from_numpy(counts / counts.sum(axis=2, keepdims=True)).float()


def log_partition(log_probs: Tensor, frames: Tensor, trigrams: Tensor, start: int) -> Tensor:
    """log Z of each utterance, (B,), differentiable.

    Every path of frames is in one of these states: the last two letters of its text, and whether
    its last frame was the last letter or a blank after it. Probabilities are summed as such, and
    scaled at each frame.

    Args:
        log_probs: (B, U, V), natural logarithms.
        frames: (B,) valid frames of each.
        trigrams: from `letter_trigrams`.
        start: the token before every text.
    """
    batch, length, vocabulary = log_probs.shape
    letters = vocabulary - 1
    probs = log_probs.float().exp().transpose(0, 1)  # (U, B, V)
    # By the last letter but one, the utterance, and the last letter: (G, B, G).
    sounding = probs.new_zeros(letters, batch, letters)
    paused = probs.new_zeros(letters, batch, letters)
    paused[start - 1, :, start - 1] = 1.0
    after = trigrams.transpose(0, 1).contiguous()  # (last, last but one, next)
    doubled = trigrams.diagonal(dim1=1, dim2=2)[:, None]  # (last but one, 1, last and next)
    total = probs.new_zeros(batch)
    for u in range(length):
        blank, letter = probs[u, :, :1], probs[u, :, 1:]  # (B, 1), (B, G)
        both = sounding + paused
        begun = torch.bmm(both.permute(2, 1, 0), after)  # (last, B, next)
        # A letter follows itself only after a blank: without one it is the same letter, held.
        held = (sounding * doubled).sum(0)  # (B, last)
        begun = begun - torch.diag_embed(held, dim1=0, dim2=2)
        new_sounding = letter * (sounding + begun)
        new_paused = blank * both
        scale = new_sounding.sum((0, 2)) + new_paused.sum((0, 2))  # (B,)
        valid = u < frames
        total = total + torch.where(valid, scale.log(), 0.0)
        keep = valid[:, None]
        sounding = torch.where(keep, new_sounding / scale[:, None], sounding)
        paused = torch.where(keep, new_paused / scale[:, None], paused)
    return total
