"""How chips are calibrated in the loop: what is written, how often, and what it costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware import randomness
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.snn.network import Network
from snnrobust.snn.specs import ROLES, WEIGHTS
from snnrobust.tasks import Split, Task
from snnrobust.training.data import batch_count
from snnrobust.training.trainer import Settings

KNOBS: dict[str, tuple[str, ...]] = {"scale": ("gain",), "bias": ("bias",), "weights": WEIGHTS}
"""Roles that a knob turns, in every layer; "readout" are the readout's weights, and a role or a parameter is a knob."""
BACKWARD = ("nominal", "measured")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How chips are calibrated in the loop.

    Attributes:
        knobs: What is written: "scale" (gains), "bias", "readout" (its weights), "weights", roles, or parameters by
            name. A digital part of the system has the first three; where neurons share their biases, as on DYNAP-SE,
            take "readout", "readout.bias" and "readout.gain".
        epochs: Passes over the training data.
        batch_size: Largest number of samples before the next write; as in `Settings` by default.
        learning_rate: Adam's at the start, down to 1 % on a cosine.
        clip_norm: Largest gradient norm of a chip, or None.
        samples: Training samples that are measured, drawn by the seed; None for all.
        backward: "nominal" goes back through the nominal parameters; "measured" through each chip's static ones, as
            an exact measurement of all of them after every write would give them.
        seed: Seed of the order of samples.

    Raises:
        ConfigError: For a value outside its domain.
    """

    knobs: tuple[str, ...] = ("scale", "bias", "readout")
    epochs: int = 10
    batch_size: int | None = None
    learning_rate: float = 1e-2
    clip_norm: float | None = 1.0
    samples: int | None = None
    backward: str = "nominal"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.knobs, str):
            raise ConfigError(f"knobs: {self.knobs!r} must be a tuple of names")
        if self.samples is not None and self.samples < 1:
            raise ConfigError(f"samples: {self.samples} must be at least 1, or None")
        if self.backward not in BACKWARD:
            raise ConfigError(unknown("backward", self.backward, BACKWARD))
        _ = self.settings

    @property
    def settings(self) -> Settings:
        """The same choices of the trainer."""
        return Settings(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, clip_norm=self.clip_norm
        )

    def names(self, net: Deployable) -> tuple[str, ...]:
        """Parameters of a network that the knobs turn.

        Raises:
            ConfigError: If there is no such knob, or the network has no such parameter.
        """
        specs = net.parameter_specs()
        wanted: set[str] = set()
        for knob in self.knobs:
            if knob == "readout":
                found = {"readout.weight"} if isinstance(net, Network) else set()
            elif knob in specs:
                found = {knob}
            elif knob in KNOBS or knob in ROLES:
                found = {name for name, spec in specs.items() if spec.role in KNOBS.get(knob, (knob,))}
            else:
                raise ConfigError(unknown("knobs", knob, {"readout", *KNOBS, *ROLES, *specs}))
            if not found:
                raise ConfigError(f"knobs: {knob!r} is nothing that this {type(net).__name__} has")
            wanted |= found
        return tuple(name for name in specs if name in wanted)

    def measured(self, data: Split) -> Split:
        """The training samples that are measured."""
        if self.samples is None or self.samples >= len(data):
            return data
        key = randomness.key(self.seed, "train", "data", "measured", "sample", 0)
        return data.take(np.sort(randomness.permutation(key, len(data))[: self.samples]))

    def remarks(self, task: Task, deployment: Deployment) -> list[str]:
        """What has to be said of chips that are calibrated so."""
        specs, shared = deployment.net.parameter_specs(), deployment.profile.calibration.mode == "core_mean"
        inner = [n for n in self.names(deployment.net) if shared and not n.startswith("readout.")]
        own = [name for name in inner if specs[name].role not in WEIGHTS]
        lines = [f"written neuron by neuron, although cores share them on the chip: {', '.join(own)}"] if own else []
        return [str(self.cost(task, deployment.step)), *lines]

    def to_dict(self) -> dict[str, Any]:
        """The choices, as plain values."""
        return {**asdict(self), "knobs": list(self.knobs)}

    def cost(self, task: Task, step: float | None = None) -> Cost:
        """What it costs on each chip whose steps take `step` seconds."""
        train = self.measured(task.train)
        updates = self.epochs * batch_count(train, self.settings.samples_an_update(len(train)))
        checks = 0 if task.validation is None else self.epochs + 1
        answers = self.epochs * len(train) + checks * (0 if task.validation is None else len(task.validation))
        seconds = None if step is None else answers * task.train.x.shape[1] * step
        return Cost(self.epochs, checks, answers, updates + 1, seconds)


class Cost(NamedTuple):
    """What calibration in the loop costs on one chip.

    Attributes:
        passes: Passes over the training samples.
        checks: Passes over the validation samples.
        answers: Samples that it answered.
        writes: Times that its parameters were written.
        seconds: Time for the answers on the chip, all steps of each sample; None where a step has no length.
    """

    passes: int = 0
    checks: int = 0
    answers: int = 0
    writes: int = 0
    seconds: float | None = None

    def __str__(self) -> str:
        time = "" if self.seconds is None else f", {self.seconds:.3g} s on the chip"
        return f"in the loop, each chip: {self.answers} samples answered, {self.writes} writes{time}"
