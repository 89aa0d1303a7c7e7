"""The decoded cache, bucketing and the DataModule, on short real recordings."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ossicle.data.audio import SAMPLE_RATE, read_audio
from ossicle.data.augment import AugmentConfig
from ossicle.data.bucketing import BucketSampler
from ossicle.data.cache import CacheError, PcmCache
from ossicle.data.datamodule import DataConfig, SpeechDataModule, TrainSet
from ossicle.data.manifest import Utterance, read_manifest, write_manifest
from ossicle.data.pcm_store import write_store
from ossicle.data.sample import sample_path
from ossicle.data.text import Tokenizer

WORDS = ["one", "two", "three", "four", "five", "six"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve cuts of the bundled recording, 0.5 to 2.7 s, the last one named `odd`."""
    speech = read_audio(sample_path())
    utterances = []
    for i in range(12):
        path = tmp_path / f"{i}.wav"
        length = int((0.5 + 0.2 * i) * SAMPLE_RATE)
        soundfile.write(path, speech[i * 2000 : i * 2000 + length], SAMPLE_RATE)
        text = " ".join(WORDS[: i % 3 + 1])
        utterances.append(
            Utterance(path, length / SAMPLE_RATE, text, source="odd" if i == 11 else "cuts")
        )
    write_manifest(tmp_path / "train.jsonl", utterances)
    return tmp_path / "train.jsonl"


def module(manifest: Path, **changes) -> SpeechDataModule:
    augment = changes.pop("augment", None)
    train = TrainSet(manifest, **changes.pop("train", {}))
    config = DataConfig(
        train=(train,),
        cache=manifest.parent / "cache",
        batch_seconds=changes.pop("batch_seconds", 5.0),
        workers=changes.pop("workers", 0),
        **changes,
    )
    data = SpeechDataModule(config, augment, seed=3)
    data.prepare_data()
    data.setup()
    return data


def test_a_source_that_no_recording_has_is_refused(manifest: Path) -> None:
    with pytest.raises(
        ValueError, match=r"train\.jsonl has no source cutz; its sources are: cuts, odd"
    ):
        module(manifest, train={"sources": {"cutz": 2.0}})
    assert not (manifest.parent / "cache").exists(), "refused before anything was decoded"


