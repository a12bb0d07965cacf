"""Stages: one non-ideality a file, each a differentiable function of standard normal coordinates.

`stages_for` is the order in which they act on a tensor: quantise, static variation and what a calibration leaves of it,
temperature and age, on a crossbar the array of devices that hold the weights, the converters of its columns and their
measured gains, and dead elements last, so that nothing is added to what is dead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snnrobust.hardware.schema.digital import Faults
from snnrobust.hardware.stages.base import Context, Coordinate, Stage, Z
from snnrobust.hardware.stages.bias_generator import INVERSE, PROPORTIONAL, BiasGenerator, CoarseFine
from snnrobust.hardware.stages.column_affine import ColumnAffine
from snnrobust.hardware.stages.converters import ColumnConverters
from snnrobust.hardware.stages.crossbar import Array
from snnrobust.hardware.stages.environment import Conditions, condition_factor, spread_factor
from snnrobust.hardware.stages.faults import Dead
from snnrobust.hardware.stages.per_type import PerType
from snnrobust.hardware.stages.quantization import Levels, UniformQuantization
from snnrobust.hardware.stages.subset_sum import SubsetSum
from snnrobust.hardware.stages.variation import Site, Variation
from snnrobust.snn.specs import WEIGHTS, ParameterSpec

if TYPE_CHECKING:
    from snnrobust.hardware.profile import Profile

__all__ = [
    "Array",
    "BiasGenerator",
    "CoarseFine",
    "ColumnAffine",
    "ColumnConverters",
    "Conditions",
    "Context",
    "Coordinate",
    "Dead",
    "Levels",
    "PerType",
    "Site",
    "Stage",
    "SubsetSum",
    "UniformQuantization",
    "Variation",
    "Z",
    "generator_for",
    "quantization_for",
    "stages_for",
]


def stages_for(
    profile: Profile,
    name: str,
    spec: ParameterSpec,
    site: Site,
    *,
    has_gain: bool,
    only_mismatch: bool = False,
    column_affine: bool = False,
) -> tuple[Stage, ...]:
    """The stages of one parameter tensor, in order.

    Args:
        profile: The chip.
        name: The tensor's name.
        spec: Its role, shape and layer.
        site: Where its neurons lie.
        has_gain: Whether its layer has a gain, so that a neuron can be dead.
        only_mismatch: Leave quantisation, faults and converters out.
        column_affine: The gain of each column of an array was measured, and is undone.

    Returns:
        Empty where the profile does not touch the tensor, or it has no elements.
    """
    if spec.role == "none" or not spec.on_chip or not math.prod(spec.shape):
        return ()
    found: list[Stage] = []
    weight = spec.role in WEIGHTS
    if not only_mismatch:
        found += quantization_for(profile, spec.role, site.core)
    entry = profile.parameters.get(spec.role)
    if entry is not None:
        inherited = spec.role == "recurrent_weight" and profile.parameters.recurrent_weight is None
        cooler = spread_factor(profile.environment) if entry.distribution == "lognormal" else 1.0
        role = "weight" if inherited else spec.role
        variation = Variation(name, role, spec, entry, site, cooler, signs_flip=profile.kind == "relative")
        if variation.coordinates():
            found.append(variation)
    conditions = Conditions(condition_factor(profile.environment, spec.role))
    if conditions.factor != 1:
        found.append(conditions)
    if weight and profile.crossbar is not None:
        time = profile.environment.time_since_programming or 0.0
        faults = Faults() if only_mismatch else profile.faults
        array = Array(name, spec.shape, profile.crossbar, faults, time)
        found += [array] if array.coordinates() or array.wired else []
        adc = None if only_mismatch else profile.crossbar.adc
        if adc is not None and (adc.per_column_gain_cv or adc.per_column_offset):
            found.append(ColumnConverters(spec.layer, spec.shape[0], adc.per_column_gain_cv, adc.per_column_offset))
        found += [ColumnAffine(spec.shape, profile.crossbar.tile)] if column_affine and found else []
    if weight and profile.faults.dead_synapse and not only_mismatch:
        dead, clustered = profile.faults.dead_synapse, profile.faults.clustered
        found.append(Dead(name, "dead_synapse", "per_synapse", spec.shape, dead, clustered))
    if spec.role in ("gain", "bias") and has_gain and profile.faults.dead_neuron and not only_mismatch:
        found.append(Dead(spec.layer, "dead_neuron", "per_neuron", spec.shape, profile.faults.dead_neuron))
    return tuple(found)


def generator_for(profile: Profile) -> BiasGenerator | None:
    """What makes the currents of a chip's parameters; None where these are not rounded."""
    bias = profile.quantization.bias
    if not (bias.coarse and bias.fine_bits and bias.ratio and bias.i_max):
        return None
    middle = bias.i_max / bias.ratio ** ((bias.coarse - 1) / 2)
    reference = middle if bias.i_reference is None else bias.i_reference
    return BiasGenerator(bias.coarse, bias.fine_bits, bias.ratio, bias.i_max, bias.nonmonotonic, reference)


def quantization_for(profile: Profile, role: str, core: Tensor | None = None) -> list[Stage]:
    """The stages that store a parameter of this role with finite precision: as a code, and in levels of conductance.

    Args:
        profile: The chip.
        role: The parameter's role.
        core: Core of each of its neurons, [N]; None for all on one.
    """
    weight, limits, generator = profile.quantization.weight, profile.limits, generator_for(profile)
    cores = None if core is None else tuple(torch.unique_consecutive(core, return_counts=True)[1].tolist())
    if role in (*INVERSE, *PROPORTIONAL) and generator is not None:
        return [CoarseFine(generator)]
    if role not in WEIGHTS:
        return []
    levels: list[Stage] = []
    if profile.crossbar is not None and profile.crossbar.levels:
        levels = [Levels(profile.crossbar, profile.crossbar.levels)]
    if weight.scheme == "uniform" and weight.bits:
        return [UniformQuantization(weight.bits, weight.signed, weight.per, cores), *levels]
    if weight.scheme == "subset_sum" and weight.bits and weight.per == "core":
        return [SubsetSum(weight.bits, cores, generator), *levels]
    if weight.scheme == "per_type" and weight.n_types and limits.fan_in and weight.per == "core":
        return [PerType(weight.n_types, limits.fan_in, cores, generator), *levels]
    return levels
