"""From accuracies of simulated chips to numbers that a decision can rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri  # scipy.stats would add a second to every start

from snnrobust.errors import ConfigError, unknown
from snnrobust.evaluation.statistics.quantiles import MOST_EXACT, dkw_band, quantile, simultaneous_confidence

Side = Literal["two-sided", "lower", "upper"]
"""Which ends of an interval are bounds: both, or one, with the other end at 0 or 1."""
Method = Literal["Clopper-Pearson", "Wilson"]
_SHOWN = 5  # numbers of chips in a line


class Yield(NamedTuple):
    """Share of chips at or above one absolute specification.

    Attributes:
        share: passed / chips.
        low: Lower end of the interval.
        high: Upper end.
        passed: Chips that meet the specification.
        chips: Chips that were simulated.
        interval: What the interval is, such as "two-sided 95 % Clopper-Pearson interval".
    """

    share: float
    low: float
    high: float
    passed: int
    chips: int
    interval: str = "two-sided 95 % Clopper-Pearson interval"

    def without_interval(self) -> Yield:
        """The same share where no interval holds, from 0 to 1: the number of chips was not fixed beforehand."""
        return self._replace(low=0.0, high=1.0, interval="no interval")


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
        nonfinite: Chips that gave a non-finite output in some sample; those samples count as wrong, and in yields these
            chips fail.
        quantile05_bounds: Distribution-free two-sided 95 % bounds of the 5 % quantile; infinite where too few chips
            resolve it.
        nominal: Accuracy of the network as it was trained, on no chip; NaN where it is not known.
        drop: What a chip may lose of it.
        chips_near_nominal: Yield at `nominal - drop`; None where the nominal accuracy is not known.
        resampled: Approximate two-sided 95 % interval of the yield at the specification where the test samples are
            drawn anew, too (`resampling.two_way_interval`); None where it is not known which samples a chip got right.
        verdict: What a sequential test of the yield came to, "" where there was none.
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
    quantile05_bounds: tuple[float, float] = (-math.inf, math.inf)
    nominal: float = math.nan
    drop: float = math.nan
    chips_near_nominal: Yield | None = None
    resampled: tuple[float, float] | None = None
    verdict: str = ""


def clopper_pearson(passed: int, chips: int, confidence: float = 0.95, side: Side = "two-sided") -> tuple[float, float]:
    """The interval of a binomial share, of at least this coverage for any share (Clopper and Pearson 1934).

    Args:
        passed: Successes.
        chips: Trials, at least 1.
        confidence: Coverage.
        side: "two-sided", or "lower" or "upper" for that bound alone.

    Raises:
        ConfigError: If passed is not in 0 .. chips, confidence not in (0, 1), or side unknown.
    """
    tail = _tail(passed, chips, confidence, side)
    low = betaincinv(passed, chips - passed + 1, tail) if passed and side != "upper" else 0.0
    high = betaincinv(passed + 1, chips - passed, 1 - tail) if passed < chips and side != "lower" else 1.0
    return float(low), float(high)


def wilson(passed: int, chips: int, confidence: float = 0.95, side: Side = "two-sided") -> tuple[float, float]:
    """The score interval of a binomial share (Wilson 1927): shorter, of this coverage only on average over shares.

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
        passed: Successes.
        chips: Trials n, at least 1.
        confidence: Coverage.
        side: "two-sided", or "lower" or "upper" for that bound alone.

    Raises:
        ConfigError: If passed is not in 0 .. chips, confidence not in (0, 1), or side unknown.
    """
    z, p = float(ndtri(1 - _tail(passed, chips, confidence, side))), passed / chips
    middle = (p + z * z / (2 * chips)) / (1 + z * z / chips)
    half = z * math.sqrt(p * (1 - p) / chips + z * z / (4 * chips**2)) / (1 + z * z / chips)
    low = max(0.0, middle - half) if passed and side != "upper" else 0.0
    return low, min(1.0, middle + half) if passed < chips and side != "lower" else 1.0


def chip_yield(
    accuracy: Sequence[float] | NDArray[np.float64],
    specification: float,
    confidence: float = 0.95,
    *,
    side: Side = "two-sided",
    method: Method = "Clopper-Pearson",
    simultaneous: bool = False,
) -> Yield:
    """Yield of chips at one absolute specification; NaN (a chip that was not run) does not count.

    Args:
        accuracy: Accuracy of each chip [K].
        specification: The accuracy that a good chip reaches, a fraction.
        confidence: Coverage of the interval.
        side: "two-sided", or "lower" or "upper" for that bound alone.
        method: "Clopper-Pearson", which is guaranteed, or "Wilson", which is shorter.
        simultaneous: Whether the intervals at all specifications are to hold at once, so that the specification may be
            chosen after looking at the accuracies (two-sided Clopper-Pearson intervals of a higher confidence,
            `quantiles.simultaneous_confidence`; beyond 2,000 chips the band of Dvoretzky, Kiefer and Wolfowitz).

    Raises:
        ConfigError: For an argument outside its domain.
    """
    if method not in get_args(Method):
        raise ConfigError(unknown("method", method, get_args(Method)))
    if simultaneous and (method, side) != ("Clopper-Pearson", "two-sided"):
        raise ConfigError(f"simultaneous: needs two-sided Clopper-Pearson, not {side} {method}")
    values = np.asarray(accuracy, dtype=np.float64)
    values = values[~np.isnan(values)]
    text = f"{side if side == 'two-sided' else f'one-sided ({side})'} {100 * confidence:g} % {method} interval"
    if simultaneous:
        text = f"two-sided {100 * confidence:g} % interval for all specifications at once"
    if not len(values):
        return Yield(float("nan"), 0.0, 1.0, 0, 0, text)
    passed, chips = int(passes(values, specification).sum()), len(values)
    if simultaneous and chips > MOST_EXACT:
        share, half = passed / chips, dkw_band(chips, confidence)
        return Yield(share, max(0.0, share - half), min(1.0, share + half), passed, chips, text)
    at_each = simultaneous_confidence(chips, confidence) if simultaneous else confidence
    ends = (clopper_pearson if method == "Clopper-Pearson" else wilson)(passed, chips, at_each, side)
    return Yield(passed / chips, *ends, passed, chips, text)


def passes(accuracy: ArrayLike, specification: float) -> NDArray[np.bool_]:
    """Which chips reach the specification."""
    # An accuracy is a ratio of counts: 9/10 must meet 0.9 although both are rounded.
    return np.asarray(accuracy, dtype=np.float64) >= specification - 1e-9


def counted(accuracy: NDArray[np.float64], nonfinite: NDArray[np.float64]) -> NDArray[np.float64]:
    """Accuracies by which chips pass: -inf, which meets no specification, where a chip's outputs are not all finite.

    Args:
        accuracy: Accuracy of each chip, samples with non-finite outputs counted as wrong.
        nonfinite: Number of these samples.
    """
    return np.where(nonfinite > 0, -np.inf, accuracy)


def named(chips: NDArray[np.int64]) -> str:
    """The numbers of some chips in words, the first few of many."""
    shown = ", ".join(map(str, chips[:_SHOWN]))
    more = f" and {len(chips) - _SHOWN:,} more" if len(chips) > _SHOWN else ""
    return f"chip{'s' if len(chips) > 1 else ''} {shown}{more}"


def summarise(
    model: str,
    condition: str,
    accuracy: NDArray[np.float64],
    nonfinite: NDArray[np.float64],
    specification: float,
    *,
    nominal: float = math.nan,
    drop: float = 0.02,
    simultaneous: bool = False,
) -> Summary:
    """The summary of one model under one condition; chips that were not run (NaN) are left out.

    Args:
        model: The network's name.
        condition: The level or profile.
        accuracy: Accuracy of each chip [K].
        nonfinite: Number of samples with non-finite outputs of each chip [K].
        specification: The accuracy that a good chip reaches, a fraction.
        nominal: Accuracy of the network on no chip; NaN where it is not known.
        drop: What a chip may lose of it, a fraction, in the second yield.
        simultaneous: Whether the intervals of yields are to hold at all specifications at once.
    """
    run, by = accuracy[~np.isnan(accuracy)], counted(accuracy, nonfinite)
    second = None if math.isnan(nominal) else chip_yield(by, nominal - drop, simultaneous=simultaneous)
    if not len(run):
        nan = float("nan")
        return Summary(
            model, condition, nan, nan, nan, nan, specification,
            chip_yield(by, specification, simultaneous=simultaneous), 0, 0,
            nominal=nominal, drop=drop, chips_near_nominal=second,
        )  # fmt: skip
    return Summary(
        model,
        condition,
        mean=float(run.mean()),
        std=float(run.std(ddof=1)) if len(run) > 1 else 0.0,
        minimum=float(run.min()),
        quantile05=float(np.quantile(run, 0.05)),
        specification=specification,
        chips_passed=chip_yield(by, specification, simultaneous=simultaneous),
        chips=len(run),
        nonfinite=int(np.nansum(nonfinite > 0)),
        quantile05_bounds=quantile(run, 0.05)[1:3],
        nominal=nominal,
        drop=drop,
        chips_near_nominal=second,
    )


def _tail(passed: int, chips: int, confidence: float, side: str) -> float:
    """The probability that lies beyond each bound."""
    if not (0 <= passed <= chips and chips >= 1):
        raise ConfigError(f"passed: {passed} must be 0 .. {chips}")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} must be between 0 and 1")
    if side not in get_args(Side):
        raise ConfigError(unknown("side", side, get_args(Side)))
    return (1 - confidence) / (2 if side == "two-sided" else 1)
