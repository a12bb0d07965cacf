"""Observe networks on chips, condition by condition: other times, temperatures and calibrations of the same chips."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError
from snnrobust.evaluation.analyses import Arrays, Kept, Piece, keyed_by, once
from snnrobust.evaluation.certificates.certificate import spread_samples
from snnrobust.evaluation.conditions import Condition
from snnrobust.evaluation.montecarlo import population
from snnrobust.evaluation.observation.behaviour import KIND, NOMINAL, Behaviour
from snnrobust.evaluation.observation.chips import chips_at_once, decisions, network_of, observe
from snnrobust.hardware.calibration import UNCALIBRATED, modes_of, remarks
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.progress import Progress, progress
from snnrobust.tasks import Split, Task
from snnrobust.training.finetune import finetune
from snnrobust.training.record import TrainedModel
from snnrobust.training.tuning import Tuning


def behaviour(
    nets: Mapping[str, Deployable | TrainedModel],
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
        run: Run file for the results, one analysis a network, beside what it holds; finished blocks are kept in a
            journal, and the same call goes on from there.
        overwrite: Replace another behaviour of these networks in the file.
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
    plain = {name: network_of(net.net if isinstance(net, TrainedModel) else net) for name, net in nets.items()}
    loop = _tuning(tuning, cells)
    data = spread_samples(task.test, samples)
    deployments = _deployed(plain, cells, instances=instances, seed=seed, **deploy)
    options: dict[str, Any] = {
        "conditions": {name: [cell.profile.hash, cell.calibration] for name, cell in cells.items()},
        "chips": {"instances": instances, "seed": seed},
        "deploy": {name: str(value) for name, value in sorted(deploy.items())},
        "in_the_loop": None if loop is None else loop.to_dict(),
    }
    path, chip = None if run is None else Path(run), ", ".join(dict.fromkeys(p.name for p in profiles.values()))
    observed = _Observed(cells, task, data, instances, loop, min(chips_at_once(net, data) for net in plain.values()))
    about = population(task, len(data), instances, seed, "test", 1)
    parts, total = [], len(nets) * (1 + instances * (len(cells) - 1))
    with progress("chips", total, show=show_progress) as shown:
        for (name, net), own in zip(plain.items(), deployments, strict=True):
            config = keyed_by(net, next(iter(profiles.values())), task, data, **options)
            kept = Kept(path, KIND, name, nets[name], chip, config, overwrite=overwrite)
            parts.append(once(kept, Behaviour, observed.network, name, own, about, shown))
    return Behaviour.joined(parts)


class _Observed(NamedTuple):
    """How networks are observed.

    Attributes:
        cells: The conditions by name, the network on no chip first.
        task: Data for calibration in the loop.
        data: Samples that are observed.
        instances: Number of chips.
        tuning: How chips are calibrated in the loop; None where none are.
        size: Most chips of a block.
    """

    cells: Mapping[str, Condition]
    task: Task
    data: Split
    instances: int
    tuning: Tuning | None
    size: int

    def network(
        self, name: str, deployments: Sequence[Deployment], about: str, shown: Progress, *, piece: Piece
    ) -> Behaviour:
        """What the chips of a network do under each condition, block by block."""
        net = network_of(deployments[0].net)
        notes = {
            label: _notes(self.task, deployment, cell, self.tuning or Tuning())
            for deployment, (label, cell) in zip(deployments, self.cells.items(), strict=True)
        }
        result = Behaviour.empty(
            list(self.cells),
            {name: {layer: own.neurons for layer, own in net.spiking.items()}},
            self.instances,
            metric=self.task.metric,
            samples=len(self.data),
            notes={label: lines for label, lines in notes.items() if lines},
            population=about,
        )
        reference = decisions(net, self.data)
        for c, (deployment, (label, cell)) in enumerate(zip(deployments, self.cells.items(), strict=True)):
            for block in deployment.blocks(self.size):
                work = functools.partial(self.block, deployment, cell, block, reference)
                found = piece(f"{c}/{block.start}/{len(block)}", work)
                # The network on no chip, which was run once, is every chip's.
                result.fill(0, c, range(self.instances) if c == 0 else block, found)
                shown.advance(len(block), note=f"{name} on {label}")
        return result

    def block(self, deployment: Deployment, cell: Condition, block: range, reference: NDArray[np.int64]) -> Arrays:
        """What a block of chips does."""
        if self.tuning is not None and cell.in_the_loop:
            how = vars(self.tuning)
            deployment = finetune(deployment, self.task, chips=block, show_progress=False, **how).deployment
        return observe(deployment, self.data, block, reference)


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


def _notes(task: Task, deployment: Deployment, cell: Condition, tuning: Tuning) -> tuple[str, ...]:
    """What has to be said of a condition, and what it would cost to calibrate its chips in the loop instead."""
    if cell.profile.kind in UNCALIBRATED and not cell.in_the_loop:
        return ()
    before = remarks(deployment.placement) if cell.in_the_loop else []  # that they are not calibrated
    lines = [line for line in deployment.notes if line not in before]
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
