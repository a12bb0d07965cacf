"""Finite precision of stored weights: uniform steps, and levels of conductance, straight-through for gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from snnrobust.hardware.crossbar.mapping import (
    Scale,
    conductances,
    devices,
    relative,
    relative_weight,
    scale_of,
)
from snnrobust.hardware.stages.base import Context, Coordinate, Z, largest, straight_through
from snnrobust.hardware.stages.cores import of_cores

if TYPE_CHECKING:
    from snnrobust.hardware.schema.crossbar import Crossbar


@dataclass(frozen=True)
class UniformQuantization:
    """round(w / D) D with D = max|w| / (2^(bits - 1) - 1), or max|w| / (2^bits - 1) for unsigned words.

    The range is that of the nominal tensor, or of each neuron's row, and is held constant in gradients; the rounding
    is straight-through. Error variance D^2 / 12. A signed word of 1 bit is taken as -D, 0, D with D = max|w|.
    BrainScaleS-2's integers -63 .. 63 (a 6-bit magnitude, the sign of the row) are 7 signed or 6 unsigned bits.

    Attributes:
        bits: Word length.
        signed: Whether a word holds both signs; an unsigned word stores the magnitude, the sign is the synapse's type.
        per: "tensor", "column" (one range a neuron) or "core" (one of all synapses of its neurons).
        cores: Neurons of the layer on each core in turn; None for all on one.
    """

    bits: int
    signed: bool = True
    per: str = "tensor"
    cores: tuple[int, ...] | None = None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The stored value."""
        step = self._step(theta, context)
        return straight_through(theta, torch.round(theta.detach() / step) * step)

    def codes(self, theta: Tensor, context: Context) -> dict[str, Tensor]:
        """The stored whole numbers `code` and the value `step` of one."""
        step = self._step(theta, context)
        return {"code": torch.round(theta.detach() / step).int(), "step": step.expand(theta.shape)}

    def _step(self, theta: Tensor, context: Context) -> Tensor:
        """The value of one step, which broadcasts against theta."""
        if self.per == "core":
            top = of_cores(theta, context, self.cores, lambda w: np.full_like(w, np.abs(w).max(initial=0.0)))
        else:
            top = largest(theta, context.spec.shape, per_column=self.per == "column")
        steps = max(2 ** (self.bits - 1) - 1, 1) if self.signed else 2**self.bits - 1
        return torch.where(top > 0, top / steps, torch.ones_like(top))

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}


@dataclass(frozen=True)
class Levels:
    """Weights whose devices can be programmed to a finite number of conductances, evenly spaced from g_min to g_max.

    Each device takes the level nearest to its target, so a one-sided pair of L levels stores 2 L - 1 weights. A tile's
    largest weight is a level, and the scale of what is stored is that of the weights.

    Attributes:
        crossbar: The profile's crossbar.
        count: Number of levels L.
    """

    crossbar: Crossbar
    count: int

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The weights of devices at their nearest levels."""
        found, scale = self._levels(theta, context)
        one = (self.crossbar.g_max - self.crossbar.g_min) / (self.count - 1)
        values = [self.crossbar.g_min + level * one for level in found]
        return straight_through(theta, (scale.low + scale.span * relative_weight(values, self.crossbar)).view_as(theta))

    def codes(self, theta: Tensor, context: Context) -> dict[str, Tensor]:
        """The level of each device, from 0 at g_min, by the device's name."""
        levels = self._levels(theta, context)[0]
        return {name: level.int().view_as(theta) for name, level in zip(devices(self.crossbar), levels, strict=True)}

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}

    def _levels(self, theta: Tensor, context: Context) -> tuple[list[Tensor], Scale]:
        shape = context.spec.shape
        matrix = theta.detach().reshape(-1, shape[0], math.prod(shape[1:]))
        scale = scale_of(matrix, self.crossbar)
        reach = self.crossbar.g_max - self.crossbar.g_min
        targets = conductances(relative(matrix, scale), self.crossbar)
        return [torch.round((g - self.crossbar.g_min) / reach * (self.count - 1)) for g in targets], scale
