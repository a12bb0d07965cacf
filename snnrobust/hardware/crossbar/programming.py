"""Programming: a device misses its target by a normal error whose size depends on the target."""

from __future__ import annotations

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.curves import at_time, polynomial
from snnrobust.hardware.schema.crossbar import Crossbar


def spreads(crossbar: Crossbar) -> bool:
    """Whether conductances miss their targets: by an error of programming, or by what a table says of all times."""
    return crossbar.programming is not None or (crossbar.drift is not None and crossbar.drift.model == "table")


def programming_sigma(target: Tensor, crossbar: Crossbar, time: float) -> Tensor:
    """Standard deviation in microsiemens of conductances around their target.

        sigma = (sum_i c_i x^i) g_max / g_max_ref,    x = g / g_max, or g in microsiemens

    Where a table gives the total spread at the time (drift model "table", such as that of Wan et al. 2022), that one
    instead: the same z then serves programming and all times, so that a chip's conductances move apart as it ages.
    """
    law, drift = crossbar.programming, crossbar.drift
    relative = target / crossbar.g_max
    size = crossbar.g_max / ((law and law.g_max_ref) or crossbar.g_max)
    if drift is not None and drift.model == "table" and drift.table:
        return at_time(drift.table, time, relative).clamp_min(0) * size
    if law is None:
        return torch.zeros_like(target)
    return polynomial(relative if law.variable == "g_rel" else target, law.coefficients).clamp_min(0) * size


def programmed(target: Tensor, sigma: Tensor, z: Tensor | None, crossbar: Crossbar) -> Tensor:
    """Conductance in microsiemens after programming: max(target + sigma z, 0), unless the profile does not clip."""
    if z is None or not spreads(crossbar):
        return target
    noisy = target + sigma * z.to(target.dtype)
    return at_least_zero(noisy) if crossbar.programming is None or crossbar.programming.clip_zero else noisy


def at_least_zero(g: Tensor) -> Tensor:
    """max(g, 0); at 0 itself the gradient passes, unlike that of clamp."""
    return torch.nn.functional.threshold(g, -torch.finfo(g.dtype).tiny, 0.0)  # where takes ten times as long
