"""The loss around a trained network, in the coordinates z of its devices: lines, slices, slopes and sharpness.

A direction v is a set of coordinates, so that alpha v moves every parameter by what the profile makes of it: for a
relative level by alpha v |theta|, which is scaled to the parameters (Büchel, Faber and Muir, ICLR 2022,
arXiv:2106.05009, figure 1 and table S1; Li et al. 2018, arXiv:1712.09913, for slices). All losses are means over the
given samples and need no gradient, except the directions that an attack finds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.evaluation.attack import Search, box_profile, cross_entropies, dtype_of, find
from snnrobust.hardware.mismatch import Placement, draw, place, realise
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.tasks import Split
from snnrobust.training.data import to_batch
from snnrobust.training.problem import Batch

Direction = Mapping[str, Tensor]
"""Coordinates [*shape] by key; those of outliers, faults and temporal draws are absent, which is their median."""
_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Landscape:
    """The loss of a network over the coordinates of its devices.

    Attributes:
        net: The network.
        placement: Its parameters on the profile.
        batch: The samples whose mean loss is taken.
        class_weights: Weight of each class in the cross-entropy [O], or None.
    """

    net: Deployable
    placement: Placement
    batch: Batch
    class_weights: Tensor | None = None

    @classmethod
    def of(
        cls, net: Deployable, data: Split, *, profile: Profile | None = None, class_weights: Tensor | None = None
    ) -> Landscape:
        """The landscape on all samples of some data; without a profile, of theta (1 + z) on weights and biases."""
        placement = place(box_profile(profile), net.parameter_specs())
        return cls(net, placement, to_batch(data, slice(None), dtype_of(net)), class_weights)

    def losses(self, z: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """Cross-entropy of each of the devices with coordinates [K, *shape]: [K]."""
        theta = {name: p.detach() for name, p in self.net.nominal().items()}
        count, found = len(next(iter(z.values()))), []
        for n in range(0, count, _AT_ONCE):
            with torch.no_grad():
                params = realise(self.placement, theta, {key: value[n : n + _AT_ONCE] for key, value in z.items()})
                logits = self.net.run(params, self.batch.x, self.batch.lengths)
                found.append(cross_entropies(logits, self.batch.y, self.class_weights))
        return torch.cat(found).double().numpy()

    def random_directions(self, count: int, *, scale: float = 0.2, seed: int = 1) -> list[Direction]:
        """v ~ N(0, scale^2); the paper's scale is 0.2."""
        z = draw(self.placement, seed=seed, purpose="attack", instances=range(count), extra=(3,), kinds=("continuous",))
        return [{key: scale * value[n] for key, value in z.items()} for n in range(count)]

    def adversarial_direction(
        self, radius: float = 0.1, *, scale: float = 0.2, loss: str = "task", steps: int = 10, seed: int = 1
    ) -> Direction:
        """scale z* / radius, with z* the device that an attack in a box finds; |v| <= scale, element by element."""
        if not radius > 0:
            raise ConfigError(f"radius: {radius} must be above 0")
        search = Search(loss=loss, steps=steps, restarts=1, seed=seed)
        found = find(self.net, self.placement, self.batch, radius, search, class_weights=self.class_weights)
        free = [key for key in found.z if self.placement.coordinates[key].kind == "continuous"]
        return {key: found.z[key][0] * (scale / radius) for key in free}

    def along(self, directions: Sequence[Direction], alphas: Sequence[float]) -> NDArray[np.float64]:
        """Losses at alpha v [direction, alpha]."""
        at = torch.tensor(alphas, dtype=torch.float64)
        return np.stack([self.losses({key: _times(at, v) for key, v in d.items()}) for d in directions])

    def slice(
        self, first: Direction, second: Direction, alphas: Sequence[float], betas: Sequence[float]
    ) -> NDArray[np.float64]:
        """Losses at alpha v + beta w [alpha, beta]."""
        points = torch.tensor(list(itertools.product(alphas, betas)), dtype=torch.float64)
        z = {key: _times(points[:, 0], first[key]) + _times(points[:, 1], second[key]) for key in first}
        return self.losses(z).reshape(len(alphas), len(betas))

    def sharpness(self, radius: float, *, steps: int = 20, restarts: int = 3, seed: int = 1) -> float:
        """max L(z) - L(0) over the box |z| <= radius, as far as an attack finds it (Keskar et al. 2017); >= 0."""
        search = Search(steps=steps, restarts=restarts, seed=seed)
        found = find(self.net, self.placement, self.batch, radius, search, class_weights=self.class_weights)
        return max(0.0, float(found.loss[0]) - found.nominal)


def slope(losses: NDArray[np.float64], alphas: Sequence[float]) -> float:
    """Mean |dL| / dalpha between neighbours on each line [direction, alpha], then over lines (the paper's table S1).

    Raises:
        ConfigError: If the alphas do not grow.
    """
    steps = np.diff(np.asarray(alphas, dtype=np.float64))
    if not len(steps) or not (steps > 0).all():
        raise ConfigError("alphas: at least two numbers in growing order are needed")
    return float(np.mean(np.abs(np.diff(losses, axis=-1)) / steps))


def _times(factors: Tensor, v: Tensor) -> Tensor:
    """Each factor times v: [K, *shape]."""
    return (factors.reshape(-1, *(1,) * v.ndim) * v).to(v.dtype)
