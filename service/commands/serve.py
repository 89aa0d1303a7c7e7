"""The command ``ossicle serve``: its limits are flags and environment variables."""

from __future__ import annotations

import inspect
import logging
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.model.commands.options import Search, thread_count
from ossicle.service.commands.options import (
    USAGE,
    ThreadsOption,
    with_group,
)
from ossicle.service.commands.output import errors_in_one_line, fail
from ossicle.service.commands.security import SecurityOptions, with_security
from ossicle.service.commands.telemetry import TelemetryOptions, with_telemetry
from ossicle.service.commands.web import WebOptions, with_web
from ossicle.service.limits import Limits, environment_variable, flag
from ossicle.service.telemetry.logs import LogFormat

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding, DecodingConfig
    from ossicle.model.folder import LoadedModel
    from ossicle.service.server import SpeechServer

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
    threads: ThreadsOption = 0,
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
    """
    from ossicle.model.decoding.decoders import DecodingConfig
    from ossicle.model.runtime import ModelError
    from ossicle.service.engine import EngineStopped
    from ossicle.service.server import SpeechServer, run_server

    threads = thread_count(threads)
    search = DecodingConfig(decoder.value if decoder else None, beam_width)
    with (
        errors_in_one_line(ModelError, EngineStopped, OSError),
        telemetry.started() as (watched, metrics),
    ):
        try:
            server = SpeechServer(
                load_models(model, threads),
                limits,
                host,
                port,
                search=search,
                telemetry=watched,
                security=security,
                web=web.config,
            )
        except ValueError as error:
            fail(str(error), USAGE)

        def announce(server: SpeechServer) -> None:
            if telemetry.log_format is LogFormat.JSON:
                log.info("serving", extra={"facts": description(server, threads, metrics)})
            else:
                print(banner(server, threads, metrics), flush=True)

        run_server(server, announce)


def load_models(names: list[str] | None, threads: int) -> list[LoadedModel]:
    """The models to serve.

    Args:
        names: of bundled models, or folders; None for what OSSICLE_MODEL says, or the default.
        threads: of the processor, for one step.

    Raises:
        ModelError: one is not there or cannot be loaded.
    """
    from ossicle.model.folder import LoadedModel
    from ossicle.model.runtime import find_model

    variable = os.environ.get("OSSICLE_MODEL", "")
    wanted = names or [name.strip() for name in variable.split(",")]
    return [LoadedModel.load(find_model(name), threads) for name in wanted]


def description(server: SpeechServer, threads: int, metrics: str) -> dict[str, str | int | float]:
    """What a newly started server says of itself in one line of its log."""
    return {
        "address": server.address,
        "transport": server.security.transport(server.host),
        "clients": server.security.clients(),
        "health": server.security.health(server.address),
        "page": server.page,
        "metrics": metrics,
        "model": ",".join(model.info.name for model in server.models.all),
        "threads": threads,
        **asdict(server.limits),
    }


def banner(server: SpeechServer, threads: int, metrics: str) -> str:
    """What a newly started server says of itself: where it is, what it serves, its limits."""
    from ossicle.service.client.messages import AUTO, ENCODINGS

    models = "\n".join(
        f"model      {info.name} ({info.language}, look-ahead {info.lookahead_ms} ms)"
        for info in (model.info for model in server.models.all)
    )
    encodings = ", ".join(encoding for encoding in ENCODINGS if encoding != AUTO)
    limits = "\n".join(f"  {line}" for line in server.limits.describe())
    decoder = ", ".join(
        dict.fromkeys(searching(model.decoding, server.search) for model in server.models.all)
    )
    return (
        f"serving on {server.address}\n"
        f"{models}\n"
        f"audio      {encodings}; 8 to 192 kHz\n"
        f"threads    {threads}\n"
        f"decoder    {decoder}\n"
        f"transport  {server.security.transport(server.host)}\n"
        f"clients    {server.security.clients()}\n"
        f"health     {server.security.health(server.address)}\n"
        f"page       {server.page or 'not served (--http 8080)'}\n"
        f"metrics    {metrics or 'not served'}\n"
        f"limits\n{limits}"
    )


def searching(decoding: Decoding, chosen: DecodingConfig) -> str:
    """For people: how transcripts of a model are searched for unless a client says."""
    search: str = chosen.search or ("beam" if decoding.language else "greedy")
    if search != "beam":
        return search
    width = chosen.beam_width or decoding.settings.beam.width
    language = "a" if decoding.language else "no"
    return f"beam of {width} hypotheses, {language} language model"
