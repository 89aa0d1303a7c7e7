"""What all tests need."""

import signal


def pytest_configure() -> None:
    """Let Ctrl-C work in the tests of it: shells start what runs in the background without it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
