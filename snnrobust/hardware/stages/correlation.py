"""Correlation between the device draws of different roles of one neuron.

The device coordinate of role i becomes sum_j L_ij z_j over the correlated roles of its layer, L L^T being the profile's
matrix, restricted to the roles that the layer has. Roles with one device a neuron come first in L, and each synapse
type is mixed with them and with its own type; so the stated correlations hold for each type, and the identity leaves
every coordinate as it is. Weights that vary synapse by synapse, and what a core or die shares, are not correlated. A
role is meant by its own name: recurrent weights that inherit their spread do not inherit the correlation. Of several
tensors of one role in a layer the first is meant, and a tensor must have a value for each of the layer's neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware.schema.document import CORRELATED
from snnrobust.hardware.stages.base import Coordinate, Stage, Z
from snnrobust.hardware.stages.variation import Variation
from snnrobust.snn.specs import ParameterSpec

if TYPE_CHECKING:
    from snnrobust.hardware.schema.document import Correlation

_JITTER = 1e-10  # the matrix may be singular


@dataclass(frozen=True)
class Mixing:
    """sum_j L_ij z_j of one tensor.

    Attributes:
        terms: L_ij and the coordinate z_j where L_ij is not 0.
        group: Device coordinates of all correlated tensors of the layer.
    """

    terms: tuple[tuple[float, Coordinate], ...]
    group: tuple[Coordinate, ...]

    def mixed(self, z: Z, shape: tuple[int, ...]) -> Tensor | None:
        """The correlated coordinate, which broadcasts to `shape`; None where z has none of the terms."""
        parts = [weight * _fitted(z[c.key], c.shape, len(shape)) for weight, c in self.terms if c.key in z]
        return sum(parts[1:], parts[0]) if parts else None

    def project(self, z: Z, k: float, taken: Tensor | None, share: float, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The group's coordinates, clipped to +-k and scaled down neuron by neuron to what the bound on sums leaves.

        Args:
            z: Coordinates.
            k: Half-width of the box.
            taken: What shared coordinates contribute to each element, at most k.
            share: What a device coordinate of 1 contributes.
            shape: The tensor's device coordinates.
        """
        clipped = {c.key: z[c.key].clamp(-k, k) for c in self.group if c.key in z}
        own = self.mixed(clipped, shape)
        if own is None:
            return clipped
        added = share * own
        room = k - added.sign() * (0.0 if taken is None else taken)
        scale = (room / added.abs().clamp_min(torch.finfo(added.dtype).tiny)).clamp(0, 1)
        scale = scale.amin(tuple(range(1 - len(shape), 0))) if len(shape) > 1 else scale
        return {
            c.key: clipped[c.key] * scale[(..., *(None,) * (len(c.shape) - 1))] for c in self.group if c.key in clipped
        }


def correlate(
    correlation: Correlation, specs: Mapping[str, ParameterSpec], stages: Mapping[str, tuple[Stage, ...]]
) -> dict[str, tuple[Stage, ...]]:
    """The stages of every tensor, with the correlated variations knowing their partners."""
    layers: dict[str, dict[str, tuple[str, Coordinate]]] = {}
    for name, found in stages.items():
        spec = specs[name]
        neurons = max(s.shape[0] if s.shape else 1 for s in specs.values() if s.layer == spec.layer and s.on_chip)
        device = _device(found)
        if device is not None and spec.role in correlation.order and spec.shape[:1] == (neurons,):
            layers.setdefault(spec.layer, {}).setdefault(spec.role, (name, device))
    mixings = {name: mixing for members in layers.values() for name, mixing in _mixings(correlation, members)}
    return {
        name: tuple(
            replace(stage, mixing=mixings[name]) if isinstance(stage, Variation) and name in mixings else stage
            for stage in found
        )
        for name, found in stages.items()
    }


def factor(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower triangular L with L L^T = matrix, to 1e-10 where that is singular; exactly 1 for the identity."""
    lower = np.linalg.cholesky(matrix + _JITTER * np.eye(len(matrix)))
    unit: NDArray[np.float64] = lower / np.sqrt((lower**2).sum(1, keepdims=True))
    return unit


def _mixings(correlation: Correlation, members: Mapping[str, tuple[str, Coordinate]]) -> list[tuple[str, Mixing]]:
    """The mixing of each correlated tensor of a layer; none where all correlations of its roles are 0."""
    order = sorted(members, key=lambda role: (_typed(members[role][1].shape), correlation.order.index(role)))
    index = [correlation.order.index(role) for role in order]
    matrix = np.array(correlation.matrix)[np.ix_(index, index)]
    if np.array_equal(matrix, np.eye(len(matrix))):
        return []
    lower = factor(matrix)
    group = tuple(members[role][1] for role in order)
    return [
        (members[role][0], Mixing(tuple((float(w), c) for w, c in zip(lower[i], group, strict=True) if w), group))
        for i, role in enumerate(order)
    ]


def _device(stages: tuple[Stage, ...]) -> Coordinate | None:
    """The device coordinate of a tensor's variation, if it is one that can be correlated."""
    own = [c for stage in stages if isinstance(stage, Variation) for c in stage.coordinates()]
    return next((c for c in own if c.component == "device" and c.granularity in CORRELATED), None)


def _typed(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[1] == 2


def _fitted(value: Tensor, shape: tuple[int, ...], ndim: int) -> Tensor:
    """A neuron's coordinate of nominal `shape`, or one a type of it, with the axes of device coordinates of `ndim`."""
    lead = value.shape[: value.ndim - len(shape)]
    if ndim == 1:
        return value.reshape(*lead, shape[0])
    return value.reshape(*lead, shape[0], 2 if _typed(shape) else 1, *(1,) * (ndim - 2))
