"""Options of a server about what of it is watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from ossicle.service.commands.options import USAGE, options_of, with_group
from ossicle.service.commands.output import fail
from ossicle.service.telemetry.logs import LogFormat, configure_logging

if TYPE_CHECKING:
    from ossicle.service.telemetry.telemetry import Telemetry

_PANEL = "Seeing inside"


@dataclass(frozen=True)
class TelemetryOptions:
    """What of a server is watched."""

    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="OSSICLE_METRICS_PORT",
            min=0,
            max=65535,
            help="Serve Prometheus metrics on this port; 0 takes a free one. Default: none.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    metrics_host: Annotated[
        str,
        typer.Option(
            envvar="OSSICLE_METRICS_HOST",
            help="Address to serve metrics on, over plain HTTP; 0.0.0.0 for all networks.",
            rich_help_panel=_PANEL,
        ),
    ] = "127.0.0.1"
    log_format: Annotated[
        LogFormat,
        typer.Option(
            envvar="OSSICLE_LOG_FORMAT",
            help="Log lines for people, or a JSON object each.",
            rich_help_panel=_PANEL,
        ),
    ] = LogFormat.TEXT
    log_transcripts: Annotated[
        bool,
        typer.Option(
            "--log-transcripts",
            envvar="OSSICLE_LOG_TRANSCRIPTS",
            help="Log the text of every final; else what is said is never logged.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    traces: Annotated[
        bool,
        typer.Option(
            "--traces",
            envvar="OSSICLE_TRACES",
            help="Send OpenTelemetry traces of calls where OTEL_EXPORTER_OTLP_ENDPOINT says; needs "
            "the extra otel.",
            rich_help_panel=_PANEL,
        ),
    ] = False

    @contextmanager
    def started(self, worker: int | None = None) -> Iterator[tuple[Telemetry, str]]:
        """Log, trace and serve metrics meanwhile; what cannot be done ends the command.

        Args:
            worker: the number of this process; None if it is alone.

        Yields:
            What a server is to be given, and the address of its metrics, "" if they are not served.

        Raises:
            OSError: metrics cannot be served there.
        """
        from ossicle.service.telemetry.page import served_over_http
        from ossicle.service.telemetry.telemetry import Telemetry

        configure_logging(self.log_format, worker=worker)
        with ExitStack() as stack:
            tracing = None
            if self.traces:
                try:
                    from ossicle.service.telemetry.tracing import Tracing
                except ImportError as error:
                    fail(f"--traces: {error}", USAGE)
                tracing = Tracing()
                stack.callback(tracing.close)
            telemetry = Telemetry(tracing=tracing, log_transcripts=self.log_transcripts)
            address = ""
            if self.metrics_port is not None:
                served = served_over_http(
                    telemetry.metrics.registry, self.metrics_host, self.metrics_port
                )
                address = stack.enter_context(served)
            yield telemetry, address


with_telemetry = with_group("telemetry", options_of(TelemetryOptions), TelemetryOptions)
"""Gives a command :class:`TelemetryOptions` as ``telemetry``."""
