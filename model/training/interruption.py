"""Ctrl-C and SIGTERM end a run between two steps, and nothing of it is lost."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl


class Terminated(KeyboardInterrupt):
    """SIGTERM has ended a run, as Ctrl-C would have."""


class EndBetweenSteps(pl.Callback):
    """At a signal the step is finished and its checkpoint written; a second one ends it at once.

    To be the last callback but for those that write checkpoints: what others do after a step is
    in the checkpoint then.

    Args:
        checkpoint: the file to write.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over, Lightning's answer to SIGTERM included, which saves nothing."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)

    def give_back(self) -> None:
        """Let others have the signals again."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save, then end, if a signal has come; among several processes only the end is sure."""
        if self._received is not None:
            if trainer.world_size == 1:
                trainer.save_checkpoint(self._checkpoint)
            self._end()

    def on_validation_batch_end(self, *_: Any) -> None:
        """End, if a signal has come; the checkpoint is that of the last step that was saved."""
        if self._received is not None:
            self._end()

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self._received is not None
        self._received = number
        if again:
            self._end()
        print("\nstopping after this step; once more stops at once", file=sys.stderr, flush=True)

    def _end(self) -> None:
        raise Terminated if self._received == signal.SIGTERM else KeyboardInterrupt
