"""What is asked of a chip and of a batch of chips, and how many failures among simulated ones still show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError
from snnrobust.evaluation.statistics.yields import Yield, clopper_pearson, passes

Verdict = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """At least a share of all chips reaches an accuracy, said with some confidence.

    Attributes:
        accuracy: What a good chip reaches, a fraction (balanced accuracy where that counts on the task).
        share: The yield that is asked for, a fraction.
        confidence: Of each one-sided Clopper-Pearson bound.

    Raises:
        ConfigError: For a value outside its domain.
    """

    accuracy: float = 0.9
    share: float = 0.95
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy <= 1:
            raise ConfigError(f"accuracy: {self.accuracy} must be a fraction from 0 to 1")
        for name, value in (("yield", self.share), ("confidence", self.confidence)):
            if not 0.5 < value < 1:
                raise ConfigError(f"{name}: {value} must be a fraction above 0.5 and below 1")

    def passes(self, accuracy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which chips reach the accuracy, from that of each [K]."""
        return passes(accuracy, self.accuracy)

    def observed(self, passed: int, chips: int) -> Yield:
        """The yield of simulated chips between its two one-sided bounds, each of this confidence."""
        ends = clopper_pearson(passed, chips, 2 * self.confidence - 1)
        kind = f"one-sided {100 * self.confidence:g} % Clopper-Pearson bounds"
        return Yield(passed / chips, *ends, passed, chips, kind)

    def verdict(self, found: Yield) -> Verdict:
        """pass: the lower bound reaches the share; fail: the upper bound does not; else undecided."""
        if found.low >= self.share:
            return "pass"
        return "fail" if found.high < self.share else "undecided"

    def most_failures(self, chips: int) -> int:
        """The largest number of failing chips at which the lower bound still reaches the share.

        Raises:
            ConfigError: If not even a batch without failures would show it.
        """
        if self.verdict(self.observed(chips, chips)) != "pass":
            raise ConfigError(
                f"chips: {chips} cannot show a yield of {self.share:g} with {100 * self.confidence:g} % confidence; "
                f"at least {self.fewest_chips()} are needed"
            )
        low, high = 0, chips
        while high - low > 1:  # the bound falls with every failure
            middle = (low + high) // 2
            shown = self.observed(chips - middle, chips).low >= self.share
            low, high = (middle, high) if shown else (low, middle)
        return low

    def fewest_chips(self) -> int:
        """The least number of chips that can show the yield, none of them failing: share^n <= 1 - confidence."""
        return int(np.ceil(np.log(1 - self.confidence) / np.log(self.share) - 1e-9))

    def to_attrs(self) -> dict[str, float]:
        """The numbers as attributes of a group."""
        return {"required_accuracy": self.accuracy, "required_yield": self.share, "confidence": self.confidence}

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, object]) -> Requirement:
        """The requirement of such attributes."""
        names = ("required_accuracy", "required_yield", "confidence")
        accuracy, share, confidence = (float(str(attrs[name])) for name in names)
        return cls(accuracy=accuracy, share=share, confidence=confidence)

    def __str__(self) -> str:
        return f"at least {100 * self.share:g} % of chips reach {100 * self.accuracy:g} %"
