"""What a stage is: one non-ideality of one parameter tensor, a differentiable function of its coordinates z."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from snnrobust.snn.specs import ParameterSpec

Z = Mapping[str, Tensor]
"""Coordinates by `Coordinate.key`, each in its nominal shape or with a leading instance axis; absent ones are 0."""


@dataclass(frozen=True)
class Coordinate:
    """One tensor of standard normal coordinates that a stage reads.

    Attributes:
        parameter: What the draw belongs to: a tensor's name or, where the whole chip shares it, a role or a layer.
        component: Which contribution it drives: die, spatial, device, ...
        granularity: What shares one value; a part of the random key.
        shape: Shape for one instance.
        kind: "continuous" ones can be attacked; "fixed" ones decide outliers and faults and are held at their draw;
            "temporal" ones are drawn again in every trial.
    """

    parameter: str
    component: str
    granularity: str
    shape: tuple[int, ...]
    kind: Literal["continuous", "fixed", "temporal"] = "continuous"

    @property
    def key(self) -> str:
        """Name of the coordinate among all of a chip."""
        return f"{self.parameter}/{self.component}"


@dataclass(frozen=True)
class Context:
    """Where a tensor stands.

    Attributes:
        spec: Role, shape and layer of the tensor.
        siblings: Nominal parameters of the same layer by role, for spreads that are measured in others' units.
    """

    spec: ParameterSpec
    siblings: Mapping[str, Tensor]


class Stage(Protocol):
    """One non-ideality, bound to one parameter tensor."""

    def coordinates(self) -> tuple[Coordinate, ...]:
        """The coordinates that `apply` reads."""
        ...

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The tensor after this non-ideality; theta itself where z has none of the stage's coordinates."""
        ...

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """The stage's continuous coordinates, moved into the box of k standard deviations."""
        ...


def clamped(stage: Stage, z: Z, k: float) -> dict[str, Tensor]:
    """Every continuous coordinate of a stage clipped to [-k, k]: the projection where coordinates do not add up."""
    own = [c.key for c in stage.coordinates() if c.kind == "continuous" and c.key in z]
    return {key: z[key].clamp(-k, k) for key in own}


def device_shape(granularity: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one instance's device coordinates for weights [N, I, ...] or values [N].

    per_synapse: every element. per_neuron, per_column: one a neuron. per_neuron_type: one a neuron and sign of the
    weight (excitatory, inhibitory). per_core, per_die: one (a layer is one core), without axes, because tensors of
    different numbers of axes share it.
    """
    if granularity in ("per_core", "per_die"):
        return ()
    if len(shape) <= 1 or granularity == "per_synapse":
        return shape
    return (shape[0], 2 if granularity == "per_neuron_type" else 1, *(1,) * (len(shape) - 2))


def by_sign(z: Tensor, theta: Tensor, ndim: int) -> Tensor:
    """Pick the excitatory (0) or inhibitory (1) column of z [.., N, 2, ...] for each weight: [.., N, I, ...]."""
    axis = z.ndim - ndim + 1
    excitatory, inhibitory = z.narrow(axis, 0, 1), z.narrow(axis, 1, 1)
    return torch.where(theta < 0, inhibitory, excitatory)


def aligned(value: Tensor, shape: tuple[int, ...], ndim: int) -> Tensor:
    """A coordinate of nominal `shape`, given trailing axes so that it broadcasts against a tensor of `ndim` axes."""
    return value[(..., *(None,) * (ndim - len(shape)))]


def largest(theta: Tensor, shape: tuple[int, ...], *, per_column: bool) -> Tensor:
    """The largest |theta| of a tensor of nominal `shape`, or of each neuron's weights, without gradient.

    Every instance has its own, so that a chip does not depend on the others of its block.
    """
    first = 1 if per_column and len(shape) > 1 else 0
    axes = tuple(range(first - len(shape), 0))
    magnitude = theta.detach().abs()
    return magnitude.amax(axes, keepdim=True) if axes else magnitude
