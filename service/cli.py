"""The command line, ``ossicle``: every command and nothing else.

Each command is a function in a module of its own, which imports what it needs only when it runs:
``ossicle --help`` must not wait for a network to load.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, TextIO

import typer
from ossicle.data.cli import data_app
from ossicle.model.commands.adapt import adapt_command
from ossicle.model.commands.align import align_command
from ossicle.model.commands.calibrate import calibrate_command
from ossicle.model.commands.dictionary import dictionary_app
from ossicle.model.commands.errors import one_line
from ossicle.model.commands.evaluate import evaluate_command
from ossicle.model.commands.explain import explain_app
from ossicle.model.commands.lm import lm_app
from ossicle.model.commands.train import export_command, train_command
from ossicle.model.commands.tune import tune_command

from .commands.bench import bench_app
from .commands.demo import demo_command
from .commands.inspect import inspect_command
from .commands.mic import mic_command
from .commands.output import FAILURE, complain
from .commands.serve import serve_command
from .commands.server import health_command, models_command
from .commands.stream import stream_command
from .commands.token import token_app
from .commands.transcribe import transcribe_command

app = typer.Typer(
    name="ossicle",
    help="Streaming speech to text: a CNN + LSTM + CTC network behind a gRPC server.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    # A traceback here is a fault of ours; the plain one is what a report of it needs.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("transcribe")(transcribe_command)
app.command("serve")(serve_command)
app.command("stream")(stream_command)
app.command("mic")(mic_command)
app.command("inspect")(inspect_command)
app.command("models")(models_command)
app.command("health")(health_command)
app.command("demo")(demo_command)
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("adapt")(adapt_command)
app.command("tune")(tune_command)
app.command("calibrate")(calibrate_command)
app.command("align")(align_command)
app.command("export")(export_command)
app.add_typer(token_app, name="token")
app.add_typer(data_app, name="data")
app.add_typer(lm_app, name="lm")
app.add_typer(dictionary_app, name="dictionary")
app.add_typer(explain_app, name="explain")
app.add_typer(bench_app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ossicle {version('ossicle')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    # gRPC's own lines about connections that fail; ours say what to do.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if isinstance(sys.stdout, TextIOWrapper):
        # A name that the terminal's encoding lacks is no reason to stop.
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # The output cannot be written: a full disk, or a reader that has left, which is no news.
        ended = error.__context__
        told = isinstance(ended, SystemExit) and ended.code
        if not (told or isinstance(error, BrokenPipeError)):
            complain(one_line(error))
        _discard(sys.stdout)
        sys.exit(FAILURE)
    finally:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Throw away what cannot be written: Python would try once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
