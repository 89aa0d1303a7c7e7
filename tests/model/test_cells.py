"""Recurrent cells: fused kernels, ONNX's definitions and numerical derivatives are the judges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from ossicle.model.cells.cell import Cell, scripted
from ossicle.model.cells.equations import CELLS, LSTM, CoupledLSTM, ForgetlessLSTM, PeepholeLSTM
from ossicle.model.cells.fused import FUSED, make_recurrence, run_recurrence, written_out
from ossicle.model.config import CELL_NAMES, MEMORY_CELLS
from ossicle.model.onnx_runtime import ort
from torch import Tensor

TOLERANCE = 1e-9
BATCH, STEPS, HIDDEN = 3, 17, 6


def cell_of(name: str, hidden: int = HIDDEN, inputs: int = HIDDEN) -> Cell:
    """In float64, every weight of it random: none is left at a start of 0 or 1."""
    torch.manual_seed(3)
    cell = CELLS[name](inputs, hidden).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.uniform_(-0.8, 0.8)
    return cell


def states(cell: Cell, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    h = torch.randn(1, batch, cell.recurrent_weight.shape[1], dtype=torch.float64)
    c = torch.randn_like(h) if cell.has_memory else h
    return h, c


def everything(run, parameters, x: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
    """Outputs, and gradients of a loss in which every output and both last states count."""
    h, x = h.clone().requires_grad_(), x.clone().requires_grad_()
    c = c.clone().requires_grad_()
    y, h_last, c_last = run(x, h, c)
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in (y, h_last, c_last)
    ]
    loss = sum((v * w).sum() for v, w in zip((y, h_last, c_last), weights, strict=True))
    leaves = [x, h, c, *parameters]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [y, h_last, c_last, *(torch.zeros(()) if g is None else g for g in gradients)]


def test_names_are_those_of_the_configuration() -> None:
    assert tuple(CELLS) == CELL_NAMES
    assert {name for name, cell in CELLS.items() if cell.has_memory} == set(MEMORY_CELLS)


@pytest.mark.parametrize("name", FUSED)
def test_outputs_and_gradients_are_those_of_the_fused_kernel(name: str) -> None:
    torch.manual_seed(3)
    fused = make_recurrence(name, HIDDEN).double()
    with torch.no_grad():
        for p in fused.parameters():
            p.uniform_(-0.8, 0.8)
    cell = written_out(fused)
    x = torch.randn(BATCH, STEPS, HIDDEN, dtype=torch.float64)
    h, c = states(cell)
    expected = everything(lambda *a: run_recurrence(fused, *a), fused.parameters(), x, h, c)
    actual = everything(cell, cell.parameters(), x, h, c)
    for e, a in zip(expected[:5], actual[:5], strict=True):
        torch.testing.assert_close(a, e, atol=TOLERANCE, rtol=0)
    if cell.has_memory:
        torch.testing.assert_close(actual[5], expected[5], atol=TOLERANCE, rtol=0)
    # torch: weight_ih, weight_hh, bias_ih, bias_hh; ours: the same, the biases added up.
    for e, a in zip(expected[6:9], actual[6:9], strict=True):
        torch.testing.assert_close(a, e, atol=TOLERANCE, rtol=0)
    if name == "gru":
        torch.testing.assert_close(actual[9], expected[9][2 * HIDDEN :], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_the_way_back_is_that_of_automatic_differentiation(name: str) -> None:
    """The scripted loop has the same equations, differentiated by torch."""
    cell = cell_of(name)
    x = torch.randn(BATCH, STEPS, HIDDEN, dtype=torch.float64)
    h, c = states(cell)
    loop = scripted(cell)
    expected = everything(loop, loop.parameters(), x, h, c)
    for e, a in zip(expected, everything(cell, cell.parameters(), x, h, c), strict=True):
        torch.testing.assert_close(a, e, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_gradcheck(name: str) -> None:
    """Against differences of the function itself, which know nothing of its derivative."""
    cell = cell_of(name, hidden=2, inputs=3)
    names = [n for n, _ in cell.named_parameters()]
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    h, c = (s.requires_grad_() for s in states(cell, batch=2))

    def run(x: Tensor, h: Tensor, c: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = torch.func.functional_call(
            cell, dict(zip(names, parameters, strict=True)), (x, h, c if cell.has_memory else h)
        )
        return result

    assert torch.autograd.gradcheck(run, (x, h, c, *cell.parameters()))


def test_lstm_step_back_by_hand() -> None:
    """One step, all four gates, and both ways by which error comes: hidden state and memory."""
    cell = cell_of("lstm")
    share = torch.randn(BATCH, 4 * HIDDEN, dtype=torch.float64, requires_grad=True)
    h, c = (s[0].requires_grad_() for s in states(cell))
    values = cell.step(share, h, c)
    for dh, dc in ((1.0, 0.0), (0.0, 1.0), (0.3, -0.7)):
        errors = [torch.full_like(h, dh), torch.full_like(c, dc)]
        expected = torch.autograd.grad(values[:2], (share, h, c), errors, retain_graph=True)
        back = cell.step_back([v.detach() for v in values], h, c, *errors)
        torch.testing.assert_close(back.share, expected[0], atol=1e-12, rtol=0)
        by_product = back.product @ cell.recurrent_weight
        torch.testing.assert_close(by_product, expected[1], atol=1e-12, rtol=0)
        torch.testing.assert_close(back.memory, expected[2], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["lstm", "lstm-peephole", "lstm-coupled"])
def test_onnx_defines_the_same(name: str) -> None:
    """ONNX's LSTM has peepholes and coupled gates, too (its gates: input, output, forget, c)."""
    cell = cell_of(name)
    x = torch.randn(BATCH, STEPS, HIDDEN, dtype=torch.float64)
    h, c = states(cell)
    order = (0, 3, 1, 2)
    w, r, b = cell.input_weight, cell.recurrent_weight, cell.bias
    if isinstance(cell, CoupledLSTM):
        # Its one gate is the forget gate; ONNX's is the input gate, 1 - σ(z) = σ(-z).
        order = (0, 2, 0, 1)
        w, r, b = (torch.cat([-p[:HIDDEN], p[HIDDEN:]]) for p in (w, r, b))
    w, r, b = (torch.cat([p.chunk(cell.blocks)[k] for k in order]) for p in (w, r, b))
    peepholes = torch.zeros(3 * HIDDEN)
    if isinstance(cell, PeepholeLSTM):
        peepholes = torch.cat([cell.input_peephole, cell.output_peephole, cell.forget_peephole])
    given = {
        "x": x.transpose(0, 1),
        "w": w[None],
        "r": r[None],
        "b": torch.cat([b, torch.zeros_like(b)])[None],
        "h": h,
        "c": c,
        "p": peepholes[None],
    }
    node = helper.make_node(
        "LSTM",
        ["x", "w", "r", "b", "", "h", "c", "p"],
        ["y", "h_last", "c_last"],
        hidden_size=HIDDEN,
        input_forget=int(isinstance(cell, CoupledLSTM)),
    )
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "h_last", "c_last")
    ]
    constants = [numpy_helper.from_array(t.detach().float().numpy(), n) for n, t in given.items()]
    graph = helper.make_graph([node], "lstm", [], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, h_last, c_last = session.run(None, {})
    expected = (y[:, 0].transpose(1, 0, 2), h_last, c_last)
    for a, e in zip(cell(x, h, c), expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), e, atol=1e-6)


