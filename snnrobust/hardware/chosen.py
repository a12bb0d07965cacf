"""Chips whose coordinates are chosen: the found ones of an attack, the corners of a box, multiples of a draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
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


@dataclass(frozen=True)
class ScaledChips(Deployment):
    """Chips that are moved along the rays through their own coordinates: the k-th of `numbers` has factors[k] z.

    Coordinates that decide outliers and faults are held at their draw. Noise and converters of single reads, events and
    quantisation, which have no coordinates, are as on the profile.

    Attributes:
        numbers: Numbers of the chips; others cannot be asked for.
        factors: Factor of each of them [len(numbers)].
        drawn: Their static coordinates as drawn, [len(numbers), *shape] by key.
    """

    numbers: Sequence[int] = ()
    factors: Tensor = field(default_factory=lambda: torch.ones(0))
    drawn: Mapping[str, Tensor] = field(default_factory=dict)

    def coordinates(
        self, chips: Sequence[int], trial: int = 0, part: int = 0, *, kinds: Sequence[Kind] = (*STATIC, *TEMPORAL)
    ) -> dict[str, Tensor]:
        """The scaled coordinates of these kinds, [K, *shape] by key."""
        place, known = {chip: row for row, chip in enumerate(self.numbers)}, self.placement.coordinates
        rows = [place[chip] for chip in chips]
        found = {key: value[rows] for key, value in self.drawn.items() if known[key].kind in kinds}
        moving = [kind for kind in kinds if kind in TEMPORAL]
        found |= super().coordinates(chips, trial, part, kinds=moving) if moving else {}
        return {key: value if known[key].kind == "fixed" else self._scaled(value, rows) for key, value in found.items()}

    def _scaled(self, z: Tensor, rows: Sequence[int]) -> Tensor:
        return z * self.factors[list(rows)].to(z.dtype).reshape(-1, *(1,) * (z.ndim - 1))


def scale(
    deployment: Deployment, numbers: Sequence[int], factors: Tensor, drawn: Mapping[str, Tensor] | None = None
) -> ScaledChips:
    """Sampled chips with their coordinates times factors, each its own.

    Args:
        deployment: A network on sampled chips.
        numbers: Numbers of the chips.
        factors: Factor of each of them [len(numbers)].
        drawn: Their static coordinates, [len(numbers), *shape] by key, if they are at hand.

    Raises:
        ConfigError: If there is not one factor a chip.
    """
    if tuple(factors.shape) != (len(numbers),):
        raise ConfigError(f"factors: shape {tuple(factors.shape)} must be one a chip, ({len(numbers)},)")
    z = deployment.coordinates(numbers, kinds=STATIC) if drawn is None else drawn
    same = {f.name: getattr(deployment, f.name) for f in fields(Deployment)}
    return ScaledChips(**same, numbers=numbers, factors=factors, drawn=z)
