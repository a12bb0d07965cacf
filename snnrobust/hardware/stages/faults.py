"""Dead elements: synapses that contribute nothing, neurons that never spike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from snnrobust.hardware.crossbar.stuck import block_shape, clustered
from snnrobust.hardware.randomness import upper_quantile
from snnrobust.hardware.stages.base import Context, Coordinate, Z


@dataclass(frozen=True)
class Dead:
    """Elements that are zero with the given probability.

    A dead synapse is a weight of zero. A dead neuron has gain and bias zero, so that it rests at v_leak; both tensors
    read the same coordinates, which belong to the layer.

    Attributes:
        owner: What the draw belongs to: the weight's name, or the layer's.
        component: dead_synapse or dead_neuron.
        granularity: per_synapse or per_neuron.
        shape: Shape of the tensor.
        probability: Of an element to be dead.
        clustered: Blocks of synapses share a part of their fate, as cells that are stuck do.
    """

    owner: str
    component: str
    granularity: str
    shape: tuple[int, ...]
    probability: float
    clustered: bool = False

    def coordinates(self) -> tuple[Coordinate, ...]:
        """One fixed coordinate an element, dead where it exceeds the quantile; and one a block, which it may share."""
        own = Coordinate(self.owner, self.component, self.granularity, self.shape, "fixed")
        if not self.clustered:
            return (own,)
        blocks = block_shape(self._size())
        return own, Coordinate(self.owner, f"{self.component}.cluster", "per_block", blocks, "fixed")

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """theta, and 0 where dead."""
        if self.coordinates()[0].key not in z:
            return theta
        return theta * (~self.dead(z)).to(theta.dtype)

    def dead(self, z: Z) -> Tensor:
        """True where dead, [*shape] or [K, *shape]."""
        own, *block = (z.get(c.key) for c in self.coordinates())
        assert own is not None
        if block and block[0] is not None:
            matrix = own.reshape(*own.shape[: own.ndim - len(self.shape)], *self._size())
            own = clustered(matrix, block[0]).reshape(own.shape)
        return own > upper_quantile(self.probability)

    def _size(self) -> tuple[int, int]:
        return self.shape[0], math.prod(self.shape[1:])

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Faults are held at their draw."""
        return {}
