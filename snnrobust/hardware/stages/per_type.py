"""Weights made of entries: a whole number of connections, each as strong as the synapse type it uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z
from snnrobust.hardware.stages.bias_generator import BiasGenerator
from snnrobust.hardware.stages.cores import Array, best_of, stored_by_core, unexplained

MULTIPLES = 16
"""Counts that a start is tried with; more are found by fitting."""


class Entries(NamedTuple):
    """What the synapses [n, S] of n neurons store.

    Attributes:
        number: Number of entries, 0 for no synapse.
        kind: Which of the types of its sign each synapse uses.
        size: Strength of one entry.
    """

    number: Array
    kind: NDArray[np.intp]
    size: Array


@dataclass(frozen=True)
class PerType:
    """w' = sign(w) c a_t: c = 0, 1, 2, ... entries of one type t of the sign of w, of strength a_t on the whole core.

    Half of the types are excitatory, half inhibitory. A neuron has at most `budget` entries over all its synapses.
    Minimised is the squared error over the core: with the strengths given, every synapse takes the entries that
    minimise (w - c a_t)^2 + price c, at the smallest price at which its neuron keeps the budget (Everett 1963,
    doi:10.1287/opre.11.3.399); then the strengths are fitted by least squares; in turn, from several starts. So the
    smallest weights of a neuron that has too many are dropped. Strengths and counts are constant in gradients, also
    for what is dropped: a weight that grows in training comes back.

    DYNAP-SE: Moradi et al. 2018 (doi:10.1109/TBCAS.2017.2759700), 4 types, 64 entries (words of a memory). The types'
    different time constants are not modelled.

    Attributes:
        n_types: Synapse types, an even number.
        budget: Entries that a neuron has.
        per_core: Neurons of one core; None for the whole layer on one.
        generator: What makes the strengths, where these are not arbitrary.
    """

    n_types: int
    budget: int
    per_core: int | None = None
    generator: BiasGenerator | None = None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The stored value."""
        return stored_by_core(theta, context, self.per_core, self.stored)

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}

    def stored(self, weights: Array) -> Array:
        """Stored weights of one core."""
        found = self.entries(weights, self.strengths(weights))
        values: Array = np.sign(weights) * found.number * found.size
        return values

    def wanted(self, weights: Array) -> NDArray[np.int64]:
        """Entries that each neuron of a layer would take without a budget, for weights [N, S] of all its synapses."""
        step = self.per_core or len(weights)
        parts = [weights[start : start + step] for start in range(0, len(weights), step)]
        counts = [self.entries(part, self.strengths(part), limited=False).number.sum(axis=1) for part in parts]
        return np.concatenate(counts).astype(np.int64)

    def entries(self, weights: Array, strengths: Array, *, limited: bool = True) -> Entries:
        """The entries of each synapse, with the budget or, where it is not `limited`, as many as come nearest."""
        sizes, sides = np.abs(weights), (weights < 0).astype(np.intp)
        free = _priced(sizes, sides, strengths, np.zeros((len(weights), 1)))
        over = free.number.sum(axis=1) > self.budget
        if not limited or not over.any():
            return free
        high = (sizes[over] ** 2).max(axis=1, keepdims=True)  # no entry gains more
        low = 1e-9 * high
        for _ in range(16):  # of nine decades, to 0.03 %
            middle = np.sqrt(low * high)
            fits = _priced(sizes[over], sides[over], strengths, middle).number.sum(axis=1, keepdims=True) <= self.budget
            low, high = np.where(fits, low, middle), np.where(fits, middle, high)
        price = np.zeros((len(weights), 1))
        price[over] = high
        return _priced(sizes, sides, strengths, price)

    def strengths(self, weights: Array) -> Array:
        """Strengths [2, n_types / 2] of the types of one core: excitatory, inhibitory."""
        sizes, sides = np.abs(weights), (weights < 0).astype(np.intp)
        kinds = self.n_types // 2

        def improve(flat: Array) -> tuple[Array, float]:
            found = self.entries(weights, flat.reshape(2, kinds))
            error = float(((sizes - found.number * found.size) ** 2).sum())
            which = (sides * kinds + found.kind).ravel()
            norm = np.bincount(which, (found.number**2).ravel(), 2 * kinds)
            product = np.bincount(which, (found.number * sizes).ravel(), 2 * kinds)
            return np.where(norm > 0, product / np.where(norm > 0, norm, 1.0), flat), error

        best = best_of(self._starts(weights), improve, most=12)
        if self.generator is not None:
            best = self.generator.rounded(best, float(best.max()))
        return best.reshape(2, kinds)

    def _starts(self, weights: Array) -> Iterator[Array]:
        """For each sign powers of a ratio down from a top, or sizes that multiples of smaller ones do not make."""
        kinds = self.n_types // 2
        signed = [np.sort(np.abs(weights[side])) for side in (weights > 0, weights < 0)]
        present = [sizes if sizes.size else np.ones(1) for sizes in signed]
        for quantile in (1.0, 0.9, 0.6):
            for ratio in (2.0, 4.0):
                tops = [np.quantile(sizes, quantile) for sizes in present]
                yield np.concatenate([top * ratio ** -np.arange(kinds) for top in tops])
        multiples = np.arange(1, MULTIPLES + 1)
        yield np.concatenate([unexplained(s, kinds, lambda a: np.outer(a, multiples).ravel()) for s in present])


def _priced(sizes: Array, sides: NDArray[np.intp], strengths: Array, price: Array) -> Entries:
    """Of each synapse the entries of least (size - c a)^2 + price c; a price for each neuron, [n, 1]."""
    best = Entries(np.zeros_like(sizes), np.zeros(sizes.shape, np.intp), strengths[sides, 0])
    least = sizes**2
    for kind in range(strengths.shape[1]):
        size = strengths[sides, kind]
        unit = np.maximum(size, 1e-6 * max(float(strengths.max()), np.finfo(float).tiny))
        count = np.maximum(np.rint((sizes - price / (2 * unit)) / unit), 0.0)
        cost = (sizes - count * unit) ** 2 + price * count
        better = (cost < least) | ((cost == least) & (count < best.number))  # of equal ones the fewest entries
        least = np.where(better, cost, least)
        best = Entries(
            np.where(better, count, best.number), np.where(better, kind, best.kind), np.where(better, unit, best.size)
        )
    return best
