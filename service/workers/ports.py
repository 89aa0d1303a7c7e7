"""Ports that several processes listen on, kept from everybody else.

Linux spreads new connections over all sockets that listen on a port with ``SO_REUSEPORT``. A socket
that is bound and does not listen gets none; it keeps the port while workers come and go.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


def check_platform() -> None:
    """Refuse systems whose kernel does not spread connections.

    Raises:
        ValueError: this is not Linux.
    """
    if sys.platform != "linux":
        raise ValueError(
            "--workers needs Linux, which spreads connections over the processes on a port; here, "
            "start several servers on ports of their own, and give clients all addresses"
        )


@contextmanager
def kept(host: str, port: int) -> Iterator[int]:
    """Keep a port for workers meanwhile.

    Args:
        host: address to listen on, as gRPC is given it.
        port: 0 for any that is free.

    Yields:
        The port.

    Raises:
        OSError: it cannot be had, since another process listens there, or there is no such address.
    """
    addresses = _addresses(host)
    with ExitStack() as stack:
        try:
            for family, address in addresses:
                port = _bind(family, address, port, stack)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is another server there? choose another port" if taken else error.strerror
            raise OSError(f"cannot listen on {host}:{port}; {reason}") from error
        yield port


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """What gRPC binds for a host: for a wildcard all of both families, in one socket."""
    host = host.removeprefix("[").removesuffix("]")
    if host in ("0.0.0.0", "::") and socket.has_dualstack_ipv6():
        return [(socket.AF_INET6, "::")]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"{host} has no address: {error.strerror}") from error
    return list(dict.fromkeys((entry[0], str(entry[4][0])) for entry in found))


def _bind(family: socket.AddressFamily, address: str, port: int, stack: ExitStack) -> int:
    """Bind a socket that stays bound as long as the stack.

    Raises:
        OSError: it cannot be bound.
    """
    # First as one who does not share: those who share a port let another in who shares too.
    with _socket(family) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((address, port))
    keeper = stack.enter_context(_socket(family))
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind((address, port))
    taken: int = keeper.getsockname()[1]
    # That notices only those who listen already; a name that one process can have, the others.
    name = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    name.bind(f"\0ossicle {address} {taken}")
    return taken


def _socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return made
