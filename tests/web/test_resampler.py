"""The page's resampler, in the browser that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from processes import Served

pytestmark = pytest.mark.timeout(400)

RESAMPLE = """async ([rate, samples, cuts]) => {
    const { Resampler } = await import("/page/resampler.js");
    const resampler = new Resampler(rate, 16000);
    const output = [];
    let at = 0;
    for (let number = 0; at < samples.length; number += 1) {
        const size = cuts[number % cuts.length];
        output.push(...resampler.push(Float32Array.from(samples.slice(at, at + size))));
        at += size;
    }
    return [...output, ...resampler.finish()];
}"""


def tones(rate: int, *hertz: float) -> list[float]:
    time = np.arange(rate // 2) / rate
    sound = sum(np.sin(2 * np.pi * frequency * time) for frequency in hertz) / len(hertz)
    return [float(sample) for sample in sound]


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 96_000])
def test_tones_stay_what_they_are_however_they_are_cut(
    page: Page, served: Served, rate: int
) -> None:
    page.goto(served.page)
    wanted = np.array(tones(16_000, 440, 3000))
    resampled = page.evaluate(RESAMPLE, [rate, tones(rate, 440, 3000), [128, 1, 333]])
    got = np.array(resampled)
    assert abs(len(got) - len(wanted)) <= 1
    inside = slice(400, len(wanted) - 400)  # away from where the tones begin and end
    error = got[inside] - wanted[inside]
    assert 10 * np.log10(np.mean(error**2) / np.mean(wanted[inside] ** 2)) < -60
    whole = page.evaluate(RESAMPLE, [rate, tones(rate, 440, 3000), [rate]])
    assert np.array_equal(got, whole)


def test_what_16_khz_cannot_hold_is_taken_out(page: Page, served: Served) -> None:
    page.goto(served.page)
    left = np.array(page.evaluate(RESAMPLE, [48_000, tones(48_000, 9000, 13_000), [128]]))
    assert np.abs(left[400:-400]).max() < 1e-3
