"""A profile with other spreads, each a multiple of what the profile says: what a specification is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from snnrobust.errors import ProfileError, unknown
from snnrobust.hardware.schema import rules
from snnrobust.hardware.schema.crossbar import Crossbar
from snnrobust.hardware.schema.document import Component, Document, LevelDependence, Parameter
from snnrobust.hardware.schema.yaml_lines import show

D = TypeVar("D", bound=Document)

PROGRAMMING = "programming"
"""Name of the error with which the cells of an array are programmed, among the names of roles."""
STATIC = ("die", "core", "spatial", "device")


def scalable(profile: Document) -> tuple[str, ...]:
    """What `scaled` can scale: the roles whose entries have a static spread, and the programming of an array.

    Recurrent weights without an entry of their own go with `weight`.
    """
    roles = [
        role
        for role, entry in profile.parameters.given().items()
        if entry.distribution != "none"
        and any(c.spread for name, c in entry.components.given().items() if name in STATIC)
    ]
    programmed = profile.crossbar is not None and profile.crossbar.programming is not None
    return (*roles, *([PROGRAMMING] if programmed else []))


def scaled(profile: D, factors: Mapping[str, float]) -> D:
    """The profile with each static spread of a role times the role's factor; the chips keep their coordinates z.

    cv, sd and the bounds of a level dependence are multiplied, of a programming error its coefficients. Outliers,
    faults and what is drawn in every trial stay. What is multiplied counts as an assumption from then on.

    Args:
        profile: The chip.
        factors: Factor of each role, at least 0; roles that are not given stay.

    Raises:
        ProfileError: If the profile has no such spread, a factor is negative or not finite, or the wider spread breaks
            a rule, such as that against wide normals.
    """
    for role, factor in factors.items():
        if role not in scalable(profile):
            raise ProfileError(unknown(f"{profile.name}: spread", role, scalable(profile)))
        if not 0 <= factor < math.inf:
            raise ProfileError(f"{profile.name}: factor of {role}: {factor!r} must be a finite number >= 0")
    moved = {role: factor for role, factor in factors.items() if factor != 1}
    if not moved:
        return profile
    entries = {role: _entry(entry, moved[role]) for role, entry in profile.parameters.given().items() if role in moved}
    list_of = ", ".join(f"{role} {factor:.3g}" for role, factor in moved.items())
    name = profile.name if profile.name.endswith("-scaled") else f"{profile.name[:92]}-scaled"
    update: dict[str, object] = {
        "name": name,
        "description": f"{profile.description} Spreads times: {list_of}.",
        "parameters": profile.parameters.model_copy(update=entries),
    }
    if PROGRAMMING in moved and profile.crossbar is not None:
        update["crossbar"] = _crossbar(profile.crossbar, moved[PROGRAMMING])
    found = profile.model_copy(update=update)
    for path, message in rules.problems(found):
        raise ProfileError(f"{found.name}: {show(path)}: {message}")
    return found


def static(entry: Parameter) -> dict[str, float]:
    """The static spreads of an entry by component."""
    return {name: c.spread for name, c in entry.components.given().items() if name in STATIC}


def _entry(entry: Parameter, factor: float) -> Parameter:
    components = {name: _component(c, factor) for name, c in entry.components.given().items() if name in STATIC}
    update: dict[str, object] = {"components": entry.components.model_copy(update=components)}
    if entry.level_dependence is not None:
        update["level_dependence"] = _law(entry.level_dependence, factor)
    return entry.model_copy(update=update)


def _component(component: Component, factor: float) -> Component:
    key = "cv" if component.cv is not None else "sd"
    moved = {key: component.spread * factor, "interval": None}
    return component.model_copy(update=moved | _assumed(component.spread, factor))


def _law(law: LevelDependence, factor: float) -> LevelDependence:
    bounds = {name: getattr(law, name) for name in ("cv_min", "cv_max")}
    given = {name: value * factor for name, value in bounds.items() if value is not None}
    return law.model_copy(update={**given, "evidence": "assumption", "source": None}) if given else law


def _crossbar(crossbar: Crossbar, factor: float) -> Crossbar:
    old = crossbar.programming
    if old is None:
        return crossbar
    new = tuple(factor * c for c in old.coefficients)
    return crossbar.model_copy(
        update={"programming": old.model_copy(update={"coefficients": new, **_assumed(old.coefficients, factor)})}
    )


def _assumed(value: object, factor: float) -> dict[str, object]:
    """What a number that was multiplied says of itself."""
    return {"evidence": "assumption", "source": None, "note": f"{factor:.4g} times {value}"}
