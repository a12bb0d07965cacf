"""Monte Carlo over chips: the same sampled chips for every network, level and profile, in blocks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.evaluation.conditions import Condition, deployments_of, level_of, notes_of, profile_of, tuning_of
from snnrobust.evaluation.results import ResultFile
from snnrobust.evaluation.statistics.resampling import Samples, numbered
from snnrobust.evaluation.statistics.sequences import Stopping
from snnrobust.evaluation.statistics.yields import counted
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.executor import Executor, Serial, Threads
from snnrobust.hardware import individual
from snnrobust.hardware.calibration import IN_THE_LOOP, modes_of
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
from snnrobust.training.finetune import finetune
from snnrobust.training.record import TrainedModel
from snnrobust.training.tuning import Tuning

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
    condition = Condition(deployment.profile, deployment.placement.calibration)
    notes = {condition.name: deployment.notes}
    result = Tolerance.empty(
        [label],
        [condition.name],
        [level_of(condition.profile)],
        deployment.instances,
        metric=metric,
        notes=notes,
        samples=len(data),
    )
    for block in deployment.blocks(block_size(deployment.net, data)):
        for name, values in run_block(deployment, data, block, trials=trials).items():
            result.measures[name][0, 0, block.start : block.stop] = values
    shared = not individual.own(deployment.placement.specs, deployment.theta)
    result.nominal[0] = nominal_accuracy(deployment.net, data, metric, deployment.theta if shared else None)
    return result


def run_block(
    deployment: Deployment, data: Split, block: Sequence[int], *, trials: int = 1, keep_samples: bool = False
) -> dict[str, NDArray[Any]]:
    """Measures [K] of a block of chips: a pure function of the network, the profile, the seed and the data.

    Args:
        deployment: A network on sampled chips.
        data: Samples.
        block: Numbers of the chips.
        trials: Passes over the data.
        keep_samples: Give `hits` [K, bytes] as well, which samples each chip got right (`resampling.Samples`).
    """
    right = np.zeros((len(block), len(data)))
    broken = np.zeros((len(block), len(data)), dtype=bool)
    for rows, y, logits in answers(deployment, data, block, trials=trials):
        finite = logits.isfinite().all(-1)
        hit = (logits.argmax(-1) == y) & finite
        right[:, rows] += hit.numpy()
        broken[:, rows] |= ~finite.numpy()
    right /= trials
    found = {
        "accuracy": right.mean(1),
        "balanced_accuracy": mean_over_classes(right, data.y),
        "nonfinite": broken.sum(1).astype(np.float64),
    }
    return {**found, "hits": np.packbits(right > 0, axis=1)} if keep_samples else found


def block_accuracy(
    deployment: Deployment, data: Split, block: Sequence[int], metric: str, *, trials: int = 1
) -> NDArray[np.float64]:
    """The accuracy [K] by which each chip of a block passes (`statistics.counted`); see `run_block`.

    Args:
        deployment: A network on sampled chips.
        data: Samples.
        block: Numbers of the chips.
        metric: "accuracy" or "balanced accuracy".
        trials: Passes over the data.
    """
    found = run_block(deployment, data, block, trials=trials)
    return counted(found[metric.replace(" ", "_")], found["nonfinite"])


def answers(
    deployment: Deployment, data: Split, block: Sequence[int], *, trials: int = 1
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


def nominal_accuracy(net: Deployable, data: Split, metric: str, theta: Mapping[str, Tensor] | None = None) -> float:
    """Accuracy of a network as it was trained, on no chip.

    Args:
        net: The network.
        data: Samples.
        metric: "accuracy" or "balanced accuracy".
        theta: Its parameters; those that it has by default.
    """
    params = net.nominal() if theta is None else theta
    right = np.zeros((1, len(data)))
    for start in range(0, len(data), BATCH):
        rows = slice(start, min(start + BATCH, len(data)))
        batch = to_batch(data, rows, precision(params))
        with torch.no_grad():
            logits = net.run(params, batch.x, batch.lengths)
        right[0, rows] = ((logits.argmax(-1) == batch.y) & logits.isfinite().all(-1)).numpy()
    return float(right.mean() if metric == "accuracy" else mean_over_classes(right, data.y)[0])


def block_size(net: Deployable, data: Split) -> int:
    """Chips in a block, from the memory that their input currents take; the fused engine keeps none."""
    parameters = 4 * sum(math.prod(spec.shape) for spec in net.parameter_specs().values())
    if isinstance(net, Network) and net.runs_fused():
        return int(max(1, min(MOST_CHIPS, BLOCK_BYTES // (_COPIES * parameters))))
    widest = max((spec.shape[0] for spec in net.parameter_specs().values() if spec.shape), default=1)
    one = max(4 * data.x.shape[1] * min(BATCH, len(data)) * widest, _COPIES * parameters)
    return int(max(1, BLOCK_BYTES // one))


class Unit(NamedTuple):
    """One piece of work: a block of chips of one network under one condition, both by position."""

    model: int
    condition: int
    block: range


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The job of a benchmark: the measures of a unit's chips, wherever it is run.

    Attributes:
        deployments: Networks on chips, by model and condition.
        data: Samples.
        trials: Passes over the data.
        keep_samples: As for `run_block`.
        tuned: Conditions whose chips are calibrated in the loop.
        loop: The task and how they are calibrated; None where none are.
    """

    deployments: Sequence[Sequence[Deployment]]
    data: Split
    trials: int = 1
    keep_samples: bool = False
    tuned: frozenset[int] = frozenset()
    loop: tuple[Task, Tuning] | None = None

    def __call__(self, unit: Unit) -> dict[str, NDArray[Any]]:
        """See `run_block`."""
        deployment = self.deployments[unit.model][unit.condition]
        if self.loop is not None and unit.condition in self.tuned:
            task, tuning = self.loop
            deployment = finetune(deployment, task, chips=unit.block, show_progress=False, **vars(tuning)).deployment
        return run_block(deployment, self.data, unit.block, trials=self.trials, keep_samples=self.keep_samples)


