"""Options that several commands for models share, each defined once."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from ossicle.data.cores import usable_cores

ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", envvar="OSSICLE_MODEL", help="Name of a model, or a folder."),
]
ThreadsOption = Annotated[
    int, typer.Option(min=0, help="Threads of the network; 0: one for each core it may use.")
]


class Precision(str, Enum):
    """A precision of a network, as the command line names it."""

    INT8 = "int8"
    FLOAT = "float"


class Search(str, Enum):
    """A search for the transcript, as the command line names it."""

    BEAM = "beam"
    GREEDY = "greedy"


def thread_count(threads: int) -> int:
    """How many threads `ThreadsOption` asks for."""
    return threads or usable_cores()
