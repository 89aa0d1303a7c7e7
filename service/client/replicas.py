"""The servers of a client: equal ones, of which any will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from grpc_health.v1 import health_pb2_grpc
from ossicle.speech.v1 import speech_pb2_grpc

C = TypeVar("C")


def parse_addresses(addresses: str | Sequence[str]) -> tuple[str, ...]:
    """Each address by itself.

    Args:
        addresses: one, several with commas between them, or a sequence of such.

    Raises:
        ValueError: there is none, or one is empty.
    """
    given = [addresses] if isinstance(addresses, str) else addresses
    parsed = [address.strip() for part in given for address in part.split(",")]
    if not parsed or not all(parsed):
        raise ValueError(
            f"the addresses {addresses!r} have an empty one; give HOST:PORT, or several with "
            "commas between them"
        )
    return tuple(dict.fromkeys(parsed))


@dataclass(frozen=True, eq=False)
class Replica(Generic[C]):
    """One server.

    Attributes:
        address: host and port.
        channel: the connection to it, of ``grpc`` or ``grpc.aio``.
        speech: its methods.
        health: its health.
    """

    address: str
    channel: C
    speech: speech_pb2_grpc.SpeechServiceStub
    health: health_pb2_grpc.HealthStub

    @classmethod
    def at(cls, address: str, channel: C) -> Replica[C]:
        """The server that a channel leads to."""
        speech = speech_pb2_grpc.SpeechServiceStub(channel)
        return cls(address, channel, speech, health_pb2_grpc.HealthStub(channel))


class Replicas(Generic[C]):
    """All servers of a client; the one that answered last is asked first.

    Args:
        replicas: at least one.
    """

    def __init__(self, replicas: Sequence[Replica[C]]) -> None:
        self.all = tuple(replicas)
        self._preferred = 0

    @property
    def addresses(self) -> str:
        """Where they are, for people."""
        return ", ".join(replica.address for replica in self.all)

    @property
    def preferred(self) -> Replica[C]:
        """The one to ask."""
        return self.all[self._preferred]

    def in_turn(self) -> list[Replica[C]]:
        """All of them, the preferred one first."""
        return [*self.all[self._preferred :], *self.all[: self._preferred]]

    def prefer(self, replica: Replica[C]) -> None:
        """Ask this one next, since it has answered."""
        self._preferred = self.all.index(replica)

    def after(self, replica: Replica[C]) -> Replica[C]:
        """The one to ask when this one has failed."""
        return self.all[(self.all.index(replica) + 1) % len(self.all)]
