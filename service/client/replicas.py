"""The servers of a client: equal ones, of which any will do.

A server of several processes gives each connection to one of them, by chance. Where that one has no
room, another connection may find another; those that were opened are kept, for later calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        ValueError: there is none, or one is empty, a URL or without a port.
    """
    given = [addresses] if isinstance(addresses, str) else addresses
    parsed = [address.strip() for part in given for address in part.split(",")]
    if not parsed or not all(parsed):
        raise ValueError(
            f"the addresses {addresses!r} have an empty one; give HOST:PORT, or several with "
            "commas between them"
        )
    for address in parsed:
        if address.startswith(("http://", "https://")) or ":" not in address:
            raise ValueError(f"the address {address!r} is not HOST:PORT, as localhost:50051 is")
        host, _, port = address.rpartition(":")
        if port.isdigit() and int(port) > 65535:
            raise ValueError(f"the address {address!r} has the port {port}; ports end at 65535")
        if host.count(":") > 1 and "[" not in host:
            raise ValueError(
                f"the address {address!r} has colons in its host; give [{host}]:{port}, or "
                f"[{address}]:50051"
            )
    return tuple(dict.fromkeys(parsed))


@dataclass(frozen=True, eq=False)
class Replica(Generic[C]):
    """A connection to a server.

    Attributes:
        address: host and port.
        channel: the connection, of ``grpc`` or ``grpc.aio``.
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
        addresses: of the servers, at least one.
        connect: makes a channel to an address, with a connection of its own if the second argument
            says so.
    """

    def __init__(self, addresses: Sequence[str], connect: Callable[[str, bool], C]) -> None:
        self._connect = connect
        self._connections = {
            address: [Replica.at(address, connect(address, False))] for address in addresses
        }
        self._used = {address: known[0] for address, known in self._connections.items()}
        self._order = tuple(addresses)
        self._preferred = addresses[0]

    @property
    def all(self) -> list[Replica[C]]:
        """All connections."""
        return [replica for known in self._connections.values() for replica in known]

    @property
    def count(self) -> int:
        """How many servers there are."""
        return len(self._order)

    @property
    def addresses(self) -> str:
        """Where they are, for people."""
        return ", ".join(self._order)

    @property
    def preferred(self) -> Replica[C]:
        """The one to ask."""
        return self._used[self._preferred]

    def in_turn(self) -> list[Replica[C]]:
        """A connection to each, the preferred one first."""
        first = self._order.index(self._preferred)
        return [self._used[address] for address in self._order[first:] + self._order[:first]]

    def prefer(self, replica: Replica[C]) -> None:
        """Ask this one next, since it has answered."""
        self._used[replica.address] = replica
        self._preferred = replica.address

    def after(self, replica: Replica[C]) -> Replica[C]:
        """The one to ask when this one has failed."""
        place = self._order.index(replica.address)
        return self._used[self._order[(place + 1) % len(self._order)]]

    def another(self, replica: Replica[C], processes: int) -> Replica[C]:
        """Another connection to the same server, which has so many processes."""
        known = self._connections[replica.address]
        place = known.index(replica) + 1
        if place == len(known) and place < connections_for(processes):
            known.append(Replica.at(replica.address, self._connect(replica.address, True)))
        return known[place % len(known)]


def connections_for(processes: int) -> int:
    """Connections among which each of so many processes has one, all but surely.

    One of p processes is missed by 4 p connections with probability (1 - 1/p)^(4 p), less than 2 %.
    """
    return 4 * processes
