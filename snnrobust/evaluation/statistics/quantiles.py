"""Bounds that hold for any distribution of accuracies: of one quantile, and of all thresholds at once."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, betaincinv, gammaln

from snnrobust.errors import ConfigError

MOST_EXACT = 2000
"""Chips up to which the simultaneous band is the exact one: finding its level takes the third power of their number."""
_ACCURACY = 1e-3  # relative, of the probability of a miss: it is at most what is allowed


class Quantile(NamedTuple):
    """A quantile over chips, with bounds.

    Attributes:
        value: The estimate, an order statistic.
        low: Lower end of the two-sided interval; -inf where too few chips resolve it.
        high: Upper end; inf where too few chips resolve it.
        share: Which quantile it is.
        confidence: Coverage of the interval, at least this for any distribution.
        chips: Number of chips.
    """

    value: float
    low: float
    high: float
    share: float
    confidence: float
    chips: int


def quantile(values: ArrayLike, share: float, confidence: float = 0.95) -> Quantile:
    """The quantile of a distribution, between two order statistics, whatever the distribution.

    With X_(1) <= ... <= X_(n) and B ~ Binomial(n, share), X_(r) lies above the quantile with probability at most
    P(B <= r - 1), and X_(s) below it with probability at most P(B >= s): the largest r and the smallest s for which
    these are at most (1 - confidence) / 2. Discrete distributions, as of accuracies, are allowed. The estimate is
    X_(ceil(n share)). (David and Nagaraja, Order Statistics, 2003, section 7.1.)

    Args:
        values: One value a chip; NaN does not count, infinite ones do.
        share: Which quantile, such as 0.05.
        confidence: Coverage.

    Raises:
        ConfigError: If share or confidence is not in (0, 1), or there is no value.
    """
    _check_fraction("share", share)
    _check_fraction("confidence", confidence)
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    ordered = ordered[~np.isnan(ordered)]
    n = len(ordered)
    if not n:
        raise ConfigError("values: a quantile needs at least one chip that was run")
    tail, ranks = (1 - confidence) / 2, np.arange(1, n + 1)
    below, above = bdtr(ranks - 1.0, n, share), bdtrc(ranks - 1.0, n, share)
    r, s = int((below <= tail).sum()), n - int((above <= tail).sum())
    return Quantile(
        value=float(ordered[max(1, math.ceil(n * share - 1e-9)) - 1]),
        low=float(ordered[r - 1]) if r else -math.inf,
        high=float(ordered[s]) if s < n else math.inf,
        share=share,
        confidence=confidence,
        chips=n,
    )


def chips_to_resolve(share: float, confidence: float = 0.95) -> int:
    """The fewest chips with which both ends of a quantile's two-sided interval are finite.

    Args:
        share: Which quantile.
        confidence: Coverage.
    """
    _check_fraction("share", share)
    _check_fraction("confidence", confidence)
    rarer = max(share, 1 - share)  # the outermost value bounds the quantile unless all n lie on its other side
    return math.ceil(math.log((1 - confidence) / 2) / math.log(rarer) - 1e-9)


@functools.cache
def simultaneous_confidence(chips: int, confidence: float = 0.95) -> float:
    """The confidence at each threshold at which the Clopper-Pearson intervals at all thresholds hold at once.

    Together these intervals are a band for the whole distribution of accuracies, so that a threshold may be chosen
    after looking. Its local level is the same everywhere: at a yield of 99 % it is several times narrower than the
    band of Dvoretzky, Kiefer, Wolfowitz and Massart (`dkw_band`), and at 50 % a little wider. (Aldor-Noiman et al.
    2013, doi:10.1080/00031305.2013.847865, who simulate the level.)

    The probability that the order statistics of n uniform values all lie between their bounds is worked out exactly:
    the empirical process is a Poisson process given its value at 1, which is followed from bound to bound.

    Args:
        chips: Number n of chips.
        confidence: Of all intervals together.

    Raises:
        ConfigError: If chips is below 1, or confidence not in (0, 1).
    """
    _check_fraction("confidence", confidence)
    if chips < 1:
        raise ConfigError(f"chips: {chips} must be at least 1")
    target = math.log1p(-confidence)

    def excess(level: float) -> float:
        """Log of the probability of a miss over what is allowed; nearly linear in the log of the level."""
        return math.log(max(1 - band_coverage(chips, math.exp(level)), 1e-300)) - target

    low, high = target - math.log(chips), target  # Bonferroni's level suffices; that of one threshold is too much
    below, above = excess(low), excess(high)
    while below < -_ACCURACY and chips > 1:
        middle = low + (high - low) * min(0.9, below / (below - above))
        found = excess(middle)
        if found <= 0:
            low, below = middle, found
        else:
            high, above = middle, found
    return 1 - math.exp(low)


def band_coverage(n: int, level: float) -> float:
    """P(all n ordered uniform values lie between the level / 2 and 1 - level / 2 quantiles of their distributions)."""
    ranks = np.arange(1.0, n + 1)
    lower, upper = betaincinv(ranks, n + 1 - ranks, level / 2), betaincinv(ranks, n + 1 - ranks, 1 - level / 2)
    # At lower_i fewer than i values may lie below, at upper_i at least i must.
    times, kinds = np.concatenate([lower, upper]), np.repeat([0, 1], n)
    order = np.argsort(times, kind="stable")
    first, mass, now = 0, np.ones(1), 0.0  # P(the counts first, first + 1, ... so far, inside all bounds)
    for where in order:
        i = int(where % n) + 1
        kernel = _poisson(n * (times[where] - now))
        mass, now = np.convolve(mass, kernel)[: n + 1 - first], float(times[where])
        if kinds[where] == 0:
            mass = mass[: max(0, i - first)]
        else:
            mass, first = mass[max(0, i - first) :], max(first, i)
        if not len(mass):
            return 0.0
    rest = n * (1 - now)
    counts = n - first - np.arange(len(mass))
    end = np.exp(counts * math.log(rest) - rest - gammaln(counts + 1.0)) if rest > 0 else (counts == 0).astype(float)
    return float(mass @ end / math.exp(n * math.log(n) - n - float(gammaln(n + 1.0))))


def dkw_band(chips: int, confidence: float = 0.95) -> float:
    """Half-width of the band of Dvoretzky, Kiefer and Wolfowitz around an empirical distribution of n values.

    sqrt(ln(2 / (1 - confidence)) / 2n), with the tight constant of Massart (1990, doi:10.1214/aop/1176990746).

    Args:
        chips: Number n of values.
        confidence: That the distribution lies inside everywhere.

    Raises:
        ConfigError: If chips is below 1, or confidence not in (0, 1).
    """
    _check_fraction("confidence", confidence)
    if chips < 1:
        raise ConfigError(f"chips: {chips} must be at least 1")
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * chips))


def share_above(
    accuracy: NDArray[np.float64], confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Every accuracy that a chip has and 1, the share of chips at or above it, and both ends of the simultaneous band.

    Between two of these accuracies, what stands at the upper one holds; at the end, what holds above the best chip.

    The band is `chip_yield(..., simultaneous=True)` at each of them; beyond 2,000 chips that of Dvoretzky, Kiefer and
    Wolfowitz.

    Args:
        accuracy: Accuracy of each chip [K]; NaN does not count.
        confidence: That the yields at all specifications lie in the band.
    """
    run = accuracy[~np.isnan(accuracy)]
    values, counts = np.unique(run, return_counts=True)
    n, passed = len(run), np.append(len(run) - np.cumsum(counts) + counts, 0)
    values, share = np.append(values, 1.0), passed / n
    if n > MOST_EXACT:
        half = dkw_band(n, confidence)
        return values, share, np.maximum(share - half, 0), np.minimum(share + half, 1)
    tail = (1 - simultaneous_confidence(n, confidence)) / 2
    low = np.where(passed, betaincinv(np.maximum(passed, 1), n - passed + 1, tail), 0.0)
    high = np.where(passed < n, betaincinv(passed + 1, np.maximum(n - passed, 1), 1 - tail), 1.0)
    return values, share, low, high


def _poisson(mean: float) -> NDArray[np.float64]:
    """Probabilities of 0, 1, ... up to where what is left is below 1e-18."""
    last = int(mean + 9 * math.sqrt(mean) + 20)
    counts = np.arange(last + 1.0)
    if mean <= 0:
        return np.ones(1)
    return np.exp(counts * math.log(mean) - mean - gammaln(counts + 1))


def _check_fraction(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name}: {value} must be between 0 and 1")
