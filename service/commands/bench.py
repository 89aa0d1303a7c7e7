"""The commands ``ossicle bench``: what a server can take."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ossicle.model.commands.options import Search
from ossicle.service.commands.connection import Connection, with_connection
from ossicle.service.commands.options import (
    USAGE,
    ModelOption,
    OptionalServerOption,
    ThreadsOption,
)
from ossicle.service.commands.output import FAILURE, complain, errors_in_one_line, fail

if TYPE_CHECKING:
    from ossicle.service.bench.measurement import Plan
    from ossicle.service.bench.recording import Recording
    from ossicle.service.bench.summary import Run
    from ossicle.service.bench.target import Target

bench_app = typer.Typer(name="bench", help="Measure a server under load.", no_args_is_help=True)

# Chunks that were sent later than this share of their length say more of the client than the server
_LATE_SHARE = 0.5


@bench_app.command("server")
@with_connection
def bench_server_command(
    serve_options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- OPTIONS OF ossicle serve]", help="For the server that is started."
        ),
    ] = None,
    server: OptionalServerOption = None,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Page of that server's metrics, for its processor time and memory.",
        ),
    ] = "",
    streams: Annotated[
        list[int] | None,
        typer.Option(
            "--streams", "-n", min=1, help="Streams at once; repeat for one load after the other."
        ),
    ] = None,
    files: Annotated[
        int,
        typer.Option(
            min=0,
            help="Put each load on once more beside so many clients that send files as fast as "
            "the server takes them.",
        ),
    ] = 0,
    chunk_ms: Annotated[
        int, typer.Option(min=10, max=5000, help="Audio of one message, in milliseconds.")
    ] = 100,
    ramp: Annotated[
        float, typer.Option(min=0, help="Seconds over which the streams of a load begin.")
    ] = 10.0,
    duration: Annotated[
        float, typer.Option(min=1, help="Seconds for which all of them stream.")
    ] = 60.0,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Send its recordings; default: the bundled one."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Recordings of the manifest at most, drawn at random.")
    ] = 16,
    model: ModelOption = None,
    decoder: Annotated[
        Search | None, typer.Option(help="Search to ask for; default: the server's choice.")
    ] = None,
    beam_width: Annotated[
        int, typer.Option(min=0, help="Hypotheses to ask for; 0: the server's choice.")
    ] = 0,
    threads: ThreadsOption = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that was measured as JSON.")
    ] = False,
    *,
    connection: Connection,
) -> None:
    """Stream real speech from many clients at once, and see how a server does.

    Starts a server in a process of its own unless --server names one. Each client has a connection
    of its own and sends one recording after the other at the pace of speech. First every recording
    is sent alone: its transcript under load should be the same.

    Latency of a partial: from when the last audio that it covers was due to be spoken until it is
    here, so it holds the model's look-ahead and the wait for a chunk and a block to be full. "Since
    sent" counts from when the chunk with that audio was sent. Latency of a final: from half-closing
    until the last final is here. They are counted while all clients stream.

    The exit code is 1 if a stream failed or was understood otherwise than alone.

    Example: `ossicle bench server -n 16 -n 64 --json > load.json`
    """
    from ossicle.data.audio import AudioError
    from ossicle.data.manifest import ManifestError
    from ossicle.service.bench.load import Settings
    from ossicle.service.bench.measurement import Plan
    from ossicle.service.bench.target import ServerSettings, Target, TargetError, own_server

    options = tuple(serve_options or ())
    if server and (options or threads):
        fail("--threads and options of ossicle serve are for a server that is started", USAGE)
    if metrics and not server:
        fail("--metrics is for --server; a server that is started has metrics anyway", USAGE)
    plan = Plan(
        tuple(streams or (32,)),
        duration,
        ramp,
        Settings(
            chunk_ms / 1000,
            model or "" if server else "",
            decoder.value if decoder else "",
            beam_width,
        ),
        files,
    )
    with errors_in_one_line(TargetError, ManifestError, AudioError, OSError):
        recordings = _recordings(manifest, limit)
        if server:
            runs = _measure(Target(server, metrics), connection, recordings, plan)
        else:
            settings = ServerSettings(max(plan.streams) + files, model, threads, options)
            with own_server(settings) as target:
                runs = _measure(target, connection, recordings, plan)
    if as_json:
        print(json.dumps(_document(plan, recordings, runs), indent=2))
    else:
        print(table(plan, recordings, runs))
    for run in runs:
        for error, reason in run.reasons.items():
            complain(f"{run.streams} streams: {run.errors[error]} x {error}: {reason}")
        if run.late.p95 > _LATE_SHARE * chunk_ms:
            complain(
                f"{run.streams} streams: clients sent {run.late.p95:.0f} ms late (p95); this "
                "machine is too busy to tell how the server does"
            )
    if any(run.failed or run.identical < run.finished for run in runs):
        raise typer.Exit(FAILURE)


def _recordings(manifest: Path | None, limit: int) -> list[Recording]:
    import random

    from ossicle.data.manifest import read_manifest
    from ossicle.data.sample import sample_utterance
    from ossicle.service.bench.recording import load_recordings

    utterances = read_manifest(manifest) if manifest else [sample_utterance()]
    if len(utterances) > limit:
        utterances = random.Random(0).sample(utterances, limit)
    return load_recordings(utterances)


def _measure(
    target: Target, connection: Connection, recordings: list[Recording], plan: Plan
) -> list[Run]:
    import asyncio

    from ossicle.service.bench.measurement import measure

    access = connection.access(target.address)
    with _progress() as tell:
        return asyncio.run(measure(target, access, recordings, plan, tell))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is going on, on a terminal only."""
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(text)


