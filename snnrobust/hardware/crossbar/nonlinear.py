"""Crossbars whose cells are not ohmic: the exact operating point, an oracle for small arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware.crossbar.wires import SIEMENS, OperatingPoint, drop_matrix, factorised, solve

Floats = NDArray[np.float64]

_STEPS = 50
_RESIDUAL = 1e-13  # of the largest current in a line; rounding leaves about 1e-15


def iv(g: Floats, v: Floats, a2: float, a3: float) -> Floats:
    """Current through a cell: I = g v (1 + a2 v + a3 v^2).

    Args:
        g: Conductance at small voltage, microsiemens.
        v: Voltage over the cell, V; broadcasts with g.
        a2: Per V; not 0 where the cell conducts better in one direction.
        a3: Per V^2.

    Returns:
        Current, microampere.
    """
    current: Floats = g * v * (1 + v * (a2 + a3 * v))
    return current


def secant_conductance(g: Floats, v_read: float, a2: float, a3: float) -> Floats:
    """I/v of a cell at the read voltage: g (1 + a2 v + a3 v^2), microsiemens.

    With pulses of one height, which code their input in number or width, a cell is exactly linear with this
    conductance where the wires drop no voltage.
    """
    conductance: Floats = g * (1 + v_read * (a2 + a3 * v_read))
    return conductance


def solve_nonlinear(v: Floats, g: Floats, *, r_word: float, r_bit: float, a2: float, a3: float) -> OperatingPoint:
    """The operating point of a crossbar of cells I = g v (1 + a2 v + a3 v^2), by Newton's iteration on the drops.

    Starts from the linear crossbar. The cell's current must rise with its voltage between 0 and the applied voltages,
    1 + 2 a2 v + 3 a3 v^2 > 0: then there is one operating point, and every cell's voltage lies in that range.

    Args:
        v: Voltages at the word lines [M], V.
        g: Conductances at small voltage [M, N], microsiemens.
        r_word: Resistance of word line a cell, ohm.
        r_bit: Resistance of bit line a cell, ohm.
        a2: Per V.
        a3: Per V^2.

    Returns:
        Voltages and currents. Kirchhoff's current law holds to 1e-13 of the largest current in a line.

    Raises:
        ConfigError: If a conductance or a resistance is negative or not finite, the cell's current does not rise, or
            the iteration does not converge.
        ShapeError: If the shapes do not fit.
    """
    v, g = np.asarray(v, dtype=np.float64), np.asarray(g, dtype=np.float64)
    if v.ndim != 1:
        raise ShapeError(f"v: shape {list(v.shape)} must be [M]: one set of voltages at a time")
    linear = solve(v, g, r_word=r_word, r_bit=r_bit)
    _check_rising(v, a2, a3)
    wires = drop_matrix(np.zeros_like(g), r_word, r_bit)
    resistance = np.repeat([r_word, r_bit], g.size) * SIEMENS
    drops = np.concatenate(((v[:, None] - linear.word).ravel(), linear.bit.ravel()))
    for _ in range(_STEPS):
        lost, gained = drops.reshape(2, *g.shape)
        cell = v[:, None] - lost - gained
        device = iv(g, cell, a2, a3)
        residual = wires @ drops - resistance * np.tile(device.ravel(), 2)
        largest = max(np.abs(device.sum(0)).max(), np.abs(device.sum(1)).max())
        if np.all(np.abs(residual) <= _RESIDUAL * resistance * largest):
            return OperatingPoint(v[:, None] - lost, gained, device, device.sum(0))
        slope = g * (1 + cell * (2 * a2 + 3 * a3 * cell))
        drops = drops - factorised(slope, r_word, r_bit).solve(residual)
    raise ConfigError(f"a2, a3: no operating point was found in {_STEPS} steps at a2 = {a2}, a3 = {a3}")


def _check_rising(v: Floats, a2: float, a3: float) -> None:
    """Raise where the slope 1 + 2 a2 v + 3 a3 v^2 is not positive between 0 and the voltages v."""
    low, high = min(0.0, float(v.min())), max(0.0, float(v.max()))
    lowest = -a2 / (3 * a3) if a3 > 0 else low
    for voltage in (low, high, min(max(lowest, low), high)):
        slope = 1 + 2 * a2 * voltage + 3 * a3 * voltage**2
        if not 0 < slope < math.inf:
            raise ConfigError(f"a2, a3: {a2}, {a3}: the current must rise with the voltage, but not at {voltage:g} V")
