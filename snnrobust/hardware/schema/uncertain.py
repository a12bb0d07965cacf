"""What a profile's numbers might be instead: each uncertain number with its ends, and the profile with one moved.

A component may state an interval of its own spread; a number whose evidence is an assumption is taken to be known to
a quarter of itself. Measured numbers without an interval stay, and so do conditions of operation (temperature, time,
age), which are chosen, and what costs energy and area, which changes no answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from snnrobust.errors import ProfileError
from snnrobust.hardware.schema import rules
from snnrobust.hardware.schema.document import Component, Document
from snnrobust.hardware.schema.evidence import Number, numbers
from snnrobust.hardware.schema.yaml_lines import Path, show

D = TypeVar("D", bound=Document)

SHARE = 0.25
"""How far an assumed number may be off, as a share of itself."""
_CONDITIONS = ("temperature", "temperature_ref", "time_since_programming", "age")
_WITHOUT_EFFECT = ("energy", "a_vt", "limits", "correlation")


class Uncertain(NamedTuple):
    """A number of a profile that may be another.

    Attributes:
        number: The number, with its place and evidence.
        low: What it may be at least.
        high: What it may be at most.
    """

    number: Number
    low: Any
    high: Any


def uncertain(profile: Document) -> Iterator[Uncertain]:
    """The numbers that may be others, in the schema's order; a list of numbers moves as one."""
    for number in numbers(profile):
        if number.path[0] in _WITHOUT_EFFECT or number.path[-1] in _CONDITIONS:
            continue
        values = number.value if isinstance(number.value, tuple) else (number.value,)
        if any(isinstance(v, tuple) for v in values) or not any(isinstance(v, float) and v for v in values):
            continue  # whole numbers are choices (bits, types), a share of 0 is 0
        stated = _interval(profile, number)
        if stated is not None:
            yield Uncertain(number, *stated)
        elif number.evidence == "assumption":
            yield Uncertain(number, _times(number.value, 1 - SHARE), _times(number.value, 1 + SHARE))


def with_number(profile: D, path: Path, value: object) -> D:
    """The profile with another number at a path.

    Raises:
        ProfileError: If the number is outside its domain there, or breaks a rule.
    """
    data = profile.model_dump(exclude_unset=True)
    block: Any = data
    for step in path[:-1]:
        block[step] = list(block[step]) if isinstance(block[step], tuple) else dict(block[step])
        block = block[step]
    block[path[-1]] = value
    try:
        found = type(profile).model_validate(data)
    except ValidationError as error:
        raise ProfileError(f"{profile.name}: {show(path)}: {error.errors()[0]['msg']}") from None
    for place, message in rules.problems(found):
        raise ProfileError(f"{profile.name}: {show(place)}: {message}")
    return found


def _interval(profile: Document, number: Number) -> tuple[float, float] | None:
    """The interval that the block of a spread states for it."""
    block: Any = profile
    for step in number.path[:-1]:
        block = block[step] if isinstance(step, int) else getattr(block, step)
    return block.interval if isinstance(block, Component) and number.path[-1] in ("cv", "sd") else None


def _times(value: Any, factor: float) -> Any:  # noqa: ANN401 (a number, or a tuple of numbers and None)
    if isinstance(value, tuple):
        return tuple(_times(v, factor) for v in value)
    return value * factor if isinstance(value, float) else value
