"""What a cell remembers: symbols are shown, time passes, and then they are to be told.

The task is the copying of Hochreiter & Schmidhuber 1997 and Arjovsky, Shah & Bengio 2016, small
enough for minutes. Nothing but the recurrent state can bring the symbols over the lag.

Whether a cell learns it is decided by where its gates start. So each has two tries: from the usual
start, and from one in which units forget over all times up to the lag (Tallec & Ollivier 2018, "Can
recurrent neural networks warp time?").
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from ossicle.model.cells.equations import CELLS
from ossicle.model.cells.fused import make_recurrence, run_recurrence
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class CopyTask:
    """The task, and how it is trained.

    Attributes:
        symbols: different ones; chance is one in so many.
        length: symbols to remember.
        lags: steps between the last symbol shown and the first to be told.
        hidden: H of the one layer.
        batch: B.
        steps: of training, for each cell and lag.
        learning_rate: of Adam.
        seed: of weights and symbols.
    """

    symbols: int = 8
    length: int = 2
    lags: tuple[int, ...] = (10, 30, 100, 300, 1000)
    hidden: int = 48
    batch: int = 32
    steps: int = 250
    learning_rate: float = 1e-2
    seed: int = 1

    @property
    def no_memory(self) -> float:
        """A recall that is no better than guessing, 0 to 1: half a chance above chance."""
        return 1.5 / self.symbols

    def draw(self, generator: torch.Generator, lag: int) -> tuple[Tensor, Tensor]:
        """Inputs (B, U, symbols + 2) as one-hot, symbols (B, length); U = 2 length + lag.

        Two more inputs say "nothing" and "tell now".
        """
        symbols = torch.randint(self.symbols, (self.batch, self.length), generator=generator)
        inputs = torch.full((self.batch, 2 * self.length + lag), self.symbols)
        inputs[:, : self.length] = symbols
        inputs[:, -self.length :] = self.symbols + 1
        return F.one_hot(inputs, self.symbols + 2).float(), symbols


class _Copier(nn.Module):
    def __init__(self, cell: str, task: CopyTask, forget_within: int | None) -> None:
        super().__init__()
        self.length = task.length
        self.encode = nn.Linear(task.symbols + 2, task.hidden)
        self.recurrence = make_recurrence(cell, task.hidden)
        self.head = nn.Linear(task.hidden, task.symbols)
        if forget_within is not None:
            _spread_times(self.recurrence, cell, forget_within)

    def forward(self, x: Tensor) -> Tensor:
        """(B, U, symbols + 2) -> scores (B, length, symbols) of what is told at the end."""
        state = torch.zeros(1, len(x), self.encode.out_features)
        y, _, _ = run_recurrence(self.recurrence, self.encode(x), state, state)
        scores: Tensor = self.head(y[:, -self.length :])
        return scores


def _spread_times(recurrence: nn.Module, cell: str, longest: int) -> None:
    """Biases with which units forget over times of 1 to `longest` steps, evenly drawn."""
    kind = CELLS[cell]
    fused = isinstance(recurrence, nn.RNNBase)
    bias = recurrence.get_parameter("bias_ih_l0" if fused else "bias")
    with torch.no_grad():
        hidden = len(bias) // kind.blocks
        times = torch.log(torch.empty(hidden).uniform_(1, longest))
        if kind.forget >= 0:
            bias.view(kind.blocks, hidden)[kind.forget] = times
        if kind.input >= 0:
            bias.view(kind.blocks, hidden)[kind.input] = -times


def recall(cell: str, lag: int, task: CopyTask, forget_within: int | None = None) -> float:
    """Share of symbols told right after training, on symbols never trained on, 0 to 1.

    Args:
        forget_within: gates start with times of up to so many steps; None is the usual start.
    """
    torch.manual_seed(task.seed)
    generator = torch.Generator().manual_seed(task.seed)
    network = _Copier(cell, task, forget_within)
    optimizer = torch.optim.Adam(network.parameters(), lr=task.learning_rate)
    for _ in range(task.steps):
        inputs, symbols = task.draw(generator, lag)
        loss = F.cross_entropy(network(inputs).flatten(0, 1), symbols.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    with torch.inference_mode():
        right = [
            (network(inputs).argmax(-1) == symbols).float().mean()
            for inputs, symbols in (task.draw(generator, lag) for _ in range(8))
        ]
    return float(torch.stack(right).mean())


@dataclass
class CopyResults:
    """Recall of each cell at each lag.

    Attributes:
        task: what was trained.
        usual: by cell and lag, from the usual start.
        spread: from times spread up to the lag; cells without gates are not here.

    A cell that remembers nothing over one lag is not asked about longer ones.
    """

    task: CopyTask
    usual: dict[str, dict[int, float]] = field(default_factory=dict)
    spread: dict[str, dict[int, float]] = field(default_factory=dict)


def copy_lags(task: CopyTask, path: Path, report: Callable[[str], None]) -> CopyResults:
    """Train every cell at every lag, keeping what `path` has of the same task.

    Args:
        path: a JSON file, written after each.
        report: told what is being done.
    """
    results = _load(path, task)
    for lag in sorted(task.lags):
        for cell, kind in CELLS.items():
            gated = kind.forget >= 0 or kind.input >= 0
            for name, table in (("usual", results.usual), ("spread", results.spread)):
                if name == "spread" and not gated:
                    continue
                row = table.setdefault(cell, {})
                if lag in row or any(value <= task.no_memory for value in row.values()):
                    continue
                report(f"copying over {lag} steps: {cell}, {name} start")
                row[lag] = recall(cell, lag, task, lag if name == "spread" else None)
                path.write_text(json.dumps(asdict(results), indent=1) + "\n")
    return results


def _load(path: Path, task: CopyTask) -> CopyResults:
    if not path.exists():
        return CopyResults(task)
    values = json.loads(path.read_text())
    # JSON has no tuples and no numbers as keys.
    if values["task"] != json.loads(json.dumps(asdict(task))):
        return CopyResults(task)
    tables = [
        {cell: {int(lag): share for lag, share in row.items()} for cell, row in table.items()}
        for table in (values["usual"], values["spread"])
    ]
    return CopyResults(task, *tables)
