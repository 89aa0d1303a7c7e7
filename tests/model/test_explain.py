"""Error flow, gates, clipping and copying: against what is known of each; and their commands."""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from ossicle.data.sample import sample_path
from ossicle.model.cells.equations import CELLS, LSTM, Elman, ForgetlessLSTM
from ossicle.model.config import FRAME_SAMPLES, RecurrenceConfig
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.model.explain.clipping import descend, gradient, loss
from ossicle.model.explain.copying import CopyTask, copy_lags, recall
from ossicle.model.explain.flow import cell_flow, cut_stretches, error_flow, scalar_flow
from ossicle.model.explain.gates import Layer, firing, gate_tracks, keeping_times, trace_gates
from ossicle.model.explain.gates_page import gates_page
from ossicle.model.explain.layers import layer_inputs, trace_layers
from ossicle.model.export import export
from ossicle.model.folder import LoadedModel
from ossicle.model.network import Network
from ossicle.model.pictures.inspection import Inspection, inspect_recording
from ossicle.model.pictures.tracks import Heat
from ossicle.model.runtime import find_model
from ossicle.service.cli import app
from typer.testing import CliRunner

from tests.model.conftest import make_network

FLOATS = torch.float64


class TestFlow:
    def test_the_textbook_cases(self) -> None:
        assert 10 ** scalar_flow(0.9, 100).at(100) == pytest.approx(2.656e-5, rel=1e-3)
        assert 10 ** scalar_flow(1.1, 100).at(100) == pytest.approx(13780.6, rel=1e-4)

    @pytest.mark.parametrize("weight", [0.9, 1.1])
    def test_a_linear_cell_flows_as_a_power(self, weight: float) -> None:
        """Near 0, tanh is the identity: the Jacobian is the weight times a rotation."""
        cell = Elman(3, 3).double()
        with torch.no_grad():
            rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=FLOATS))
            cell.recurrent_weight.copy_(weight * rotation)
        flow = cell_flow(cell, torch.zeros(2, 1001, 3, dtype=FLOATS))
        np.testing.assert_allclose(flow, scalar_flow(weight, 1000).log10, atol=1e-6)

    @pytest.mark.parametrize("name", CELLS)
    def test_it_is_what_automatic_differentiation_finds(self, name: str) -> None:
        torch.manual_seed(2)
        cell = CELLS[name](4, 4).double()
        x = torch.randn(2, 9, 4, dtype=FLOATS)
        flow = cell_flow(cell, x)
        repeated = x.repeat(4, 1, 1)
        error = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), dtype=FLOATS)
        error = error / error.norm(dim=1, keepdim=True)
        for k in (1, 5, 8):
            shares = cell.shares(repeated)
            h = c = torch.zeros(8, 4, dtype=FLOATS)
            for u in range(9 - k):
                h, c = cell.step(shares[u], h, c)[:2]
            h0 = h.detach().requires_grad_()
            c0 = c.detach().requires_grad_() if cell.has_memory else h0
            h, c = h0, c0
            for u in range(9 - k, 9):
                h, c = cell.step(shares[u], h, c)[:2]
            leaves = [h0, c0] if cell.has_memory else [h0]
            size = torch.cat(torch.autograd.grad(h, leaves, error), dim=1).norm(dim=1)
            assert flow[k] == pytest.approx(float(size.log10().mean()), abs=1e-9)

    def test_memory_alone_is_the_product_of_forget_gates(self) -> None:
        x = torch.randn(1, 20, 4, dtype=FLOATS)
        constant = cell_flow(ForgetlessLSTM(4, 4).double(), x, memory_only=True)
        np.testing.assert_allclose(constant[1:], constant[1], atol=1e-12)
        lstm = LSTM(4, 4).double()
        with torch.no_grad():
            lstm.input_weight.zero_()
            lstm.recurrent_weight.zero_()
        flow = cell_flow(lstm, x, memory_only=True)
        forget = math.log10(1 / (1 + math.exp(-1)))  # its bias is 1
        np.testing.assert_allclose(np.diff(flow[1:]), forget, atol=1e-12)

    def test_of_a_network_on_speech(self, sample: np.ndarray) -> None:
        stretches = cut_stretches([sample], 120)
        assert stretches.shape == (2, 121 * FRAME_SAMPLES)
        flows = {
            cell: error_flow(cell, make_network(recurrence=RecurrenceConfig(cell)), stretches)
            for cell in ("rnn", "lstm", "lstm-no-forget")
        }
        assert flows["rnn"].at(100) < flows["lstm"].at(100) - 3
        assert flows["lstm"].at(100) < flows["lstm-no-forget"].at(100)

    def test_short_recordings_come_again(self) -> None:
        stretches = cut_stretches([np.array([1, 2, 3], dtype=np.float32)], 10)
        assert stretches[0, :7].tolist() == [1, 2, 3, 1, 2, 3, 1]
        with pytest.raises(ValueError, match="hold no sound"):
            cut_stretches([], 10)


