"""Tolerance: how much variation chips withstand. Every chip's breaking level, along its own coordinates z.

A chip at level L is the device L z: with relative levels theta (1 + L z), with a profile the device whose spreads all
are L times those of the profile, so that 1 is the profile (a normal or lognormal spread; the ends of a uniform or
truncated one do not move). Its breaking level is the largest up to which it meets the specification, found on a coarse
grid and then by bisection. The tolerance at yield Y is the largest level that a share Y of chips withstands, an order
statistic with bounds that hold for any distribution.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation.analyses import LEVELS, Kept, analyses_of, keyed_by, network_of, readable
from snnrobust.evaluation.montecarlo import block_accuracy, block_size, population, samples_for
from snnrobust.evaluation.statistics.quantiles import chips_to_resolve, quantile
from snnrobust.evaluation.statistics.yields import passes
from snnrobust.executor import Executor, Serial
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.chosen import scale
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.stages.base import STATIC
from snnrobust.progress import progress
from snnrobust.storage import Array, Group, open_run
from snnrobust.tasks import Split, Task
from snnrobust.training.record import TrainedModel

KIND = "tolerance"
LEVEL_GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Coarse grid of relative levels."""
FACTOR_GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Coarse grid of multiples of a profile's spreads."""

FINEST = 1e-6
"""Finest resolution, as a share of the grid's end."""


class ToleranceAt(NamedTuple):
    """The largest level that a share of chips withstands.

    Attributes:
        level: The estimate; inf where so many chips never broke that it lies beyond the grid.
        low: Lower end of its two-sided interval.
        high: Upper end; inf beyond the grid.
        resolved: Whether there are enough chips for the interval.
        chips: Number of chips.
        confidence: Coverage of the interval, at least this for any distribution of breaking levels.
    """

    level: float
    low: float
    high: float
    resolved: bool
    chips: int
    confidence: float


