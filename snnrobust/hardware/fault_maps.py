"""Which elements of sampled chips are broken: dead synapses and neurons, cells stuck or not converged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from snnrobust.hardware import individual
from snnrobust.hardware.mismatch import Placement, before_array, realise
from snnrobust.hardware.stages import Array, Dead, Z


def faults_of(
    placement: Placement, theta: Mapping[str, Tensor], z: Z, *, stored: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Faults by name, [*shape] or [K, *shape] of bool: `layer0.weight.dead`, `layer0.weight.g_plus.stuck_lrs`, ...

    Args:
        placement: Stages of each parameter.
        theta: Nominal parameters by name, those that each chip has its own of with an instance axis.
        z: Static coordinates of chips; a tensor without coordinates of faults has none.
        stored: What `mismatch.stored` gives for theta, if it is at hand.
    """
    if individual.own(placement.specs, theta):
        each = [
            faults_of(placement, own, z_own, stored=stored and individual.rows(placement.specs, stored, k))
            for k, (own, z_own) in enumerate(individual.one_by_one(placement.specs, theta, z))
        ]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}
    written = realise(placement, theta, z, stored=stored, until=before_array)
    found: dict[str, Tensor] = {}
    for name, stages in placement.stages.items():
        for stage in stages:
            if isinstance(stage, Dead) and stage.coordinates()[0].key in z:
                found[f"{name}.dead"] = stage.dead(z)
            elif isinstance(stage, Array):
                found |= {f"{name}.{fault}": where for fault, where in stage.faulty(written[name], z).items()}
    return found


def faults_by_parameter(
    placement: Placement, theta: Mapping[str, Tensor], z: Z, *, stored: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Where each parameter has a fault of any kind in any device; parameters that cannot have one are absent."""
    found: dict[str, Tensor] = {}
    names = list(placement.stages)
    for fault, where in faults_of(placement, theta, z, stored=stored).items():
        name = max((n for n in names if fault.startswith(f"{n}.")), key=len)
        found[name] = found[name] | where if name in found else where
    return found
