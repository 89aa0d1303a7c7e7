"""One worker, as its supervisor sees it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from ossicle.service.security.tokens import Token
from ossicle.service.spawning import spawned
from ossicle.service.telemetry.merged import counted
from prometheus_client import Metric

from .messages import AskMetrics, AskPulse

Work = Callable[[int, Connection], None]
"""What a worker does, given its number and its line to the supervisor; it must be picklable."""


class WorkerProcess:
    """One process; started when it is made.

    Attributes:
        number: of the worker, which the process that replaces it will have.
        connection: the line to it.
        streams: of each token that it has open.
        began: when it was started, by ``time.monotonic``.
        ready: it serves.
        reload_when_ready: it was started before the models changed.
        metrics: what it counted when it was last asked.
        unanswered: how often it was asked whether it is there since it last said so.

    Args:
        number: of the worker.
        work: what it does.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, number: int, work: Work) -> None:
        self.number = number
        self._process, self.connection = spawned(f"ossicle-worker-{number}", work, number)
        self.began = time.monotonic()
        self.ready = False
        self.reload_when_ready = False
        self.streams: Counter[Token] = Counter()
        self.metrics: list[Metric] = []
        self.unanswered = 0
        self._sending = threading.Lock()
        self._told = threading.Event()

    @property
    def sentinel(self) -> int:
        """Becomes readable when it ends; see ``multiprocessing.connection.wait``."""
        return self._process.sentinel

    @property
    def pid(self) -> int:
        """Its number in the system."""
        assert self._process.pid is not None
        return self._process.pid

    def tell(self, message: object) -> None:
        """Tell it something, unless it is gone."""
        with self._sending, suppress(OSError):
            self.connection.send(message)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def reload(self) -> None:
        """Let it read its models anew, once it can."""
        if self.ready:
            self.signal(signal.SIGHUP)
        else:
            self.reload_when_ready = True

    def ask_pulse(self) -> None:
        """Ask whether it is there."""
        self.unanswered += 1
        self.tell(AskPulse())

    def ask_metrics(self) -> None:
        """Ask for its present metrics."""
        self._told.clear()
        self.tell(AskMetrics())

    def await_metrics(self, moment: float) -> None:
        """Wait for them until then, by ``time.monotonic``.

        If they do not come, what it has counted stays, and what it was doing is not told: it may do
        nothing any more.
        """
        if not self._told.wait(max(moment - time.monotonic(), 0.0)):
            self.metrics = counted(self.metrics)

    def took_metrics(self, families: list[Metric]) -> None:
        """Its metrics have come."""
        self.metrics = families
        self._told.set()

    def end(self) -> int:
        """Wait for its end.

        Returns:
            Its exit code, or the negative number of the signal that ended it.
        """
        self._process.join()
        self.connection.close()
        self._told.set()
        code = self._process.exitcode
        assert code is not None
        return code
