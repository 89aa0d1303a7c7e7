"""The training configurations of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ossicle.data.corpora import CORPORA
from ossicle.model.lstm_lm.config import LanguageTrainingConfig, is_language_model
from ossicle.model.training.config import TrainingConfig

CONFIGS = sorted((Path(__file__).parents[2] / "model" / "configs").glob("*.yaml"))
ACOUSTIC = [path for path in CONFIGS if not is_language_model(path)]
PUBLIC = ["librispeech.yaml", "mini_librispeech.yaml", "commonvoice.yaml"]
by_name = pytest.mark.parametrize("path", ACOUSTIC, ids=lambda path: path.name)


@by_name
def test_acoustic_models(path: Path) -> None:
    config = TrainingConfig.load(path)
    manifests = [
        *(train_set.manifest for train_set in config.data.train),
        *config.data.validation,
        *config.data.held_out,
    ]
    assert config.model.name != "unnamed"
    for manifest in manifests:
        assert not manifest.is_absolute()
        assert manifest.suffix == ".jsonl"
    trained_on = {train_set.manifest for train_set in config.data.train}
    assert trained_on.isdisjoint(config.data.validation + config.data.held_out)
    # Git ignores this folder.
    assert config.data.cache.parts[0] == "runs"


@pytest.mark.parametrize("path", sorted({*CONFIGS} - {*ACOUSTIC}), ids=lambda path: path.name)
def test_language_models(path: Path) -> None:
    config = LanguageTrainingConfig.load(path)
    for text_set in config.data.train:
        assert not text_set.path.is_absolute()
        assert text_set.path not in config.data.validation


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_each_tells_how_to_run_it(path: Path) -> None:
    assert f"#   ossicle train model/configs/{path.name} --run runs/" in path.read_text()


@pytest.mark.parametrize("name", PUBLIC)
def test_public_recipes_make_every_manifest_that_they_name(name: str) -> None:
    (path,) = (path for path in CONFIGS if path.name == name)
    text, data = path.read_text(), TrainingConfig.load(path).data
    (parts,) = re.findall(r"#   for part in (.+)", text)
    ((corpus, folder),) = re.findall(
        r"#   do ossicle data import (\w+) /corpora/\S+ --subset \$part -o (\S+)/\$part.jsonl", text
    )
    assert set(parts.split()) <= set(CORPORA[corpus].subsets)
    made = {Path(folder, f"{part}.jsonl") for part in parts.split()}
    trained_on = {train_set.manifest for train_set in data.train}
    assert made == trained_on | {*data.held_out}
    assert {*data.validation} <= {*data.held_out}
    assert re.search(r"# .*Word error rate of .*: not measured yet", text)
