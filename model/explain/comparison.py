"""Every cell trained on the same speech with the same budget, and the LSTM in one to five layers.

A comparison is a folder with a run for each network, made from one training configuration in
which nothing but the cell or the number of layers is changed. What is there is kept, so that a
comparison that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import yaml
from ossicle.data.bucketing import Key
from ossicle.data.cache import PcmCache
from ossicle.data.recordings import Batch, Recordings, collate
from ossicle.data.text import Tokenizer
from ossicle.model.config import CELL_NAMES, FRAME_SECONDS, RecurrenceConfig
from ossicle.model.decoding.hypothesis import GreedyDecoder
from ossicle.model.evaluation.scoring import Recognized, score
from ossicle.model.export import load_checkpoint
from ossicle.model.network import Network
from ossicle.model.training.config import TrainingConfig
from ossicle.model.training.curves import read_curves
from ossicle.model.training.module import SpeechModule
from ossicle.model.training.run import RESUME, RunExistsError
from ossicle.model.training.train import train

CONFIG = Path(__file__).parents[1] / "configs" / "cells.yaml"
DEPTHS = (1, 2, 3, 4, 5)
TIMING_ROUNDS = 7


@dataclass(frozen=True)
class Contender:
    """A network that is compared.

    Attributes:
        name: of its folder in the comparison's.
        cell, layers: what sets it apart.
        config: of its run.
    """

    name: str
    cell: str
    layers: int
    config: TrainingConfig


@dataclass(frozen=True)
class Result:
    """What became of a contender.

    Attributes:
        parameters: trainable ones.
        wer, low, high, cer: at the end, on all validation sets together; `low` to `high` is the
            95 % interval of the WER.
        step_seconds: of one core for a step of training.
        curve: (step, WER) of the first validation set during training.
        losses: (step, CTC loss per token) of training.
    """

    name: str
    cell: str
    layers: int
    parameters: int
    wer: float
    low: float
    high: float
    cer: float
    step_seconds: float
    curve: tuple[tuple[int, float], ...]
    losses: tuple[tuple[int, float], ...]


def contenders(config: TrainingConfig) -> list[Contender]:
    """Each cell with the configured layers, then LSTMs of each depth that is not among them."""
    layers = config.model.network.layers
    wanted = [(cell, cell, layers) for cell in CELL_NAMES]
    wanted += [(f"lstm-{depth}-layers", "lstm", depth) for depth in DEPTHS if depth != layers]
    return [Contender(name, cell, n, _variant(config, cell, n)) for name, cell, n in wanted]


def _variant(config: TrainingConfig, cell: str, layers: int) -> TrainingConfig:
    network = replace(config.model.network, recurrence=RecurrenceConfig(cell), layers=layers)
    return replace(config, model=replace(config.model, network=network))


def compare(config: TrainingConfig, folder: Path, report: Callable[[str], None]) -> list[Result]:
    """Train what is not trained yet, and measure all.

    Args:
        report: told what is being done.

    Raises:
        RunExistsError: the folder holds runs of another configuration.
        ValueError: the configuration has no validation set to judge by.
    """
    if not config.data.validation:
        raise ValueError("data.validation names no manifest to judge the cells by")
    networks = contenders(config)
    for i, contender in enumerate(networks, 1):
        place = f"{contender.name} ({i} of {len(networks)})"
        if is_trained(contender, folder / contender.name):
            report(f"{place}: trained before")
            continue
        report(f"{place}: training")
        run = folder / contender.name
        resume = (run / RESUME).exists()
        train(contender.config, run, resume=resume, accelerator="cpu", quiet=True)
    report("timing a step of each, by turns")
    seconds = time_steps(networks)
    report("judging each")
    results = [
        _measure(contender, folder / contender.name, seconds[contender.name])
        for contender in networks
    ]
    (folder / "cells.json").write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    return results


def is_trained(contender: Contender, run: Path) -> bool:
    """Whether a run is finished.

    Raises:
        RunExistsError: it is of another configuration.
    """
    path = run / "config.yaml"
    if not path.exists():
        return False
    if yaml.safe_load(path.read_text(encoding="utf-8")) != contender.config.to_dict():
        raise RunExistsError(
            f"{run} was trained with another configuration: choose another --run folder"
        )
    record = run / "run.json"
    if not record.exists():
        return False
    steps: int = json.loads(record.read_text(encoding="utf-8"))["steps"]
    return steps >= contender.config.optim.steps


def time_steps(networks: Sequence[Contender]) -> dict[str, float]:
    """Seconds of one core for a step of training of each, the best of some rounds.

    The networks take turns, so that whatever else the machine does falls on all of them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batch = next(_batches(networks[0].config))
        modules = {c.name: SpeechModule(c.config) for c in networks}
        optimizers = {n: m.configure_optimizers()["optimizer"] for n, m in modules.items()}
        best = dict.fromkeys(modules, float("inf"))
        for _ in range(TIMING_ROUNDS):
            for name, module in modules.items():
                begin = time.process_time()
                heard, frames = module.hear_batch(batch, augmented=True)
                optimizers[name].zero_grad()
                module.loss(heard, frames, batch)[0].backward()  # type: ignore[no-untyped-call]
                optimizers[name].step()
                best[name] = min(best[name], time.process_time() - begin)
        return best
    finally:
        torch.set_num_threads(threads)


def _batches(config: TrainingConfig) -> Iterator[Batch]:
    """The validation recordings in batches of about the configured seconds."""
    for manifest in config.data.validation:
        cache = PcmCache(manifest, config.data.cache)
        rows = [(0, row) for row in range(len(cache))]
        recordings = Recordings([cache], rows, Tokenizer(config.model.characters))
        size = max(int(config.data.batch_seconds / max(cache.durations)), 1)
        for begin in range(0, len(recordings), size):
            count = min(size, len(recordings) - begin)
            yield collate([recordings[Key(0, begin + i)] for i in range(count)])


def _measure(contender: Contender, run: Path, step_seconds: float) -> Result:
    network = load_checkpoint(run / RESUME)
    total = score(list(_recognized(network, contender.config)))
    curves = read_curves(run)
    return Result(
        name=contender.name,
        cell=contender.cell,
        layers=contender.layers,
        parameters=network.parameter_count(),
        wer=total.wer,
        low=total.wer_low,
        high=total.wer_high,
        cer=total.cer,
        step_seconds=step_seconds,
        curve=tuple(curves.get(f"{contender.config.data.validation[0].stem}/wer", ())),
        losses=tuple(curves["train/loss"]),
    )


def _recognized(network: Network, config: TrainingConfig) -> Iterator[Recognized]:
    for manifest in config.data.validation:
        cache = PcmCache(manifest, config.data.cache)
        for row, utterance in enumerate(cache.utterances):
            with torch.inference_mode():
                log_probs = network.transcribe_whole(torch.from_numpy(cache[row])[None])[0]
            decoder = GreedyDecoder(config.model.tokens, FRAME_SECONDS)
            decoder.advance(log_probs.numpy())
            yield Recognized(utterance, utterance.text, decoder.hypothesis().text)
