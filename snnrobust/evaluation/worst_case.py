"""Worst cases: what attacked devices score beside random ones of the same size, over the size of the box.

Three kinds of devices for each radius: those that an attack finds, Gaussian mismatch z ~ N(0, radius^2), unclipped,
whose standard deviation is the half-width of the box, and random vertices z = +-radius of the box (Büchel, Faber and
Muir, ICLR 2022, arXiv:2106.05009, figures 3 and S5). Outliers, faults and temporal draws are the same for all of them.
A device is chosen on one part of the data and scored on another.
"""

from __future__ import annotations

import functools
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.attack import (
    LOSSES,
    Search,
    box_profile,
    check_radius,
    dtype_of,
    find,
    held_coordinates,
)
from snnrobust.evaluation.montecarlo import block_size, run_block
from snnrobust.hardware import randomness
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.chosen import ChosenChips, choose
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.export import chip_tree
from snnrobust.hardware.mismatch import draw, project
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.storage import Array, Group, Scalar, write_run
from snnrobust.tasks import Split, Task
from snnrobust.training.data import class_weights, to_batch

STATEMENT = "a worst case, not a yield statement"
"""What has to be said beside every worst case."""
_GAUSSIAN, _VERTEX = 1, 2  # parts of the random key


@dataclass(frozen=True, eq=False)
class WorstCase:
    """Scores of attacked and of random devices over the size of the box; a worst case, not a yield statement.

    Attributes:
        radii: Half-widths of the boxes, in standard deviations of the profile, or fractions of |theta|.
        attacked: By loss ("task", "kl"), the score of the device with the largest loss on the attacked data [radius].
        losses: By loss, that largest loss [radius].
        gaussian: Scores of Gaussian mismatch of the same size [radius, chip].
        vertices: Scores of random vertices of the box [radius, chip].
        nominal: Score at z = 0, with the same outliers and faults as all others.
        metric: What the score is: "accuracy" or "balanced accuracy".
        profile: Name of the profile; "" for relative levels.
        harmful: The device with the lowest score of all attacked ones at the largest radius; None of a result that was
            read, whose group holds the device's parameters.
        attacked_on: Which data was attacked, as a phrase.
        scored_on: Which data the scores are of.
        notes: What has to be said of the chip.
    """

    radii: tuple[float, ...]
    attacked: dict[str, NDArray[np.float64]]
    losses: dict[str, NDArray[np.float64]]
    gaussian: NDArray[np.float64]
    vertices: NDArray[np.float64]
    nominal: float
    metric: str
    profile: str
    harmful: ChosenChips | None
    attacked_on: str
    scored_on: str
    notes: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """What the result is, as one sentence."""
        return (
            f"{STATEMENT}: devices attacked on {self.attacked_on}, {self.metric} on {self.scored_on}; "
            "a search may miss a worse device"
        )

    def to_group(self) -> Group:
        """The curves as a group of a run file, with the most harmful device as the group `harmful`."""
        items = {"radius": Array(np.array(self.radii), ("radius",)), "chip": _chips(self.gaussian)}
        items |= {f"attacked_{name}": Array(values, ("radius",)) for name, values in self.attacked.items()}
        items |= {f"loss_{name}": Array(values, ("radius",)) for name, values in self.losses.items()}
        items |= {
            "gaussian": Array(self.gaussian, ("radius", "chip")),
            "vertices": Array(self.vertices, ("radius", "chip")),
        }
        attrs: dict[str, Scalar] = {"statement": self.statement, "metric": self.metric, "profile": self.profile}
        attrs |= {"nominal": self.nominal, "attacked_on": self.attacked_on, "scored_on": self.scored_on}
        attrs |= {"losses": json.dumps(list(self.attacked)), "notes": json.dumps(self.notes)}
        curves = Group(items, attrs)
        return curves if self.harmful is None else curves.put("harmful", _tree(self.harmful, self.statement))

    @classmethod
    def from_group(cls, group: Group) -> WorstCase:
        """The curves of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("worst_case"):
            attrs, losses = group.attrs, json.loads(str(group.attrs["losses"]))
            of = {name: np.array(array.values, dtype=np.float64) for name, array in group.arrays()}
            return cls(
                tuple(of["radius"].tolist()),
                {loss: of[f"attacked_{loss}"] for loss in losses},
                {loss: of[f"loss_{loss}"] for loss in losses},
                of["gaussian"],
                of["vertices"],
                float(attrs["nominal"]),
                str(attrs["metric"]),
                str(attrs["profile"]),
                None,
                str(attrs["attacked_on"]),
                str(attrs["scored_on"]),
                tuple(json.loads(str(attrs["notes"]))),
            )


def worst_case(
    net: Deployable,
    task: Task,
    radii: Sequence[float],
    *,
    profile: Profile | None = None,
    calibration: str = "none",
    losses: Sequence[str] = LOSSES,
    steps: int = 20,
    restarts: int = 5,
    chips: int = 20,
    samples: int = 300,
    attack_on: str = "train",
    score_on: str = "test",
    only: str | None = None,
    seed: int = 1,
    piece: Piece = anew,
) -> WorstCase:
    """Attack a trained network in boxes of growing size, and score the devices found beside random ones.

    Boxes are nested, so the devices of a smaller one are candidates in the next: the largest loss never falls.

    Args:
        net: A trained network.
        task: Data.
        radii: Half-widths of the boxes, in standard deviations of the profile; without one, fractions of |theta|.
        profile: The chip.
        calibration: What a lab did to it (`Chip.deploy`).
        losses: What is attacked: "task", "kl" or both.
        steps: Ascent steps.
        restarts: Starts of each attack.
        chips: Random devices of each kind.
        samples: Most samples that are attacked, chosen by the seed.
        attack_on: Part of the data that is attacked: train, validation or test.
        score_on: Part of the data that devices are scored on.
        only: "mismatch" leaves quantisation, limits and faults out.
        seed: Seed of starts and random devices.
        piece: Keeps what each attack found (`analyses.Kept`).

    Raises:
        ConfigError: For an argument outside its domain, or where both parts of the data are the same.
    """
    sizes = tuple(sorted(float(radius) for radius in radii))
    for radius in sizes:
        check_radius(radius)
    if not sizes or chips < 1 or samples < 1:
        raise ConfigError("worst_case: at least one radius, one chip and one sample are needed")
    if attack_on == score_on:
        raise ConfigError(f"score_on: {score_on!r} must not be the data that is attacked")
    searches = [Search(loss=loss, steps=steps, restarts=restarts, seed=seed) for loss in losses]
    whole, scored = part_of(task, attack_on), part_of(task, score_on)
    rows = randomness.permutation(randomness.key(seed, "attack", "data", "order", "sample", 0), len(whole))[:samples]
    batch = to_batch(whole, np.sort(rows), dtype_of(net))
    chosen = box_profile(profile)
    with warnings.catch_warnings():  # the notes say the same
        warnings.simplefilter("ignore")
        base = Chip(chosen).deploy(net, 1, seed, "attack", only=only, calibration=calibration)
    weights, held = class_weights(task), held_coordinates(base.placement, seed)

    def scores(z: Mapping[str, Tensor]) -> NDArray[np.float64]:
        return score(choose(base, z), scored, task.metric)

    def attack(search: Search, radius: float, also: dict[str, Tensor] | None) -> dict[str, NDArray[np.generic]]:
        found = find(net, base.placement, batch, radius, search, class_weights=weights, also=also)
        best = scores({key: value[:1] for key, value in found.z.items()})[0]
        z = {f"z/{key}": value[:restarts].numpy() for key, value in found.z.items()}
        return {"score": np.array(best), "loss": np.array(float(found.loss[0])), **z}

    attacked, found_losses, ends = {}, {}, []
    for search in searches:
        row, worst, last = [], [], None
        for radius in sizes:
            of = piece(f"{search.loss} {radius!r}", functools.partial(attack, search, radius, last))
            last = {key[2:]: torch.from_numpy(value) for key, value in of.items() if key.startswith("z/")}
            row.append(float(of["score"]))
            worst.append(float(of["loss"]))
        attacked[search.loss], found_losses[search.loss] = np.array(row), np.array(worst)
        ends.append((row[-1], {key: value[:1] for key, value in (last or {}).items()}))
    still = {c.key: torch.zeros(1, *c.shape) for c in base.placement.coordinates.values() if c.kind == "continuous"}
    random = {kind: _random(base, kind, chips, seed) for kind in (_GAUSSIAN, _VERTEX)}
    every = {key: value.expand(chips, *value.shape[1:]) for key, value in held.items()}

    def of_size(kind: int, radius: float) -> NDArray[np.float64]:
        z = {key: radius * value for key, value in random[kind].items()}
        moved = project(base.placement, z, radius) if kind == _VERTEX else z
        return np.broadcast_to(scores({**moved, **every}), chips)

    return WorstCase(
        sizes,
        attacked,
        found_losses,
        np.stack([of_size(_GAUSSIAN, radius) for radius in sizes]),
        np.stack([of_size(_VERTEX, radius) for radius in sizes]),
        float(scores({**still, **held})[0]),
        task.metric,
        "" if profile is None else profile.name,
        choose(base, min(ends, key=lambda end: end[0])[1]),
        f"{len(batch.y)} samples of {task.name} ({attack_on})",
        f"{len(scored)} others ({score_on})",
        base.notes,
    )


def write_harmful(path: str | os.PathLike[str], result: WorstCase | Group) -> None:
    """Write the curves, and the most harmful device as a chip's file (`hardware.export`) with its coordinates z.

    Args:
        path: The file.
        result: The worst case, or the group that holds it in a run file.

    Raises:
        RunFileError: If the file cannot be written.
    """
    group = result if isinstance(result, Group) else result.to_group()
    curves = Group({name: item for name, item in group.items.items() if name != "harmful"}, group.attrs)
    write_run(path, group.group("harmful").put("worst_case", curves))


def _tree(harmful: ChosenChips, statement: str) -> Group:
    """The device as a chip's file has it, with its coordinates."""
    tree = chip_tree(harmful, 0)
    tree = replace(tree, attrs={**tree.attrs, "statement": statement})
    for key, value in harmful.z.items():  # a key has a slash: a group for each parameter
        tree = tree.put(f"z/{key}", Array(value[0].numpy()))
    return tree


def part_of(task: Task, name: str) -> Split:
    """A part of the task's data by name."""
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    found = parts.get(name)
    if found is None:
        raise ConfigError(f"data: task {task.name} has no part {name!r}; allowed: train, validation, test")
    return found


def score(deployment: Deployment, data: Split, metric: str) -> NDArray[np.float64]:
    """The metric of every chip of a deployment [K]."""
    blocks = deployment.blocks(block_size(deployment.net, data))
    name = metric.replace(" ", "_")
    return np.concatenate([run_block(deployment, data, block)[name] for block in blocks])


def _random(base: Deployment, kind: int, chips: int, seed: int) -> dict[str, Tensor]:
    """Standard normal coordinates [K, *shape], or their signs."""
    z = draw(base.placement, seed=seed, purpose="attack", instances=range(chips), extra=(kind,), kinds=("continuous",))
    return z if kind == _GAUSSIAN else {key: torch.where(value < 0, -1.0, 1.0) for key, value in z.items()}


def _chips(values: NDArray[np.float64]) -> Array:
    return Array(np.arange(values.shape[1]), ("chip",))
