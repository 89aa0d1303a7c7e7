"""How a server is protected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .loopback import listens_on_loopback
from .tokens import Token, read_tokens
from .watched import Watched

if TYPE_CHECKING:
    from .tls import ServerTls


@dataclass(frozen=True)
class Security:
    """Who may reach a server.

    Attributes:
        tls_cert: PEM file of the server's certificate chain, its own first; None for clear text.
        tls_key: PEM file of the certificate's private key.
        tls_client_ca: PEM file of authorities: clients need a certificate of theirs.
        tokens: file of tokens: calls need one of them.
        insecure: listen in clear text where other machines can read what is said.
        health_port: another port, in clear text, for health checks alone; 0 for none.

    Raises:
        ValueError: choices that make no sense together.
    """

    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    insecure: bool = False
    health_port: int = 0

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("cert", "key") if self.tls_cert else ("key", "cert")
            raise ValueError(f"--tls-{given} needs --tls-{missing}; give both")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key; give all three")
        if not 0 <= self.health_port < 1 << 16:
            raise ValueError(f"--health-port is {self.health_port}; give 0 to 65535")

    @cached_property
    def server_tls(self) -> ServerTls | None:
        """The TLS of the port, None for clear text.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is not what it should be.
        """
        if self.tls_cert is None or self.tls_key is None:
            return None
        from .tls import ServerTls  # it imports gRPC, for which ossicle --help must not wait

        return ServerTls(self.tls_cert, self.tls_key, self.tls_client_ca)

    @cached_property
    def known_tokens(self) -> Watched[tuple[Token, ...]] | None:
        """The tokens that are answered, None if none is asked for.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no file of tokens.
        """
        path = self.tokens
        return None if path is None else Watched([path], lambda: read_tokens(path))

    def check(self, host: str) -> None:
        """Refuse to let others listen by mistake, and files that are not what they should be.

        Args:
            host: the address to listen on.

        Raises:
            ValueError: clear text would leave this machine and nobody said that it may, or a file
                is wrong.
            OSError: a file cannot be read, or the host has no address.
        """
        _ = self.server_tls, self.known_tokens
        if not (self.server_tls or self.insecure or listens_on_loopback(host)):
            raise ValueError(
                f"{host} can be reached from other machines, and in clear text whoever is in "
                "between hears what is said; give --tls-cert and --tls-key, or --insecure if that "
                "network is your own (a container's, a proxy's that speaks TLS)"
            )

    def transport(self, host: str) -> str:
        """For people: how connections to ``host`` are protected."""
        if self.server_tls:
            certificate = self.server_tls.certificate
            names = ", ".join(certificate.names) or "no host"
            return f"TLS, certificate for {names} until {certificate.until}"
        if listens_on_loopback(host):
            return "clear text, on this machine alone"
        return "CLEAR TEXT: others can listen (--insecure)"

    def health(self, address: str) -> str:
        """For people: where health checks are answered, on a server at ``address``."""
        if not self.health_port:
            return address
        return f"{address}, and in clear text on port {self.health_port}"

    def clients(self) -> str:
        """For people: who is answered."""
        conditions = ["with a certificate of --tls-client-ca"] if self.tls_client_ca else []
        if self.known_tokens:
            conditions.append(f"with a token, {len(self.known_tokens.current())} known")
        return ", ".join(conditions) or "everybody who can connect"
