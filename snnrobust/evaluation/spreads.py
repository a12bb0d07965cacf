"""The spreads of a profile that can be specified, and how many devices have them."""

from __future__ import annotations

import math
from typing import NamedTuple

from snnrobust.errors import ProfileError
from snnrobust.hardware.area import log_spread
from snnrobust.hardware.mismatch import Placement, place
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.schema.scaling import PROGRAMMING, scalable, static
from snnrobust.hardware.stages import Array, Variation


class Knob(NamedTuple):
    """A spread that can be specified.

    Attributes:
        role: The role, or "programming" of an array's cells.
        spread: Its spread in the profile: of the device part where there is one, else of all static parts; 1 of an
            array's cells. A fraction, or in the unit of an absolute spread.
        devices: Number of devices that have it.
        unit: "" of a fraction, else the unit of an absolute spread.
        s: Standard deviation of the logarithm where area follows from it; None elsewhere.
    """

    role: str
    spread: float
    devices: int
    unit: str
    s: float | None


def knobs(profile: Profile, net: Deployable) -> list[Knob]:
    """The spreads of a profile that the parameters of a network have.

    Raises:
        ProfileError: If there is none.
    """
    placement = place(profile, net.parameter_specs())
    counts = _devices(placement)
    found = []
    for role in scalable(profile):
        if not counts.get(role):
            continue
        entry = None if role == PROGRAMMING else profile.parameters.get(role)
        if entry is None:
            found.append(Knob(role, 1.0, counts[role], "of the profile's", None))
            continue
        device = static(entry).get("device", 0.0)
        spread = device or math.hypot(*static(entry).values())
        relative = entry.mode == "relative"
        found.append(
            Knob(
                role,
                spread,
                counts[role],
                "" if relative else str(entry.unit),
                log_spread(entry, spread) if relative and device else None,
            )
        )
    if not found:
        raise ProfileError(f"{profile.name}: has no spread of a parameter that the network has")
    return found


def _devices(placement: Placement) -> dict[str, int]:
    """Number of devices by role of the profile's entry; 1 where a spread has no device part."""
    counts: dict[str, int] = {}
    for stages in placement.stages.values():
        for stage in stages:
            if isinstance(stage, Variation):
                own = [c for c in stage.coordinates() if c.component == "device"]
                counts[stage.role] = counts.get(stage.role, 0) + max(1, sum(math.prod(c.shape) for c in own))
            elif isinstance(stage, Array):
                own = [c for c in stage.coordinates() if c.kind == "continuous" and "." not in c.component]
                counts[PROGRAMMING] = counts.get(PROGRAMMING, 0) + sum(math.prod(c.shape) for c in own)
    return counts
