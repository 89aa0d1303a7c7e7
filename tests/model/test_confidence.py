"""Evidence for words, its calibration, and how reliability is measured and drawn."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from ossicle.model.decoding.alignment import align
from ossicle.model.decoding.confidence import EVIDENCE, Calibration, agreement, fit, word_evidence
from ossicle.model.evaluation.reliability import Bin, Curve, bins, measure, reliability_svg


class TestAgreement:
    def test_shares_are_posteriors_of_the_texts_that_have_the_word(self) -> None:
        texts = ["the cat sat", "the bat sat", "the cat sat down"]
        scores = np.log([0.5, 0.3, 0.2]).tolist()
        assert agreement(texts, scores) == pytest.approx([1.0, 0.7, 1.0])
        assert agreement(texts, scores, 1) == pytest.approx([1.0, 0.3, 1.0])
        assert agreement(texts, scores, 2) == pytest.approx([1.0, 0.7, 1.0, 0.2])

    def test_scores_may_be_far_from_zero(self) -> None:
        assert agreement(["a", "b"], [-1000.0, -1000.0 - math.log(3)]) == pytest.approx([0.75])

    def test_a_word_elsewhere_does_not_agree(self) -> None:
        # "go" is in both, but only once in the second: one of the two places is not confirmed.
        shares = agreement(["go on go", "on go"], [0.0, 0.0])
        assert shares == pytest.approx([0.5, 1.0, 1.0])

    def test_of_a_list_of_one_everything_agrees(self) -> None:
        assert agreement(["yes it is"], [-7.0]) == [1.0, 1.0, 1.0]
        assert agreement([""], [0.0]) == []


@pytest.mark.parametrize("seed", range(10))
def test_a_calibration_of_words_that_are_nearly_all_right_settles(seed: int) -> None:
    """Whole steps of Newton's method would lead it away, to where every word is sure."""
    rng = np.random.default_rng(seed)
    evidence = np.column_stack(
        [
            -rng.exponential(0.05, 240),
            -rng.exponential(0.03, 240),
            rng.integers(1, 9, 240) / 10,
            1 - rng.exponential(0.02, 240).clip(0, 1),
        ]
    )
    right = np.ones(240, dtype=bool)
    right[rng.choice(240, 3, replace=False)] = False
    evidence[~right] -= rng.exponential(1.0, (3, 4)) * [1, 0, 0, 0.3]
    fitted = fit(evidence, right)
    assert max(map(abs, (fitted.offset, *fitted.weights))) < 200
    told = fitted(evidence)
    # As many are right as it says, on the whole: so it is at the best there is.
    assert told.mean() == pytest.approx(right.mean(), abs=1e-3)
    assert told[~right].mean() < told[right].mean()


def test_evidence() -> None:
    probabilities = np.full((5, 3), 0.1)
    probabilities[range(5), [1, 1, 0, 2, 0]] = [0.6, 0.8, 0.7, 0.5, 0.8]
    log_probs = np.log(probabilities)
    first, second = align(log_probs, [1, 2])
    evidence = word_evidence(log_probs, [[first, second], [second]], [0.75, 1.0])
    letters = math.sqrt(0.8 * 0.5)
    assert evidence[0] == pytest.approx(
        [
            math.log(letters / (1 - letters)),
            math.log(0.6 * 0.8 * 0.7 * 0.5),  # the blank between the letters included
            math.log(2),
            math.log(3),
        ]
    )
    assert evidence[1, :3] == pytest.approx([0.0, math.log(0.5), 0.0])
    assert 5 < evidence[1, 3] < 15  # certainty has finite log-odds
    assert word_evidence(log_probs, [], []).shape == (0, len(EVIDENCE))


