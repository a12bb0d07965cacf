"""Drift and retention: how conductances move between programming and use."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.curves import curve
from snnrobust.hardware.schema.crossbar import Crossbar, Drift


def moves(crossbar: Crossbar, time: float) -> bool:
    """Whether conductances have moved by themselves at a time in s; a table's spread is part of programming."""
    drift = crossbar.drift
    return drift is not None and time > 0 and drift.model in ("power_law", "log_shift")


def drifted(g: Tensor, target: Tensor, z: Tensor | None, crossbar: Crossbar, time: float) -> Tensor:
    """Conductance in microsiemens at a time in s after programming; z is one for each device over all times.

        power_law   g ((t + t0) / t0)^(-nu),  nu = |nu_mean(x) + nu_std(x) z|,  x = target / g_max
        log_shift   g + m ln t + (a ln t + b) z; times below 1 s count as 1 s

    The bounds `clip` are those of what is read, and so come after the noise of the read.

    Nandakumar et al. 2019 (doi:10.1109/ICECS46596.2019.8964852) for PCM; Falcone et al. 2025 (arXiv 2502.04524).
    """
    drift = crossbar.drift
    if drift is None or not moves(crossbar, time):
        return g
    if drift.model == "log_shift":
        return _shifted(g, z, drift, time)
    nu = _exponent(target / crossbar.g_max, z, drift)
    return g * torch.exp(-math.log1p(time / (drift.t0 or math.inf)) * nu)


def _exponent(relative: Tensor, z: Tensor | None, drift: Drift) -> Tensor:
    if drift.nu_mean is None or drift.nu_std is None:
        return torch.zeros_like(relative)
    nu = curve(drift.nu_mean, relative)
    if z is not None:
        nu = nu + curve(drift.nu_std, relative) * z.to(relative.dtype)
    return nu.abs() if drift.rectify == "abs" else nu


def _shifted(g: Tensor, z: Tensor | None, drift: Drift, time: float) -> Tensor:
    ln_t = math.log(max(time, 1.0))
    moved = g + (drift.mean_per_ln_t or 0.0) * ln_t
    if z is not None and drift.std is not None:
        moved = moved + max(0.0, drift.std.per_ln_t * ln_t + drift.std.b) * z.to(g.dtype)
    return moved
