"""From rows to one value a device and level, and the read-out noise apart from what is frozen.

Trials of one device at one level differ by noise alone. Without trials, adjacent levels tell: the covariance of a
device's deviations at two levels is that of the frozen part, the rest of the variance is noise. With neither, noise and
frozen spread cannot be separated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snnrobust.hardware.measurement.components import Floats, MeanSquare, Places
from snnrobust.hardware.measurement.table import Device, Row

Scale = Literal["logarithm", "relative", "plain"]


@dataclass(frozen=True, eq=False)
class Readings:
    """One parameter's values, devices by levels.

    Attributes:
        levels: Names of the bias settings, in the order of their values.
        nominal: Value of each level: the median over devices, [L].
        values: Mean over trials of each device's value on the chosen scale, [N, L]; NaN where nothing was measured.
        counts: Number of trials, [N, L].
        scatter: Sum over trials of squared deviations from that mean, [N, L].
        places: Where each device is.
    """

    levels: tuple[str, ...]
    nominal: Floats
    values: Floats
    counts: Floats
    scatter: Floats
    places: Places

    def noise(self, level: int, devices: NDArray[np.bool_]) -> tuple[MeanSquare, float]:
        """Variance of one trial at a level, and the mean of 1 / trials; no degrees of freedom without repeats."""
        counts, scatter = self.counts[devices, level], self.scatter[devices, level]
        used = counts > 0
        df = float((counts[used] - 1).sum())
        variance = float(scatter[used].sum()) / df if df else math.nan
        return MeanSquare(variance, df), float((1 / counts[used]).mean())

    def reference(self) -> int:
        """The middle of the levels that most devices have."""
        measured = (self.counts > 0).sum(0)
        full = np.flatnonzero(measured == measured.max())
        return int(full[(len(full) - 1) // 2])


def readings(rows: Sequence[Row], scale: Scale) -> Readings:
    """Arrange one parameter's rows.

    Args:
        rows: Usable rows of one parameter.
        scale: `logarithm` of the value; `relative`, the value over the median of its level; `plain`, as it is.
    """
    devices: dict[Device, int] = {}
    names: dict[str, int] = {}
    for row in rows:
        devices.setdefault(row.device, len(devices))
        names.setdefault(row.bias, len(names))
    shape = len(devices), len(names)
    cell = np.array([devices[row.device] * shape[1] + names[row.bias] for row in rows])
    value = np.array([row.value for row in rows])
    nominal = np.nanmedian(_means(cell, value, shape), 0)
    if scale == "logarithm":
        value = np.log(value)
    elif scale == "relative":
        value = value / nominal[cell % shape[1]]
    means = _means(cell, value, shape)
    counts = np.bincount(cell, minlength=means.size).astype(np.float64).reshape(shape)
    squares = (value - means.reshape(-1)[cell]) ** 2
    scatter = np.bincount(cell, squares, means.size).astype(np.float64).reshape(shape)
    order = np.argsort(nominal, kind="stable")
    return Readings(
        tuple(list(names)[i] for i in order),
        nominal[order],
        means[:, order],
        counts[:, order],
        scatter[:, order],
        _places(rows, list(devices)),
    )


def adjacent_covariance(left: Floats, level: int, df: float) -> MeanSquare:
    """Mean covariance of a level's residuals with those of its neighbours, and the degrees of freedom it is worth.

    Those of a chi-square variable of the same variance: var(cov) = (s1^2 s2^2 + cov^2) / df for normal residuals, hence
    df cov^2 * 2 / (s1^2 s2^2 + cov^2) (Satterthwaite).

    Args:
        left: Residuals of devices measured at all levels, [N, L].
        level: Which level.
        df: Degrees of freedom of one level's residuals.
    """
    neighbours = [j for j in (level - 1, level + 1) if 0 <= j < left.shape[1]]
    own = float((left[:, level] ** 2).sum()) / df
    found, spread = [], []
    for j in neighbours:
        covariance = float(left[:, level] @ left[:, j]) / df
        other = float((left[:, j] ** 2).sum()) / df
        found.append(covariance)
        spread.append(own * other + covariance**2)
    mean = float(np.mean(found))
    worth = 2 * mean**2 * df / float(np.mean(spread)) if mean > 0 else 1.0
    return MeanSquare(max(mean, 0.0), max(worth, 1.0))


def _means(cell: NDArray[np.int64], value: Floats, shape: tuple[int, int]) -> Floats:
    """Mean of the values in each cell, NaN where there is none."""
    size = shape[0] * shape[1]
    with np.errstate(invalid="ignore"):
        means: Floats = (np.bincount(cell, value, size) / np.bincount(cell, minlength=size)).reshape(shape)
    return means


def _places(rows: Sequence[Row], devices: Sequence[Device]) -> Places:
    known = {row.device: row.place for row in rows}
    chips = {name: i for i, name in enumerate(dict.fromkeys(d.chip for d in devices))}
    layers = {name: i for i, name in enumerate(dict.fromkeys(d.layer for d in devices))}
    core = [d.core * len(layers) + layers[d.layer] for d in devices]
    xy = [known[d] or (math.nan, math.nan) for d in devices]
    return Places(np.array([chips[d.chip] for d in devices]), np.array(core), np.array(xy, dtype=np.float64))
