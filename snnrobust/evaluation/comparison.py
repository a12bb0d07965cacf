"""Comparisons: of conditions paired by chip, of training methods paired by training seed.

Chip n has the same coordinates z under every level, profile and mode, so differences of one network are taken chip by
chip. Separately trained networks hardly share what a z does to them, and chips say nothing about how another training
would come out: methods are compared over training seeds, at least six of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, nctdtr, stdtr, stdtrit

from snnrobust.errors import ConfigError, unknown
from snnrobust.evaluation.statistics.yields import passes, wilson
from snnrobust.evaluation.tolerance import Tolerance

FEWEST_SEEDS = 6
"""Training seeds below which there is no test between methods: with five, no sign test could reach 5 %."""
_HALVINGS = 60


class MeanDifference(NamedTuple):
    """Mean of paired differences, second - first.

    Attributes:
        mean: Mean difference.
        low: Lower end of its two-sided t interval; -inf where there are too few pairs.
        high: Upper end.
        p_value: Two-sided, of the paired t test that the mean is 0; NaN where there are too few pairs.
        effect: Mean over the standard deviation of the differences (Cohen's d of paired samples); NaN where they are
            all equal.
        effect_low: Lower end of its interval, from the noncentral t distribution.
        effect_high: Upper end.
        pairs: Number of pairs.
        pairing: What a pair is: "chip" or "training seed".
        test: "paired t", or "no test: n seeds".
    """

    mean: float
    low: float
    high: float
    p_value: float
    effect: float
    effect_low: float
    effect_high: float
    pairs: int
    pairing: str
    test: str


class YieldDifference(NamedTuple):
    """Difference of two yields on the same chips, second - first.

    Attributes:
        difference: Of the shares.
        low: Lower end of its two-sided interval, Newcombe's square-and-add of Wilson intervals (1998; recommended by
            Fagerland, Lydersen and Laake 2014, doi:10.1002/sim.6148). Without a guarantee, close to nominal.
        high: Upper end.
        p_value: Of McNemar's exact test: two-sided binomial on the chips that pass under one condition alone.
        both: Chips that pass under both.
        first_only: Chips that pass under the first alone.
        second_only: Chips that pass under the second alone.
        neither: Chips that pass under none.
    """

    difference: float
    low: float
    high: float
    p_value: float
    both: int
    first_only: int
    second_only: int
    neither: int


class Comparison(NamedTuple):
    """Two conditions of one network, chip by chip.

    Attributes:
        model: The network.
        first: Name of a condition.
        second: Name of the other.
        accuracy: Difference of the accuracies.
        chips_passed: Difference of the yields.
        specification: The accuracy that a good chip reaches.
    """

    model: str
    first: str
    second: str
    accuracy: MeanDifference
    chips_passed: YieldDifference
    specification: float


def paired_difference(
    first: ArrayLike, second: ArrayLike, confidence: float = 0.95, *, pairing: str = "chip"
) -> MeanDifference:
    """Mean of second - first over pairs, with its t interval, and the effect size.

    Args:
        first: One value a pair; pairs with a NaN do not count.
        second: The other value.
        confidence: Of both intervals.
        pairing: What a pair is.

    Raises:
        ConfigError: If the numbers of values differ, there is no pair, or confidence is not in (0, 1).
    """
    difference = _pairs(first, second, confidence)
    n, mean = len(difference), float(difference.mean())
    if n < 2:
        return _untested(mean, -math.inf, math.inf, n, pairing, f"no test: {n} {pairing}")
    std = float(difference.std(ddof=1))
    if std <= 1e-12 * max(1.0, abs(mean)):  # all equal: neither t nor an effect size
        return _untested(mean, mean, mean, n, pairing, "no test: all differences equal")
    error, quantile = std / math.sqrt(n), float(stdtrit(n - 1, (1 + confidence) / 2))
    t = mean / error
    low, high = (bound / math.sqrt(n) for bound in noncentrality_interval(t, n - 1, confidence))
    p_value = float(2 * stdtr(n - 1, -abs(t)))
    half = quantile * error
    return MeanDifference(mean, mean - half, mean + half, p_value, mean / std, low, high, n, pairing, "paired t")


def noncentrality_interval(t: float, degrees: int, confidence: float = 0.95) -> tuple[float, float]:
    """Noncentralities at which a t this large, and this small, has the probability (1 - confidence) / 2.

    Args:
        t: The statistic.
        degrees: Degrees of freedom.
        confidence: Coverage.
    """
    tail = (1 - confidence) / 2
    reach = 10.0 + 2 * abs(t)
    ends = []
    for probability in (1 - tail, tail):  # P(T <= t) falls as the noncentrality grows
        low, high = t - reach, t + reach
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if nctdtr(degrees, middle, t) > probability else (low, middle)
        ends.append((low + high) / 2)
    return ends[0], ends[1]


def yield_difference(
    first: ArrayLike, second: ArrayLike, specification: float, confidence: float = 0.95
) -> YieldDifference:
    """Difference of the yields of the same chips under two conditions.

    Args:
        first: Accuracy of each chip [K]; chips with a NaN do not count.
        second: Accuracy of the same chips.
        specification: The accuracy that a good chip reaches, a fraction.
        confidence: Of the interval.

    Raises:
        ConfigError: If the numbers of chips differ, none was run, or confidence is not in (0, 1).
    """
    one, two = (passes(values, specification) for values in _whole(first, second, confidence))
    both, first_only, second_only, neither = (int(v.sum()) for v in (one & two, one & ~two, ~one & two, ~one & ~two))
    low, high = _newcombe(both, first_only, second_only, neither, confidence)
    p_value, difference = mcnemar(first_only, second_only), (second_only - first_only) / len(one)
    return YieldDifference(difference, low, high, p_value, both, first_only, second_only, neither)


def mcnemar(first_only: int, second_only: int) -> float:
    """P value of McNemar's exact test, two-sided: of n pairs that differ, Binomial(n, 1/2) favour the first.

    Args:
        first_only: Pairs that pass under the first condition alone.
        second_only: Pairs that pass under the second alone.
    """
    n, fewer = first_only + second_only, min(first_only, second_only)
    return min(1.0, 2 * float(bdtr(fewer, n, 0.5))) if n else 1.0


def compare_conditions(
    result: Tolerance, model: str, first: str, second: str, specification: float = 0.9, confidence: float = 0.95
) -> Comparison:
    """Two conditions of one network, paired by chip.

    Args:
        result: Results over chips.
        model: The network.
        first: A level, profile or mode of the results, by name.
        second: Another one.
        specification: The accuracy that a good chip reaches, a fraction.
        confidence: Of the intervals.

    Raises:
        ConfigError: If a name is unknown, no chip was run under both conditions, or the number of chips was not fixed:
            chips that were simulated until a verdict have no such interval.
    """
    if result.stopping is not None:
        raise ConfigError(
            f"compare: conditions cannot be compared where chips were simulated until {result.stopping.until}, each "
            "condition to its own end; needed: a fixed number of chips"
        )
    m = _position("model", model, result.models)
    one, two = (_position("condition", name, result.conditions) for name in (first, second))
    return Comparison(
        model,
        first,
        second,
        paired_difference(result.accuracy[m, one], result.accuracy[m, two], confidence),
        yield_difference(result.counted[m, one], result.counted[m, two], specification, confidence),
        specification,
    )


def compare_methods(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> MeanDifference:
    """Two training methods, paired by training seed.

    Args:
        first: What each trained network reaches [seed], or each of its chips [seed, chip], of which the mean is taken.
        second: The same of the other method, for the same seeds in the same order.
        confidence: Of the intervals.

    Returns:
        The mean difference. With fewer than six seeds there is neither interval nor p value, and `test` says so.

    Raises:
        ConfigError: If the numbers of seeds differ, there is none, or confidence is not in (0, 1).
    """
    found = paired_difference(_by_seed(first), _by_seed(second), confidence, pairing="training seed")
    if found.pairs >= FEWEST_SEEDS:
        return found
    test = f"no test: {found.pairs} seeds"
    return _untested(found.mean, -math.inf, math.inf, found.pairs, found.pairing, test)


def _untested(mean: float, low: float, high: float, pairs: int, pairing: str, why: str) -> MeanDifference:
    """A mean difference without p value and effect size."""
    nan = math.nan
    return MeanDifference(mean, low, high, nan, nan, nan, nan, pairs, pairing, why)


def _by_seed(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise ConfigError(f"methods: shape {array.shape} must be [seed] or [seed, chip]")
    if array.ndim == 1:
        return array
    known = ~np.isnan(array)
    mean: NDArray[np.float64] = np.where(known, array, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
    return mean


def _pairs(first: ArrayLike, second: ArrayLike, confidence: float) -> NDArray[np.float64]:
    """Differences of the pairs that are whole."""
    a, b = _whole(first, second, confidence)
    return b - a


def _whole(first: ArrayLike, second: ArrayLike, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both values of the pairs that have both."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ConfigError(f"pairs: shapes {a.shape} and {b.shape} must be one value a pair, equally many")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} must be between 0 and 1")
    whole = ~(np.isnan(a) | np.isnan(b))
    if not whole.any():
        raise ConfigError("pairs: no pair has both values")
    return a[whole], b[whole]


def _newcombe(both: int, first_only: int, second_only: int, neither: int, confidence: float) -> tuple[float, float]:
    """Newcombe's method 10 for second - first."""
    n = both + first_only + second_only + neither
    one, two = both + first_only, both + second_only
    p1, p2 = one / n, two / n
    (l1, u1), (l2, u2) = (wilson(passed, n, confidence) for passed in (one, two))
    margins = one * (n - one) * two * (n - two)
    product = both * neither - first_only * second_only
    corrected = max(product - n / 2, 0.0) if product > 0 else product  # for continuity
    phi = corrected / math.sqrt(margins) if margins else 0.0
    down = (p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2
    up = (u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2
    return p2 - p1 - math.sqrt(max(down, 0.0)), p2 - p1 + math.sqrt(max(up, 0.0))


def _position(what: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise ConfigError(unknown(what, name, names))
    return names.index(name)
