"""A graphics card that is not there: its tensors are in main memory, and say that they are on it.

PyTorch takes it for a device like any other, so Lightning trains on it as on a GPU. Each operation
is checked as a GPU would: tensors in main memory do not meet those on the card, but for numbers.
It runs no faster and proves nothing of speed; what waits for the card is counted, for that is what
keeps a real one idle.
"""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import Accelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

aten = torch.ops.aten


class _Backend(_DummyBackendModule):  # type: ignore[misc]
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("card", _Backend())
DEVICE = torch.device("card", 0)

_BETWEEN_DEVICES = {aten._to_copy.default, aten.copy_.default}
# Their indices may be in main memory.
_INDEXED = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}


class TwoDevicesError(AssertionError):
    """An operation has some of its tensors in main memory and some on the card."""


class CardTensor(Tensor):
    """A tensor on the card.

    Attributes:
        held: its values.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> CardTensor:
        """What says that it is on the card."""
        new = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=DEVICE
        )
        new.held = held
        return new

    def __repr__(self) -> str:
        """Its values."""
        return f"CardTensor({self.held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> CardTensor:
        """A copy, which is a parameter if this is one."""
        copy = CardTensor(self.held.clone()).requires_grad_(self.requires_grad)
        copy._is_param = getattr(self, "_is_param", False)
        memo[id(self)] = copy
        return copy

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None):
        """Any operation that one of them takes part in."""
        return _run(operation, args, kwargs or {})


class Card(TorchDispatchMode):
    """While it is entered, there is a card.

    Attributes:
        waits: how often something waited for values from the card.
    """

    waits = 0

    def __enter__(self) -> Card:
        """Let there be a card."""
        # Else torch.tensor would look for a real one.
        self._lifted_only_from_memory = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Let there be none."""
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lifted_only_from_memory)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None):
        """Any operation of tensors, those that make new ones among them."""
        fetches = operation is aten._local_scalar_dense.default or (
            operation is aten._to_copy.default and not _is_card((kwargs or {}).get("device"))
        )
        if fetches and any(isinstance(leaf, CardTensor) for leaf in tree_leaves(args)):
            self.waits += 1
        return _run(operation, args, kwargs or {})


class CardAccelerator(Accelerator):
    """What Lightning asks about it."""

    @staticmethod
    def parse_devices(devices: Any) -> list[torch.device]:
        return [DEVICE]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [DEVICE]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "card"

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}


def train_on_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Lightning's trainer take the card, whatever it is told to take."""

    class Trainer(pl.Trainer):
        def __init__(self, **options: Any) -> None:
            strategy = SingleDeviceStrategy(DEVICE, CardAccelerator())
            super().__init__(**options | {"accelerator": "auto", "strategy": strategy})

    monkeypatch.setattr(pl, "Trainer", Trainer)


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, CardTensor)]
    # A tensor of no dimensions is a number.
    elsewhere = [t for t in tensors if not isinstance(t, CardTensor) and t.ndim > 0]
    indexed = operation in _INDEXED and isinstance(args[0], CardTensor)
    if here and elsewhere and operation not in _BETWEEN_DEVICES and not indexed:
        raise TwoDevicesError(
            f"{operation}: {[tuple(t.shape) for t in here]} on the card, "
            f"{[tuple(t.shape) for t in elsewhere]} in main memory"
        )
    target = kwargs.get("device")
    if target is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    result = _IN_MAIN_MEMORY.get(operation, operation)(
        *tree_map(_held, args), **tree_map(_held, kwargs)
    )
    changed = operation._schema.arguments[0].alias_info if operation._schema.arguments else None
    if changed is not None and changed.is_write and len(operation._schema.returns) == 1:
        return args[0]
    on_card = _is_card(target) if target is not None else bool(here)
    return tree_map(_put, result) if on_card else result


def _is_card(device: Any) -> bool:
    return device is None or torch.device(device).type == DEVICE.type


def _held(value: Any) -> Any:
    return value.held if isinstance(value, CardTensor) else value


def _put(value: Any) -> Any:
    return CardTensor(value) if type(value) is Tensor else value


def _lstm_cell(
    from_input: Tensor,
    from_hidden: Tensor,
    cell: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of torch's LSTM on any device but the processor, which has its own."""
    gates = from_input + from_hidden
    if input_bias is not None and hidden_bias is not None:
        gates = gates + input_bias + hidden_bias
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * cell + i * g
    return o * new.tanh(), new, torch.cat([i, f, g, o], 1)


def _lstm_cell_backward(
    to_output: Tensor | None,
    to_cell: Tensor | None,
    cell: Tensor,
    new: Tensor,
    gates: Tensor,
    has_bias: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    i, f, g, o = gates.chunk(4, 1)
    squashed = new.tanh()
    to_output = torch.zeros_like(new) if to_output is None else to_output
    to_new = to_output * o * (1 - squashed**2)
    if to_cell is not None:
        to_new = to_new + to_cell
    to_gates = [
        to_new * g * i * (1 - i),
        to_new * cell * f * (1 - f),
        to_new * i * (1 - g**2),
        to_output * squashed * o * (1 - o),
    ]
    joined = torch.cat(to_gates, 1)
    return joined, to_new * f, joined.sum(0) if has_bias else None


_IN_MAIN_MEMORY = {
    aten._thnn_fused_lstm_cell.default: _lstm_cell,
    aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
}
