"""Weights made of entries: a whole number of connections, each as strong as the synapse type it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z
from snnrobust.hardware.stages.bias_generator import BiasGenerator
from snnrobust.hardware.stages.cores import Array, best_of, of_cores, parts, stored_by_core, unexplained
from snnrobust.hardware.stages.entries import Entries, choose

MULTIPLES = 16
"""Counts by which a size may be a multiple of a smaller one, in looking for a start."""
SAMPLE = 32
"""Neurons, evenly spaced over a core, on which the strengths are fitted: a few numbers from thousands of weights."""


@dataclass(frozen=True)
class PerType:
    """w' = sign(w) c a_t: c = 0, 1, 2, ... entries of one type t of the sign of w, of strength a_t on the whole core.

    Half of the types are excitatory, half inhibitory. A neuron has at most `budget` entries over all its synapses.
    Minimised is the squared error over the core: with the strengths given, the entries are chosen (entries.py); then
    the strengths are fitted by least squares; in turn, from several starts. So the smallest weights of a neuron that
    has too many are dropped. Strengths and counts are constant in gradients, also for what is dropped: a weight that
    grows in training comes back.

    DYNAP-SE: Moradi et al. 2018 (doi:10.1109/TBCAS.2017.2759700), 4 types, 64 entries (words of a memory). The types'
    different time constants are not modelled.

    Attributes:
        n_types: Synapse types, an even number.
        budget: Entries that a neuron has.
        cores: Neurons of the layer on each core in turn; None for all on one.
        generator: What makes the strengths, where these are not arbitrary.
    """

    n_types: int
    budget: int
    cores: tuple[int, ...] | None = None
    generator: BiasGenerator | None = None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The stored value."""
        return stored_by_core(theta, context, self.cores, self.stored)

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}

    def stored(self, weights: Array) -> Array:
        """Stored weights of one core."""
        found = self._entries(weights)
        values: Array = np.sign(weights) * found.number * found.size
        return values

    def codes(self, theta: Tensor, context: Context) -> dict[str, Tensor]:
        """The number of entries of each synapse as `code`, negative for an inhibitory type, and their `step`.

        And which of the types of its sign each uses, from 0.
        """

        def chosen(part: Callable[[Entries], NDArray[np.generic]]) -> Tensor:
            return of_cores(theta, context, self.cores, lambda w: part(self._entries(w)).astype(np.float64))

        return {
            "code": (torch.sign(theta.detach()) * chosen(lambda e: e.number)).int(),
            "step": chosen(lambda e: e.size),
            "type": chosen(lambda e: e.kind).int(),
        }

    def _entries(self, weights: Array) -> Entries:
        return choose(weights, self.strengths(weights), self.budget)

    def wanted(self, weights: Array) -> NDArray[np.int64]:
        """Entries that each neuron of a layer would take without a budget, for weights [N, S] of all its synapses."""
        cores = [weights[part] for part in parts(len(weights), self.cores)]
        counts = [choose(core, self.strengths(core)).number.sum(axis=1) for core in cores]
        return np.concatenate(counts).astype(np.int64)

    def strengths(self, weights: Array) -> Array:
        """Strengths [2, n_types / 2] of the types of one core: excitatory, inhibitory."""
        weights = weights[:: -(-len(weights) // SAMPLE)]
        sizes, sides = np.abs(weights), (weights < 0).astype(np.int64)
        kinds, prices = self.n_types // 2, np.zeros(len(weights))

        def improve(flat: Array) -> tuple[Array, float]:
            found = choose(weights, flat.reshape(2, kinds), self.budget, prices)
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
