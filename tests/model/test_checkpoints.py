"""Checkpoints of training: runs that are stopped, killed, moved or made longer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from matplotlib.image import imread
from ossicle.data.digest import file_digest
from ossicle.data.folder_lock import LOCK
from ossicle.data.manifest import manifest_digest
from ossicle.model.training.curves import read_curves
from ossicle.model.training.module import SpeechModule
from ossicle.model.training.run import RESUME, RunExistsError, WholeCheckpoints, moving_average
from ossicle.model.training.train import PLATEAU, resume_point, train
from tiny_run import TINY, configuration
from torch.optim.swa_utils import AveragedModel


def test_another_model_cannot_take_over_a_run(manifest: Path, tmp_path: Path) -> None:
    config = configuration(manifest)
    config = replace(config, optim=replace(config.optim, steps=1))
    run = tmp_path / "run"
    train(config, run, accelerator="cpu", quiet=True)
    recorded = (run / "config.yaml").read_text()
    wider = replace(config, model=replace(TINY, network=replace(TINY.network, hidden=48)))
    with pytest.raises(ValueError, match=r"resume\.ckpt does not fit"):
        train(wider, run, resume=True, accelerator="cpu", quiet=True)
    assert (run / "config.yaml").read_text() == recorded


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
def test_another_rate_than_that_of_the_checkpoint_is_refused(
    manifest: Path, tmp_path: Path, name: str
) -> None:
    config = configuration(manifest)
    config = replace(config, optim=replace(config.optim, steps=1))
    run = tmp_path / "run"
    train(config, run, accelerator="cpu", quiet=True)
    recorded = (run / "config.yaml").read_text()
    other = replace(config, optim=replace(config.optim, **{"steps": 2, name: 0.5}))
    with pytest.raises(ValueError, match=f"{name} is 0.5, and .* began with"):
        train(other, run, resume=True, accelerator="cpu", quiet=True)
    assert (run / "config.yaml").read_text() == recorded


def test_what_was_done_after_the_plateau_is_no_part_of_a_longer_run(tmp_path: Path) -> None:
    for number, rows in enumerate(("699,1.5\n999,1.1\n", "719,1.4\n1499,1.0\n")):
        part = tmp_path / "curves" / str(number)
        part.mkdir(parents=True)
        (part / "metrics.csv").write_text("step,cer\n" + rows)
    assert read_curves(tmp_path) == {"cer": [(699, 1.5), (719, 1.4), (1499, 1.0)]}


@pytest.mark.timeout(240)
def test_killed_and_resumed_is_the_same_curve(manifest: Path, tmp_path: Path) -> None:
    """A run that is killed in the middle of an epoch ends with the weights of one that was not."""
    config = configuration(manifest)
    whole = train(config, tmp_path / "whole", accelerator="cpu", quiet=True)

    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()))
    script = (
        "import time; from pathlib import Path; import pytorch_lightning as pl, torch\n"
        "from ossicle.model.training.train import train\n"
        "from ossicle.model.training.module import SpeechModule\n"
        "from ossicle.model.training.config import TrainingConfig\n"
        "torch.set_num_threads(1); step = SpeechModule.training_step\n"
        "def slow(self, *a):\n"
        "    if self.global_step == 8: print('step 8', flush=True); time.sleep(60)\n"
        "    return step(self, *a)\n"
        "SpeechModule.training_step = slow\n"
        f"train(TrainingConfig.load(Path({str(path)!r})), Path({str(tmp_path / 'cut')!r}),"
        " accelerator='cpu', quiet=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "step 8":
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "cut" / "resume.ckpt").exists()

    resumed = train(config, tmp_path / "cut", resume=True, accelerator="cpu", quiet=True)
    assert resumed.global_step == whole.global_step == 14
    for (name, a), b in zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-4, msg=name)

    continued, uncut = read_curves(tmp_path / "cut"), read_curves(tmp_path / "whole")
    assert uncut["train/loss"]
    # Fourteen steps are two whole epochs of five batches and a part of a third, each validated.
    assert len(uncut["cuts/cer"]) == len(continued["cuts/cer"]) == 3
    assert continued["train/loss"][-1][1] == pytest.approx(uncut["train/loss"][-1][1], rel=1e-3)

    kept = (tmp_path / "cut" / "curves.csv").read_text().splitlines()
    assert [line for line in kept if line.startswith("train/loss,13,")]
    assert imread(tmp_path / "cut" / "curves.png").shape[1] > 800

    facts = json.loads((tmp_path / "cut" / "run.json").read_text())
    assert facts["steps"] == 14
    assert facts["census"]["kept"] == 16
    assert facts["manifests"][manifest.as_posix()] == manifest_digest(manifest)
    assert len(facts["git_commits"]) == 1


def test_a_finished_run_can_be_made_longer(manifest: Path, tmp_path: Path) -> None:
    """It goes on from where the learning rate began to fall, as if it had been that long."""
    config = configuration(manifest)
    short = replace(config, optim=replace(config.optim, steps=9))
    assert short.optim.decay_start < config.optim.decay_start
    whole = train(config, tmp_path / "whole", accelerator="cpu", quiet=True)
    train(short, tmp_path / "grown", accelerator="cpu", quiet=True)
    grown = train(config, tmp_path / "grown", resume=True, accelerator="cpu", quiet=True)
    assert grown.global_step == 14
    for (name, a), b in zip(
        whole.network.state_dict().items(), grown.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-4, msg=name)


def test_what_a_longer_run_has_trained_is_not_lost_when_it_stops(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(manifest)
    short, whole = (replace(config, optim=replace(config.optim, steps=n)) for n in (6, 30))
    run = tmp_path / "run"
    train(short, run, accelerator="cpu", quiet=True)
    assert short.optim.decay_start < 12 < whole.optim.decay_start
    ended = SpeechModule.on_train_batch_end

    def stop(self: SpeechModule, *arguments) -> None:
        ended(self, *arguments)
        if self.global_step == 13:
            raise KeyboardInterrupt

    # Its first stretch goes on from the plateau of the short run, the next from where it stopped.
    assert resume_point(run, whole) == run / PLATEAU
    monkeypatch.setattr(SpeechModule, "on_train_batch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train(whole, run, resume=True, accelerator="cpu", quiet=True)
    assert resume_point(run, whole) == run / RESUME
    assert torch.load(run / RESUME, weights_only=False)["global_step"] == 12


def test_nothing_of_the_weights_before_the_start_stays_in_their_average() -> None:
    weights = torch.nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(weights, avg_fn=moving_average(0.9, 2))
    seen = []
    for value in (1.0, 2.0, 3.0, 4.0):
        torch.nn.init.constant_(weights.weight, value)
        averaged.update_parameters(weights)
        seen.append(averaged.module.weight.item())
    assert seen == pytest.approx([1, 2, 2.1, 0.9 * 2.1 + 0.1 * 4])


def test_what_is_judged_while_it_warms_up_has_learnt(manifest: Path, tmp_path: Path) -> None:
    config = configuration(manifest)
    config = replace(config, optim=replace(config.optim, steps=12, warmup_steps=10))
    train(config, tmp_path / "run", accelerator="cpu", quiet=True)
    losses = read_curves(tmp_path / "run")["cuts/loss"]
    assert [step for step, _ in losses] == sorted({step for step, _ in losses})
    assert len({round(loss, 4) for _, loss in losses}) == len(losses), "the same weights twice"


def test_the_last_weights_are_judged(manifest: Path, tmp_path: Path) -> None:
    config = replace(configuration(manifest), validate_every=50)
    config = replace(config, optim=replace(config.optim, steps=3))
    train(config, tmp_path / "run", accelerator="cpu", quiet=True)
    best = torch.load(tmp_path / "run" / "best.ckpt", weights_only=False)
    assert best["global_step"] == 3
    assert len(read_curves(tmp_path / "run")["cuts/cer"]) == 1


def test_the_best_checkpoint_stays_in_a_moved_run(manifest: Path, tmp_path: Path) -> None:
    config = configuration(manifest)
    short = replace(config, optim=replace(config.optim, steps=4))
    train(short, tmp_path / "run", accelerator="cpu", quiet=True)
    best = torch.load(tmp_path / "run" / "best.ckpt", weights_only=False)
    (of_best,) = (state for key, state in best["callbacks"].items() if key.startswith("Best"))
    of_best["best_model_score"] = torch.tensor(0.0)  # nothing will be better
    torch.save(best, tmp_path / "run" / "best.ckpt")
    shutil.move(tmp_path / "run", tmp_path / "moved")
    before = file_digest(tmp_path / "moved" / "best.ckpt")
    train(config, tmp_path / "moved", resume=True, accelerator="cpu", quiet=True)
    assert file_digest(tmp_path / "moved" / "best.ckpt") == before


def test_curves_of_a_run_without_a_checkpoint_do_not_stay(manifest: Path, tmp_path: Path) -> None:
    config = configuration(manifest)
    config = replace(config, optim=replace(config.optim, steps=2))
    stopped = tmp_path / "run" / "curves" / "0"
    stopped.mkdir(parents=True)
    (stopped / "metrics.csv").write_text("epoch,step,cuts/cer\n0,0,0.5\n")
    with pytest.raises(RunExistsError, match="holds curves, which is of no run"):
        train(config, tmp_path / "run", accelerator="cpu", quiet=True)
    (tmp_path / "run" / LOCK).touch()  # as a run leaves it
    (tmp_path / "run" / "plateau.ckpt").write_bytes(b"of other weights")
    train(config, tmp_path / "run", accelerator="cpu", quiet=True)
    assert torch.load(tmp_path / "run" / "plateau.ckpt", weights_only=False)["global_step"] == 1
    assert [step for step, _ in read_curves(tmp_path / "run")["cuts/cer"]] == [1]  # counted from 0


def test_a_checkpoint_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "resume.ckpt"
    writer = WholeCheckpoints()
    writer.save_checkpoint({"step": 1}, path)

    class Unwritable:
        def __reduce__(self) -> str:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        writer.save_checkpoint({"step": 2, "more": Unwritable()}, path)
    assert torch.load(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["resume.ckpt"]
