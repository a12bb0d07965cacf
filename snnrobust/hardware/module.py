"""Any torch.nn.Module on chips and in training, as a pure function of its parameters.

A pass is `torch.func.functional_call` on given parameters and on copies of the buffers, in eval mode, so that it
changes nothing: no parameter, buffer, mode, gradient or generator.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware.model import check_roles, logits_of, one_by_one, with_axis
from snnrobust.snn.layers import Layer
from snnrobust.snn.network import fingerprint
from snnrobust.snn.presets import PaperCNN
from snnrobust.snn.specs import ROLES, ParameterSpec, spec_of

LINEAR = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
PARTS = (("weight_hh", "recurrent_weight"), ("weight", "weight"), ("bias", "bias"))
"""How the parameters of linear and recurrent layers begin, and their role."""


class Module:
    """Any torch.nn.Module that gives logits [B, O] of x [T, B, I]; accepted wherever a `Network` is.

    The module stays the user's own, and its parameters are those that `train` changes. Every pass runs in eval mode,
    whatever mode it is in, on copies of its buffers: dropout layers do nothing (the objective `Dropout` does), and norm
    layers use the statistics that they have. To train batch norm from scratch, give its layers
    track_running_stats=False, so that they use those of the batch. Numbers that it draws from torch's generator on
    the CPU are the same in every pass. Its answers must not depend on earlier calls in any other way.

    Where forward takes `lengths`, it gets the valid steps of each sample [B], or None; else it sees the padding of x,
    which is zero.

    Args:
        module: The module.
        roles: Role of parameters by name or pattern, {"lif.alpha": "tau_mem", "head.*": "none"}; the last that fits
            counts. By default weights and biases of linear, convolutional and recurrent layers and the parameters of
            this package's layers have theirs; all others, those of norm layers and embeddings among them, have none
            ("none") and are the same on every chip.
        sources: Layer whose outputs reach a weight, {"fc2.weight": "fc1"}, by name; for objectives that silence
            neurons (`Dropout`). The last axis of the weight counts the outputs.
        vmap: Run all instances at once through torch.func.vmap, instead of one after the other. It is faster for
            small modules, and takes the memory of all of them; the module must be such that vmap works.

    Raises:
        ConfigError: If a pattern fits no parameter, a role is unknown, or a parameter has no shape yet.
    """

    def __init__(
        self,
        module: nn.Module,
        roles: Mapping[str, str] | None = None,
        *,
        sources: Mapping[str, str] | None = None,
        vmap: bool = False,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise ConfigError(f"module: {type(module).__name__} must be a torch.nn.Module; `Model` takes functions")
        self.module, self.vmap, self.sources = module, vmap, dict(sources or {})
        self._specs = _specs(module, roles or {}, self.sources)
        self._takes_lengths = "lengths" in inspect.signature(module.forward).parameters
        fresh = [name for name, m in module.named_modules() if _without_data(m)]
        if fresh:
            warnings.warn(
                f"running statistics that no data has set: {', '.join(fresh)}; passes use them as they are, "
                f"so load trained ones, or use track_running_stats=False",
                stacklevel=2,
            )

    def nominal(self) -> dict[str, Tensor]:
        """The module's parameters by name."""
        return dict(self.module.named_parameters())

    def buffers(self) -> dict[str, Tensor]:
        """The module's buffers by name, those that are stored with it."""
        return lasting(self.module)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role and shape of each parameter."""
        return dict(self._specs)

    def run(self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [B, O], or [K, B, O] where a parameter or x has an instance axis.

        Raises:
            ConfigError: If a parameter is missing or unknown.
            ShapeError: If the module gives anything but logits [B, O], or instances disagree on their number.
        """
        if params.keys() != self._specs.keys():
            wrong = min(params.keys() ^ self._specs.keys())
            raise ConfigError(
                f"params: {wrong} is missing" if wrong in self._specs else unknown("params", wrong, self._specs)
            )
        more = {"lengths": lengths} if self._takes_lengths else {}
        name = type(self.module).__name__

        def call(own: dict[str, Tensor], inputs: Tensor) -> Tensor:
            torch.default_generator.manual_seed(0)  # a device's numbers must not depend on those before it
            buffers = {n: b.clone() for n, b in self.module.named_buffers()}
            return logits_of(name, functional_call(self.module, {**own, **buffers}, (inputs,), more), inputs)

        with undisturbed(self.module):
            if not self.vmap:
                return one_by_one(call, self._specs, params, x)
            names, count = with_axis(params, self._specs, x)
            if count is None:
                return call(dict(params), x)
            axes = ({n: 0 if n in names else None for n in params}, 0 if x.ndim == 4 else None)
            logits: Tensor = torch.func.vmap(call, in_dims=axes, randomness="same")(dict(params), x)
            return logits

    def to_dict(self) -> dict[str, Any]:
        """What says which module it is, as plain values: its class, hashes of how it prints and of its buffers."""
        printed = re.sub(r" at 0x[0-9a-f]+", "", repr(self.module))
        buffers, kind = self.buffers(), type(self.module)
        return {
            "module": kind.__qualname__,
            "printed": hashlib.sha256(printed.encode()).hexdigest(),
            "roles": {name: spec.role for name, spec in self._specs.items()},
            "sources": self.sources,
            **({"buffers": fingerprint("", buffers)} if buffers else {}),
            **({"options": self.module.options()} if isinstance(self.module, PaperCNN) else {}),
        }

    def hash(self) -> str:
        """SHA-256 of what the module is and of its parameters' values."""
        return fingerprint(json.dumps(self.to_dict(), sort_keys=True), self.nominal())


