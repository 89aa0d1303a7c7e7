from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.data.sample import sample_path
from ossicle.model.config import FeatureConfig, ModelConfig, NetworkConfig
from ossicle.model.export import load_weights, write_onnx
from ossicle.model.network import Network
from ossicle.model.ngram.file import write_trie
from ossicle.model.ngram.model import NgramModel
from ossicle.model.ngram.text import TextSource
from ossicle.model.ngram.training import NgramTrainingConfig, train_ngrams
from ossicle.model.pronunciation.dictionary import Pronunciations
from ossicle.model.runtime import PRETRAINED, AcousticModel, ModelInfo, find_model


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sample() -> NDArray[np.float32]:
    """The bundled recording, (N,)."""
    return read_audio(sample_path())


@pytest.fixture
def manifest(tmp_path: Path, sample: np.ndarray) -> Path:
    """Sixteen cuts of the bundled recording with made-up texts: enough to step on."""
    utterances = []
    for i in range(16):
        path = tmp_path / f"{i}.wav"
        length = 9600 + 800 * i
        soundfile.write(path, sample[i * 3000 : i * 3000 + length], 16_000)
        utterances.append(Utterance(path, length / 16_000, ["yes", "no", "maybe so"][i % 3]))
    write_manifest(tmp_path / "cuts.jsonl", utterances)
    return tmp_path / "cuts.jsonl"


def make_network(seed: int = 7, *, running_mean: float = 0.0, **sizes: int) -> Network:
    """A small network with random weights and plausible feature statistics."""
    torch.manual_seed(seed)
    network = Network(
        ModelConfig(
            name="random",
            features=FeatureConfig(running_mean=running_mean),
            network=NetworkConfig(**{"channels": 4, "hidden": 24, "layers": 2, **sizes}),
        )
    )
    network.features.mean.fill_(-8.0)
    network.features.deviation.fill_(3.0)
    return network.eval()


@pytest.fixture(scope="session")
def shipped_folder() -> Path:
    return find_model()


@pytest.fixture(scope="session")
def pronunciations(shipped_folder: Path) -> Pronunciations:
    """Of the shipped model."""
    return Pronunciations.load(shipped_folder)


@pytest.fixture(scope="session")
def shipped_network(shipped_folder: Path) -> Network:
    folder = shipped_folder
    if not (folder / "weights.safetensors").exists():
        pytest.skip(f"{folder.relative_to(PRETRAINED)} has no float weights in this installation")
    return load_weights(folder)


@pytest.fixture(scope="session")
def shipped_float(
    shipped_network: Network, tmp_path_factory: pytest.TempPathFactory
) -> AcousticModel:
    """The shipped weights in float32 through ONNX Runtime."""
    folder: Path = tmp_path_factory.mktemp("float")
    shipped_network.config.save(folder / "config.json")
    write_onnx(shipped_network, folder / "model.onnx")
    assert ModelInfo.load(folder).name == shipped_network.config.name
    return AcousticModel.load(folder, "float")


@pytest.fixture(scope="session")
def shipped_int8() -> AcousticModel:
    return AcousticModel.load(find_model())


SENTENCES = """\
the cat sat on the mat
the cat sees the dog
the dog sees the cat
a cat is a cat
it's a dog
the boys' dog ran
he sat on a mat
we see the sea
they see it
i see
we saw the two of them
it is too late to see them
"""


@pytest.fixture(scope="session")
def ngram_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trigram model of a few sentences, each of which was said three times."""
    folder: Path = tmp_path_factory.mktemp("ngrams")
    text = folder / "text.txt"
    text.write_text(SENTENCES * 3, encoding="utf-8")
    trie = train_ngrams([TextSource(text)], NgramTrainingConfig(order=3, size=None))
    write_trie(trie, folder / "lm.ngram")
    return folder / "lm.ngram"


@pytest.fixture(scope="session")
def ngrams(ngram_file: Path) -> NgramModel:
    return NgramModel.load(ngram_file)
