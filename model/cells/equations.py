"""The recurrent cells, each from its equations and with its derivative.

In all of them x is the input, h the hidden state that the next layer sees, c the memory where a
cell has one of its own, σ the logistic function and ∘ the product unit by unit; h₋₁ is h one step
before. W are input weights, R recurrent ones, b biases.

    rnn             h = tanh(W x + R h₋₁ + b)                                     Elman 1990

    lstm            i = σ(W_i x + R_i h₋₁ + b_i)      what of the candidate is let in
                    f = σ(W_f x + R_f h₋₁ + b_f)      what of the memory is kept
                    c̃ = tanh(W_c x + R_c h₋₁ + b_c)   the candidate
                    o = σ(W_o x + R_o h₋₁ + b_o)      what of the memory is shown
                    c = f ∘ c₋₁ + i ∘ c̃
                    h = o ∘ tanh(c)                   Gers, Schmidhuber & Cummins 2000
    lstm-no-forget  the same with f = 1               Hochreiter & Schmidhuber 1997
    lstm-peephole   the same, and the gates see the memory: + p_i ∘ c₋₁ in i, + p_f ∘ c₋₁ in f,
                    + p_o ∘ c in o                    Gers, Schraudolph & Schmidhuber 2002
    lstm-coupled    the same with i = 1 - f           Greff et al. 2017, "LSTM: a search space
                                                      odyssey"

    gru             r = σ(W_r x + R_r h₋₁ + b_r)      what of the past the candidate sees
                    z = σ(W_z x + R_z h₋₁ + b_z)      what of it is kept
                    h̃ = tanh(W_h x + b_h + r ∘ (R_h h₋₁ + b'_h))
                    h = z ∘ h₋₁ + (1 - z) ∘ h̃         Cho et al. 2014, with the reset gate behind
                                                      the product, where all fused kernels have it
    gru-no-reset    the same with r = 1               Ravanelli et al. 2018, "Light gated recurrent
                                                      units for speech recognition"

The GRU's gate z does what two gates do in an LSTM: it keeps z, and lets in 1 - z.

Derivatives are those of these equations by the chain rule: the error at a gate is the error at
what it scales, times what it scales, times σ' = σ (1 - σ); tanh' = 1 - tanh².
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ossicle.model.cells.cell import Cell, StepBack
from torch import Tensor, nn

_through_sigmoid = torch.ops.aten.sigmoid_backward  # (error, σ(z)) -> error σ (1 - σ)
_through_tanh = torch.ops.aten.tanh_backward  # (error, tanh(z)) -> error (1 - tanh²)


class Elman(Cell):
    """The plain recurrent cell (Elman 1990, "Finding structure in time")."""

    blocks = 1
    signals = ("hidden", "memory")
    has_memory = False

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden, and the same as memory."""
        h = torch.tanh(x + h @ self.recurrent_weight.t())
        return h, h

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """All error goes through the product: the weights decide whether it lives."""
        error = _through_tanh(dh, values[0])
        return StepBack(error, error)


