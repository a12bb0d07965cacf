"""Yield and its interval against scipy's exact interval and against exact coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.evaluation import chip_yield, clopper_pearson, quantile, simultaneous_confidence, wilson
from snnrobust.evaluation.statistics.yields import summarise


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
    s = summarise("net", "chip", accuracy, nonfinite, 0.0)
    assert s.chips_passed.passed == 3, "non-finite outputs meet no specification"
    s = summarise("net", "chip", accuracy, nonfinite, 0.7)
    assert (s.model, s.condition, s.chips, s.nonfinite, s.specification) == ("net", "chip", 5, 2, 0.7)
    assert s.mean == pytest.approx(0.7)
    assert s.std == pytest.approx(math.sqrt((0.04 + 0 + 0.04 + 0.09 + 0.09) / 4))
    assert s.minimum == 0.4
    assert s.quantile05 == pytest.approx(0.4 + 0.2 * 0.1)  # position 0.05 (5 - 1) = 0.2 between 0.4 and 0.5
    assert (s.chips_passed.passed, s.chips_passed.share) == (1, 0.2)  # two of the three that reach it are not finite


def test_a_summary_of_one_chip_and_of_none():
    one = summarise("net", "chip", np.array([0.8]), np.array([0.0]), 0.9)
    assert (one.mean, one.std, one.minimum, one.quantile05, one.chips) == (0.8, 0.0, 0.8, 0.8, 1)
    none = summarise("net", "chip", np.array([np.nan]), np.array([np.nan]), 0.9)
    assert none.chips == none.nonfinite == none.chips_passed.chips == 0
    assert math.isnan(none.mean)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilsons_interval_is_scipys(confidence):
    for chips in [*range(1, 16), 100]:
        for passed in range(chips + 1):
            score = stats.binomtest(passed, chips).proportion_ci(confidence, method="wilson")
            assert wilson(passed, chips, confidence) == pytest.approx((score.low, score.high), abs=1e-9)


@pytest.mark.parametrize(("bound", "method"), [(clopper_pearson, "exact"), (wilson, "wilson")])
def test_one_sided_bounds_are_scipys(bound, method):
    for passed in range(21):
        low = stats.binomtest(passed, 20, alternative="greater").proportion_ci(0.95, method=method)
        high = stats.binomtest(passed, 20, alternative="less").proportion_ci(0.95, method=method)
        assert bound(passed, 20, 0.95, "lower") == pytest.approx((low.low, 1.0), abs=1e-9)
        assert bound(passed, 20, 0.95, "upper") == pytest.approx((0.0, high.high), abs=1e-9)


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_one_sided_coverage_is_at_least_nominal_for_every_share(side):
    for chips in (1, 7, 40):
        intervals = np.array([clopper_pearson(passed, chips, 0.95, side) for passed in range(chips + 1)])
        ends = intervals.ravel()
        shares = np.clip(np.r_[np.linspace(0, 1, 201), ends - 1e-9, ends + 1e-9], 0, 1)
        mass = stats.binom.pmf(np.arange(chips + 1)[:, None], chips, shares)
        coverage = (mass * ((intervals[:, :1] <= shares) & (shares <= intervals[:, 1:]))).sum(0)
        assert 0.95 <= coverage.min() < 0.96


def test_a_yield_says_what_its_interval_is():
    accuracy = [0.95] * 9 + [0.5]
    assert chip_yield(accuracy, 0.9).interval == "two-sided 95 % Clopper-Pearson interval"
    lower = chip_yield(accuracy, 0.9, 0.99, side="lower", method="Wilson")
    assert lower.interval == "one-sided (lower) 99 % Wilson interval"
    assert (lower.low, lower.high) == wilson(9, 10, 0.99, "lower")
    every = chip_yield(accuracy, 0.9, simultaneous=True)
    assert every.interval == "two-sided 95 % interval for all specifications at once"
    assert (every.low, every.high) == clopper_pearson(9, 10, simultaneous_confidence(10, 0.95))
    assert every.low < chip_yield(accuracy, 0.9).low


def test_the_band_of_many_chips_is_that_of_dvoretzky_kiefer_and_wolfowitz():
    found = chip_yield(np.arange(2001) < 1990, 1.0, simultaneous=True)
    half = math.sqrt(math.log(40) / 4002)
    assert found.low == pytest.approx(1990 / 2001 - half)
    assert found.high == 1.0


def test_a_summary_whose_intervals_hold_at_all_specifications():
    accuracy = np.array([0.95] * 9 + [0.5])
    s = summarise("net", "chip", accuracy, np.zeros(10), 0.9, nominal=0.97, drop=0.1, simultaneous=True)
    assert s.chips_passed == chip_yield(accuracy, 0.9, simultaneous=True)
    assert s.chips_near_nominal == chip_yield(accuracy, 0.87, simultaneous=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": "both"}, "side: unknown 'both'"),
        ({"method": "wilson"}, "method: unknown 'wilson' .did you mean 'Wilson'"),
        ({"simultaneous": True, "side": "lower"}, "simultaneous: needs two-sided"),
        ({"simultaneous": True, "method": "Wilson"}, "simultaneous: needs two-sided"),
    ],
)
def test_what_is_no_interval_of_a_yield(options, message):
    with pytest.raises(ConfigError, match=message):
        chip_yield([0.9, 0.8], 0.9, **options)


def test_the_second_yield_is_at_nominal_minus_the_drop():
    accuracy, nonfinite = np.array([0.80, 0.81, 0.83, 0.9]), np.zeros(4)
    s = summarise("net", "chip", accuracy, nonfinite, 0.9, nominal=0.83, drop=0.02)
    assert s.chips_passed.passed == 1
    assert s.chips_near_nominal.passed == 3  # 0.81 is 0.83 - 0.02, whatever the rounding
    assert summarise("net", "chip", accuracy, nonfinite, 0.9).chips_near_nominal is None


def test_a_summary_bounds_its_quantile():
    accuracy = np.arange(1.0, 201.0) / 200
    s = summarise("net", "chip", accuracy, np.zeros(200), 0.9)
    assert s.quantile05_bounds == tuple(quantile(accuracy, 0.05)[1:3])
    assert s.quantile05_bounds[0] < s.quantile05 < s.quantile05_bounds[1]
    few = summarise("net", "chip", accuracy[:20], np.zeros(20), 0.9)
    assert few.quantile05_bounds[0] == -math.inf
