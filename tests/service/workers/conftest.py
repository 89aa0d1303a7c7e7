"""Servers of several processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from calls import free_port
from processes import serve, stop
from supervised import Workers


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers with two streams each."""
    served = serve(
        *("--workers", "2", "--max-streams", "4", "--metrics-port", "0"),
        *("--health-port", str(free_port()), "--http", "0"),
    )
    yield Workers(served)
    assert stop(served) == 0


@pytest.fixture
def victims() -> Iterator[Workers]:
    """Two workers that something happens to."""
    served = serve("--workers", "2", "--max-streams", "24", "--metrics-port", "0")
    yield Workers(served)
    served.process.terminate()
    served.process.wait(30)
