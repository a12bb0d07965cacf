"""Monte Carlo over chips: the same sampled chips for every network, level and profile, in blocks."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.evaluation.results import ResultFile
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.module import Module
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.randomness import Purpose
from snnrobust.progress import progress
from snnrobust.snn.network import Network, fingerprint
from snnrobust.tasks import Split, Task
from snnrobust.tasks.dataset import METRICS
from snnrobust.training.data import data_hash, precision, to_batch
from snnrobust.training.record import TrainedModel

BLOCK_BYTES = 64_000_000
"""Memory that the input currents of one block of chips may take."""
MOST_CHIPS = 32
"""Chips of a block where nothing but their parameters takes memory: a block that is lost is done again."""
_COPIES = 8  # of a chip's parameters while they are drawn
BATCH = 256


def evaluate(
    deployment: Deployment, data: Split, *, label: str = "network", trials: int = 1, metric: str = "accuracy"
) -> Tolerance:
    """Accuracy of every chip of a deployment.

    Args:
        deployment: A network on sampled chips.
        data: Samples, such as `task.test`.
        label: Name of the network in the result.
        trials: Passes over the data, each with its own temporal draw; accuracies are their mean.
        metric: "accuracy" or "balanced accuracy", the one that counts.

    Raises:
        ConfigError: For an argument outside its domain.
    """
    if metric not in METRICS:
        raise ConfigError(unknown("metric", metric, METRICS))
    if trials < 1:
        raise ConfigError(f"trials: {trials} must be at least 1")
    profile = deployment.profile
    notes = {profile.name: deployment.notes}
    result = Tolerance.empty(
        [label],
        [profile.name],
        [level_of(profile)],
        deployment.instances,
        metric=metric,
        notes=notes,
        samples=len(data),
    )
    for block in deployment.blocks(block_size(deployment.net, data)):
        for name, values in run_block(deployment, data, block, trials=trials).items():
            result.measures[name][0, 0, block.start : block.stop] = values
    return result


def run_block(deployment: Deployment, data: Split, block: range, *, trials: int = 1) -> dict[str, NDArray[np.float64]]:
    """Measures [K] of a block of chips: a pure function of the network, the profile, the seed and the data."""
    right = np.zeros((len(block), len(data)))
    broken = np.zeros((len(block), len(data)), dtype=bool)
    for rows, y, logits in answers(deployment, data, block, trials=trials):
        finite = logits.isfinite().all(-1)
        hit = (logits.argmax(-1) == y) & finite
        right[:, rows] += hit.numpy()
        broken[:, rows] |= ~finite.numpy()
    right /= trials
    return {
        "accuracy": right.mean(1),
        "balanced_accuracy": mean_over_classes(right, data.y),
        "nonfinite": broken.sum(1).astype(np.float64),
    }


def answers(
    deployment: Deployment, data: Split, block: range, *, trials: int = 1
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """What a block of chips answers, batch by batch: which samples, their classes [B] and logits [K, B, O]."""
    parts = deployment.parts
    static = deployment.static(block) if parts * trials > 1 else None
    for trial, part in itertools.product(range(trials), range(parts)):
        params = deployment.parameters(block, trial=trial, part=part, static=static)
        first, last = len(data) * part // parts, len(data) * (part + 1) // parts
        for start in range(first, last, BATCH):
            rows = slice(start, min(start + BATCH, last))
            batch = to_batch(data, rows, precision(params))
            logits = deployment.run(
                batch.x, block, lengths=batch.lengths, trial=trial, part=part, first_sample=start, params=params
            )
            yield rows, batch.y, logits


def mean_over_classes(of_sample: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over classes [K] of the means over each class's samples, from values [K, B] and classes [B]."""
    means: NDArray[np.float64] = np.mean([of_sample[:, y == c].mean(1) for c in np.unique(y)], axis=0)
    return means


