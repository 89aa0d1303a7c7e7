"""Which addresses nobody but this machine can reach."""

from __future__ import annotations

import ipaddress
import socket

_SCHEMES = ("dns:///", "dns:", "ipv4:", "ipv6:")


def listens_on_loopback(host: str) -> bool:
    """Whether a server on ``host`` is reachable from this machine only.

    Raises:
        OSError: the name has no address.
    """
    bare = host.strip("[]")
    if not bare:
        return False  # every address
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f"cannot listen on {host!r}: this name has no address ({error})") from None
    return all(_is_loopback(str(address[4][0])) for address in found)


def connects_to_loopback(address: str) -> bool:
    """Whether a client's ``HOST:PORT``, or any target of gRPC, is this machine itself.

    Names other than "localhost" are not asked for: whoever answers for them might be anybody.
    """
    if address.startswith("unix:"):
        return True
    for scheme in _SCHEMES:
        address = address.removeprefix(scheme)
    host = address
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        host = address.partition(":")[0]
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
