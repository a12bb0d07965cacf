"""Stuck cells: a device that keeps a conductance of its own, whatever was written into it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.hardware.randomness import upper_quantile
from snnrobust.hardware.schema.crossbar import Crossbar
from snnrobust.hardware.schema.digital import Faults

CLUSTER = 8
"""Edge in cells of the blocks that share a part of their fate where faults are clustered."""
SHARED = 0.8
"""Share of the variance of a cell's selector that its block has in common; an assumption."""


class Stuck(NamedTuple):
    """Stuck cells, few among many.

    Attributes:
        places: Where they are in the flattened array.
        value: The conductance in microsiemens of each.
    """

    places: Tensor
    value: Tensor

    def into(self, g: Tensor) -> Tensor:
        """Conductances with those of the stuck cells in their places; no gradient passes through these."""
        return g.reshape(-1).index_put((self.places,), self.value.to(g.dtype)).reshape(g.shape)


def rates(faults: Faults) -> tuple[float, float, float]:
    """Probabilities of a device to be stuck at low resistance, at high resistance, or not to have converged."""
    return faults.stuck_lrs, faults.stuck_hrs, faults.not_converged


def stuck(selector: Tensor, target: Tensor, faults: Faults, crossbar: Crossbar) -> Stuck:
    """The cells whose standard normal `selector` lies in its upper tail, of the probability of each fault.

    A cell stuck at low resistance has g_max, one at high resistance g_min. One that did not converge has any
    conductance from g_min to g_max with the same probability, which is an assumption: where in its interval the
    selector lies says which. Only devices with a target above g_min are written, so only they can fail to converge.
    """
    low, high, missed = rates(faults)
    ends = [upper_quantile(p) for p in (low, low + high, min(1.0, low + high + missed))]
    index = (selector > ends[2]).reshape(-1).nonzero()[:, 0]
    tail = selector.reshape(-1)[index]
    if missed:
        written = target.expand_as(selector).reshape(-1)[index] > crossbar.g_min
        kept = written | (tail > ends[1])
        index, tail = index[kept], tail[kept]
    value = torch.where(tail > ends[0], crossbar.g_max, crossbar.g_min).to(target.dtype)
    if missed:
        share = (torch.special.ndtr(-tail.double()) - (low + high)) / missed
        anywhere = (crossbar.g_min + (crossbar.g_max - crossbar.g_min) * share).to(value.dtype)
        value = torch.where(tail > ends[1], value, anywhere)
    return Stuck(index, value.detach())


def fault_masks(selector: Tensor, target: Tensor, faults: Faults, crossbar: Crossbar) -> dict[str, Tensor]:
    """Where each kind of fault is that the profile has, by name: what `stuck` overwrites."""
    low, high, missed = rates(faults)
    ends = [upper_quantile(p) for p in (low, low + high, min(1.0, low + high + missed))]
    found = {}
    if low:
        found["stuck_lrs"] = selector > ends[0]
    if high:
        found["stuck_hrs"] = (selector > ends[1]) & (selector <= ends[0])
    if missed:
        found["not_converged"] = (selector > ends[2]) & (selector <= ends[1]) & (target > crossbar.g_min)
    return found


def clustered(own: Tensor, block: Tensor) -> Tensor:
    """Selectors [.., N, I] that cells share in part with their block: standard normal, as those of single cells are."""
    shared = block.repeat_interleave(CLUSTER, -2).repeat_interleave(CLUSTER, -1)[..., : own.shape[-2], : own.shape[-1]]
    return math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own


def block_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """How many blocks a matrix has."""
    return -(-shape[0] // CLUSTER), -(-shape[1] // CLUSTER)
