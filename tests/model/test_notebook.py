"""The notebook runs from its first cell to its last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples/toy_language.ipynb"


@pytest.mark.timeout(600)
def test_the_toy_language_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    # Threads that wait for a busy core cost a network this small more than they bring.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=500, resources=where).execute()
    outputs: list[dict[str, Any]] = [
        output for cell in notebook.cells for output in cell.get("outputs", [])
    ]
    printed = "".join(output.get("text", "") for output in outputs)
    assert printed.count("pieces: bad cafe fed\n") == 4
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
