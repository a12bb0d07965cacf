"""Energy of a run on a chip, from counts of what it does.

    E = static_w seconds + 1e-12 (pj_per_spike spikes + pj_per_event events + pj_per_conversion conversions)

A profile that lacks one of the four numbers has no energy: a sum of the others would look like one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware.schema.base import Block
from snnrobust.hardware.schema.operation import Energy

TERMS = tuple(name for name in Energy.model_fields if name not in Block.model_fields)
"""The numbers of a profile's `energy` block, all of which a sum needs."""


@dataclass(frozen=True)
class Counts:
    """What a chip does in a run.

    Attributes:
        seconds: How long it runs in the chip's time, which is the network's divided by time_scale.
        spikes: Spikes of its neurons.
        events: Deliveries of spikes to synapses (`deliveries`).
        conversions: Analog-to-digital conversions; 0 on a chip without converters.
    """

    seconds: float
    spikes: float
    events: float
    conversions: float = 0.0

    def __post_init__(self) -> None:
        for name in ("seconds", "spikes", "events", "conversions"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ConfigError(f"{name}: {value} must be finite and at least 0")


def missing(costs: Energy | None) -> list[str]:
    """The numbers that a profile lacks for an energy."""
    return [name for name in TERMS if costs is None or getattr(costs, name) is None]


def remarks(costs: Energy | None) -> list[str]:
    """What a user has to know of an energy block of which no energy can be made; nothing of one that is absent."""
    absent = missing(costs)
    return [f"energy not available: the profile lacks {', '.join(absent)}"] if costs is not None and absent else []


def energy(costs: Energy | None, counts: Counts) -> float | None:
    """Energy of a run in J; None, "energy not available", where the profile lacks any of its terms."""
    if missing(costs):
        return None
    amounts = {
        "static_w": counts.seconds,
        "pj_per_spike": 1e-12 * counts.spikes,
        "pj_per_event": 1e-12 * counts.events,
        "pj_per_conversion": 1e-12 * counts.conversions,
    }
    return float(sum(getattr(costs, name) * amount for name, amount in amounts.items()))


def deliveries(spikes: Tensor, weight: Tensor) -> float:
    """Deliveries of spikes [..., I] to the synapses [N, I] that are not zero: sum_i spikes_i fan-out_i.

    Raises:
        ShapeError: If there are not as many sources as columns of weight.
    """
    if weight.ndim != 2 or spikes.shape[-1] != weight.shape[1]:
        raise ShapeError(f"weight: shape {tuple(weight.shape)}; must be [N, {spikes.shape[-1]}], one column a source")
    sources = spikes.double().sum(tuple(range(spikes.ndim - 1)))
    return float(sources @ (weight != 0).sum(0).double())


def conversions(x: Tensor, columns: int, *, rows: int | None, clocked: bool) -> int:
    """Conversions of the arrays of one matrix: one a column of every tile that is read.

    Args:
        x: Inputs of the matrix, one row a step [S, I].
        columns: Its columns N.
        rows: Sources of a tile; None for one tile.
        clocked: Whether tiles without an input are read, too.
    """
    steps, sources = x.shape
    tiles = torch.split(x, sources if rows is None else rows, dim=1)
    read = steps * len(tiles) if clocked else sum(int((own != 0).any(1).sum()) for own in tiles)
    return read * columns
