"""Drift compensation: what an array gave right after programming over what it gives now, as a digital factor."""

from __future__ import annotations

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.mapping import over_tiles
from snnrobust.hardware.schema.crossbar import Crossbar


def compensation(before: Tensor, now: Tensor, crossbar: Crossbar) -> Tensor | None:
    """mean|w before| / mean|w now| of each tile ("global"), or of each column of it; None without compensation.

    Measured by reading one input after the other, faulty cells and read noise included, as aihwkit's
    GlobalDriftCompensation and PerColumnDriftCompensation do.

    Args:
        before: Weights [.., N, I] that the array holds after programming, faults included.
        now: Those that are read now.
        crossbar: The array.
    """
    if crossbar.compensation == "none":
        return None
    sizes = [_sizes(w.abs(), crossbar) for w in (before, now)]
    smallest = torch.finfo(now.dtype).tiny
    return torch.where(sizes[1] > smallest, sizes[0] / sizes[1].clamp_min(smallest), torch.ones_like(sizes[1]))


def _sizes(w: Tensor, crossbar: Crossbar) -> Tensor:
    """Means over the tiles, chip by chip: a sum over several at once has another order, and so other last bits."""
    if w.ndim > 2:
        return torch.stack([_sizes(one, crossbar) for one in w])
    return over_tiles(w, crossbar.tile, column=crossbar.compensation == "per_column", reduce=torch.mean)
