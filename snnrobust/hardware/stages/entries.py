"""Compiled choice of entries: what each synapse of a neuron stores, with a budget for the neuron.

Of every synapse the count c and the type t are taken that minimise (|w| - c a_t)^2 + price c, at the smallest price at
which the neuron keeps its budget (Everett 1963, doi:10.1287/opre.11.3.399). Compiled because the strengths a_t are
fitted over some thirty such choices: ten times as fast as in numpy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnrobust.compiled import kernel, run_jobs

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
UNLIMITED = np.iinfo(np.int64).max
DECADES = 1e-9  # the smallest price that is tried, of the largest
HALVINGS = 16  # of nine decades: to 0.03 %


class Entries(NamedTuple):
    """What the synapses [n, S] of n neurons store.

    Attributes:
        number: Number of entries, 0 for no synapse.
        kind: Which of the types of its sign each synapse uses.
        size: Strength of one entry.
    """

    number: Array
    kind: Indices
    size: Array


def choose(weights: Array, strengths: Array, budget: int = UNLIMITED) -> Entries:
    """The entries of each synapse of weights [n, S], for strengths [2, kinds] (excitatory, inhibitory).

    Of equal choices the one of fewest entries is taken.
    """
    weights = np.ascontiguousarray(weights)
    least = 1e-6 * max(float(strengths.max()), np.finfo(float).tiny)  # where no weight of a sign is left
    found = Entries(np.zeros(weights.shape), np.zeros(weights.shape, np.int64), np.zeros(weights.shape))
    run_jobs(_choose, len(weights), weights, np.maximum(strengths, least), budget, *found)
    return found


@kernel
def _choose(
    start: int, stop: int, weights: Array, strengths: Array, budget: int, number: Array, kind: Indices, size: Array
) -> None:
    """The choice of the neurons start .. stop - 1."""
    for n in range(start, stop):
        if _priced(weights[n], strengths, 0.0, number[n], kind[n], size[n]) <= budget:
            continue
        high = np.max(np.abs(weights[n])) ** 2  # no entry gains more
        low = DECADES * high
        for _ in range(HALVINGS):
            middle = np.sqrt(low * high)
            total = _priced(weights[n], strengths, middle, number[n], kind[n], size[n])
            if total > budget:
                low = middle
            else:
                high = middle
            if total == budget:
                break
        _priced(weights[n], strengths, high, number[n], kind[n], size[n])


@kernel
def _priced(weights: Array, strengths: Array, price: float, number: Array, kind: Indices, size: Array) -> float:
    """The choice of one neuron at a price; returns the number of its entries."""
    total = 0.0
    for s in range(len(weights)):
        w = abs(weights[s])
        side = 1 if weights[s] < 0 else 0
        least, best, which = w * w, 0.0, 0
        for t in range(strengths.shape[1]):
            a = strengths[side, t]
            count = max(np.rint((w - price / (2 * a)) / a), 0.0)
            rest = w - count * a
            cost = rest * rest + price * count
            if cost < least or (cost == least and count < best):
                least, best, which = cost, count, t
        number[s], kind[s], size[s] = best, which, strengths[side, which]
        total += best
    return total
