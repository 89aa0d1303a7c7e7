"""The comparison of cells: all are trained alike, once, and measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread
from ossicle.model.config import CELL_NAMES
from ossicle.model.explain import comparison
from ossicle.model.explain.plots import plot_cells
from ossicle.model.training.run import RunExistsError

from tests.model.test_training import configuration


def test_a_comparison_trains_every_cell_and_goes_on(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(manifest)
    config = replace(config, optim=replace(config.optim, steps=5))
    names = [contender.name for contender in comparison.contenders(config)]
    depths = [f"lstm-{n}-layers" for n in (1, 3, 4, 5)]  # the configuration's own has two
    assert names == [*CELL_NAMES, *depths]
    few = [c for c in comparison.contenders(config) if c.name in ("lstm-coupled", "lstm-1-layers")]
    monkeypatch.setattr(comparison, "contenders", lambda _: few)
    monkeypatch.setattr(comparison, "TIMING_ROUNDS", 1)
    folder = tmp_path / "cells"
    told: list[str] = []
    results = comparison.compare(config, folder, told.append)
    assert [(r.cell, r.layers) for r in results] == [("lstm-coupled", 2), ("lstm", 1)]
    for result in results:
        assert result.curve
        assert result.low <= result.wer <= result.high
        assert result.step_seconds > 0
        assert (folder / result.name / "resume.ckpt").exists()
    plot_cells(results, tmp_path / "cells.png")
    assert imread(tmp_path / "cells.png").shape[1] > 1000
    again = comparison.compare(config, folder, told.append)
    assert sum("trained before" in line for line in told) == 2
    assert [r.wer for r in again] == [r.wer for r in results]
    other = [replace(c, config=replace(c.config, seed=9)) for c in few]
    monkeypatch.setattr(comparison, "contenders", lambda _: other)
    with pytest.raises(RunExistsError, match="another configuration: choose another --run"):
        comparison.compare(config, folder, told.append)
    mute = replace(config, data=replace(config.data, validation=()))
    with pytest.raises(ValueError, match="no manifest to judge"):
        comparison.compare(mute, folder, told.append)
