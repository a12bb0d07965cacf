"""Weights programmed into pairs of memristive conductances, with polynomial programming noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z, by_instance, clamped, largest

if TYPE_CHECKING:
    from snnrobust.hardware.schema_crossbar import Crossbar


@dataclass(frozen=True)
class Programming:
    """A one-sided differential pair: |w| on the device of its sign, the other at g_min; each is programmed with noise.

        g+ = g_min + max(w, 0) (g_max - g_min) / w_max,   g- = g_min + max(-w, 0) (g_max - g_min) / w_max
        g <- max(g + sigma(g) z, 0),  sigma(g) = (sum_i c_i x^i) g_max / g_max_ref,  x = g / g_max, or g in microsiemens
        w' = (g+ - g-) w_max / (g_max - g_min)

    w_max is the largest |w| of the tensor (per_tile) or of each output (per_column), constant in gradients. The
    gradient at w = 0 is the mean of those from both sides.
    Nandakumar et al. 2019 (doi:10.1109/ICECS46596.2019.8964852) for PCM.

    Attributes:
        name: Name of the weight tensor.
        shape: Its shape [N, I].
        crossbar: The profile's crossbar.
    """

    name: str
    shape: tuple[int, ...]
    crossbar: Crossbar

    def coordinates(self) -> tuple[Coordinate, ...]:
        """One a device: the pair's plus and minus side."""
        return tuple(Coordinate(self.name, side, "per_device", self.shape) for side in ("g_plus", "g_minus"))

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The weight that the programmed pair represents."""
        plus, minus = (z.get(c.key) for c in self.coordinates())
        if plus is None and minus is None:
            return theta
        low, span = self.crossbar.g_min, self.crossbar.g_max - self.crossbar.g_min
        top = largest(theta, self.shape, per_column=self.crossbar.mapping.scale == "per_column")
        relative = theta / top.clamp_min(torch.finfo(theta.dtype).tiny)
        targets = low + positive_part(relative) * span, low + positive_part(-relative) * span
        sigmas = [self.sigma(target) for target in targets]

        def stored(plus: Tensor | None, minus: Tensor | None) -> Tensor:
            g_plus, g_minus = map(self.programmed, targets, sigmas, (plus, minus))
            return (g_plus - g_minus) / span * top

        return by_instance(stored, theta, plus, minus)

    def programmed(self, target: Tensor, sigma: Tensor, z: Tensor | None) -> Tensor:
        """Conductance in microsiemens after programming to `target`."""
        if z is None:
            return target
        noisy = target + sigma * z.to(target.dtype)
        if self.crossbar.programming is not None and not self.crossbar.programming.clip_zero:
            return noisy
        # At 0 itself the gradient passes, unlike that of clamp; where does it, too, and takes ten times as long.
        return torch.nn.functional.threshold(noisy, -torch.finfo(noisy.dtype).tiny, 0.0)

    def sigma(self, target: Tensor) -> Tensor:
        """Standard deviation of the programmed conductance, microsiemens."""
        law = self.crossbar.programming
        if law is None:
            return torch.zeros_like(target)
        x = target / self.crossbar.g_max if law.variable == "g_rel" else target
        total = torch.zeros_like(x)
        for coefficient in reversed(law.coefficients):
            total = total * x + coefficient
        return total.clamp_min(0) * (self.crossbar.g_max / (law.g_max_ref or self.crossbar.g_max))

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Each device's coordinate clipped to [-k, k]."""
        return clamped(self, z, k)


def positive_part(x: Tensor) -> Tensor:
    """max(x, 0) with derivative 1/2 at 0, so that the two sides of a pair together have derivative 1."""
    return (x + x.abs()) / 2
