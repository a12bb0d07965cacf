"""Two profiles side by side: every value that differs, and how each of the two is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from snnrobust.hardware.schema.base import Frozen
from snnrobust.hardware.schema.evidence import Number, numbers
from snnrobust.hardware.schema.yaml_lines import show

_TEXT = frozenset({"description", "evidence", "source", "note"})


class Side(NamedTuple):
    """What one profile says in one place: the value (None: absent), and a number's evidence and source."""

    value: object
    evidence: str = ""
    source: str = ""


class Difference(NamedTuple):
    """A place, e.g. `parameters.weight.components.device.cv`, and what each of the two profiles says there."""

    path: str
    here: Side
    there: Side


def differences(here: Frozen, there: Frozen) -> list[Difference]:
    """Every value that differs, or is known in another way, in the order of the first profile.

    Defaults count as values. Of what explains the values, only the evidence and source of numbers are compared.
    """
    left, right = _sides(here), _sides(there)
    absent = Side(None)
    rows = (Difference(path, left.get(path, absent), right.get(path, absent)) for path in {**left, **right})
    return [row for row in rows if row.here != row.there]


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value below a dumped model that is not None, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, tuple) and value and isinstance(value[0], dict):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    elif value is not None:
        yield path, value


def _sides(profile: Frozen) -> dict[str, Side]:
    known = {show(number.path): number for number in numbers(profile)}
    values = leaves(profile.model_dump(exclude={"sources", "name"}))
    return {path: _side(value, known.get(path)) for path, value in values if path.split(".")[-1] not in _TEXT}


def _side(value: object, number: Number | None) -> Side:
    return Side(value) if number is None else Side(value, number.evidence or "", number.source or "")
