"""Log lines for people and for machines.

A record's ``facts``, given as ``extra={"facts": {...}}``, are written as ``name=value`` after the
message, or as members of the JSON object. Lines that are written while a call is answered have its
``request_id``. What is heard is logged only where a caller passes it, which is where it was asked
for; see ``--log-transcripts``.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from typing import TextIO

from .call import Fact, current_call


class LogFormat(str, Enum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def configure_logging(
    form: LogFormat = LogFormat.TEXT, file: TextIO | None = None, worker: int | None = None
) -> None:
    """Write the log of this process, from INFO on.

    Args:
        form: how lines look.
        file: where to; None for standard error.
        worker: the number of this process, which every line then tells; None if it is alone.
    """
    handler = logging.StreamHandler(file or sys.stderr)
    handler.addFilter(_is_news)
    if worker is not None:
        handler.addFilter(partial(_with_worker, worker))
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def facts_of(record: logging.LogRecord) -> dict[str, Fact]:
    """What a record tells besides its message."""
    facts: dict[str, Fact] = dict(getattr(record, "facts", {}))
    call = current_call.get()
    if call is not None:
        facts.setdefault("request_id", call.request_id)
    return facts


def _is_news(record: logging.LogRecord) -> bool:
    # What gRPC says, with a traceback, of a client that left before it was told a status.
    if record.name.startswith("grpc.") and record.msg.startswith("ExecuteBatchError"):
        return False
    # What aiohttp says of requests that it refuses by itself quotes them: a token, perhaps.
    error = record.exc_info and record.exc_info[0]
    return not (error and error.__module__ == "aiohttp.http_exceptions")


def _with_worker(worker: int, record: logging.LogRecord) -> bool:
    record.facts = {**getattr(record, "facts", {}), "worker": worker}
    return True


class TextFormatter(logging.Formatter):
    """``2026-11-21 09:30:00,125 INFO call ended request_id=... code=OK``, one line a record.

    A traceback follows on lines of its own. Values that could be mistaken for several, or break the
    line, are quoted as in JSON.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        parts = [_printable(super().formatMessage(record))]
        parts += [f"{name}={_value(value)}" for name, value in facts_of(record).items()]
        return " ".join(parts)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, the facts, error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Fact] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: fact for name, fact in facts_of(record).items() if name not in line})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _value(value: Fact) -> str:
    text = str(value)
    plain = text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else json.dumps(text)


def _printable(text: str) -> str:
    """A line without what would end it or move a terminal's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
