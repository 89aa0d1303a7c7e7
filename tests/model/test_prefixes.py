from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from ossicle.model.decoding.prefixes import PrefixTree


def add(tree: PrefixTree, parents: list[int], tokens: list[int], frame: int) -> list[int]:
    """Add tokens that one frame emitted; the new entries."""
    first = len(tree)
    tree.add(np.array(parents), np.array(tokens), np.full(len(parents), frame))
    return list(range(first, len(tree)))


def test_a_path_gives_its_tokens_and_frames() -> None:
    tree = PrefixTree()
    (first,) = add(tree, [-1], [5], 3)
    left, right = add(tree, [first, first], [6, 7], 8)
    assert tree.tokens(int(left)) == ([5, 6], [3, 8])
    assert tree.tokens(int(right)) == ([5, 7], [3, 8])
    assert tree.tokens(-1) == ([], [])
    tree.move(np.array([right, right]), np.array([9, 10]))
    assert tree.tokens(int(right)) == ([5, 7], [3, 10])


def test_a_moved_token_does_not_pass_the_next() -> None:
    tree = PrefixTree()
    (first,) = add(tree, [-1], [5], 3)
    (second,) = add(tree, [first], [6], 8)
    tree.move(np.array([first]), np.array([12]))
    assert tree.tokens(int(second)) == ([5, 6], [7, 8])


def common(text: list[int], other: list[int]) -> int:
    """How many of their first tokens are the same."""
    length = min(len(text), len(other))
    return next((i for i in range(length) if text[i] != other[i]), length)


@given(st.integers(0, 10_000), st.integers(1, 12), st.lists(st.booleans(), max_size=60))
def test_compacting_changes_no_live_hypothesis(seed: int, width: int, compact: list[bool]) -> None:
    """A random beam, some of whose hypotheses die in each frame."""
    rng = np.random.default_rng(seed)
    tree = PrefixTree()
    live = np.array([-1])
    truth: list[tuple[list[int], list[int]]] = [([], [])]
    for frame, compacts in enumerate(compact):
        parents = rng.integers(len(live), size=width)
        tokens = rng.integers(1, 5, size=width)
        added = add(tree, live[parents], tokens, frame)
        stays = rng.integers(len(live), size=rng.integers(0, 3))
        grown = [
            ([*truth[p][0], int(t)], [*truth[p][1], frame])
            for p, t in zip(parents, tokens, strict=True)
        ]
        truth = [truth[stay] for stay in stays] + grown
        live = np.concatenate([live[stays], added])
        if compacts:
            live = tree.compact(live)
        assert [tree.tokens(int(entry)) for entry in live] == truth
        texts = [tokens for tokens, _ in truth]
        assert tree.texts(live.tolist()) == texts
        for entry, text in zip(live.tolist(), texts, strict=True):
            shared = [(common(text, other), other) for other in texts]
            assert tree.shared(entry, live.tolist()) == [
                (same, other[same] if same < len(other) else None) for same, other in shared
            ]


def test_a_long_utterance_takes_little_room() -> None:
    rng = np.random.default_rng(0)
    tree, width = PrefixTree(), 16
    live = np.full(width, -1)
    largest = 0
    for frame in range(3000):
        live = np.array(add(tree, live[rng.integers(width, size=width)], [3] * width, frame))
        if tree.crowded:
            live = tree.compact(live)
        largest = max(largest, len(tree))
    assert len(tree.tokens(int(live[0]))[0]) == 3000
    assert largest < 3 * 3000  # not 16 * 3000
