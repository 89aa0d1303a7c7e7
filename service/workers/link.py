"""A worker's line to its supervisor."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from ossicle.service.security.quota import OverQuota
from ossicle.service.security.tokens import Token
from prometheus_client import CollectorRegistry

from .messages import (
    AskMetrics,
    AskPulse,
    AskQuota,
    QuotaAction,
    TellMetrics,
    TellPulse,
    TellQuota,
)

log = logging.getLogger(__name__)

_Answer = asyncio.Future[tuple[str, int] | None]


class Link:
    """The line; it also counts what tokens use, where all workers count it.

    When the supervisor is gone, nobody will stop this process or start another: it shuts down as
    after SIGTERM.

    Args:
        connection: to the supervisor.
        registry: the metrics that it may ask for.
    """

    def __init__(self, connection: Connection, registry: CollectorRegistry) -> None:
        self._connection = connection
        self._registry = registry
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: dict[int, tuple[AskQuota, asyncio.AbstractEventLoop, _Answer]] = {}

    def start(self) -> None:
        """Listen, in a thread of its own."""
        threading.Thread(target=self._listen, name="ossicle-link", daemon=True).start()

    def tell(self, message: object) -> None:
        """Tell the supervisor something, unless it is gone."""
        with self._sending, suppress(OSError):
            self._connection.send(message)

    def answer_by(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the loop that answers clients tell the supervisor that it does."""
        self._loop = loop

    async def call(self, token: Token) -> None:
        """Count a call; see :meth:`Quota.call <ossicle.service.security.quota.Quota.call>`.

        Raises:
            OverQuota: it has made too many.
        """
        if token.max_calls_per_minute:
            await self._ask("call", token)

    async def begin_stream(self, token: Token) -> None:
        """Count a stream, until :meth:`end_stream` of the same token.

        Raises:
            OverQuota: it has too many; this one is not counted.
        """
        await self._ask("begin_stream", token)

    def end_stream(self, token: Token) -> None:
        """Count a stream no more."""
        self.tell(AskQuota(next(self._numbers), "end_stream", token))

    async def _ask(self, action: QuotaAction, token: Token) -> None:
        question = AskQuota(next(self._numbers), action, token)
        loop = asyncio.get_running_loop()
        answer: _Answer = loop.create_future()
        self._asked[question.number] = question, loop, answer
        self.tell(question)
        try:
            refusal = await answer
        except asyncio.CancelledError:
            # The client left in the very turn in which it was told: `_settle` did not know of that.
            told = answer.done() and not answer.cancelled()
            if action == "begin_stream" and told and not answer.result():
                self.end_stream(token)
            raise
        if refusal:
            raise OverQuota(*refusal)

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                break
            try:
                self._take(message)
            except Exception:
                log.exception("a question of the supervisor was not answered")
        os.kill(os.getpid(), signal.SIGTERM)

    def _take(self, message: object) -> None:
        if isinstance(message, AskMetrics):
            self.tell(TellMetrics(list(self._registry.collect())))
        elif isinstance(message, AskPulse):
            if self._loop is not None:
                with suppress(RuntimeError):  # it is closed: the process is about to end
                    self._loop.call_soon_threadsafe(self.tell, TellPulse())
        elif isinstance(message, TellQuota):
            question, loop, answer = self._asked.pop(message.number)
            loop.call_soon_threadsafe(self._settle, question, answer, message.refusal)

    def _settle(self, question: AskQuota, answer: _Answer, refusal: tuple[str, int] | None) -> None:
        if not answer.done():
            answer.set_result(refusal)
        elif question.action == "begin_stream" and not refusal:
            self.end_stream(question.token)  # the client did not wait for the answer
