"""Chips whose coordinates are chosen, not drawn: the found ones of an attack, the corners of a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.stages.base import STATIC, TEMPORAL, Kind


@dataclass(frozen=True)
class ChosenChips(Deployment):
    """A deployment whose chip n has the n-th of given coordinates; what is not given is at its median.

    Attributes:
        z: Coordinates [K, *shape] by key, the same in every trial.
    """

    z: Mapping[str, Tensor] = field(default_factory=dict)

    def coordinates(
        self, chips: Sequence[int], trial: int = 0, part: int = 0, *, kinds: Sequence[Kind] = (*STATIC, *TEMPORAL)
    ) -> dict[str, Tensor]:
        """The given coordinates of these kinds, [K, *shape] by key."""
        known = self.placement.coordinates
        return {key: value[list(chips)] for key, value in self.z.items() if known[key].kind in kinds}


def choose(deployment: Deployment, z: Mapping[str, Tensor]) -> ChosenChips:
    """The network on chips with these coordinates [K, *shape] instead of sampled ones.

    Raises:
        ConfigError: If a coordinate is unknown, of another shape, or the numbers of chips differ.
    """
    known, counts = deployment.placement.coordinates, {len(value) for value in z.values() if value.ndim}
    for key, value in z.items():
        if key not in known or tuple(value.shape[1:]) != known[key].shape:
            raise ConfigError(f"z: {key} of shape {tuple(value.shape)} is no coordinate of {deployment.profile.name}")
    if len(counts) > 1:
        raise ConfigError(f"z: coordinates of {sorted(counts)} chips must be of one number of chips")
    same = {f.name: getattr(deployment, f.name) for f in fields(Deployment)}
    return ChosenChips(**{**same, "instances": counts.pop() if counts else 1}, z=dict(z))
