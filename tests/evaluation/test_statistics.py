"""Yield and its interval against scipy's exact interval and against exact coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.evaluation import chip_yield, clopper_pearson
from snnrobust.evaluation.statistics import summarise


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_is_scipys_exact_one(confidence):
    for chips in [*range(1, 16), 100]:
        for passed in range(chips + 1):
            exact = stats.binomtest(passed, chips).proportion_ci(confidence, method="exact")
            assert clopper_pearson(passed, chips, confidence) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_ends_of_the_interval():
    assert clopper_pearson(0, 10)[0] == 0.0
    assert clopper_pearson(10, 10)[1] == 1.0
    assert clopper_pearson(0, 10)[1] == pytest.approx(1 - 0.025 ** (1 / 10))  # (1 - high)^n = 2.5 %
    assert clopper_pearson(10, 10)[0] == pytest.approx(0.025 ** (1 / 10))
    assert all(isinstance(end, float) for end in clopper_pearson(3, 10))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("chips", [1, 2, 7, 20, 60])
def test_coverage_is_at_least_nominal_for_every_share(chips, confidence):
    """Summed exactly over the binomial, also just inside and outside the ends of intervals, where coverage jumps."""
    intervals = np.array([clopper_pearson(passed, chips, confidence) for passed in range(chips + 1)])
    ends = intervals.ravel()
    shares = np.clip(np.r_[np.linspace(0, 1, 201), ends - 1e-9, ends + 1e-9], 0, 1)
    mass = stats.binom.pmf(np.arange(chips + 1)[:, None], chips, shares)
    inside = (intervals[:, :1] <= shares) & (shares <= intervals[:, 1:])
    coverage = (mass * inside).sum(0)
    assert coverage.min() >= confidence
    assert coverage[100] < 1 - (1 - confidence) / 10 or chips < 7  # and not by being endless


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 10), "passed: -1 must be 0 .. 10"),
        ((11, 10), "passed: 11 must be 0 .. 10"),
        ((0, 0), "passed: 0 must be 0 .. 0"),
        ((1, 2, 0.0), "confidence: 0.0"),
        ((1, 2, 1.0), "confidence: 1.0"),
        ((1, 2, math.nan), "confidence: nan"),
    ],
)
def test_what_has_no_interval(arguments, message):
    with pytest.raises(ConfigError, match=message):
        clopper_pearson(*arguments)


def test_chips_that_were_not_run_do_not_count():
    found = chip_yield([0.95, math.nan, 0.85, 0.90, math.nan], 0.9)
    assert (found.share, found.passed, found.chips) == (2 / 3, 2, 3)
    assert (found.low, found.high) == clopper_pearson(2, 3)
    nothing = chip_yield([math.nan, math.nan], 0.9)
    assert math.isnan(nothing.share)
    assert (nothing.low, nothing.high, nothing.passed, nothing.chips) == (0.0, 1.0, 0, 0)


@given(right=st.integers(0, 400), samples=st.integers(1, 400))
def test_an_accuracy_that_equals_the_specification_passes(right, samples):
    right = min(right, samples)
    hits = np.arange(samples) < right
    assert chip_yield([hits.mean()], right / samples).passed == 1
    assert chip_yield([(hits / 3).sum() / samples * 3], right / samples).passed == 1
    assert chip_yield([hits.mean()], right / samples + 1e-6).passed == 0


def test_nine_of_ten_meets_ninety_percent():
    assert chip_yield([9 / 10, np.mean([1.0] * 9 + [0.0]), 0.3 * 3], 0.9).passed == 3
    assert chip_yield([0.899], 0.9).passed == 0


def test_a_summary_by_hand():
    accuracy = np.array([0.5, 0.7, np.nan, 0.9, 1.0, 0.4])
    nonfinite = np.array([0.0, 3.0, np.nan, 0.0, 1.0, 0.0])
    s = summarise("net", "chip", accuracy, nonfinite, 0.7)
    assert (s.model, s.condition, s.chips, s.nonfinite, s.specification) == ("net", "chip", 5, 2, 0.7)
    assert s.mean == pytest.approx(0.7)
    assert s.std == pytest.approx(math.sqrt((0.04 + 0 + 0.04 + 0.09 + 0.09) / 4))
    assert s.minimum == 0.4
    assert s.quantile05 == pytest.approx(0.4 + 0.2 * 0.1)  # position 0.05 (5 - 1) = 0.2 between 0.4 and 0.5
    assert (s.chips_passed.passed, s.chips_passed.share) == (3, 0.6)


def test_a_summary_of_one_chip_and_of_none():
    one = summarise("net", "chip", np.array([0.8]), np.array([0.0]), 0.9)
    assert (one.mean, one.std, one.minimum, one.quantile05, one.chips) == (0.8, 0.0, 0.8, 0.8, 1)
    none = summarise("net", "chip", np.array([np.nan]), np.array([np.nan]), 0.9)
    assert none.chips == none.nonfinite == none.chips_passed.chips == 0
    assert math.isnan(none.mean)
