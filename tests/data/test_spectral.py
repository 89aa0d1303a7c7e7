"""Augmentation of log-mel frames."""

from __future__ import annotations

import numpy as np
import pytest
from ossicle.data.spectral import Equalizer, SpecAugment, VocalTractWarp


def test_vocal_tract_warp_moves_a_peak_by_its_factor() -> None:
    centres = np.linspace(50.0, 8000.0, 160)
    warp = VocalTractWarp(probability=1.0, factors=(1.1, 1.1))
    matrix = warp.matrices(centres, 1, seed=3)[0]
    for hertz in (500.0, 1000.0, 3000.0):
        frame = np.exp(-(((centres - hertz) / 200.0) ** 2))
        moved = centres[int(np.argmax(frame @ matrix))]
        assert moved == pytest.approx(1.1 * hertz, abs=50.0)
    flat = np.ones(len(centres))
    assert np.allclose(flat @ matrix, 1.0, atol=1e-5)  # interpolation, no gain


def test_vocal_tract_warp_is_a_function_of_the_seed() -> None:
    centres = np.linspace(50.0, 8000.0, 80)
    warp = VocalTractWarp(probability=0.5)
    first, again, other = (warp.matrices(centres, 40, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    unchanged = sum(np.array_equal(matrix, np.eye(80, dtype=np.float32)) for matrix in first)
    assert 8 <= unchanged <= 32


def test_an_equalizer_draws_smooth_curves_without_gain() -> None:
    curves = Equalizer(probability=1.0, gain=6.0, frequencies=(2, 3)).curves(80, 200, seed=1)
    assert np.allclose(curves.mean(axis=1), 0.0, atol=1e-5)
    decibels = curves * 10.0 / np.log(10.0)
    assert 3.0 < decibels.std() < 6.0
    bends = np.abs(np.diff(curves, n=2)) > 1e-4
    assert (bends.sum(axis=1) <= 6).all()  # a frequency between two bins bends the line at both


def test_an_equalizer_colours_its_share_as_the_seed_says() -> None:
    equalizer = Equalizer(probability=0.5)
    first, again, other = (equalizer.curves(80, 40, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 8 <= sum(not curve.any() for curve in first) <= 32


def test_spec_augment_masks_within_its_limits() -> None:
    frames = np.array([1000, 300, 40])
    keep = SpecAugment(6, 30, 2, 16).mask(frames, 80, seed=3)
    assert keep.shape == (3, 1000, 80)
    assert set(np.unique(keep)) == {0.0, 1.0}
    for row, length in zip(keep, frames, strict=True):
        assert row[length:].all(), "padding needs no mask"
        assert 0.3 < row[:length].mean() < 1
        assert (row[:length] == 0).all(axis=0).sum() <= 2 * 16
    np.testing.assert_array_equal(keep, SpecAugment(6, 30, 2, 16).mask(frames, 80, seed=3))


def test_masks_wider_than_the_spectrum_hide_all_of_it() -> None:
    keeps = [SpecAugment(0, 0, 1, 500).mask(np.array([40]), 8, seed=seed) for seed in range(40)]
    hidden = {int((keep[0] == 0).all(axis=0).sum()) for keep in keeps}
    assert {0, 8} <= hidden