def benchmark(
    nets: Mapping[str, Deployable | TrainedModel],
    conditions: Iterable[Profile | float],
    task: Task,
    *,
    instances: int = 100,
    seed: int = 1,
    purpose: str = "test",
    trials: int = 1,
    calibration: str | Sequence[str] = "none",
    tuning: Tuning | None = None,
    until: Stopping | None = None,
    keep_samples: bool = False,
    run: str | Path | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
    executor: Executor = Serial(),  # noqa: B008 (it has no state)
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Tolerance:
    """Deploy networks on the same sampled chips under several conditions and test every chip.

    Args:
        nets: Networks, models, or trained networks of run files, by name.
        conditions: Profiles, and relative mismatch levels as fractions (0.2, never 20).
        task: Data; validation chips are tested on the validation data, all others on the test data.
        instances: Number of chips; with `until` the largest number.
        seed: Seed of the chips.
        purpose: "test", or "validation" for choosing models.
        trials: Passes over the data, for noise that changes from pass to pass.
        calibration: Mode of calibration (`Chip.deploy`), or several; each profile is then a condition in each of
            them, "brainscales2" and "brainscales2 (trim)", of the same chips. "in_the_loop" calibrates chips that
            were not calibrated before on the task's data (`finetune`), and is the only mode of relative levels.
        tuning: How they are calibrated in the loop; `Tuning()` by default.
        until: When a network on a condition has had enough chips; each such pair stops on its own.
        keep_samples: Keep which samples each chip classifies correctly (a bit each), for an interval of the yield that
            resamples them; needs a single trial.
        run: Run file for results; each finished block is kept in its journal, and the same call goes on from there.
            None keeps nothing.
        overwrite: Replace a run file of another experiment.
        show_progress: Show progress on the standard error stream.
        executor: Who runs the blocks, such as `Processes(4)`; results do not depend on it.
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Returns:
        Accuracies by model, condition and chip.

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If a network may not be deployed, or a profile has no numbers for a mode of calibration.
        RunFileError: If the run file holds another experiment.
        WorkerError: If a worker process was killed; what was finished is in the run file.
    """
    profiles = [profile_of(c) for c in conditions]
    modes = [calibration] if isinstance(calibration, str) else list(calibration)
    cells = [Condition(profile, mode) for profile in profiles for mode in modes_of(profile, modes)]
    names = [cell.name for cell in cells]
    if not nets or not cells:
        raise ConfigError("benchmark: at least one network and one condition are needed")
    if len(set(names)) < len(names):
        raise ConfigError(f"conditions: each may be given once, not {', '.join(names)}")
    if trials < 1:
        raise ConfigError(f"trials: {trials} must be at least 1")
    if keep_samples and trials > 1:
        raise ConfigError(f"keep_samples: needs 1 trial, not {trials}; a sample is right or wrong in a single pass")
    data = samples_for(purpose, task)
    loop = tuning_of(tuning, cells, purpose)
    plain = {name: net.net if isinstance(net, TrainedModel) else net for name, net in nets.items()}
    deployments = deployments_of(plain, cells, instances=instances, seed=seed, purpose=purpose, **deploy)
    result = Tolerance.empty(
        list(nets),
        names,
        [level_of(cell.profile) for cell in cells],
        instances,
        metric=task.metric,
        notes={
            cell.name: notes_of(task, [row[c] for row in deployments], loop if cell.in_the_loop else None)
            for c, cell in enumerate(cells)
        },
        population=population(task, len(data), instances, seed, purpose, trials, until),
        samples=len(data),
        stopping=until,
        right=_no_samples(data, (len(nets), len(names), instances)) if keep_samples else None,
    )
    size = min(-(-instances // executor.workers), *(block_size(net, data) for net in plain.values()))
    units = [
        Unit(m, c, block) for m, row in enumerate(deployments) for c, d in enumerate(row) for block in d.blocks(size)
    ]
    config: dict[str, Any] = {
        "models": {name: identity(net) for name, net in plain.items()},
        "profiles": {profile.name: profile.hash for profile in profiles},
        "task": [task.name, task.encoding, task.split, data_hash(data)],
        "chips": {"instances": instances, "seed": seed, "purpose": purpose, "trials": trials},
        "deploy": {name: str(value) for name, value in sorted(deploy.items())},
    }
    # What was not always there enters only where it is asked for: earlier files go on.
    config |= {"conditions": names} if any(cell.calibration != "none" for cell in cells) else {}
    config |= {} if loop is None else {IN_THE_LOOP: loop.to_dict()}
    config |= {} if until is None else {"until": dataclasses.asdict(until)}
    config |= {"keep_samples": True} if keep_samples else {}
    with ResultFile(None if run is None else Path(run), config, nets, profiles, result, overwrite=overwrite) as file:
        left = [unit for unit in units if not file.has(*unit)]
        total, rest = instances * len(nets) * len(cells), sum(len(unit.block) for unit in left)
        with progress("chips", total, done=total - rest, show=show_progress) as shown:

            def wanted() -> Iterator[Unit]:
                """Units of cells that are not decided when their turn comes."""
                for unit in left:
                    if _decided(result, unit):
                        shown.leave_out(len(unit.block))
                    else:
                        yield unit

            tuned = frozenset(c for c, cell in enumerate(cells) if cell.in_the_loop)
            job = Blocks(deployments, data, trials, keep_samples, tuned, None if loop is None else (task, loop))
            with closing(executor.run(job, wanted(), Threads.shared(executor.workers))) as finished:
                for unit, measures in finished:
                    file.add(*unit, measures)
                    shown.advance(len(unit.block), note=f"{list(nets)[unit.model]} on {names[unit.condition]}")
        for m, net in enumerate(plain.values()):
            if math.isnan(result.nominal[m]) and 0.0 not in result.levels:
                result.nominal[m] = nominal_accuracy(net, data, task.metric)
    return result


def _decided(result: Tolerance, unit: Unit) -> bool:
    """Whether the chips that were run suffice for a verdict on this unit's network and condition."""
    if result.stopping is None:
        return False
    return result.stopping.decide(result.counted[unit.model, unit.condition]).verdict != "undecided"


def _no_samples(data: Split, shape: tuple[int, int, int]) -> Samples:
    """Room for the samples that chips get right."""
    hits = np.zeros((*shape, -(-len(data) // 8)), dtype=np.uint8)
    return Samples(hits, data.y, numbered(data.groups, len(data)))


def samples_for(purpose: str, task: Task) -> Split:
    """The samples that chips of a purpose are tested on: validation data for validation chips, else test data."""
    if purpose not in get_args(Purpose):
        raise ConfigError(unknown("purpose", purpose, get_args(Purpose)))
    data = task.validation if purpose == "validation" else task.test
    if data is None:
        raise ConfigError(f"purpose: task {task.name} has no validation data")
    return data


def population(
    task: Task, samples: int, instances: int, seed: int, purpose: str, trials: int, until: Stopping | None = None
) -> str:
    """What a result is about, as one sentence."""
    passes = "" if trials == 1 else f", mean of {trials} trials"
    most = "" if until is None else "at most "
    return (
        f"{most}{instances} simulated {purpose} chips (seed {seed}) on {samples} samples of {task.name}{passes}; "
        f"{task.metric}; data: {task.split}"
    )


def identity(net: Deployable) -> str:
    """Hash of a network or module, or of a model's parameters."""
    if isinstance(net, Network | Module):
        return net.hash()
    return fingerprint("", net.nominal())
