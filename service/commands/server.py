"""Commands that ask a server, or this installation, what it can do: ``models``, ``health``."""

from __future__ import annotations

from typing import Annotated

import typer
from ossicle.model.commands.tables import print_table
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.options import DEFAULT_SERVER, ServerOption
from ossicle.service.commands.output import FAILURE, errors_in_one_line, fail

# Of a digest; enough to tell versions apart.
_SHOWN_DIGITS = 12


@with_connection
def models_command(
    server: Annotated[
        str | None,
        typer.Option(
            envvar="OSSICLE_SERVER",
            metavar="HOST:PORT",
            help="List the models of this server; by default those that are installed here.",
        ),
    ] = None,
    *,
    connection: Connection,
) -> None:
    """List models with their language, sample rate and look-ahead.

    Example: `ossicle models --server localhost:50051`
    """
    from ossicle.service.client import OssicleError
    from rich.table import Table

    columns = ("name", "language", "rate", "look-ahead", "description")
    table = Table(*columns, *(["version"] if server else []))
    if server:
        with errors_in_one_line(OssicleError), connection.open(server) as client:
            for model in client.list_models().models:
                table.add_row(
                    model.name,
                    ", ".join(model.languages),
                    f"{model.sample_rate} Hz",
                    f"{model.lookahead * 1000:.0f} ms",
                    model.description,
                    model.digest[:_SHOWN_DIGITS],
                )
    else:
        from ossicle.model.runtime import ModelError, list_models

        with errors_in_one_line(ModelError):
            for info in list_models():
                table.add_row(
                    info.name,
                    info.language,
                    f"{info.sample_rate} Hz",
                    f"{info.lookahead_ms} ms",
                    info.description,
                )
    print_table(table)


@with_connection
def health_command(
    server: ServerOption = DEFAULT_SERVER,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 5.0,
    *,
    connection: Connection,
) -> None:
    """Tell by the exit code whether a server takes requests: 0 if it does, else 1.

    Example: `ossicle health --server localhost:50051 --timeout 2`
    """
    from ossicle.service.client import OssicleError

    with errors_in_one_line(OssicleError), connection.open(server) as client:
        if not client.health(timeout=timeout):
            fail(f"the server at {server} does not take requests now", FAILURE)
    print("serving")
