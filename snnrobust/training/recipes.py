"""Published networks with the settings of their training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.hardware.module import Module
from snnrobust.snn.network import Network
from snnrobust.snn.presets import SIDE, PaperCNN, paper_lsnn
from snnrobust.tasks import Task
from snnrobust.training.problem import FiringRate


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published network and how it was trained.

    Attributes:
        network: Makes the network for a task and a seed.
        settings: Fields of `Settings` that the publication fixes.
        rate_penalty: Weight of its `FiringRate`, 0 for none.
    """

    network: Callable[[Task, int], Network | Module]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rate_penalty: float = 0.0


def _lsnn(task: Task, seed: int) -> Network:
    return paper_lsnn(task.inputs, len(task.classes), dt=task.dt, seed=seed)


def _cnn(task: Task, seed: int) -> Module:
    if (task.steps, task.inputs) != (SIDE, SIDE):
        raise ShapeError(
            f"preset: paper_cnn takes images of {SIDE} x {SIDE}; "
            f"task {task.name} has {task.steps} steps of {task.inputs} inputs"
        )
    return Module(PaperCNN(len(task.classes), seed=seed), sources=PaperCNN.SOURCES)


_ADAM = {"schedule": "step", "batch_size": 100, "clip_norm": None}
RECIPES: dict[str, Recipe] = {
    "paper_lsnn": Recipe(
        network=_lsnn,
        settings={"learning_rate": 1e-3, **_ADAM},
        rate_penalty=FiringRate().weight,
    ),
    "paper_cnn": Recipe(network=_cnn, settings={"learning_rate": 1e-4, **_ADAM}),
}
"""By name. Both are of Büchel, Faber and Muir (ICLR 2022, arXiv:2106.05009), who take 200 epochs on ECG, 100 on speech
and 40 on Fashion-MNIST; theirs with a tenth of the rate are the last 50, 20 and 5, ours the last quarter."""


def recipe_of(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in RECIPES:
        raise ConfigError(unknown("preset", name, RECIPES))
    return RECIPES[name]
