"""Training within a chip's fan-in: after every update each neuron keeps its largest weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.snn.specs import WEIGHTS, ParameterSpec


@dataclass(frozen=True, kw_only=True)
class FanInLimit:
    """The nearest weights with at most `fan_in` synapses a neuron: its largest ones, the others 0.

    Counted are all sources of a neuron, its own layer included. Applied after every update this is iterative hard
    thresholding (Blumensath and Davies 2009, doi:10.1016/j.acha.2009.04.002): which synapses exist is trained, because
    a dropped weight grows again where its gradient outweighs a weight that is kept.

    Attributes:
        fan_in: Synapses that a neuron has.

    Raises:
        ConfigError: If fan_in is below 1.
    """

    fan_in: int

    def __post_init__(self) -> None:
        if self.fan_in < 1:
            raise ConfigError(f"fan_in: {self.fan_in} must be at least 1")

    def project(self, params: Mapping[str, Tensor], specs: Mapping[str, ParameterSpec]) -> dict[str, Tensor]:
        """The weights that change, by name: those on the chip with more synapses. Ties go to the first source."""
        layers: dict[tuple[str, int], list[str]] = {}
        for name, spec in specs.items():
            if spec.role in WEIGHTS and spec.on_chip and spec.shape:
                layers.setdefault((spec.layer, spec.shape[0]), []).append(name)
        changed: dict[str, Tensor] = {}
        for (_, neurons), names in layers.items():
            rows = [params[name].detach().reshape(neurons, -1) for name in names]
            sizes = torch.cat(rows, dim=1).abs()
            if int((sizes > 0).sum(dim=1).max()) <= self.fan_in:
                continue
            rank = sizes.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            kept = torch.split(rank < self.fan_in, [row.shape[1] for row in rows], dim=1)
            for name, row, mask in zip(names, rows, kept, strict=True):
                changed[name] = (row * mask).reshape(params[name].shape)
        return changed
