"""How the numbers of a profile are known: measured, taken from a simulator, derived or assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from snnrobust.hardware.schema.base import Block, Frozen
from snnrobust.hardware.schema.yaml_lines import Path


class Number(NamedTuple):
    """One number (or list of numbers) of a profile and where it comes from.

    Attributes:
        path: Its place, e.g. ("parameters", "weight", "components", "device", "cv").
        value: A number, or a tuple of numbers.
        evidence: Own or inherited from the enclosing block; None if nobody says.
        source: Key of the source, likewise; None for an assumption without one.
        note: The note of its own block.
    """

    path: Path
    value: Any
    evidence: str | None
    source: str | None
    note: str | None


class EvidenceSummary(NamedTuple):
    """How many numbers are known in which way, and which of them are assumed."""

    counts: dict[str, int]
    assumed: list[Number]


def numbers(block: Frozen) -> Iterator[Number]:
    """All numbers that the file states, in the schema's order; defaults are not listed."""
    return _numbers(block, (), Number((), None, None, None, None))


def summary(block: Frozen) -> EvidenceSummary:
    """Counts by evidence, and the assumed numbers."""
    found = list(numbers(block))
    counts = Counter(number.evidence or "none" for number in found)
    return EvidenceSummary(dict(counts), [number for number in found if number.evidence == "assumption"])


def _numbers(block: Frozen, path: Path, outer: Number) -> Iterator[Number]:
    here = _resolve(block, outer) if isinstance(block, Block) else outer
    for name in type(block).model_fields:
        if name not in block.model_fields_set:
            continue
        value = getattr(block, name)
        if isinstance(value, Frozen):
            yield from _numbers(value, (*path, name), here)
        elif isinstance(value, tuple) and any(isinstance(item, Frozen) for item in value):
            for i, item in enumerate(value):
                yield from _numbers(item, (*path, name, i), here)
        elif _is_number(value) and name != "interval":  # which is evidence itself
            yield here._replace(path=(*path, name), value=value)


def _resolve(block: Block, outer: Number) -> Number:
    """Evidence and source of a block; the outer source does not vouch for an assumption made here."""
    outer_source = None if block.evidence == "assumption" else outer.source
    return outer._replace(
        evidence=block.evidence or outer.evidence, source=block.source or outer_source, note=block.note
    )


def _is_number(value: object) -> bool:
    if isinstance(value, tuple):
        return any(_is_number(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
