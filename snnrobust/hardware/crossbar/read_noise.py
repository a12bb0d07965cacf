"""Noise of reads, and how much of it is frozen over a trial, changes slowly within it, or is new at every read.

1/f noise has the same power in every octave. Of that between the slowest time, since programming, and the fastest, two
reads, what is slower than a trial is one draw a trial; what is faster than a step is white, a new draw at each read
(`reads.py`); what is between is drawn again in each of a few parts of the trial. Where no spectrum is known (constant),
all of it is frozen, which is the careful choice: a temporal network averages white noise away.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.curves import SMALLEST, curve
from snnrobust.hardware.crossbar.mapping import sensitivity
from snnrobust.hardware.schema.crossbar import Crossbar, ReadNoise


class Shares(NamedTuple):
    """Shares of the variance of the noise; they sum to 1."""

    trial: float
    slow: float
    read: float


def shares(crossbar: Crossbar, time: float) -> Shares:
    """How the variance divides at a time in s after programming, over trials and steps as long as the profile says."""
    noise = crossbar.read_noise
    if noise is None or noise.model in ("none", "constant") or noise.t_read is None:
        return Shares(0.0, 0.0, 1.0) if noise is not None and noise.mode == "aihwkit" else Shares(1.0, 0.0, 0.0)
    if noise.mode == "aihwkit":
        return Shares(0.0, 0.0, 1.0)
    ends = 2 * noise.t_read, _since_programming(crossbar, time)
    inner = [min(max(t, ends[0]), ends[1]) for t in (noise.step_time, noise.trial_time)]
    total = math.log(ends[1] / ends[0])
    if not total:  # nothing has fluctuated yet
        return Shares(1.0, 0.0, 0.0)
    read, slow = math.log(inner[0] / ends[0]) / total, math.log(inner[1] / inner[0]) / total
    return Shares(max(0.0, 1 - read - slow), slow, read)  # rounding may leave less than nothing


def read_sigma(g: Tensor, programmed: Tensor, crossbar: Crossbar, time: float, largest: Tensor | float = 1.0) -> Tensor:
    """Standard deviation in microsiemens of one read of a device that now has g and was programmed to `programmed`.

    pcm_1f     g Q(x) sqrt(ln((t + t0 + t_read) / (2 t_read))),  Q = min(c / x^p, q_max) or the curve q,
               x = programmed / g_max
    log10_g    k log10(g) sqrt(ln((t + t_read) / (2 t_read)))
    constant   that of weights is a fraction of the largest weight, shared by the devices that hold it; `largest` is
               that weight in units of the scale's span (`Scale.largest`)
    """
    noise = crossbar.read_noise
    if noise is None or noise.model == "none":
        return torch.zeros_like(g)
    if noise.model == "constant":
        parts = sensitivity(crossbar)
        of_range = (noise.relative_to_w_max or 0.0) / math.sqrt(sum(part**2 for part in parts))
        return torch.full_like(g, of_range) * largest
    root = math.sqrt(math.log(_since_programming(crossbar, time) / (2 * (noise.t_read or 1.0))))
    if noise.model == "log10_g":
        return (noise.k or 0.0) * g.clamp_min(1.0).log10() * root
    return g.abs() * _relative(programmed / crossbar.g_max, noise) * root


def _relative(x: Tensor, noise: ReadNoise) -> Tensor:
    if noise.q is not None:
        return curve(noise.q, x)
    # Not pow, whose last bits depend on where in a tensor an element stands.
    power = torch.exp((noise.exponent or 0.0) * x.clamp_min(SMALLEST).log())
    return ((noise.coefficient or 0.0) / power.clamp_min(1e-3)).clamp(max=noise.q_max)


def _since_programming(crossbar: Crossbar, time: float) -> float:
    """t + t0 + t_read, at least 2 t_read: the slowest fluctuation that has shown, in s."""
    noise, drift = crossbar.read_noise, crossbar.drift
    t0 = drift.t0 if drift is not None and drift.model == "power_law" and drift.t0 else 0.0
    t_read = noise.t_read if noise is not None and noise.t_read else 0.0
    return max(time + t0 + t_read, 2 * t_read)
