"""A simulated chip: deploy a network on sampled instances of a profile. Chips are data, never modified modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, get_args

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, MeasurementError, ProfileError, ShapeError, unknown
from snnrobust.hardware.mismatch import Placement, draw, place, realise, warn_of_zeros
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.randomness import Purpose
from snnrobust.snn.specs import ROLES, WEIGHTS, ParameterSpec, spec_of

if TYPE_CHECKING:
    from snnrobust.hardware.measurement import ConditionedChip, Measurements

PURPOSES = get_args(Purpose)
REFERENCE_ROLES = ("v_th", "v_leak", "v_reset", "gain")
"""Roles that spreads and faults of other parameters of the same layer refer to."""


class Deployable(Protocol):
    """What can be put on a chip: a `Network`, or a `Model` around any function of parameters."""

    def nominal(self) -> dict[str, Tensor]:
        """The trained parameters by name."""
        ...

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role and shape of each parameter."""
        ...

    def run(self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [B, O] or [K, B, O] of the given parameters."""
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
        for name, role in roles.items():
            if name not in params:
                raise ConfigError(unknown("roles", name, params))
            if role not in ROLES:
                raise ConfigError(unknown(f"roles[{name}]", role, ROLES))
        measures = [(name.rpartition(".")[0], r) for name, r in roles.items() if r in REFERENCE_ROLES]
        for layer, role in measures:
            if measures.count((layer, role)) > 1:
                raise ConfigError(f"roles: layer {layer!r} has two {role}; name parameters layer.parameter")
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

        fn knows no lengths: it sees the padding of x, which is zero.

        Raises:
            ShapeError: If fn gives anything but logits [B, O].
        """
        counts = {p.shape[0] for name, p in params.items() if p.ndim > len(self._specs[name].shape)}
        if not counts:
            return self._logits(dict(params), x)
        if len(counts) > 1:
            raise ShapeError(f"instances: parameters disagree on their number: {sorted(counts)}")
        rows = []
        for k in range(counts.pop()):
            one = {name: p[k] if p.ndim > len(self._specs[name].shape) else p for name, p in params.items()}
            rows.append(self._logits(one, x))
        return torch.stack(rows)

    def _logits(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: object = self._fn(params, x)
        if not isinstance(logits, Tensor):
            raise ShapeError(f"fn: gave a {type(logits).__name__}, must be a tensor of logits [B, O]")
        if logits.ndim != 2 or len(logits) != x.shape[1]:
            raise ShapeError(f"fn: gave shape {tuple(logits.shape)}, must be logits [B, O] with B = {x.shape[1]}")
        return logits


@dataclass(frozen=True)
class Deployment:
    """A network on `instances` sampled chips; chip n is a pure function of (seed, purpose, n).

    Attributes:
        net: The network.
        placement: Its parameters on the profile.
        instances: Number of chips K.
        seed: Seed of the draws.
        purpose: What the chips are for: validation chips choose models, test chips are used once.
        notes: What the user has to know: roles without a model, blocks not simulated, limits exceeded.
    """

    net: Deployable
    placement: Placement
    instances: int
    seed: int
    purpose: str
    notes: tuple[str, ...]

    @property
    def profile(self) -> Profile:
        """The chip's profile."""
        return self.placement.profile

    def parameters(self, block: Sequence[int] | None = None, *, trial: int = 0) -> dict[str, Tensor]:
        """Parameters of the chips in a block (all by default); tensors the profile changes have an instance axis."""
        chips = self._chips(block)
        z = self.coordinates(chips, trial)
        with torch.no_grad():
            return realise(self.placement, {name: p.detach() for name, p in self.net.nominal().items()}, z)

    def coordinates(self, chips: Sequence[int], trial: int = 0) -> dict[str, Tensor]:
        """Coordinates z of chips in a trial, [K, *shape] by key."""
        return draw(self.placement, seed=self.seed, purpose=self.purpose, instances=chips, trial=trial)

    def run(
        self, x: Tensor, block: Sequence[int] | None = None, *, lengths: Tensor | None = None, trial: int = 0
    ) -> Tensor:
        """Logits [K, B, O] of the chips in a block (all by default) for inputs x [T, B, I]."""
        chips = self._chips(block)
        with torch.no_grad():
            logits = self.net.run(self.parameters(chips, trial=trial), x, lengths)
        return logits if logits.ndim == 3 else logits.expand(len(chips), *logits.shape)

    def blocks(self, size: int) -> Iterator[range]:
        """The chips in consecutive blocks of at most `size`."""
        if size < 1:
            raise ConfigError(f"size: {size} must be at least 1")
        return (range(k, min(k + size, self.instances)) for k in range(0, self.instances, size))

    def export(self, instance: int, *, trial: int = 0) -> dict[str, Tensor]:
        """All parameters of one chip, in nominal shapes."""
        nominal = self.net.parameter_specs()
        found = self.parameters([instance], trial=trial)
        return {name: p[0] if p.ndim > len(nominal[name].shape) else p for name, p in found.items()}

    def _chips(self, block: Sequence[int] | None) -> Sequence[int]:
        chips = range(self.instances) if block is None else block
        wrong = [k for k in chips if not 0 <= k < self.instances]
        if wrong or not len(chips):
            raise ConfigError(f"block: {list(chips)[:3]} must be chips of 0 .. {self.instances - 1}")
        return chips


@dataclass(frozen=True)
class Chip:
    """A chip that a profile describes."""

    profile: Profile

    def deploy(
        self,
        net: Deployable,
        instances: int = 1000,
        seed: int = 1,
        purpose: str = "test",
        *,
        limits: str = "report",
        unlisted: str = "ideal",
        only: str | None = None,
    ) -> Deployment:
        """Put a network on sampled chips.

        Args:
            net: A `Network` or `Model`.
            instances: Number of chips.
            seed: Seed of the draws; the same chip has the same coordinates on every profile.
            purpose: train, validation, test or attack.
            limits: "report" notes what does not fit on the chip and simulates all the same; "enforce" refuses.
            unlisted: "ideal" leaves roles without a model as they are and notes them; "error" refuses.
            only: "mismatch" leaves quantisation, limits and faults out.

        Raises:
            ConfigError: For an argument outside its domain.
            ProfileError: If the network does not fit, or has roles without a model, and that is to be an error.
        """
        for name, value, allowed in (
            ("limits", limits, ("report", "enforce")),
            ("unlisted", unlisted, ("ideal", "error")),
            ("purpose", purpose, PURPOSES),
        ):
            if value not in allowed:
                raise ConfigError(unknown(name, value, allowed))
        if only not in (None, "mismatch"):
            raise ConfigError(unknown("only", str(only), ("mismatch",)))
        if instances < 1:
            raise ConfigError(f"instances: {instances} must be at least 1")
        specs = net.parameter_specs()
        placement = place(self.profile, specs, only_mismatch=only == "mismatch")
        notes = []
        excess = [] if only == "mismatch" else exceeded(self.profile, specs)
        if excess and limits == "enforce":
            raise ProfileError(f"{self.profile.name}: the network does not fit: {'; '.join(excess)}")
        notes += [f"does not fit, simulated all the same: {line}" for line in excess]
        silent = placement.unlisted()
        if silent and unlisted == "error":
            raise ProfileError(f"{self.profile.name}: no model for {', '.join(silent)}, which the network has")
        if silent:
            notes.append(f"ideal, the profile has no model for: {', '.join(silent)}")
        missing = self.profile.not_simulated()
        if missing:
            notes.append(f"not simulated yet: {', '.join(missing)}")
        immortal = [] if only == "mismatch" else without_gain(self.profile, specs)
        if immortal:
            notes.append(f"no dead neurons, which need a gain, in: {', '.join(immortal)}")
        inert = warn_of_zeros(placement, net.nominal())
        if inert:
            notes.append(f"relative spread has no effect on zeros: {', '.join(inert)}")
        return Deployment(net, placement, instances, seed, purpose, tuple(notes))

    def condition(
        self, measured: str | Path | Measurements, *, nominal: Mapping[str, float] | None = None
    ) -> ConditionedChip:
        """The one chip of this profile on which these values were measured.

        What was measured stays as it is, within the read-out noise that repetitions show; the rest is drawn given that.

        Args:
            measured: A CSV file (columns: `snnrobust.hardware.measurement.table`), or what was read from one.
            nominal: What values should be, by parameter, where the file has no column `nominal`.

        Raises:
            MeasurementError: If the file cannot be read, with one line for every error, or is about several chips.
        """
        from snnrobust.hardware.measurement import ConditionedChip, read_measurements

        found = read_measurements(measured) if isinstance(measured, str | Path) else measured
        if len(found.chips()) > 1:
            raise MeasurementError(f"{found.file}: is about chips {', '.join(found.chips())}; needed: one chip")
        return ConditionedChip(self.profile, found, dict(nominal or {}))


def without_gain(profile: Profile, specs: Mapping[str, ParameterSpec]) -> list[str]:
    """Layers on the chip in which no neuron can be dead although the profile has dead ones."""
    layers = {spec.layer: None for spec in specs.values() if spec.on_chip and spec.role != "none"}
    gained = {spec.layer for spec in specs.values() if spec.role == "gain"}
    return [layer or "network" for layer in layers if layer not in gained] if profile.faults.dead_neuron else []


def exceeded(profile: Profile, specs: Mapping[str, ParameterSpec]) -> list[str]:
    """What of the network does not fit on the chip, one line each with both numbers."""
    fan_in: dict[str, int] = {}
    neurons: dict[str, int] = {}
    for spec in specs.values():
        if spec.on_chip and spec.role in WEIGHTS:
            sources = math.prod(spec.shape[1:])
            fan_in[spec.layer] = spec.fan_in if spec.fan_in is not None else fan_in.get(spec.layer, 0) + sources
            neurons[spec.layer] = spec.shape[0]
    lines = []
    if profile.limits.fan_in is not None:
        for layer, count in fan_in.items():
            if count > profile.limits.fan_in:
                lines.append(f"{layer}: fan-in {count} of at most {profile.limits.fan_in}")
    total = sum(neurons.values())
    if profile.limits.neurons is not None and total > profile.limits.neurons:
        lines.append(f"neurons: {total} of at most {profile.limits.neurons}")
    return lines
