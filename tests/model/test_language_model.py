"""The language model in small: text to windows, training, resumption, export, rescoring."""

from __future__ import annotations

import json
import lzma
import math
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from ossicle.data.manifest import Utterance, write_manifest
from ossicle.model.decoding.rescoring import CONTEXT_UNITS, FILE, Rescorer
from ossicle.model.lstm_lm.config import (
    LanguageModelConfig,
    LanguageTrainingConfig,
    TextConfig,
    TextSet,
    curve_name,
    is_language_model,
)
from ossicle.model.lstm_lm.export import (
    check_language_parity,
    export_language_model,
    load_language_checkpoint,
)
from ossicle.model.lstm_lm.module import LanguageModule, WindowSampler, validation_batches
from ossicle.model.lstm_lm.network import LanguageNetwork
from ossicle.model.lstm_lm.text import Text
from ossicle.model.lstm_lm.train import train_language_model
from ossicle.model.lstm_lm.units import Units, learn_units
from ossicle.model.runtime import ModelError
from ossicle.model.training.config import OptimConfig
from ossicle.model.training.curves import read_curves
from ossicle.model.training.run import RunExistsError
from ossicle.service.cli import app
from typer.testing import CliRunner

SENTENCES = [
    "the small bones of the ear carry sound",
    "the ear carries sound to the brain",
    "sound is heard by the ear",
    "press one to hear the sound again",
]


@pytest.fixture
def texts(tmp_path: Path) -> TextConfig:
    """Four sentences many times over, a manifest, and a validation text."""
    with lzma.open(tmp_path / "books.txt.xz", "wt") as file:
        file.write("\n".join(SENTENCES * 20))
    utterances = [
        Utterance(Path("a.wav"), 1.0, text, speaker, source)
        for text, speaker, source in [
            ("Press 1!", "b", "prompts"),
            ("hello there", "a", "prompts"),
            ("computer", "c", "wake"),
            ("sound is heard by the ear of a dog", "a", "prompts"),
        ]
    ]
    write_manifest(tmp_path / "train.jsonl", utterances)
    write_manifest(
        tmp_path / "dev.jsonl", [replace(utterances[3], text="the ear of a dog is here")]
    )
    return TextConfig(
        train=(
            TextSet(tmp_path / "books.txt.xz"),
            TextSet(tmp_path / "train.jsonl", repeat=2.5, sources={"wake": 0.0}),
        ),
        validation=(tmp_path / "dev.jsonl",),
        window=12,
        batch=4,
    )


