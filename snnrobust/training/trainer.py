"""The one trainer: Adam on any objective, with schedules, clipping, selection, checkpoints and bit-equal resume."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ShapeError, TrainingError, unknown
from snnrobust.hardware.model import Deployable, check_deployable
from snnrobust.hardware.module import Module
from snnrobust.progress import progress
from snnrobust.snn.network import Network, fingerprint
from snnrobust.storage import locked
from snnrobust.tasks import Split, Task
from snnrobust.training.checkpoint import State, TrainingFile
from snnrobust.training.data import batch_count, batches, class_weights, data_hash, precision, to_batch
from snnrobust.training.limits import Limit, within
from snnrobust.training.objectives import LossAndGrad, Objective, Standard
from snnrobust.training.problem import FiringRate, Params, Problem, StepKey
from snnrobust.training.record import History, TrainedModel
from snnrobust.training.stored import SAMPLES, example_of

SCHEDULES = ("constant", "cosine", "step")
SELECTIONS = ("auto", "validation", "average", "last")
LARGE_ENOUGH = 200
"""Validation samples from which "auto" trusts the choice of an epoch to them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the trainer descends.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Largest number of samples an update; None is 100, or a tenth of the training data where that is
            less, so that an epoch has at least ten updates.
        learning_rate: Adam's, at the start.
        schedule: "constant"; "cosine" down to 1 %; "step", a tenth in the last quarter (the paper's 1e-3, then 1e-4).
        clip_norm: Largest gradient norm over all parameters, or None.
        select: Which weights are kept: "validation", of the best validation epoch; "average" over the last quarter of
            epochs; "last"; "auto", by validation where it has at least 200 samples, else the average.
        ema: Decay of a running mean of the weights over updates, m <- ema m + (1 - ema) theta (Polyak and Juditsky
            1992, doi:10.1137/0330046), which validation and selection then see in their place; None for none. It is
            (1 + n) / (10 + n) at first, where n updates are done and that is less.
        seed: Seed of the order of samples and of the objective's draws.
    """

    epochs: int = 30
    batch_size: int | None = None
    learning_rate: float = 1e-2
    schedule: str = "cosine"
    clip_norm: float | None = 1.0
    select: str = "auto"
    ema: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: {value} must be at least 1")
        if not (0 < self.learning_rate < math.inf):
            raise ConfigError(f"learning_rate: {self.learning_rate} must be positive")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm: {self.clip_norm} must be positive, or None")
        if self.ema is not None and not (0 <= self.ema < 1):
            raise ConfigError(f"ema: {self.ema} must be from 0 to below 1, or None")
        if self.schedule not in SCHEDULES:
            raise ConfigError(unknown("schedule", self.schedule, SCHEDULES))
        if self.select not in SELECTIONS:
            raise ConfigError(unknown("select", self.select, SELECTIONS))

    def samples_an_update(self, samples: int) -> int:
        """The batch size for this number of training samples."""
        return self.batch_size or max(1, min(100, -(-samples // 10)))

    def rate_at(self, done: float) -> float:
        """Learning rate after this share of the training, 0 to 1."""
        if self.schedule == "cosine":
            return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        return self.learning_rate * (0.1 if self.schedule == "step" and done >= 0.75 else 1.0)


@dataclass(frozen=True)
class TrainResult:
    """What a training gives.

    Attributes:
        net: The network given, with its trained parameters.
        history: A column per quantity, a value per epoch.
        selected_epoch: Epoch of the weights kept, -1 where they are an average.
        config: Everything that defines the training.
        path: The run file, or None.
    """

    net: Deployable
    history: History = field(repr=False)
    selected_epoch: int
    config: Mapping[str, Any] = field(repr=False)
    path: Path | None


def train(
    net: Deployable,
    task: Task,
    objective: Objective | None = None,
    *,
    run: str | Path | None = None,
    label: str | None = None,
    overwrite: bool = False,
    firing_rate: FiringRate | None = None,
    limit: Limit | Sequence[Limit] | None = None,
    show_progress: bool = True,
    **settings: Any,  # noqa: ANN401 (fields of Settings)
) -> TrainResult:
    """Train a network's parameters in place.

    Args:
        net: A `Network`, a `Module` or a `Model`; the parameters that require a gradient are trained.
        task: Data to train on.
        objective: What is minimised; `Standard()` by default.
        run: Run file for checkpoints and the result. An interrupted training goes on from it, to the same bits; a
            finished one is read back. None keeps nothing.
        label: The model's name in the run file and in tables; by default the one it has there, else the objective's.
        overwrite: Replace a run file of another experiment.
        firing_rate: Penalty on the spikes.
        limit: What holds after every update and in the result, one after the other: `FanInLimit`, `WeightClip`.
        show_progress: Show progress on the standard error stream.
        **settings: Fields of `Settings`: epochs, batch_size, learning_rate, schedule, clip_norm, select, ema, seed.

    Raises:
        ConfigError: For a setting outside its domain.
        ShapeError: If the network does not fit the task.
        RunFileError: If the run file holds another experiment, or another process is writing it.
        TrainingError: If a gradient is not finite.
    """
    objective = objective if objective is not None else Standard()
    chosen = Settings(**settings)
    check_deployable(net)
    check_fits(net, task)
    if not any(p.requires_grad for p in net.nominal().values()):
        raise ConfigError("net: no parameter requires a gradient, so none can be trained")
    if run is not None and not isinstance(net, Network | Module):
        raise ConfigError(
            "run: a run file holds a Network or Module; train a Model without one and keep its parameters yourself"
        )
    if firing_rate is not None and not isinstance(net, Network):
        raise ConfigError(f"firing_rate: {type(net).__name__} tells no spikes; the penalty is for a Network")
    path = None if run is None else Path(run)
    config = config_of(net, task, objective, chosen, firing_rate)
    limits = tuple(limit) if isinstance(limit, Sequence) else () if limit is None else (limit,)
    if limits:
        plain = [asdict(own) for own in limits]
        config["limit"] = plain if len(plain) > 1 else plain[0]
    problem = Problem(net, class_weights(task), firing_rate)
    with locked(path):
        file = TrainingFile(path, label or objective.name, config, overwrite=overwrite)
        stored = file.finished()
        if stored is not None:
            _copy_into(net, stored.net.nominal())
            if label not in (None, stored.label):
                file.finish(replace(stored, label=file.label))
            return TrainResult(net, stored.history, stored.selected_epoch, config, path)
        state = _Descent(problem, task, objective.bind(problem), chosen, file, limits).run(show_progress)
        # An average of weights within a limit need not be within it.
        kept = {**state.kept, **within(limits, state.kept, net.parameter_specs())}
        _copy_into(net, kept)
        if isinstance(net, Network | Module):
            file.finish(_record(net, task, file.label, config, state))
    return TrainResult(net, state.history, state.kept_epoch, config, path)


def check_fits(net: Deployable, task: Task) -> None:
    """Raise ShapeError unless the network has the inputs of the task, and outputs for its classes."""
    if isinstance(net, Network) and net.inputs != task.inputs:
        raise ShapeError(f"net.inputs: {net.inputs} must be {task.inputs}, the inputs of task {task.name}")
    if isinstance(net, Network) and net.readout.neurons < len(task.classes):
        raise ShapeError(
            f"net.readout.neurons: {net.readout.neurons} must be at least {len(task.classes)}, "
            f"the classes of task {task.name}"
        )
    if isinstance(net, Module):
        _check_outputs(net, task)


def config_of(
    net: Deployable, task: Task, objective: Objective, settings: Settings, firing_rate: FiringRate | None
) -> dict[str, Any]:
    """Everything that defines a training, as plain values."""
    return {
        "task": task.name,
        "encoding": task.encoding,
        "task_split": task.split,
        "data": data_hash(task.train, task.validation),
        "structure": net.to_dict() if isinstance(net, Network | Module) else type(net).__name__,
        "initial_parameters": fingerprint("", net.nominal()),
        "objective": objective.to_dict(),
        "firing_rate": None if firing_rate is None else asdict(firing_rate),
        "settings": asdict(settings),
    }


def _check_outputs(net: Module, task: Task) -> None:
    """Raise ShapeError where a module's logits on a few samples do not fit the classes of the task."""
    params = net.nominal()
    few = to_batch(task.train, slice(0, 2), precision(params))
    with torch.no_grad():
        logits = net.run(params, few.x, few.lengths)
    if logits.shape[-1] < len(task.classes):
        raise ShapeError(
            f"net: gives {logits.shape[-1]} logits, must be at least {len(task.classes)}, "
            f"the classes of task {task.name}"
        )


def _record(net: Network | Module, task: Task, label: str, config: Mapping[str, Any], state: State) -> TrainedModel:
    x = to_batch(task.train, slice(0, SAMPLES), precision(net.nominal())).x
    example = example_of(net, x) if isinstance(net, Module) else None
    return TrainedModel(label, net, config, state.history, state.kept_epoch, example)


def _copy_into(net: Deployable, params: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, p in net.nominal().items():
            p.copy_(params[name])


class _Descent:
    """One training: the state between updates, and what moves it."""

    def __init__(
        self,
        problem: Problem,
        task: Task,
        loss_and_grad: LossAndGrad,
        settings: Settings,
        file: TrainingFile,
        limits: Sequence[Limit] = (),
    ) -> None:
        self.problem, self.task, self.loss_and_grad = problem, task, loss_and_grad
        self.settings, self.file, self.limits = settings, file, limits
        self.specs = problem.net.parameter_specs()
        leaves = {n: p.detach().clone().requires_grad_(p.requires_grad) for n, p in problem.net.nominal().items()}
        self.state = file.state(leaves) or State(leaves, {})
        self.trained = [n for n, p in self.state.params.items() if p.requires_grad]
        self.optimiser = torch.optim.Adam([self.state.params[n] for n in self.trained], lr=settings.learning_rate)
        for name, (first, second) in self.state.moments.items():
            self.optimiser.state[self.state.params[name]] = {
                "step": torch.tensor(float(self.state.step)),
                "exp_avg": first,
                "exp_avg_sq": second,
            }
        self.select = settings.select
        if self.select == "auto":
            large = task.validation is not None and len(task.validation) >= LARGE_ENOUGH
            self.select = "validation" if large else "average"
        if self.select == "validation" and task.validation is None:
            raise ConfigError(f"select: task {task.name} has no validation data; allowed: average, last")

    def run(self, show_progress: bool) -> State:
        """All epochs that are left."""
        state, settings = self.state, self.settings
        label = f"train {self.file.label} on {self.task.name}"
        self.file.save(state)  # a path that cannot be written is known before the work
        with progress(label, settings.epochs, done=state.epoch, show=show_progress) as shown:
            while state.epoch < settings.epochs:
                row = self.epoch()
                state.epoch += 1
                for name, value in row.items():
                    state.history.setdefault(name, []).append(value)
                self.keep(row)
                self.remember()
                self.file.save(state)
                score = f"  validation {row['validation']:.3f}" if "validation" in row else ""
                shown.advance(note=f"loss {row['loss']:.4f}{score}")
        return state

    def epoch(self) -> dict[str, float]:
        """One pass over the training data: means of the loss and its parts, validation score, seconds."""
        started, rows = time.monotonic(), []
        samples = self.task.train
        size = self.settings.samples_an_update(len(samples))
        total = batch_count(samples, size) * self.settings.epochs
        dtype = precision(self.state.params)
        for batch in batches(samples, size, seed=self.settings.seed, epoch=self.state.epoch, dtype=dtype):
            key = StepKey(self.settings.seed, self.state.step, self.state.step / total)
            result = self.loss_and_grad(self.state.params, batch, key)
            self.shift(result.shift or {})
            norm = self.update(result.grads, self.settings.rate_at(self.state.step / total))
            rows.append({"loss": result.loss, **result.metrics, "gradient_norm": norm})
            self.state.step += 1
        row = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
        if self.task.validation is not None:
            row["validation"] = score(self.problem, self.current(), self.task.validation, self.task)
        row["seconds"] = time.monotonic() - started
        return row

    def update(self, grads: Mapping[str, Tensor], rate: float) -> float:
        """One Adam step with clipped gradients; returns the norm before clipping."""
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in grads.values()]))
        if not bool(norm.isfinite()):
            raise TrainingError(
                f"update {self.state.step + 1} (epoch {self.state.epoch + 1}): the gradient norm is {float(norm)}; "
                f"a lower learning_rate or a narrower surrogate (larger slope) may help"
            )
        limit = self.settings.clip_norm
        scale = 1.0 if limit is None else min(1.0, limit / max(float(norm), 1e-30))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        for name in self.trained:
            self.state.params[name].grad = grads[name] * scale
        self.optimiser.step()
        for name in self.trained:
            self.state.params[name].grad = None
        with torch.no_grad():
            for name, p in within(self.limits, self.state.params, self.specs).items():
                self.state.params[name].copy_(p)
        self.average()
        return float(norm)

    def shift(self, by: Mapping[str, Tensor]) -> None:
        """Move parameters as the objective says, before the optimiser does."""
        with torch.no_grad():
            for name, value in by.items():
                self.state.params[name].add_(value)

    def average(self) -> None:
        """Take the weights of this update into their running mean."""
        if self.settings.ema is not None:
            decay = min(self.settings.ema, (1 + self.state.step) / (10 + self.state.step))
            before, now = self.state.averaged or self.state.params, self.state.params
            self.state.averaged = {n: now[n].detach().lerp(before[n].detach(), decay) for n in self.trained}

    def current(self) -> dict[str, Tensor]:
        """The weights that validation and selection see."""
        return {n: p.detach() for n, p in {**self.state.params, **self.state.averaged}.items()}

    def keep(self, row: Mapping[str, float]) -> None:
        """Take this epoch's weights into the result, as the selection says."""
        state, now = self.state, {n: p.clone() for n, p in self.current().items()}
        if self.select == "validation":
            if row["validation"] > state.kept_score:
                state.kept, state.kept_score, state.kept_epoch = now, row["validation"], state.epoch - 1
        elif self.select == "average":
            if state.epoch > self.settings.epochs * 0.75:  # always true of the last epoch
                state.kept_count += 1
                before, share = state.kept or now, 1 / state.kept_count
                state.kept = {n: p + share * (now[n] - p) for n, p in before.items()}
        else:
            state.kept, state.kept_epoch = now, state.epoch - 1

    def remember(self) -> None:
        """Note the optimiser's moments in the state."""
        for name in self.trained:
            own = self.optimiser.state[self.state.params[name]]
            self.state.moments[name] = (own["exp_avg"], own["exp_avg_sq"])


def score(problem: Problem, params: Params, split: Split, task: Task, *, batch_size: int = 500) -> float:
    """Accuracy, or balanced accuracy where the task reports it, of the given parameters."""
    predicted = []
    with torch.no_grad():
        for start in range(0, len(split), batch_size):
            batch = to_batch(split, slice(start, start + batch_size), precision(params))
            logits = problem.logits(params, batch)
            predicted.append(logits.argmax(-1).numpy())
    right = np.concatenate(predicted) == split.y
    if task.metric == "accuracy":
        return float(right.mean())
    return float(np.mean([right[split.y == c].mean() for c in np.unique(split.y)]))
