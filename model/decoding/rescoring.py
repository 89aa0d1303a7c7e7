"""Rescoring: an LSTM language model of whole sentences looks at the finished hypotheses.

The n-gram model in the beam search sees a few words; the LSTM reads each hypothesis from its first
word, and what was said before it (`Rescorer.score`). It needs ONNX Runtime and numpy only.

`lm.lstm.onnx` in a model folder holds the network and its units (`model/lstm_lm/units.py`);
`ossicle export` makes it from a run of `ossicle train` with a `kind: language-model` file.

Shape letters: S units of a text with its end, N texts, L layers, H hidden units.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.model.lstm_lm.units import Units
from ossicle.model.onnx_runtime import ort
from ossicle.model.runtime import ModelError

FILE = "lm.lstm.onnx"
CONTEXT_UNITS = 64
"""Units of context that are read, the last ones: as many as a training example has."""


class Rescorer:
    """Natural-log probabilities of texts; loaded once, safe to share between threads.

    Args:
        session: of a graph such as `ossicle.model.lstm_lm.export` writes.

    Raises:
        ValueError: the graph is another one.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        try:
            self.units = Units(json.loads(session.get_modelmeta().custom_metadata_map["units"]))
            # A word is judged by its units, the first of which begins with the space before it.
            self._begins = np.array([name.startswith(" ") for name in self.units.names])
            shapes = {node.name: node.shape for node in session.get_inputs()}
            self._layers, _, self._hidden = shapes["hidden"]
        except (KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"it is no language model of `ossicle export`: {error}") from error

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Rescorer | None:
        """The language model of a model folder, or None if it has none.

        Args:
            threads: of the processor, for one call of `score`.

        Raises:
            ModelError: the file is damaged, or is something else.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads answer sooner by microseconds and burn a core while nobody speaks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return cls(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise ModelError(f"cannot load {path}: {error}") from error

    def score(self, texts: Sequence[str], context: str = "") -> NDArray[np.float32]:
        """How probable each text is as a whole sentence, its end included.

        Args:
            texts, context: as of `judge`.

        Returns:
            Natural-log probabilities (N,).

        Raises:
            ValueError: a text or the context is not in normal form.
        """
        return np.array([words.sum() for words in self.judge(texts, context)], np.float32)

    def judge(self, texts: Sequence[str], context: str = "") -> list[NDArray[np.float32]]:
        """How probable the words of texts are after those before them, and their ends.

        All texts are judged at once; they may have any lengths, also none.

        Args:
            texts: in normal form.
            context: what was said before, an utterance a line; its last `CONTEXT_UNITS` units
                are read.

        Returns:
            Of each text of W words, natural-log probabilities (W + 1,).

        Raises:
            ValueError: a text or the context is not in normal form.
        """
        if not texts:
            return []
        hidden, memory = self._state_after(context)
        cut = [self.units.encode(text) for text in texts]
        units = np.zeros((max(map(len, cut)) + 1, len(cut)), np.int64)
        for column, text in enumerate(cut):
            units[1 : len(text) + 1, column] = text
        # The first unit read is an end, and the end is the last to be predicted.
        following = np.roll(units, -1, axis=0)
        log_probs, _, _ = self._run(
            units, following, hidden.repeat(len(cut), axis=1), memory.repeat(len(cut), axis=1)
        )
        return [
            np.add.reduceat(
                log_probs[: len(text) + 1, column],
                np.append(np.flatnonzero(self._begins[text]), len(text)),
            )
            for column, text in enumerate(cut)
        ]

    def _state_after(self, context: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Hidden and memory (L, 1, H) when the context has been read, its last end excepted."""
        start = np.zeros((self._layers, 1, self._hidden), np.float32)
        units: list[int] = []
        for utterance in context.splitlines():
            spelt = self.units.encode(utterance)
            units += [0, *spelt] if spelt else []
        if not units:
            return start, start
        column = np.array(units[-CONTEXT_UNITS:], np.int64)[:, None]
        _, hidden, memory = self._run(column, column, start, start)
        return hidden, memory

    def _run(
        self,
        units: NDArray[np.int64],
        following: NDArray[np.int64],
        hidden: NDArray[np.float32],
        memory: NDArray[np.float32],
    ) -> list[NDArray[np.float32]]:
        result: list[NDArray[np.float32]] = self._session.run(
            None, {"units": units, "following": following, "hidden": hidden, "memory": memory}
        )
        return result
