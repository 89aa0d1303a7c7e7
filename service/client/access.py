"""How a client knows its server and shows itself: TLS, client certificates, tokens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import grpc
import grpc.aio
from ossicle.service.security.loopback import connects_to_loopback
from ossicle.service.security.pem import read_authorities, read_pair

from .messages import channel_options

PathLike = str | os.PathLike[str]
# A server does not read more metadata than 16 KiB, and would not say what was too long.
_LONGEST_TOKEN = 4096
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tls:
    """An encrypted connection to a server that proves who it is.

    Attributes:
        ca: PEM file of the authorities that may vouch for the server; None for the public ones,
            as gRPC ships them.
        certificate: PEM file with the client's own certificate chain, for servers that ask for one.
        key: PEM file with its private key.
        server_name: the name that the server's certificate must have; "" for the host connected to.

    Raises:
        ValueError: a certificate without its key, or the reverse.
    """

    ca: PathLike | None = None
    certificate: PathLike | None = None
    key: PathLike | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        """Check that what belongs together is there."""
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.certificate else ("key", "certificate")
            raise ValueError(f"a client's {given} without its {missing}; give both")


@dataclass(frozen=True)
class Access:
    """How a client connects to any of its addresses.

    Attributes:
        tls: None for a connection in clear text.
        token: the bearer token to send with each call of the speech service.

    Raises:
        ValueError: the token cannot be one.
    """

    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the token, which must not appear in the message."""
        if self.token is not None and not (
            0 < len(self.token) <= _LONGEST_TOKEN and all(" " < c < "\x7f" for c in self.token)
        ):
            raise ValueError(
                "the token is empty, too long, or has spaces, line ends or letters outside ASCII; "
                "give it as ossicle token add printed it"
            )

    def check(self, address: str) -> None:
        """Refuse to send a token where others can read it.

        Raises:
            ValueError: the connection is in clear text and leaves this machine.
        """
        if self.token and self.tls is None and not connects_to_loopback(address):
            raise ValueError(
                f"a token for {address} would travel in clear text, for all to read; connect with "
                "TLS (--tls or --ca, in Python tls=Tls(...))"
            )

    def channel(self, address: str, *, alone: bool = False) -> grpc.Channel:
        """A channel for programs with threads.

        Args:
            address: host and port.
            alone: with a connection of its own; else channels to one address share theirs.

        Raises:
            OSError: a PEM file cannot be read.
            ValueError: it is not what it should be, or the token may not be sent so.
        """
        self.check(address)
        options = self._options(address, alone)
        if self.tls is None:
            return grpc.insecure_channel(address, options=options)
        return grpc.secure_channel(address, _credentials(self.tls), options=options)

    def aio_channel(self, address: str, *, alone: bool = False) -> grpc.aio.Channel:
        """A channel for asyncio.

        Args:
            address, alone: as for :meth:`channel`.

        Raises:
            OSError, ValueError: as :meth:`channel`.
        """
        self.check(address)
        options = self._options(address, alone)
        if self.tls is None:
            return grpc.aio.insecure_channel(address, options=options)
        return grpc.aio.secure_channel(address, _credentials(self.tls), options=options)

    @property
    def metadata(self) -> Metadata:
        """What goes with every call of the speech service; health checks need no token."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def explain(self, details: str) -> str | None:
        """What to do about a connection that gRPC could not make, None if TLS has no part in it.

        Args:
            details: what gRPC says of it.
        """
        if self.tls is None:
            if "Socket closed" in details or "Connection reset" in details:
                return (
                    "it closed the connection at once; if it speaks TLS, connect with --tls or --ca"
                )
            return None
        if "WRONG_VERSION_NUMBER" in details:
            return "it does not speak TLS; connect without --tls and --ca, or serve with --tls-cert"
        if "certificate has expired" in details:
            return "its certificate has expired; its operator must renew it"
        if "certificate is not yet valid" in details:
            return "its certificate is not valid yet; compare the clocks of both machines"
        if "Hostname Verification" in details or "not in peer certificate" in details:
            return (
                "its certificate is for another host; connect by a name that is in it, or say "
                "which with --server-name"
            )
        if "CERTIFICATE_VERIFY_FAILED" in details:
            known = f"an authority in {os.fspath(self.tls.ca)}" if self.tls.ca else "a public one"
            return (
                f"the authority that signed its certificate is unknown, not {known}; give the "
                "authority's certificate with --ca"
            )
        if "Socket closed" in details or "Connection reset" in details:
            if self.tls.certificate is None:
                return (
                    "it closed the connection after the handshake; if it asks for client "
                    "certificates, give --client-cert and --client-key"
                )
            return (
                f"it does not accept the client certificate {os.fspath(self.tls.certificate)}; is "
                "it expired, or of another authority than the server's --tls-client-ca?"
            )
        return None

    def _options(self, address: str, alone: bool) -> list[tuple[str, str | int]]:
        options = [*channel_options(), ("grpc.use_local_subchannel_pool", int(alone))]
        if connects_to_loopback(address):
            # What http_proxy names is not this machine, and would see what is sent in clear text.
            options.append(("grpc.enable_http_proxy", 0))
        if self.tls and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


CLEAR_TEXT = Access()


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    roots = None if tls.ca is None else read_authorities(tls.ca)
    key, chain = (None, None)
    if tls.certificate is not None and tls.key is not None:
        key, chain = read_pair(tls.certificate, tls.key)
    return grpc.ssl_channel_credentials(roots, key, chain)
