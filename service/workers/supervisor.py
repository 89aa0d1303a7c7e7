"""The process that keeps workers running.

It serves nothing itself. The first worker is started alone, so that what stops a server from
starting is said once; when it serves, the others are. From then on a worker that ends is replaced,
at once the first time and later the more often it happens; one that stands still, or takes for ever
to start, is killed first. SIGTERM and SIGINT are passed on to all workers, which then drain, and so
is SIGHUP, which makes them read their models anew.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait

from ossicle.service.hangup import heed, held
from ossicle.service.security.quota import OverQuota, Quota
from ossicle.service.spawning import ending
from ossicle.service.telemetry.merged import MergedMetrics
from ossicle.service.telemetry.metrics import ServerMetrics
from ossicle.service.waiting import doubled
from prometheus_client import CollectorRegistry

from .messages import AskQuota, Broken, Ready, TellMetrics, TellPulse, TellQuota
from .process import Work, WorkerProcess

log = logging.getLogger(__name__)

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
# A worker that has served for so long has not failed because it could not start.
PROVEN_SECONDS = 60.0
# How often workers are asked whether they are there, and how often one may leave that unanswered:
# counted, for a supervisor that was itself stopped has not asked meanwhile.
PULSE_SECONDS = 5.0
MAX_UNANSWERED = 6
# A worker that replaces another has failed if it takes longer to serve than the slowest before the
# server was ready times this, and than this.
START_FACTOR = 10
LEAST_START_SECONDS = 60.0
# What a scrape of the metrics waits for workers that do not answer, all together.
METRICS_SECONDS = 2.0
FAILURE = 1


class Supervisor:
    """Starts workers, replaces those that end, and passes signals on.

    Args:
        count: of workers.
        stop_seconds: time that they have to end after SIGTERM, before they are killed.
        on_ready: told what the first worker says of itself, once all of them serve.
    """

    def __init__(self, count: int, stop_seconds: float, on_ready: Callable[[Ready], None]) -> None:
        self._count = count
        self._stop_seconds = stop_seconds
        self._on_ready = on_ready
        self._workers: dict[int, WorkerProcess] = {}
        self._failures = [0] * count
        self._due: dict[int, float] = {}  # when a worker is to be started again
        self._first: Ready | None = None
        self._serving = False  # all have served
        self._slowest_start = 0.0
        self._next_pulse = time.monotonic()
        self._stopping: float | None = None  # until when they may take to end
        self._code = 0
        self._quota = Quota()
        self._wake, self._signals = socket.socketpair()
        self._metrics = ServerMetrics()
        self._metrics.workers.set(count)
        own = self._metrics.registry
        self._merged = MergedMetrics(
            self._ask_metrics,
            # A copy: another thread asks, while workers come and go.
            lambda: [own.collect(), *(worker.metrics for worker in list(self._workers.values()))],
        )
        self.registry = CollectorRegistry()
        """The metrics of all workers, and of this process, as those of one server."""
        self.registry.register(self._merged)

    def run(self, work: Work) -> int:
        """Keep workers running until SIGINT or SIGTERM, then until all of them have ended.

        Args:
            work: what each worker does.

        Returns:
            The exit code of the server: that of a worker that did not start, or 0 if all ended in
            order.
        """
        self._work = work
        with self._passing_signals_on():
            self._start(0)
            try:
                while self._workers or (self._due and self._stopping is None):
                    self._turn()
            finally:
                for worker in self._workers.values():
                    worker.signal(signal.SIGKILL)
        return self._code

    def _turn(self) -> None:
        """Wait for something to happen, and see to it."""
        now = time.monotonic()
        moments = [*self._due.values(), self._next_pulse]
        if self._stopping is not None:
            moments = [self._stopping, now + LONGEST_WAIT]  # the system cannot wait for weeks
        timeout = max(0.0, min(moments) - now)
        by_sentinel = {worker.sentinel: worker for worker in self._workers.values()}
        by_connection = {worker.connection: worker for worker in self._workers.values()}
        happened = wait([self._wake, *by_connection, *by_sentinel], timeout)
        if self._wake in happened:
            self._take_signals()
        for worker in by_connection.values():
            self._take_messages(worker)
        for sentinel, worker in by_sentinel.items():
            if sentinel in happened:
                self._ended(worker)
        now = time.monotonic()
        if self._stopping is not None:
            if now >= self._stopping:
                self._kill()
            return
        if now >= self._next_pulse:
            self._next_pulse = now + PULSE_SECONDS
            self._feel_pulses()
        for number, moment in list(self._due.items()):
            if now >= moment:
                del self._due[number]
                self._start(number)

    def _feel_pulses(self) -> None:
        for worker in self._workers.values():
            if not worker.ready:
                self._hurry(worker)
                continue
            if worker.unanswered < MAX_UNANSWERED:
                worker.ask_pulse()
                continue
            silence = worker.unanswered * PULSE_SECONDS
            log.error("worker %d has not answered for %g s and is killed", worker.number, silence)
            worker.signal(signal.SIGKILL)

    def _hurry(self, worker: WorkerProcess) -> None:
        """Kill a worker that takes too long to replace another, whose place it would hold."""
        patience = max(START_FACTOR * self._slowest_start, LEAST_START_SECONDS)
        # The first have no measure, and somebody who waits for them.
        if self._serving and time.monotonic() - worker.began > patience:
            number = worker.number
            log.error("worker %d does not serve after %.3g s and is killed", number, patience)
            worker.signal(signal.SIGKILL)

    def _start(self, number: int) -> None:
        try:
            worker = self._workers[number] = WorkerProcess(number, self._work)
        except OSError as error:
            # No memory or no file is left: the others serve on, and have more of it by and by.
            if not self._serving:
                raise
            self._start_later(number, f"cannot be started: {error.strerror or error}")
            return
        log.info("worker started", extra={"facts": {"worker": number, "pid": worker.pid}})

    def _start_later(self, number: int, what: str) -> None:
        """Say what has become of a worker, and start another the later, the more often it does."""
        pause = doubled(FIRST_WAIT, self._failures[number], LONGEST_WAIT)
        self._failures[number] += 1
        self._due[number] = time.monotonic() + pause
        log.error("worker %d %s; another is started in %g s", number, what, pause)

    def _take_messages(self, worker: WorkerProcess) -> None:
        with suppress(EOFError, OSError):
            while worker.connection.poll():
                self._take(worker, worker.connection.recv())

    def _take(self, worker: WorkerProcess, message: object) -> None:
        if isinstance(message, TellMetrics):
            worker.took_metrics(list(message.families))
        elif isinstance(message, TellPulse):
            worker.unanswered = 0
        elif isinstance(message, AskQuota):
            self._answer(worker, message)
        elif isinstance(message, Broken):
            log.error("the recogniser of worker %d has failed; it is replaced", worker.number)
            worker.signal(signal.SIGTERM)
        elif isinstance(message, Ready):
            self._take_ready(worker, message)

    def _take_ready(self, worker: WorkerProcess, message: Ready) -> None:
        worker.ready = True
        if worker.reload_when_ready:
            worker.signal(signal.SIGHUP)
        if self._serving:
            log.info("worker %d serves again", worker.number)
        else:
            self._slowest_start = max(self._slowest_start, time.monotonic() - worker.began)
        if self._first is None:
            self._first = message
            if self._stopping is None:
                for number in range(1, self._count):
                    self._start(number)
        ready = sum(each.ready for each in self._workers.values())
        if not self._serving and ready == self._count and self._stopping is None:
            self._serving = True
            self._on_ready(self._first)

    def _ended(self, worker: WorkerProcess) -> None:
        self._take_messages(worker)
        code = worker.end()
        with self._merged.ending(worker.metrics):
            del self._workers[worker.number]
        for token in worker.streams.elements():
            self._quota.end_stream(token)
        if self._stopping is not None:
            self._code = self._code or int(code != 0 and worker.ready)
            return
        how = ending(code)
        if not self._serving:
            # It has said why, unless it could not; starting it again would not help.
            if code <= 0:
                log.error("worker %d has ended by %s before all were serving", worker.number, how)
            self._code = code if code > 0 else FAILURE
            self._stop()
            return
        if worker.ready and time.monotonic() - worker.began > PROVEN_SECONDS:
            self._failures[worker.number] = 0
        self._metrics.worker_restarts.inc()
        self._start_later(worker.number, f"has ended by {how}")

    def _answer(self, worker: WorkerProcess, question: AskQuota) -> None:
        """Count what a token uses, for all workers."""
        token = question.token
        refusal = None
        try:
            if question.action == "call":
                self._quota.call(token)
            elif question.action == "begin_stream":
                self._quota.begin_stream(token)
                worker.streams[token] += 1
            else:
                self._quota.end_stream(token)
                worker.streams[token] -= 1
                return
        except OverQuota as over:
            refusal = over.message, over.retry_seconds
        worker.tell(TellQuota(question.number, refusal))

    def _ask_metrics(self) -> None:
        ready = [worker for worker in list(self._workers.values()) if worker.ready]
        for worker in ready:
            worker.ask_metrics()
        moment = time.monotonic() + METRICS_SECONDS
        for worker in ready:
            worker.await_metrics(moment)

    @contextmanager
    def _passing_signals_on(self) -> Iterator[None]:
        def note(number: int, frame: object) -> None:
            self._signals.send(bytes([number]))

        from multiprocessing import resource_tracker

        # A process of Python's own that all workers use; a terminal that is closed would end it.
        with held():
            resource_tracker.ensure_running()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, note) for number in numbers}
        heed()
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._wake.close()
            self._signals.close()

    def _take_signals(self) -> None:
        for number in self._wake.recv(4096):
            if number == signal.SIGHUP:
                log.info("the workers reload their models")
                for worker in self._workers.values():
                    worker.reload()
            elif self._stopping is None:
                log.info("shutting down")
                self._stop()

    def _stop(self) -> None:
        self._stopping = time.monotonic() + self._stop_seconds
        for worker in self._workers.values():
            worker.signal(signal.SIGTERM)

    def _kill(self) -> None:
        for worker in self._workers.values():
            log.error(
                "worker %d has not ended within %g s and is killed",
                worker.number,
                self._stop_seconds,
            )
            worker.signal(signal.SIGKILL)
        self._code = FAILURE
        self._stopping = math.inf
