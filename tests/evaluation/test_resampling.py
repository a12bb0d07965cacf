"""Yield over chips and samples: against a loop by hand, and against a planted population of both."""

import numpy as np
import pytest
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.evaluation import clopper_pearson
from snnrobust.evaluation.statistics.resampling import _accuracy, _counts, numbered, two_way_interval


def packed(right):
    return np.packbits(right, axis=1)


@pytest.mark.parametrize("balanced", [False, True])
def test_resampled_accuracies_by_hand(balanced):
    rng = np.random.default_rng(0)
    right, classes = rng.random((5, 21)) < 0.7, rng.integers(0, 3, 21)
    groups = numbered(np.array(list("abcdefg"))[rng.integers(0, 7, 21)], 21)
    number = groups.max() + 1
    counts = _counts(packed(right), classes if balanced else 0 * classes, groups, number)
    drawn = rng.multinomial(number, np.full(number, 1 / number), size=4)
    found = _accuracy(*counts, drawn.astype(np.float32))
    for row, times in zip(found, drawn, strict=True):
        samples = np.concatenate([np.flatnonzero(groups == g) for g, n in enumerate(times) for _ in range(n)])
        for chip in range(5):
            hits, of = right[chip, samples], classes[samples]
            expected = np.mean([hits[of == c].mean() for c in np.unique(of)]) if balanced else hits.mean()
            assert row[chip] == pytest.approx(expected, abs=1e-12)


def test_without_spread_between_samples_chips_alone_remain():
    """Every chip is right on all samples or on none: 90 of 100 pass on any samples."""
    right = np.repeat(np.arange(100) < 90, 40).reshape(100, 40)
    low, high = two_way_interval(packed(right), np.zeros(40, int), np.arange(40), 0.5, replicates=4000)
    expected = stats.binom.ppf([0.025, 0.975], 100, 0.9) / 100
    assert (low, high) == pytest.approx(expected, abs=0.0101)


def test_groups_make_it_wider():
    """Chips agree on which of 20 patients are hard; each has 10 samples that are right or wrong together."""
    rng = np.random.default_rng(1)
    hard = np.repeat(rng.permutation(20) < 2, 10)
    right = ~hard & (rng.random((200, 200)) < 0.98)
    classes, groups = np.zeros(200, int), np.repeat(np.arange(20), 10)
    alone = two_way_interval(packed(right), classes, np.arange(200), 0.85)
    together = two_way_interval(packed(right), classes, groups, 0.85)
    assert together[1] - together[0] > 1.2 * (alone[1] - alone[0])
    assert together[0] < alone[0]


def test_the_interval_covers_where_that_over_chips_alone_does_not():
    """Chip k is right on sample b where a_k + c_b > 0: the yield over all samples is P(a > a0), in closed form.

    300 planted populations of 100 chips and 100 samples. The bootstrap is no guarantee: 90 % or more is asked, where
    an interval over chips alone covers well below 80 %.
    """
    rng = np.random.default_rng(2)
    right_at = stats.norm(1.0, 0.5)  # a; c is standard normal
    specification = 0.8
    truth = right_at.sf(stats.norm.ppf(specification))
    covered = np.zeros(2)
    for repetition in range(300):
        a, c = rng.normal(1.0, 0.5, size=(100, 1)), rng.normal(size=(1, 100))
        right = a + c > 0
        ends = two_way_interval(
            packed(right), np.zeros(100, int), np.arange(100), specification, replicates=400, seed=repetition
        )
        alone = clopper_pearson(int((right.mean(1) >= specification - 1e-9).sum()), 100)
        covered += [low <= truth <= high for low, high in (ends, alone)]
    assert covered[0] / 300 > 0.9
    assert covered[1] / 300 < 0.8


def test_the_same_seed_gives_the_same_interval_and_moves_no_generator(untouched_generators):
    right = np.random.default_rng(3).random((50, 30)) < 0.9
    arguments = packed(right), np.zeros(30, int), np.arange(30), 0.9
    assert two_way_interval(*arguments) == two_way_interval(*arguments)
    assert two_way_interval(*arguments) != two_way_interval(*arguments, seed=1)


def test_numbers_of_groups():
    assert numbered(None, 4).tolist() == [0, 1, 2, 3]
    assert numbered(np.array(["b", "a", "b"]), 3).tolist() == [1, 0, 1]


def test_nothing_to_resample():
    with pytest.raises(ConfigError, match="hits: an interval needs"):
        two_way_interval(np.zeros((0, 1), np.uint8), np.zeros(3, int), np.arange(3), 0.9)
    with pytest.raises(ConfigError, match="confidence: 2"):
        two_way_interval(np.zeros((1, 1), np.uint8), np.zeros(3, int), np.arange(3), 0.9, confidence=2)
