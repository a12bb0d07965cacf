"""Intervals with outward rounding: what floating-point numbers may be, whoever computes them and in whatever order.

A sum of products, evaluated with at most n roundings on the way of any of its terms, differs from its exact value by at
most gamma_n = n u / (1 - n u) times the sum of the terms' magnitudes, in any order (Higham 2002, section 3.1,
doi:10.1137/1.9780898718027), u being the unit roundoff. Ends are computed in float64 and moved outward by that bound
for the network's own precision, and twice that for float64, for our ends and for the sum of magnitudes. So an interval
holds the exact value and every value that the network computes, in any order, with or without fused multiplications.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

UNITS = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
"""Unit roundoff of each precision."""
_UNDERFLOW = 2.0**-120  # products below the normal range of float32 lose digits


class Interval(NamedTuple):
    """low <= value <= high, element by element, in float64; the tensors broadcast against each other."""

    low: Tensor
    high: Tensor

    def size(self) -> Tensor:
        """The largest magnitude in it."""
        return torch.maximum(self.low.abs(), self.high.abs())


def point(value: Tensor) -> Interval:
    """An interval of one value."""
    return Interval(value, value)


def hull(*parts: Interval) -> Interval:
    """The smallest interval that holds all."""
    low, high = parts[0]
    for part in parts[1:]:
        low, high = torch.minimum(low, part.low), torch.maximum(high, part.high)
    return Interval(low, high)


@dataclass(frozen=True)
class Rounding:
    """How a layer computes.

    Attributes:
        unit: Unit roundoff of its precision.
        terms: Most roundings on the way of any term of its input current.
    """

    unit: float
    terms: int = 8

    def outward(self, value: Interval, size: Tensor, roundings: int) -> Interval:
        """Ends as computed in float64, moved outward for an expression.

        Args:
            value: The ends.
            size: Sum of the magnitudes of the expression's terms.
            roundings: Most roundings on the way of any term.
        """
        error = (_gamma(roundings, self.unit) + 2 * _gamma(roundings, UNITS[torch.float64])) * size + _UNDERFLOW
        return Interval(value.low - error, value.high + error)

    def total(self, *parts: Interval, roundings: int | None = None) -> Interval:
        """The sum; of what belongs to an input current where the number of roundings is not given."""
        low, high, size = parts[0].low, parts[0].high, parts[0].size()
        for part in parts[1:]:
            low, high, size = low + part.low, high + part.high, size + part.size()
        return self.outward(Interval(low, high), size, self.terms if roundings is None else roundings)

    def product(self, a: Interval, b: Interval) -> Interval:
        """The product, element by element."""
        ends = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high]
        return self.outward(hull(*map(point, ends)), a.size() * b.size(), 2)

    def mixed(self, start: Interval, target: Interval, share: Interval, size: Tensor) -> Interval:
        """(1 - share) start + share target, for shares in [0, 1]: linear in the share, so its ends decide.

        Args:
            start: Where the variable is.
            target: Where it goes.
            share: Of the distance, what it covers.
            size: Sum of the magnitudes of the terms that the target is a sum of.
        """
        ends = [
            Interval((1 - a) * start.low + a * target.low, (1 - a) * start.high + a * target.high)
            for a in (share.low.clamp(0, 1), share.high.clamp(0, 1))
        ]
        return self.outward(hull(*ends), 2 * start.size() + size, 8)

    def weighted(self, x: Interval, weight: Interval) -> Interval:
        """x [.., I] times weight^T of [N, I], for x >= 0."""
        low = x.low @ weight.low.clamp_min(0).mT + x.high @ weight.low.clamp_max(0).mT
        high = x.high @ weight.high.clamp_min(0).mT + x.low @ weight.high.clamp_max(0).mT
        return self.outward(Interval(low, high), x.size() @ weight.size().mT, self.terms)

    def weighted_point(self, x: Tensor, weight: Interval) -> Interval:
        """x [.., I] times weight^T of [N, I], for one x of any sign."""
        above, below = x.clamp_min(0), x.clamp_max(0)
        low = above @ weight.low.mT + below @ weight.high.mT
        high = above @ weight.high.mT + below @ weight.low.mT
        return self.outward(Interval(low, high), x.abs() @ weight.size().mT, self.terms)


def _gamma(roundings: int, unit: float) -> float:
    return roundings * unit / (1 - roundings * unit)


def chosen(o: Interval, absent: Interval, present: Interval) -> Interval:
    """`present` where the event o in {0, 1} is certain, `absent` where it is excluded, else the hull of both."""
    either = hull(absent, present)
    low = torch.where(o.low == 1, present.low, torch.where(o.high == 0, absent.low, either.low))
    high = torch.where(o.low == 1, present.high, torch.where(o.high == 0, absent.high, either.high))
    return Interval(low, high)
