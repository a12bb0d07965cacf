"""A trained network or module in a run file: structure, parameters with roles and units, history, how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnrobust.errors import ConfigError, RunFileError, SnnRobustError
from snnrobust.hardware.module import Module
from snnrobust.snn.network import Network, fingerprint
from snnrobust.storage import Array, Group, Scalar
from snnrobust.training.stored import Example, StoredModule, rebuilt

History = dict[str, list[float]]


@dataclass(frozen=True)
class TrainedModel:
    """A trained network and how it was made.

    Attributes:
        label: Its name in tables and figures.
        net: The network with its trained parameters; of a user's module in a run file its parameters alone, until
            `load` gives it the module.
        config: Everything that defines the training: task, objective, optimiser, seed, ...
        history: A column per quantity, a value per epoch.
        selected_epoch: Epoch of the weights kept; -1 where they are an average.
        example: Some inputs and what a module answers to them.
    """

    label: str
    net: Network | Module | StoredModule
    config: Mapping[str, Any]
    history: History = field(default_factory=dict)
    selected_epoch: int = -1
    example: Example | None = None

    def load(self, module: nn.Module, *, vmap: bool = False) -> TrainedModel:
        """The model as it was trained, with the user's module, into which its parameters and buffers are copied.

        Args:
            module: A module of the class that was trained, with the same parameters and buffers.
            vmap: As for `Module`.

        Raises:
            ConfigError: If the model is a `Network`, which needs no module.
            ShapeError: If parameters or buffers have other names or shapes.
            RunFileError: If the module is of another class, or answers otherwise than the one that was trained.
        """
        if not isinstance(self.net, StoredModule):
            raise ConfigError(f"load: model {self.label} is complete and needs no module")
        return replace(self, net=self.net.load(module, self.example, vmap=vmap))

    def to_group(self) -> Group:
        """The model as a group of a run file."""
        specs = self.net.parameter_specs()
        tensors = {name: p.detach() for name, p in self.net.nominal().items()}
        parameters = {
            name: Array(p.cpu().numpy(), attrs={"role": specs[name].role, "unit": specs[name].unit})
            for name, p in tensors.items()
        }
        attrs: dict[str, Scalar] = {
            "structure": json.dumps(self.net.to_dict(), sort_keys=True),
            "config": json.dumps(dict(self.config), sort_keys=True),
            "hash": self.net.hash(),
            "selected_epoch": self.selected_epoch,
        }
        items = {"parameters": Group(parameters), "history": history_group(self.history)}
        if not isinstance(self.net, Network):
            items["buffers"] = tensor_group(self.net.buffers())
        if self.example is not None:
            items["example"] = tensor_group(self.example._asdict())
        return Group(items, attrs)

    @classmethod
    def from_group(cls, label: str, group: Group) -> TrainedModel:
        """The model of a run file's group.

        Raises:
            RunFileError: If the group is not a complete model.
        """
        try:
            parameters, structure = tensors_of(group.group("parameters")), str(group.attrs["structure"])
            if group.attrs["hash"] != fingerprint(structure, parameters):
                raise RunFileError("structure or parameters are damaged: they do not have the hash that is stored")
            config = json.loads(str(group.attrs["config"]))
            history = history_of(group.group("history"))
            example = Example(**tensors_of(group.group("example"))) if "example" in group else None
            found = json.loads(structure)
            net: Network | Module | StoredModule
            if "module" in found:
                net = rebuilt(StoredModule(found, parameters, tensors_of(group.group("buffers"))), example)
            else:
                net = Network.from_dict(found, parameters)
            return cls(label, net, config, history, int(group.attrs["selected_epoch"]), example)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, SnnRobustError) as error:
            raise RunFileError(f"models/{label}: not a complete model ({error})") from error


def check_label(label: str) -> None:
    """Raise ConfigError where a run file cannot hold a model of this name."""
    if not label or "/" in label or label in (".", ".."):
        raise ConfigError(f"label: {label!r} must not be empty, '.' or '..', and have no '/'")


def models_of(run: Group) -> list[TrainedModel]:
    """The trained networks of a run file; a user's own module runs after `TrainedModel.load`."""
    if "models" not in run:
        return []
    return [TrainedModel.from_group(label, group) for label, group in run.group("models").groups()]


def tensor_group(tensors: Mapping[str, Tensor]) -> Group:
    """Tensors as arrays."""
    return Group({name: Array(t.detach().cpu().numpy()) for name, t in tensors.items()})


def tensors_of(group: Group) -> dict[str, Tensor]:
    """Arrays as tensors."""
    return {name: torch.from_numpy(np.array(array.values)) for name, array in group.arrays()}


def history_group(history: Mapping[str, Sequence[float]]) -> Group:
    """A history as arrays over epochs."""
    return Group({name: Array(np.array(column, dtype=np.float64), ("epoch",)) for name, column in history.items()})


def history_of(group: Group) -> History:
    """The history of such a group."""
    return {name: [float(v) for v in array.values] for name, array in group.arrays()}
