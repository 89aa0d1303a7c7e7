"""Training on real speech in small: it learns, it resumes exactly, it does not break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ossicle.data.datamodule import DataConfig, SpeechDataModule, TrainSet
from ossicle.data.folder_lock import FolderInUseError, only_writer
from ossicle.data.leaks import LeakError, LeakRules
from ossicle.data.manifest import read_manifest, write_manifest
from ossicle.data.recordings import Batch, Item, collate
from ossicle.data.spectral import Equalizer, SpecAugment
from ossicle.data.text import Tokenizer
from ossicle.model.config import FRAME_SAMPLES, FRAME_SECONDS, ModelConfig, NetworkConfig
from ossicle.model.decoding.hypothesis import GreedyDecoder
from ossicle.model.export import export, load_checkpoint
from ossicle.model.folder import LoadedModel
from ossicle.model.pronunciation.dictionary import copy_dictionary
from ossicle.model.runtime import find_model
from ossicle.model.training.config import OptimConfig, TrainingConfig
from ossicle.model.training.curves import read_curves
from ossicle.model.training.losses import ctc_loss, disagreement
from ossicle.model.training.module import SpeechModule
from ossicle.model.training.partition import log_partition
from ossicle.model.training.run import RunExistsError
from ossicle.model.training.train import check_leaks, start_from, train
from tiny_run import TINY, configuration

from tests.model.conftest import make_network


def test_overfits_one_batch(sample: np.ndarray) -> None:
    texts = ["the ear", "hears three", "small bones"]
    tokenizer = Tokenizer()
    items = [
        Item(sample[i * 20_000 : i * 20_000 + 16_000], tokenizer.encode(text), 0)
        for i, text in enumerate(texts)
    ]
    batch = collate(items)
    torch.manual_seed(1)
    network = NetworkConfig(channels=8, hidden=64, layers=2, lookahead=2, dropout=0.0)
    config = TrainingConfig(
        data=DataConfig(train=()), optim=OptimConfig(steps=1), model=ModelConfig(network=network)
    )
    module = SpeechModule(config)
    module.network.features.mean.fill_(-8)
    module.network.features.deviation.fill_(3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    for _ in range(150):
        log_probs, frames = module.forward_batch(batch, augmented=False)
        loss = ctc_loss(log_probs, frames, batch.targets, batch.target_counts)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.1
    for row, count, text in zip(log_probs, frames, texts, strict=True):
        decoder = GreedyDecoder(tokenizer.tokens, FRAME_SECONDS)
        decoder.advance(row[:count].detach().numpy())
        assert decoder.hypothesis().text == text


def test_impossible_target_gives_zero_instead_of_infinity() -> None:
    log_probs = torch.randn(2, 4, 29).log_softmax(-1).requires_grad_()
    targets = torch.tensor([[1, 2, 0, 0, 0], [3, 3, 3, 3, 3]])  # five equal tokens need 9 frames
    loss = ctc_loss(log_probs, torch.tensor([4, 4]), targets, torch.tensor([2, 5]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(log_probs.grad).all()
    assert not log_probs.grad[1].any()


def test_loss_is_per_token_and_ignores_padding() -> None:
    log_probs = torch.randn(1, 6, 29).log_softmax(-1)
    one = ctc_loss(log_probs, torch.tensor([5]), torch.tensor([[4, 5]]), torch.tensor([2]))
    padded = ctc_loss(log_probs, torch.tensor([5]), torch.tensor([[4, 5, 9]]), torch.tensor([2]))
    expected = torch.nn.functional.ctc_loss(
        log_probs[0, :5], torch.tensor([4, 5]), torch.tensor(5), torch.tensor(2), reduction="sum"
    )
    torch.testing.assert_close(one, expected / 2)
    torch.testing.assert_close(padded, one)


def test_disagreement_is_what_two_views_do_not_share() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 7, 29, dtype=torch.float64).log_softmax(-1)
    frames = torch.tensor([7, 4, 1])
    assert disagreement(first, first, frames) == 0
    expected = sum(
        (torch.nn.functional.kl_div(a[i, :n], b[i, :n], log_target=True, reduction="sum")) / 2
        for a, b in ((first, second), (second, first))
        for i, n in enumerate(frames.tolist())
    )
    torch.testing.assert_close(disagreement(first, second, frames), expected)


def test_training_for_consistency_sees_each_recording_twice(sample: np.ndarray) -> None:
    items = [Item(sample[i * 9000 : i * 9000 + 8000], [1, 2], i) for i in range(2)]
    batch = collate(items)
    config = TrainingConfig(
        data=DataConfig(train=()),
        optim=OptimConfig(steps=1),
        model=TINY,
        equalizer=Equalizer(probability=1.0),
        consistency=0.5,
    )
    module = SpeechModule(config).eval()
    heard, frames = module.hear_batch(batch, augmented=True)
    log_probs = module.network.emit(heard)
    assert (len(log_probs), len(frames)) == (4, 2)
    first, second = log_probs.chunk(2)
    assert not torch.allclose(first, second), "both views have the same augmentation"
    loss, parts = module.loss(heard, frames, batch)
    between = disagreement(first, second, frames) / batch.target_counts.sum()
    torch.testing.assert_close(loss, parts["loss"] + 0.5 * between)
    clean, _ = module.forward_batch(batch, augmented=False)
    assert len(clean) == 2


def test_training_to_discriminate_weighs_all_texts(manifest: Path) -> None:
    config = replace(configuration(manifest), discrimination=0.5)
    module = train(
        replace(config, optim=replace(config.optim, steps=2)),
        manifest.parent / "run",
        accelerator="cpu",
        quiet=True,
    )
    assert module.trigrams is not None
    batch = next(iter(module.trainer.datamodule.train_dataloader()))
    heard, frames = module.hear_batch(batch, augmented=False)
    loss, parts = module.loss(heard, frames, batch)
    log_probs = module.network.emit(heard)
    everything = log_partition(log_probs, frames, module.trigrams, start=1)
    weighed = everything.sum() / batch.target_counts.sum()
    torch.testing.assert_close(loss, parts["loss"] + 0.5 * weighed)
    assert weighed.item() < 0, "all texts together are at most as probable as CTC has it"


def test_a_step_with_a_broken_gradient_is_skipped(manifest: Path, monkeypatch) -> None:
    whole = SpeechModule.hear_batch

    def broken(self: SpeechModule, batch: Batch, *, augmented: bool):
        heard, frames = whole(self, batch, augmented=augmented)
        fault = self.global_step == 2 and augmented
        return (heard * float("nan") if fault else heard), frames

    monkeypatch.setattr(SpeechModule, "hear_batch", broken)
    config = configuration(manifest)
    module = train(
        replace(config, optim=replace(config.optim, steps=4)),
        manifest.parent / "run",
        accelerator="cpu",
        quiet=True,
    )
    assert module.skipped_steps == 1
    assert all(torch.isfinite(p).all() for p in module.parameters())
    longer = train(
        replace(config, optim=replace(config.optim, steps=5)),
        manifest.parent / "run",
        resume=True,
        accelerator="cpu",
        quiet=True,
    )
    assert longer.global_step == 5
    assert longer.skipped_steps == 1, "a resumed run goes on counting"


@pytest.mark.parametrize("seed", [1, 20_301_231, 2**32 - 1])
def test_dropout_of_a_step_repeats_for_any_seed(seed: int) -> None:
    module = SpeechModule(TrainingConfig(DataConfig(train=()), OptimConfig(steps=1), seed=seed))
    batch = collate([Item(np.zeros(640, np.float32), [1], 0)])
    module.on_train_batch_start(batch, 0)
    first = torch.rand(4)
    module.on_train_batch_start(batch, 0)
    torch.testing.assert_close(torch.rand(4), first, atol=0, rtol=0)


def test_leaks_of_validation_data_are_refused(manifest: Path) -> None:
    config = replace(configuration(manifest), leaks=LeakRules())
    with pytest.raises(LeakError, match=r"recordings? of the validation data"):
        train(config, manifest.parent / "run", accelerator="cpu", quiet=True)
    assert not (manifest.parent / "run").exists()


def test_sources_that_are_left_out_cannot_leak(manifest: Path, tmp_path: Path) -> None:
    rows = [replace(row, source="own") for row in read_manifest(manifest)]
    judged = replace(rows[0], source="other")
    write_manifest(tmp_path / "all.jsonl", [*rows[1:], judged])
    write_manifest(tmp_path / "judged.jsonl", [judged])
    trained = TrainSet(tmp_path / "all.jsonl", sources={"other": 0.0})
    data = DataConfig(train=(trained,), validation=(tmp_path / "judged.jsonl",))
    assert "no leak" in check_leaks(data, LeakRules())
    with pytest.raises(LeakError, match="1 recording"):
        check_leaks(replace(data, train=(replace(trained, sources={}),)), LeakRules())


def test_what_the_network_looks_ahead_into_is_not_masked(sample: np.ndarray) -> None:
    """Behind the longest recording of a batch as behind the others."""
    config = TrainingConfig(
        data=DataConfig(train=()),
        optim=OptimConfig(steps=1),
        model=TINY,
        spec_augment=SpecAugment(time_masks=100.0, frequency_masks=0),
    )
    module = SpeechModule(config)
    frames = torch.tensor([50, 20])
    log_mel = torch.ones(2, 4 * (50 + TINY.network.lookahead), TINY.features.mel_bins)
    masked = module._augment(log_mel, frames, seed=5)
    for row, count in zip(masked, frames.tolist(), strict=True):
        assert (row[4 * count :] == 1).all()
    assert not masked.all(), "speech is masked"


def test_training_takes_the_running_mean_off_as_streaming_does(sample: np.ndarray) -> None:
    """Of the frames as they are warped and coloured, before any are masked."""
    network = make_network(running_mean=0.7)
    config = TrainingConfig(
        data=DataConfig(train=()),
        optim=OptimConfig(steps=1),
        model=network.config,
        spec_augment=SpecAugment(time_masks=2.0, frequency_masks=2),
    )
    module = SpeechModule(config)
    module.network = network
    samples = sample[: 40 * FRAME_SAMPLES]
    batch = collate([Item(samples, [1, 2], 0)])
    with torch.no_grad():
        log_probs, _ = module.forward_batch(batch, augmented=False)
        expected = network.transcribe_whole(torch.from_numpy(samples[None]))
        log_mel, _ = network.features(
            torch.from_numpy(samples[None]), network.initial_state(1)["samples"]
        )
        adapted, _ = network.adapt(log_mel, network.initial_state(1))
        masked = module._augment(log_mel, torch.tensor([40]), seed=3)
    torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=0)
    assert (masked == 0).any()
    torch.testing.assert_close(masked, torch.where(masked == 0, 0.0, adapted))
    assert (adapted - log_mel).abs().max() > 0.1


def test_a_sentence_held_out_in_one_file_is_no_leak_of_another(
    manifest: Path, tmp_path: Path
) -> None:
    rows = read_manifest(manifest)
    said = replace(rows[0], text="a b c d e f")
    write_manifest(tmp_path / "spoken.jsonl", [said, *rows[1:]])
    judges = []
    for name in ("judged", "held-out"):
        elsewhere = tmp_path / f"{name}.flac"
        write_manifest(tmp_path / f"{name}.jsonl", [replace(said, audio_filepath=elsewhere)])
        judges.append(tmp_path / f"{name}.jsonl")
    data = DataConfig(
        train=(TrainSet(tmp_path / "spoken.jsonl"),),
        validation=(judges[0],),
        held_out=(judges[1],),
    )
    assert "1 sentence" in check_leaks(data, LeakRules())


def test_sentences_of_held_out_data_are_left_out(manifest: Path, tmp_path: Path) -> None:
    rows = read_manifest(manifest)
    said = [replace(row, text="a b c d e f") for row in rows[:2]]
    write_manifest(tmp_path / "spoken.jsonl", [*said, *rows[2:]])
    judged = replace(rows[0], audio_filepath=tmp_path / "elsewhere.flac", text=said[0].text)
    write_manifest(tmp_path / "judged.jsonl", [judged])
    config = configuration(tmp_path / "spoken.jsonl")
    data = replace(config.data, validation=(), held_out=(tmp_path / "judged.jsonl",))
    assert "1 sentence" in check_leaks(data, LeakRules())
    module = SpeechDataModule(data, None, seed=1)
    module.setup()
    assert module.census.held_out == 2
    assert module.census.kept == len(rows) - 2
    with pytest.raises(LeakError, match="held_out"):
        check_leaks(replace(data, validation=data.held_out, held_out=()), LeakRules())


def test_held_out_data_are_what_the_rules_say(manifest: Path, tmp_path: Path) -> None:
    rows = read_manifest(manifest)
    write_manifest(tmp_path / "spoken.jsonl", [replace(rows[0], text="a b c"), *rows[1:]])
    judged = replace(rows[0], audio_filepath=tmp_path / "elsewhere.flac", text="a b c")
    write_manifest(tmp_path / "judged.jsonl", [judged])
    config = configuration(tmp_path / "spoken.jsonl")
    data = replace(config.data, validation=(), held_out=(tmp_path / "judged.jsonl",))
    for rules, left_out in ((None, 0), (LeakRules(sentence_words=3), 1)):
        module = SpeechDataModule(data, None, seed=1, rules=rules)
        module.setup()
        assert module.census.held_out == left_out


def test_a_manifest_that_comes_twice_is_searched(manifest: Path, tmp_path: Path) -> None:
    rows = [replace(row, source="own") for row in read_manifest(manifest)]
    write_manifest(tmp_path / "all.jsonl", rows)
    write_manifest(tmp_path / "judged.jsonl", rows[:1])
    trained = TrainSet(tmp_path / "all.jsonl")
    without = replace(trained, sources={"own": 0.0})
    data = DataConfig(train=(trained, without), validation=(tmp_path / "judged.jsonl",))
    with pytest.raises(LeakError, match="1 recording"):
        check_leaks(data, LeakRules())


def test_an_epoch_without_a_batch_is_refused(manifest: Path, tmp_path: Path) -> None:
    config = configuration(manifest)
    rare = replace(config.data.train[0], repeat=1e-6)
    with pytest.raises(ValueError, match="an epoch has no batch"):
        train(
            replace(config, data=replace(config.data, train=(rare,))),
            tmp_path / "run",
            accelerator="cpu",
            quiet=True,
        )


def test_noise_needs_augmentation(manifest: Path) -> None:
    config = configuration(manifest)
    data = replace(config.data, noise=Path("noise.jsonl"))
    with pytest.raises(ValueError, match=r"data\.noise is noise\.jsonl, .* no augment"):
        replace(config, data=data, augment=None)


def test_runs_are_not_overwritten(manifest: Path, tmp_path: Path) -> None:
    config = configuration(manifest)
    run = tmp_path / "run"
    with pytest.raises(RunExistsError, match="nothing to resume"):
        train(config, run, resume=True)
    run.mkdir()
    (run / "resume.ckpt").touch()
    with pytest.raises(RunExistsError, match="add --resume"):
        train(config, run)
    new = tmp_path / "new"
    with only_writer(new), pytest.raises(FolderInUseError, match="another process writes to"):
        train(config, new)


@pytest.mark.parametrize("source", ["checkpoint", "model folder"])
def test_starts_from_trained_weights(manifest: Path, tmp_path: Path, source: str) -> None:
    config = configuration(manifest)
    short = replace(config, optim=replace(config.optim, steps=2))
    train(short, tmp_path / "first", accelerator="cpu", quiet=True)
    init = tmp_path / "first" / "resume.ckpt"
    first = load_checkpoint(init)
    if source == "model folder":
        init = tmp_path / "folder"
        export(first, init)
    frozen = replace(short, init=init, optim=replace(short.optim, learning_rate=0.0, steps=1))
    second = train(frozen, tmp_path / "second", accelerator="cpu", quiet=True).network
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(b, a, atol=1e-6, rtol=0, msg=name)


def test_weights_that_know_other_frames_are_taken_and_that_is_said(tmp_path: Path) -> None:
    first = make_network(running_mean=0.0)
    export(first, tmp_path)
    second = make_network(seed=8, running_mean=0.7)
    (difference,) = start_from(second, tmp_path)
    assert difference == (
        f"{tmp_path} has features.running_mean 0.0, not 0.7: its weights know no such frames yet"
    )
    for name, tensor in second.state_dict().items():
        torch.testing.assert_close(tensor, first.state_dict()[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("init", "message"),
    [("nowhere", "neither a checkpoint nor a folder"), ("bundled", "have another shape")],
)
def test_weights_that_do_not_fit_are_refused(manifest: Path, init: str, message: str) -> None:
    path = find_model() if init == "bundled" else manifest.parent / init
    with pytest.raises(ValueError, match=message):
        train(configuration(manifest, init=path), manifest.parent / "run", quiet=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {steps: 5}", "data"),
        ("data: {train: []}\noptim: {steps: 5, speed: 3}", "speed"),
        ("data: {train: []}\noptim: {steps: many}", "steps"),
        (
            "data: {train: [{manifest: a.jsonl, sources: {b: -1}}]}\noptim: {steps: 5}",
            "b of a.jsonl is -1.0: give 0 or more",
        ),
        ("data: {train: []}\noptim: {steps: 5}\nprecision: 16-mixed", "use bf16-mixed or 32-true"),
        ("data: {train: []}\noptim: {steps: -1}", "steps is -1"),
        ("data: {train: []}\noptim: {steps: 5, clip: 0}", "clip is 0.0: give more than 0"),
        ("data: {train: []}\noptim: {steps: 5, learning_rate: -1}", "learning_rate is -1"),
        ("data: {train: []}\noptim: {steps: 5, weight_decay: -1}", "weight_decay is -1"),
        ("data: {train: []}\noptim: {steps: 5, ema_decay: 1.5}", "ema_decay is 1.5"),
        ("data: {train: []}\noptim: {steps: 5, final_fraction: 2}", "final_fraction is 2"),
        ("just words", "no keys"),
        *(
            (f"{{data: {{train: []}}, optim: {{steps: 5}}, {values}}}", message)
            for values, message in [
                ("validate_every: 0", "validate_every is 0"),
                ("checkpoint_every: 0", "checkpoint_every is 0"),
                ("model: {features: {mel_bins: 82}}", "mel_bins is 82: give a multiple of 4"),
                ("model: {network: {lookahead: -1}}", "network.lookahead is -1"),
                ("model: {network: {channels: 0}}", "network.channels is 0"),
                ("model: {network: {dropout: 1.5}}", "network.dropout is 1.5"),
                ("vocal_tract: {factors: [0, 0]}", "factors of vocal_tract"),
                ("vocal_tract: {factors: [1.2, 0.8]}", "factors of vocal_tract"),
                ("augment: {speed_range: [1.2, 0.8]}", "speed_range is .*smallest and the largest"),
                ("augment: {speed_range: [0, 1]}", "speed_range is .* give 0.1 to 10"),
                ("augment: {codec_probability: 5}", "codec_probability is 5"),
                ("augment: {codecs: [amr]}", "codecs has 'amr'"),
                ("vocal_tract: {probability: 2}", "probability of vocal_tract is 2"),
                ("equalizer: {probability: -1}", "probability of equalizer is -1"),
                ("equalizer: {frequencies: [4, 1]}", "frequencies of equalizer is .4, 1."),
                ("equalizer: {gain: -1}", "gain of equalizer is -1"),
                ("leaks: {shared_sources: abc}", r"shared_sources is 'abc': give a list, \[abc\]"),
                ("spec_augment: {time_width: -1}", "time_width of spec_augment is -1"),
            ]
        ),
        *(
            (f"{{data: {{train: [], {values}}}, optim: {{steps: 5}}}}", message)
            for values, message in [
                ("batch_seconds: -5", "batch_seconds is -5"),
                ("min_seconds: 30", "min_seconds is 30"),
                ("workers: -1", "workers is -1"),
                ("validation: a.jsonl", r"validation is 'a.jsonl': give a list, \[a.jsonl\]"),
            ]
        ),
        ("a: [", "cannot read"),
    ],
)
def test_bad_configurations_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainingConfig.load(path)


@pytest.mark.timeout(300)
def test_loss_falls_on_half_an_hour_of_speech(tmp_path: Path) -> None:
    """The tiny configuration of the README, shortened."""
    repository = Path(__file__).parents[2]
    config = TrainingConfig.load(repository / "model" / "configs" / "tiny.yaml")
    manifest = repository.parent / "shared" / "speech" / "train.jsonl"
    if not manifest.exists():
        pytest.skip("needs the development speech in ../shared/speech")
    data = replace(
        config.data,
        train=(replace(config.data.train[0], manifest=_part(manifest, tmp_path, 40)),),
        validation=(_part(manifest, tmp_path, 400),),
        cache=tmp_path / "cache",
    )
    optim = replace(config.optim, steps=120)
    train(
        # Without a check for leaks: the few recordings to validate on are trained on, too.
        replace(config, data=data, optim=optim, precision="32-true", leaks=None),
        tmp_path / "run",
        accelerator="cpu",
        quiet=True,
    )
    curve = [loss for _, loss in read_curves(tmp_path / "run")["part-400/loss"]]
    assert len(curve) >= 3
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] < curve[0] - 0.05


def _part(manifest: Path, folder: Path, every: int) -> Path:
    """Some lines of the manifest: decoding all of it would take longer than the test."""
    path = folder / f"part-{every}.jsonl"
    write_manifest(path, read_manifest(manifest)[::every])
    return path


def test_phonemes_are_trained_from_a_network_of_letters(
    manifest: Path, tmp_path: Path, shipped_folder: Path
) -> None:
    letters = replace(configuration(manifest), optim=OptimConfig(steps=1))
    first = train(letters, tmp_path / "letters", quiet=True).network
    config = replace(
        letters,
        model=replace(TINY, units="phonemes", characters=()),
        pronunciations=shipped_folder,
        init=tmp_path / "letters" / "resume.ckpt",
        optim=OptimConfig(steps=1, learning_rate=0.0),
        discrimination=0.5,
    )
    module = train(config, tmp_path / "phonemes", quiet=True)
    assert module.network.config.vocabulary == 42
    assert module.tokenizer.decode(module.tokenizer.encode("maybe so")) == "mAbi sO"
    learnt, before = module.network.state_dict(), load_checkpoint(config.init).state_dict()
    for name in learnt:
        if not name.startswith("head."):
            torch.testing.assert_close(learnt[name], before[name], atol=1e-6, rtol=0, msg=name)
    assert learnt["head.weight"].shape == (42, 32)
    assert first.config.vocabulary == 29
    # A run goes on with the dictionary that it began with.
    longer = replace(config.optim, steps=2)
    gone = replace(config, pronunciations=tmp_path / "gone", optim=longer)
    again = train(gone, tmp_path / "phonemes", resume=True, quiet=True)
    assert again.tokenizer.encode("maybe so") == module.tokenizer.encode("maybe so")
    # What is exported has the dictionary with it, from a checkpoint and from a folder's weights.
    for source, folder in (
        (tmp_path / "phonemes" / "resume.ckpt", tmp_path / "model"),
        (tmp_path / "model" / "weights.safetensors", tmp_path / "copy"),
    ):
        export(module.network, folder)
        copy_dictionary(source.parent, folder)
        loaded = LoadedModel.load(folder)
        assert loaded.info.units == "phonemes"
        assert loaded.decoding.write("maybe so") == "mAbi sO"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ModelConfig(units="phonemes")}, "name a folder with a pronouncing dictionary"),
        ({"pronunciations": Path("model")}, "letters need none"),
    ],
)
def test_units_and_pronunciations_belong_together(
    manifest: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(configuration(manifest), **changes)
