"""Rare failures of chips: the two methods of `rare` on a deployed network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError, ProfileError, unknown
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.montecarlo import BATCH, block_accuracy, block_size, evaluate, population
from snnrobust.evaluation.rare import (
    FEWEST_RUNS,
    TAIL,
    Coordinates,
    RareFailures,
    importance_sampling,
    subset_simulation,
)
from snnrobust.evaluation.statistics.yields import clopper_pearson, passes
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.chosen import choose, scale
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.mismatch import Placement
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.stages.base import STATIC, Coordinate
from snnrobust.storage import Group
from snnrobust.tasks import Split, Task
from snnrobust.training.data import precision, to_batch

METHODS = ("subset", "importance")
_SHARED = ("die", "core", "spatial")


def common_factors(placement: Placement) -> tuple[Coordinate, ...]:
    """Coordinates that many devices share: of the die, of cores, of fields over the die."""
    return tuple(
        c
        for c in placement.coordinates.values()
        if c.kind == "continuous" and (c.component in _SHARED or c.granularity in ("per_die", "per_core"))
    )


def failures_by_common_factors(
    deployment: Deployment,
    data: Split,
    specification: float,
    *,
    metric: str = "accuracy",
    pilot: int = 1000,
    seed: int = 0,
) -> RareFailures:
    """The share of chips that miss a specification, by importance sampling on their common factors.

    The deployment's first chips are the pilot, all others are weighed; each keeps its own devices, faults and noise.

    Args:
        deployment: A network on sampled chips.
        data: Samples.
        specification: The accuracy that a good chip reaches, a fraction.
        metric: "accuracy" or "balanced accuracy".
        pilot: Chips that look for where chips are bad.
        seed: Seed of the common factors.

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If the profile has no common factor.
    """
    factors = common_factors(deployment.placement)
    if not factors:
        raise ProfileError(
            f"{deployment.profile.name}: no spread of die, core or field to weigh; subset simulation needs none"
        )
    if deployment.instances < pilot + 2:
        raise ConfigError(f"pilot: {pilot} of {deployment.instances} chips leave fewer than 2 to be weighed")
    size = block_size(deployment.net, data)

    def score(z: Coordinates, numbers: range) -> NDArray[np.float64]:
        found = []
        for start in range(0, len(numbers), size):
            block = numbers[start : start + size]
            drawn = deployment.coordinates(block, kinds=STATIC) | _split(z[start : start + size], factors)
            chips = scale(deployment, block, torch.ones(len(block)), drawn)
            found.append(block_accuracy(chips, data, block, metric))
        return np.concatenate(found)

    return importance_sampling(
        score, _count(factors), specification - 1e-9, chips=deployment.instances - pilot, pilot=pilot, seed=seed
    )


def failures_by_subsets(
    deployment: Deployment,
    data: Split,
    specification: float,
    *,
    metric: str = "accuracy",
    chips: int = 500,
    runs: int = FEWEST_RUNS,
    seed: int = 0,
) -> RareFailures:
    """The share of chips that miss a specification, by subset simulation on all their coordinates.

    Args:
        deployment: A network on sampled chips, of which the profile matters, not the draws.
        data: Samples.
        specification: The accuracy that a good chip reaches, a fraction.
        metric: "accuracy" or "balanced accuracy".
        chips: Chips in each level of a run.
        runs: Independent runs, at least 10.
        seed: Seed of the runs.

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If what chips do is not a function of coordinates alone (slow noise, noise of reads, events).
    """
    coordinates = tuple(deployment.placement.coordinates.values())
    if not coordinates:
        raise ProfileError(f"{deployment.profile.name}: nothing varies from chip to chip")
    batch = to_batch(data, slice(0, min(BATCH, len(data))), precision(deployment.theta))
    moving = deployment.received(batch.x, [0], lengths=batch.lengths) is not batch.x
    if deployment.parts > 1 or deployment.reads([0]) or deployment.routes([0]) or moving:
        raise ProfileError(
            f"{deployment.profile.name}: subset simulation needs chips without slow noise, noise of reads and events"
        )
    size = block_size(deployment.net, data)

    def score(z: Coordinates) -> NDArray[np.float64]:
        found = []
        for start in range(0, len(z), size):
            own = choose(deployment, _split(z[start : start + size], coordinates))
            found.append(block_accuracy(own, data, range(own.instances), metric))
        return np.concatenate(found)

    return subset_simulation(score, _count(coordinates), specification - 1e-9, chips=chips, runs=runs, seed=seed)


class Checked(NamedTuple):
    """A rare share beside plain Monte Carlo.

    Attributes:
        found: The share of bad chips, under the profile's assumed tail.
        bad: Bad chips among the plain ones.
        low: Lower end of the two-sided 95 % Clopper-Pearson interval of their share.
        high: Upper end.
        plain: Number of plain chips.
        population: What the plain chips and data were, as one sentence.
        notes: What has to be said of the chip.
        specification: The accuracy that a good chip reaches, a fraction.
        profile: Name of the profile.
    """

    found: RareFailures
    bad: int
    low: float
    high: float
    plain: int
    population: str
    notes: tuple[str, ...]
    specification: float
    profile: str

    @property
    def agree(self) -> bool:
        """Whether the two intervals overlap."""
        return self.found.low <= self.high and self.low <= self.found.high

    def to_group(self) -> Group:
        """The shares as a group of a run file, all as attributes."""
        own = {name: getattr(self, name) for name in self._fields if name not in ("found", "notes")}
        rare = {f"rare_{name}": value for name, value in self.found._asdict().items()}
        return Group({}, {**own, **rare, "notes": json.dumps(self.notes), "statement": TAIL})

    @classmethod
    def from_group(cls, group: Group) -> Checked:
        """The shares of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("rare"):
            attrs: dict[str, Any] = dict(group.attrs)
            found = RareFailures(**{name: attrs[f"rare_{name}"] for name in RareFailures._fields})
            own = {name: attrs[name] for name in cls._fields if name not in ("found", "notes")}
            return cls(found=found, notes=tuple(json.loads(attrs["notes"])), **own)


