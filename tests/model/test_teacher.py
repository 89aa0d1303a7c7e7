"""Learning to foretell what another network hears, with a small real one."""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ossicle.data.augment import AugmentConfig, Augmenter
from ossicle.data.bucketing import Key
from ossicle.data.cache import PcmCache
from ossicle.data.digest import file_digest
from ossicle.data.recordings import Item, Recordings, collate
from ossicle.data.text import FRAME_SAMPLES, Tokenizer
from ossicle.model.export import load_checkpoint
from ossicle.model.training.config import TeacherConfig
from ossicle.model.training.losses import unlearnt
from ossicle.model.training.teacher import Teacher, TeacherError, in_frames
from ossicle.model.training.train import train
from tiny_run import configuration
from torch import Tensor, nn


class Loudness(nn.Module):
    """An encoder with two features of each 10 ms: mean and mean magnitude of its samples."""

    def forward(self, samples: Tensor) -> Tensor:
        """(B, N) -> (B, M, 2)."""
        blocks = samples[:, : samples.shape[1] // 160 * 160].reshape(samples.shape[0], -1, 160)
        return torch.stack([blocks.mean(dim=2), blocks.abs().mean(dim=2)], dim=2)


class AskedForMask(Loudness):
    """The same with a second input, as Moonshine's has."""

    def forward(self, samples: Tensor, mask: Tensor) -> Tensor:
        """(B, N), (B, N) -> (B, M, 2)."""
        return super().forward(samples * mask)


def save(network: nn.Module, path: Path, *, inputs: int = 1) -> Path:
    samples, mask = torch.zeros(1, 16_000), torch.ones(1, 16_000, dtype=torch.int64)
    torch.onnx.export(
        network,
        (samples, mask)[:inputs],
        str(path),
        dynamo=False,
        input_names=["samples", "mask"][:inputs],
        dynamic_axes={name: {1: "N"} for name in ("samples", "mask")[:inputs]},
    )
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(Loudness(), tmp_path_factory.mktemp("teacher") / "loudness.onnx")


def expected(samples: np.ndarray) -> np.ndarray:
    """What the encoder hears in each whole frame."""
    blocks = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return np.stack([blocks.mean(axis=1), np.abs(blocks).mean(axis=1)], axis=1)


@pytest.mark.parametrize("frames", [1, 7, 25, 60])
def test_a_teacher_hears_each_frame(encoder: Path, sample: np.ndarray, frames: int) -> None:
    samples = sample[20_000 : 20_000 + frames * FRAME_SAMPLES]
    heard = Teacher(encoder)(samples)
    np.testing.assert_allclose(heard, expected(samples), atol=1e-6)


def test_a_begun_frame_is_heard_too(encoder: Path, sample: np.ndarray) -> None:
    samples = sample[20_000 : 20_000 + 30 * FRAME_SAMPLES + 10]
    heard = Teacher(encoder)(samples)
    assert heard.shape == (31, 2)
    # Blocks of 10 ms that are not whole are left out, and the others spread over what there is.
    np.testing.assert_allclose(heard[:29], expected(samples)[:29], atol=5e-3)


def test_a_teacher_may_ask_which_samples_count(tmp_path: Path, sample: np.ndarray) -> None:
    asked = Teacher(save(AskedForMask(), tmp_path / "asked.onnx", inputs=2))
    samples = sample[: 40 * FRAME_SAMPLES]
    np.testing.assert_allclose(asked(samples), expected(samples), atol=1e-6)


def test_a_teacher_goes_to_another_process(encoder: Path, sample: np.ndarray) -> None:
    teacher = Teacher(encoder)
    heard = teacher(sample[:32_000])
    again = pickle.loads(pickle.dumps(teacher))
    np.testing.assert_array_equal(again(sample[:32_000]), heard)


@given(st.integers(2, 80), st.floats(1.0, 40.0), st.integers(0, 2**31))
def test_frames_share_features_out(features: int, length: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    heard = rng.standard_normal((features, 3)).astype(np.float32)
    count = int(np.ceil(length))
    frames = in_frames(heard, length, count)
    assert frames.shape == (count, 3)
    widths = np.minimum(np.arange(1, count + 1), length) - np.arange(count)
    np.testing.assert_allclose(
        (frames * widths[:, None]).sum(axis=0) / length, heard.mean(axis=0), atol=1e-4
    )


@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_what_is_no_encoder_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "encoder.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TeacherError, match=r"encoder\.onnx"):
        Teacher(path)


def test_an_encoder_of_many_outputs_is_refused(tmp_path: Path) -> None:
    class Two(Loudness):
        def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            heard = super().forward(samples)
            return heard, heard.exp()

    with pytest.raises(TeacherError, match="needs one output"):
        Teacher(save(Two(), tmp_path / "two.onnx"))


def test_a_run_without_its_teacher_is_refused_before_it_begins(manifest: Path) -> None:
    config = configuration(manifest, teacher=TeacherConfig(manifest.parent / "encoder.onnx"))
    with pytest.raises(TeacherError, match=r"encoder\.onnx"):
        train(config, manifest.parent / "run", accelerator="cpu", quiet=True)
    assert not (manifest.parent / "run").exists()


def test_a_run_goes_on_with_the_teacher_that_it_had(manifest: Path, encoder: Path) -> None:
    run = manifest.parent / "run"
    taught = configuration(manifest, teacher=TeacherConfig(encoder))
    taught = replace(taught, optim=replace(taught.optim, steps=4))
    train(taught, run, accelerator="cpu", quiet=True)
    longer = replace(taught, optim=replace(taught.optim, steps=6))
    alone = replace(longer, teacher=None)
    with pytest.raises(ValueError, match=r"has 0 features.*began with 2.*init: .*resume\.ckpt"):
        train(alone, run, resume=True, accelerator="cpu", quiet=True)
    module = train(longer, run, resume=True, accelerator="cpu", quiet=True)
    assert module.global_step == 6
    assert module.pupil is not None
    # The weights of a pupil are a fine beginning for a run without its teacher.
    train(
        replace(alone, init=run / "resume.ckpt"),
        run.with_name("alone"),
        accelerator="cpu",
        quiet=True,
    )


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_must_be_one(weight: float) -> None:
    with pytest.raises(ValueError, match=f"weight is {weight}"):
        TeacherConfig(Path("encoder.onnx"), weight)


def test_what_is_unlearnt_is_a_share_of_the_variance() -> None:
    torch.manual_seed(0)
    frames = torch.tensor([9, 4])
    taught = 5 * torch.randn(2, 9, 3) + torch.tensor([100.0, 0.0, -3.0])
    valid = torch.arange(9) < frames[:, None]
    known = (taught - taught[valid].mean(dim=0)) / taught[valid].std(dim=0)
    known[~valid] = 1e6  # behind the end of a recording nothing is asked
    assert unlearnt(known, taught, frames).item() < 1e-9
    share = (13 - 1) / 13  # the deviation is that of a sample
    torch.testing.assert_close(unlearnt(0 * known, taught, frames).item(), share)
    views = torch.cat([known, 0 * known])
    torch.testing.assert_close(unlearnt(views, taught, frames).item(), share / 2)


def test_the_teacher_hears_the_same_pace_without_the_noise(manifest: Path) -> None:
    """Frame by frame it must be the same speech, and it should be easier to understand."""
    heard: list[np.ndarray] = []

    def listen(samples: np.ndarray) -> np.ndarray:
        heard.append(samples)
        return np.zeros((-(-len(samples) // FRAME_SAMPLES), 2), np.float32)

    config = AugmentConfig(
        speed_probability=1.0, pause_probability=1.0, noise_probability=1.0, gain_probability=0.0
    )
    noise = np.random.default_rng(3).standard_normal(50_000).astype(np.float32)
    cache = PcmCache(manifest, manifest.parent / "cache")
    recordings = Recordings(
        [cache],
        [(0, row) for row in range(len(cache))],
        Tokenizer(),
        augmenter=Augmenter(
            replace(config, reverb_probability=0.0, codec_probability=0.0), [noise]
        ),
        teacher=listen,
    )
    items = [recordings[Key(1, row)] for row in range(len(cache))]
    for item, plain in zip(items, heard, strict=True):
        assert len(item.samples) == len(plain)
        added = item.samples - plain
        assert np.abs(added).max() > 0
        assert abs(np.corrcoef(added, plain)[0, 1]) < 0.1
    batch = collate(items)
    assert batch.taught is not None
    assert batch.taught.shape == (len(items), batch.samples.shape[1] // FRAME_SAMPLES, 2)


def test_a_batch_without_a_teacher_has_none(sample: np.ndarray) -> None:
    assert collate([Item(sample[:6400], [1], 0)]).taught is None


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_learns_from_its_teacher(manifest: Path, encoder: Path, workers: int) -> None:
    config = configuration(manifest, teacher=TeacherConfig(encoder, 2.0), consistency=0.2)
    config = replace(
        config,
        data=replace(config.data, workers=workers),
        optim=replace(config.optim, steps=40, learning_rate=1e-2),
    )
    run = manifest.parent / "run"
    train(config, run, accelerator="cpu", quiet=True)
    with (run / "curves.csv").open() as file:
        curves = list(csv.DictReader(file))
    curve = [float(point["value"]) for point in curves if point["curve"] == "train/unlearnt"]
    # Loudness is easily heard; the other feature, the mean of samples, no spectrogram shows.
    assert curve[-1] < 0.8 * curve[0]
    assert json.loads((run / "run.json").read_text())["teacher"] == file_digest(encoder)
    # The pupil's layer is of the run alone: a model that is made of it has none.
    assert not any("pupil" in name for name in load_checkpoint(run / "resume.ckpt").state_dict())
