"""What a program loads with each name of `ossicle.service`."""

from __future__ import annotations

import subprocess
import sys

import ossicle.service
import pytest

HEAVY = ("torch", "scipy", "matplotlib", "yaml", "onnxruntime", "grpc", "numpy")


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import ossicle.service", set()),
        ("from ossicle.service import SpeechClient", {"grpc", "numpy"}),
        ("from ossicle.service import Recognizer", {"grpc", "numpy", "onnxruntime"}),
    ],
)
def test_a_name_loads_what_it_needs_and_no_more(statement: str, loaded: set[str]) -> None:
    code = f"import sys; {statement}; print(*sys.modules.keys() & set({HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == loaded


def test_every_public_name_is_there_and_no_other() -> None:
    for name in ossicle.service.__all__:
        assert getattr(ossicle.service, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Transcriber'"):
        _ = ossicle.service.Transcriber  # type: ignore[attr-defined]
