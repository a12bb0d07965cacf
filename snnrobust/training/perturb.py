"""Perturbed parameters for training: random devices, and the worst device in a box."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from snnrobust.hardware.mismatch import Placement, draw, project, realise
from snnrobust.training.problem import Params, StepKey


def noisy(placement: Placement, params: Params, key: StepKey, *, through: str) -> dict[str, Tensor]:
    """Parameters of one random device, drawn for this step.

    Args:
        placement: The parameters on the profile whose devices are drawn.
        params: Nominal parameters.
        key: Seed and step.
        through: "theta" differentiates realise(theta, z); "constant" adds a constant displacement,
            theta + (theta' - theta).detach(), as the paper does.
    """
    z = draw(placement, seed=key.seed, purpose="train", instances=None, extra=(key.step,))
    moved = realise(placement, params, z)
    if through == "theta":
        return moved
    return {name: p if moved[name] is p else p + (moved[name] - p).detach() for name, p in params.items()}


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
) -> dict[str, Tensor]:
    """Projected gradient ascent on a loss over devices: z <- P(z + (k / steps) sign(dloss/dz)).

    Coordinates with an instance axis are so many attacks at once, if the loss is a sum or mean over them.

    P projects onto the box |z| <= k (and onto the bound on the sum of a parameter's components, see
    `mismatch.project`), so the result never leaves it.

    Args:
        placement: The parameters on the profile whose devices are searched.
        params: Nominal parameters; no gradient flows into them.
        loss: A scalar of the device's parameters, to be maximised.
        start: Coordinates to start from.
        k: Half-width of the box in standard deviations.
        steps: Number of steps; 0 only projects the start.

    Returns:
        The coordinates reached, without gradient.
    """
    theta = {name: p.detach() for name, p in params.items()}
    z = project(placement, {name: value.detach() for name, value in start.items()}, k)
    free = [name for name in z if placement.coordinates[name].kind == "continuous"]
    for _ in range(steps if free else 0):
        leaves = {name: z[name].clone().requires_grad_() for name in free}
        value = loss(realise(placement, theta, {**z, **leaves}))
        found = torch.autograd.grad(value, [leaves[name] for name in free], allow_unused=True)
        moved = {
            name: z[name] if g is None else z[name] + (k / steps) * g.sign()
            for name, g in zip(free, found, strict=True)
        }
        z = project(placement, {**z, **moved}, k)
    return z
