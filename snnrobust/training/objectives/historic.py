"""Two older ways to flat minima, as baselines: they give a direction of descent that is no gradient of a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from snnrobust.hardware import randomness
from snnrobust.hardware.normals import normals
from snnrobust.training.objectives.base import (
    PAPER_ROLES,
    Choices,
    LossAndGrad,
    check_count,
    check_level,
    check_roles,
    check_share,
    movable,
)
from snnrobust.training.objectives.standard import Standard
from snnrobust.training.problem import Batch, Params, Problem, StepKey, StepResult, gradients
from snnrobust.training.steepest import moved_by


@dataclass(frozen=True, kw_only=True)
class ABCD(Choices):
    """Adversarial block coordinate descent (Cicek and Soatto 2019, doi:10.1109/ICCVW.2019.00170).

        M ~ Bernoulli(share), one an element and step
        theta <- theta + M clip(rate g(theta), +-radius |theta|)
        theta <- descent with (1 - M) g(theta)

    A random part of the parameters climbs and stays where it climbed; the others descend from there. The paper's L
    iterations a batch are as many steps here. Two passes a step.

    Attributes:
        share: Probability that a parameter climbs.
        rate: Learning rate of the ascent.
        radius: Largest step of the ascent as a fraction of |theta|; None for none. The paper's published code means to
            clip, but compares a parameter with itself.
        roles: Roles that may climb.
    """

    name: ClassVar[str] = "abcd"
    share: float = 0.5
    rate: float = 0.1
    radius: float | None = 0.1
    roles: tuple[str, ...] = PAPER_ROLES

    def __post_init__(self) -> None:
        check_share("share", self.share)
        check_level("rate", self.rate)
        if self.radius is not None:
            check_level("radius", self.radius)
        check_roles(self.roles)

    @property
    def passes(self) -> int:
        """One for the ascent and one for the descent."""
        return 2 if self.share > 0 and self.roles else 1

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""
        standard = Standard().bind(problem)
        if self.passes == 1:
            return standard

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            names = movable(problem, params, self.roles)
            climbing = {name: draw.to(params[name].dtype) for name, draw in self._mask(params, names, key).items()}
            before = standard(params, batch, key)
            shift = {name: climbing[name] * self._ascent(params[name], before.grads[name]) for name in names}
            after = standard(moved_by(params, shift), batch, key)
            grads = {name: g * (1 - climbing[name]) if name in climbing else g for name, g in after.grads.items()}
            return StepResult(before.loss, grads, {"task": before.loss, "climbed": after.loss}, shift)

        return loss_and_grad

    def _ascent(self, theta: Tensor, g: Tensor) -> Tensor:
        step = self.rate * g
        if self.radius is None:
            return step
        box = self.radius * theta.detach().abs()
        return torch.minimum(torch.maximum(step, -box), box)

    def _mask(self, params: Params, names: list[str], key: StepKey) -> dict[str, Tensor]:
        most = randomness.upper_quantile(1 - self.share)
        return {name: value <= most for name, value in _drawn(params, names, key, "block", key.step).items()}


@dataclass(frozen=True, kw_only=True)
class EntropySGD(Choices):
    """Descent on the local entropy of the loss (Chaudhari et al. 2017, arXiv:1611.01838).

        x = mu = theta; steps times:  x <- x - rate (g(x) + gamma (x - theta)) + sqrt(rate) noise N(0, 1)
                                      mu <- (1 - averaging) mu + averaging x
        descent with gamma (theta - mu),   gamma = gamma_0 (1 + growth)^step

    The inner loop starts anew at every step, so there is nothing to carry from one to the next; here it stays on one
    batch. It has no momentum, and the outer step is the trainer's, which is invariant to gamma's size. Passes a step:
    steps; 0 steps is the standard objective.

    Attributes:
        steps: Langevin steps.
        rate: Their step size.
        noise: Size of the Langevin noise.
        averaging: Weight of a new x in mu.
        gamma: gamma_0.
        growth: Growth of gamma in a step.
    """

    name: ClassVar[str] = "entropy_sgd"
    steps: int = 10
    rate: float = 0.1
    noise: float = 1e-4
    averaging: float = 0.75
    gamma: float = 1e-2
    growth: float = 1e-3

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 0)
        for field in ("rate", "noise", "gamma", "growth"):
            check_level(field, getattr(self, field))
        check_share("averaging", self.averaging)

    @property
    def passes(self) -> int:
        """One for each Langevin step."""
        return max(1, self.steps)

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""
        standard = Standard().bind(problem)
        if self.steps == 0:
            return standard

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            theta = {name: p.detach() for name, p in params.items() if p.requires_grad}
            gamma = self.gamma * math.exp(key.step * math.log1p(self.growth))
            x, mean, loss = dict(theta), dict(theta), math.nan
            for step in range(self.steps):
                at = {**params, **{name: p.clone().requires_grad_() for name, p in x.items()}}
                task, _ = problem.task(at, batch)
                loss = task.item() if step == 0 else loss
                x = self._langevin(x, theta, gradients(task, at), gamma, key, step)
                mean = {name: p + self.averaging * (x[name] - p) for name, p in mean.items()}
            grads = {name: gamma * (p - mean[name]) for name, p in theta.items()}
            return StepResult(loss, grads, {"task": loss})

        return loss_and_grad

    def _langevin(
        self,
        x: Mapping[str, Tensor],
        theta: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        gamma: float,
        key: StepKey,
        step: int,
    ) -> dict[str, Tensor]:
        drawn = _drawn(theta, list(theta), key, "langevin", key.step, step)
        size = math.sqrt(self.rate) * self.noise
        return {
            name: p - self.rate * (grads[name] + gamma * (p - theta[name])) + size * drawn[name].to(p.dtype)
            for name, p in x.items()
        }


def _drawn(params: Params, names: list[str], key: StepKey, what: str, *extra: int) -> dict[str, Tensor]:
    """A standard normal for each element, drawn for this step."""
    keys = [randomness.key(key.seed, "train", name, what, "per_element", 0, *extra) for name in names]
    sizes = [params[name].numel() for name in names]
    parts = torch.split(torch.from_numpy(normals(keys, sizes)), sizes)
    return {name: own.reshape(params[name].shape) for name, own in zip(names, parts, strict=True)}