def simulated(words: int, weights: list[float], offset: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    evidence = rng.normal([0, -3, 1, 2], [1, 2, 0.5, 3], (words, len(EVIDENCE)))
    chances = 1 / (1 + np.exp(-(offset + evidence @ np.array(weights))))
    return evidence, rng.random(words) < chances


class TestFit:
    def test_finds_what_made_the_words_right(self) -> None:
        weights = [0.8, 0.5, -1.0, 0.2]
        evidence, right = simulated(20_000, weights, 0.7)
        calibration = fit(evidence, right)
        assert calibration.weights == pytest.approx(weights, abs=0.1)
        assert calibration.offset == pytest.approx(0.7, abs=0.15)
        assert measure(calibration(evidence), right).ece < 0.01

    def test_what_never_changes_has_no_weight(self) -> None:
        evidence, right = simulated(500, [1.0, 0.0, 0.0, 0.0], 0.0)
        evidence[:, 3] = 9.2
        assert fit(evidence, right).weights[3] == 0

    def test_words_that_part_perfectly_have_finite_weights(self) -> None:
        evidence, _ = simulated(500, [1.0, 0.0, 0.0, 0.0], 0.0)
        calibration = fit(evidence, evidence[:, 0] > 0)
        assert 1 < calibration.weights[0] < 100
        assert measure(calibration(evidence), evidence[:, 0] > 0).nce > 0.8

    @pytest.mark.parametrize(("right", "word"), [(True, "right"), (False, "wrong")])
    def test_needs_both_kinds(self, right: bool, word: str) -> None:
        with pytest.raises(ValueError, match=f"all 7 words are {word}"):
            fit(np.zeros((7, len(EVIDENCE))), np.full(7, right))


class TestCalibration:
    def test_survives_its_file(self) -> None:
        calibration = Calibration(-1.25, (0.5, 0.25, 0.0, 1.5))
        assert Calibration.from_dict(calibration.to_dict()) == calibration

    def test_gives_probabilities(self) -> None:
        calibration = Calibration(0.0, (1.0, 0.0, 0.0, 0.0))
        evidence = np.zeros((3, len(EVIDENCE)))
        evidence[:, 0] = -1e6, 0.0, 1e6
        low, middle, high = calibration(evidence)
        assert 0 < low < 1e-9
        assert middle == 0.5
        assert 1 - 1e-9 < high < 1
        assert calibration(np.zeros((0, len(EVIDENCE)))).shape == (0,)

    @pytest.mark.parametrize(
        "values",
        [
            {},
            {"offset": 1.0},
            {**Calibration(0.0, (0.0,) * 4).to_dict(), "more": 1.0},
            {**Calibration(0.0, (0.0,) * 4).to_dict(), "path": "x"},
            {**Calibration(0.0, (0.0,) * 4).to_dict(), "path": None},
            {**Calibration(0.0, (0.0,) * 4).to_dict(), "path": float("nan")},
        ],
    )
    def test_refuses_what_is_none(self, values: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="a calibration"):
            Calibration.from_dict(values)


class TestReliability:
    def test_of_four_words(self) -> None:
        confidences = np.array([0.95, 0.95, 0.15, 0.15])
        right = np.array([True, False, False, False])
        result = measure(confidences, right)
        assert result.accuracy == 0.25
        assert result.ece == pytest.approx((2 * 0.45 + 2 * 0.15) / 4)
        assert result.brier == pytest.approx((0.05**2 + 0.95**2 + 2 * 0.15**2) / 4)
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
        cross = -(math.log(0.95) + math.log(0.05) + 2 * math.log(0.85)) / 4
        assert result.nce == pytest.approx(1 - cross / entropy)
        assert bins(confidences, right) == [Bin(2, 0.15, 0.0), Bin(2, 0.95, 0.5)]

    def test_bounds(self) -> None:
        right = np.arange(100) % 4 > 0
        base = measure(np.full(100, 0.75), right)
        assert (base.ece, base.nce) == pytest.approx((0.0, 0.0))
        sure = measure(right.astype(float), right)
        assert (sure.ece, sure.brier) == (0.0, 0.0)
        assert sure.nce == pytest.approx(1.0, abs=1e-5)
        assert bins(np.array([1.0]), np.array([True])) == [Bin(1, 1.0, 1.0)]

    def test_without_uncertainty_there_is_none_to_remove(self) -> None:
        assert math.isnan(measure(np.array([0.5]), np.array([True])).nce)
        with pytest.raises(ValueError, match="no words"):
            measure(np.zeros(0), np.zeros(0, dtype=bool))

    def test_plot_shows_each_bin_of_each_curve(self) -> None:
        svg = reliability_svg(
            [
                Curve("before <calibration>", [Bin(10, 0.2, 0.1), Bin(90, 0.9, 0.5)]),
                Curve("after", [Bin(100, 0.5, 0.5)]),
                Curve("nothing", []),
            ]
        )
        root = ElementTree.fromstring(svg)
        namespace = "{http://www.w3.org/2000/svg}"
        dots = [c for c in root.iter(f"{namespace}circle") if len(c)]
        assert [dot[0].text for dot in dots] == [
            "10 words: confidence 0.20, right 0.10",
            "90 words: confidence 0.90, right 0.50",
            "100 words: confidence 0.50, right 0.50",
        ]
        xs = [float(dot.attrib["cx"]) for dot in dots]
        ys = [float(dot.attrib["cy"]) for dot in dots]
        assert xs[0] < xs[2] < xs[1]
        assert ys[0] > ys[2] == ys[1]  # upwards is right more often
        assert "before <calibration>" in [text.text for text in root.iter(f"{namespace}text")]

    def test_plot_has_four_colours(self) -> None:
        with pytest.raises(ValueError, match="5 curves"):
            reliability_svg([Curve("x", [])] * 5)
