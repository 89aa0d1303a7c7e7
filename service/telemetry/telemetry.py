"""What of a server is watched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .metrics import ServerMetrics

if TYPE_CHECKING:
    from .tracing import Tracing


@dataclass(frozen=True)
class Telemetry:
    """What of a server is watched, and how.

    Attributes:
        metrics: its metrics, which are always kept and cost next to nothing.
        tracing: where spans of calls go; None for no traces.
        log_transcripts: log the text of finals, which is otherwise never logged.
    """

    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    tracing: Tracing | None = None
    log_transcripts: bool = False
