"""Options of a server about HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import typer
from ossicle.service.commands.options import options_of, with_group
from ossicle.service.web.config import WebConfig

_PANEL = "Web page, WebSocket and OpenAI's API"


@dataclass(frozen=True)
class WebOptions:
    """Whether HTTP is served, and to which pages.

    Raises:
        ValueError: an origin is none.
    """

    http: Annotated[
        int | None,
        typer.Option(
            envvar="OSSICLE_HTTP",
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve HTTP on this port of the same address; 0 takes a free one. Default: none.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    http_origin: Annotated[
        list[str],
        typer.Option(
            envvar="OSSICLE_HTTP_ORIGIN",
            metavar="ORIGIN",
            help="A page of another site that may use it, such as https://asr.example.org; may be "
            "given repeatedly.",
            rich_help_panel=_PANEL,
        ),
    ] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the origins."""
        _ = self.config

    @cached_property
    def config(self) -> WebConfig | None:
        """What a server is to be given."""
        origins = tuple(self.http_origin)
        if origins and self.http is None:
            raise ValueError(
                f"--http-origin {origins[0]} lets a page use HTTP, which is not served: add --http"
            )
        return None if self.http is None else WebConfig(self.http, origins)


with_web = with_group("web", options_of(WebOptions), WebOptions)
"""Gives a command :class:`WebOptions` as ``web``."""
