"""What a stage is: one non-ideality of one parameter tensor, a differentiable function of its coordinates z."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from snnrobust.compiled import run_jobs
from snnrobust.snn.specs import ParameterSpec

Z = Mapping[str, Tensor]
"""Coordinates by `Coordinate.key`, each in its nominal shape or with a leading instance axis; absent ones are 0."""

Kind = Literal["continuous", "fixed", "converter", "temporal", "slow"]
STATIC: tuple[Kind, ...] = ("continuous", "fixed", "converter")
"""Kinds of coordinates that a chip keeps."""
TEMPORAL: tuple[Kind, ...] = ("temporal", "slow")
"""Kinds that are drawn again while it is used."""

_CHUNK = 1 << 16
"""Elements that a stage works on at once where no gradient is wanted."""


@dataclass(frozen=True)
class Coordinate:
    """One tensor of standard normal coordinates that a stage reads.

    Attributes:
        parameter: What the draw belongs to: a tensor's name or, where the whole chip shares it, a role or a layer.
        component: Which contribution it drives: die, spatial, device, ...
        granularity: What shares one value; a part of the random key.
        shape: Shape for one instance.
        kind: "continuous" ones can be attacked; "fixed" ones decide outliers and faults and are held at their draw,
            "converter" ones move no parameter but what is read, and are held, too;
            "temporal" ones are drawn again in every trial, "slow" ones in every part of a trial.
        per_write: It is drawn again whenever the parameter is written.
    """

    parameter: str
    component: str
    granularity: str
    shape: tuple[int, ...]
    kind: Kind = "continuous"
    per_write: bool = False

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


def by_instance(move: Callable[..., Tensor], theta: Tensor, *parts: Tensor | None) -> Tensor:
    """move(*parts), an elementwise function whose result is theta moved; parts have the instance axis, or are theta's.

    Without gradients a few instances are moved at a time: the same values, but the temporaries stay in the cache, and
    no pages of memory are mapped for them, which takes longer than the arithmetic; on the threads of the kernels.
    """
    return all_by_instance(lambda *own: (move(*own),), theta, *parts)[0]


def all_by_instance(
    move: Callable[..., tuple[Tensor, ...]], theta: Tensor, *parts: Tensor | None
) -> tuple[Tensor, ...]:
    """`by_instance` of a function with several results, all of them as theta moved."""
    counts = {len(part) for part in parts if part is not None and part.ndim > theta.ndim}
    step = max(1, _CHUNK // max(theta.numel(), 1))
    if torch.is_grad_enabled() or theta.device.type != "cpu" or not counts or max(counts) <= step:
        return move(*parts)

    def some(k: int) -> tuple[Tensor, ...]:
        return move(*(p if p is None or p.ndim == theta.ndim else p[k : k + step] for p in parts))

    first = some(0)
    out = tuple(theta.new_empty((max(counts), *theta.shape)) for _ in first)

    def fill(start: int, stop: int) -> None:
        with torch.no_grad():  # which is a matter of each thread
            for n in range(start, stop):
                for whole, own in zip(out, first if n == 0 else some(n * step), strict=True):
                    whole[n * step : (n + 1) * step] = own

    run_jobs(fill, -(-max(counts) // step))
    return out


def clamped(stage: Stage, z: Z, k: float) -> dict[str, Tensor]:
    """Every continuous coordinate of a stage clipped to [-k, k]: the projection where coordinates do not add up."""
    own = [c.key for c in stage.coordinates() if c.kind == "continuous" and c.key in z]
    return {key: z[key].clamp(-k, k) for key in own}


def device_shape(granularity: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one instance's device coordinates for weights [N, I, ...] or values [N].

    per_synapse: every element. per_neuron, per_column: one a neuron. per_neuron_type: one a neuron and sign of the
    weight (excitatory, inhibitory). per_die: one, without axes, because tensors of different numbers of axes share it.
    (per_core is one a core, and the number of cores is the layout's.)
    """
    if granularity == "per_die":
        return ()
    if len(shape) <= 1 or granularity == "per_synapse":
        return shape
    return (shape[0], 2 if granularity == "per_neuron_type" else 1, *(1,) * (len(shape) - 2))


def by_sign(z: Tensor, negative: Tensor, ndim: int) -> Tensor:
    """The column of z [.., N, 2, ...] for each weight [.., N, I, ...]: 0, or 1 where `negative` is 1 and not 0."""
    axis = z.ndim - ndim + 1
    excitatory, inhibitory = z.narrow(axis, 0, 1), z.narrow(axis, 1, 1)
    return torch.lerp(excitatory, inhibitory, negative)  # exact at 0 and 1; where takes four times as long


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


def straight_through(theta: Tensor, stored: Tensor) -> Tensor:
    """`stored` to the bit, with the gradient of theta."""
    return stored + (theta - theta.detach())
