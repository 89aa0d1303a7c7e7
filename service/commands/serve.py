"""The command ``ossicle serve``: its limits are flags and environment variables."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated

import typer
from ossicle.model.commands.options import Search, thread_count
from ossicle.service.commands.options import USAGE, with_group
from ossicle.service.commands.output import errors_in_one_line, fail
from ossicle.service.commands.security import SecurityOptions, with_security
from ossicle.service.commands.serving import Serving, banner, description
from ossicle.service.commands.telemetry import TelemetryOptions, with_telemetry
from ossicle.service.commands.web import WebOptions, with_web
from ossicle.service.hangup import held
from ossicle.service.limits import CLIENTS_SEND_BYTES, Limits, environment_variable, flag
from ossicle.service.telemetry.logs import LogFormat

log = logging.getLogger(__name__)

_LIMITS = [
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


@with_security
@with_web
@with_telemetry
@with_group("limits", _LIMITS, Limits)
def serve_command(
    host: Annotated[
        str,
        typer.Option(
            envvar="OSSICLE_HOST",
            help="Address to listen on; 0.0.0.0 lets every machine of the network in, which needs "
            "--tls-cert or --insecure.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(envvar="OSSICLE_PORT", min=0, max=65535, help="Port; 0 takes a free one."),
    ] = 50051,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Name of a model, or a folder; may be given repeatedly, the first is the default. "
            "Else what OSSICLE_MODEL says, several with commas between them, or the bundled model.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            envvar="OSSICLE_WORKERS",
            min=1,
            help="Processes that share the port, each with a part of the streams; Linux only.",
        ),
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(
            envvar="OSSICLE_THREADS",
            min=0,
            help="Threads of the network in each process; 0: one for each core, divided among the "
            "workers.",
        ),
    ] = 0,
    decoder: Annotated[
        Search | None,
        typer.Option(
            envvar="OSSICLE_DECODER",
            help="Search for clients that choose none. Default: beam if the model has a language "
            "model, else greedy.",
        ),
    ] = None,
    beam_width: Annotated[
        int,
        typer.Option(
            envvar="OSSICLE_BEAM_WIDTH",
            min=0,
            help="Hypotheses kept for clients that do not say; 0: the model's choice.",
        ),
    ] = 0,
    *,
    limits: Limits,
    telemetry: TelemetryOptions,
    security: SecurityOptions,
    web: WebOptions,
) -> None:
    """Serve models over gRPC until Ctrl-C or SIGTERM; SIGHUP reads their folders anew.

    Without a certificate it listens in clear text, and only where no other machine can reach it.
    At the end every stream is still sent its last final result.

    Example: `ossicle serve --host 0.0.0.0 --tls-cert server.pem --tls-key server.key`
    """
    if limits.max_message_bytes < CLIENTS_SEND_BYTES:
        fail(
            f"--max-message-bytes is {limits.max_message_bytes}; give {CLIENTS_SEND_BYTES} or "
            "more: clients send so much at once",
            USAGE,
        )
    serving = Serving(
        models=tuple(model or ()),
        threads=threads or max(1, thread_count(0) // workers),
        decoder=decoder.value if decoder else None,
        beam_width=beam_width,
        host=f"[{host}]" if ":" in host and not host.startswith("[") else host,
        port=port,
        limits=limits,
        security=security,
        web=web.config,
    )

    def announce(greeting: str, facts: dict[str, str | int | float]) -> None:
        if telemetry.log_format is LogFormat.JSON:
            log.info("serving", extra={"facts": facts})
        else:
            print(greeting, flush=True)

    with held():  # until there is a server to heed it
        _serve(serving, workers, telemetry, announce)


def _serve(
    serving: Serving,
    workers: int,
    telemetry: TelemetryOptions,
    announce: Callable[[str, dict[str, str | int | float]], None],
) -> None:
    if workers > 1:
        from ossicle.service.commands.workers import supervise

        with errors_in_one_line(OSError):
            try:
                supervise(serving, workers, telemetry, announce)
            except ValueError as error:
                fail(str(error), USAGE)
        return

    from ossicle.model.runtime import ModelError
    from ossicle.service.admission import EngineStopped
    from ossicle.service.server import run_server

    with (
        errors_in_one_line(ModelError, EngineStopped, OSError),
        telemetry.started() as (watched, metrics),
    ):
        try:
            server = serving.server(watched)
        except ValueError as error:
            fail(str(error), USAGE)
        run_server(
            server,
            lambda server: announce(
                banner(server, serving.threads, metrics),
                description(server, serving.threads, metrics),
            ),
        )
