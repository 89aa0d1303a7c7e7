"""The call that is being answered: its name, and what is told about it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

REQUEST_ID = "x-request-id"
"""The key of a call's name in the metadata of both directions."""

Fact = str | int | float

# What any log, header and shell takes as it is; anything else may be an attack on one of them.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def _ignore(name: str, facts: dict[str, Fact]) -> None:
    """Where nothing is traced."""


@dataclass
class Call:
    """One call.

    Attributes:
        request_id: its name.
        method: the contract's name of the method, such as ``StreamingRecognize``.
        facts: what the log line at its end tells besides status and time.
        on_event: told of the events in its course, for a trace.
    """

    request_id: str
    method: str
    facts: dict[str, Fact] = field(default_factory=dict)
    on_event: Callable[[str, dict[str, Fact]], None] = _ignore


current_call: ContextVar[Call | None] = ContextVar("ossicle_call", default=None)
"""The call that the running task belongs to; None outside of calls."""


def request_id(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """The name that the client gave its call, if it is sane, else a new one.

    Sane are up to 64 letters, digits, dots, colons, hyphens and underscores that start with a
    letter or digit.
    """
    for key, value in metadata or ():
        if key == REQUEST_ID and isinstance(value, str) and _SANE.fullmatch(value):
            return value
    return uuid.uuid4().hex
