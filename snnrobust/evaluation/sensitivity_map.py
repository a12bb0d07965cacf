"""Which devices matter: how much the loss feels each device of a chip, to second order.

    S_i = E[ (dL/dz_i)^2 ],    theta' = realise(theta, z) at z = 0,   L the cross-entropy of one sample

z is standardised, so the spread s of the device is inside: for theta (1 + s z) it is E[(dL/dtheta)^2] (s theta)^2. Half
of the sum of S over devices is what the mean loss grows by on chips, with the Fisher matrix in place of the curvature,
as in selective write-verify (Yan, Hu and Shi, DAC 2022, doi:10.1145/3489517.3530459).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.evaluation.attack import box_profile, cross_entropies, dtype_of
from snnrobust.hardware.mismatch import Placement, place, realise
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.storage import Array, Group
from snnrobust.tasks import Split
from snnrobust.training.data import to_batch


@dataclass(frozen=True, eq=False)
class SensitivityMap:
    """S of every device of a chip.

    Attributes:
        placement: The network on the profile.
        devices: S by coordinate key, in the coordinate's shape: [N, I] where each synapse is a device, [N] or
            [N, 1] a neuron, [N, 2] a neuron and type, and other shapes where a core or die shares one.
        samples: Samples that were averaged over.
    """

    placement: Placement
    devices: Mapping[str, NDArray[np.float64]]
    samples: int

    def neurons(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """S of each neuron's own devices [N], summed over its synapses, by layer and role."""
        found: dict[str, dict[str, NDArray[np.float64]]] = {}
        for name, stages in self.placement.stages.items():
            spec = self.placement.specs[name]
            for c in (c for stage in stages for c in stage.coordinates()):
                if c.key in self.devices and c.parameter == name and self._own(c.key):
                    own = self.devices[c.key].reshape(spec.shape[0], -1).sum(1)
                    layer = found.setdefault(spec.layer or "network", {})
                    layer[spec.role] = layer[spec.role] + own if spec.role in layer else own
        return found

    def concentration(self, share: float = 0.5) -> float:
        """The smallest share of the devices of single neurons and synapses that carries a share of their sum of S."""
        own = [v.reshape(-1) for key, v in self.devices.items() if self._own(key)]
        values = np.sort(np.concatenate([*own, np.zeros(0)]))[::-1]
        if not values.sum():
            return float("nan")
        return float((np.searchsorted(np.cumsum(values), share * values.sum()) + 1) / len(values))

    def _own(self, key: str) -> bool:
        """Whether the devices of a coordinate belong to single neurons or synapses of one tensor."""
        c = self.placement.coordinates[key]
        spec = self.placement.specs.get(c.parameter)
        return spec is not None and bool(spec.shape) and c.shape[:1] == spec.shape[:1]

    def to_group(self) -> Group:
        """The maps as a group of a run file, a group a parameter."""
        tree = Group({}, {"samples": self.samples, "equation": "E[(dL/dz)^2] at z = 0, a sample at a time"})
        for key, values in self.devices.items():
            tree = tree.put(key, Array(values))
        return tree


def sensitivity_map(
    net: Deployable, data: Split, profile: Profile | None = None, *, samples: int = 200, only: str | None = None
) -> SensitivityMap:
    """E[(dL/dz)^2] of every continuous coordinate of a chip at z = 0, over samples taken one at a time.

    Args:
        net: A trained network.
        data: Samples; those of training tell what the network was made for.
        profile: The chip; without one, theta (1 + z) on weights and biases.
        samples: Most samples, evenly spread over the data.
        only: "mismatch" leaves quantisation and faults out.
    """
    placement = place(box_profile(profile), net.parameter_specs(), only_mismatch=only == "mismatch")
    theta = {name: p.detach() for name, p in net.nominal().items()}
    z = {c.key: torch.zeros(c.shape) for c in placement.coordinates.values() if c.kind == "continuous"}
    total = {key: torch.zeros(value.shape, dtype=torch.float64) for key, value in z.items()}
    rows = np.unique(np.linspace(0, len(data) - 1, min(samples, len(data))).round().astype(np.int64))
    for row in rows:
        for key, g in _gradient(net, placement, theta, z, data, row).items():
            total[key] += g.double() ** 2
    return SensitivityMap(placement, {key: (value / len(rows)).numpy() for key, value in total.items()}, len(rows))


def _gradient(
    net: Deployable, placement: Placement, theta: Mapping[str, Tensor], z: Mapping[str, Tensor], data: Split, row: int
) -> dict[str, Tensor]:
    """dL/dz of one sample."""
    leaves = {key: value.clone().requires_grad_() for key, value in z.items()}
    if not leaves:
        return {}
    batch = to_batch(data, np.array([row]), dtype_of(net))
    logits = net.run(realise(placement, theta, leaves), batch.x, batch.lengths)
    loss = cross_entropies(logits.reshape(1, *logits.shape[-2:]), batch.y).sum()
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True, allow_unused=True)
    return dict(zip(leaves, found, strict=True))
