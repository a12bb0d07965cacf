"""What can be put on a chip: a `Network`, a user's own module, or any function of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.snn.reads import Reads
from snnrobust.snn.routes import Route
from snnrobust.snn.specs import ROLES, LayerKind, ParameterSpec, spec_of

REFERENCE_ROLES = ("v_th", "v_leak", "v_reset", "gain")
"""Roles that spreads and faults of other parameters of the same layer refer to."""


class Deployable(Protocol):
    """What can be put on a chip: a `Network`, a `Module`, or a `Model` around any function of parameters."""

    def nominal(self) -> dict[str, Tensor]:
        """The trained parameters by name."""
        ...

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role and shape of each parameter."""
        ...

    def run(self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [B, O] or [K, B, O] of the given parameters."""
        ...


@runtime_checkable
class Readable(Deployable, Protocol):
    """A deployable whose layers may be read through a crossbar at every step."""

    def readable_layers(self) -> tuple[str, ...]:
        """Names of the layers that `run` takes reads for, in order."""
        ...

    def run(
        self,
        params: Mapping[str, Tensor],
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        reads: Mapping[str, Reads] | None = None,
    ) -> Tensor:
        """Logits, with noise and converters at every read."""
        ...

    def spikes(self, params: Mapping[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        """Spikes [T, B, N] of each spiking layer."""
        ...


@runtime_checkable
class Routable(Deployable, Protocol):
    """A deployable whose neurons' spikes may be lost or late on their way to other neurons."""

    def routed_weights(self) -> tuple[str, ...]:
        """Names of the weights that spikes of neurons reach, which `run` takes routes for."""
        ...

    def run(
        self,
        params: Mapping[str, Tensor],
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        reads: Mapping[str, Reads] | None = None,
        routes: Mapping[str, Route] | None = None,
    ) -> Tensor:
        """Logits, with what happens to spikes on their way."""
        ...


@runtime_checkable
class KnowsLayers(Protocol):
    """A deployable that says what its layers are, so that a chip's limits can judge them."""

    def layer_kinds(self) -> Mapping[str, LayerKind]:
        """Neuron and reset of each layer on the chip, by name."""
        ...


@runtime_checkable
class KnowsTime(Protocol):
    """A deployable that says how long a step of its inputs is."""

    @property
    def dt(self) -> float:
        """Time step of the inputs in s."""
        ...


class Model:
    """A user's own trained model, as a function of its parameters; accepted wherever a `Network` is.

    Args:
        fn: fn(params, x) -> logits [B, O], for parameters without an instance axis and x [T, B, I]. It is called once
            a chip and must not depend on earlier calls: put a module with dropout or norm layers into eval mode first.
        params: Trained parameters by name. Those of the same prefix ("lif.weight", "lif.bias") share their neurons.
        roles: Role of each parameter that a device carries, by name; the others stay as they are.

    Raises:
        ConfigError: If params holds anything but tensors, or a role is unknown, or belongs to no parameter, or a layer
            has two of a role that measures the others (v_th, v_leak, v_reset, gain).
    """

    def __init__(
        self,
        fn: Callable[[dict[str, Tensor], Tensor], Tensor],
        params: Mapping[str, Tensor],
        roles: Mapping[str, str],
    ) -> None:
        if not isinstance(params, Mapping) or not all(isinstance(p, Tensor) for p in params.values()):
            raise ConfigError("params: must be tensors by name, such as dict(net.named_parameters())")
        check_roles(roles, params)
        self._fn = fn
        self._params = {name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in params.items()}
        self._specs = {
            name: spec_of(roles[name], tuple(p.shape), layer=name.rpartition(".")[0])
            if name in roles
            else ParameterSpec("none", tuple(p.shape))
            for name, p in params.items()
        }

    def nominal(self) -> dict[str, Tensor]:
        """The trained parameters by name."""
        return dict(self._params)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role and shape of each parameter."""
        return dict(self._specs)

    def run(self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [B, O], or [K, B, O] where a parameter has an instance axis: one call of fn an instance.

        fn knows no lengths: it sees the padding of x, which is zero. Where x has an instance axis [K, T, B, I], each
        call gets its own.

        Raises:
            ShapeError: If fn gives anything but logits [B, O].
        """
        return one_by_one(lambda own, inputs: logits_of("fn", self._fn(own, inputs), inputs), self._specs, params, x)


def check_deployable(net: object) -> None:
    """Raise ConfigError for what cannot be trained or deployed; a torch.nn.Module has to be wrapped first."""
    if not callable(getattr(net, "parameter_specs", None)):
        kind = type(net).__name__
        hint = f"give it as Module({kind}(...))" if isinstance(net, nn.Module) else "must be a Network, Module or Model"
        raise ConfigError(f"net: {kind}: {hint}")


def check_roles(roles: Mapping[str, str], params: Mapping[str, Tensor]) -> None:
    """Raise ConfigError unless roles are those of parameters, and none that measures others is twice in a layer."""
    for name, role in roles.items():
        if name not in params:
            raise ConfigError(unknown("roles", name, params))
        if role not in ROLES:
            raise ConfigError(unknown(f"roles[{name}]", role, ROLES))
    measures = [(name.rpartition(".")[0], r) for name, r in roles.items() if r in REFERENCE_ROLES]
    for layer, role in measures:
        if measures.count((layer, role)) > 1:
            raise ConfigError(f"roles: layer {layer!r} has two {role}; name parameters layer.parameter")


def with_axis(
    params: Mapping[str, Tensor], specs: Mapping[str, ParameterSpec], x: Tensor
) -> tuple[set[str], int | None]:
    """Names of the parameters with an instance axis, and the number K of instances; None where there is no such axis.

    Raises:
        ShapeError: If parameters and inputs disagree on K.
    """
    names = {name for name, p in params.items() if p.ndim > len(specs[name].shape)}
    counts = {params[name].shape[0] for name in names} | ({len(x)} if x.ndim == 4 else set())
    if len(counts) > 1:
        raise ShapeError(f"instances: parameters and inputs disagree on their number: {sorted(counts)}")
    return names, counts.pop() if counts else None


def one_by_one(
    call: Callable[[dict[str, Tensor], Tensor], Tensor],
    specs: Mapping[str, ParameterSpec],
    params: Mapping[str, Tensor],
    x: Tensor,
) -> Tensor:
    """call(params, x) for each instance, stacked [K, ...]; one call where nothing has an instance axis."""
    names, count = with_axis(params, specs, x)
    if count is None:
        return call(dict(params), x)
    rows = []
    for k in range(count):
        own = {name: p[k] if name in names else p for name, p in params.items()}
        rows.append(call(own, x[k] if x.ndim == 4 else x))
    return torch.stack(rows)


def logits_of(who: str, found: object, x: Tensor) -> Tensor:
    """What a model gave for x [T, B, I], if it is logits [B, O]; raises ShapeError else."""
    if not isinstance(found, Tensor):
        raise ShapeError(f"{who}: gave a {type(found).__name__}, must be a tensor of logits [B, O]")
    if found.ndim != 2 or len(found) != x.shape[1]:
        raise ShapeError(f"{who}: gave shape {tuple(found.shape)}, must be logits [B, O] with B = {x.shape[1]}")
    return found
