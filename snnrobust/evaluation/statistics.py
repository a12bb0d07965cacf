"""From accuracies of simulated chips to numbers that a decision can rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv  # scipy.stats would add a second to every start

from snnrobust.errors import ConfigError


class Yield(NamedTuple):
    """Share of chips at or above one absolute specification.

    Attributes:
        share: passed / chips.
        low: Lower end of the two-sided Clopper-Pearson interval.
        high: Upper end.
        passed: Chips that meet the specification.
        chips: Chips that were simulated.
    """

    share: float
    low: float
    high: float
    passed: int
    chips: int


class Summary(NamedTuple):
    """Accuracies of the chips of one model under one condition, as fractions.

    Attributes:
        model: The network's name.
        condition: The mismatch level or the profile.
        mean: Mean over chips.
        std: Standard deviation over chips (n - 1).
        minimum: Worst chip of `chips`; a minimum says nothing without their number.
        quantile05: 5 % quantile over chips.
        specification: The accuracy that a good chip reaches.
        chips_passed: Yield at the specification.
        chips: Chips that were simulated.
        nonfinite: Chips that gave a non-finite output in some sample; those samples count as wrong.
    """

    model: str
    condition: str
    mean: float
    std: float
    minimum: float
    quantile05: float
    specification: float
    chips_passed: Yield
    chips: int
    nonfinite: int


def clopper_pearson(passed: int, chips: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of a binomial share, of at least this coverage for any share (Clopper and Pearson 1934).

    Args:
        passed: Successes.
        chips: Trials, at least 1.
        confidence: Coverage.

    Raises:
        ConfigError: If passed is not in 0 .. chips, or confidence not in (0, 1).
    """
    if not (0 <= passed <= chips and chips >= 1):
        raise ConfigError(f"passed: {passed} must be 0 .. {chips}")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} must be between 0 and 1")
    half = (1 - confidence) / 2
    low = betaincinv(passed, chips - passed + 1, half) if passed else 0.0
    high = betaincinv(passed + 1, chips - passed, 1 - half) if passed < chips else 1.0
    return float(low), float(high)


def chip_yield(
    accuracy: Sequence[float] | NDArray[np.float64], specification: float, confidence: float = 0.95
) -> Yield:
    """Yield of chips at one absolute specification; NaN (a chip that was not run) does not count.

    Args:
        accuracy: Accuracy of each chip [K].
        specification: The accuracy that a good chip reaches, a fraction.
        confidence: Coverage of the interval.
    """
    values = np.asarray(accuracy, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return Yield(float("nan"), 0.0, 1.0, 0, 0)
    # An accuracy is a ratio of counts: 9/10 must meet 0.9 although both are rounded.
    passed = int((values >= specification - 1e-9).sum())
    return Yield(passed / len(values), *clopper_pearson(passed, len(values), confidence), passed, len(values))


def summarise(
    model: str,
    condition: str,
    accuracy: NDArray[np.float64],
    nonfinite: NDArray[np.float64],
    specification: float,
) -> Summary:
    """The summary of one model under one condition; chips that were not run (NaN) are left out.

    Args:
        model: The network's name.
        condition: The level or profile.
        accuracy: Accuracy of each chip [K].
        nonfinite: Number of samples with non-finite outputs of each chip [K].
        specification: The accuracy that a good chip reaches, a fraction.
    """
    run = accuracy[~np.isnan(accuracy)]
    if not len(run):
        nan = float("nan")
        return Summary(model, condition, nan, nan, nan, nan, specification, chip_yield(run, specification), 0, 0)
    return Summary(
        model,
        condition,
        mean=float(run.mean()),
        std=float(run.std(ddof=1)) if len(run) > 1 else 0.0,
        minimum=float(run.min()),
        quantile05=float(np.quantile(run, 0.05)),
        specification=specification,
        chips_passed=chip_yield(run, specification),
        chips=len(run),
        nonfinite=int(np.nansum(nonfinite > 0)),
    )
