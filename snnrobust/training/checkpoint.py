"""The state of a training between two updates, written atomically into its run file and read back bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnrobust.errors import RunFileError
from snnrobust.storage import Group, Scalar, open_run, write_run
from snnrobust.training.record import (
    History,
    TrainedModel,
    check_label,
    history_group,
    history_of,
    models_of,
    tensor_group,
    tensors_of,
)

SECONDS_BETWEEN_WRITES = 2.0
HASHES = ("data", "initial_parameters")


@dataclass
class State:
    """Everything that the next update depends on.

    Attributes:
        params: Parameters by name; those that are trained are leaves.
        moments: Adam's first and second moment by parameter.
        epoch: Finished epochs.
        step: Finished updates.
        history: A column per quantity, a value per finished epoch.
        kept: Weights that will be the result so far: the best on validation data, or the running average.
        kept_score: Validation score of the best weights.
        kept_epoch: Epoch of the kept weights, -1 for an average.
        kept_count: How many epochs the average covers.
        averaged: Running mean of the trained parameters over updates; empty without one.
    """

    params: dict[str, Tensor]
    moments: dict[str, tuple[Tensor, Tensor]]
    epoch: int = 0
    step: int = 0
    history: History = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    kept_score: float = float("-inf")
    kept_epoch: int = -1
    kept_count: int = 0
    averaged: dict[str, Tensor] = field(default_factory=dict)

    def to_group(self) -> Group:
        """The state as a group of a run file."""
        items = {
            "params": tensor_group(self.params),
            "first_moment": tensor_group({n: m for n, (m, _) in self.moments.items()}),
            "second_moment": tensor_group({n: v for n, (_, v) in self.moments.items()}),
            "kept": tensor_group(self.kept),
            "averaged": tensor_group(self.averaged),
            "history": history_group(self.history),
        }
        names = ("epoch", "step", "kept_score", "kept_epoch", "kept_count")
        return Group(items, {name: getattr(self, name) for name in names})

    @classmethod
    def from_group(cls, group: Group, like: Mapping[str, Tensor]) -> State:
        """The state of such a group; `like` says which parameters are trained."""
        first, second = tensors_of(group.group("first_moment")), tensors_of(group.group("second_moment"))
        params = tensors_of(group.group("params"))
        return cls(
            {name: params[name].requires_grad_(p.requires_grad) for name, p in like.items()},
            {name: (first[name], second[name]) for name in first},
            int(group.attrs["epoch"]),
            int(group.attrs["step"]),
            history_of(group.group("history")),
            tensors_of(group.group("kept")),
            float(group.attrs["kept_score"]),
            int(group.attrs["kept_epoch"]),
            int(group.attrs["kept_count"]),
            tensors_of(group.group("averaged")) if "averaged" in group else {},
        )


class TrainingFile:
    """The run file of one training: refuses another experiment, holds checkpoints, then the trained network.

    Args:
        path: The run file; None keeps nothing.
        label: The model's name in it.
        config: Everything that defines the training.
        overwrite: Replace a file of another experiment.

    Raises:
        ConfigError: If no model in a run file can have the label.
        RunFileError: If the file belongs to another experiment or is no run file.
    """

    def __init__(self, path: Path | None, label: str, config: Mapping[str, Any], *, overwrite: bool) -> None:
        self.path, self.label = path, label
        self.config = json.loads(json.dumps(dict(config)))
        self._written = float("-inf")
        self._found: Group | None = None
        if path is not None:
            check_label(label)
        if path is not None and path.exists() and not overwrite:
            self._found = open_run(path)
            check_config(path, self._found, "training", self.config)

    def finished(self) -> TrainedModel | None:
        """The trained network, if the training was finished before."""
        models = models_of(self._found) if self._found is not None else []
        return models[0] if models else None

    def state(self, like: Mapping[str, Tensor]) -> State | None:
        """The last checkpoint, or None."""
        if self._found is None or "checkpoint" not in self._found:
            return None
        try:
            return State.from_group(self._found.group("checkpoint"), like)
        except (KeyError, ValueError, TypeError) as error:
            raise RunFileError(
                f"{self.path}: the checkpoint is not complete ({error}); --overwrite starts anew"
            ) from error

    def save(self, state: State) -> None:
        """Write a checkpoint, at most every few seconds."""
        now = time.monotonic()
        if self.path is None or now - self._written < SECONDS_BETWEEN_WRITES:
            return
        self._write({"checkpoint": state.to_group()}, "training")
        self._written = now

    def finish(self, model: TrainedModel) -> None:
        """Write the trained network; the checkpoint goes."""
        self._write({"models": Group({self.label: model.to_group()})}, "trained")

    def _write(self, items: Mapping[str, Group], status: str) -> None:
        if self.path is None:
            return
        attrs: dict[str, Scalar] = {
            "kind": "training",
            "status": status,
            "label": self.label,
            "config": json.dumps(self.config, sort_keys=True),
            "engine": "auto",
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
        }
        write_run(self.path, Group(items, attrs))


def check_config(path: Path, found: Group, kind: str, config: Mapping[str, Any]) -> None:
    """Raise RunFileError unless a run file is of this kind of experiment and holds the one that config defines."""
    try:
        stored = json.loads(str(found.attrs["config"]))
    except (KeyError, ValueError, RecursionError):
        stored = None
    if found.attrs.get("kind") != kind or not isinstance(stored, dict):
        raise RunFileError(f"{path}: not the file of a {kind}; choose another path, or overwrite it")
    if stored != config:
        field, there, here = first_difference(stored, config)
        raise RunFileError(
            f"{path}: holds another {kind} ({field}: {there!r} there, {here!r} here); "
            f"choose another path, or overwrite it"
        )


def first_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """Where two different trees of plain values differ first, "settings.epochs", and both values.

    Hashes of what other fields define (a seed changes the initial parameters) come last: they explain nothing.
    """
    different = (key for key in {*there, *here} if there.get(key) != here.get(key))
    key = min(different, key=lambda key: (key in HASHES, key))
    a, b = there.get(key), here.get(key)
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return key, a, b
    field, a, b = first_difference(a, b)
    return f"{key}.{field}", a, b
