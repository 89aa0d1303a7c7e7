"""`ossicle train`, `export` and `evaluate` in a row, and their refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from ossicle.data.folder_lock import only_writer
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.model.config import ModelConfig
from ossicle.model.training.module import SpeechModule
from ossicle.service.cli import app
from typer.testing import CliRunner


def ossicle(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path, sample: np.ndarray) -> Path:
    """A configuration of two steps on four cuts of the bundled recording."""
    utterances = []
    for i in range(4):
        soundfile.write(tmp_path / f"{i}.flac", sample[i * 16_000 :][:16_000], 16_000)
        utterances.append(Utterance(tmp_path / f"{i}.flac", 1.0, "every day"))
    write_manifest(tmp_path / "cuts.jsonl", utterances)
    manifest = str(tmp_path / "cuts.jsonl")
    values = {
        "data": {
            "train": [{"manifest": manifest}],
            "validation": [manifest],
            "cache": str(tmp_path / "cache"),
            "workers": 0,
        },
        "model": {"name": "two-steps", "network": {"channels": 4, "hidden": 16, "layers": 1}},
        "optim": {"steps": 2, "warmup_steps": 1},
        "leaks": None,  # it validates on what it trains on
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "config.yaml"


def test_train_export_evaluate(config: Path, tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "model"
    trained = ossicle("train", config, "--run", run, "--accelerator", "cpu")
    assert trained.exit_code == 0, trained.output
    assert "kept 4" in trained.output
    assert "heard" in trained.output

    with only_writer(run):
        twice = ossicle("train", config, "--run", run, "--resume")
    assert twice.exit_code == 1
    assert "another process writes to" in twice.stderr
    again = ossicle("train", config, "--run", run)
    assert again.exit_code == 1
    assert "add --resume" in again.output

    exported = ossicle("export", run / "resume.ckpt", folder)
    assert exported.exit_code == 0, exported.output
    assert "float: largest difference" in exported.output
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "weights.safetensors",
        "model.onnx",
        "model.int8.onnx",
        "training.yaml",
        "training.json",
        "curves.csv",
        "curves.png",
    }

    # A folder's own weights can be exported again, under another name.
    renamed = ossicle("export", folder / "weights.safetensors", tmp_path / "b", "--name", "b")
    assert renamed.exit_code == 0, renamed.output

    evaluated = ossicle("evaluate", tmp_path / "cuts.jsonl", "--model", tmp_path / "b")
    assert evaluated.exit_code == 0, evaluated.output
    assert "b int8, greedy search:" in evaluated.output


@pytest.mark.skipif(sys.platform == "win32", reason="torch shares nothing between processes there")
def test_a_run_goes_on_with_two_devices(config: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(config.read_text())
    values["data"]["batch_seconds"] = 1  # a recording
    values["optim"]["steps"] = 4
    config.write_text(yaml.safe_dump(values))
    run = tmp_path / "run"
    assert ossicle("train", config, "--run", run, "--accelerator", "cpu").exit_code == 0
    values["optim"]["steps"] = 8
    config.write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "ossicle.service.cli", "train", config, "--run", run]
    command += ["--accelerator", "cpu", "--devices", "2", "--threads", "1", "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Starting with 2 processes" in done.stderr
    # Every process runs the whole command, and the first alone tells of it.
    assert done.stdout.count("done; next:") == 1
    facts = json.loads((run / "run.json").read_text())
    assert facts["steps"] == 8
    assert facts["epochs"] > 8 / 4, "of four recordings each process takes two in an epoch"
    assert ossicle("export", run / "resume.ckpt", tmp_path / "model").exit_code == 0


@pytest.fixture
def interrupts():
    """Lightning switches Ctrl-C off while it shuts down."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize(
    ("number", "times", "code", "message"),
    [
        (signal.SIGINT, 1, 130, "go on with --resume"),
        (signal.SIGTERM, 1, 143, "go on with --resume"),
        (signal.SIGINT, 2, 130, "before the first checkpoint"),
    ],
    ids=["Ctrl-C", "SIGTERM", "twice"],
)
def test_interrupted_training_says_how_to_go_on(
    config: Path,
    tmp_path: Path,
    monkeypatch,
    interrupts,
    number: signal.Signals,
    times: int,
    code: int,
    message: str,
) -> None:
    values = yaml.safe_load(config.read_text())
    values["optim"]["steps"] = 3
    config.write_text(yaml.safe_dump({**values, "checkpoint_every": 100}))
    step = SpeechModule.training_step
    steps: list[int] = []

    def interrupted(self: SpeechModule, *arguments):
        steps.append(self.global_step)
        if self.global_step == 1 and len(steps) == 2:
            for _ in range(times):
                signal.raise_signal(number)
        return step(self, *arguments)

    monkeypatch.setattr(SpeechModule, "training_step", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    arguments = ("train", config, "--run", tmp_path / "run", "--accelerator", "cpu")
    result = ossicle(*arguments)
    assert result.exit_code == code
    assert message in " ".join(result.output.split())
    assert signal.getsignal(signal.SIGTERM) == before
    if times == 1:
        assert ossicle(*arguments, "--resume").exit_code == 0
        assert steps == [0, 1, 2]  # none was lost, none done twice


def test_a_folder_that_is_of_no_run_is_left_alone(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "tensorboard").mkdir(parents=True)
    (folder / "tensorboard/mine").write_text("mine")
    result = ossicle("train", config, "--run", folder)
    assert result.exit_code == 1
    assert "holds tensorboard, which is of no run" in " ".join(result.output.split())
    assert [path.name for path in folder.rglob("*")] == ["tensorboard", "mine"]


@pytest.mark.parametrize(("cuda", "taken"), [(True, "gpu"), (False, "cpu")])
def test_auto_takes_no_gpu_but_cuda(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: bool, taken: str
) -> None:
    seen: list[object] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr(
        "ossicle.model.training.train.train", lambda *_, **options: seen.append(options)
    )
    result = ossicle("train", config, "--run", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert seen == [{"resume": False, "accelerator": taken, "devices": 1}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "absent.yaml"], "absent.yaml"),
        (["train", "new[b]/[/b].yaml"], "new[b]/[/b].yaml"),
        (["export", "DAMAGED.ckpt", "NEW"], "is no checkpoint"),
        (["export", "DAMAGED/weights.safetensors", "NEW"], "weights.safetensors is damaged"),
        (["export", "DAMAGED/other.safetensors", "NEW"], "not a model folder's weights"),
        (["train", "CONFIG", "--accelerator", "tpu"], "use auto, cpu or gpu"),
        (["train", "CONFIG", "--run", "NEW", "--resume"], "leave --resume out"),
        (["export", "absent.ckpt", "NEW"], "absent.ckpt"),
        (["export", "CONFIG", "NEW"], "is no checkpoint"),
        (["export", "absent.ckpt", "NEW", "--audio", "absent.wav"], "absent.wav"),
        (["export", "absent.ckpt", "NEW", "--share", "0.3"], "of no use without --average-with"),
    ],
)
def test_refusals_name_the_value(
    config: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, tmp_path / "damaged.ckpt")
    half = (tmp_path / "damaged.ckpt").read_bytes()[:2000]
    (tmp_path / "damaged.ckpt").write_bytes(half)
    ModelConfig().save(damaged / "config.json")
    for name in ("weights.safetensors", "other.safetensors"):
        (damaged / name).write_bytes(half)
    names = {
        "CONFIG": str(config),
        "NEW": str(tmp_path / "new"),
        "DAMAGED.ckpt": str(tmp_path / "damaged.ckpt"),
        "DAMAGED/weights.safetensors": str(damaged / "weights.safetensors"),
        "DAMAGED/other.safetensors": str(damaged / "other.safetensors"),
    }
    result = ossicle(*(names.get(argument, argument) for argument in arguments))
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
