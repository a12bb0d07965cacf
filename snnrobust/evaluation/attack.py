"""Attacks on the parameters of a trained network: the device in a box that hurts most, found by gradient ascent.

    z* = argmax L(realise(theta, z)),  |z| <= radius

L is the task's cross-entropy ("task") or KL( f(x, D(theta)) || f(x, theta') ) ("kl", which needs no labels), both as a
mean over samples. The search is projected ascent on sign(dL/dz) (Büchel, Faber and Muir, ICLR 2022, arXiv:2106.05009,
figure 3); surrogate gradients and restarts leave open whether there is a worse device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware.mismatch import Placement, draw, place, project, realise
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.training.data import precision
from snnrobust.training.perturb import ascend
from snnrobust.training.problem import Batch

LOSSES = ("task", "kl")
_NEAR = 0.01  # size of the first start as a fraction of the box; the paper's 0.001 |theta| at radius 0.1


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a box is searched.

    Attributes:
        loss: "task" or "kl".
        steps: Ascent steps, each radius / steps along the sign of the gradient.
        restarts: Starts: the first near the nominal device, the others anywhere in the box.
        seed: Seed of the starts and of outliers, faults and temporal draws, which the search holds as they are.
    """

    loss: str = "task"
    steps: int = 20
    restarts: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ConfigError(unknown("loss", self.loss, LOSSES))
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class Attacked:
    """Devices that an attack found, the most harmful first.

    Attributes:
        z: Coordinates [R, *shape] by key: where each restart ended, and the vertex of the box nearest to it.
        params: Parameters by name; those that the profile changes have the instance axis R.
        loss: The loss of each on the samples that were attacked [R], in falling order.
        nominal: The loss of the device without random variation.
    """

    z: dict[str, Tensor]
    params: dict[str, Tensor]
    loss: Tensor
    nominal: float


def attack(
    net: Deployable,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    profile: Profile | None = None,
    calibration: str = "none",
    lengths: Tensor | None = None,
    loss: str = "task",
    steps: int = 20,
    restarts: int = 5,
    class_weights: Tensor | None = None,
    seed: int = 1,
) -> Attacked:
    """The most harmful devices that are found in a box.

    Args:
        net: A trained network.
        x: Inputs [T, B, I].
        y: Classes [B].
        radius: Half-width of the box, in standard deviations of the profile; without one, as a fraction of |theta| of
            weights and biases.
        profile: The chip.
        calibration: What a lab did to it (`Chip.deploy`).
        lengths: Valid steps of each sample [B].
        loss: "task" or "kl".
        steps: Ascent steps.
        restarts: Starts, all searched at once.
        class_weights: Weight of each class in the cross-entropy [O].
        seed: Seed of the starts.

    Raises:
        ConfigError: For an argument outside its domain.
    """
    placement = place(box_profile(profile), net.parameter_specs(), calibration=calibration)
    search = Search(loss=loss, steps=steps, restarts=restarts, seed=seed)
    return find(net, placement, Batch(x, y, lengths), radius, search, class_weights=class_weights)


def box_profile(profile: Profile | None) -> Profile:
    """The profile, or that of theta (1 + z) on weights and biases, whose radii are fractions of |theta|."""
    return Profile.relative(1.0) if profile is None else profile


def check_radius(radius: float) -> None:
    """Raise ConfigError unless this is the half-width of a box."""
    if not 0 <= radius < math.inf:
        raise ConfigError(f"radius: {radius} must be finite, 0 or more")


def find(
    net: Deployable,
    placement: Placement,
    batch: Batch,
    radius: float,
    search: Search,
    *,
    class_weights: Tensor | None = None,
    also: Mapping[str, Tensor] | None = None,
) -> Attacked:
    """`attack` on a placement that is at hand; `also` are further devices [R, *shape], compared with those found."""
    check_radius(radius)
    theta = {name: p.detach() for name, p in net.nominal().items()}
    held = held_coordinates(placement, search.seed)
    lone = {key: value[0] for key, value in held.items()}
    with torch.no_grad():
        clean = net.run(realise(placement, theta, lone), batch.x, batch.lengths)

    def losses(params: Mapping[str, Tensor]) -> Tensor:
        logits = net.run(params, batch.x, batch.lengths)
        own = logits if logits.ndim == 3 else logits.unsqueeze(0)
        if search.loss == "kl":
            return divergences(clean, own)
        return cross_entropies(own, batch.y, class_weights)

    start = _starts(placement, search, radius, held)
    z = ascend(placement, theta, lambda p: losses(p).sum(), start, k=radius, steps=search.steps)
    candidates = [z, _vertices(placement, z, radius), *([] if also is None else [also])]
    z = {key: torch.cat([own[key] for own in candidates]) for key in z}
    with torch.no_grad():
        params = realise(placement, theta, z)
        found = losses(params)
        order = torch.argsort(found.nan_to_num(torch.inf), descending=True, stable=True)
        z = {key: value[order] for key, value in z.items()}
        base = losses(realise(placement, theta, lone))
        return Attacked(z, realise(placement, theta, z), found[order], float(base[0]))


def held_coordinates(placement: Placement, seed: int) -> dict[str, Tensor]:
    """Outliers, faults and temporal draws of the one chip that is attacked, [1, *shape] by key."""
    return draw(placement, seed=seed, purpose="attack", instances=(0,), kinds=("fixed", "temporal", "slow"))


def _starts(placement: Placement, search: Search, radius: float, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    drawn = draw(placement, seed=search.seed, purpose="attack", instances=range(search.restarts), kinds=("continuous",))
    inside = {key: radius * torch.erf(value / math.sqrt(2)) for key, value in drawn.items()}  # uniform in the box
    for key, value in drawn.items():
        inside[key][0] = _NEAR * radius * value[0]
    every = {key: value.expand(search.restarts, *value.shape[1:]) for key, value in held.items()}
    return project(placement, {**inside, **every}, radius)


def _vertices(placement: Placement, z: Mapping[str, Tensor], radius: float) -> dict[str, Tensor]:
    """The vertices of the box nearest to devices: an ascent that turned once stops short of them."""
    free = [key for key in z if placement.coordinates[key].kind == "continuous"]
    moved = {key: radius * torch.where(z[key] < 0, -1.0, 1.0).to(z[key].dtype) for key in free}
    return project(placement, {**z, **moved}, radius)


def cross_entropies(logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of each device's logits [K, B, O]: [K]."""
    log_p = logits.log_softmax(-1).gather(-1, y.expand(len(logits), -1).unsqueeze(-1)).squeeze(-1)
    if weights is None:
        return -log_p.mean(-1)
    of_sample = weights.to(log_p.dtype)[y]
    return -(log_p * of_sample).sum(-1) / of_sample.sum()


def divergences(clean: Tensor, logits: Tensor) -> Tensor:
    """KL(softmax clean || softmax logits) of each device's logits [K, B, O], mean over samples: [K]."""
    log_p, log_q = clean.log_softmax(-1), logits.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean(-1)


def dtype_of(net: Deployable) -> torch.dtype:
    """The dtype that inputs need to meet the network's parameters."""
    return precision(net.nominal())
