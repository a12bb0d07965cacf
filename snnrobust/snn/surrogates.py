"""Surrogate gradients: a hard spike forward, a smooth derivative backward.

With r = (v - threshold) / scale, the spike is o = [v > threshold] and do/dr := dampening f(slope r), where f(0) = 1.
Autograd goes on through r, so a scale equal to the threshold contributes its own derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, unknown


def _super_spike(s: Tensor) -> Tensor:
    return (1 + s.abs()) ** -2


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    # Zenke and Ganguli 2018 (doi:10.1162/neco_a_01086): the derivative of the fast sigmoid s / (1 + |s|), so the
    # two names in use are one function; both are kept because papers cite both.
    "superspike": _super_spike,
    "fast_sigmoid": _super_spike,
    # Bellec et al. 2018 (arXiv:1803.09574): the piecewise linear derivative of the LSNN.
    "triangle": lambda s: (1 - s.abs()).clamp_min(0),
    # Fang et al. 2021 (arXiv:2007.05785): derivative of (2 / pi) arctan(pi s / 2), with f(0) = 1.
    "arctan": lambda s: 1 / (1 + (0.5 * math.pi * s) ** 2),
    # Yin et al. 2021 (doi:10.1038/s42256-021-00397-w), single lobe.
    "gaussian": lambda s: torch.exp(-0.5 * s**2),
}


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """Which derivative replaces that of the spike: do/dr = dampening f(slope r), r = (v - threshold) / scale.

    Attributes:
        shape: f, one of superspike (1 + |s|)^-2, fast_sigmoid (the same function), triangle max(0, 1 - |s|),
            arctan 1 / (1 + (pi s / 2)^2), gaussian exp(-s^2 / 2).
        slope: Factor on r inside f; larger is narrower. At 1 (norse 1.1.0) gradients through long recurrent sequences
            grow without bound on the tasks here; 5 keeps them in bounds.
        dampening: Factor on f.
        scale: "one", or "threshold" to measure the distance in units of the threshold.

    Raises:
        ConfigError: For an unknown shape or scale, or a slope or dampening that is not positive.
    """

    shape: str = "superspike"
    slope: float = 5.0
    dampening: float = 1.0
    scale: str = "one"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ConfigError(unknown("surrogate", self.shape, SHAPES))
        if self.scale not in ("one", "threshold"):
            raise ConfigError(unknown("surrogate scale", self.scale, ("one", "threshold")))
        for name in ("slope", "dampening"):
            value = getattr(self, name)
            if not (0 < value < math.inf):
                raise ConfigError(f"surrogate {name}: {value} must be positive and finite")

    def to_dict(self) -> dict[str, Any]:
        """The fields, as plain values."""
        return asdict(self)

    def spike(self, v: Tensor, threshold: Tensor) -> Tensor:
        """The spike o = [v > threshold] in v's dtype, with this surrogate's gradient.

        Args:
            v: Membrane potential, [..., B, N].
            threshold: Broadcastable against v.
        """
        distance = v - threshold
        if self.scale == "threshold":
            # A drawn threshold may be zero or negative: the distance stays finite and keeps its sign.
            distance = distance / threshold.abs().clamp_min(1e-12)
        spikes: Tensor = _Spike.apply(distance, v > threshold, self)
        return spikes


class _Spike(torch.autograd.Function):
    """[fired] forward; dampening f(slope r) backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(r: Tensor, fired: Tensor, surrogate: Surrogate) -> Tensor:
        return fired.to(r.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 (torch's interface)
        r, _, ctx.surrogate = inputs
        ctx.save_for_backward(r)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 (torch's interface)
        (r,) = ctx.saved_tensors
        surrogate = ctx.surrogate
        return grad * surrogate.dampening * SHAPES[surrogate.shape](surrogate.slope * r), None, None