def table(plan: Plan, recordings: list[Recording], runs: list[Run]) -> str:
    """The runs side by side, for people."""
    from ossicle.data.cores import usable_cores

    seconds = sum(recording.seconds for recording in recordings)
    lines = [
        f"{len(recordings)} recording{'s' * (len(recordings) > 1)}, {seconds:.0f} s; chunks of "
        f"{1000 * plan.settings.chunk_seconds:.0f} ms; ramp {plan.ramp_seconds:g} s, then "
        f"{plan.seconds:g} s; {usable_cores()} cores"
    ]

    def row(name: str, value: Callable[[Run], float | int | str], digits: int = 0) -> None:
        cells = []
        for run in runs:
            cell = value(run)
            if isinstance(cell, float):
                cell = "-" if math.isnan(cell) else f"{cell:.{digits}f}"
            cells.append(f"{cell:>12}")
        lines.append(f"{name:<34}{''.join(cells)}")

    row("streams", lambda run: run.streams)
    if plan.files:
        row("clients with files", lambda run: run.files)
        row("  faster than speech, times", lambda run: run.file_speed)
    row("streams held", lambda run: run.held)
    for name, kind in (
        ("partial latency", "partial"),
        ("  since sent", "partial_sent"),
        ("final latency", "final"),
        ("overall latency", "overall"),
    ):
        for quantile in ("p50", "p95", "p99"):
            title = f"{name + ', ' if quantile == 'p50' else '':<22}{quantile}, ms"
            row(title, attrgetter(f"{kind}.{quantile}"))
    row("streams finished", lambda run: run.finished)
    row("streams failed", lambda run: run.failed)
    row("transcripts as when alone", lambda run: f"{run.identical}/{run.finished}")
    row("WER against alone, %", lambda run: 100 * run.wer_alone, 2)
    row("WER against the texts, %", lambda run: 100 * run.wer_text, 1)
    if all(run.server for run in runs):
        for name, field, digits in (
            ("server: processors busy", "cpu_cores", 2),
            ("server: memory, most, MiB", "memory_mib", 0),
            ("server: streams in a step", "batch_streams", 1),
            ("server: network, a step, ms", "network_ms", 1),
            ("server: decoding, a step, ms", "decoding_ms", 1),
            ("server: wait for a step, ms", "queue_wait_ms", 1),
        ):
            row(name, attrgetter(f"server.{field}"), digits)
    row("clients: processors busy", lambda run: run.client_cpu_cores, 2)
    row("clients: sent late by, p95, ms", lambda run: run.late.p95)
    return "\n".join(lines)


def _document(plan: Plan, recordings: list[Recording], runs: list[Run]) -> dict[str, Any]:
    """The runs with what was measured, for machines."""
    from dataclasses import asdict
    from importlib.metadata import version

    from ossicle.data.cores import usable_cores

    return {
        "ossicle": version("ossicle"),
        "platform": sys.platform,
        "cores": usable_cores(),
        "plan": asdict(plan),
        "recordings": len(recordings),
        "recording_seconds": round(sum(recording.seconds for recording in recordings), 3),
        "runs": [run.as_json() for run in runs],
    }
