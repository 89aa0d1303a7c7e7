"""The command ``ossicle serve``: its limits are flags and environment variables."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_output import errors_in_one_line, fail
from .limits import Limits, environment_variable, flag

if TYPE_CHECKING:
    from .server import SpeechServer

USAGE = 2


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each of :class:`Limits`, which it is given as ``limits``."""
    options = [
        inspect.Parameter(
            limit.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=limit.default,
            annotation=Annotated[
                type(limit.default) if limit.type == "int" else float,
                typer.Option(
                    flag(limit),
                    envvar=environment_variable(limit),
                    help=limit.metadata["help"],
                    rich_help_panel="Limits",
                ),
            ],
        )
        for limit in fields(Limits)
    ]

    @wraps(command)
    def collected(**options: Any) -> None:
        values = {limit.name: options.pop(limit.name) for limit in fields(Limits)}
        try:
            limits = Limits(**values)
        except ValueError as error:
            fail(str(error), USAGE)
        command(**options, limits=limits)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own
        if parameter.name != "limits"
    ]
    collected.__signature__ = inspect.Signature([*parameters, *options])  # type: ignore[attr-defined]
    collected.__annotations__ = {
        parameter.name: parameter.annotation for parameter in [*parameters, *options]
    }
    return collected


@with_limits
def serve_command(
    host: Annotated[
        str,
        typer.Option(
            envvar="OSSICLE_HOST",
            help="Address to listen on; 0.0.0.0 lets every machine of the network in.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(envvar="OSSICLE_PORT", min=0, max=65535, help="Port; 0 takes a free one."),
    ] = 50051,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", envvar="OSSICLE_MODEL", help="Name of a model, or a folder."),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            envvar="OSSICLE_THREADS", min=0, help="Threads of the network; 0: one for each core."
        ),
    ] = 0,
    *,
    limits: Limits,
) -> None:
    """Serve a model over gRPC until Ctrl-C or SIGTERM.

    The connection is neither encrypted nor authenticated. At the end every stream is still sent
    its last final result.
    """
    import logging

    from ossicle.model.runtime import AcousticModel, ModelError, find_model

    from .engine import EngineStopped
    from .server import SpeechServer, run_server

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    threads = threads or os.cpu_count() or 1
    with errors_in_one_line(ModelError, EngineStopped, OSError):
        network = AcousticModel.load(find_model(model), threads=threads)
        server = SpeechServer(network, limits, host, port)
        run_server(server, lambda server: print(banner(server, threads), flush=True))


def banner(server: SpeechServer, threads: int) -> str:
    """What a newly started server says of itself: where it is, what it serves, its limits."""
    from .client_messages import AUTO, ENCODINGS

    info = server.engine.info
    encodings = ", ".join(encoding for encoding in ENCODINGS if encoding != AUTO)
    limits = "\n".join(f"  {line}" for line in server.limits.describe())
    return (
        f"serving on {server.address}\n"
        f"model      {info.name} ({info.language}, look-ahead {info.lookahead_ms} ms)\n"
        f"audio      {encodings}; 8 to 192 kHz\n"
        f"threads    {threads}\n"
        f"limits\n{limits}"
    )