@pytest.fixture
def interrupts():
    """Lightning switches Ctrl-C off while it shuts down."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def configuration(texts: TextConfig, **optim: float) -> LanguageTrainingConfig:
    settings = {"steps": 12, "warmup_steps": 2, "learning_rate": 1e-2, **optim}
    return LanguageTrainingConfig(
        kind="language-model",
        data=texts,
        optim=OptimConfig(**settings),  # type: ignore[arg-type]
        model=LanguageModelConfig(units=80, embedding=16, hidden=24, layers=2, dropout=0.1),
        precision="32-true",
        validate_every=5,
        checkpoint_every=4,
    )


@pytest.fixture(scope="module")
def network() -> tuple[LanguageNetwork, Units]:
    """A network with random weights that are large enough to matter."""
    torch.manual_seed(3)
    units = learn_units({word: 3 for text in SENTENCES for word in text.split()}, 90)
    config = LanguageModelConfig(units=len(units.names), embedding=64, hidden=64, layers=2)
    network = LanguageNetwork(config).eval()
    with torch.no_grad():
        network.project.weight.mul_(6)
        network.bias.normal_()
    return network, units


@pytest.fixture(scope="module")
def folder(network: tuple[LanguageNetwork, Units], tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("model")
    export_language_model(*network, path, {"run": {"steps": 3}})
    return path


class TestText:
    def test_manifests_come_speaker_by_speaker_in_normal_form(self, texts: TextConfig) -> None:
        text = Text.read(texts.train[1:])
        words = [text.words[number] for number in text.row]
        assert " ".join(words) == (
            "<end> hello there <end> sound is heard by the ear of a dog <end> press one <end>"
        )
        assert text.weights.tolist() == [2.5, 2.5, 2.5]
        assert text.counts()["sound"] == 3  # 2.5 times, rounded up

    def test_what_validation_texts_say_is_not_learnt(self, texts: TextConfig, tmp_path) -> None:
        said = Utterance(Path("a.wav"), 1.0, "well the small bones of the ear carry sound", "x")
        write_manifest(tmp_path / "judge.jsonl", [said])
        text = Text.read(texts.train[:1], [tmp_path / "judge.jsonl"])
        assert text.excluded == 20  # eight words in a row
        assert len(text.starts) == 60

    def test_cutting_words_equals_cutting_sentences(self, texts: TextConfig) -> None:
        text = Text.read(texts.train)
        units = learn_units(text.counts(), 80)
        corpus = text.cut(units)
        bounds = [*corpus.starts.tolist(), len(corpus.units) - 1]
        for number, sentence in enumerate(SENTENCES):
            part = corpus.units[bounds[number] : bounds[number + 1]].tolist()
            assert part == [0, *units.encode(sentence)]
        assert corpus.units[-1] == 0

    def test_windows_begin_with_sentences_and_leave_none_out(self, texts: TextConfig) -> None:
        text = Text.read(texts.train)
        corpus = text.cut(learn_units(text.counts(), 80))
        positions, _ = corpus.windows(30)
        assert set(positions) <= set(corpus.starts)
        covered = np.zeros(len(corpus.units), bool)
        for position in positions:
            covered[position : position + 31] = True
        assert covered[: positions[-1]].all()
        with pytest.raises(ValueError, match="less than a window of 9999"):
            corpus.windows(9999)

    def test_a_resumed_epoch_goes_on_where_it_stopped(self) -> None:
        positions, weights = np.arange(40), np.full(40, 1.5, np.float32)
        whole = list(WindowSampler(positions, weights, 8, seed=1, epoch=2))
        rest = list(WindowSampler(positions, weights, 8, seed=1, epoch=2, skip=3))
        np.testing.assert_array_equal(np.stack(rest), np.stack(whole[3:]))
        counts = np.bincount(np.concatenate(whole), minlength=40)
        assert counts.max() == 2
        with pytest.raises(ValueError, match="40 examples do not fill a batch of 41"):
            WindowSampler(positions, np.ones(40, np.float32), 41, seed=1, epoch=0)

    def test_an_epoch_that_draws_too_few_repeats_some(self) -> None:
        halves = np.full(40, 0.5, np.float32)
        for epoch in range(20):
            (batch,) = WindowSampler(np.arange(40), halves, 20, seed=1, epoch=epoch)
            assert len(batch) == 20

    def test_validation_counts_characters(self) -> None:
        units = learn_units({"ab": 3}, 60)
        [(rows, characters)] = validation_batches(["ab", "abc a"], units)
        assert characters == 3 + 6
        assert rows.T.tolist() == [
            [0, *units.encode("ab"), 0, -1, -1],
            [0, *units.encode("abc a"), 0],
        ]


class TestTraining:
    def test_learns_its_sentences(self, texts: TextConfig, tmp_path: Path) -> None:
        config = configuration(texts, steps=120, ema_decay=0.9)
        module = train_language_model(config, tmp_path / "run", accelerator="cpu", quiet=True)
        curves = read_curves(tmp_path / "run")
        losses = [loss for _, loss in curves["train/loss"]]
        assert losses[-1] < 0.5 * losses[0]
        facts = json.loads((tmp_path / "run" / "run.json").read_text())
        assert facts["steps"] == 120
        assert facts["text"]["sentences"] == 83

        export_language_model(module.network.eval(), module.units, tmp_path)
        rescorer = Rescorer.load(tmp_path)
        assert rescorer is not None
        right, wrong = rescorer.score(
            ["the ear carries sound to the brain", "the ear carries sand to the brain"]
        )
        assert right > wrong + 1
        # The curve of the validation text is what the finished model says of it.
        bits = curves["dev/bits_per_character"]
        assert [step for step, _ in bits] == list(range(4, 120, 5))
        said = "the ear of a dog is here"
        expected = -rescorer.score([said])[0] / math.log(2) / (len(said) + 1)
        assert bits[-1][1] == pytest.approx(expected, rel=0.02)

    def test_resumed_equals_uninterrupted(
        self, texts: TextConfig, tmp_path: Path, monkeypatch, interrupts
    ) -> None:
        config = configuration(texts)
        whole = train_language_model(config, tmp_path / "whole", accelerator="cpu", quiet=True)
        step = LanguageModule.training_step

        def interrupted(self: LanguageModule, *arguments):
            if self.global_step == 7:
                raise KeyboardInterrupt
            return step(self, *arguments)

        monkeypatch.setattr(LanguageModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_language_model(config, tmp_path / "cut", accelerator="cpu", quiet=True)
        monkeypatch.setattr(LanguageModule, "training_step", step)
        resumed = train_language_model(
            config, tmp_path / "cut", resume=True, accelerator="cpu", quiet=True
        )
        for (name, a), b in zip(
            whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-4, msg=name)
        with pytest.raises(RunExistsError, match="add --resume"):
            train_language_model(config, tmp_path / "cut", quiet=True)
        with pytest.raises(RunExistsError, match="nothing to resume"):
            train_language_model(config, tmp_path / "none", resume=True, quiet=True)
        other = replace(config, model=replace(config.model, hidden=8))
        with pytest.raises(ValueError, match="does not fit its configuration"):
            train_language_model(other, tmp_path / "cut", resume=True, quiet=True)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "poem"}, "kind is 'poem'"),
            ({"precision": "16-mixed"}, "use bf16-mixed or 32-true"),
            ({"speed": 3}, "speed"),
            ({"data": {"train": [{"path": "a", "repeat": -1}]}}, "repeat of a is -1"),
        ],
    )
    def test_bad_configurations_name_the_key(
        self, texts: TextConfig, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text(yaml.safe_dump({**configuration(texts).to_dict(), **change}))
        with pytest.raises(ValueError, match=message):
            LanguageTrainingConfig.load(path)

    def test_the_shipped_configuration_loads(self) -> None:
        path = Path(__file__).parents[2] / "model" / "configs" / "language_model.yaml"
        assert is_language_model(path)
        config = LanguageTrainingConfig.load(path)
        assert LanguageTrainingConfig.load(path) == config
        assert not is_language_model(path.with_name("tiny.yaml"))

    def test_from_the_command_line(self, texts: TextConfig, tmp_path: Path) -> None:
        def ossicle(*arguments: object):
            return CliRunner().invoke(app, [str(argument) for argument in arguments])

        path, run = tmp_path / "words.yaml", tmp_path / "run"
        path.write_text(yaml.safe_dump(configuration(texts, steps=4).to_dict()))
        trained = ossicle("train", path, "--run", run, "--accelerator", "cpu")
        assert trained.exit_code == 0, trained.output
        assert "83 sentences" in trained.output
        exported = ossicle("export", run / "resume.ckpt", tmp_path / "model")
        assert exported.exit_code == 0, exported.output
        assert "largest difference" in exported.output
        stored = onnx.load(str(tmp_path / "model" / FILE)).metadata_props
        training = json.loads({p.key: p.value for p in stored}["training"])
        assert training["config"]["optim"]["steps"] == training["run"]["steps"] == 4

        shared = ossicle("export", run / "resume.ckpt", tmp_path / "model", "--share", "0.2")
        assert shared.exit_code == 2
        named = ossicle("export", run / "resume.ckpt", tmp_path / "model", "--name", "poet")
        assert named.exit_code == 2
        assert "leave out --name, --audio, --average-with" in " ".join(named.output.split())
        several = ossicle("train", path, "--run", tmp_path / "new", "--devices", 2)
        assert several.exit_code == 2
        assert "a language model trains on one" in " ".join(several.output.split())

    def test_a_source_that_no_sentence_has_is_refused(self, texts: TextConfig) -> None:
        misspelt = replace(texts.train[1], sources={"wakes": 0.0})
        with pytest.raises(ValueError, match=r"train\.jsonl has no sentence of the source 'wakes'"):
            Text.read([misspelt])

    def test_curves_of_two_texts_have_two_names(self, texts: TextConfig, tmp_path: Path) -> None:
        config = replace(texts, validation=(tmp_path / "dev.a.jsonl", tmp_path / "dev.b.txt.xz"))
        assert [curve_name(path) for path in config.validation] == ["dev.a", "dev.b"]
        with pytest.raises(ValueError, match="validation text dev has a name that another"):
            replace(texts, validation=(tmp_path / "dev.jsonl", tmp_path / "dev.txt"))

    def test_a_damaged_checkpoint_is_named(self, texts: TextConfig, tmp_path: Path) -> None:
        (tmp_path / "resume.ckpt").write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"resume\.ckpt is no checkpoint of a language model"):
            load_language_checkpoint(tmp_path / "resume.ckpt", configuration(texts).model)


class TestRescoring:
    def test_the_file_says_what_the_network_says(
        self, network: tuple[LanguageNetwork, Units], folder: Path
    ) -> None:
        parity = check_language_parity(*network, folder, SENTENCES)
        assert parity.difference < 0.05
        assert FILE in str(parity)

    def test_probabilities_of_all_short_texts_add_up_to_less_than_one(self, folder: Path) -> None:
        rescorer = Rescorer.load(folder)
        assert rescorer is not None
        spelt = {rescorer.units.decode([n]) for n in range(1, len(rescorer.units.names))}
        opening = sorted(name for name in spelt if name and len(rescorer.units.encode(name)) == 1)
        total = math.fsum(np.exp(rescorer.score(["", *opening]).astype(float)))
        assert 0 < total < 1

    def test_texts_do_not_disturb_each_other(self, folder: Path) -> None:
        rescorer = Rescorer.load(folder)
        assert rescorer is not None
        texts = ["", "sound", "the small bones of the ear carry sound to the brain", "zyx qq"]
        together = rescorer.score(texts)
        alone = [rescorer.score([text])[0] for text in texts]
        np.testing.assert_allclose(together, alone, atol=1e-3)
        assert together.shape == (4,)
        assert together.dtype == np.float32
        assert (together < 0).all()
        assert rescorer.score([]).shape == (0,)

    def test_words_are_judged_by_what_comes_before_them(self, folder: Path) -> None:
        rescorer = Rescorer.load(folder)
        assert rescorer
        text = "the cat sat on the mat"
        whole, first, none = rescorer.judge([text, "the cat sat", ""])
        assert (len(whole), len(first), len(none)) == (7, 4, 1)
        assert whole[:3] == pytest.approx(first[:3], abs=1e-4)
        assert [whole.sum(), first.sum()] == pytest.approx(
            rescorer.score([text, "the cat sat"]).tolist(), abs=1e-4
        )

    def test_context_is_read_as_sentences_before(
        self, network: tuple[LanguageNetwork, Units], folder: Path
    ) -> None:
        rescorer = Rescorer.load(folder)
        assert rescorer is not None
        units = network[1]
        before, text = ["the ear carries sound", "press one"], "sound is heard"
        score = rescorer.score([text], "\n".join(before))[0]
        row = [0, *units.encode(before[0]), 0, *units.encode(before[1]), 0, *units.encode(text), 0]
        column = torch.tensor([row]).T
        with torch.no_grad():
            log_probs, _, _ = network[0].score(
                column[:-1], column[1:], *network[0].initial_state(1)
            )
        expected = float(log_probs[-len(units.encode(text)) - 1 :].sum())
        assert score == pytest.approx(expected, abs=0.2)
        assert abs(score - rescorer.score([text])[0]) > 1
        assert rescorer.score([text], "\n \n")[0] == rescorer.score([text])[0]

    def test_only_the_end_of_a_long_context_counts(self, folder: Path) -> None:
        rescorer = Rescorer.load(folder)
        assert rescorer is not None
        recent = "a b c d e f g h i j k l m n o p\n" * (CONTEXT_UNITS // 16)
        scores = [rescorer.score(["sound"], start + recent)[0] for start in ("", "the ear\n")]
        assert scores[0] == scores[1]

    def test_what_is_not_normal_is_refused(self, folder: Path) -> None:
        rescorer = Rescorer.load(folder)
        assert rescorer is not None
        with pytest.raises(ValueError, match="'Sound!' is not in normal form"):
            rescorer.score(["Sound!"])

    def test_a_folder_without_one_has_none(self, tmp_path: Path) -> None:
        assert Rescorer.load(tmp_path) is None

    def test_damaged_or_strange_files_are_named(self, tmp_path: Path) -> None:
        (tmp_path / FILE).write_bytes(b"nothing")
        with pytest.raises(ModelError, match=r"cannot load .*lm\.lstm\.onnx"):
            Rescorer.load(tmp_path)
        other = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) {y = Relu(x)}'
        )
        onnx.save(other, str(tmp_path / FILE))
        with pytest.raises(ModelError, match="no language model of `ossicle export`"):
            Rescorer.load(tmp_path)
