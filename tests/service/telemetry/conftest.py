"""What tests of telemetry share: the page of metrics, and log lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from metrics_page import Samples, samples
from ossicle.service.telemetry.logs import LogFormat, configure_logging
from ossicle.service.telemetry.metrics import ServerMetrics
from prometheus_client import generate_latest


def page(metrics: ServerMetrics) -> Samples:
    """What the page of a server's metrics says."""
    return samples(generate_latest(metrics.registry).decode())


@pytest.fixture(scope="session")
def metrics_page() -> Callable[[ServerMetrics], Samples]:
    return page


@pytest.fixture
def json_log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines that were logged as JSON since the test began, each parsed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    file = io.StringIO()
    for handler in handlers:
        root.removeHandler(handler)
    configure_logging(LogFormat.JSON, file)
    yield lambda: [json.loads(line) for line in file.getvalue().splitlines()]
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
