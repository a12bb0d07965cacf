"""Bounds of a profile's numbers: how large any of them may be, and what a `clip` may leave."""

from __future__ import annotations

from collections.abc import Iterator

from snnrobust.hardware.schema.document import Document, Parameter
from snnrobust.hardware.schema.evidence import numbers
from snnrobust.hardware.schema.yaml_lines import Path

Problem = tuple[Path, str]

WEIGHTS = ("weight", "recurrent_weight")
# What float32 holds with room for products; no quantity of a chip in these units comes near it.
LARGEST = 1e12


def sizes(document: Document) -> Iterator[Problem]:
    """Numbers that no chip has, and that would overflow."""
    for number in numbers(document):
        for value in number.value if isinstance(number.value, tuple) else (number.value,):
            if isinstance(value, int | float) and abs(value) > LARGEST:
                yield number.path, f"{value:g} is too large; numbers are at most {LARGEST:g} in size"


def clip(path: Path, role: str, parameter: Parameter) -> Iterator[Problem]:
    """What is wrong with the `clip` of a role's entry at a path."""
    lo, hi = parameter.clip or (None, None)
    if parameter.distribution == "truncated_normal" and lo is None and hi is None:
        yield path, "truncated_normal needs `clip`, the bounds of the truncation"
    if parameter.clip is not None:
        yield from interval((*path, "clip"), parameter.clip)
    if _empty(lo, hi):
        return
    if parameter.mode == "relative" and ((lo is not None and lo > 1) or (hi is not None and hi < 1)):
        yield (*path, "clip"), f"[{_end(lo)}, {_end(hi)}] excludes the nominal factor 1"
    elif parameter.mode == "relative" and role in WEIGHTS and lo is not None and lo < 0:
        yield (*path, "clip"), f"[{_end(lo)}, {_end(hi)}] lets a factor change the sign of a weight; lo must be >= 0"


def interval(path: Path, clip: tuple[float | None, float | None]) -> Iterator[Problem]:
    """Bounds of which at least one is there, the lower one below the upper one."""
    if clip == (None, None):
        yield path, "[null, null] bounds nothing; give lo or hi, or leave it out"
    elif _empty(*clip):
        yield path, f"[{_end(clip[0])}, {_end(clip[1])}] is empty; lo must be below hi"


def _empty(lo: float | None, hi: float | None) -> bool:
    return lo is not None and hi is not None and lo >= hi


def _end(bound: float | None) -> str:
    return "null" if bound is None else f"{bound:g}"