class LSTM(Cell):
    """With a forget gate (Gers, Schmidhuber & Cummins 2000, "Learning to forget")."""

    blocks = 4
    signals = ("hidden", "memory", "input", "forget", "candidate", "output")
    forget = 1
    input = 0

    def step(
        self, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Hidden, memory, input, forget, candidate, output."""
        i, f, candidate, o = (x + h @ self.recurrent_weight.t()).chunk(4, dim=1)
        i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
        candidate = torch.tanh(candidate)
        c = f * c + i * candidate
        return o * torch.tanh(c), c, i, f, candidate, o

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """Along the memory, error is scaled by the forget gate and by nothing else."""
        _, c_new, i, f, candidate, o = values
        shown = torch.tanh(c_new)
        dc = dc + _through_tanh(dh * o, shown)
        gates = [
            _through_sigmoid(dc * candidate, i),
            _through_sigmoid(dc * c, f),
            _through_tanh(dc * i, candidate),
            _through_sigmoid(dh * shown, o),
        ]
        error = torch.cat(gates, dim=1)
        return StepBack(error, error, memory=dc * f)


class ForgetlessLSTM(Cell):
    """Without one (Hochreiter & Schmidhuber 1997, "Long short-term memory").

    What is in the memory stays, so that in a long stream it only grows: the reason for the gate.
    """

    blocks = 3
    signals = ("hidden", "memory", "input", "candidate", "output")
    input = 0

    def step(
        self, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Hidden, memory, input, candidate, output."""
        i, candidate, o = (x + h @ self.recurrent_weight.t()).chunk(3, dim=1)
        i, candidate, o = torch.sigmoid(i), torch.tanh(candidate), torch.sigmoid(o)
        c = c + i * candidate
        return o * torch.tanh(c), c, i, candidate, o

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """Along the memory, error is not scaled at all: the constant error carousel."""
        _, c_new, i, candidate, o = values
        shown = torch.tanh(c_new)
        dc = dc + _through_tanh(dh * o, shown)
        gates = [
            _through_sigmoid(dc * candidate, i),
            _through_tanh(dc * i, candidate),
            _through_sigmoid(dh * shown, o),
        ]
        error = torch.cat(gates, dim=1)
        return StepBack(error, error, memory=dc)


class PeepholeLSTM(Cell):
    """Gates see the memory (Gers, Schraudolph & Schmidhuber 2002, "Learning precise timing")."""

    blocks = 4
    signals = LSTM.signals
    forget = 1
    input = 0

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.input_peephole = nn.Parameter(torch.zeros(hidden))
        self.forget_peephole = nn.Parameter(torch.zeros(hidden))
        self.output_peephole = nn.Parameter(torch.zeros(hidden))

    def step(
        self, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Hidden, memory, input, forget, candidate, output."""
        i, f, candidate, o = (x + h @ self.recurrent_weight.t()).chunk(4, dim=1)
        i = torch.sigmoid(i + self.input_peephole * c)
        f = torch.sigmoid(f + self.forget_peephole * c)
        candidate = torch.tanh(candidate)
        c = f * c + i * candidate
        o = torch.sigmoid(o + self.output_peephole * c)
        return o * torch.tanh(c), c, i, f, candidate, o

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """As in the LSTM, and along the memory also through the peepholes."""
        _, c_new, i, f, candidate, o = values
        shown = torch.tanh(c_new)
        output = _through_sigmoid(dh * shown, o)
        dc = dc + _through_tanh(dh * o, shown) + output * self.output_peephole
        let_in = _through_sigmoid(dc * candidate, i)
        keep = _through_sigmoid(dc * c, f)
        error = torch.cat([let_in, keep, _through_tanh(dc * i, candidate), output], dim=1)
        memory = dc * f + let_in * self.input_peephole + keep * self.forget_peephole
        return StepBack(error, error, memory=memory)

    def own_parameters(self) -> tuple[nn.Parameter, ...]:
        """The peepholes."""
        return self.input_peephole, self.forget_peephole, self.output_peephole

    def own_gradients(
        self, shares: Tensor, products: Tensor, before: Tensor, after: Tensor
    ) -> tuple[Tensor, ...]:
        """Input and forget gate see the memory before the step, the output gate after it."""
        let_in, keep, _, output = shares.chunk(4, dim=2)
        pairs = ((let_in, before), (keep, before), (output, after))
        return tuple((error * memory).sum((0, 1)) for error, memory in pairs)


class CoupledLSTM(Cell):
    """Forgets as much as it lets in (Greff et al. 2017)."""

    blocks = 3
    signals = LSTM.signals
    forget = 0

    def step(
        self, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Hidden, memory, input, forget, candidate, output."""
        f, candidate, o = (x + h @ self.recurrent_weight.t()).chunk(3, dim=1)
        f, candidate, o = torch.sigmoid(f), torch.tanh(candidate), torch.sigmoid(o)
        c = f * c + (1 - f) * candidate
        return o * torch.tanh(c), c, 1 - f, f, candidate, o

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """As in the LSTM; the one gate weighs the memory against the candidate."""
        _, c_new, i, f, candidate, o = values
        shown = torch.tanh(c_new)
        dc = dc + _through_tanh(dh * o, shown)
        gates = [
            _through_sigmoid(dc * (c - candidate), f),
            _through_tanh(dc * i, candidate),
            _through_sigmoid(dh * shown, o),
        ]
        error = torch.cat(gates, dim=1)
        return StepBack(error, error, memory=dc * f)


class GRU(Cell):
    """Two gates and no memory besides the hidden state (Cho et al. 2014)."""

    blocks = 3
    signals = ("hidden", "memory", "input", "forget", "candidate", "reset", "past")
    forget = 1
    has_memory = False

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.recurrent_bias = nn.Parameter(torch.zeros(hidden))

    def step(
        self, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Hidden, and the same as memory; 1 - z, z, candidate, reset, and what it lets through."""
        x_r, x_z, x_h = x.chunk(3, dim=1)
        h_r, h_z, h_h = (h @ self.recurrent_weight.t()).chunk(3, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        past = h_h + self.recurrent_bias
        candidate = torch.tanh(x_h + r * past)
        h = z * h + (1 - z) * candidate
        return h, h, 1 - z, z, candidate, r, past

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """Past the product, error is scaled by z alone."""
        _, _, i, z, candidate, r, past = values
        new = _through_tanh(dh * i, candidate)
        gates = [_through_sigmoid(new * past, r), _through_sigmoid(dh * (h - candidate), z)]
        share, product = torch.cat([*gates, new], dim=1), torch.cat([*gates, new * r], dim=1)
        return StepBack(share, product, hidden=dh * z)

    def own_parameters(self) -> tuple[nn.Parameter, ...]:
        """The bias that the reset gate scales."""
        return (self.recurrent_bias,)

    def own_gradients(
        self, shares: Tensor, products: Tensor, before: Tensor, after: Tensor
    ) -> tuple[Tensor, ...]:
        """It is added to the candidate's part of the product."""
        return (products.chunk(3, dim=2)[2].sum((0, 1)),)


class ResetlessGRU(Cell):
    """Nothing but the coupled gate (Ravanelli et al. 2018)."""

    blocks = 2
    signals = ("hidden", "memory", "input", "forget", "candidate")
    forget = 0
    has_memory = False

    def step(
        self, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Hidden, and the same as memory; 1 - z, z, candidate."""
        z, candidate = (x + h @ self.recurrent_weight.t()).chunk(2, dim=1)
        z, candidate = torch.sigmoid(z), torch.tanh(candidate)
        h = z * h + (1 - z) * candidate
        return h, h, 1 - z, z, candidate

    def step_back(
        self, values: Sequence[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor
    ) -> StepBack:
        """As in the GRU."""
        _, _, i, z, candidate = values
        gates = [_through_sigmoid(dh * (h - candidate), z), _through_tanh(dh * i, candidate)]
        error = torch.cat(gates, dim=1)
        return StepBack(error, error, hidden=dh * z)


CELLS: dict[str, type[Cell]] = {
    "rnn": Elman,
    "lstm-no-forget": ForgetlessLSTM,
    "lstm": LSTM,
    "lstm-peephole": PeepholeLSTM,
    "lstm-coupled": CoupledLSTM,
    "gru": GRU,
    "gru-no-reset": ResetlessGRU,
}
