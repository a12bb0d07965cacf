"""What holds after every update of a training: each neuron keeps its largest weights, or no weight is an outlier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.snn.specs import WEIGHTS, ParameterSpec


class Limit(Protocol):
    """A dataclass that says what the nearest parameters within it are."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def project(self, params: Mapping[str, Tensor], specs: Mapping[str, ParameterSpec]) -> dict[str, Tensor]:
        """The parameters that change, by name."""
        ...


def within(
    limits: Sequence[Limit], params: Mapping[str, Tensor], specs: Mapping[str, ParameterSpec]
) -> dict[str, Tensor]:
    """The parameters that change, by name, where one limit is applied after the other."""
    changed: dict[str, Tensor] = {}
    for limit in limits:
        changed |= limit.project({**params, **changed}, specs)
    return changed


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


@dataclass(frozen=True, kw_only=True)
class WeightClip:
    """Weights no further from 0 than a number of standard deviations of their tensor, w <- clip(w, +-deviations sd(w)).

    So does Joshi et al. 2020 (doi:10.1038/s41467-020-16108-9) after every update. Where the noise of a device goes with
    the largest weight of its array, outliers cost all others precision. The standard deviation is that of the synapses
    that exist: a weight of zero is none.

    Attributes:
        deviations: Standard deviations; 2 in the source, 2 to 2.5 in common recipes.

    Raises:
        ConfigError: If it is not positive.
    """

    deviations: float = 2.5

    def __post_init__(self) -> None:
        if not self.deviations > 0:
            raise ConfigError(f"deviations: {self.deviations} must be positive")

    def project(self, params: Mapping[str, Tensor], specs: Mapping[str, ParameterSpec]) -> dict[str, Tensor]:
        """The weights that change, by name: those on the chip with an outlier."""
        changed: dict[str, Tensor] = {}
        for name, spec in specs.items():
            if spec.role not in WEIGHTS or not spec.on_chip:
                continue
            w = params[name].detach()
            present = w[w != 0]
            if present.numel() < 2:
                continue
            bound = self.deviations * present.std(correction=0)
            if bool(w.abs().max() > bound):
                changed[name] = w.clamp(-bound, bound)
        return changed
