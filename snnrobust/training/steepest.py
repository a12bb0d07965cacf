"""Steepest ascent in the parameters themselves, in Euclidean balls that know no device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from snnrobust.training.problem import Params

TINY = 1e-30


def slope(params: Params, names: Sequence[str], loss: Callable[[Params], Tensor]) -> dict[str, Tensor]:
    """dloss/dparam of the named parameters; no gradient flows anywhere else."""
    theta = {name: p.detach() for name, p in params.items()}
    leaves = {name: theta[name].clone().requires_grad_() for name in names}
    found = torch.autograd.grad(loss({**theta, **leaves}), list(leaves.values()), materialize_grads=True)
    return dict(zip(names, found, strict=True))


def moved_by(params: Params, shift: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """theta + shift: the gradient at the moved parameters is applied to theta."""
    return {name: p + shift[name] if name in shift else p for name, p in params.items()}


def steepest(
    params: Params,
    names: Sequence[str],
    loss: Callable[[Params], Tensor],
    *,
    radius: float,
    scale: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """The best first-order step in one ellipsoid over all tensors, ||T^-1 e|| <= radius: e = radius T^2 g / ||T g||.

    Args:
        params: Parameters to start from.
        names: Those that move.
        loss: A scalar, to be maximised.
        radius: Of the ellipsoid.
        scale: T(theta), elementwise.

    Returns:
        e by name, without gradient.
    """
    g = slope(params, names, loss)
    T = {name: scale(params[name].detach()) for name in names}
    length = torch.stack([torch.linalg.vector_norm(T[name] * g[name]) for name in names]).square().sum().sqrt()
    return {name: radius * T[name] ** 2 * g[name] / length.clamp_min(TINY) for name in names}


def climb(
    params: Params, loss: Callable[[Params], Tensor], *, radius: Mapping[str, Tensor | float], steps: int
) -> dict[str, Tensor]:
    """Ascent in a ball of each tensor's own: e <- P(e + (radius / steps) g / ||g||), ||e|| <= radius, from e = 0.

    The steps are of the length radius / steps, so that e is inside the ball without a projection.

    Args:
        params: Parameters to start from.
        loss: A scalar, to be maximised.
        radius: Radius of each tensor that moves, by name.
        steps: Number of steps.

    Returns:
        e by name, without gradient.
    """
    e = {name: torch.zeros_like(params[name]) for name in radius}
    for _ in range(steps):
        g = slope(moved_by(params, e), list(radius), loss)
        for name, r in radius.items():
            e[name] = e[name] + (r / steps) * g[name] / torch.linalg.vector_norm(g[name]).clamp_min(TINY)
    return e
