"""Stages: one non-ideality a file, each a differentiable function of standard normal coordinates.

`stages_for` is the order in which they act on a tensor: quantise, static variation, temperature and age, on a crossbar
the programming of its devices, and faults last, so that nothing is added to what is dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnrobust.hardware.stages.base import Context, Coordinate, Stage, Z
from snnrobust.hardware.stages.environment import Conditions, condition_factor, spread_factor
from snnrobust.hardware.stages.faults import Dead
from snnrobust.hardware.stages.programming import Programming
from snnrobust.hardware.stages.quantization import UniformQuantization
from snnrobust.hardware.stages.variation import Site, Variation
from snnrobust.snn.specs import WEIGHTS, ParameterSpec

if TYPE_CHECKING:
    from snnrobust.hardware.profile import Profile
    from snnrobust.hardware.schema_crossbar import Crossbar

__all__ = [
    "Conditions",
    "Context",
    "Coordinate",
    "Dead",
    "Programming",
    "Site",
    "Stage",
    "UniformQuantization",
    "Variation",
    "Z",
    "stages_for",
]


def stages_for(
    profile: Profile, name: str, spec: ParameterSpec, site: Site, *, has_gain: bool, only_mismatch: bool = False
) -> tuple[Stage, ...]:
    """The stages of one parameter tensor, in order.

    Args:
        profile: The chip.
        name: The tensor's name.
        spec: Its role, shape and layer.
        site: Where its neurons lie.
        has_gain: Whether its layer has a gain, so that a neuron can be dead.
        only_mismatch: Leave quantisation and faults out.

    Returns:
        Empty where the profile does not touch the tensor.
    """
    if spec.role == "none" or not spec.on_chip:
        return ()
    found: list[Stage] = []
    weight = spec.role in WEIGHTS
    quantization = profile.quantization.weight
    if weight and quantization.scheme == "uniform" and quantization.bits and not only_mismatch:
        found.append(UniformQuantization(quantization.bits, quantization.signed, quantization.per))
    entry = profile.parameters.get(spec.role)
    if entry is not None:
        inherited = spec.role == "recurrent_weight" and profile.parameters.recurrent_weight is None
        cooler = spread_factor(profile.environment) if entry.distribution == "lognormal" else 1.0
        variation = Variation(name, "weight" if inherited else spec.role, spec, entry, site, cooler)
        if variation.coordinates():
            found.append(variation)
    conditions = Conditions(condition_factor(profile.environment, spec.role))
    if conditions.factor != 1:
        found.append(conditions)
    crossbar = profile.crossbar
    if weight and crossbar is not None and _programs(crossbar):
        found.append(Programming(name, spec.shape, crossbar))
    if weight and profile.faults.dead_synapse and not only_mismatch:
        found.append(Dead(name, "dead_synapse", "per_synapse", spec.shape, profile.faults.dead_synapse))
    if spec.role in ("gain", "bias") and has_gain and profile.faults.dead_neuron and not only_mismatch:
        found.append(Dead(spec.layer, "dead_neuron", "per_neuron", spec.shape, profile.faults.dead_neuron))
    return tuple(found)


def _programs(crossbar: Crossbar) -> bool:
    return crossbar.programming is not None and crossbar.mapping.scheme == "differential_one_sided"
