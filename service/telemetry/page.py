"""The page of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server


@contextmanager
def served_over_http(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Serve metrics over HTTP meanwhile.

    Args:
        registry: what is measured.
        host: address to listen on.
        port: 0 for any that is free.

    Yields:
        The page's address.

    Raises:
        OSError: the address cannot be listened on.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise OSError(
            f"cannot serve metrics on {host}:{port}: {error.strerror or error}; choose another "
            "--metrics-port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
