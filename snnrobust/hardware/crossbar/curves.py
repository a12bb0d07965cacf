"""Fitted functions of conductance and time, as profiles state them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from snnrobust.hardware.schema.crossbar import Curve, TablePoint

SMALLEST = 1e-7
"""Relative conductance below which logarithms and powers are those of this one, so that gradients are finite."""


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """sum_i c_i x^i."""
    total = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def curve(law: Curve, g: Tensor) -> Tensor:
    """A `Curve` at relative conductances g."""
    if law.poly is not None:
        return polynomial(g, law.poly)
    if law.split is not None and law.low is not None and law.high is not None:
        return torch.where(g < law.split, curve(law.low, g), curve(law.high, g))
    found: Tensor = (law.a_ln or 0.0) * g.clamp_min(SMALLEST).log() + (law.b or 0.0)
    return found.clamp(law.min, law.max)


def at_time(table: Sequence[TablePoint], time: float, g: Tensor) -> Tensor:
    """Polynomial of a table at relative conductances g; between two times linear in ln t, outside the nearest."""
    points = sorted(table, key=lambda point: point.time)
    values = [polynomial(g, point.coefficients) for point in points]
    later = next((n for n, point in enumerate(points) if point.time >= time), len(points) - 1)
    if later == 0 or time >= points[later].time:
        return values[later]
    first, last = (math.log(max(point.time, 1e-9)) for point in points[later - 1 : later + 1])
    share = (math.log(time) - first) / (last - first)
    return values[later - 1] * (1 - share) + values[later] * share
