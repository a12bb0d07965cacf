"""Conductances of a crossbar's devices over target and time, for figures: the array's functions, on numpy's arrays.

g is in microsiemens, times are in s after programming, z is standard normal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from snnrobust.hardware.crossbar import curves, drift, programming, read_noise

if TYPE_CHECKING:
    from snnrobust.hardware.schema.crossbar import Crossbar, Curve

Array = NDArray[np.float64]

YEAR = 365.25 * 86400.0


def curve(law: Curve, g_rel: Array) -> Array:
    """A `Curve` at relative conductances."""
    return _array(curves.curve(law, _tensor(g_rel)))


def programming_sigma(crossbar: Crossbar, g: Array) -> Array:
    """Standard deviation of the conductance right after programming, microsiemens."""
    without = crossbar.model_copy(update={"drift": None})
    return _array(programming.programming_sigma(_tensor(g), without, 0.0))


def table_sigma(crossbar: Crossbar, g: Array, time: float) -> Array:
    """Total standard deviation around the target at a time of `drift.table`, microsiemens."""
    return _array(programming.programming_sigma(_tensor(g), crossbar, time))


def read_sigma(crossbar: Crossbar, g: Array, time: float) -> Array:
    """Standard deviation of one read of a device of conductance g, microsiemens."""
    return _array(read_noise.read_sigma(_tensor(g), _tensor(g), crossbar, time))


def drift_times(crossbar: Crossbar) -> Array:
    """Times at which the drift is known: those of its table, or from 1 s to 1 year."""
    if crossbar.drift is not None and crossbar.drift.table is not None:
        return np.array(sorted(point.time for point in crossbar.drift.table))
    return np.geomspace(1.0, YEAR, 60)


def drifted(crossbar: Crossbar, target: float, time: float, z_programming: Array, z_drift: Array) -> Array:
    """Conductances of devices that were programmed to `target`, after `time`; one device a coordinate."""
    goal = torch.full((len(z_programming),), target, dtype=torch.float64)
    sigma = programming.programming_sigma(goal, crossbar, time)
    g = programming.programmed(goal, sigma, _tensor(z_programming), crossbar)
    moved = drift.drifted(g, goal, _tensor(z_drift), crossbar, time)
    bounds = crossbar.drift.clip if crossbar.drift is not None else None
    return _array(moved if bounds is None else moved.clamp(*bounds))


def _tensor(x: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(x, dtype=np.float64))


def _array(x: torch.Tensor) -> Array:
    found: Array = x.numpy()
    return found