def test_without_a_forget_gate_is_with_one_that_stays_open() -> None:
    forgetless = cell_of("lstm-no-forget")
    assert isinstance(forgetless, ForgetlessLSTM)
    lstm = LSTM(HIDDEN, HIDDEN).double()
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            i, candidate, o = forgetless.get_parameter(name).chunk(3)
            open_gate = torch.full_like(i, 1e3) if name == "bias" else torch.zeros_like(i)
            parameter.copy_(torch.cat([i, open_gate, candidate, o]))
    x = torch.randn(BATCH, STEPS, HIDDEN, dtype=torch.float64)
    h, c = states(lstm)
    for a, e in zip(forgetless(x, h, c), lstm(x, h, c), strict=True):
        torch.testing.assert_close(a, e, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["lstm-coupled", "gru", "gru-no-reset"])
def test_the_forget_gate_is_one_minus_the_input_gate(name: str) -> None:
    cell = cell_of(name)
    h, c = states(cell)
    x = torch.randn(BATCH, STEPS, HIDDEN, dtype=torch.float64)
    signals = cell.trace(x, h, c)
    torch.testing.assert_close(signals["forget"], 1 - signals["input"], atol=1e-12, rtol=0)
    before = torch.cat([c.transpose(0, 1), signals["memory"][:, :-1]], dim=1)
    mixture = signals["forget"] * before + signals["input"] * signals["candidate"]
    torch.testing.assert_close(signals["memory"], mixture, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_a_trace_is_of_what_runs(name: str) -> None:
    cell = cell_of(name)
    h, c = states(cell)
    x = torch.randn(BATCH, STEPS, HIDDEN, dtype=torch.float64)
    signals = cell.trace(x, h, c)
    assert set(signals) == set(cell.signals)
    y, _, c_last = cell(x, h, c)
    torch.testing.assert_close(signals["hidden"], y, atol=0, rtol=0)
    torch.testing.assert_close(signals["memory"][:, -1], c_last[0], atol=0, rtol=0)


@pytest.mark.parametrize("name", [n for n in CELL_NAMES if CELLS[n].forget >= 0])
def test_forget_gates_start_open(name: str) -> None:
    cell = written_out(make_recurrence(name, 50))
    h = torch.zeros(1, 1, 50)
    signals = cell.trace(torch.zeros(1, 1, 50), h, h)
    torch.testing.assert_close(signals["forget"], torch.full((1, 1, 50), 0.7310586))


def test_other_modules_have_no_cell() -> None:
    with pytest.raises(TypeError, match="Linear is no recurrence"):
        written_out(torch.nn.Linear(2, 2))