def block_size(net: Deployable, data: Split) -> int:
    """Chips in a block, from the memory that their input currents take; the fused engine keeps none."""
    parameters = 4 * sum(math.prod(spec.shape) for spec in net.parameter_specs().values())
    if isinstance(net, Network) and net.runs_fused():
        return int(max(1, min(MOST_CHIPS, BLOCK_BYTES // (_COPIES * parameters))))
    widest = max((spec.shape[0] for spec in net.parameter_specs().values() if spec.shape), default=1)
    one = max(4 * data.x.shape[1] * min(BATCH, len(data)) * widest, _COPIES * parameters)
    return int(max(1, BLOCK_BYTES // one))


def level_of(profile: Profile) -> float:
    """Relative level of a level sweep's profile; NaN for a chip's."""
    if profile.kind != "relative":
        return float("nan")
    device = [entry.components.device for entry in profile.parameters.given().values()]
    return max((d.spread for d in device if d is not None), default=0.0)


class Unit(NamedTuple):
    """One piece of work: a block of chips of one network under one condition, both by position."""

    model: int
    condition: int
    block: range


def benchmark(
    nets: Mapping[str, Deployable | TrainedModel],
    conditions: Iterable[Profile | float],
    task: Task,
    *,
    instances: int = 100,
    seed: int = 1,
    purpose: str = "test",
    trials: int = 1,
    run: str | Path | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Tolerance:
    """Deploy networks on the same sampled chips under several conditions and test every chip.

    Args:
        nets: Networks, models, or trained networks of run files, by name.
        conditions: Profiles, and relative mismatch levels as fractions (0.2, never 20).
        task: Data; validation chips are tested on the validation data, all others on the test data.
        instances: Number of chips.
        seed: Seed of the chips.
        purpose: "test", or "validation" for choosing models.
        trials: Passes over the data, for noise that changes from pass to pass.
        run: Run file for results; each finished block is kept in its journal, and the same call goes on from there.
            None keeps nothing.
        overwrite: Replace a run file of another experiment.
        show_progress: Show progress on the standard error stream.
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Returns:
        Accuracies by model, condition and chip.

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If a network may not be deployed.
        RunFileError: If the run file holds another experiment.
    """
    profiles = [_profile(c) for c in conditions]
    names = [profile.name for profile in profiles]
    if not nets or not profiles:
        raise ConfigError("benchmark: at least one network and one condition are needed")
    if len(set(names)) < len(names):
        raise ConfigError(f"conditions: each may be given once, not {', '.join(names)}")
    if trials < 1:
        raise ConfigError(f"trials: {trials} must be at least 1")
    data = samples_for(purpose, task)
    plain = {name: net.net if isinstance(net, TrainedModel) else net for name, net in nets.items()}
    deployments = _deploy(plain, profiles, instances=instances, seed=seed, purpose=purpose, **deploy)
    result = Tolerance.empty(
        list(nets),
        names,
        [level_of(p) for p in profiles],
        instances,
        metric=task.metric,
        notes={name: _notes(row[c] for row in deployments) for c, name in enumerate(names)},
        population=population(task, len(data), instances, seed, purpose, trials),
        samples=len(data),
    )
    size = min(block_size(net, data) for net in plain.values())
    units = [
        Unit(m, c, block) for m, row in enumerate(deployments) for c, d in enumerate(row) for block in d.blocks(size)
    ]
    config = {
        "models": {name: identity(net) for name, net in plain.items()},
        "profiles": {profile.name: profile.hash for profile in profiles},
        "task": [task.name, task.encoding, task.split, data_hash(data)],
        "chips": {"instances": instances, "seed": seed, "purpose": purpose, "trials": trials},
        "deploy": {name: str(value) for name, value in sorted(deploy.items())},
    }
    with ResultFile(None if run is None else Path(run), config, nets, profiles, result, overwrite=overwrite) as file:
        left = [unit for unit in units if not file.has(*unit)]
        total, rest = instances * len(nets) * len(profiles), sum(len(unit.block) for unit in left)
        with progress("chips", total, done=total - rest, show=show_progress) as shown:
            for unit in left:
                file.add(*unit, run_block(deployments[unit.model][unit.condition], data, unit.block, trials=trials))
                shown.advance(len(unit.block), note=f"{list(nets)[unit.model]} on {names[unit.condition]}")
    return result


def samples_for(purpose: str, task: Task) -> Split:
    """The samples that chips of a purpose are tested on: validation data for validation chips, else test data."""
    if purpose not in get_args(Purpose):
        raise ConfigError(unknown("purpose", purpose, get_args(Purpose)))
    data = task.validation if purpose == "validation" else task.test
    if data is None:
        raise ConfigError(f"purpose: task {task.name} has no validation data")
    return data


def _profile(condition: Profile | float) -> Profile:
    if isinstance(condition, str):
        raise ConfigError(f"conditions: {condition!r} must be a profile or a level; load_profile(name) gives a profile")
    return condition if isinstance(condition, Profile) else Profile.relative(condition)


def _deploy(nets: Mapping[str, Deployable], profiles: Sequence[Profile], **deploy: Any) -> list[list[Deployment]]:  # noqa: ANN401 (keywords of Chip.deploy)
    with warnings.catch_warnings():  # the notes say the same, once a condition
        warnings.simplefilter("ignore")
        return [[Chip(profile).deploy(net, **deploy) for profile in profiles] for net in nets.values()]


def _notes(deployments: Iterable[Deployment]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for deployment in deployments for line in deployment.notes))


def population(task: Task, samples: int, instances: int, seed: int, purpose: str, trials: int) -> str:
    """What a result is about, as one sentence."""
    passes = "" if trials == 1 else f", mean of {trials} trials"
    return (
        f"{instances} simulated {purpose} chips (seed {seed}) on {samples} samples of {task.name}{passes}; "
        f"{task.metric}; data: {task.split}"
    )


def identity(net: Deployable) -> str:
    """Hash of a network or module, or of a model's parameters."""
    if isinstance(net, Network | Module):
        return net.hash()
    return fingerprint("", net.nominal())
