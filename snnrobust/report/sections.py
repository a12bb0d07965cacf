"""Sections of a page about analyses: what each answers in a sentence, its figure, its table, what has to be said."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from snnrobust.evaluation import (
    Behaviour,
    Bits,
    BreakingLevels,
    LossLandscape,
    Sensitivity,
    Specification,
    Tornado,
    WorstCase,
)
from snnrobust.evaluation.analyses import chip_of, network_of, readable
from snnrobust.evaluation.certificates.certificate import STATEMENT, Certified
from snnrobust.evaluation.rare_chips import Checked
from snnrobust.report import design, yields
from snnrobust.report.behaviour import CRITERIA, behaviour_statement
from snnrobust.report.contents import Contents
from snnrobust.report.gallery import FIGURES, Drawn, draw
from snnrobust.report.tables import Plain, table_of
from snnrobust.report.text import by_line, percent

YIELD = 0.99
"""The yield at which tolerances are given."""
SECTIONS = {
    "What to calibrate first": ("sensitivity", "tornado"),
    "What may be specified": ("specification", "bits"),
    "How much variation the chips withstand": ("tolerance", "rare"),
    "Worst case": ("worst_case", "landscape", "certificate"),
    "Behaviour": ("behaviour",),
}


class Analysis(NamedTuple):
    """An analysis on a page.

    Attributes:
        kind: What was analysed.
        network: Of which network.
        chip: On which chip.
        statement: The answer, as a sentence.
        lines: What has to be said beside it.
        table: Its numbers.
        drawn: Its figure, if there is one.
    """

    kind: str
    network: str
    chip: str
    statement: str
    lines: list[str]
    table: Plain
    drawn: Drawn | None


def sections(contents: Contents, specification: float) -> Iterator[tuple[str, list[Analysis]]]:
    """The sections for which a run file has analyses."""
    for title, kinds in SECTIONS.items():
        found = [
            _analysis(contents, kind, entry, specification)
            for kind in kinds
            for entry in contents.analyses.get(kind, {})
        ]
        if found:
            yield title, found


def _analysis(contents: Contents, kind: str, entry: str, specification: float) -> Analysis:
    _, result = contents.analysis(kind, entry)
    with readable(f"{kind} of {entry}"):
        statement, lines = _SAID[kind](result)
    drawn = draw(kind, contents, specification=specification, of=entry) if kind in FIGURES else None
    table, data = table_of(kind, contents, of=entry), _data(contents)
    lines = [line.replace(data, " on the same data") if data else line for line in lines]
    return Analysis(kind, network_of(entry), chip_of(entry), statement, list(dict.fromkeys(lines)), table, drawn)


def _data(contents: Contents) -> str:
    """What follows the chips in the population of all results, which the page has said before."""
    population = "" if contents.result is None else contents.result.population
    _, on, data = population.partition(" on ")
    return on + data


Said = tuple[str, list[str]]


def _sensitivity(found: Sensitivity) -> Said:
    return found.statement, [*found.notes, found.population]


def _tornado(found: Tornado) -> Said:
    fixed = [f"could not be moved: {line}" for line in found.fixed]
    idle = [f"moves nothing that the network has: {', '.join(found.idle)}"] if found.idle else []
    return found.statement, [*fixed, *idle, found.population]


def _specification(found: Specification) -> Said:
    return found.statement, [line for line in design.specification_lines(found) if line != found.statement]


def _bits(found: Bits) -> Said:
    return found.statement, [*found.notes, found.population]


def _breaking(found: BreakingLevels) -> Said:
    at = found.at_yield(YIELD)
    notes, share = yields.breaking_notes({"": found}, YIELD), f"{percent(YIELD)} % of all"
    if not at.resolved:
        return f"{at.chips} chips do not resolve up to where {share} reach {percent(found.specification)} %", notes
    unit = "relative mismatch" if found.condition == "relative level" else f"times the spreads of {found.condition}"
    level = f"{at.level:.3g}" if at.level < float("inf") else f"more than {found.grid[-1]:g}"
    bounds = f"95 % interval {at.low:.3g} to {at.high:.3g}"
    return f"{share} reach {percent(found.specification)} % up to {level} {unit} ({bounds})", notes


def _rare(found: Checked) -> Said:
    rare = found.found
    missed = f"{percent(found.specification)} %, under the profile's assumed tail"
    bounds = f"95 % interval: {yields.rare_interval(rare)}" + ("" if math.isnan(rare.low) else " %")
    share = f"{100 * rare.share:.3g} % of the chips miss" if rare.share else "no chip was found that misses"
    said = f"{share} {missed} ({bounds})"
    return said, yields.rare_notes(found)


def _worst(found: WorstCase) -> Said:
    return found.statement, list(found.notes)


def _landscape(found: LossLandscape) -> Said:
    return found.statement, [*found.notes, found.population]


def _certificate(found: Certified) -> Said:
    said = f"the largest box with a certified sample has k = {found.largest:.3g}, with half of them {found.half:.3g}"
    left = [f"the box leaves out: {', '.join(found.boxes[0].excluded)}"] if found.boxes[0].excluded else []
    return f"{said}; {STATEMENT}", [f"k in {found.unit}; {found.samples} test samples", *left]


def _behaviour(found: Behaviour) -> Said:
    return behaviour_statement(found), [*CRITERIA, *by_line(found.notes), found.population]


_SAID: dict[str, Callable[[Any], Said]] = {
    "sensitivity": _sensitivity,
    "tornado": _tornado,
    "specification": _specification,
    "bits": _bits,
    "tolerance": _breaking,
    "rare": _rare,
    "worst_case": _worst,
    "landscape": _landscape,
    "certificate": _certificate,
    "behaviour": _behaviour,
}
