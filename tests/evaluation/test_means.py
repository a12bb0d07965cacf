"""Intervals of means: guaranteed where Student's t is not, and by hand where all chips are equal."""

import math

import numpy as np
import pytest

from snnrobust.errors import ConfigError
from snnrobust.evaluation.statistics.means import mean_interval


def covered(draw, mean, chips, repetitions=2000):
    found = [mean_interval(values) for values in draw(np.random.default_rng(5), (repetitions, chips))]
    return np.mean([low <= mean <= high for low, high in found])


@pytest.mark.parametrize("chips", [5, 40, 200])
@pytest.mark.parametrize("dead", [0.02, 0.3])
def test_it_covers_where_a_few_chips_are_dead(chips, dead):
    """Of 40 chips that are dead with 2 % probability, 45 % show none, and t has an interval without the mean."""

    def draw(rng, shape):
        return np.where(rng.random(shape) < dead, 0.1, 0.96)

    assert covered(draw, 0.96 - 0.86 * dead, chips) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_it_covers_accuracies_that_are_close_together_and_is_not_wide():
    def draw(rng, shape):
        return rng.beta(90, 10, shape)

    assert covered(draw, 0.9, 60) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)
    low, high = mean_interval(draw(np.random.default_rng(0), 1000))
    assert 0 < high - low < 0.012  # that of t is 0.004


def reference(values, mean):
    """The capital after all bets that values lie above a mean, one after the other, at 95 %."""
    capital, total, squares = 1.0, 0.5, 0.25
    for i, x in enumerate(values):
        bet = min(math.sqrt(2 * math.log(40) / (len(values) * squares / (i + 1))), 0.75 / mean)
        capital *= 1 + bet * (x - mean)
        total += x
        squares += (x - total / (i + 2)) ** 2
    return capital


def test_the_ends_are_where_the_bets_reach_forty():
    values = np.random.default_rng(7).beta(8, 2, size=37)
    low, high = mean_interval(values)
    assert reference(values, low) == pytest.approx(40, rel=1e-9)
    assert reference(1 - values, 1 - high) == pytest.approx(40, rel=1e-9)
    assert mean_interval([0.8]) == (0.0, 1.0)  # one chip: 1 + 5.43 (0.8 - m) never reaches 40


def test_equal_chips_tell_no_more_than_their_number():
    """With n good chips and no dead one, a share of good ones above 0.025^(1/n) is not excluded by any method."""
    for chips in (10, 100, 1000):
        low, high = mean_interval(np.full(chips, 0.9))
        assert low < 0.9 * 0.025 ** (1 / chips) < 0.9 < high


def test_it_holds_the_mean_in_any_order():
    values = np.repeat([1.0, 0.0], 50)
    for order in (values, values[::-1]):
        low, high = mean_interval(order)
        assert 0 <= low <= 0.5 <= high <= 1


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), ([0.5, 1.1], 0.95), ([math.nan], 0.95), ([0.5], 1.0)])
def test_mistakes_are_refused(values, confidence):
    with pytest.raises(ConfigError):
        mean_interval(values, confidence)
