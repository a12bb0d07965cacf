"""The paper's method: an attack on the parameters at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from snnrobust.hardware.mismatch import realise
from snnrobust.training.objectives.base import (
    PAPER_ROLES,
    Choices,
    Loss,
    Losses,
    check_count,
    check_level,
    check_roles,
    check_share,
    check_word,
    placed,
)
from snnrobust.training.objectives.noise import THROUGH, ForwardNoise
from snnrobust.training.objectives.standard import Standard
from snnrobust.training.perturb import NORMS, ascend, displaced, start_of_attack
from snnrobust.training.problem import Batch, Params, Problem, StepKey, kl_divergence

CLIMBED = ("kl", "task")


@dataclass(frozen=True, kw_only=True)
class Adversarial(Choices):
    """Attack on the parameters during training (Büchel, Faber and Muir, ICLR 2022, arXiv:2106.05009).

        L = L_task(theta + noise) + beta KL( f(X, theta) || f(X, theta*) )
        theta* = theta (1 + radius z),  z <- P(z + sign(dKL/dz) / steps) repeated, |z| <= 1

    The attack needs no labels. The gradient passes through both branches of the KL and through theta*, whose Jacobian
    is the diagonal 1 + radius z. The projection P is the paper's; its published code has none. The noise term is that
    of `ForwardNoise` with a constant displacement and acts in L_task only. Passes a step: steps + 2, and those of the
    forward noise.

    Attributes:
        radius: Half-width of the box as a fraction of |theta|; with a profile, in its standard deviations.
        steps: Ascent steps.
        beta: Weight of the KL; the paper: 0.25 without forward noise, 0.1 with, 0.5 on speech.
        forward_noise: Relative std of the noise in the task loss, 0 for none; or an objective on random devices, which
            then takes the place of the task loss, with roles, a profile and a way of combining devices of its own.
        initial: Size of the random start, as a fraction of the box; the paper's 0.001 |theta| at radius 0.1 is 0.01.
        norm: "linf", the box; or "l2", the ball in which the root mean square of z is at most 1 (`perturb.ascend`).
        climbed: What is climbed and then weighed by beta: "kl"; or "task", the task loss at theta*, with labels, which
            takes one pass less.
        through: "theta", the gradient passes through theta*; or "constant", it is applied to theta.
        ramp: Share of the training in which the radius grows linearly from 0; 0 for none.
        roles: Roles that are attacked, and that the noise moves; the paper's are weights and biases.
        profile: Name of a profile whose devices are attacked instead.
    """

    name: ClassVar[str] = "adversarial"
    radius: float = 0.1
    steps: int = 10
    beta: float = 0.1
    forward_noise: float | ForwardNoise = 0.3
    initial: float = 0.01
    norm: str = "linf"
    climbed: str = "kl"
    through: str = "theta"
    ramp: float = 0.0
    roles: tuple[str, ...] = PAPER_ROLES
    profile: str | None = None

    def __post_init__(self) -> None:
        for field in ("radius", "beta", "initial"):
            check_level(field, getattr(self, field))
        if not isinstance(self.forward_noise, ForwardNoise):
            check_level("forward_noise", self.forward_noise)
        check_count("steps", self.steps)
        check_word("norm", self.norm, NORMS)
        check_word("climbed", self.climbed, CLIMBED)
        check_word("through", self.through, THROUGH)
        check_share("ramp", self.ramp)
        check_roles(self.roles)

    @property
    def natural(self) -> Choices:
        """The objective in the place of L_task."""
        if isinstance(self.forward_noise, ForwardNoise):
            return self.forward_noise
        return ForwardNoise(level=self.forward_noise, roles=self.roles) if self.forward_noise else Standard()

    @property
    def passes(self) -> int:
        """steps + 2 for the attack, less where a pass serves two ends, and those of the task loss."""
        if self.radius == 0 or not (self.roles or self.profile):
            return self.natural.passes
        if self.climbed == "task":
            return self.natural.passes + self.steps + 1
        return self.natural.passes + self.steps + (1 if self.natural.sees_nominal else 2)

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""
        box = placed(self.profile, self.radius, self.roles, problem)
        half_width = 1.0 if self.profile is None else self.radius
        natural = self.natural.loss(problem)
        if not box.coordinates or half_width == 0:
            return natural

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            total, parts, clean = natural(params, batch, key)
            if self.climbed == "kl" and clean is None:
                clean = problem.logits(params, batch)
            origin = clean if self.climbed == "kl" else None
            climbed = _measure(problem, batch, None if origin is None else origin.detach())
            k = half_width if self.ramp == 0 else half_width * min(1.0, key.done / self.ramp)
            start = start_of_attack(box, key, k=k, initial=self.initial)
            z = ascend(box, params, climbed, start, k=k, steps=self.steps, norm=self.norm)
            star = realise(box, params, z)
            at = star if self.through == "theta" else displaced(params, star)
            robust = _measure(problem, batch, origin)(at)
            return Losses(total + self.beta * robust, {**parts, "robust": robust}, clean)

        return losses


def _measure(problem: Problem, batch: Batch, clean: Tensor | None) -> Callable[[Params], Tensor]:
    """The divergence from clean logits as a function of the parameters; without them, the task loss."""
    if clean is None:
        return lambda params: problem.task(params, batch)[0]
    return lambda params: kl_divergence(clean, problem.logits(params, batch))
