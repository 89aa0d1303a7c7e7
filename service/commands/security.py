"""Options of a server about who may reach it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from ossicle.service.commands.options import options_of, with_group
from ossicle.service.security.config import Security

_PANEL = "Security"


@dataclass(frozen=True)
class SecurityOptions(Security):
    """Who may reach a server, as its command line says it."""

    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_TLS_CERT",
            metavar="FILE",
            help="PEM file of the server's certificate chain, its own first; turns TLS on. Renewed "
            "files are taken without a restart.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_TLS_KEY",
            metavar="FILE",
            help="PEM file of the certificate's private key.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_TLS_CLIENT_CA",
            metavar="FILE",
            help="PEM file of authorities: clients need a certificate of theirs.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    tokens: Annotated[
        Path | None,
        typer.Option(
            envvar="OSSICLE_TOKENS",
            metavar="FILE",
            help="File of ossicle token: calls need one of its tokens.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="OSSICLE_INSECURE",
            help="Listen in clear text where other machines can read what is said.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    health_port: Annotated[
        int,
        typer.Option(
            envvar="OSSICLE_HEALTH_PORT",
            min=0,
            max=65535,
            help="Another port, in clear text, for health checks alone; 0: none.",
            rich_help_panel=_PANEL,
        ),
    ] = 0


with_security = with_group("security", options_of(SecurityOptions), SecurityOptions)
"""Gives a command :class:`SecurityOptions` as ``security``."""
