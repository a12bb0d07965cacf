"""The profile's map from a standardised deviation to a value, inverted.

The map is monotone for every distribution, so it is inverted by bisection through the stage itself: whatever the stage
does, a device that is conditioned on a value gets that value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware.schema.document import Component, Components, Parameter
from snnrobust.hardware.stages import Context
from snnrobust.hardware.stages.variation import Variation
from snnrobust.snn.specs import spec_of

Floats = NDArray[np.float64]

FARTHEST = 8.0
"""Deviations beyond this many standard deviations are no spread."""
_HALVINGS = 60


def standardised(
    variation: Variation, deviation: Floats, theta: Tensor | None = None, siblings: Mapping[str, Tensor] | None = None
) -> Floats:
    """zeta of devices with these factors (mode relative) or offsets (mode absolute), within +-8.

    Args:
        variation: The spread.
        deviation: Factors, or offsets in the unit of the entry, [M].
        theta: Nominal values of the devices, [M]; only absolute spreads with bounds depend on them.
        siblings: Other parameters of the same neurons by role, [M]; likewise.
    """
    entry, total = variation.entry, math.sqrt(sum(s * s for s in variation.spreads().values()))
    single = Variation(
        "device",
        variation.spec.role,
        spec_of(variation.spec.role, (len(deviation),)),
        _single(entry, total),
        variation.site,
    )
    key = single.coordinates()[0].key
    known = dict(siblings or {})
    if entry.mode == "relative":
        theta = torch.ones(len(deviation), dtype=torch.float64)
        known, target = {}, torch.from_numpy(deviation)
    else:
        theta = torch.zeros(len(deviation), dtype=torch.float64) if theta is None else theta.double()
        one = torch.ones_like(theta)
        unit = known.get("v_th", one) - known.get("v_reset", 0 * one) if entry.unit == "v_th_range" else one
        target = theta + unit * torch.from_numpy(deviation)
    context = Context(single.spec, known)
    low, high = torch.full_like(theta, -FARTHEST), torch.full_like(theta, FARTHEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = single.apply(theta, {key: middle}, context) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).numpy()


def _single(entry: Parameter, total: float) -> Parameter:
    """The same spread, at its reference level, with all of its static part in one draw a device."""
    law = entry.level_dependence
    if entry.mode == "absolute":
        device = Component(sd=total)
    else:
        cv = math.sqrt(math.expm1(total**2)) if entry.distribution == "lognormal" else total
        if law is not None:
            cv = min(max(cv, law.cv_min or 0.0), math.inf if law.cv_max is None else law.cv_max)
        device = Component(cv=cv)
    components = Components(device=device, temporal=entry.components.temporal)
    changes = {"granularity": "per_neuron", "components": components, "level_dependence": None, "outliers": None}
    return entry.model_copy(update=changes)