def compare_with_plain(
    net: Deployable,
    task: Task,
    profile: Profile,
    specification: float,
    *,
    method: str = "subset",
    chips: int = 500,
    runs: int = FEWEST_RUNS,
    plain: int = 1000,
    seed: int = 1,
    piece: Piece = anew,
) -> Checked:
    """The share of test chips that miss a specification, and that among plain chips.

    Args:
        net: The network.
        task: Data; the metric is the task's.
        profile: The chip.
        specification: The accuracy that a good chip reaches, a fraction.
        method: "subset" or "importance".
        chips: Chips in each level of a run, or that are weighed, with half as many as a pilot.
        runs: Runs of subset simulation.
        plain: Chips of plain Monte Carlo.
        seed: Seed of all chips; those of the pilot and the weighed ones are other ones than the plain ones.
        piece: Keeps what either method found (`analyses.Kept`).

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If the method cannot do this profile.
    """
    if method not in METHODS:
        raise ConfigError(unknown("method", method, METHODS))
    if not 0 <= specification <= 1:
        raise ConfigError(f"specification: {specification} must be a fraction from 0 to 1")
    data, pilot = task.test, max(1, chips // 2)
    options: dict[str, Any] = {"metric": task.metric, "seed": seed}

    def rare() -> dict[str, NDArray[Any]]:
        if method == "subset":
            sampled = Chip(profile).deploy(net, plain, seed)
            of = failures_by_subsets(sampled, data, specification, chips=chips, runs=runs, **options)
        else:
            sampled = Chip(profile).deploy(net, chips + pilot, seed + 1)
            of = failures_by_common_factors(sampled, data, specification, pilot=pilot, **options)
        return {name: np.array(value) for name, value in of._asdict().items()}

    found = RareFailures(**{name: value.item() for name, value in piece("rare", rare).items()})
    deployment = Chip(profile).deploy(net, plain, seed)
    of_plain = piece("plain", lambda: {"accuracy": evaluate(deployment, data, metric=task.metric).counted[0, 0]})
    bad = int((~passes(of_plain["accuracy"], specification)).sum())
    about = population(task, len(data), plain, seed, "test", 1)
    ends = clopper_pearson(bad, plain)
    return Checked(found, bad, *ends, plain, about, deployment.notes, specification, profile.name)


def _count(coordinates: Sequence[Coordinate]) -> int:
    return sum(math.prod(c.shape) for c in coordinates)


def _split(z: Coordinates, coordinates: Sequence[Coordinate]) -> dict[str, Tensor]:
    """Flat coordinates [K, D] by key, [K, *shape]."""
    ends = np.cumsum([math.prod(c.shape) for c in coordinates])
    parts = np.split(z, ends[:-1], axis=1)
    return {c.key: torch.from_numpy(p.reshape(len(z), *c.shape)) for c, p in zip(coordinates, parts, strict=True)}
