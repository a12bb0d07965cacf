"""Conductances of a crossbar's devices over target and time, for figures: plain functions on arrays.

g is in microsiemens, times are in s after programming, z is standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from snnrobust.hardware.schema_crossbar import Crossbar, Curve, ReadNoise

Array = NDArray[np.float64]

YEAR = 365.25 * 86400.0
_SMALLEST = np.finfo(np.float64).tiny


def curve(law: Curve, g_rel: Array) -> Array:
    """A `Curve` at relative conductances: clip(a_ln ln g + b, min, max), a polynomial, or one of the two by g."""
    if law.poly is not None:
        return _polynomial(law.poly, g_rel)
    if law.low is not None and law.high is not None and law.split is not None:
        return np.where(g_rel < law.split, curve(law.low, g_rel), curve(law.high, g_rel))
    line = (law.a_ln or 0.0) * np.log(np.maximum(g_rel, _SMALLEST)) + (law.b or 0.0)
    return np.clip(line, law.min, law.max)


def programming_sigma(crossbar: Crossbar, g: Array) -> Array:
    """Standard deviation of the programmed conductance, microsiemens (`schema_crossbar.Programming`)."""
    law = crossbar.programming
    if law is None:
        return np.zeros_like(g)
    x = g / crossbar.g_max if law.variable == "g_rel" else g
    scale = crossbar.g_max / (law.g_max_ref or crossbar.g_max)
    return np.maximum(_polynomial(law.coefficients, x) * scale, 0)


def table_sigma(crossbar: Crossbar, g: Array, time: float) -> Array:
    """Total standard deviation around the target at a time of `drift.table`, microsiemens.

    Raises:
        KeyError: If the table does not have this time.
    """
    points = crossbar.drift.table if crossbar.drift is not None else None
    rows = {point.time: point.coefficients for point in points or ()}
    return np.maximum(_polynomial(rows[time], g / crossbar.g_max), 0)


def read_sigma(crossbar: Crossbar, g: Array, time: float) -> Array:
    """Standard deviation of one read of a device of conductance g, microsiemens (`schema_crossbar.ReadNoise`).

    The clock of 1/f noise starts when programming does, t0 before it ends.
    """
    law = crossbar.read_noise
    if law is None or law.model == "none":
        return np.zeros_like(g)
    if law.model == "constant":
        return np.full_like(g, (law.relative_to_w_max or 0.0) * (crossbar.g_max - crossbar.g_min))
    start = crossbar.drift.t0 if crossbar.drift is not None and crossbar.drift.t0 is not None else 0.0
    t_read = law.t_read or math.inf
    growth = math.sqrt(max(math.log((time + start + t_read) / (2 * t_read)), 0.0))
    single = (law.k or 0.0) * np.log10(np.maximum(g, 1.0)) if law.model == "log10_g" else g * _q(crossbar, law, g)
    return np.multiply(single, growth)


def _q(crossbar: Crossbar, law: ReadNoise, g: Array) -> Array:
    """Q of 1/f noise: the curve, or min(coefficient g^(-exponent), q_max)."""
    g_rel = np.maximum(g / crossbar.g_max, _SMALLEST)
    if law.q is not None:
        return curve(law.q, g_rel)
    falling = (law.coefficient or 0.0) * np.power(g_rel, -(law.exponent or 0.0))
    return np.minimum(falling, math.inf if law.q_max is None else law.q_max)


def drift_times(crossbar: Crossbar) -> Array:
    """Times at which the drift is known: those of its table, or from 1 s to 1 year."""
    if crossbar.drift is not None and crossbar.drift.table is not None:
        return np.array(sorted(point.time for point in crossbar.drift.table))
    return np.geomspace(1.0, YEAR, 60)


def drifted(crossbar: Crossbar, target: float, time: float, z_programming: Array, z_drift: Array) -> Array:
    """Conductances of devices that were programmed to `target`, after `time`; one device a coordinate.

    power_law: g ((t + t0) / t0)^(-nu), nu of each device its own; log_shift and table: see `schema_crossbar.Drift`.
    """
    goal = np.full_like(z_programming, target)
    programmed = goal + programming_sigma(crossbar, goal) * z_programming
    if crossbar.programming is None or crossbar.programming.clip_zero:
        programmed = np.maximum(programmed, 0)
    law = crossbar.drift
    if law is None or law.model == "none":
        return programmed
    if law.model == "table":
        return np.maximum(goal + table_sigma(crossbar, goal, time) * z_programming, 0)
    if law.model == "log_shift" and law.std is not None:
        elapsed = math.log(max(time, 1.0))
        spread = law.std.per_ln_t * elapsed + law.std.b
        low, high = law.clip or (None, None)
        moved = programmed + (law.mean_per_ln_t or 0.0) * elapsed + spread * z_drift
        return np.clip(moved, -math.inf if low is None else low, math.inf if high is None else high)
    if law.nu_mean is None or law.nu_std is None or law.t0 is None:
        return programmed
    g_rel = goal / crossbar.g_max
    drawn = curve(law.nu_mean, g_rel) + curve(law.nu_std, g_rel) * z_drift
    nu = np.abs(drawn) if law.rectify == "abs" else drawn
    left: Array = programmed * ((time + law.t0) / law.t0) ** -nu
    return left


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """sum_i coefficients_i x^i."""
    total = np.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total
