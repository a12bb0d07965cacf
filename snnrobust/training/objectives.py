"""Training objectives: what is minimised, and which devices are seen on the way.

An objective is a frozen set of choices. `bind(problem)` gives its `loss_and_grad(params, batch, key)`, a pure function:
no `.grad`, mode, buffer or global generator changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware.mismatch import Placement, place, realise
from snnrobust.hardware.profile import Profile, load_profile
from snnrobust.snn.specs import ROLES
from snnrobust.training.perturb import ascend, noisy, start_of_attack
from snnrobust.training.problem import Batch, Params, Problem, StepKey, StepResult, gradients, kl_divergence

LossAndGrad: TypeAlias = Callable[[Params, Batch, StepKey], StepResult]
PAPER_ROLES = ("weight", "recurrent_weight", "bias")


class Objective(Protocol):
    """What the trainer needs of an objective."""

    name: ClassVar[str]

    def bind(self, problem: Problem) -> LossAndGrad:
        """The loss and its gradient as a pure function of (params, batch, key)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Name and choices, as plain values."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Choices:
    """Shared by all objectives: choices as plain values."""

    name: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """Name and choices, as plain values."""
        values: dict[str, Any] = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        profile: str | None = values.get("profile")
        if profile is not None:  # a file of that name may change
            values["profile_hash"] = load_profile(profile).hash
        return {"name": self.name, **values}


@dataclass(frozen=True, kw_only=True)
class Standard(_Choices):
    """The task loss at the nominal parameters; one forward and backward pass a step."""

    name: ClassVar[str] = "standard"

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            loss, _ = problem.task(params, batch)
            return _result(loss, params, task=loss)

        return loss_and_grad


@dataclass(frozen=True, kw_only=True)
class ForwardNoise(_Choices):
    """The task loss at one random device a step (Murray and Edwards 1994, doi:10.1109/72.317730).

    L = L_task(theta'), theta' = theta (1 + level z), z ~ N(0, 1); or a random device of a profile. One pass a step.

    Attributes:
        level: Relative mismatch std, a fraction; unused with a profile.
        roles: Roles that vary; unused with a profile.
        profile: Name of a profile whose devices are drawn instead.
        through: "constant", the gradient at theta' is applied to theta (the paper); or "theta", through realise.
    """

    name: ClassVar[str] = "forward_noise"
    level: float = 0.3
    roles: tuple[str, ...] = PAPER_ROLES
    profile: str | None = None
    through: str = "constant"

    def __post_init__(self) -> None:
        _check_level("level", self.level)
        _check_roles(self.roles)
        if self.through not in ("constant", "theta"):
            raise ConfigError(unknown("through", self.through, ("constant", "theta")))

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""
        placement = _placement(self.profile, self.level, self.roles, problem)

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            loss, _ = problem.task(noisy(placement, params, key, through=self.through), batch)
            return _result(loss, params, task=loss)

        return loss_and_grad


@dataclass(frozen=True, kw_only=True)
class QuantizationAware(_Choices):
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

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""
        placement = _placement(self.profile, 0.0, (), problem)

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            loss, _ = problem.task(realise(placement, params, {}), batch)
            return _result(loss, params, task=loss)

        return loss_and_grad


@dataclass(frozen=True, kw_only=True)
class Adversarial(_Choices):
    """Attack on the parameters during training (Büchel, Faber and Muir, ICLR 2022, arXiv:2106.05009).

        L = L_task(theta + noise) + beta KL( f(X, theta) || f(X, theta*) )
        theta* = theta (1 + radius z),  z <- P(z + sign(dKL/dz) / steps) repeated, |z| <= 1

    The attack needs no labels. The gradient passes through both branches of the KL and through theta*, whose Jacobian
    is the diagonal 1 + radius z. The projection P is the paper's; its published code has none. The noise term is that
    of `ForwardNoise` with a constant displacement and acts in L_task only. Passes a step: steps + 2, and one more with
    forward noise.

    Attributes:
        radius: Half-width of the box as a fraction of |theta|; with a profile, in its standard deviations.
        steps: Ascent steps.
        beta: Weight of the KL; the paper: 0.25 without forward noise, 0.1 with, 0.5 on speech.
        forward_noise: Relative std of the noise in the task loss; 0 for none.
        initial: Size of the random start, as a fraction of the box; the paper's 0.001 |theta| at radius 0.1 is 0.01.
        roles: Roles that are attacked, and that the noise moves; the paper's are weights and biases.
        profile: Name of a profile whose devices are attacked instead.
    """

    name: ClassVar[str] = "adversarial"
    radius: float = 0.1
    steps: int = 10
    beta: float = 0.1
    forward_noise: float = 0.3
    initial: float = 0.01
    roles: tuple[str, ...] = PAPER_ROLES
    profile: str | None = None

    def __post_init__(self) -> None:
        for field in ("radius", "beta", "forward_noise", "initial"):
            _check_level(field, getattr(self, field))
        if self.steps < 1:
            raise ConfigError(f"steps: {self.steps} must be at least 1")
        _check_roles(self.roles)

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""
        box = _placement(self.profile, self.radius, self.roles, problem)
        k = 1.0 if self.profile is None else self.radius
        noise = _placement(None, self.forward_noise, self.roles, problem)

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            task, clean = problem.task(noisy(noise, params, key, through="constant"), batch)
            if not box.coordinates or k == 0:
                return _result(task, params, task=task)
            if noise.coordinates:
                clean = problem.logits(params, batch)
            target = clean.detach()

            def divergence(moved: Mapping[str, Tensor]) -> Tensor:
                return kl_divergence(target, problem.logits(moved, batch))

            start = start_of_attack(box, key, k=k, initial=self.initial)
            z = ascend(box, params, divergence, start, k=k, steps=self.steps)
            robust = kl_divergence(clean, problem.logits(realise(box, params, z), batch))
            return _result(task + self.beta * robust, params, task=task, robust=robust)

        return loss_and_grad


OBJECTIVES: dict[str, type[Standard] | type[ForwardNoise] | type[QuantizationAware] | type[Adversarial]] = {
    cls.name: cls for cls in (Standard, ForwardNoise, QuantizationAware, Adversarial)
}
"""Objectives by name; the command line and run files look here."""


def _result(loss: Tensor, params: Params, **parts: Tensor) -> StepResult:
    return StepResult(loss.item(), gradients(loss, params), {name: part.item() for name, part in parts.items()})


def _placement(profile: str | None, level: float, roles: tuple[str, ...], problem: Problem) -> Placement:
    chosen = load_profile(profile) if profile is not None else Profile.relative(level, roles=roles)
    return place(chosen, problem.net.parameter_specs())


def _check_level(field: str, value: float) -> None:
    if not (0 <= value < math.inf):
        raise ConfigError(f"{field}: {value} must be a finite fraction, 0 or more")


def _check_roles(roles: tuple[str, ...]) -> None:
    for role in roles:
        if role not in ROLES:
            raise ConfigError(unknown("roles", role, ROLES))