@dataclass(frozen=True, eq=False)
class BreakingLevels:
    """How much variation each chip of a network withstands.

    Attributes:
        condition: "relative level", or the profile whose spreads are scaled.
        grid: Levels of the coarse grid, ascending from 0.
        passed: Whether each chip meets the specification at each of them [K, G].
        levels: Largest level up to which each chip meets it [K], to within the resolution and from below; 0 for a chip
            that does not without variation, inf for one that does on the whole grid.
        resolution: Largest distance of a level from where its chip breaks.
        specification: The accuracy that a good chip reaches, a fraction.
        metric: Which accuracy.
        population: What the chips and data were, as one sentence.
        notes: What has to be said of the chip.
        broken: Chips [K] with outputs that are not finite at a level that was tried, where they fail.
    """

    condition: str
    grid: tuple[float, ...]
    passed: NDArray[np.bool_]
    levels: NDArray[np.float64]
    resolution: float
    specification: float
    metric: str
    population: str
    notes: tuple[str, ...] = ()
    broken: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def reentrant(self) -> NDArray[np.bool_]:
        """Chips [K] that meet the specification again at a level of the grid above one where they did not."""
        failed_before = np.logical_or.accumulate(~self.passed, axis=1)
        return np.asarray((failed_before & self.passed).any(1))

    def at_yield(self, share: float, confidence: float = 0.95) -> ToleranceAt:
        """The tolerance at this yield.

        Args:
            share: Share of chips that are to meet the specification.
            confidence: Coverage of the interval.

        Raises:
            ConfigError: If share or confidence is not in (0, 1).
        """
        check_yield(share)
        bounds, chips = quantile(self.levels, 1 - share, confidence), len(self.levels)
        rank = min(math.floor(chips * (1 - share) + 1e-9) + 1, chips)
        resolved = chips >= chips_to_resolve(1 - share, confidence)
        return ToleranceAt(
            float(np.sort(self.levels)[rank - 1]), bounds.low, bounds.high, resolved, chips, confidence
        )  # fmt: skip

    def to_group(self) -> Group:
        """The levels as a group of a run file, with dimensions instance and grid."""
        items = {
            "instance": Array(np.arange(len(self.levels)), ("instance",)),
            "grid": Array(np.array(self.grid), ("grid",)),
            "passed": Array(self.passed, ("instance", "grid")),
            "breaking_level": Array(self.levels, ("instance",)),
            "reentrant": Array(self.reentrant, ("instance",)),
        }
        if self.broken.any():
            items["nonfinite"] = Array(self.broken, ("instance",))
        names = ("condition", "resolution", "specification", "metric", "population")
        return Group(items, {name: getattr(self, name) for name in names} | {"notes": json.dumps(self.notes)})

    @classmethod
    def from_group(cls, group: Group) -> BreakingLevels:
        """The levels of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("breaking levels"):
            attrs = group.attrs
            return cls(
                str(attrs["condition"]),
                tuple(float(level) for level in group.array("grid").values),
                np.array(group.array("passed").values, dtype=bool),
                np.array(group.array("breaking_level").values, dtype=np.float64),
                float(attrs["resolution"]),
                float(attrs["specification"]),
                str(attrs["metric"]),
                str(attrs["population"]),
                tuple(json.loads(str(attrs["notes"]))),
                np.array(group.array("nonfinite").values if "nonfinite" in group else [], dtype=bool),
            )


def breaking_levels(
    nets: Mapping[str, Deployable | TrainedModel],
    task: Task,
    *,
    profile: Profile | None = None,
    specification: float = 0.9,
    grid: Sequence[float] | None = None,
    resolution: float | None = None,
    instances: int = 500,
    seed: int = 1,
    purpose: str = "test",
    trials: int = 1,
    run: str | Path | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
    executor: Executor = Serial(),  # noqa: B008 (it has no state)
) -> dict[str, BreakingLevels]:
    """The breaking level of every chip of each network; the same chips for all.

    Args:
        nets: Networks by name.
        task: Data; validation chips are tested on the validation data, all others on the test data.
        profile: The chip whose spreads are scaled; None for relative levels of weights and biases.
        specification: The accuracy that a good chip reaches, a fraction.
        grid: Levels that every chip is tested at, ascending from 0; `LEVEL_GRID` or `FACTOR_GRID` by default.
        resolution: To what a chip's level is bisected; 1 % of the grid's end by default.
        instances: Number of chips K.
        seed: Seed of the chips: those of `benchmark`.
        purpose: "test", or "validation" for choosing models.
        trials: Passes over the data.
        run: Run file for the results, beside what it holds; finished blocks are kept in a journal, and the same call
            goes on from there.
        overwrite: Replace other breaking levels of these networks in the file.
        show_progress: Show progress on the standard error stream.
        executor: Who runs the blocks, such as `Processes(4)`; results do not depend on it.

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If a network may not be deployed.
        RunFileError: If the run file holds another experiment.
        WorkerError: If a worker process was killed; what was finished is kept.
    """
    levels = _checked((LEVEL_GRID if profile is None else FACTOR_GRID) if grid is None else grid)
    step = levels[-1] / 100 if resolution is None else resolution
    if not FINEST * levels[-1] <= step < math.inf:  # a bisection beyond the precision of numbers would not end
        raise ConfigError(f"resolution: {step} must be above 0, and at least {FINEST * levels[-1]:g}")
    if not 0 <= specification <= 1:
        raise ConfigError(f"specification: {specification} must be a fraction from 0 to 1")
    if not nets or trials < 1:
        raise ConfigError(f"nets, trials: at least one of each is needed, not {len(nets)} and {trials}")
    data = samples_for(purpose, task)
    chip = Chip(Profile.relative(1.0) if profile is None else profile)
    plain = {name: net.net if isinstance(net, TrainedModel) else net for name, net in nets.items()}
    deployments = {name: chip.deploy(net, instances, seed, purpose) for name, net in plain.items()}
    search = Search(levels, step, specification, task.metric, trials)
    options = {"chips": instances, "seed": seed, "purpose": purpose, "search": [list(levels), *search[1:]]}
    size = min(block_size(net, data) for net in plain.values())
    about = population(task, len(data), instances, seed, purpose, trials)
    path, result = None if run is None else Path(run), {}
    with progress("chips", instances * len(nets), show=show_progress) as shown:
        for name, deployment in deployments.items():
            config = keyed_by(plain[name], profile, task, data, **options)
            own = LEVELS if profile is None else profile.name
            with Kept(path, KIND, name, nets[name], own, config, overwrite=overwrite) as kept:
                if kept.stored is not None:
                    result[name] = BreakingLevels.from_group(kept.stored)
                    continue
                blocks = {f"{block.start}/{len(block)}": block for block in deployment.blocks(size)}
                job, done = functools.partial(search.block, deployment, data), {}
                with closing(kept.pieces(job, blocks, executor)) as pieces:
                    for key, piece in pieces:
                        done[key] = piece
                        shown.advance(len(blocks[key]), note=name)
                found = [done[key] for key in blocks]
                result[name] = BreakingLevels(
                    "relative level" if profile is None else profile.name,
                    levels,
                    np.concatenate([block["passed"] for block in found]),
                    np.concatenate([block["levels"] for block in found]),
                    step,
                    specification,
                    task.metric,
                    about,
                    deployment.notes,
                    np.concatenate([block["broken"] for block in found]),
                )
                kept.finish(result[name].to_group())
    return result


class Search(NamedTuple):
    """How breaking levels are looked for; the fields are those of `BreakingLevels`."""

    grid: tuple[float, ...]
    resolution: float
    specification: float
    metric: str
    trials: int = 1

    def block(self, deployment: Deployment, data: Split, block: range) -> dict[str, NDArray[Any]]:
        """Whether each chip of a block passes at each level of the grid [K, G], and its breaking level [K].

        And whether it gave outputs that are not finite at a level that was tried [K].
        """
        drawn, broken = deployment.coordinates(block, kinds=STATIC), np.zeros(len(block), dtype=bool)

        def passing(rows: NDArray[np.int64], levels: NDArray[np.float64]) -> NDArray[np.bool_]:
            own = {key: value[torch.from_numpy(rows)] for key, value in drawn.items()}
            numbers = [block[row] for row in rows.tolist()]
            scaled = scale(deployment, numbers, torch.from_numpy(levels), own)
            accuracy = block_accuracy(scaled, data, numbers, self.metric, trials=self.trials)
            broken[rows] |= np.isneginf(accuracy)
            return passes(accuracy, self.specification)

        everyone = np.arange(len(block))
        passed = np.stack([passing(everyone, np.full(len(block), level)) for level in self.grid], axis=1)
        first = np.where(passed.all(1), len(self.grid), (~passed).argmax(1))
        low = np.append(self.grid, math.inf)[np.maximum(first - 1, 0)]
        high = np.append(self.grid, math.inf)[first]
        while len(rows := np.flatnonzero((first > 0) & (high < math.inf) & (high - low > self.resolution))):
            middle = (low[rows] + high[rows]) / 2
            good = passing(rows, middle)
            low[rows], high[rows] = np.where(good, middle, low[rows]), np.where(good, high[rows], middle)
        return {"passed": passed, "levels": np.where(passed.all(1), math.inf, low), "broken": broken}


def read_breaking_levels(path: str | Path) -> dict[str, BreakingLevels]:
    """The breaking levels of a run file, by network; by "network on chip" where a network has several.

    Raises:
        RunFileError: If the file holds none.
    """
    found = {name: BreakingLevels.from_group(group) for name, group in analyses_of(open_run(path), KIND).items()}
    if not found:
        raise RunFileError(f"{path}: holds no breaking levels; `snnrobust tolerance ... -o {path}` adds them")
    networks = [network_of(name) for name in found]
    return found if len(set(networks)) < len(found) else dict(zip(networks, found.values(), strict=True))


def check_yield(share: float) -> None:
    """Raise ConfigError unless a yield is a fraction between 0 and 1, where an order statistic can resolve it."""
    if not 0 < share < 1:
        raise ConfigError(f"yield: {share} must be between 0 and 1")


def _checked(grid: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(float(level) for level in grid)
    rising = all(a < b for a, b in itertools.pairwise(levels))
    if len(levels) < 2 or levels[0] != 0 or not rising or not math.isfinite(levels[-1]):
        raise ConfigError(f"grid: {', '.join(f'{level:g}' for level in levels)} must be ascending levels from 0")
    return levels
