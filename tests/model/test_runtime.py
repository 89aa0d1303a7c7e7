"""Running a model folder: streams that are stepped together do not know of each other."""

from __future__ import annotations

import numpy as np
import pytest
from ossicle.model.runtime import AcousticModel, find_model

BLOCK = 4 * 640
BLOCKS = 6


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [2, 7, 11, 13, 16])
def test_a_stream_is_the_same_to_the_last_bit_in_any_company(
    sample: np.ndarray, batch: int, threads: int
) -> None:
    """Words hang on such bits now and then."""
    folder = find_model(None)
    alone, model = AcousticModel.load(folder), AcousticModel.load(folder, threads=threads)
    starts = [8000 * row for row in range(batch)]
    together = model.initial_state(batch)
    apart = [alone.initial_state(1) for _ in starts]
    for block in range(BLOCKS):
        samples = np.stack([sample[start + block * BLOCK :][:BLOCK] for start in starts])
        log_probs, together = model.step(samples, together)
        for row in range(batch):
            expected, apart[row] = alone.step(samples[row : row + 1], apart[row])
            assert np.array_equal(log_probs[row], expected[0])
            for name, axis in model.state_axes.items():
                assert np.array_equal(np.take(together[name], [row], axis), apart[row][name])
