"""``ossicle serve --workers``: the supervisor, and what each worker does."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import typer
from ossicle.service.commands.options import USAGE
from ossicle.service.commands.output import errors_in_one_line, fail
from ossicle.service.commands.serving import Serving, banner, description
from ossicle.service.commands.telemetry import TelemetryOptions
from ossicle.service.hangup import held
from ossicle.service.workers.messages import Broken, Ready
from ossicle.service.workers.ports import check_platform, kept
from ossicle.service.workers.share import Share, divided

if TYPE_CHECKING:
    from ossicle.service.server import SpeechServer

# Beside the grace, in which streams get their last finals: for a step, and for what Python does at
# the end of a process.
_STOP_SECONDS = 7.0


@dataclass(frozen=True)
class Worker:
    """What each worker does; sent to it when it starts.

    Attributes:
        serving: what is served.
        processes: how many workers there are.
        telemetry: what of it is watched; the metrics are served by the supervisor.
        metrics: where, "" if they are not served.
    """

    serving: Serving
    processes: int
    telemetry: TelemetryOptions
    metrics: str

    def __call__(self, number: int, connection: Connection) -> None:
        """Serve until told to stop; the end of the process."""
        # Ctrl-C reaches all processes of a terminal; until the server sees to it, only the
        # supervisor need.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with held():
                self._serve(number, connection)
        except typer.Exit as end:
            sys.exit(end.exit_code)

    def _serve(self, number: int, connection: Connection) -> None:
        from ossicle.model.runtime import ModelError
        from ossicle.service.admission import EngineStopped
        from ossicle.service.server import run_server
        from ossicle.service.workers.link import Link

        serving = self.serving
        with (
            errors_in_one_line(ModelError, EngineStopped, OSError),
            self.telemetry.started(number) as (watched, _),
        ):
            link = Link(connection, watched.metrics.registry)
            share = Share(self.processes, serving.limits, link)
            limits = divided(serving.limits, self.processes, number)
            try:
                server = serving.server(watched, limits, share, lambda: link.tell(Broken()))
            except ValueError as error:
                fail(str(error), USAGE)
            link.start()

            def ready(server: SpeechServer) -> None:
                link.answer_by(asyncio.get_running_loop())
                greeting = banner(server, serving.threads, self.metrics)
                link.tell(Ready(greeting, description(server, serving.threads, self.metrics)))

            run_server(server, ready)


def supervise(
    serving: Serving,
    processes: int,
    telemetry: TelemetryOptions,
    announce: Callable[[str, dict[str, str | int | float]], None],
) -> None:
    """Serve with several processes; ends the command with the exit code of all of them.

    Args:
        serving: what is served.
        processes: how many workers there are.
        telemetry: what of it is watched.
        announce: told what the server says of itself, for people and for machines.

    Raises:
        OSError: a port cannot be had.
        ValueError: this system cannot do it, or there are fewer streams than workers.
    """
    check_platform()
    divided(serving.limits, processes, 0)
    from ossicle.service.telemetry.logs import configure_logging
    from ossicle.service.telemetry.page import served_over_http
    from ossicle.service.workers.supervisor import Supervisor

    configure_logging(telemetry.log_format)
    with ExitStack() as stack:
        port = stack.enter_context(kept(serving.host, serving.port))
        if serving.security.health_port:
            stack.enter_context(kept(serving.host, serving.security.health_port))
        web = serving.web
        if web:
            web = replace(web, port=stack.enter_context(kept(serving.host, web.port)))
        supervisor = Supervisor(
            processes,
            serving.limits.grace_seconds + _STOP_SECONDS,
            lambda ready: announce(ready.greeting, ready.facts),
        )
        page = ""
        if telemetry.metrics_port is not None:
            page = stack.enter_context(
                served_over_http(
                    supervisor.registry, telemetry.metrics_host, telemetry.metrics_port
                )
            )
        worker = Worker(
            replace(serving, port=port, web=web),
            processes,
            replace(telemetry, metrics_port=None),
            page,
        )
        code = supervisor.run(worker)
    if code:
        raise typer.Exit(code)
