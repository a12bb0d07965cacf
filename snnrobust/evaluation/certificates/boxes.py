"""Boxes of devices: the ends of every parameter over all devices whose coordinates lie within k standard deviations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from snnrobust.errors import ProfileError
from snnrobust.evaluation.certificates.intervals import UNITS, Interval, Rounding, point
from snnrobust.hardware.mismatch import Placement
from snnrobust.hardware.stages import Conditions, Context, Dead, Stage, Variation

Pieces = Mapping[str, tuple[float, float]]
"""Ends of coordinates that are known to lie in a part of the box, by key."""
_ROUNDINGS = 16  # from theta and z to theta', in the network's precision
_FUNCTIONS = 1e-12  # relative error that exp and the normal distribution function and its inverse are granted


def parameter_box(
    placement: Placement, theta: Mapping[str, Tensor], k: float, pieces: Pieces | None = None
) -> dict[str, Interval]:
    """Ends of each parameter, element by element, over the devices with |z| <= k, in float64.

    Every parameter is a monotone map of its own standardised deviation zeta, the sum of its components, which the box
    bounds by k as well (`mismatch.project`); so its ends are at the ends of zeta. They are moved outward for rounding.
    Outliers, faults and what is drawn in every trial are left out: see `left_out`.

    Args:
        placement: The parameters on the profile.
        theta: Nominal parameters by name.
        k: Half-width of the box in standard deviations.
        pieces: Coordinates that lie in a part of the box.

    Raises:
        ProfileError: If a stage has no bounds, such as an array of memristors.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for name, spec in placement.specs.items():
        layers.setdefault(spec.layer, {})[spec.role] = theta[name].detach().double()
    box = {}
    for name, value in theta.items():
        spec, exact = placement.specs[name], value.detach().double()
        context = Context(spec, layers[spec.layer])
        # What all chips store has to be the chip's own codes, so it is worked out in the network's precision.
        stored, stages = value.detach(), list(placement.stages.get(name, ()))
        while stages and not isinstance(stages[0], Variation | Conditions | Dead) and not stages[0].coordinates():
            stored = stages.pop(0).apply(stored, {}, Context(spec, _as(layers[spec.layer], stored.dtype)))
            exact = stored.double()
        ends = point(exact)
        for stage in stages:
            ends = _moved(placement, stage, ends, context, k, pieces or {})
        if stages:
            leak = context.siblings.get("v_leak") if spec.role == "v_th" else None
            size = exact.abs() + ends.size() + (0.0 if leak is None else leak.abs())
            ends = Rounding(UNITS[value.dtype]).outward(ends, size, _ROUNDINGS)
            ends = Interval(ends.low - _FUNCTIONS * size, ends.high + _FUNCTIONS * size)
        box[name] = ends
    return box


def left_out(placement: Placement) -> tuple[str, ...]:
    """What a box does not hold although devices have it: outliers, faults, what is drawn in every trial."""
    kinds = {"fixed": "outliers and faults", "temporal": "what every trial draws", "slow": "noise that drifts"}
    found = {kinds[c.kind] for c in placement.coordinates.values() if c.kind in kinds}
    return tuple(sorted(found))


def common_coordinates(placement: Placement) -> tuple[str, ...]:
    """Keys of the coordinates that all neurons share as one value: a die's, or that of the only core in use."""
    return tuple(
        c.key
        for c in placement.coordinates.values()
        if c.kind == "continuous" and c.granularity in ("per_die", "per_core") and c.shape in ((), (1,))
    )


def _moved(placement: Placement, stage: Stage, ends: Interval, context: Context, k: float, pieces: Pieces) -> Interval:
    """Ends after a stage."""
    if isinstance(stage, Variation) and ends.low is ends.high:
        return Interval(*stage.between(ends.low, *stage.reaches(k, pieces), context, k))
    if isinstance(stage, Conditions):  # a factor above 0
        return Interval(*(stage.apply(end, {}, context) for end in ends))
    if isinstance(stage, Dead):
        return ends
    raise ProfileError(
        f"{placement.profile.name}: no bounds over devices for {type(stage).__name__} of {context.spec.role}; "
        "a certificate needs a chip whose parameters vary one by one (only='mismatch' leaves quantisation out)"
    )


def _as(siblings: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {role: value.to(dtype) for role, value in siblings.items()}