class TestClipping:
    def test_the_gradient_is_the_slope_of_the_loss(self) -> None:
        for weight in (0.95, 1.0, 1.05):
            slope = (loss(weight + 1e-7, 100) - loss(weight - 1e-7, 100)) / 2e-7
            assert gradient(weight, 100) == pytest.approx(slope, rel=1e-4, abs=1e-3)

    def test_without_it_one_update_is_the_last(self) -> None:
        free = descend(1.1, steps=100, learning_rate=1e-3, updates=150, clip=None)
        assert len(free.weights) == 2
        assert abs(free.weights[1]) > 1e6
        clipped = descend(1.1, steps=100, learning_rate=1e-3, updates=150, clip=1.0)
        assert clipped.weights[1] == pytest.approx(1.1 - 1e-3)
        assert clipped.weights[-1] == pytest.approx(1.0, abs=2e-3)
        assert clipped.losses[-1] < 0.01


class TestCopying:
    def test_what_a_plain_cell_forgets_a_gated_one_keeps(self) -> None:
        task = CopyTask(steps=150)
        assert recall("rnn", 20, task) < 0.6
        assert recall("gru", 20, task, forget_within=20) > 0.9

    def test_results_are_kept_and_hopeless_lags_not_tried(self, tmp_path: Path) -> None:
        path = tmp_path / "copying.json"
        task = CopyTask(lags=(2, 3), hidden=2, steps=1)  # learns nothing
        told: list[str] = []
        results = copy_lags(task, path, told.append)
        assert {lag for row in results.usual.values() for lag in row} == {2}
        assert "rnn" not in results.spread
        count = len(told)
        assert copy_lags(task, path, told.append).usual == results.usual
        assert len(told) == count
        copy_lags(CopyTask(lags=(2,), hidden=3, steps=1), path, told.append)
        assert len(told) > count


@pytest.fixture(scope="module")
def inspection(sample: np.ndarray) -> Inspection:
    loaded = LoadedModel.load(find_model())
    return inspect_recording("luigi <1>", sample[:64_000], loaded, DecodingConfig())


@pytest.fixture(scope="module")
def layers(shipped_network: Network, inspection: Inspection) -> list[Layer]:
    return trace_gates(shipped_network, inspection)


