"""Perturbed parameters for training: random devices, and the worst device in a box or a ball."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from snnrobust.hardware import randomness
from snnrobust.hardware.mismatch import Placement, draw, project, realise
from snnrobust.hardware.stages import Z
from snnrobust.training.problem import Params, StepKey

NORMS = ("linf", "l2")


def noisy(
    placement: Placement,
    params: Params,
    key: StepKey,
    *,
    through: str,
    draws: int = 1,
    first: int = 0,
    antithetic: bool = False,
    censor: float | None = None,
    strength: float = 1.0,
) -> dict[str, Tensor]:
    """Parameters of random devices, drawn for this step.

    Args:
        placement: The parameters on the profile whose devices are drawn.
        params: Nominal parameters.
        key: Seed and step.
        through: "theta" differentiates realise(theta, z); "constant" adds a constant displacement,
            theta + (theta' - theta).detach(), as the paper does.
        draws: Number of devices; several are on an instance axis.
        first: Number of the first device: others of the same step have other numbers.
        antithetic: The second half of the devices are the mirror images -z of the first.
        censor: Right end of the coordinates, z <- min(z, censor); None for none.
        strength: Factor of the coordinates; outliers and faults stay at their draw.
    """
    count = draws // 2 if antithetic else draws
    z = draw(placement, seed=key.seed, purpose="train", instances=range(first, first + count), extra=(key.step,))
    if antithetic:
        z = {name: torch.cat([value, -value]) for name, value in z.items()}
    for name, value in z.items():
        if placement.coordinates[name].kind != "fixed":
            ended = value if censor is None else value.clamp(max=censor)
            z[name] = ended if strength == 1 else strength * ended
    moved = realise(placement, params, {name: value[0] for name, value in z.items()} if draws == 1 else z)
    return moved if through == "theta" else displaced(params, moved)


def displaced(params: Params, moved: Params, share: float = 1.0) -> dict[str, Tensor]:
    """theta + share (theta' - theta).detach(): the gradient at the moved parameters is applied to theta."""
    return {name: p if moved[name] is p else p + share * (moved[name] - p).detach() for name, p in params.items()}


def uniform(key: StepKey, what: str) -> float:
    """A number in (0, 1) drawn for this step and for nothing else."""
    word = randomness.words(randomness.key(key.seed, "train", what, "uniform", "per_step", 0, key.step), 1)
    return (int(word[0] >> 12) + 0.5) / 2**52


def start_of_attack(
    placement: Placement, key: StepKey, *, k: float, initial: float, restarts: int | None = None
) -> dict[str, Tensor]:
    """A random point near the nominal device: continuous coordinates initial k N(0, 1), the others at their draw.

    Args:
        placement: The parameters on the profile whose devices are searched.
        key: Seed and step.
        k: Half-width of the box in standard deviations.
        initial: Size of the start as a fraction of the box.
        restarts: Starts of the same device on an instance axis, the first of which is that of None; None for one
            without that axis.
    """
    starts = None if restarts is None else range(restarts)
    near = draw(placement, seed=key.seed, purpose="attack", instances=starts, extra=(key.step,), kinds=("continuous",))
    held = draw(
        placement, seed=key.seed, purpose="train", instances=None, extra=(key.step,), kinds=("fixed", "temporal")
    )
    if restarts is not None:
        held = {name: value.expand(restarts, *value.shape) for name, value in held.items()}
    return {**held, **{name: value * (initial * k) for name, value in near.items()}}


def ascend(
    placement: Placement,
    params: Params,
    loss: Callable[[Mapping[str, Tensor]], Tensor],
    start: Mapping[str, Tensor],
    *,
    k: float,
    steps: int,
    norm: str = "linf",
) -> dict[str, Tensor]:
    """Projected gradient ascent on a loss over devices.

        linf    z <- P(z + (k / steps) sign(g)),     g = dloss/dz,  P onto the box |z_i| <= k
        l2      z <- P(z + (r / steps) g / ||g||),   P onto the ball ||z|| <= r = k sqrt(n)

    n is the number of continuous coordinates of a device, so that k is the root mean square of z on the sphere, as it
    is of a device whose standard deviations are k times as large. In theta the ball is an ellipsoid with the spread of
    each parameter as its axes. P of the box also holds the bound on the sum of a parameter's components (see
    `mismatch.project`). The result never leaves the set.

    Coordinates with an instance axis are so many attacks at once, if the loss is a sum or mean over them.

    Args:
        placement: The parameters on the profile whose devices are searched.
        params: Nominal parameters; no gradient flows into them.
        loss: A scalar of the device's parameters, to be maximised.
        start: Coordinates to start from.
        k: Half-width of the box in standard deviations, or root mean square of z on the sphere.
        steps: Number of steps; 0 only projects the start.
        norm: "linf" or "l2".

    Returns:
        The coordinates reached, without gradient.
    """
    theta = {name: p.detach() for name, p in params.items()}
    free = [name for name in start if placement.coordinates[name].kind == "continuous"]
    shapes = {name: placement.coordinates[name].shape for name in free}
    radius = k * math.sqrt(sum(math.prod(shape) for shape in shapes.values()))

    def within(z: Z) -> dict[str, Tensor]:
        if norm == "linf":
            return project(placement, z, k)
        length = _length({name: z[name] for name in free}, shapes)
        return {**z, **_scaled({name: z[name] for name in free}, shapes, (radius / length).clamp(max=1))}

    def step(found: dict[str, Tensor]) -> dict[str, Tensor]:
        if norm == "linf":
            return {name: (k / steps) * g.sign() for name, g in found.items()}
        return _scaled(found, shapes, (radius / steps) / _length(found, shapes))

    z = within({name: value.detach() for name, value in start.items()})
    for _ in range(steps if free else 0):
        leaves = {name: z[name].clone().requires_grad_() for name in free}
        value = loss(realise(placement, theta, {**z, **leaves}))
        found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        moved = step(dict(zip(free, found, strict=True)))
        z = within({**z, **{name: z[name] + moved[name] for name in free}})
    return z


def _length(parts: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    """Euclidean length over all tensors, of each instance where they have that axis."""
    squares = [part.square().reshape(*_instances(part, shapes[name]), -1).sum(-1) for name, part in parts.items()]
    return torch.stack(squares).sum(0).sqrt().clamp_min(1e-30)


def _instances(part: Tensor, shape: tuple[int, ...]) -> torch.Size:
    return part.shape[: part.ndim - len(shape)]


def _scaled(parts: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], factor: Tensor) -> dict[str, Tensor]:
    """Tensors times a factor of each instance."""
    return {name: part * factor[(..., *(None for _ in shapes[name]))] for name, part in parts.items()}
