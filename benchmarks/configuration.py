"""Configurations of the training benchmarks: a network, the stages of its training, and its simulated chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from snnrobust.evaluation import benchmark
from snnrobust.evaluation.montecarlo import BATCH, block_size
from snnrobust.hardware import Chip, Profile
from snnrobust.snn import LI, LIF, Network
from snnrobust.tasks import Split, Task
from snnrobust.training import FanInLimit, train
from snnrobust.training.data import to_batch
from snnrobust.training.objectives import Choices

CHIP_SEED = 1
"""Seed of all chips, so that all networks of one shape are tested on the same ones."""


@dataclass(frozen=True, kw_only=True)
class Net:
    """A recurrent layer of LIF neurons and an LI readout that is decoded by its mean; times in steps of the task.

    Attributes:
        neurons: Number of hidden neurons.
        tau_mem: Membrane time constants of the first and the last hidden neuron; those between are log-spaced.
        tau_syn: Synaptic time constant.
        tau_out: Membrane time constant of the readout.
    """

    neurons: int = 256
    tau_mem: tuple[float, float] = (10.0, 10.0)
    tau_syn: float = 5.0
    tau_out: float = 5.0

    def build(self, task: Task, seed: int) -> Network:
        """The network for a task, with initial weights of this seed."""
        first, last = (torch.tensor(steps * task.dt, dtype=torch.float64) for steps in self.tau_mem)
        share = torch.linspace(0, 1, self.neurons, dtype=torch.float64)
        tau_mem = torch.exp(torch.lerp(first.log(), last.log(), share)).float()
        hidden = LIF(
            task.inputs,
            self.neurons,
            recurrent=True,
            dt=task.dt,
            tau_mem=tau_mem,
            tau_syn=self.tau_syn * task.dt,
            seed=1000 * seed,
        )
        readout = LI(self.neurons, len(task.classes), dt=task.dt, tau_mem=self.tau_out * task.dt, seed=1000 * seed + 1)
        return Network([hidden, readout])

    def __str__(self) -> str:
        first, last = self.tau_mem
        times = f"{first:g}" if first == last else f"{first:g}-{last:g}"
        return f"lif{self.neurons} tau {times} {self.tau_syn:g} {self.tau_out:g}"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training, or a part of one: what follows starts from its weights.

    Attributes:
        objective: What is minimised.
        share: Share of the passes of the cell.
        learning_rate: Adam's, at the start; it falls to 1 % as a cosine.
        batch_size: Samples an update; None is the trainer's, 100 or a tenth of the training samples.
        ema: Decay of the running mean of the weights, or None.
        fan_in: Most synapses of a neuron, after every update; None for all.
    """

    objective: Choices
    share: float = 1.0
    learning_rate: float = 1e-2
    batch_size: int | None = None
    ema: float | None = None
    fan_in: int | None = None

    def epochs(self, passes: int) -> int:
        """Whole epochs that this share of the passes through the training data allows, at least one."""
        return max(1, round(self.share * passes / self.objective.passes))

    def __str__(self) -> str:
        share = () if self.share == 1 else (f"{self.share:g} of passes",)
        settings = [f"{f.name}={getattr(self, f.name):g}" for f in fields(self)[2:] if _chosen(self, f)]
        return " ".join((*share, described(self.objective), *settings))


@dataclass(frozen=True)
class Configuration:
    """A network and how it is trained; its text is its identity in the CSV files.

    Attributes:
        net: The network.
        stages: Trainings, one after the other.
    """

    net: Net
    stages: tuple[Stage, ...]

    def epochs(self, passes: int) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs(passes) for stage in self.stages)

    def spent(self, passes: int) -> int:
        """Passes through the training data that whole epochs make of this number."""
        return sum(stage.epochs(passes) * stage.objective.passes for stage in self.stages)

    def __str__(self) -> str:
        return "; ".join(str(part) for part in (self.net, *self.stages))


