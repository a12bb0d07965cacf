"""The shape of a spread: normal or lognormal, and anomalous devices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm
from scipy.stats import t as student

from snnrobust.hardware.measurement.components import CONFIDENCE, Estimate, Floats, Ints

MAD_TO_SD = 1 / NormalDist().inv_cdf(0.75)
FALSE_ALARM = 0.01
"""Probability that normal devices without an anomalous one among them show one."""
DECIDED = 2.0
"""Difference of log likelihoods from which one shape is called better."""


@dataclass(frozen=True)
class Anomalies:
    """Devices that a normal distribution of the others does not explain.

    Attributes:
        chosen: Which, [N].
        fraction: Their share (interval: Clopper and Pearson).
        factor: Typical factor to the others (interval: Student's t on logarithms).
        cv: Spread of that factor.
        below, above: How many are smaller, and larger, than the others.
    """

    chosen: NDArray[np.bool_]
    fraction: Estimate
    factor: Estimate
    cv: float
    below: int
    above: int


@dataclass(frozen=True)
class Shape:
    """Normal against lognormal.

    Attributes:
        chosen: normal or lognormal; lognormal where undecided.
        gain: Log likelihood of the lognormal minus that of the normal.
        distance_normal: Kolmogorov-Smirnov distance to the fitted normal.
        distance_lognormal: To the fitted lognormal.
        critical: Distance that a true shape exceeds in 5 % of cases (Lilliefors, 0.886 / sqrt(n)).
    """

    chosen: str
    gain: float
    distance_normal: float
    distance_lognormal: float
    critical: float

    @property
    def decided(self) -> bool:
        """Whether the data tell the two apart."""
        return abs(self.gain) >= DECIDED


def anomalies(values: Floats, group: Ints, *, logarithms: bool) -> Anomalies:
    """Values far from the median of their group, in units of the scale that the median deviation tells.

    The threshold is passed by n normal values with probability 1 %. The factor is that of the commoner side.

    Args:
        values: One a device, [N].
        group: Devices that share a median (a chip's core), [N].
        logarithms: Whether values are logarithms, so that a distance is a factor.
    """
    distance = values.copy()
    for g in np.unique(group):
        distance[group == g] -= np.median(values[group == g])
    scale = MAD_TO_SD * float(np.median(np.abs(distance)))
    threshold = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * len(values)))
    chosen = np.abs(distance) > threshold * scale if scale else np.zeros(len(values), dtype=bool)
    below, above = int((chosen & (distance < 0)).sum()), int((chosen & (distance > 0)).sum())
    side = distance[chosen & ((distance > 0) if above >= below else (distance < 0))]
    factor, cv = Estimate(1.0, 1.0, 1.0), 0.0
    if logarithms and len(side):
        factor, cv = _factor(side)
    return Anomalies(
        chosen, _fraction(len(side) if logarithms else int(chosen.sum()), len(values)), factor, cv, below, above
    )


def compare(logarithms: Floats, left_log: Floats, left_linear: Floats) -> Shape:
    """Which residuals are more likely normal: those of logarithms, or those of the values.

    Args:
        logarithms: ln(value / mean value), [N].
        left_log: Residuals of the logarithms after all shared components.
        left_linear: Residuals of value / mean value after all shared components.
    """
    n = len(logarithms)
    likelihood_log = -n / 2 * math.log(max(float(np.mean(left_log**2)), 1e-300)) - float(logarithms.sum())
    likelihood_linear = -n / 2 * math.log(max(float(np.mean(left_linear**2)), 1e-300))
    gain = likelihood_log - likelihood_linear
    chosen = "normal" if gain <= -DECIDED else "lognormal"
    return Shape(chosen, gain, distance(left_linear), distance(left_log), 0.886 / math.sqrt(n))


def distance(values: Floats) -> float:
    """Kolmogorov-Smirnov distance to the normal of the same mean and standard deviation."""
    n = len(values)
    scale = float(values.std(ddof=1))
    if not scale:
        return 1.0
    probability = norm.cdf(np.sort((values - values.mean()) / scale))
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - probability).max(), (probability - steps[:-1]).max()))


def _fraction(count: int, n: int) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, n - count)) if count < n else 1.0
    return Estimate(count / n, low, high)


def _factor(side: Floats) -> tuple[Estimate, float]:
    middle, n = float(side.mean()), len(side)
    if n == 1:
        return Estimate(math.exp(middle), 0.0, math.inf), 0.0
    spread = float(side.std(ddof=1))
    reach = float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread / math.sqrt(n)
    factor = Estimate(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))
    return factor, math.sqrt(math.expm1(spread**2))
