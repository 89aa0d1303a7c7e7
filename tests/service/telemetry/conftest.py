"""What tests of telemetry share: the page of metrics, and log lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ossicle.service.telemetry.logs import LogFormat, configure_logging
from ossicle.service.telemetry.metrics import ServerMetrics
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, float]


def page(metrics: ServerMetrics) -> Samples:
    """All samples of the page by name and labels: `name{label="value"}`."""
    text = generate_latest(metrics.registry).decode()
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


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