def thinned(task: Task, *, train: int | None = None, test: int | None = None) -> Task:
    """A task with at most so many training and test samples, evenly spaced, and its split saying so."""

    def some(split: Split, most: int | None) -> Split:
        return split if most is None or len(split) <= most else split.take(np.arange(most) * len(split) // most)

    fewer = replace(task, train=some(task.train, train), test=some(task.test, test))
    counts = [
        f"{len(part):,} of {name}"
        for name, part in (("train", fewer.train), ("test", fewer.test))
        if len(part) < len(task.parts()[name])
    ]
    return replace(fewer, split="; ".join([task.split, *counts]))


class Trained(NamedTuple):
    """A trained network.

    Attributes:
        net: The network.
        seconds: Wall time of all epochs of all stages, interrupted or not; passes are the cost that can be compared.
    """

    net: Network
    seconds: float


def trained(configuration: Configuration, task: Task, runs: Path, *, passes: int, seed: int) -> Trained:
    """The network of a configuration after all stages.

    The weights kept are the last: one rule for tasks with and without validation data, and no choice by the accuracy
    without mismatch.

    Args:
        configuration: The network and its stages.
        task: Data to train on.
        runs: Beginning of the paths of the run files, one a stage, from which an interrupted training goes on.
        passes: Passes through the training data that may be spent.
        seed: Seed of the initial weights, of the order of samples and of the noise.
    """
    net, seconds = configuration.net.build(task, seed), 0.0
    for number, stage in enumerate(configuration.stages):
        result = train(
            net,
            task,
            stage.objective,
            run=runs.with_name(f"{runs.name}-{number}.h5"),
            show_progress=False,
            epochs=stage.epochs(passes),
            batch_size=stage.batch_size,
            learning_rate=stage.learning_rate,
            ema=stage.ema,
            limit=None if stage.fan_in is None else FanInLimit(fan_in=stage.fan_in),
            select="last",
            seed=seed + 1000 * number,
        )
        seconds += sum(result.history["seconds"])
    return Trained(net, seconds)


def chip_accuracies(
    net: Network, task: Task, levels: Sequence[float], *, chips: int, purpose: str
) -> dict[float, NDArray[np.float64]]:
    """Accuracy of each chip [K] by level; without mismatch all chips are the same, so there is one."""

    def of(some: Sequence[float], instances: int) -> NDArray[np.float64]:
        tolerance = benchmark(
            {"net": net}, some, task, instances=instances, seed=CHIP_SEED, purpose=purpose, show_progress=False
        )
        accuracies: NDArray[np.float64] = tolerance.accuracy[0]
        return accuracies

    found = {level: of([level], 1)[0] for level in levels if level == 0}
    moved = [level for level in levels if level > 0]
    return {**found, **dict(zip(moved, of(moved, chips), strict=True))}


def group_accuracies(net: Network, task: Task, level: float, *, chips: int) -> dict[str, dict[str, str]]:
    """Samples and mean accuracy over test chips of each group of test samples, such as a speaker."""
    deployment = Chip(Profile.relative(level)).deploy(net, instances=chips, seed=CHIP_SEED, purpose="test")
    data, right = task.test, np.zeros(len(task.test))
    for block in deployment.blocks(block_size(net, data)):
        params = deployment.parameters(block)
        for start in range(0, len(data), BATCH):
            rows = slice(start, min(start + BATCH, len(data)))
            batch = to_batch(data, rows, torch.float32)
            logits = deployment.run(batch.x, block, lengths=batch.lengths, params=params)
            right[rows] += (logits.argmax(-1) == batch.y).numpy().sum(0) / chips
    groups = np.arange(len(data)) if data.groups is None else data.groups
    found = {}
    for name in np.unique(groups):
        own = right[groups == name]
        found[str(name)] = {"samples": str(len(own)), "accuracy": f"{own.mean():.4f}"}
    return found


def described(choices: Choices) -> str:
    """Name of an objective, and the choices that are not its defaults."""
    chosen = [f for f in fields(choices) if _chosen(choices, f)]
    return " ".join([choices.name, *(f"{f.name}={_text(getattr(choices, f.name))}" for f in chosen)])


def _chosen(of: Any, field: Field[Any]) -> bool:  # noqa: ANN401 (any dataclass)
    return bool(getattr(of, field.name) != field.default)


def _text(value: object) -> str:
    return f"({described(value)})" if isinstance(value, Choices) else str(value)
