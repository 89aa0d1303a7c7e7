"""Who sends a request over HTTP, in the terms of gRPC."""

from __future__ import annotations

from aiohttp import web
from ossicle.service.telemetry.call import REQUEST_ID

from .calls import Caller

# What gRPC's clients send as metadata; other headers are the browser's own affair.
_PASSED = ("authorization", REQUEST_ID, "traceparent", "tracestate")
_BEARER = "bearer."


def caller_of(request: web.Request) -> Caller:
    """The caller of a request.

    A page cannot set headers of a WebSocket. It offers the subprotocol ``bearer.TOKEN`` instead.
    """
    metadata = [(name, value) for name in _PASSED for value in request.headers.getall(name, ())]
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", ()))
    metadata += [
        ("authorization", f"Bearer {protocol.removeprefix(_BEARER)}")
        for protocol in map(str.strip, offered.split(","))
        if protocol.startswith(_BEARER)
    ]
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return Caller(tuple(metadata), f"http:{peer[0]}:{peer[1]}" if peer else "http")
