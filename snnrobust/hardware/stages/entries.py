"""Compiled choice of entries: what each synapse of a neuron stores, with a budget for the neuron.

Of every synapse the count c and the type t are taken that minimise (|w| - c a_t)^2 + price c, at the smallest price at
which the neuron keeps its budget (Everett 1963, doi:10.1287/opre.11.3.399). Compiled because the strengths a_t are
fitted over some thirty such choices: ten times as fast as in numpy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnrobust.compiled import kernel, run_jobs

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
UNLIMITED = np.iinfo(np.int64).max
DECADES = 1e-9  # the smallest price that is tried, of the largest
CLOSE = 1.0004  # ratio of prices that are one
NEAR = 1.05  # how far from a neuron's last price the next is looked for at first
ALONE = 20_000
"""Synapses that are done before another thread has woken."""


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


def choose(weights: Array, strengths: Array, budget: int = UNLIMITED, prices: Array | None = None) -> Entries:
    """The entries of each synapse of weights [n, S], for strengths [2, kinds] (excitatory, inhibitory).

    Of equal choices the one of fewest entries is taken.

    Args:
        weights: Weights of all synapses of a neuron.
        strengths: Strengths of each sign's types.
        budget: Entries that a neuron has.
        prices: Each neuron's price [n] for strengths close to these, where it is looked for first; is overwritten.
    """
    weights = np.ascontiguousarray(weights)
    least = 1e-6 * max(float(strengths.max()), np.finfo(float).tiny)  # where no weight of a sign is left
    found = Entries(np.zeros(weights.shape), np.zeros(weights.shape, np.int64), np.zeros(weights.shape))
    prices = np.zeros(len(weights)) if prices is None else prices
    arguments = (weights, np.maximum(strengths, least), budget, *found, prices)
    if weights.size < ALONE:
        _choose(0, len(weights), *arguments)
    else:
        run_jobs(_choose, len(weights), *arguments)
    return found


@kernel
def _choose(
    start: int, stop: int, weights: Array, strengths: Array, budget: int, number: Array, kind: Indices, size: Array,
    prices: Array,
) -> None:  # fmt: skip
    """The choice of the neurons start .. stop - 1."""
    count = weights.shape[1]
    least, sizes, inhibits = np.empty(count), np.empty(count), np.empty(count, np.bool_)
    for n in range(start, stop):
        for s in range(count):
            sizes[s], inhibits[s] = abs(weights[n, s]), weights[n, s] < 0
        prices[n] = _price(sizes, inhibits, strengths, budget, prices[n], number[n], kind[n], least)
        for s in range(count):
            size[n, s] = strengths[1 if inhibits[s] else 0, kind[n, s]]


@kernel
def _price(
    sizes: Array, inhibits: Array, strengths: Array, budget: int, near: float, number: Array, kind: Indices,
    least: Array,
) -> float:  # fmt: skip
    """The smallest price at which a neuron keeps its budget, sought around `near` unless that is 0; with its choice."""
    if near == 0 and _priced(sizes, inhibits, strengths, 0.0, number, kind, least) <= budget:
        return 0.0
    high = float(np.max(sizes)) ** 2  # no entry gains more
    low, step = DECADES * high, np.inf if near == 0 else NEAR
    price = min(max(near, low), high) if near > 0 else math.sqrt(low * high)
    while high > CLOSE * low:
        total = _priced(sizes, inhibits, strengths, price, number, kind, least)
        if total == budget:
            return price
        low, high = (price, high) if total > budget else (low, price)
        price = min(max(math.sqrt(low * high), price / step), price * step)
        step *= step
    _priced(sizes, inhibits, strengths, high, number, kind, least)
    return high


@kernel
def _priced(
    sizes: Array, inhibits: Array, strengths: Array, price: float, number: Array, kind: Indices, least: Array
) -> int:
    """The choice of one neuron at a price; returns the number of its entries.

    One type after the other, without branches, so that several synapses are looked at in one instruction.
    """
    for s in range(len(sizes)):
        least[s], number[s], kind[s] = sizes[s] * sizes[s], 0.0, 0
    for t in range(strengths.shape[1]):
        a0, a1 = strengths[0, t], strengths[1, t]
        per0, per1, less0, less1 = 1 / a0, 1 / a1, price / (2 * a0), price / (2 * a1)
        for s in range(len(sizes)):
            w, there = sizes[s], inhibits[s]
            a, per, less = a1 if there else a0, per1 if there else per0, less1 if there else less0
            count = np.rint((w - less) * per)
            count = count if count > 0 else 0.0
            rest = w - count * a
            cost = rest * rest + price * count
            better = (cost < least[s]) | ((cost == least[s]) & (count < number[s]))
            least[s] = cost if better else least[s]
            number[s] = count if better else number[s]
            kind[s] = t if better else kind[s]
    total = 0
    for s in range(len(sizes)):
        total += int(np.int32(number[s]))  # whole numbers: a sum of floats would run one by one
    return total
