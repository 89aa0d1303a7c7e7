"""The server's side of TLS: its certificate, and the authority of its clients'."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import grpc

from .pem import read_authorities, read_pair
from .watched import Watched

log = logging.getLogger(__name__)

# A certificate is renewed well before this; what is left of it then has been forgotten.
_SOON_SECONDS = 7 * 24 * 3600
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python gives no name: an expired certificate is to be
# described, not refused.
_NO_CHECK_TIME = 0x200000


@dataclass(frozen=True)
class Certificate:
    """What a certificate says of itself.

    Attributes:
        names: the hosts that it is for.
        expires: when it ends, in seconds of Unix time.
    """

    names: tuple[str, ...]
    expires: float

    @property
    def until(self) -> str:
        """Its end for people, in UTC."""
        return f"{datetime.fromtimestamp(self.expires, timezone.utc):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class _Files:
    """What the files of a port make: the same for gRPC and for Python's own servers."""

    grpc: grpc.ServerCertificateConfiguration
    python: ssl.SSLContext
    certificate: Certificate


class ServerTls:
    """The TLS of a port, from files that may be replaced while it serves.

    New files count from the next connection on; connections that are open stay as they are.

    Args:
        certificate: PEM file with the server's certificate chain, its own first.
        key: PEM file with its private key.
        client_ca: PEM file of the authorities of clients; None asks clients for no certificate.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        paths = [certificate, key, *([client_ca] if client_ca else [])]
        self._files = Watched(paths, self._read)

    @property
    def certificate(self) -> Certificate:
        """The certificate that new connections are shown."""
        return self._files.current().certificate

    def credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server listens with; each connection asks for the files anew."""
        return grpc.dynamic_ssl_server_credentials(
            self._files.current().grpc,
            lambda: self._files.current().grpc,
            require_client_authentication=self._client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """What a server of Python listens with; each connection asks for the files anew."""

        context = _Renewing(ssl.PROTOCOL_TLS_SERVER)
        context.current = lambda: self._files.current().python
        return context

    def _context(self) -> ssl.SSLContext:
        """The files as they are now."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._client_ca)
        if self._client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            # Who resumes a session is not asked for the certificate again, which may have ended. Of
            # TLS 1.2 a context remembers sessions without tickets, too: see _Renewing.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        context.load_cert_chain(self._certificate, self._key)
        return context

    def _read(self) -> _Files:
        pair = read_pair(self._certificate, self._key)
        roots = None if self._client_ca is None else read_authorities(self._client_ca)
        described = describe(self._certificate, self._key)
        left = described.expires - time.time()
        if left < _SOON_SECONDS:
            log.warning(
                "the certificate %s %s on %s; renew it: the new files are taken without a restart",
                os.fspath(self._certificate),
                "ends" if left > 0 else "has expired, and clients refuse it: it ended",
                described.until,
            )
        for_grpc = grpc.ssl_server_certificate_configuration([pair], roots)
        return _Files(for_grpc, self._context(), described)


class _Renewing(ssl.SSLContext):
    """Makes each connection with the context that is the current one then.

    A context remembers the sessions of its clients, and who resumes one is not asked for a
    certificate again. Were all connections made by one context that turns to other files, a client
    whose authority was taken out would get in with its old session, as OpenSSL 3.6 lets it.
    """

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What asyncio makes a connection with."""
        return self.current().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def describe(certificate: Path, key: Path) -> Certificate:
    """What a certificate says of itself, as a client would be shown it.

    Python reads certificates only from a connection, so one is made, in memory.

    Raises:
        OSError: a file cannot be read.
        ValueError: no connection can be made with them.
    """
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client_side.verify_flags |= _NO_CHECK_TIME
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        server_side.load_cert_chain(certificate, key)
        client_side.load_verify_locations(certificate)
        server = server_side.wrap_bio(there, back, server_side=True)
        client = client_side.wrap_bio(back, there)
        for end in (client, server, client):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
        facts = client.getpeercert() or {}
    except ssl.SSLError as error:
        raise ValueError(
            f"no client can connect with {os.fspath(certificate)}: {error.reason or error}"
        ) from None
    names = cast("tuple[tuple[str, str], ...]", facts.get("subjectAltName", ()))
    return Certificate(
        tuple(name for _, name in names),
        float(ssl.cert_time_to_seconds(str(facts["notAfter"]))),
    )
