"""Distillation: a noisy network learns from a clean one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from snnrobust.errors import ConfigError
from snnrobust.hardware.model import Deployable
from snnrobust.storage import open_run
from snnrobust.training.objectives.base import Loss, Losses, check_share
from snnrobust.training.objectives.noise import ForwardNoise
from snnrobust.training.problem import Batch, Params, Problem, StepKey, kl_divergence
from snnrobust.training.record import TrainedModel, models_of


@dataclass(frozen=True, kw_only=True)
class Distillation(ForwardNoise):
    """Random devices learn the outputs of a clean teacher (Zhou et al. 2020, arXiv:2001.04974).

        L = (1 - share) mean_k L_task(theta'_k)
            + share T^2 mean_k KL( softmax(f_teacher(X) / T) || softmax(f(X, theta'_k) / T) )

    T^2 keeps the gradient's size (Hinton, Vinyals and Dean 2015, arXiv:1503.02531). The teacher's one pass has no
    backward pass. Passes a step: draws + 1.

    Attributes:
        teacher: Run file of the trained network that teaches; None is the network as it is when its training starts.
        share: Weight of the divergence.
        temperature: T, which softens both sides.

    Raises:
        ConfigError: If the run file holds more than one network or none.
    """

    name: ClassVar[str] = "distillation"
    teacher: str | None = None
    share: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("share", self.share)
        if not self.temperature > 0:
            raise ConfigError(f"temperature: {self.temperature} must be positive")

    @property
    def passes(self) -> int:
        """One for each draw, and the teacher's."""
        return super().passes + (self.share > 0)

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""
        if self.share == 0:
            return super().loss(problem)
        outputs = self.outputs(problem)
        net: Deployable = problem.net if self.teacher is None else _teacher(self.teacher).net
        known = {name: p.detach().clone() for name, p in net.nominal().items()}

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            with torch.no_grad():
                taught = net.run(known, batch.x, batch.lengths) / self.temperature
            found = outputs(params, batch, key)
            task = self.combined(problem.loss(found, batch.y))
            distance = self.temperature**2 * kl_divergence(taught, found.logits / self.temperature)
            total = (1 - self.share) * task + self.share * distance
            return Losses(total, {"task": task, "distance": distance}, None if self._varies else found.logits)

        return losses

    def to_dict(self) -> dict[str, Any]:
        """Name and choices, as plain values, with the hash of a teacher from a file."""
        plain = super().to_dict()
        return plain if self.teacher is None else {**plain, "teacher_hash": _teacher(self.teacher).net.hash()}


def _teacher(path: str) -> TrainedModel:
    models = models_of(open_run(Path(path)))
    if len(models) != 1:
        raise ConfigError(f"teacher: {path} holds {len(models)} trained networks, must be the run file of one")
    return models[0]
