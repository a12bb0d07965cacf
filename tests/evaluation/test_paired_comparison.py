"""Paired comparisons against scipy, against tables worked out elsewhere, and by simulated coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.evaluation import (
    Stopping,
    Tolerance,
    compare_conditions,
    compare_methods,
    paired_difference,
    yield_difference,
)
from snnrobust.evaluation.comparison import mcnemar, noncentrality_interval
from snnrobust.evaluation.methods import compare_all_methods


def test_the_t_interval_and_p_value_are_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.random(12), rng.random(12) + 0.2
    found, expected = paired_difference(a, b), stats.ttest_rel(b, a)
    ends = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-10)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.mean == pytest.approx((b - a).mean())
    assert found.effect == pytest.approx((b - a).mean() / (b - a).std(ddof=1))
    assert (found.pairs, found.pairing, found.test) == (12, "chip", "paired t")


@pytest.mark.parametrize(("t", "degrees"), [(0.0, 5), (2.5, 9), (-4.0, 30), (25.0, 999)])
def test_the_effects_interval_inverts_the_noncentral_t(t, degrees):
    low, high = noncentrality_interval(t, degrees)
    assert stats.nct.sf(t, degrees, low) == pytest.approx(0.025, rel=1e-4)
    assert stats.nct.cdf(t, degrees, high) == pytest.approx(0.025, rel=1e-4)


def test_both_intervals_cover():
    """2,000 times 20 pairs with an effect of 0.5; below 93.5 % would come by chance once in 500 at 95 %."""
    rng = np.random.default_rng(1)
    found = [paired_difference(np.zeros(20), row) for row in rng.normal(0.5, 1.0, size=(2000, 20))]
    assert 0.935 < np.mean([d.low <= 0.5 <= d.high for d in found]) < 0.965
    assert 0.935 < np.mean([d.effect_low <= 0.5 <= d.effect_high for d in found]) < 0.965


def test_pairs_with_a_missing_value_do_not_count():
    found = paired_difference([0.1, 0.2, np.nan, 0.4], [0.2, 0.5, 0.3, np.nan])
    assert (found.pairs, found.mean) == (2, pytest.approx(0.2))


def test_too_few_or_equal_pairs_have_no_test():
    one = paired_difference([0.5], [0.7])
    assert (one.mean, one.low, one.high, one.test) == (pytest.approx(0.2), -math.inf, math.inf, "no test: 1 chip")
    assert math.isnan(one.p_value)
    assert math.isnan(one.effect)
    equal = paired_difference([0.5, 0.6, 0.7], [0.6, 0.7, 0.8])
    assert equal.test == "no test: all differences equal"
    assert (equal.low, equal.high) == (equal.mean, equal.mean)


@pytest.mark.parametrize(("first_only", "second_only"), [(0, 0), (1, 0), (6, 2), (0, 12), (30, 30), (400, 310)])
def test_mcnemar_is_the_exact_binomial_test(first_only, second_only):
    n = first_only + second_only
    expected = stats.binomtest(first_only, n).pvalue if n else 1.0
    assert mcnemar(first_only, second_only) == pytest.approx(expected, rel=1e-9)


def test_newcombes_interval_by_hand():
    """Where the results are uncorrelated it is that of two independent shares: each limit's distances added squared."""
    first = np.repeat([1.0, 1.0, 0.0, 0.0], [24, 6, 16, 4])  # passed by 30 and 40 of 50, 24 = 30 40 / 50 by both
    second = np.repeat([1.0, 0.0, 1.0, 0.0], [24, 6, 16, 4])
    found = yield_difference(first, second, 0.5)
    (l1, u1), (l2, u2) = (stats.binomtest(k, 50).proportion_ci(method="wilson") for k in (30, 40))
    assert found.difference == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - math.hypot(0.8 - l2, u1 - 0.6))
    assert found.high == pytest.approx(0.2 + math.hypot(u2 - 0.8, 0.6 - l1))
    assert (found.both, found.first_only, found.second_only, found.neither) == (24, 6, 16, 4)
    opposite = yield_difference(second, first, 0.5)
    assert (opposite.low, opposite.high) == pytest.approx((-found.high, -found.low))


def test_equal_results_differ_by_nothing():
    accuracy = [1.0] * 53 + [0.0]
    same = yield_difference(accuracy, accuracy, 0.5)
    assert same.difference == 0
    assert same.p_value == 1
    assert same.low == pytest.approx(-same.high)
    assert same.high < 0.1


