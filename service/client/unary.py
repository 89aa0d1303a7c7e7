"""A unary call of either client, asked of one server after the other until one will do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import grpc

from .access import Access
from .errors import BusyError, OssicleError, from_rpc_error
from .replicas import Replica, Replicas, connections_for
from .resumption import is_passing
from .stream import seconds_left

C = TypeVar("C")
T = TypeVar("T")


class UnaryCall(Generic[C, T]):
    """Which server is asked next, and what came of it all.

    Args:
        replicas: the servers to choose from.
        access: how the client connects to them.
        timeout: seconds for all of them together; None for ever.
        will_do: whether an answer is good enough not to ask another server.
    """

    def __init__(
        self,
        replicas: Replicas[C],
        access: Access,
        timeout: float | None,
        will_do: Callable[[T], bool],
    ) -> None:
        self._replicas = replicas
        self._access = access
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._will_do = will_do
        self._answers: list[T] = []
        self._failure: OssicleError | None = None
        self._processes = 1  # of the server that was just asked and has no room
        self._over = False

    def turns(self) -> Iterator[tuple[Replica[C], float | None]]:
        """Servers to ask, each with the seconds that are left for it, until one has settled it."""
        for first in self._replicas.in_turn():
            replica: Replica[C] | None = first
            tried = 0
            while replica and not self._over:
                self._processes = 1
                yield replica, seconds_left(self._deadline)
                tried += 1
                if self._processes > 1 and tried < connections_for(self._processes):
                    replica = self._replicas.another(replica, self._processes)
                else:
                    replica = None

    def answered(self, replica: Replica[C], answer: T) -> None:
        """A server has answered."""
        self._answers.append(answer)
        if self._will_do(answer):
            self._replicas.prefer(replica)
            self._over = True

    def failed(self, replica: Replica[C], error: grpc.RpcError) -> None:
        """A server has refused, or could not be reached."""
        failure = from_rpc_error(error, replica.address, self._access)
        failure.__cause__ = error
        self._failure = failure
        if isinstance(failure, BusyError):
            self._processes = failure.processes
        self._over = not (is_passing(failure) or isinstance(failure, BusyError))

    def outcome(self) -> T:
        """The answer that will do, or the last of the others.

        Raises:
            OssicleError: no server answered, or the request was refused.
        """
        if self._answers:
            return self._answers[-1]
        failure, self._failure = self._failure, None
        assert failure is not None
        # An error knows the frame that raises it: what that knows would stay in memory with it.
        try:
            raise failure
        finally:
            del failure
