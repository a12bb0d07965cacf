"""Where the neurons of a network lie on a chip.

Layers are packed in the order of the network's parameters, neuron by neuron. A core takes `neurons_per_core` of them,
so that a layer may span cores and a core may hold several layers; without such a limit every layer has a core of its
own. Cores stand row by row on the smallest square grid that holds them, and neurons row by row on the smallest square
grid that holds a full core, or all neurons where one core is enough. The die is the square of the cores in use, its
edge is 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.snn.specs import ParameterSpec


@dataclass(frozen=True, eq=False)
class Layout:
    """The places of P neurons, those of one layer after the other.

    Attributes:
        cores: Number of cores in use.
        core: Number of each neuron's core, [P].
        x: Place of each neuron along the die's edge, in (0, 1), [P], float64.
        y: The same along the other edge.
        first: Index of each layer's first neuron.
    """

    cores: int
    core: Tensor
    x: Tensor
    y: Tensor
    first: Mapping[str, int]

    def rows(self, spec: ParameterSpec) -> slice:
        """The neurons of a tensor: as many as its first axis has, from the layer's first one; one where it has none."""
        start = self.first[spec.layer]
        return slice(start, start + _neurons(spec))


def pack(specs: Mapping[str, ParameterSpec], neurons_per_core: int | None = None) -> Layout:
    """The layout of the layers that are on the chip (rules in the module's docstring).

    Args:
        specs: The network's parameters, in the order of the layers.
        neurons_per_core: Neurons that a core takes; None gives every layer a core of its own.
    """
    counts: dict[str, int] = {}
    for spec in specs.values():
        if spec.on_chip and spec.role != "none":
            counts[spec.layer] = max(counts.get(spec.layer, 0), _neurons(spec))
    total = sum(counts.values())
    if neurons_per_core is None:
        sizes = torch.tensor(list(counts.values()), dtype=torch.long)
        core = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        slot = torch.cat([torch.arange(0), *(torch.arange(n) for n in counts.values())])
        side = sizes.double().sqrt().ceil()[core]
    else:
        index = torch.arange(total)
        core, slot = index // neurons_per_core, index % neurons_per_core
        side = torch.full((total,), math.ceil(math.sqrt(min(neurons_per_core, total))), dtype=torch.float64)
    cores = int(core[-1]) + 1 if total else 0
    grid = math.ceil(math.sqrt(cores))
    x = (core % grid + (slot % side + 0.5) / side) / grid if total else side
    y = (core // grid + (slot // side + 0.5) / side) / grid if total else side
    starts = [sum(list(counts.values())[:i]) for i in range(len(counts))]
    return Layout(cores, core, x, y, dict(zip(counts, starts, strict=True)))


def _neurons(spec: ParameterSpec) -> int:
    return spec.shape[0] if spec.shape else 1
