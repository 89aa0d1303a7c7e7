"""Running a model folder with ONNX Runtime: what serving and transcribing use, without torch.

A model folder holds `config.json`, `model.int8.onnx` and, where somebody has exported them,
`model.onnx` and `weights.safetensors`. Cells other than the LSTM have no int8 graph and are served
by `model.onnx`. The graph takes raw samples and state and gives log-probabilities and new state, so
features cannot differ between training and serving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from ossicle.model.config import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE, ModelConfig
from ossicle.model.onnx_runtime import ort

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = "ossicle-small-en"

Precision = Literal["int8", "float"]
INT8_CELLS = ("lstm",)  # see `model/quantization.py`
State = dict[str, NDArray[np.float32]]
"""The state of a batch of streams by name; `AcousticModel.state_axes` tells the batch axes."""

_FILES: dict[str, str] = {"int8": "model.int8.onnx", "float": "model.onnx"}
_STATE_PREFIX = "state."
# A network that has heard nothing at all mistakes a word that comes at once. With so long a silence
# (0.48 s) before, the bundled model's word errors on digits cut close fall from 11 to 7 %.
SETTLING_FRAMES = 12
# Of fewer, two threads need as long as one.
_FEWEST_STREAMS = 4


class ModelError(RuntimeError):
    """A model cannot be found or loaded; the message says which there are or what to do."""


@dataclass(frozen=True)
class ModelInfo:
    """What a client may know of a model.

    Attributes:
        tokens: V strings; token 0 is the blank.
        lookahead_frames: output frames by which outputs lag behind their audio.
        cell: of the recurrent layers.
        units: what the tokens are: "letters", or "phonemes".
        frame_samples: samples to an output frame.
    """

    name: str
    description: str
    language: str
    licence: str
    tokens: tuple[str, ...]
    lookahead_frames: int
    cell: str = "lstm"
    units: str = "letters"
    sample_rate: int = SAMPLE_RATE
    frame_samples: int = FRAME_SAMPLES
    frame_seconds: float = FRAME_SECONDS

    @property
    def lookahead_ms(self) -> int:
        """Future audio, in milliseconds, that an output may depend on."""
        return self.lookahead_frames * self.frame_samples * 1000 // self.sample_rate

    @property
    def served_precision(self) -> Precision:
        """The precision it is served in: int8 if its cell can be."""
        return "int8" if self.cell in INT8_CELLS else "float"

    @classmethod
    def load(cls, folder: Path) -> ModelInfo:
        """Read a model folder's `config.json`.

        Raises:
            ModelError: it is missing or broken.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise ModelError(f"{folder} is no model folder: it has no config.json")
        try:
            config = ModelConfig.load(path)
        except ValueError as error:
            raise ModelError(str(error)) from error
        return cls(
            name=config.name,
            description=config.description,
            language=config.language,
            licence=config.licence,
            tokens=config.tokens,
            lookahead_frames=config.network.lookahead,
            cell=config.network.recurrence.cell,
            units=config.units,
        )