def test_a_text_without_tokens_is_refused(manifest: Path, tmp_path: Path) -> None:
    rows = read_manifest(manifest)
    write_manifest(tmp_path / "judged.jsonl", [rows[0], replace(rows[1], text="Eight")])
    config = DataConfig(
        train=(TrainSet(manifest),),
        validation=(tmp_path / "judged.jsonl",),
        cache=tmp_path / "cache",
    )
    data = SpeechDataModule(config, None, seed=3, tokenizer=Tokenizer(sorted({*" ".join(WORDS)})))
    with pytest.raises(ValueError, match=r"judged\.jsonl: no token for 'g' in 'eight'"):
        data.prepare_data()
    assert not (tmp_path / "cache").exists(), "refused before anything was decoded"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recordings that are decoded, in this process."""
    names: list[str] = []

    def decode(path: Path) -> np.ndarray:
        names.append(path.name)
        return read_audio(path)

    monkeypatch.setattr("ossicle.data.cache.read_audio", decode)
    return names


def assert_holds(cache: PcmCache, folder: Path, missing: int | None = None) -> None:
    """A cache holds the samples of its utterances."""
    for row, utterance in enumerate(cache.utterances):
        if row != missing:
            expected = read_audio(folder / utterance.audio_filepath.name)
            np.testing.assert_allclose(cache[row], expected, atol=1 / 32767)


def test_cache_holds_the_samples(manifest: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    cache = PcmCache(manifest, tmp_path / "c", workers=1, progress=lambda *a: seen.append(a))
    assert len(cache) == 12
    assert seen[-1] == (12, 12)
    for i in (0, 5, 11):
        np.testing.assert_allclose(cache[i], read_audio(tmp_path / f"{i}.wav"), atol=1 / 32767)
    assert cache.durations[3] == pytest.approx(1.1, abs=1e-3)
    seen.clear()
    PcmCache(manifest, tmp_path / "c", progress=lambda *a: seen.append(a))
    assert not seen, "a finished cache is not built again"


def test_a_cache_that_has_lost_samples_is_made_anew(manifest: Path, tmp_path: Path) -> None:
    whole = [PcmCache(manifest, tmp_path / "c", workers=1)[i].tolist() for i in range(2)]
    (samples,) = (tmp_path / "c").glob("*.pcm")
    (offsets,) = (tmp_path / "c").glob("*.npy")
    for damaged, size in ((samples, samples.stat().st_size // 3), (offsets, 40), (offsets, 0)):
        os.truncate(damaged, size)
        cache = PcmCache(manifest, tmp_path / "c", workers=1)
        assert [cache[i].tolist() for i in range(2)] == whole


def die(path: Path) -> None:
    os._exit(9)


def test_a_process_that_dies_while_it_decodes_is_told(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ossicle.data.cache._decode", die)
    with pytest.raises(CacheError, match="has died"):
        PcmCache(manifest, tmp_path / "c", workers=2)


def test_cache_lists_what_cannot_be_decoded_and_keeps_the_rest(
    manifest: Path, tmp_path: Path, decoded: list[str]
) -> None:
    (tmp_path / "4.wav").write_text("no audio here")
    with pytest.raises(CacheError, match=r"1 of 12 recordings cannot be decoded(.|\n)*4\.wav"):
        PcmCache(manifest, tmp_path / "c", workers=1)
    assert len(decoded) == 12
    decoded.clear()
    utterances = read_manifest(manifest)
    write_manifest(manifest, [*utterances[:4], *utterances[5:]])
    cache = PcmCache(manifest, tmp_path / "c", workers=1)
    assert decoded == []
    assert_holds(cache, tmp_path)


def test_recordings_that_are_not_there_are_told_before_any_is_decoded(
    manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "11.wav").unlink()
    seen: list[tuple[int, int]] = []
    with pytest.raises(CacheError, match=r"1 of 12 recordings (.|\n)*11\.wav: no such file"):
        PcmCache(manifest, tmp_path / "c", workers=1, progress=lambda *a: seen.append(a))
    assert not seen


@pytest.mark.parametrize("workers", [1, 2])
def test_decoding_that_is_stopped_goes_on(manifest: Path, tmp_path: Path, workers: int) -> None:
    seen: list[int] = []

    for last in (5, 3, 8):

        def stop(done: int, count: int, last: int = last) -> None:
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            PcmCache(manifest, tmp_path / "c", workers=workers, progress=stop)
        assert len(list((tmp_path / "c").iterdir())) == 2, "what was unfinished is not kept twice"
    (tmp_path / "0.wav").unlink()  # it is not needed any more
    cache = PcmCache(
        manifest, tmp_path / "c", workers=workers, progress=lambda *a: seen.append(a[0])
    )
    assert seen == list(range(1, 13))
    (tmp_path / "0.wav").touch()
    assert_holds(cache, tmp_path, missing=0)
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_what_another_cache_holds_is_not_decoded_again(
    manifest: Path, tmp_path: Path, decoded: list[str]
) -> None:
    utterances = read_manifest(manifest)
    write_manifest(tmp_path / "fewer.jsonl", utterances[3:9])
    PcmCache(tmp_path / "fewer.jsonl", tmp_path / "c", workers=1)
    PcmCache(manifest, tmp_path / "c", workers=1, rows=[0, 5])
    assert decoded == ["3.wav", "4.wav", "5.wav", "6.wav", "7.wav", "8.wav", "0.wav"]
    decoded.clear()
    assert_holds(PcmCache(manifest, tmp_path / "c", workers=1), tmp_path)
    assert decoded == ["1.wav", "2.wav", "9.wav", "10.wav", "11.wav"]
    decoded.clear()
    write_manifest(manifest, [replace(u, text="other words") for u in utterances])
    assert PcmCache(manifest, tmp_path / "c").utterances[0].text == "other words"
    assert_holds(PcmCache(tmp_path / "fewer.jsonl", tmp_path / "c"), tmp_path)
    assert decoded == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def recordings() -> Iterator[tuple[int, np.ndarray]]:
        yield 1, np.ones(8, np.int16)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        write_store(recordings(), np.array([1, 2], np.uint64), tmp_path / "c", "train")
    assert list((tmp_path / "c").iterdir()) == []


def test_equal_manifests_in_different_folders_share_no_cache(tmp_path: Path) -> None:
    heard = []
    for name, level in (("clean", 0.1), ("loud", 0.5)):
        folder = tmp_path / name
        folder.mkdir()
        soundfile.write(folder / "a.wav", np.full(8000, level), SAMPLE_RATE)
        write_manifest(folder / "dev.jsonl", [Utterance(folder / "a.wav", 0.5, "one")])
        heard.append(PcmCache(folder / "dev.jsonl", tmp_path / "c", workers=1)[0])
    assert (tmp_path / "clean/dev.jsonl").read_bytes() == (tmp_path / "loud/dev.jsonl").read_bytes()
    assert heard[0].max() == pytest.approx(0.1, abs=1e-3)
    assert heard[1].max() == pytest.approx(0.5, abs=1e-3)


@settings(max_examples=40)
@given(
    durations=st.lists(st.floats(0.3, 20), min_size=1, max_size=200),
    seconds=st.floats(20, 200),
    epoch=st.integers(0, 3),
)
def test_buckets_hold_everything_once_within_their_size(
    durations: list[float], seconds: float, epoch: int
) -> None:
    lengths = np.array(durations)
    batches = BucketSampler(lengths, seconds, seed=1, epoch=epoch).batches
    indices = [index for batch in batches for _, index, _ in batch]
    assert sorted(indices) == list(range(len(durations)))
    assert all(e == epoch for batch in batches for e, _, _ in batch)
    for batch in batches:
        padded = len(batch) * max(lengths[i] for _, i, _ in batch)
        assert padded <= seconds or len(batch) == 1


def test_buckets_waste_little() -> None:
    lengths = np.random.default_rng(0).gamma(2, 2, 3000).clip(0.5, 18)
    batches = BucketSampler(lengths, 120, seed=1).batches
    padded = sum(len(b) * max(lengths[i] for _, i, _ in b) for b in batches)
    assert lengths.sum() / padded > 0.9


def test_orders_differ_by_epoch_and_repeat_by_seed() -> None:
    lengths = np.linspace(1, 10, 100)
    orders = [BucketSampler(lengths, 30, seed=1, epoch=epoch).batches for epoch in (0, 1, 1)]
    flat = [[index for batch in order for _, index, _ in batch] for order in orders]
    assert flat[0] != flat[1]
    assert orders[1] == orders[2]
    assert BucketSampler(lengths, 30, seed=2, epoch=1).batches != orders[1]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_evenly(world: int) -> None:
    lengths = np.linspace(1, 10, 100)
    shares = [BucketSampler(lengths, 30, seed=1, rank=r, world=world).batches for r in range(world)]
    assert len({len(share) for share in shares}) == 1
    keys = [key for share in shares for batch in share for key in batch]
    assert len(keys) == len(set(keys))


def test_weights_repeat_and_thin_out() -> None:
    lengths = np.ones(400)
    weights = np.repeat([0.0, 0.5, 1.0, 2.5], 100)
    batches = BucketSampler(lengths, 50, seed=1, weights=weights).batches
    counts = np.bincount([i for b in batches for _, i, _ in b], minlength=400).reshape(4, 100)
    assert counts[0].sum() == 0
    assert 30 < counts[1].sum() < 70
    assert (counts[2] == 1).all()
    assert set(counts[3]) == {2, 3}
    assert {key.repetition for b in batches for key in b} == {0, 1, 2}


def test_repetitions_are_augmented_each_in_its_own_way(manifest: Path) -> None:
    data = module(manifest, augment=AugmentConfig(noise_probability=0), train={"repeat": 3.0})
    heard = defaultdict(list)
    for batch in data.train_dataloader().batch_sampler:
        for key in batch:
            heard[key.recording].append(data.train_recordings[key][0])
    for times in heard.values():
        assert len(times) == 3
        assert len({samples.tobytes() for samples in times}) == 3


def test_skipped_batches_still_count() -> None:
    everything = list(BucketSampler(np.ones(100), 10, seed=1))
    rest = BucketSampler(np.ones(100), 10, seed=1, skip=4)
    assert list(rest) == everything[4:]
    assert len(rest) == len(everything)


def test_batches_are_padded_with_zeros(manifest: Path) -> None:
    data = module(manifest)
    texts = []
    for batch in data.train_dataloader():
        rows, width = batch.samples.shape
        assert width % 640 == 0
        assert rows == len(batch.targets) == len(batch.target_counts)
        for row, count in zip(batch.samples, batch.sample_counts, strict=True):
            assert not row[count:].any()
        for row, count in zip(batch.targets, batch.target_counts, strict=True):
            assert not row[count:].any()
            texts.append(data.tokenizer.decode(row[:count].tolist()))
    assert sorted(texts) == sorted(utterance.text for utterance in read_manifest(manifest))


def test_texts_are_brought_into_normal_form(manifest: Path) -> None:
    written = [replace(row, text="Ça, 2!") for row in read_manifest(manifest)]
    write_manifest(manifest.parent / "written.jsonl", [*written[1:], replace(written[0], text="?")])
    data = module(manifest.parent / "written.jsonl")
    assert data.census.no_text == 1
    for batch in data.train_dataloader():
        for row, count in zip(batch.targets, batch.target_counts, strict=True):
            assert data.tokenizer.decode(row[:count].tolist()) == "ca two"


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_batches(manifest: Path, workers: int) -> None:
    augment = AugmentConfig(noise_probability=0)
    here = list(module(manifest, augment=augment).train_dataloader())
    there = list(module(manifest, augment=augment, workers=workers).train_dataloader())
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a.samples, b.samples)
        torch.testing.assert_close(a.targets, b.targets)
        torch.testing.assert_close(a.target_counts, b.target_counts)


@pytest.mark.parametrize("augment", [None, AugmentConfig(noise_probability=0)])
def test_masks_differ_by_batch_and_repeat_by_seed(
    manifest: Path, augment: AugmentConfig | None
) -> None:
    first, again = (module(manifest, augment=augment).train_dataloader() for _ in range(2))
    seeds = [batch.seed for batch in first]
    assert len(set(seeds)) == len(seeds) > 1
    assert seeds == [batch.seed for batch in again]


def test_census_counts_what_is_left_out(manifest: Path) -> None:
    data = module(manifest, min_seconds=0.6, max_seconds=2.4, train={"sources": {"odd": 0.0}})
    assert data.census.too_short == 1
    assert data.census.too_long == 1
    assert data.census.source_left_out == 1
    assert data.census.kept == 9
    assert "kept 9, too short 1" in str(data.census)


def test_hours_are_those_of_what_is_trained_on(manifest: Path) -> None:
    data = module(manifest, train={"hours": 2 / 3600, "sources": {"cuts": 0.0}})
    assert [data.train_recordings.utterance(i).source for i in range(1)] == ["odd"]
    assert len(data.train_recordings) == 1


def test_hours_limit_the_training_set(manifest: Path) -> None:
    data = module(manifest, train={"hours": 5 / 3600})
    assert 5 / 3600 <= data.train_hours < 8 / 3600


@pytest.mark.parametrize("paths", [("a/dev.jsonl", "b/dev.jsonl"), ("a/train.jsonl",)])
def test_validation_curves_have_names_of_their_own(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{Path(paths[0]).name} has a name .* rename it"):
        DataConfig(train=(), validation=tuple(map(Path, paths)))


def test_nothing_to_train_on_says_why(manifest: Path) -> None:
    with pytest.raises(ValueError, match="nothing left to train on: kept 0, too short 12"):
        module(manifest, min_seconds=30, max_seconds=60)
