"""How the frozen spread depends on the level: cv proportional to level^p.

p is the slope of ln cv against ln level. Its interval comes from a bootstrap over devices (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993): a device keeps its values at all levels, so that what the levels share is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snnrobust.hardware.measurement.components import CONFIDENCE, Estimate, Floats, decompose
from snnrobust.hardware.measurement.repeats import Readings, adjacent_covariance

RESAMPLES = 400
MOSTLY_NOISE = 0.25
"""Share of the variance that must be frozen for a level to count."""
MEASURED = 0.8
"""Share of the devices that must be measured at a level for it to count."""


@dataclass(frozen=True)
class LevelLaw:
    """cv proportional to level^exponent.

    Attributes:
        exponent: p, and its interval.
        levels: Levels that count, as their nominal values.
        spreads: Frozen cv within chips at these levels.
    """

    exponent: Estimate
    levels: tuple[float, ...]
    spreads: tuple[float, ...]


def complete_levels(data: Readings, bulk: NDArray[np.bool_]) -> list[int]:
    """Levels at which most of the devices were measured."""
    measured = (data.counts[bulk] > 0).mean(0)
    return [int(level) for level in np.flatnonzero(measured >= MEASURED * measured.max())]


def residuals(data: Readings, bulk: NDArray[np.bool_]) -> tuple[Floats, list[int], float]:
    """Residuals of the devices that have all complete levels.

    Returns:
        Residuals [N, L] after chips, cores and planes; the levels; degrees of freedom of one level.
    """
    levels = complete_levels(data, bulk)
    whole = bulk & (data.counts[:, levels] > 0).all(1)
    parts = [decompose(data.values[whole, level], data.places.take(whole)) for level in levels]
    return np.stack([part.left for part in parts], 1), levels, parts[0].residual.df


def level_law(data: Readings, bulk: NDArray[np.bool_], to_cv: Callable[[float], float]) -> LevelLaw | None:
    """The exponent, or None where fewer than two levels have a frozen spread above the noise.

    Args:
        data: Readings of one parameter.
        bulk: Devices that count, [N].
        to_cv: From a variance on the scale of the readings to a coefficient of variation.
    """
    left, levels, df = residuals(data, bulk)
    if len(levels) < 2 or df < 3:
        return None
    noise = [data.noise(level, bulk) for level in levels]
    separable = all(reading.df for reading, _ in noise)
    taken = np.array([reading.value * share for reading, share in noise]) if separable else None
    frozen = _frozen(left, df, taken)
    used = np.flatnonzero(frozen > MOSTLY_NOISE * (left**2).sum(0) / df)
    position = np.log(data.nominal[levels])
    if len(used) < 2 or np.ptp(position[used]) == 0:
        return None
    cv = np.array([to_cv(float(v)) for v in frozen[used]])
    random = np.random.default_rng(0)
    slopes = []
    for _ in range(RESAMPLES):
        sample = _frozen(left[random.integers(len(left), size=len(left))], df, taken)[used]
        if (sample > 0).all():
            slopes.append(_slope(position[used], np.array([to_cv(float(v)) for v in sample])))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(slopes, [tail, 100 - tail]) if slopes else (-math.inf, math.inf)
    exponent = Estimate(_slope(position[used], cv), float(low), float(high))
    return LevelLaw(exponent, tuple(data.nominal[levels][used].tolist()), tuple(cv.tolist()))


def _frozen(left: Floats, df: float, noise: Floats | None) -> Floats:
    """Frozen variance at each level: the residuals' less the noise, or their covariance with adjacent levels."""
    if noise is not None:
        found: Floats = (left**2).sum(0) / df - noise
        return found
    return np.array([adjacent_covariance(left, level, df).value for level in range(left.shape[1])])


def _slope(position: Floats, cv: Floats) -> float:
    centred = position - position.mean()
    return float(centred @ np.log(cv) / (centred @ centred))
