"""A module in a run file: its parameters, roles and buffers without its code, and how it comes to life again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnrobust.errors import ConfigError, RunFileError, ShapeError
from snnrobust.hardware.module import Module, lasting
from snnrobust.snn.network import fingerprint
from snnrobust.snn.presets import MODULES
from snnrobust.snn.specs import ROLES, ParameterSpec, spec_of

SAMPLES = 8
"""Samples of an example."""
CLOSE = 1e-3
"""Largest difference of two answers, relative to the largest logit, that other machines and versions explain."""


class Example(NamedTuple):
    """Some inputs [T, B, I] and the logits [B, O] of the module that was trained: another module gives others."""

    x: Tensor
    logits: Tensor


def example_of(net: Module, x: Tensor) -> Example:
    """What the module answers to x [T, B, I]."""
    with torch.no_grad():
        return Example(x, net.run(net.nominal(), x))


@dataclass(frozen=True, eq=False)
class StoredModule:
    """What a run file holds of a module. It is no function until `load` has the module.

    Attributes:
        structure: `Module.to_dict` of the module that was trained.
        parameters: Trained parameters by name.
        stored_buffers: Its buffers by name.

    Raises:
        RunFileError: If roles or buffers do not belong to the structure.
    """

    structure: Mapping[str, Any]
    parameters: Mapping[str, Tensor]
    stored_buffers: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        roles, buffers = self.structure["roles"], self.structure.get("buffers")
        if roles.keys() != self.parameters.keys() or not set(roles.values()) <= {*ROLES, "none"}:
            raise RunFileError("roles are not those of the parameters")
        if buffers != (fingerprint("", self.stored_buffers) if self.stored_buffers else None):
            raise RunFileError("buffers are damaged: they do not have the hash that is stored")

    def nominal(self) -> dict[str, Tensor]:
        """The trained parameters by name."""
        return dict(self.parameters)

    def buffers(self) -> dict[str, Tensor]:
        """The buffers by name."""
        return dict(self.stored_buffers)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role and shape of each parameter."""
        return {
            name: spec_of(self.structure["roles"][name], tuple(p.shape), layer=name.rpartition(".")[0])
            for name, p in self.parameters.items()
        }

    def run(self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Raise ConfigError: the module's code is not in the run file."""
        raise ConfigError(
            f"model: {self.structure['module']} is a module of the user's own, whose code no run file holds; "
            f"give it with models_of(...)[0].load(module)"
        )

    def to_dict(self) -> dict[str, Any]:
        """What says which module it is."""
        return dict(self.structure)

    def hash(self) -> str:
        """SHA-256 of what the module is and of its parameters' values."""
        return fingerprint(json.dumps(self.structure, sort_keys=True), self.parameters)

    def load(self, module: nn.Module, example: Example | None, *, vmap: bool = False) -> Module:
        """The user's module with these parameters and buffers in it; see `TrainedModel.load`."""
        kind = type(module).__qualname__
        if kind != self.structure["module"]:
            raise RunFileError(f"module: {kind} must be of class {self.structure['module']}, which was trained")
        parts = (
            ("parameter", dict(module.named_parameters()), self.parameters),
            ("buffer", lasting(module), self.stored_buffers),
        )
        for what, own, stored in parts:
            _check_shapes(what, own, stored)
        replaced = [(tensor, tensor.data) for _, own, _ in parts for tensor in own.values()]
        for _, own, stored in parts:
            for name, tensor in own.items():
                tensor.data = stored[name].detach().to(tensor.device, copy=True)
        found = Module(module, self.structure["roles"], sources=self.structure["sources"], vmap=vmap)
        if example is not None and not _answers_alike(found, example):
            for tensor, data in replaced:
                tensor.data = data
            raise RunFileError(
                f"module: this {kind} answers otherwise than the one that was trained; is its code another?"
            )
        return found


def rebuilt(stored: StoredModule, example: Example | None) -> Module | StoredModule:
    """The module itself where it is one of this package, else what is stored."""
    kind = MODULES.get(stored.structure["module"])
    if kind is None or "options" not in stored.structure:
        return stored
    return stored.load(kind(**stored.structure["options"]), example)


def _check_shapes(what: str, own: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    for name in sorted({*own, *stored}):
        here, there = (_shape(t.get(name)) for t in (own, stored))
        if here != there:
            raise ShapeError(
                f"module: {what} {name} has shape {here}, must be {there}, as it was trained (None: absent)"
            )


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None or isinstance(tensor, nn.UninitializedParameter) else tuple(tensor.shape)


def _answers_alike(net: Module, example: Example) -> bool:
    """Whether most samples are answered as before; spikes near a tie may differ between machines."""
    with torch.no_grad():
        logits = net.run(net.nominal(), example.x)
    if logits.shape != example.logits.shape:
        return False
    scale = float(example.logits.abs().max()) or 1.0
    near = ((logits - example.logits).abs().amax(-1) <= CLOSE * scale).float().mean()
    return bool(near >= 0.5)
