"""Objectives that take the gradient where the task loss is worst nearby, and apply it to theta.

L = L_task(theta + e), with e a constant in the gradient; they differ in the set in which e is the worst and in the
number of ascent steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from snnrobust.hardware.mismatch import Placement, realise
from snnrobust.training.objectives.base import (
    PAPER_ROLES,
    Choices,
    Loss,
    Losses,
    check_count,
    check_level,
    check_roles,
    check_word,
    movable,
    placed,
)
from snnrobust.training.perturb import ascend, displaced, start_of_attack
from snnrobust.training.problem import Batch, Params, Problem, StepKey
from snnrobust.training.steepest import climb, moved_by, steepest

Worst: TypeAlias = Callable[[Params, Batch, StepKey], dict[str, Tensor]]
"""Where the task loss is worst nearby: theta + e, the gradient of which is 1 in theta."""
BALLS = ("box", "tensor")


@dataclass(frozen=True, kw_only=True)
class SAM(Choices):
    """Sharpness-aware minimisation (Foret et al. 2021, arXiv:2010.01412).

        L = L_task(theta + e),   e = radius g / ||g||,   g = dL_task/dtheta

    with the norm over all tensors that move. Two passes a step.

    Attributes:
        radius: Of the ball; 0.05 and 0.1 in the paper.
        roles: Roles that move.
    """

    name: ClassVar[str] = "sam"
    radius: float = 0.05
    roles: tuple[str, ...] = PAPER_ROLES

    def __post_init__(self) -> None:
        check_level("radius", self.radius)
        check_roles(self.roles)

    @property
    def passes(self) -> int:
        """One for each step of the ascent, and one where it ends."""
        return 1 + (self.ascents if self._moves else 0)

    @property
    def ascents(self) -> int:
        """Steps of the ascent."""
        return 1

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""
        worst = self.worst(problem)

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            at = worst(params, batch, key) if self._moves else params
            task, _ = problem.task(at, batch)
            return Losses(task, {"task": task})

        return losses

    def worst(self, problem: Problem) -> Worst:
        """Where the task loss is worst nearby."""

        def worst(params: Params, batch: Batch, key: StepKey) -> dict[str, Tensor]:
            names = movable(problem, params, self.roles)
            e = steepest(params, names, task_loss(problem, batch), radius=self.radius, scale=self.scale)
            return moved_by(params, e)

        return worst

    def scale(self, theta: Tensor) -> Tensor:
        """T, the axes of the ellipsoid: all alike."""
        return torch.ones_like(theta)

    @property
    def _moves(self) -> bool:
        return self.radius > 0 and bool(self.roles or getattr(self, "profile", None))


@dataclass(frozen=True, kw_only=True)
class ASAM(SAM):
    """Adaptive SAM, in an ellipsoid with the size of each parameter as its axes (Kwon et al. 2021, arXiv:2102.11600).

        L = L_task(theta + e),   e = radius T^2 g / ||T g||,   T = |theta| + eta

    With a profile T is the standard deviation of each parameter instead: e is the best first-order step among devices
    of equal likelihood, ||z|| <= radius, taken through realise. A random device has ||z|| near the square root of the
    number of its coordinates. Two passes a step.

    Attributes:
        radius: Of the ellipsoid; 0.5 and 1 in the paper.
        eta: Added to |theta|, so that a parameter of 0 moves as well.
        profile: Name of a profile that gives T.
    """

    name: ClassVar[str] = "asam"
    radius: float = 0.5
    eta: float = 0.01
    profile: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_level("eta", self.eta)

    def scale(self, theta: Tensor) -> Tensor:
        """T, the axes of the ellipsoid."""
        return theta.abs() + self.eta

    def worst(self, problem: Problem) -> Worst:
        """Where the task loss is worst nearby."""
        if self.profile is None:
            return super().worst(problem)
        placement = placed(self.profile, 0.0, (), problem)
        size = sum(math.prod(c.shape) for c in placement.coordinates.values() if c.kind == "continuous")
        k = self.radius / math.sqrt(max(size, 1))
        return _worst_device(problem, placement, k=k, steps=1, norm="l2")


@dataclass(frozen=True, kw_only=True)
class AWP(SAM):
    """Adversarial weight perturbation (Wu, Xia and Wang 2020, arXiv:2004.05884), relative to |theta|.

        L = L_task(theta + gamma (theta* - theta))
        theta* = theta (1 + radius z),  z <- P(z + sign(dL_task/dz) / steps) repeated, |z| <= 1

    as Büchel et al. adapt it to mismatch; or, with ball "tensor", Wu's own relative form: e in a Euclidean ball of the
    radius ||theta|| times `radius` for every tensor. Passes a step: steps + 1.

    Attributes:
        radius: Half-width of the box as a fraction of |theta|; with a profile, in its standard deviations.
        steps: Ascent steps.
        gamma: Share of the way to theta* that is gone.
        initial: Size of the random start, as a fraction of the box.
        ball: "box" or "tensor".
        profile: Name of a profile whose devices are attacked instead, in the box.
    """

    name: ClassVar[str] = "awp"
    radius: float = 0.1
    steps: int = 1
    gamma: float = 1.0
    initial: float = 0.0
    ball: str = "box"
    profile: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("steps", self.steps)
        check_level("gamma", self.gamma)
        check_level("initial", self.initial)
        check_word("ball", self.ball, BALLS)

    @property
    def ascents(self) -> int:
        """Steps of the ascent."""
        return self.steps

    def worst(self, problem: Problem) -> Worst:
        """Where the task loss is worst nearby."""
        if self.ball == "tensor":
            return _worst_tensors(problem, self.roles, self.steps, lambda p: self.gamma * self.radius * p.norm())
        box = placed(self.profile, self.radius, self.roles, problem)
        k = 1.0 if self.profile is None else self.radius
        return _worst_device(problem, box, k=k, steps=self.steps, initial=self.initial, share=self.gamma)


@dataclass(frozen=True, kw_only=True)
class AMP(SAM):
    """Adversarial model perturbation (Zheng, Zhang and Mao 2021, arXiv:2010.04925).

        L = L_task(theta + e),   e <- e + (radius / steps) g / ||g|| for each tensor,   ||e|| <= radius

    The ball is of one size for all tensors, whatever their values: it knows nothing of mismatch. Passes a step:
    steps + 1.

    Attributes:
        radius: Of each tensor's ball.
        steps: Ascent steps.
    """

    name: ClassVar[str] = "amp"
    radius: float = 0.02
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("steps", self.steps)

    @property
    def ascents(self) -> int:
        """Steps of the ascent."""
        return self.steps

    def worst(self, problem: Problem) -> Worst:
        """Where the task loss is worst nearby."""
        return _worst_tensors(problem, self.roles, self.steps, lambda p: self.radius)


def task_loss(problem: Problem, batch: Batch) -> Callable[[Params], Tensor]:
    """The task loss on one batch, as a function of the parameters."""
    return lambda params: problem.task(params, batch)[0]


def _worst_device(
    problem: Problem,
    placement: Placement,
    *,
    k: float,
    steps: int,
    initial: float = 0.0,
    share: float = 1.0,
    norm: str = "linf",
) -> Worst:
    """The worst device in a box or ball, or a share of the way there."""

    def worst(params: Params, batch: Batch, key: StepKey) -> dict[str, Tensor]:
        start = start_of_attack(placement, key, k=k, initial=initial)
        z = ascend(placement, params, task_loss(problem, batch), start, k=k, steps=steps, norm=norm)
        return displaced(params, realise(placement, params, z), share)

    return worst


def _worst_tensors(
    problem: Problem, roles: tuple[str, ...], steps: int, radius: Callable[[Tensor], Tensor | float]
) -> Worst:
    """The worst parameters in a ball of each tensor's own."""

    def worst(params: Params, batch: Batch, key: StepKey) -> dict[str, Tensor]:
        balls = {name: radius(params[name].detach()) for name in movable(problem, params, roles)}
        return moved_by(params, climb(params, task_loss(problem, batch), radius=balls, steps=steps))

    return worst
