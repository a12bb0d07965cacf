"""A simulated chip: deploy a network on sampled instances of a profile. Chips are data, never modified modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, MeasurementError, ProfileError, unknown
from snnrobust.hardware import calibration as calibration_modes
from snnrobust.hardware import energy, events, time_scale
from snnrobust.hardware.crossbar.periphery import sums_on_data
from snnrobust.hardware.crossbar.stuck import rates
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.limits import exceeded, remarks
from snnrobust.hardware.mismatch import ON_ZEROS, place, stored, warn_of_zeros
from snnrobust.hardware.model import Deployable, KnowsLayers, Readable, Routable, check_deployable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.randomness import Purpose
from snnrobust.hardware.reading import layer_weights
from snnrobust.hardware.routes import routed
from snnrobust.hardware.schema.yaml_lines import short
from snnrobust.snn.specs import ParameterSpec

if TYPE_CHECKING:
    from snnrobust.hardware.measurement import ConditionedChip, Measurements

PURPOSES = get_args(Purpose)


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
        time: float | None = None,
        temperature: float | None = None,
        calibration: str = "none",
        calibration_data: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        writes: int = 0,
    ) -> Deployment:
        """Put a network on sampled chips.

        Args:
            net: A `Network`, `Module` or `Model`.
            instances: Number of chips.
            seed: Seed of the draws; the same chip has the same coordinates on every profile.
            purpose: train, validation, test or attack.
            limits: "report" notes what does not fit on the chip and simulates all the same; "enforce" refuses.
            unlisted: "ideal" leaves roles without a model as they are and notes them; "error" refuses.
            only: "mismatch" leaves quantisation, limits, faults, events and converters out.
            time: Time since programming in s, instead of the profile's.
            temperature: Temperature of operation in K, instead of the profile's.
            calibration: What a lab did to each chip: "none", "core_mean", "trim", "residual" or "column_affine"
                (`hardware.stages.calibration`), or "profile" for what the profile states.
            calibration_data: Inputs x [T, B, I] of training samples, from which the ranges of converters are set:
                those of ADCs to the largest output of each column on them, those of DACs to the largest input.
            parameters: Parameters that each chip has of its own [instances, *nominal shape], by name, such as those of
                `training.finetune`.
            writes: How often these were written before; weights in an array are programmed anew every time.

        Raises:
            ConfigError: For an argument outside its domain.
            ProfileError: If the network does not fit, or has roles without a model, and that is to be an error; or if
                the profile has no numbers for the calibration.
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
        for name, number in (("instances", instances), ("seed", seed)):
            if isinstance(number, bool) or not isinstance(number, Integral):
                raise ConfigError(f"{name}: {number!r} must be a whole number")
        if instances < 1:
            raise ConfigError(f"instances: {instances} must be at least 1")
        if time is not None or temperature is not None:
            return replace(self, profile=self.profile.under(time=time, temperature=temperature)).deploy(
                net, instances, seed, purpose, limits=limits, unlisted=unlisted, only=only,
                calibration=calibration, calibration_data=calibration_data, parameters=parameters, writes=writes,
            )  # fmt: skip
        check_deployable(net)
        specs = net.parameter_specs()
        placement = place(self.profile, specs, only_mismatch=only == "mismatch", calibration=calibration)
        notes = []
        excess, small = self._limits(net) if only is None else ([], [])
        if excess and limits == "enforce":
            raise ProfileError(f"{self.profile.name}: the network does not fit: {'; '.join(excess)}")
        notes += [f"does not fit, simulated all the same: {line}" for line in excess] + small
        silent = placement.unlisted()
        if silent and unlisted == "error":
            raise ProfileError(f"{self.profile.name}: no model for {', '.join(silent)}, which the network has")
        if silent:
            notes.append(f"ideal, the profile has no model for: {', '.join(silent)}")
        carried_by_none = [name for name, spec in specs.items() if spec.role == "none"]
        if carried_by_none:
            notes.append(f"of no role, the same on every chip: {', '.join(carried_by_none)}")
        missing = self.profile.not_simulated()
        if missing:
            notes.append(f"not simulated yet: {', '.join(missing)}")
        notes += calibration_modes.remarks(placement)
        immortal = [] if only == "mismatch" else without_gain(self.profile, specs)
        if immortal:
            notes.append(f"no dead neurons, which need a gain, in: {', '.join(immortal)}")
        inert = warn_of_zeros(placement, net.nominal())
        if inert:
            notes.append(f"{ON_ZEROS}{', '.join(inert)}")
        if only is None:
            lines = routed(net) if isinstance(net, Routable) else None
            notes += events.remarks(self.profile.events, time_scale.step_of(net, self.profile.time_scale), lines)
            notes += time_scale.remarks(net, self.profile.time_scale)
            notes += energy.remarks(self.profile.energy)
        if timeless(self.profile):
            notes.append("no drift: the profile does not state environment.time_since_programming")
        if only is None and self.profile.crossbar is None and any(rates(self.profile.faults)):
            notes.append("no stuck cells (stuck_lrs, stuck_hrs, not_converged), which are those of a crossbar")
        if self.profile.crossbar is not None and not isinstance(net, Readable):
            notes.append("noise and converters of single reads are not simulated for a model of one's own")
        theta = {name: p.detach().clone() for name, p in net.nominal().items()}
        with torch.no_grad():
            found = Deployment(
                net, theta, stored(placement, theta), placement, instances, seed, purpose, tuple(notes),
                enforced=limits == "enforce" and only is None, periphery=only is None,
            )  # fmt: skip
        found = calibrated(found, calibration_data)
        if not parameters:
            return found
        own = found.written(parameters, writes=writes)
        if len(own.chips) < instances:
            raise ConfigError(f"parameters: for {len(own.chips)} chips; needed: a row for each of {instances} chips")
        return own

    def condition(
        self, measured: str | Path | Measurements, *, nominal: Mapping[str, float] | None = None
    ) -> ConditionedChip:
        """The one chip of this profile on which these values were measured.

        What was measured stays as it is, within the read-out noise that repetitions show; the rest is drawn given that.

        Args:
            measured: A CSV file (columns: `snnrobust.hardware.measurement.table`), or what was read from one.
            nominal: What values should be, by parameter, where the file has no column `nominal`.

        Raises:
            MeasurementError: If the file cannot be read (one line for every kind of error), or is about several chips.
        """
        from snnrobust.hardware.measurement import ConditionedChip, read_measurements

        found = read_measurements(measured) if isinstance(measured, str | Path) else measured
        if len(found.chips()) > 1:
            chips = ", ".join(map(short, found.chips()))
            raise MeasurementError(f"{found.file}: is about chips {chips}; needed: one chip")
        return ConditionedChip(self.profile, found, dict(nominal or {}))

    def _limits(self, net: Deployable) -> tuple[list[str], list[str]]:
        """What does not fit, and what there is to know of what does."""
        specs, params = net.parameter_specs(), net.nominal()
        kinds = net.layer_kinds() if isinstance(net, KnowsLayers) else {}
        return exceeded(self.profile, specs, params, kinds), remarks(self.profile, specs, params)


