"""The chips that a specification is designed on: whether they meet a requirement, asked of the weakest first.

A requirement is met if at most a number m of the chips fails. That more fail is shown by m + 1 chips, and the chips
that fail with wide spreads are those that came closest to it with narrower ones, since their coordinates z are the
same. So a search over the size of the spreads asks a part of the chips, the weakest of the last time. Their "no" holds
for all chips. Their "yes" is a guess, and where the search ends all chips are asked; if they say no it goes on below.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.evaluation.analyses import Piece, anew
from snnrobust.evaluation.montecarlo import block_size
from snnrobust.evaluation.requirement import Requirement
from snnrobust.evaluation.scores import Scores, block_scores, deployed
from snnrobust.evaluation.statistics.yields import Yield
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.randomness import Purpose
from snnrobust.tasks import Split

SMALLEST, LARGEST = 1 / 64, 8.0
"""Ends of the search, in multiples of the profile's spread."""
PRECISION = 0.05
"""Relative width of a bracket at its end."""

Factors = Mapping[str, float]


def largest(holds: Callable[[float], bool], most: float = LARGEST) -> float:
    """The largest factor up to `most` that holds, by bisection of its logarithm; 0 where the smallest does not hold."""
    low = high = min(1.0, most)
    if holds(low):
        while low < most:
            high = min(2 * low, most)
            if not holds(high):
                break
            low = high
        else:
            return most
    else:
        while low > SMALLEST:
            low /= 2
            if holds(low):
                break
            high = low
        else:
            return 0.0
    while high > low * (1 + PRECISION):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class DesignChips:
    """A network on chips of a profile with other spreads.

    Attributes:
        net: The network.
        profile: The chip whose spreads factors multiply.
        data: Samples.
        metric: Which accuracy counts.
        requirement: What is asked of the chips.
        chips: Number of design chips.
        seed: Seed of the chips.
        deploy: Keywords of `Chip.deploy`.
        piece: Keeps what was simulated, in a file.
        known: What was simulated of design chips before, by factors.
    """

    net: Deployable
    profile: Profile
    data: Split
    metric: str
    requirement: Requirement
    chips: int
    seed: int
    deploy: Mapping[str, Any]
    piece: Piece = anew
    known: dict[tuple[tuple[str, float], ...], _Known] = field(default_factory=dict)

    def deployed(self, factors: Factors, purpose: Purpose, chips: int) -> Deployment:
        """The network on chips with these spreads."""
        return deployed(self.profile.scaled(factors), self.net, chips, self.seed, purpose, **self.deploy)

    def holds(self, factors: Factors) -> bool:
        """Whether the lower bound of the design chips' yield reaches the share; stops once it cannot."""
        return self._few_fail(self.at(factors), range(self.chips))

    def largest(self, spreads: Callable[[float], Factors], most: float = LARGEST) -> float:
        """The largest size up to `most` at which spreads hold: what `largest` gives, if larger ones fail more chips.

        Args:
            spreads: The factors of a size.
            most: Largest size.
        """
        weak: NDArray[np.int64] | None = None  # all chips, the weakest first; None until all were asked
        few = max(self.chips // 20, 4 * (self.requirement.most_failures(self.chips) + 1))
        least_bad = math.inf

        def asked(size: float, every: bool) -> bool:
            nonlocal weak, least_bad
            if size >= least_bad:
                return False
            known = self.at(spreads(size))
            order = np.arange(self.chips) if weak is None else weak
            found = self._few_fail(known, order if every or weak is None else order[:few])
            weak = known.weakest() if known.complete else weak if weak is None else known.weaker(weak)
            least_bad = least_bad if found else size
            return found

        while True:
            size = largest(lambda size: asked(size, every=False), most)
            if not size or asked(size, every=True):
                return size

    def observed(self, factors: Factors, purpose: Purpose = "validation", chips: int | None = None) -> Yield:
        """Yield of the design chips, or of others."""
        count = chips or self.chips
        design = (purpose, count) == ("validation", self.chips)
        known = self.at(factors) if design else self._nothing(factors, purpose, count)
        self._ask(known, range(count), count)
        return self.requirement.observed(int(self.requirement.passes(known.accuracy).sum()), count)

    def at(self, factors: Factors) -> _Known:
        """What is known of the design chips with these spreads."""
        key = tuple(sorted((role, factor) for role, factor in factors.items() if factor != 1))
        if key not in self.known:
            self.known[key] = self._nothing(factors, "validation", self.chips)
        return self.known[key]

    def _nothing(self, factors: Factors, purpose: Purpose, chips: int) -> _Known:
        """Chips of which none was simulated."""
        spreads = ",".join(f"{role}={factor!r}" for role, factor in sorted(factors.items()))
        unknown = np.full(chips, np.nan)
        return _Known(f"{purpose}/{chips}/{spreads}", unknown, unknown.copy(), self.deployed(factors, purpose, chips))

    def _few_fail(self, known: _Known, chips: Sequence[int] | NDArray[np.int64]) -> bool:
        """Whether no more of these chips fail than may fail of all; stops once it is known."""
        most = self.requirement.most_failures(self.chips)
        self._ask(known, chips, most)
        return self._failures(known) <= most

    def _ask(self, known: _Known, chips: Sequence[int] | NDArray[np.int64], most: int) -> None:
        """Simulate those of these chips that were not, until more than `most` fail."""
        left = [int(chip) for chip in chips if math.isnan(known.accuracy[chip])]
        size = block_size(self.net, self.data)

        def scored(block: Sequence[int]) -> dict[str, NDArray[Any]]:
            return block_scores(known.deployment, self.data, block, self.metric)._asdict()

        for start in range(0, len(left), size):
            if self._failures(known) > most:
                return
            block = left[start : start + size]
            numbers = hashlib.sha256(str(block).encode()).hexdigest()[:8]
            found = self.piece(f"{known.name}/{len(block)} chips {numbers}", partial(scored, block))
            known.enter(block, Scores(found["accuracy"], found["margin"]))

    def _failures(self, known: _Known) -> int:
        run = known.accuracy[~np.isnan(known.accuracy)]
        return len(run) - int(self.requirement.passes(run).sum())


@dataclass(frozen=True)
class _Known:
    """Scores of chips with one choice of spreads, NaN where a chip was not simulated."""

    name: str
    accuracy: NDArray[np.float64]
    margin: NDArray[np.float64]
    deployment: Deployment

    @property
    def complete(self) -> bool:
        """Whether all chips were simulated."""
        return not np.isnan(self.accuracy).any()

    def enter(self, block: Sequence[int], scores: Scores) -> None:
        """Enter the scores of some chips; a chip with a non-finite output is the weakest."""
        self.accuracy[list(block)] = scores.accuracy
        self.margin[list(block)] = np.nan_to_num(scores.margin, nan=-np.inf)

    def weakest(self) -> NDArray[np.int64]:
        """Numbers of all chips, those of the lowest scores first; NaN last."""
        return np.lexsort((self.margin, self.accuracy))

    def weaker(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """An order of all chips, with those that were simulated here in front, the weakest first."""
        ran = ~np.isnan(self.accuracy)
        here = [chip for chip in self.weakest().tolist() if ran[chip]]
        return np.array([*here, *(chip for chip in order.tolist() if not ran[chip])])
