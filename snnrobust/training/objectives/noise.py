"""Objectives on random devices: how they are drawn, and how the losses of several are combined."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from snnrobust.errors import ConfigError
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
from snnrobust.training.objectives.standard import Standard
from snnrobust.training.perturb import noisy, uniform
from snnrobust.training.problem import Batch, Outputs, Params, Problem, StepKey

THROUGH = ("constant", "theta")
OutputsOf: TypeAlias = Callable[[Params, Batch, StepKey], Outputs]


@dataclass(frozen=True, kw_only=True)
class ForwardNoise(Choices):
    """The mean task loss at random devices (Murray and Edwards 1994, doi:10.1109/72.317730).

        L = mean_k L_task(theta'_k),   theta' = theta (1 + level z),   z ~ N(0, 1)

    or random devices of a profile, theta' = realise(profile, theta, z). Passes a step: draws.

    With antithetic pairs z, -z the part of the loss that is odd in z cancels from the mean. `devices` gives every
    device a part of the batch: as many devices as samples make it noise per sample. It sees as many samples as one pass
    does, but runs the parts one after the other, and small ones take longer than their share. A level
    drawn anew at each step is the variance-aware training of arXiv:2503.16183, and one that grows over the training
    that of arXiv:2602.07320, which finds a level above that of the chips best.

    Attributes:
        level: Relative mismatch std, a fraction; unused with a profile.
        least: Each step's factor of the level is uniform in least .. 1; 1 for a fixed level.
        ramp: Share of the training in which the level grows linearly from 0; 0 for none.
        draws: Devices that see the whole batch in a step.
        antithetic: Draw them in pairs z, -z.
        devices: Devices that share a batch between them.
        censor: Right end of z in standard deviations, z <- min(z, censor); None for none.
        roles: Roles that vary; unused with a profile.
        profile: Name of a profile whose devices are drawn instead; least and ramp then scale its z.
        through: "constant", the gradient at theta' is applied to theta (the paper); or "theta", through realise.
    """

    name: ClassVar[str] = "forward_noise"
    level: float = 0.3
    least: float = 1.0
    ramp: float = 0.0
    draws: int = 1
    antithetic: bool = False
    devices: int = 1
    censor: float | None = None
    roles: tuple[str, ...] = PAPER_ROLES
    profile: str | None = None
    through: str = "constant"

    def __post_init__(self) -> None:
        check_level("level", self.level)
        for field in ("least", "ramp"):
            check_share(field, getattr(self, field))
        for field in ("draws", "devices"):
            check_count(field, getattr(self, field))
        if self.antithetic and self.draws % 2:
            raise ConfigError(f"draws: {self.draws} must be even where they are antithetic pairs")
        if self.censor is not None and not math.isfinite(self.censor):
            raise ConfigError(f"censor: {self.censor} must be finite standard deviations, or None")
        check_roles(self.roles)
        check_word("through", self.through, THROUGH)

    @property
    def passes(self) -> int:
        """One for each draw; one where nothing varies."""
        return self.draws if self._varies else 1

    @property
    def sees_nominal(self) -> bool:
        """Only where nothing varies."""
        return not self._varies

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""
        outputs = self.outputs(problem)

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            found = outputs(params, batch, key)
            task = self.combined(problem.loss(found, batch.y))
            return Losses(task, {"task": task}, None if self._varies else found.logits)

        return losses

    def combined(self, each: Tensor) -> Tensor:
        """One number of the losses of the devices [K]: their mean."""
        return each.mean()

    def outputs(self, problem: Problem) -> OutputsOf:
        """The outputs at the step's devices: of one device without an instance axis, of several with it."""
        placement = placed(self.profile, self.level, self.roles, problem)

        def outputs(params: Params, batch: Batch, key: StepKey) -> Outputs:
            strength = self.strength(key)
            found = []
            for part, own in enumerate(_parts(batch, self.devices)):
                moved = noisy(
                    placement,
                    params,
                    key,
                    through=self.through,
                    draws=self.draws,
                    first=part * self.draws,
                    antithetic=self.antithetic,
                    censor=self.censor,
                    strength=strength,
                )
                found.append(problem.outputs(moved, own))
            return found[0] if len(found) == 1 else _joined(found)

        return outputs

    def strength(self, key: StepKey) -> float:
        """This step's factor of the level."""
        drawn = 1.0 if self.least == 1 else self.least + (1 - self.least) * uniform(key, "level")
        return drawn if self.ramp == 0 else drawn * min(1.0, key.done / self.ramp)

    @property
    def _varies(self) -> bool:
        return self.profile is not None or (self.level > 0 and bool(self.roles))


@dataclass(frozen=True, kw_only=True)
class MixedNoise(ForwardNoise):
    """Noisy and clean loss together, as mixed random weight perturbation (arXiv:2404.00357) does.

        L = (1 - clean) mean_k L_task(theta'_k) + clean L_task(theta)

    Passes a step: draws + 1.

    Attributes:
        clean: Weight of the clean loss.
    """

    name: ClassVar[str] = "mixed_noise"
    clean: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("clean", self.clean)

    @property
    def passes(self) -> int:
        """One for each draw, and one more for the clean loss."""
        return super().passes + (self.clean > 0 and self._varies)

    @property
    def sees_nominal(self) -> bool:
        """With a clean loss, or where nothing varies."""
        return self.clean > 0 or super().sees_nominal

    def loss(self, problem: Problem) -> Loss:
        """See `Choices`."""
        noise, nominal = super().loss(problem), Standard().loss(problem)
        if self.clean == 0 or not self._varies:
            return noise

        def losses(params: Params, batch: Batch, key: StepKey) -> Losses:
            moved, still = noise(params, batch, key), nominal(params, batch, key)
            total = (1 - self.clean) * moved.total + self.clean * still.total
            return Losses(total, {"task": total, "noisy": moved.total, "clean": still.total}, still.clean)

        return losses


@dataclass(frozen=True, kw_only=True)
class CVaR(ForwardNoise):
    """The mean loss of the worst devices of a step: the conditional value at risk of the loss over chips.

        L = mean of the ceil(tail draws) largest of L_task(theta'_1) ... L_task(theta'_draws)

    (Rockafellar and Uryasev 2000, doi:10.21314/JOR.2000.038). Passes a step: draws.

    Attributes:
        draws: Devices that see the whole batch in a step; a tail needs some.
        tail: Share of the devices that count; 1 is the mean, and a share of one device the worst.
    """

    name: ClassVar[str] = "cvar"
    draws: int = 8
    tail: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("tail", self.tail)

    def combined(self, each: Tensor) -> Tensor:
        """The mean of the largest."""
        if each.ndim == 0:
            return each
        return each.topk(max(1, math.ceil(self.tail * len(each) - 1e-9))).values.mean()


@dataclass(frozen=True, kw_only=True)
class RightCensoredNoise(ForwardNoise):
    """Noise without its largest deviations upwards: TRICE (Yan et al. 2023, arXiv:2307.15853).

        L = L_task(theta'),   theta' = theta (1 + level min(z, censor)),   z ~ N(0, 1)

    It is made for a low quantile of the accuracy over chips instead of its mean. Passes a step: draws. With a relative
    spread the end is one of the size |theta|. Their search for level and censor is not part of it.

    Attributes:
        censor: Right end of z in standard deviations.
    """

    name: ClassVar[str] = "right_censored_noise"
    censor: float | None = 1.0


def _parts(batch: Batch, count: int) -> list[Batch]:
    """A batch in so many parts of nearly equal size, at least one sample each."""
    if count == 1:
        return [batch]
    rows = torch.arange(len(batch.y)).tensor_split(min(count, len(batch.y)))
    return [Batch(batch.x[:, own], batch.y[own], None if batch.lengths is None else batch.lengths[own]) for own in rows]


def _joined(parts: list[Outputs]) -> Outputs:
    """The outputs of a batch from those of its parts."""
    logits = torch.cat([part.logits for part in parts], dim=-2)
    return Outputs(logits, {name: torch.cat([part.rates[name] for part in parts], dim=-2) for name in parts[0].rates})
