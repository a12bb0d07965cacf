"""Objectives without a random or adversarial device: the task loss, on the nominal device or on what a chip stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnrobust.errors import ConfigError
from snnrobust.hardware.mismatch import realise
from snnrobust.training.objectives.base import Choices, Loss, Losses, placed
from snnrobust.training.problem import Batch, Params, Problem, StepKey


@dataclass(frozen=True, kw_only=True)
class Standard(Choices):
    """The task loss at the nominal parameters; one forward and backward pass a step."""

    name: ClassVar[str] = "standard"

    @property
    def passes(self) -> int:
        """One."""
        return 1

    @property
    def sees_nominal(self) -> bool:
        """It does."""
        return True

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            task, logits = problem.task(params, batch)
            return Losses(task, {"task": task}, logits)

        return losses


@dataclass(frozen=True, kw_only=True)
class QuantizationAware(Choices):
    """The task loss at the device of a profile without random variation; one pass a step.

    L = L_task(D(theta)): weights and biases as the chip stores them, the gradient straight through the rounding
    (Bengio, Leonard and Courville 2013, arXiv:1308.3432). Where a neuron has a number of entries, D drops its smallest
    weights; their gradient lets them return, so that which synapses exist is trained, too.

    Attributes:
        profile: Name of the profile.

    Raises:
        ConfigError: If there is no profile.
    """

    name: ClassVar[str] = "quantization_aware"
    profile: str | None = "dynapse1"

    def __post_init__(self) -> None:
        if self.profile is None:
            raise ConfigError("profile: None must be the name of a profile or a YAML file")

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""
        placement = placed(self.profile, 0.0, (), problem)

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            task, _ = problem.task(realise(placement, params, {}), batch)
            return Losses(task, {"task": task})

        return losses
