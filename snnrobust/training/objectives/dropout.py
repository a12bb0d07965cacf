"""Dropout of neurons, as a mask on the weights that their spikes reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.hardware import randomness
from snnrobust.hardware.normals import normals
from snnrobust.snn.specs import ParameterSpec
from snnrobust.training.objectives.base import Choices, Loss, Losses
from snnrobust.training.problem import Batch, Params, Problem, StepKey


@dataclass(frozen=True, kw_only=True)
class Dropout(Choices):
    """The task loss with some neurons silent (Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html).

        o' = m o / (1 - rate),   m ~ Bernoulli(1 - rate), one a neuron and step

    All samples and time steps of a batch share the mask, as in the paper's dropout, so that a mask on the spikes is one
    on the columns of the weights that they reach, the same layer's included. A neuron's own reset and adaptation see
    its spikes as they are. One pass a step.

    Attributes:
        rate: Probability that a neuron is silent.
        inverted: Divide by 1 - rate, so that the mean current is that without dropout; the paper's code does not, and
            its networks get more current in use than in training.
    """

    name: ClassVar[str] = "dropout"
    rate: float = 0.3
    inverted: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.rate < 1):
            raise ConfigError(f"rate: {self.rate} must be a probability from 0 to below 1")

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`.

        Raises:
            ConfigError: If no weight says which layer's spikes it receives.
        """
        specs = problem.net.parameter_specs()
        sizes = sources(specs)
        if self.rate and not sizes:
            raise ConfigError("dropout: no weight of this model says which layer is its source; use a Network")

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            task, logits = problem.task(self._thinned(params, specs, sizes, key), batch)
            return Losses(task, {"task": task}, logits if self.rate == 0 else None)

        return losses

    def _thinned(
        self, params: Params, specs: Mapping[str, ParameterSpec], sizes: Mapping[str, int], key: StepKey
    ) -> dict[str, Tensor]:
        if self.rate == 0:
            return dict(params)
        kept = masks(sizes, self.rate, key)
        factor = 1 / (1 - self.rate) if self.inverted else 1.0
        return {
            name: p if (layer := specs[name].source) not in kept else p * (kept[layer].to(p.dtype) * factor)
            for name, p in params.items()
        }


def sources(specs: Mapping[str, ParameterSpec]) -> dict[str, int]:
    """Number of neurons of each layer whose spikes some weight receives."""
    return {spec.source: spec.shape[-1] for spec in specs.values() if spec.source}


def masks(sizes: Mapping[str, int], rate: float, key: StepKey) -> dict[str, Tensor]:
    """Which neurons of each layer stay, [N], drawn for this step."""
    keys = [randomness.key(key.seed, "train", layer, "dropout", "per_neuron", 0, key.step) for layer in sizes]
    drawn = torch.split(torch.from_numpy(normals(keys, list(sizes.values()))), list(sizes.values()))
    silent = randomness.upper_quantile(rate)
    return {layer: own <= silent for layer, own in zip(sizes, drawn, strict=True)}