class TestGates:
    @pytest.mark.parametrize("cell", CELLS)
    def test_a_trace_is_of_what_the_network_computes(self, cell: str) -> None:
        network = make_network(recurrence=RecurrenceConfig(cell))
        samples = torch.randn(1, 9 * FRAME_SAMPLES) * 0.1
        traces = trace_layers(network, samples)
        with torch.no_grad():
            _, state = network(samples, network.initial_state(1))
        for i, trace in enumerate(traces):
            torch.testing.assert_close(trace["hidden"][:, -1], state["hidden"][i])
            memory = state["memory"][i] if "memory" in state else state["hidden"][i]
            torch.testing.assert_close(trace["memory"][:, -1], memory)
        assert [x.shape for x in layer_inputs(network, samples)] == [(1, 9, 24)] * 2

    def test_gates_explain_the_memory(self, layers: list[Layer]) -> None:
        for layer in layers:
            s = layer.signals
            kept = s["forget"][1:] * s["memory"][:-1] + s["input"][1:] * s["candidate"][1:]
            np.testing.assert_allclose(s["memory"][1:], kept, atol=1e-5)
            np.testing.assert_allclose(s["hidden"], s["output"] * np.tanh(s["memory"]), atol=1e-5)

    def test_times_are_those_of_the_mean_gate(self) -> None:
        forget = np.array([[0.4, 0.8, 1.0], [0.6, 1.0, 1.0]], dtype=np.float32)
        times = keeping_times(forget)
        assert 0.5 ** (times[0] / 40) == pytest.approx(1 / math.e)
        assert 0.9 ** (times[1] / 40) == pytest.approx(1 / math.e)
        assert times[2] > 1e6

    def test_a_unit_that_fires_is_found_and_chance_is_told(self) -> None:
        rng = np.random.default_rng(0)
        hidden = rng.uniform(-0.1, 0.1, (300, 20)).astype(np.float32)
        frames = np.sort(rng.choice(96, 12, replace=False) * 3 + 3).tolist()
        for frame in frames:
            hidden[frame : frame + 3, 7] = -0.9
        scores, chance = firing(hidden, frames)
        assert scores.argmax() == 7
        assert scores[7] > 2 > chance > np.delete(scores, 7).max()
        assert not firing(hidden, [])[0].any()

    def test_tracks_of_all_layers_and_of_one(
        self, inspection: Inspection, layers: list[Layer]
    ) -> None:
        titles = [track.title for track in gate_tracks(inspection, layers, None)]
        assert titles[:3] == ["waveform", "log-mel", "words"]
        assert len(titles) == 3 + 6 * len(layers)
        tracks = gate_tracks(inspection, layers, 2)
        assert tracks[3].title == "layer 2, input gate: what is let in"
        forget = tracks[4]
        assert isinstance(forget, Heat)
        assert (np.diff(forget.values.mean(axis=0)) > -1e-6).all()  # longest times on top

    def test_the_page_holds_every_value_and_asks_nothing(
        self, inspection: Inspection, layers: list[Layer]
    ) -> None:
        page = gates_page(inspection, layers)
        assert not re.search(r"""(src|href)=["'](?!data:)""", page)
        assert "@import" not in page
        assert "url(" not in page
        assert "<h1>luigi &lt;1&gt;: the gates</h1>" in page
        (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
        data = json.loads(text)
        for told, layer in zip(data["layers"], layers, strict=True):
            for name, values in layer.signals.items():
                numbers = np.frombuffer(base64.b64decode(told["signals"][name]), dtype=np.uint8)
                low, high = told["bounds"][name]
                actual = low + (high - low) * numbers.reshape(layer.units, -1).T / 255
                expected = np.clip(values, low, high)
                assert np.abs(actual - expected).max() <= (high - low) / 510 + 1e-6

    @pytest.mark.parametrize("cell", ["rnn", "gru", "lstm-no-forget"])
    def test_cells_with_other_gates_have_pages_too(self, cell: str, inspection: Inspection) -> None:
        layers = trace_gates(make_network(recurrence=RecurrenceConfig(cell)), inspection)
        page = gates_page(inspection, layers)
        assert ("no forget gate" in page) == (cell != "gru")
        assert ('value="reset"' in page) == (cell == "gru")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    export(make_network(), folder)
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["explain", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


class TestCommands:
    def test_flow(self, tmp_path: Path, tiny_model: Path) -> None:
        image = tmp_path / "flow.png"
        out = run("flow", "--steps", "100", "--model", str(tiny_model), "-o", str(image))
        assert "1.1^k" in out
        assert "1.4e4" in out
        assert "in the end w = -1.72629e+07, loss inf" in out
        assert imread(image).shape[1] > 1000

    def test_gates(self, tmp_path: Path, shipped_network: Network) -> None:
        page, image = tmp_path / "a.html", tmp_path / "a.png"
        arguments = ("gates", str(sample_path()), "--seconds", "2", "-o")
        assert "keep longest" in run(*arguments, str(page))
        assert "2.00 s" in page.read_text(encoding="utf-8")
        run(*arguments, str(image), "--layer", "1")
        assert imread(image).shape[0] > 800

    def test_a_model_without_float_weights_cannot_be_looked_into(
        self, tmp_path: Path, tiny_model: Path
    ) -> None:
        for name in ("config.json", "model.int8.onnx"):
            (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
        done = CliRunner().invoke(
            app, ["explain", "gates", str(sample_path()), "--model", str(tmp_path)]
        )
        assert done.exit_code == 1
        assert "has no weights.safetensors: give a model folder" in done.output

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["gates", "luigi", "-o", "a.gif"], 2, "ends in .html or .png"),
            (["gates", "luigi", "-o", "a.html", "--layer", "1"], 2, "--layer is of images"),
            (["gates", "luigi", "-o", "a.png", "--layer", "9"], 2, "has 4 layers"),
            (["gates", "luigi", "--start", "11"], 2, "ends before 11 s"),
            (["gates", "no.wav"], 1, "No such file"),
            (["flow", "no.wav"], 1, "No such file"),
            (["cells", "no.yaml", "--run", "RUN"], 1, "cannot read no.yaml"),
        ],
    )
    def test_what_cannot_be_shown_is_said_in_a_line(
        self,
        arguments: list[str],
        code: int,
        message: str,
        tmp_path: Path,
        shipped_network: Network,
    ) -> None:
        words = {"luigi": str(sample_path()), "RUN": str(tmp_path)}
        done = CliRunner().invoke(app, ["explain", *(words.get(a, a) for a in arguments)])
        assert done.exit_code == code
        assert message in " ".join(done.output.split())


def test_serving_imports_none_of_it() -> None:
    program = (
        "import sys, ossicle.service.cli, ossicle.service.server, ossicle.model.runtime;"
        "print([n for n in sys.modules if n.startswith(('ossicle.model.explain.',"
        "'ossicle.model.cells', 'torch', 'matplotlib'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
