"""ONNX Runtime says nothing of its users: left alone, it reports to its maker.

Since 1.29 its Linux and macOS builds send an event of each process and each model that is loaded,
under an identifier that they keep in the user's cache, unless the environment of the process says
otherwise before they are imported. (Windows' builds hand theirs to the system's own tracing.)
"""

from __future__ import annotations

import os

_OPT_OUT = "ORT_DISABLE_TELEMETRY"


def switch_off() -> None:
    """Have this process and those that it starts report nothing; call it before the import."""
    os.environ[_OPT_OUT] = "1"
