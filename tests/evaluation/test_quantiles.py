"""Bounds that hold for any distribution: against brute force, closed forms, and by simulated coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.evaluation import chip_yield, clopper_pearson
from snnrobust.evaluation.statistics.quantiles import (
    band_coverage,
    chips_to_resolve,
    dkw_band,
    quantile,
    simultaneous_confidence,
)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("chips", [1, 20, 59, 100, 368, 369])
def test_the_order_statistics_are_those_of_the_definition(share, chips):
    """r the largest with P(B <= r - 1) <= 2.5 %, s the smallest with P(B >= s) <= 2.5 %, value X_(r) = r."""
    found = quantile(np.random.default_rng(chips).permutation(np.arange(1.0, chips + 1)), share)
    lows = [r for r in range(1, chips + 1) if stats.binom.cdf(r - 1, chips, share) <= 0.025]
    highs = [s for s in range(1, chips + 1) if stats.binom.sf(s - 1, chips, share) <= 0.025]
    assert found.low == (max(lows) if lows else -math.inf)
    assert found.high == (min(highs) if highs else math.inf)
    assert found.value == math.ceil(round(chips * share, 9))
    assert (found.share, found.confidence, found.chips) == (share, 0.95, chips)


def test_how_many_chips_resolve_a_quantile():
    """(1 - 0.01)^n <= 2.5 % from n = 368 on; 0.95^n <= 2.5 % from 72 on; the other end needs no more."""
    assert chips_to_resolve(0.01) == 368
    assert chips_to_resolve(0.05) == chips_to_resolve(0.95) == 72
    assert chips_to_resolve(0.5) == 6
    for share in (0.01, 0.05, 0.5, 0.95):
        n = chips_to_resolve(share)
        enough, few = quantile(np.arange(float(n)), share), quantile(np.arange(float(n - 1)), share)
        assert math.isfinite(enough.low)
        assert math.isfinite(enough.high)
        assert not (math.isfinite(few.low) and math.isfinite(few.high))


@pytest.mark.parametrize("draw", ["continuous", "discrete"])
def test_a_quantiles_interval_covers(draw):
    """4,000 repetitions: a share of 94 % or less would come by chance once in 500 where 95 % is true."""
    rng = np.random.default_rng(1)
    values = rng.exponential(size=(4000, 150))
    share, truth = 0.1, -math.log(0.9)
    if draw == "discrete":  # 10 % of the chips have 0, so that every value from 0 to below 1 is a 10 % quantile
        values, truth = rng.choice([0.0, 1.0, 2.0], p=[0.1, 0.6, 0.3], size=(4000, 150)), 0.0
    found = [quantile(row, share) for row in values]
    covered = np.mean([q.low <= truth <= q.high for q in found])
    assert covered > 0.94
    assert draw == "discrete" or covered < 0.98  # and not by being endless


def test_infinite_values_count_and_missing_ones_do_not():
    values = [math.inf] * 50 + [1.0] * 50 + [math.nan] * 7
    found = quantile(values, 0.75)
    assert (found.value, found.low, found.high, found.chips) == (math.inf, math.inf, math.inf, 100)
    assert quantile(values, 0.25).value == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1], 0.0), "share: 0.0 must be between 0 and 1"),
        (([0.1], 0.5, 1.0), "confidence: 1.0"),
        (([math.nan], 0.5), "values: a quantile needs at least one chip"),
    ],
)
def test_what_is_no_quantile(arguments, message):
    with pytest.raises(ConfigError, match=message):
        quantile(*arguments)


def test_the_band_of_one_and_two_values_in_closed_form():
    """One value: 1 - level. Two: P(a1 <= U1, U2 <= b2, U1 <= b1, U2 >= a2) from the areas of the square."""
    assert band_coverage(1, 0.05) == pytest.approx(0.95, abs=1e-12)
    for level in (0.01, 0.05, 0.3):
        a1, b1 = stats.beta.ppf([level / 2, 1 - level / 2], 1, 2)
        a2, b2 = stats.beta.ppf([level / 2, 1 - level / 2], 2, 1)
        u = np.linspace(0, 1, 1501)
        u = (u[1:] + u[:-1]) / 2
        low, high = np.minimum(u[:, None], u), np.maximum(u[:, None], u)
        inside = (a1 <= low) & (low <= b1) & (a2 <= high) & (high <= b2)
        assert band_coverage(2, level) == pytest.approx(inside.mean(), abs=2e-3)


@pytest.mark.parametrize(("chips", "level"), [(5, 0.05), (30, 0.01), (200, 0.002), (200, 0.05)])
def test_the_bands_coverage_is_that_of_simulation(chips, level):
    """20,000 repetitions, within 4.5 standard errors."""
    u = np.sort(np.random.default_rng(2).random((20_000, chips)), axis=1)
    ranks = np.arange(1, chips + 1)
    low, high = (stats.beta.ppf(q, ranks, chips + 1 - ranks) for q in (level / 2, 1 - level / 2))
    simulated, exact = ((low <= u) & (u <= high)).all(1).mean(), band_coverage(chips, level)
    assert abs(simulated - exact) < 4.5 * math.sqrt(exact * (1 - exact) / 20_000)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("chips", [1, 2, 17, 100])
def test_all_thresholds_together_have_the_confidence(chips, confidence):
    at_each = simultaneous_confidence(chips, confidence)
    assert confidence - 1e-9 <= band_coverage(chips, 1 - at_each) < confidence + 0.002 * (1 - confidence) + 1e-9
    assert confidence - 1e-9 <= at_each <= 1 - (1 - confidence) / chips + 1e-9  # Bonferroni's would suffice


def test_a_threshold_may_be_chosen_after_looking():
    """4,000 times 60 chips with accuracies of 11 values: whatever the threshold, the yield lies in its interval."""
    rng = np.random.default_rng(3)
    mass = np.array([1, 2, 3, 5, 8, 13, 21, 34, 8, 4, 1]) / 100
    values = rng.choice(11, p=mass, size=(4000, 60))
    truth = mass[::-1].cumsum()[::-1]  # P(accuracy >= value)
    passed = (values[:, :, None] >= np.arange(11)).sum(1)
    at_each = simultaneous_confidence(60)
    for confidence, allowed in ((at_each, (0.945, 1.0)), (0.95, (0.0, 0.9))):
        ends = np.array([clopper_pearson(k, 60, confidence) for k in range(61)])
        covered = ((ends[passed, 0] <= truth) & (truth <= ends[passed, 1])).all(1).mean()
        assert allowed[0] < covered <= allowed[1]  # pointwise intervals do not hold together


def test_the_band_beats_that_of_dvoretzky_kiefer_wolfowitz_where_yields_are_high():
    chips = 300
    assert dkw_band(chips) == pytest.approx(math.sqrt(math.log(40) / 600))
    for passed, narrower in ((297, 0.5), (285, 0.75)):
        found = chip_yield(np.arange(chips) < passed, 1.0, simultaneous=True)
        assert found.share - found.low < narrower * dkw_band(chips)
    middle = chip_yield(np.arange(chips) < chips / 2, 1.0, simultaneous=True)
    assert middle.share - middle.low < 1.25 * dkw_band(chips)


def test_dkw_covers():
    """2,000 repetitions; Massart's constant cannot be improved for large n, so the coverage is close to 95 %."""
    n = 100
    u = np.sort(np.random.default_rng(4).random((2000, n)), axis=1)
    ranks = np.arange(1, n + 1) / n
    farthest = np.maximum(ranks - u, u - ranks + 1 / n).max(1)
    assert 0.94 < (farthest <= dkw_band(n)).mean() < 0.975
