"""The rows of streams in the network's state."""

from __future__ import annotations

import numpy as np
from ossicle.model.runtime import AcousticModel
from ossicle.service.slots import SlotStates


def test_a_settled_slot_begins_anew_and_leaves_its_neighbours_alone(model: AcousticModel) -> None:
    states, beginning = SlotStates(model, 4), model.settled_state(1)
    noise = np.random.default_rng(1).normal(0, 0.1, (4, 2560)).astype(np.float32)
    _, heard = model.step(noise, states.take([0, 1, 2, 3]))
    states.put([0, 1, 2, 3], heard)
    states.settle([1, 3])
    for slot in range(4):
        row = states.take([slot])
        for name, axis in model.state_axes.items():
            kept = np.take(heard[name], [slot], axis)
            assert not np.array_equal(kept, beginning[name])
            expected = beginning[name] if slot in (1, 3) else kept
            assert np.array_equal(row[name], expected)
