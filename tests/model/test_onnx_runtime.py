"""Speech is recognised in private: ONNX Runtime reports nothing to its maker."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import ossicle.data
import ossicle.model
import ossicle.service

# By ONNX Runtime's own rules, any of these would keep it quiet, and this test say nothing.
_QUIETENING = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "TF_BUILD")
_LOAD = (
    "from ossicle.model.folder import LoadedModel; from ossicle.model.runtime import find_model; "
    "LoadedModel.load(find_model())"
)
_OPTED_OUT = "import ctypes; f = ctypes.CDLL(None).getenv; f.restype = ctypes.c_char_p"


def elsewhere(home: Path) -> dict[str, str]:
    """The environment of somebody who never ran anything."""
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    for name in (*_QUIETENING, "GITHUB_ACTIONS", "GITLAB_CI", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    return environment | {"HOME": str(home)}


def test_a_loaded_model_is_reported_to_nobody(tmp_path: Path) -> None:
    code = f"{_LOAD}; {_OPTED_OUT}; print(f(b'ORT_DISABLE_TELEMETRY').decode())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=elsewhere(tmp_path)
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not left  # it keeps the identifier and what is yet to be sent in the user's cache


def test_nothing_loads_it_but_through_the_one_place() -> None:
    packages = [Path(p.__path__[0]) for p in (ossicle.data, ossicle.model, ossicle.service)]
    importers = set()
    for path in (path for package in packages for path in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "onnxruntime" for name in names):
                importers.add(path.name)
    assert importers == {"onnx_runtime.py"}
