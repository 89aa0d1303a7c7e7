"""Options of every command that connects to a server: how to encrypt, and who is calling."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.model.commands.errors import one_line
from ossicle.service.commands.options import USAGE, options_of, with_group
from ossicle.service.commands.output import fail

if TYPE_CHECKING:
    from ossicle.service.client import SpeechClient
    from ossicle.service.client.access import Access

_PANEL = "Connection to a server"


@dataclass(frozen=True)
class Connection:
    """How a command connects to the server that it was given."""

    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            envvar="OSSICLE_TLS",
            help="Encrypt, and trust the public authorities; the other TLS options imply it.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_CA",
            metavar="FILE",
            help="PEM file of the authorities to trust instead.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    client_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_CLIENT_CERT",
            metavar="FILE",
            help="PEM file of this client's certificate, where the server asks for one.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    client_key: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_CLIENT_KEY",
            metavar="FILE",
            help="PEM file with its private key.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    server_name: Annotated[
        str,
        typer.Option(
            envvar="OSSICLE_SERVER_NAME",
            metavar="NAME",
            help="The name in the server's certificate, if it is not the one connected to.",
            rich_help_panel=_PANEL,
        ),
    ] = ""
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_TOKEN_FILE",
            metavar="FILE",
            help="File with the token to show; OSSICLE_TOKEN may hold the token itself.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def open(self, server: str) -> SpeechClient:
        """A client; options that cannot be followed end the command."""
        from ossicle.service.client import SpeechClient

        access = self.access(server)
        try:
            return SpeechClient(server, tls=access.tls, token=access.token)
        except (OSError, ValueError) as error:
            fail(one_line(error), USAGE)

    def access(self, server: str) -> Access:
        """What they say, checked for an address; what cannot be followed ends the command."""
        from ossicle.service.client.access import Access, Tls
        from ossicle.service.client.replicas import parse_addresses

        try:
            tls = None
            if self.tls or self.ca or self.client_cert or self.client_key or self.server_name:
                tls = Tls(self.ca, self.client_cert, self.client_key, self.server_name)
            access = Access(tls, self._token())
            for address in parse_addresses(server):
                access.check(address)
        except (OSError, ValueError) as error:
            fail(one_line(error), USAGE)
        return access

    def _token(self) -> str | None:
        """A token on the command line could be read by everybody on this machine."""
        if self.token_file is None:
            return os.environ.get("OSSICLE_TOKEN") or None
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError(f"--token-file {self.token_file} is no text") from None


with_connection = with_group("connection", options_of(Connection), Connection)
"""Gives a command :class:`Connection` as ``connection``."""