class AcousticModel:
    """A network ready to step any number of streams at once.

    Threads share the streams of a step, each taking some of them through the whole network. If they
    shared each operator instead, as ONNX Runtime lets them, some would end in the midst of a vector
    of the processor, whose rest is computed by other instructions: the last bits of one stream
    would depend on how many others there are, and once in a thousand streams a word.

    Attributes:
        info: the model's properties.
        precision: "int8" or "float".
        state_axes: batch axis of each state tensor.
    """

    def __init__(
        self, info: ModelInfo, precision: Precision, session: ort.InferenceSession, threads: int
    ) -> None:
        self.info = info
        self.precision = precision
        self._session = session
        self._threads = threads
        self._others = ThreadPoolExecutor(max(threads - 1, 1), "ossicle-network")
        inputs = [i for i in session.get_inputs() if i.name.startswith(_STATE_PREFIX)]
        self._shapes = {i.name.removeprefix(_STATE_PREFIX): list(i.shape) for i in inputs}
        # Fixed sizes are numbers in the graph, the batch is a name.
        self.state_axes = {
            name: next(axis for axis, size in enumerate(shape) if not isinstance(size, int))
            for name, shape in self._shapes.items()
        }
        self._outputs = ["log_probs", *(f"next.{name}" for name in self._shapes)]
        silence = np.zeros((1, SETTLING_FRAMES * info.frame_samples), dtype=np.float32)
        _, self._settled = self._run(silence, self.initial_state(1))

    @classmethod
    def load(
        cls, folder: Path, precision: Precision | None = None, *, threads: int = 1
    ) -> AcousticModel:
        """Load a model folder.

        Args:
            precision: None is the one that the model is served in.
            threads: of the processor, for one step.

        Raises:
            ModelError: naming what is missing.
        """
        info = ModelInfo.load(folder)
        precision = precision or info.served_precision
        if precision == "int8" and info.served_precision != "int8":
            raise ModelError(
                f"{folder} is of {info.cell} cells, which have no int8 graph: choose float"
            )
        path = graph_path(folder, precision)
        if not path.is_file():
            raise ModelError(
                f"{folder} has no {path.name}: make it with `ossicle export` or choose "
                f"another precision"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise ModelError(
                f"cannot load {path}: it is damaged or only half copied; copy it again, or make it "
                f"anew with `ossicle export` ({error})"
            ) from error
        return cls(info, precision, session, threads)

    def initial_state(self, batch: int) -> State:
        """The state of `batch` networks that have heard nothing: zeros."""
        return {
            name: np.zeros([s if isinstance(s, int) else batch for s in shape], dtype=np.float32)
            for name, shape in self._shapes.items()
        }

    def settled_state(self, batch: int) -> State:
        """The state that `batch` streams begin with: of networks that have heard some silence."""
        return {
            name: np.repeat(tensor, batch, axis=self.state_axes[name])
            for name, tensor in self._settled.items()
        }

    def step(self, samples: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        """Advance a batch of streams by the same number of frames.

        Args:
            samples: (B, U * frame_samples), -1 to 1.
            state: of B streams; left as it is.

        Returns:
            Log-probabilities (B, U, V), whose frame u belongs to the audio `lookahead_frames`
            earlier, and the new state.
        """
        batch = len(samples)
        shares = max(min(self._threads, batch // _FEWEST_STREAMS), 1)
        if shares == 1:
            return self._run(samples, state)
        ends = [batch * share // shares for share in range(shares + 1)]
        first, *rest = (
            (samples[begin:end], self._rows(state, begin, end)) for begin, end in pairwise(ends)
        )
        others = [self._others.submit(self._run, *share) for share in rest]
        done = [self._run(*first), *(other.result() for other in others)]
        return np.concatenate([log_probs for log_probs, _ in done]), {
            name: np.concatenate([new[name] for _, new in done], axis=axis)
            for name, axis in self.state_axes.items()
        }

    def _run(self, samples: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        feed = {"samples": samples}
        feed.update((_STATE_PREFIX + name, tensor) for name, tensor in state.items())
        log_probs, *new = self._session.run(self._outputs, feed)
        return log_probs, dict(zip(self._shapes, new, strict=True))

    def _rows(self, state: State, begin: int, end: int) -> State:
        return {
            name: np.take(tensor, range(begin, end), axis=self.state_axes[name])
            for name, tensor in state.items()
        }


def graph_path(folder: Path, precision: Precision) -> Path:
    """The graph in a model folder, whether or not it is there."""
    return folder / _FILES[precision]


def transcribe_whole(
    step: Callable[[NDArray[np.float32], State], tuple[NDArray[np.float32], State]],
    state: State,
    samples: NDArray[np.float32],
    lookahead_frames: int,
) -> NDArray[np.float32]:
    """Log-probabilities (B, U, V) of whole recordings (B, N) in one step, the end flushed.

    U = ceil(N / 640); output u belongs to the samples from u * 640 on.
    """
    frames = -(-samples.shape[1] // FRAME_SAMPLES) + lookahead_frames
    padded = np.zeros((samples.shape[0], frames * FRAME_SAMPLES), dtype=np.float32)
    padded[:, : samples.shape[1]] = samples
    log_probs, _ = step(padded, state)
    return log_probs[:, lookahead_frames:]


def hear(
    model: AcousticModel, recordings: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Log-probabilities (U, V) of each of several whole recordings (N,), heard as one batch."""
    padded = np.zeros((len(recordings), max(map(len, recordings))), dtype=np.float32)
    for row, samples in zip(padded, recordings, strict=True):
        row[: len(samples)] = samples
    state = model.settled_state(len(recordings))
    log_probs = transcribe_whole(model.step, state, padded, model.info.lookahead_frames)
    return [
        rows[: -(-len(samples) // FRAME_SAMPLES)]
        for rows, samples in zip(log_probs, recordings, strict=True)
    ]


def list_models() -> list[ModelInfo]:
    """The models that came with the installation, by name."""
    folders = sorted(path.parent for path in PRETRAINED.glob("*/config.json"))
    return [ModelInfo.load(folder) for folder in folders]


def find_model(name: str | None = None) -> Path:
    """The folder of a model.

    Args:
        name: of a bundled model, or the path of a model folder; None is the default model.

    Raises:
        ModelError: naming the models there are.
    """
    wanted = name or DEFAULT_MODEL
    for folder in (PRETRAINED / wanted, Path(wanted)):
        if (folder / "config.json").is_file():
            return folder
    known = ", ".join(info.name for info in list_models()) or "none"
    raise ModelError(
        f"there is no model {wanted!r}: bundled models are {known}; "
        "a path to a model folder does as well"
    )