def lasting(module: nn.Module) -> dict[str, Tensor]:
    """The buffers of a module that belong to its state, by name."""
    stored = module.state_dict().keys()
    return {name: b for name, b in module.named_buffers() if name in stored}


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards the modes of all parts and torch's generator on the CPU are as they were."""
    modes, state = [(m, m.training) for m in module.modules()], torch.get_rng_state()
    try:
        for m, _ in modes:
            m.training = False
        yield
    finally:
        torch.set_rng_state(state)
        for m, mode in modes:
            m.training = mode


def role_of(owner: nn.Module, own: str) -> str:
    """The role that a parameter has by the type of its layer, or "none"."""
    if isinstance(owner, Layer):
        return own if own in ROLES else "none"
    if isinstance(owner, (*LINEAR, *RECURRENT)):
        return next((role for part, role in PARTS if own.startswith(part)), "none")
    return "none"


def _specs(module: nn.Module, roles: Mapping[str, str], sources: Mapping[str, str]) -> dict[str, ParameterSpec]:
    params = dict(module.named_parameters())
    for name, p in params.items():
        if isinstance(p, nn.UninitializedParameter):
            raise ConfigError(f"module: {name} has no shape yet; run the module once")
    for name in sources:
        if name not in params:
            raise ConfigError(unknown("sources", name, params))
    for pattern, role in roles.items():
        if not any(_fits(name, pattern) for name in params):
            raise ConfigError(unknown("roles", pattern, params))
        if role not in (*ROLES, "none"):
            raise ConfigError(unknown(f"roles[{pattern}]", role, (*ROLES, "none")))
    specs = {}
    for name, p in params.items():
        layer, _, own = name.rpartition(".")
        owner = module.get_submodule(layer)
        usual = role_of(owner, own)
        role = next((r for pattern, r in reversed(list(roles.items())) if _fits(name, pattern)), usual)
        if role == "none":
            spec = ParameterSpec("none", tuple(p.shape))
        elif isinstance(owner, Layer) and role == usual:
            spec = replace(owner.parameter_specs()[own], layer=layer)
        else:
            spec = spec_of(role, tuple(p.shape), layer=layer)
        specs[name] = replace(spec, source=sources.get(name))
    check_roles({name: spec.role for name, spec in specs.items() if spec.role != "none"}, params)
    return specs


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _without_data(module: nn.Module) -> bool:
    """Whether it is a norm layer with running statistics that are still the initial ones."""
    seen = getattr(module, "num_batches_tracked", None)
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and seen is not None and int(seen) == 0
