"""Which web pages may use a server: those that it serves itself, and those it was told.

A browser lets every page of every site open WebSockets to any address, and send forms to it, this
machine's included. It tells the page's origin, and leaves the decision to the server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit


def is_allowed(origin: str | None, host: str, secure: bool, others: Collection[str]) -> bool:
    """Whether a request may come from such a page.

    In clear text a host must be an address or localhost: any other name may have been made to point
    here by a page that wants to pass for ours (DNS rebinding). With TLS the browser has checked
    that the name is in our certificate.

    Args:
        origin: the header of that name; None where no page of a browser asks.
        host: the header of that name.
        secure: the connection is encrypted.
        others: origins that are allowed besides our own.
    """
    if origin is None or origin in others:
        return True
    try:
        page = urlsplit(origin)
        ours = origin_of(urlsplit(f"{'https' if secure else 'http'}://{host}")) == origin_of(page)
    except ValueError:
        return False
    return ours and (secure or _is_unmistakable(page.hostname or ""))


def origin_of(address: SplitResult) -> str:
    """Scheme, host and port as browsers write them: in lower case, without the scheme's own port.

    Raises:
        ValueError: the port is no number.
    """
    host = address.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(address.scheme)
    port = "" if address.port in (None, usual) else f":{address.port}"
    return f"{address.scheme}://{host}{port}"


def _is_unmistakable(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