def timeless(profile: Profile) -> bool:
    """Whether conductances would drift, but nobody says for how long; they are then as they were programmed."""
    drift = None if profile.crossbar is None else profile.crossbar.drift
    return drift is not None and drift.model != "none" and profile.environment.time_since_programming is None


def without_gain(profile: Profile, specs: Mapping[str, ParameterSpec]) -> list[str]:
    """Layers on the chip in which no neuron can be dead although the profile has dead ones."""
    layers = {spec.layer: None for spec in specs.values() if spec.on_chip and spec.role != "none"}
    gained = {spec.layer for spec in specs.values() if spec.role == "gain"}
    return [layer or "network" for layer in layers if layer not in gained] if profile.faults.dead_neuron else []


def calibrated(deployment: Deployment, x: Tensor | None) -> Deployment:
    """The deployment with the ranges of its converters set on inputs x [T, B, I] of the nominal network."""
    net, crossbar = deployment.net, deployment.profile.crossbar
    if x is None or crossbar is None or not isinstance(net, Readable) or not deployment.periphery:
        return deployment
    with torch.no_grad():
        params = deployment.theta
        rows = None if crossbar.tile is None else crossbar.tile[0]
        ranges = sums_on_data(x, net.spikes(params, x), layer_weights(net, params), rows) if crossbar.adc else {}
    return replace(deployment, ranges=ranges, largest_input=float(x.abs().max()))