def test_the_yield_differences_interval_covers_about_as_often_as_it_says():
    """4,000 times 80 chips whose two results are correlated: no guarantee, between 93 and 98.5 %."""
    rng = np.random.default_rng(2)
    for cells in ([0.8, 0.12, 0.03, 0.05], [0.5, 0.1, 0.1, 0.3]):
        counts = rng.multinomial(80, cells, size=4000)
        covered, cache = 0, {}
        for row in counts:
            key = tuple(row)
            if key not in cache:
                one, two = np.repeat([1.0, 1.0, 0.0, 0.0], row), np.repeat([1.0, 0.0, 1.0, 0.0], row)
                cache[key] = yield_difference(one, two, 0.5)
            found = cache[key]
            covered += found.low <= cells[2] - cells[1] <= found.high
        assert 0.93 < covered / 4000 < 0.985


def results(accuracy, models=("net",), conditions=("a", "b")):
    accuracy = np.asarray(accuracy, dtype=float)
    table = Tolerance.empty(models, conditions, [math.nan] * len(conditions), accuracy.shape[-1])
    for name, values in table.measures.items():
        values[...] = 0 if name == "nonfinite" else accuracy
    return table


def test_conditions_of_one_network_are_paired_by_chip():
    rng = np.random.default_rng(3)
    a = rng.random(40)
    b = a - 0.05 + 0.01 * rng.random(40)
    found = compare_conditions(results([[a, b]]), "net", "a", "b", specification=0.5)
    assert found.accuracy == paired_difference(a, b)
    assert found.chips_passed == yield_difference(a, b, 0.5)
    assert found.accuracy.high < 0  # although the chips differ by far more than the conditions do
    with pytest.raises(ConfigError, match="condition: unknown 'c'"):
        compare_conditions(results([[a, b]]), "net", "a", "c")
    with pytest.raises(ConfigError, match=r"model: unknown 'nets' .did you mean 'net'"):
        compare_conditions(results([[a, b]]), "nets", "a", "b")


def test_methods_need_six_seeds():
    rng = np.random.default_rng(4)
    chips = rng.random((6, 30)), rng.random((6, 30)) + 0.3
    found = compare_methods(*chips)
    assert found.test == "paired t"
    assert found[:9] == paired_difference(*(c.mean(1) for c in chips), pairing="training seed")[:9]
    few = compare_methods(chips[0][:5], chips[1][:5])
    assert few.test == "no test: 5 seeds"
    assert few.mean == pytest.approx((chips[1][:5] - chips[0][:5]).mean())
    assert math.isnan(few.p_value)
    assert math.isinf(few.low)
    assert math.isnan(few.effect)


def test_a_network_without_any_chip_is_no_seed():
    chips = np.full((7, 4), 0.5)
    chips[2] = np.nan
    chips[3, 1] = np.nan
    assert compare_methods(chips, chips + np.arange(7)[:, None] / 100).pairs == 6


def test_methods_are_paired_by_their_seeds():
    """Two methods whose networks stand in another order, and one seed that only one of them has."""
    rng = np.random.default_rng(5)
    models = ("a0", "b1", "a1", "b0", "a2")
    accuracy = rng.random((5, 1, 8))
    methods = {"a": {0: "a0", 1: "a1", 2: "a2"}, "b": {1: "b1", 0: "b0"}}
    (found,) = compare_all_methods(results(accuracy, models, ("x",)), methods)
    assert (found.condition, found.first, found.second) == ("x", "a", "b")
    means = dict(zip(models, accuracy.mean((1, 2)), strict=True))
    expected = np.mean([means["b0"] - means["a0"], means["b1"] - means["a1"]])
    assert found.accuracy.mean == pytest.approx(expected)
    assert found.accuracy.test == "no test: 2 seeds"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.1, 0.2], [0.1], "pairs: shapes .2,. and .1,. must be one value a pair"),
        ([math.nan], [0.1], "pairs: no pair has both values"),
        ([[[0.1]]], [[[0.1]]], "methods: shape .1, 1, 1. must be"),
    ],
)
def test_what_cannot_be_compared(first, second, message):
    with pytest.raises(ConfigError, match=message):
        compare_methods(first, second)


def test_chips_that_are_not_finite_pass_under_no_condition():
    found = results([[[0.9, 0.9, 0.9], [0.9, 0.9, 0.9]]])
    found.measures["nonfinite"][...] = 0
    found.measures["nonfinite"][0, :, 0] = 1
    found.measures["nonfinite"][0, 1, 1] = 1
    apart = compare_conditions(found, "net", "a", "b", specification=0.0).chips_passed
    assert (apart.both, apart.first_only, apart.second_only, apart.neither) == (1, 1, 0, 1)


def test_chips_that_were_simulated_until_a_verdict_are_not_compared():
    found = replace(results([[np.ones(9), np.zeros(9)]]), stopping=Stopping(until="yield>0.5"))
    with pytest.raises(ConfigError, match=r"simulated until yield>0\.5.*; needed: a fixed number"):
        compare_conditions(found, "net", "a", "b")
