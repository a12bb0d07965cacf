"""What is trained: a network with its task loss, on batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.hardware.model import Deployable
from snnrobust.snn.network import Network

Params = Mapping[str, Tensor]


class Batch(NamedTuple):
    """Samples of one update.

    Attributes:
        x: Inputs [T, B, I].
        y: Classes [B].
        lengths: Valid steps [B], or None where all are valid.
    """

    x: Tensor
    y: Tensor
    lengths: Tensor | None = None


class StepKey(NamedTuple):
    """What the random draws of one update are keyed by, and how far the training is.

    Attributes:
        seed: Seed of the training.
        step: Number of the update, from 0.
        done: Share of the training before it, 0 to 1; no draw depends on it.
    """

    seed: int
    step: int
    done: float = 1.0


class StepResult(NamedTuple):
    """Loss and gradients of one update.

    Attributes:
        loss: The objective's value.
        grads: Gradient by parameter, for the parameters that require one.
        metrics: Parts of the loss, for the history.
        shift: What is added to parameters before the optimiser's step, by name; the gradients are those there.
    """

    loss: float
    grads: dict[str, Tensor]
    metrics: dict[str, float]
    shift: Mapping[str, Tensor] | None = None


class Outputs(NamedTuple):
    """What the task loss is made of.

    Attributes:
        logits: [B, O], or [K, B, O] of K devices.
        rates: Mean spikes a step of each spiking layer, [B, N] or [K, B, N]; empty without a firing-rate penalty.
    """

    logits: Tensor
    rates: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class FiringRate:
    """Penalty weight * sum over samples and neurons of (mean rate - target)^2 (Büchel et al. 2022, supplement).

    Attributes:
        weight: Factor of the penalty; the paper uses 0.001.
        target: Wanted spikes per step; the paper uses 0.01.

    Raises:
        ConfigError: For a weight that is negative or not finite, or a target outside 0 .. 1.
    """

    weight: float = 1e-3
    target: float = 1e-2

    def __post_init__(self) -> None:
        if not (0 <= self.weight < math.inf):
            raise ConfigError(f"firing_rate weight: {self.weight} must be finite, 0 or more")
        if not (0 <= self.target <= 1):
            raise ConfigError(f"firing_rate target: {self.target} must be 0 to 1 spikes a step")


@dataclass(frozen=True)
class Problem:
    """A network and its task loss: mean cross-entropy, and a firing-rate penalty if wanted.

    Attributes:
        net: The network or model.
        class_weights: Weight of each class in the cross-entropy [O], or None; for unbalanced tasks.
        firing_rate: Penalty on the spikes of a `Network`, or None.
    """

    net: Deployable
    class_weights: Tensor | None = None
    firing_rate: FiringRate | None = None

    def logits(self, params: Params, batch: Batch) -> Tensor:
        """Logits of these parameters."""
        return self.net.run(params, batch.x, batch.lengths)

    def task(self, params: Params, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy and penalty of these parameters, a scalar or [K], and their logits [B, O] or [K, B, O]."""
        outputs = self.outputs(params, batch)
        return self.loss(outputs, batch.y), outputs.logits

    def outputs(self, params: Params, batch: Batch) -> Outputs:
        """What the task loss of these parameters is made of, in one pass."""
        if self.firing_rate is None or not isinstance(self.net, Network):
            return Outputs(self.logits(params, batch), {})
        return Outputs(*self.net.rates(params, batch.x, batch.lengths))

    def loss(self, outputs: Outputs, y: Tensor) -> Tensor:
        """Cross-entropy and penalty, a scalar, or [K] where a device has outputs of its own."""
        loss = self.cross_entropy(outputs.logits, y)
        if self.firing_rate is not None:
            for rate in outputs.rates.values():
                loss = loss + self.firing_rate.weight * ((rate - self.firing_rate.target) ** 2).sum((-2, -1))
        return loss

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of logits [B, O], or of each device's [K, B, O]."""
        if logits.ndim == 3:
            return torch.stack([self.cross_entropy(own, y) for own in logits])
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        return torch.nn.functional.cross_entropy(logits, y, weight=weights)


def kl_divergence(clean: Tensor, moved: Tensor) -> Tensor:
    """KL(softmax clean || softmax moved), summed over classes, mean over samples [.., B, O]."""
    log_p, log_q = clean.log_softmax(-1), moved.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def gradients(loss: Tensor, params: Params) -> dict[str, Tensor]:
    """dloss/dparam for the parameters that require it; zero where the loss does not depend on one."""
    wanted = {name: p for name, p in params.items() if p.requires_grad}
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(wanted.items(), found, strict=True)}
