"""Observe networks on chips, condition by condition: other times, temperatures and calibrations of the same chips."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from snnrobust.errors import ConfigError
from snnrobust.evaluation.behaviour import NOMINAL, Behaviour, read_behaviour
from snnrobust.evaluation.certificate import spread_samples
from snnrobust.evaluation.conditions import Condition
from snnrobust.evaluation.kept import Kept
from snnrobust.evaluation.montecarlo import identity, population
from snnrobust.evaluation.observation import chips_at_once, decisions, network_of, observe
from snnrobust.hardware.calibration import UNCALIBRATED, modes_of, remarks
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.progress import progress
from snnrobust.storage import open_run
from snnrobust.tasks import Task
from snnrobust.training.checkpoint import check_config
from snnrobust.training.data import data_hash
from snnrobust.training.finetune import finetune
from snnrobust.training.tuning import Tuning


class _Unit(NamedTuple):
    """A block of chips of one network under one condition, both by position."""

    model: int
    condition: int
    block: range

    @property
    def name(self) -> str:
        return f"{self.model}/{self.condition}/{self.block.start}"


def behaviour(
    nets: Mapping[str, Deployable],
    conditions: Profile | Mapping[str, Profile],
    task: Task,
    *,
    instances: int = 20,
    samples: int = 200,
    seed: int = 1,
    calibration: str | Sequence[str] = "none",
    tuning: Tuning | None = None,
    run: str | Path | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Behaviour:
    """What chips of some networks do beside being right, with every spike and potential recorded.

    The chips are the test chips of `benchmark` with the same seed, the same under all conditions. Noise of reads and
    events is drawn by the place of a sample among those that are observed.

    Args:
        nets: Networks by name.
        conditions: A profile, or several by name, such as {"1 h": profile.under(time=3600), ...}.
        task: Data; the test data is used.
        instances: Number of chips.
        samples: Most samples, evenly spread over the test data.
        seed: Seed of the chips.
        calibration: Mode of calibration, or several, side by side, as in `benchmark`; also "in_the_loop".
        tuning: How chips are calibrated in the loop.
        run: Run file for the results; each finished block is kept in its journal, and the same call goes on from there.
        overwrite: Replace a run file of another experiment.
        show_progress: Show progress on the standard error stream.
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Raises:
        ConfigError: For an argument outside its domain, or a network that is no `Network`.
        ProfileError: If a network may not be deployed, or a profile has no numbers for a mode of calibration.
        RunFileError: If the run file holds another experiment.
    """
    profiles = {conditions.name: conditions} if isinstance(conditions, Profile) else dict(conditions)
    modes = [calibration] if isinstance(calibration, str) else list(calibration)
    cells = _cells(profiles, modes)
    if not nets or len(cells) < 2 or samples < 1:
        raise ConfigError("behaviour: at least one network, one condition and one sample are needed")
    plain = {name: network_of(net) for name, net in nets.items()}
    loop = _tuning(tuning, cells)
    data = spread_samples(task.test, samples)
    deployments = _deployed(plain, cells, instances=instances, seed=seed, **deploy)
    config: dict[str, Any] = {
        "models": {name: identity(net) for name, net in plain.items()},
        "conditions": {name: [cell.profile.hash, cell.calibration] for name, cell in cells.items()},
        "task": [task.name, task.encoding, task.split, data_hash(data)],
        "chips": {"instances": instances, "seed": seed},
        "deploy": {name: str(value) for name, value in sorted(deploy.items())},
        "in_the_loop": None if loop is None else loop.to_dict(),
    }
    path = None if run is None else Path(run)
    if path is not None and path.exists() and not overwrite:  # it is written when all is done
        check_config(path, open_run(path), "behaviour", json.loads(json.dumps(config)))
        return read_behaviour(path)
    notes = {
        name: _notes(task, [row[c] for row in deployments], cell, loop or Tuning())
        for c, (name, cell) in enumerate(cells.items())
    }
    result = Behaviour.empty(
        list(cells),
        {name: {layer: own.neurons for layer, own in net.spiking.items()} for name, net in plain.items()},
        instances,
        metric=task.metric,
        samples=len(data),
        notes={name: lines for name, lines in notes.items() if lines},
        population=population(task, len(data), instances, seed, "test", 1),
    )
    size = min(chips_at_once(net, data) for net in plain.values())
    units = [
        _Unit(m, c, block) for m, row in enumerate(deployments) for c, d in enumerate(row) for block in d.blocks(size)
    ]
    answers = [decisions(net, data) for net in plain.values()]
    with Kept(path, config, list(nets), overwrite) as kept:
        total = sum(len(unit.block) for unit in units)
        done = sum(len(unit.block) for unit in units if unit.name in kept.found)
        with progress("chips", total, done=done, show=show_progress) as shown:
            for unit in units:
                if unit.name not in kept.found:
                    deployment, cell = deployments[unit.model][unit.condition], list(cells.values())[unit.condition]
                    if loop is not None and cell.in_the_loop:
                        tuned = finetune(deployment, task, chips=unit.block, show_progress=False, **vars(loop))
                        deployment = tuned.deployment
                    kept.add(unit.name, observe(deployment, data, unit.block, answers[unit.model]))
                    shown.advance(len(unit.block), note=f"{list(nets)[unit.model]} on {list(cells)[unit.condition]}")
        for unit in units:  # the network on no chip, which was run once, is every chip's
            block = range(instances) if unit.condition == 0 else unit.block
            result.fill(unit.model, unit.condition, block, kept.found[unit.name])
        kept.finish("behaviour", {"behaviour": result.to_group()})
    return result


def _cells(profiles: Mapping[str, Profile], modes: Sequence[str]) -> dict[str, Condition]:
    """The conditions by name, the network on no chip first."""
    found = {NOMINAL: Condition(Profile.relative(0.0))}
    for name, profile in profiles.items():
        for mode in modes_of(profile, modes):
            label = name if mode == "none" else f"{name} ({mode})"
            if label in found:
                raise ConfigError(f"conditions: {label} is given twice, or is the network's own")
            found[label] = Condition(profile, mode)
    return found


def _tuning(tuning: Tuning | None, cells: Mapping[str, Condition]) -> Tuning | None:
    """How chips are calibrated in the loop; None where none are."""
    if any(cell.in_the_loop for cell in cells.values()):
        return Tuning() if tuning is None else tuning
    if tuning is not None:
        raise ConfigError("tuning: no chips are calibrated in the loop; calibration must name in_the_loop")
    return None


def _deployed(
    nets: Mapping[str, Deployable],
    cells: Mapping[str, Condition],
    *,
    instances: int,
    seed: int,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> list[list[Deployment]]:
    """Each network under each condition; on no chip once."""
    with warnings.catch_warnings():  # the notes say the same
        warnings.simplefilter("ignore")
        return [
            [
                Chip(cell.profile).deploy(
                    net,
                    1 if name == NOMINAL else instances,
                    seed,
                    calibration="none" if cell.in_the_loop else cell.calibration,
                    **({} if name == NOMINAL else deploy),
                )
                for name, cell in cells.items()
            ]
            for net in nets.values()
        ]


def _notes(task: Task, deployments: Sequence[Deployment], cell: Condition, tuning: Tuning) -> tuple[str, ...]:
    """What has to be said of a condition, and what it would cost to calibrate its chips in the loop instead."""
    if cell.profile.kind in UNCALIBRATED and not cell.in_the_loop:
        return ()
    lines = []
    for deployment in deployments:
        before = remarks(deployment.placement) if cell.in_the_loop else []  # that they are not calibrated
        lines += [line for line in deployment.notes if line not in before]
        lines += ["energy not available: the profile states none"] if cell.profile.energy is None else []
        lines += tuning.remarks(task, deployment) if cell.in_the_loop else [alternative(task, deployment, tuning)]
    return tuple(dict.fromkeys(lines))


def alternative(task: Task, deployment: Deployment, tuning: Tuning) -> str:
    """What it would cost to calibrate every chip of a deployment in the loop, as one sentence."""
    chips, samples, cost = deployment.instances, len(tuning.measured(task.train)), tuning.cost(task, deployment.step)
    time = "" if cost.seconds is None else f", {chips * cost.seconds:.3g} s on one chip after the other"
    work = f"{chips * cost.answers:,} samples answered, {chips * cost.writes:,} writes{time}"
    return (
        f"the alternative, fine-tuning every chip in the loop: {chips} chips x {samples} samples x {tuning.epochs} "
        f"epochs and {cost.checks} checks, {work}"
    )
