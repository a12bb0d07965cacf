"""What every objective is: a frozen set of choices that gives a loss, differentiable in the parameters.

`bind(problem)` makes of it the pure function loss_and_grad(params, batch, key) that the trainer calls: no `.grad`,
mode, buffer or global generator changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware.mismatch import Placement, place
from snnrobust.hardware.profile import Profile, load_profile
from snnrobust.snn.specs import ROLES
from snnrobust.training.problem import Batch, Params, Problem, StepKey, StepResult, gradients

PAPER_ROLES = ("weight", "recurrent_weight", "bias")
"""What the paper's mismatch moves and its attack climbs in: weights and biases."""


class Losses(NamedTuple):
    """The value of an objective on one batch, with its graph.

    Attributes:
        total: What is minimised, a scalar.
        parts: Parts of it by name, for the history.
        clean: Logits of the nominal parameters, where a pass gave them on the way; for terms that need them as well.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    clean: Tensor | None = None


Loss: TypeAlias = Callable[[Params, Batch, StepKey], Losses]
LossAndGrad: TypeAlias = Callable[[Params, Batch, StepKey], StepResult]


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
class Choices:
    """Shared by all objectives: choices as plain values, and the gradient of a loss."""

    name: ClassVar[str] = ""

    @property
    def passes(self) -> int:
        """Forward passes of the whole batch an update; nearly each has a backward pass."""
        raise NotImplementedError

    @property
    def sees_nominal(self) -> bool:
        """Whether a pass at the nominal parameters is among them, so that `Losses.clean` is there."""
        return False

    def loss(self, problem: Problem) -> Loss:
        """The objective's value as a function of (params, batch, key), differentiable in params."""
        raise NotImplementedError

    def bind(self, problem: Problem) -> LossAndGrad:
        """See `Objective`."""
        loss = self.loss(problem)

        def loss_and_grad(params: Params, batch: Batch, key: StepKey) -> StepResult:
            total, parts, _ = loss(params, batch, key)
            metrics = {name: part.item() for name, part in parts.items()}
            return StepResult(total.item(), gradients(total, params), metrics)

        return loss_and_grad

    def to_dict(self) -> dict[str, Any]:
        """Name and choices, as plain values; `objective_from` makes the objective of them again."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
        plain |= {key: v.to_dict() for key, v in values.items() if isinstance(v, Choices)}
        profile: str | None = values.get("profile")
        if profile is not None:  # a file of that name may change
            plain["profile_hash"] = load_profile(profile).hash
        return {"name": self.name, **plain}


def placed(profile: str | None, level: float, roles: tuple[str, ...], problem: Problem) -> Placement:
    """The network on a profile, or under relative mismatch of this level."""
    chosen = load_profile(profile) if profile is not None else Profile.relative(level, roles=roles)
    return place(chosen, problem.net.parameter_specs())


def movable(problem: Problem, params: Params, roles: tuple[str, ...]) -> list[str]:
    """Names of the parameters of these roles that are trained."""
    specs = problem.net.parameter_specs()
    return [name for name, p in params.items() if p.requires_grad and specs[name].role in roles]


def check_level(field: str, value: float) -> None:
    """Raise ConfigError unless this is a finite fraction, 0 or more."""
    if not (0 <= value < math.inf):
        raise ConfigError(f"{field}: {value} must be a finite fraction, 0 or more")


def check_share(field: str, value: float) -> None:
    """Raise ConfigError unless this is a share, 0 to 1."""
    if not (0 <= value <= 1):
        raise ConfigError(f"{field}: {value} must be a share, 0 to 1")


def check_count(field: str, value: int, least: int = 1) -> None:
    """Raise ConfigError unless this is at least so many."""
    if value < least:
        raise ConfigError(f"{field}: {value} must be at least {least}")


def check_word(field: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless this word is allowed."""
    if value not in allowed:
        raise ConfigError(unknown(field, value, allowed))


def check_roles(roles: tuple[str, ...]) -> None:
    """Raise ConfigError unless all are roles."""
    for role in roles:
        check_word("roles", role, ROLES)
