"""Finite precision of stored weights: uniform steps, straight-through for gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z, largest, straight_through


@dataclass(frozen=True)
class UniformQuantization:
    """round(w / D) D with D = max|w| / (2^(bits - 1) - 1), or max|w| / (2^bits - 1) for unsigned words.

    The range is that of the nominal tensor, or of each neuron's row, and is held constant in gradients; the rounding
    is straight-through. Error variance D^2 / 12. A signed word of 1 bit is taken as -D, 0, D with D = max|w|.
    BrainScaleS-2's integers -63 .. 63 (a 6-bit magnitude, the sign of the row) are 7 signed or 6 unsigned bits.

    Attributes:
        bits: Word length.
        signed: Whether a word holds both signs; an unsigned word stores the magnitude, the sign is the synapse's type.
        per: "tensor" or "column" (one range a neuron).
    """

    bits: int
    signed: bool = True
    per: str = "tensor"

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The stored value."""
        codes, step = self.codes(theta, context)
        return straight_through(theta, codes * step)

    def codes(self, theta: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """The stored whole numbers and the value of one step, which broadcasts against them."""
        top = largest(theta, context.spec.shape, per_column=self.per == "column")
        steps = max(2 ** (self.bits - 1) - 1, 1) if self.signed else 2**self.bits - 1
        step = torch.where(top > 0, top / steps, torch.ones_like(top))
        return torch.round(theta.detach() / step), step

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}
