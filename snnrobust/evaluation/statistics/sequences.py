"""Yield while chips are still being simulated: an interval that holds at every number of chips, and when to stop.

An interval for a fixed number of chips loses its guarantee when it is looked at again and again. The intervals of a
confidence sequence hold at all numbers at once: for the hypothesis "the yield is p", the beta-binomial mixture

    M_n(p) = B(a + s, a + n - s) / (B(a, a) p^s (1 - p)^(n - s)),     s of n chips passed, a = 1/2

is a martingale that starts at 1, so that it ever reaches 1 / alpha with probability at most alpha (Ville), and the
interval is { p : M_n(p) < 1 / alpha } (Robbins 1970, doi:10.1214/aoms/1177696786; Howard et al. 2021,
doi:10.1214/20-AOS1991).

Chips count in the order of their numbers, and only up to the first that was not run: which chips are finished first
may depend on how they behave (silent ones are fast).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

from snnrobust.errors import ConfigError
from snnrobust.evaluation.statistics.yields import Yield, passes

Verdict = Literal["pass", "fail", "reached", "undecided"]
PRIOR = 0.5
_HALVINGS = 50
_RULE = re.compile(r"(yield_width\s*=|yield\s*>=?)\s*([0-9.]+(?:e-?[0-9]+)?)")


def log_mixture(passed: ArrayLike, chips: ArrayLike, share: ArrayLike) -> NDArray[np.float64]:
    """ln M_n(p) of this module's formula, element by element.

    Args:
        passed: Chips s that passed.
        chips: Number n of chips.
        share: The yield p in question.
    """
    s, n, p = (np.asarray(value, dtype=np.float64) for value in (passed, chips, share))
    found: NDArray[np.float64] = (
        betaln(PRIOR + s, PRIOR + n - s) - betaln(PRIOR, PRIOR) - xlogy(s, p) - xlog1py(n - s, -p)
    )
    return found


def confidence_sequence(
    passed: ArrayLike, chips: ArrayLike, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the interval after n chips of which s passed, for every such pair; they hold for all n at once.

    Args:
        passed: Chips s that passed.
        chips: Number n of chips, of the same shape.
        confidence: That the yield lies in all intervals.

    Raises:
        ConfigError: If confidence is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} must be between 0 and 1")
    s, n = np.asarray(passed, dtype=np.float64), np.asarray(chips, dtype=np.float64)
    # ln M_n(p) is convex in p with its minimum at s / n; it reaches its limit where the likelihood is this small.
    least = betaln(PRIOR + s, PRIOR + n - s) - betaln(PRIOR, PRIOR) + math.log1p(-confidence)
    ends = []
    for outer in (0.0, 1.0):
        out, inside = np.full_like(s, outer), s / np.maximum(n, 1)
        outside = xlogy(s, out) + xlog1py(n - s, -out) <= least
        for _ in range(_HALVINGS):
            middle = (out + inside) / 2
            reached = xlogy(s, middle) + xlog1py(n - s, -middle) <= least
            out, inside = np.where(reached, middle, out), np.where(reached, inside, middle)
        ends.append(np.where(outside, out, outer))
    return ends[0], ends[1]


class Decision(NamedTuple):
    """What a sequential test came to.

    Attributes:
        verdict: "pass" or "fail" where the interval excludes the yield in question, "reached" where it is as narrow as
            was asked, "undecided" where there are not enough chips for that.
        reached: The yield of the chips that count, with the sequence's interval at the last of them.
    """

    verdict: Verdict
    reached: Yield


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When enough chips were simulated.

    Attributes:
        until: "yield_width=0.02", until the interval of the yield is at most that wide, or "yield>0.95", until it lies
            above or below that yield.
        specification: The accuracy that a good chip reaches, a fraction.
        confidence: Of the confidence sequence: a verdict pass or fail is wrong with at most the probability that is
            left.

    Raises:
        ConfigError: For a rule of another form, or a number outside (0, 1), or 0 to 1 for the specification.
    """

    until: str
    specification: float = 0.9
    confidence: float = 0.95

    def __post_init__(self) -> None:
        found = _RULE.fullmatch(self.until.strip())
        try:
            value = float(found.group(2)) if found else math.nan
        except ValueError:
            value = math.nan
        if not 0 < value < 1:
            raise ConfigError(
                f"until: {self.until!r} must be yield_width=w or yield>y with a fraction between 0 and 1, "
                "such as yield_width=0.02 or yield>0.95"
            )
        if not 0 <= self.specification <= 1:
            raise ConfigError(f"specification: {self.specification} must be a fraction from 0 to 1")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence: {self.confidence} must be between 0 and 1")

    @property
    def rule(self) -> tuple[Literal["width", "yield"], float]:
        """What is asked for, and its number."""
        found = _RULE.fullmatch(self.until.strip())
        kind, value = found.groups() if found else ("", "nan")
        return ("width" if kind.startswith("yield_width") else "yield"), float(value)

    def decide(self, accuracy: ArrayLike) -> Decision:
        """The verdict on chips [K] in the order of their numbers, NaN where one was not run.

        It falls at the first number of chips at which it can, whatever was run beyond, so that it does not depend on
        how the work was cut into blocks.
        """
        passed = passes(complete_prefix(accuracy), self.specification)
        n, s = np.arange(1, len(passed) + 1), np.cumsum(passed, dtype=np.int64)
        verdict, stop = self._first(s, n)
        low, high = confidence_sequence(s[stop - 1 : stop], n[stop - 1 : stop], self.confidence) if stop else ([0], [1])
        count = int(s[stop - 1]) if stop else 0
        text = f"{100 * self.confidence:g} % confidence sequence"
        share = count / stop if stop else math.nan
        return Decision(verdict, Yield(share, float(low[0]), float(high[0]), count, stop, text))

    def _first(self, s: NDArray[np.int64], n: NDArray[np.int64]) -> tuple[Verdict, int]:
        """The verdict, and the number of chips that it needed."""
        kind, value = self.rule
        if kind == "yield":
            out = log_mixture(s, n, value) >= -math.log1p(-self.confidence)
            if out.any():
                stop = int(out.argmax()) + 1
                return ("pass" if s[stop - 1] > value * stop else "fail"), stop
        elif len(n):
            low, high = confidence_sequence(s, n, self.confidence)
            narrow = high - low <= value
            if narrow.any():
                return "reached", int(narrow.argmax()) + 1
        return "undecided", len(n)


def complete_prefix(accuracy: ArrayLike) -> NDArray[np.float64]:
    """The accuracies [K] up to the first chip that was not run (NaN)."""
    values = np.asarray(accuracy, dtype=np.float64)
    missing = np.isnan(values)
    return values[: int(missing.argmax())] if missing.any() else values
