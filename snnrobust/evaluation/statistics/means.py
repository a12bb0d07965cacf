"""An interval of a mean over chips that holds for any distribution of accuracies, however few the chips."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snnrobust.errors import ConfigError

_MOST = 0.75  # of the capital, put on one chip
_HALVINGS = 50


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of the mean of independent values in [0, 1], of at least this coverage for any number.

    Student's t has no guarantee for accuracies: of chips that are all equal its interval is a point, whatever share of
    dead chips none of them happens to show. Here a mean m is excluded from below where bets that values lie above it,

        prod_i (1 + l_i (x_i - m)) >= 2 / (1 - confidence)
        l_i = min(sqrt(2 ln(2 / (1 - confidence)) / (n v_i)), 3 / (4 m))

    with the variance v_i of the values before x_i, win more than chance allows: the product is a martingale, or less,
    for every mean from m down, and so reaches this with at most half the probability 1 - confidence (Ville). Likewise
    from above. It is about as narrow as the variance allows, and narrower with every chip. (Waudby-Smith and Ramdas
    2024, section 4.2, doi:10.1093/jrsssb/qkad009.)

    Args:
        values: One accuracy a chip [K], in the order of the chips' numbers; at least 1.
        confidence: Coverage.

    Raises:
        ConfigError: If there is no value, one outside [0, 1], or confidence is not in (0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not ((x >= 0) & (x <= 1)).all():
        raise ConfigError("values: a mean needs at least one accuracy, and all from 0 to 1")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} must be between 0 and 1")
    target, mean = -math.log((1 - confidence) / 2), float(x.mean())
    return min(_lower(x, target), mean), max(1 - _lower(1 - x, target), mean)


def _lower(x: NDArray[np.float64], target: float) -> float:
    """The largest mean that the bets exclude; their logarithm falls with the mean, term by term."""
    n, known = len(x), np.arange(len(x)) + 2.0
    means = (0.5 + np.cumsum(x)) / known
    variances = (0.25 + np.cumsum((x - means) ** 2)) / known
    bets = np.sqrt(2 * target / (n * np.append(0.25, variances[:-1])))
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        m = (low + high) / 2
        won = float(np.log1p(np.minimum(bets, _MOST / m) * (x - m)).sum())
        low, high = (m, high) if won >= target else (low, m)
    return low
