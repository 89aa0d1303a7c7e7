"""What all tests need."""

import logging
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more of the machine than of the program.
settings.register_profile("ossicle", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ossicle")


def pytest_configure() -> None:
    """Let Ctrl-C work in the tests of it: shells start what runs in the background without it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Undo what a command did to the log: its handler writes to the stderr of one test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
