"""Every table by its name, from the contents of a run file: as text in pages, as LaTeX, and tidy rows as CSV."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from snnrobust.errors import RunFileError, unknown
from snnrobust.evaluation import BreakingLevels, Certificate, Tolerance
from snnrobust.evaluation.analyses import analyses_of, chip_of, network_of, readable
from snnrobust.evaluation.certificates.certificate import Certified
from snnrobust.evaluation.rare_chips import Checked
from snnrobust.evaluation.statistics.quantiles import share_above
from snnrobust.report import design, robustness, yields
from snnrobust.report.behaviour import behaviour_table
from snnrobust.report.contents import Contents
from snnrobust.report.text import tolerance_table
from snnrobust.storage import Group

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_SIGNS = ((">=", "≥"), ("<=", "≤"))
_RANGE = re.compile(r"(?<=[0-9])-(?=[0-9])")
_MINUS = re.compile(r"(?<![^\s(\[])-(?=\s?[0-9])")
_DASHES = {
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "σ": r"$\sigma$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\to$",
}


class Plain(NamedTuple):
    """A table without a look.

    Attributes:
        title: What it holds.
        headings: One a column.
        right: Which columns hold numbers.
        rows: Cells as text.
    """

    title: str
    headings: list[str]
    right: list[bool]
    rows: list[list[str]]


def _breaking(entry: str, found: BreakingLevels) -> Table:
    return yields.breaking_table({network_of(entry): found}, 0.99)


def _rare(entry: str, found: Checked) -> Table:
    return yields.rare_table(network_of(entry), found, found.specification)


def _certificate(entry: str, found: Certified) -> Table:
    boxes: tuple[Certificate, ...] = found.boxes
    return robustness.certificate_table(network_of(entry), boxes)


def _labelled(make: Callable[[str, Any], Table]) -> Callable[[str, Any], Table]:
    return lambda entry, found: make(network_of(entry), found)


TABLES: dict[str, Callable[[str, Any], Table]] = {
    "sensitivity": _labelled(design.sensitivity_table),
    "tornado": _labelled(design.tornado_table),
    "specification": _labelled(design.specification_table),
    "bits": _labelled(design.bits_table),
    "tolerance": _breaking,
    "rare": _rare,
    "worst_case": _labelled(robustness.worst_case_table),
    "landscape": _labelled(robustness.landscape_table),
    "certificate": _certificate,
    "behaviour": _labelled(behaviour_table),
}
"""Tables of analyses; `yield` is that of all chips."""


def table_of(
    name: str, contents: Contents, *, specification: float = 0.9, of: str | None = None, simultaneous: bool = False
) -> Plain:
    """One table of a run file.

    Args:
        name: "yield", or a kind of analysis.
        contents: The run file.
        specification: The accuracy that a good chip reaches, a fraction.
        of: Which analysis, "network on chip", where the file has several.
        simultaneous: Whether the intervals of yields are to hold at all specifications at once.

    Raises:
        RunFileError: If there is no such table, or the file has no results for it.
    """
    if name == "yield":
        return plain(tolerance_table(contents.tolerance(), specification, simultaneous=simultaneous))
    if name not in TABLES:
        raise RunFileError(unknown("table", name, ["yield", *TABLES]))
    entry, found = contents.analysis(name, of)
    with readable(f"{name} of {entry}"):
        return plain(TABLES[name](entry, found))


def plain(table: Table) -> Plain:
    """The texts of a table for the terminal, with line breaks of headings as blanks."""
    headings = [" ".join(str(column.header).split()) for column in table.columns]
    right = [column.justify == "right" for column in table.columns]
    rows = zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    return Plain(str(table.title or ""), headings, right, [list(row) for row in rows])


def latex(table: Plain, *, label: str = "") -> str:
    """A table for the package booktabs.

    Args:
        table: The table.
        label: What the text refers to it by; none if it is empty.
    """
    columns = "".join("r" if right else "l" for right in table.right)
    head = " & ".join(map(tex, table.headings))
    previous, body = None, []
    for row in table.rows:
        first = "" if row[0] and row[0] == previous else tex(row[0])
        previous = row[0]
        body.append(f"    {' & '.join([first, *map(tex, row[1:])])} \\\\")
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{tex(table.title)}}}",
        *([f"  \\label{{{label}}}"] if label else []),
        f"  \\begin{{tabular}}{{{columns}}}",
        "    \\toprule",
        f"    {head} \\\\",
        "    \\midrule",
        *body,
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    """A text as LaTeX shows it; what is not printable becomes a question mark."""
    for ascii_sign, sign in _SIGNS:
        text = text.replace(ascii_sign, sign)
    text = _MINUS.sub("−", _RANGE.sub("–", text))
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return "".join(_ESCAPES.get(character) or _DASHES.get(character, character) for character in shown)


def tidy_csv(result: Tolerance, hashes: dict[str, str]) -> str:
    """Accuracies as CSV, a row a chip of a network under a condition; chips that were not run are left out.

    Columns: network, condition, profile_hash, level (empty of a profile), instance, accuracy, balanced_accuracy (both
    fractions), nonfinite (samples).

    Args:
        result: The results.
        hashes: Hash of the profile of each condition.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["network", "condition", "profile_hash", "level", "instance", *result.measures])
    writer.writerows(_rows(result, hashes))
    return out.getvalue()


def _rows(result: Tolerance, hashes: dict[str, str]) -> Iterator[list[object]]:
    for m, network in enumerate(result.models):
        for c, condition in enumerate(result.conditions):
            level = "" if math.isnan(result.levels[c]) else repr(result.levels[c])
            columns = [values[m, c].tolist() for values in result.measures.values()]
            for instance, row in enumerate(zip(*columns, strict=True)):
                if not math.isnan(row[0]):
                    own = [f"{value:g}" if name == "nonfinite" else repr(value)
                           for name, value in zip(result.measures, row, strict=True)]  # fmt: skip
                    yield [network, condition, hashes.get(condition, ""), level, instance, *own]


def tidy_distribution(result: Tolerance, hashes: dict[str, str]) -> str:
    """The yield at every specification as CSV, with the band that holds at all of them at once.

    Columns: network, condition, profile_hash, accuracy, yield, low, high (all fractions), chips. A row holds for
    specifications above the accuracy of the row before it, up to its own; above the best chip the last row does. The
    band is empty where chips were simulated until a verdict.

    Args:
        result: The results.
        hashes: Hash of the profile of each condition.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["network", "condition", "profile_hash", "accuracy", "yield", "low", "high", "chips"])
    for (m, network), (c, condition) in itertools.product(enumerate(result.models), enumerate(result.conditions)):
        accuracy = np.maximum(result.counted[m, c], 0)  # a chip that fails every specification stands at 0
        if np.isnan(accuracy).all():
            continue
        chips = int((~np.isnan(accuracy)).sum())
        for value, *found in zip(*(column.tolist() for column in share_above(accuracy)), strict=True):
            ends = map(repr, found[1:]) if result.stopping is None else ("", "")
            about = network, condition, hashes.get(condition, "")
            writer.writerow([*about, repr(value), repr(found[0]), *ends, chips])
    return out.getvalue()


def tidy_analyses(kind: str, contents: Contents, *, of: str | None = None) -> str:
    """The numbers of analyses of a kind as CSV, a row a number.

    Columns: network, profile, quantity; one for each dimension that any quantity has, with the coordinate or the
    position along it, empty where a quantity has not this dimension; value.

    Args:
        kind: A kind of analysis.
        contents: The run file.
        of: Which analysis, "network on chip"; all of the kind by default.

    Raises:
        RunFileError: If there is no such kind, or the file has no results of it.
    """
    if kind not in TABLES:
        raise RunFileError(unknown("table", kind, ["yield", *TABLES]))
    several = of is None and kind in contents.analyses
    chosen = list(contents.analyses[kind]) if several else [contents.analysis(kind, of)[0]]
    groups = {entry: analyses_of(contents.stored, kind)[entry] for entry in chosen}
    dims = list(dict.fromkeys(dim for group in groups.values() for dim in group.dim_sizes()))
    out = io.StringIO()
    writer = csv.DictWriter(out, ["network", "profile", "quantity", *dims, "value"], restval="", lineterminator="\n")
    writer.writeheader()
    for entry, group in groups.items():
        about = {"network": network_of(entry), "profile": chip_of(entry)}
        writer.writerows({**about, **number} for number in _numbers(group))
    return out.getvalue()


def _numbers(group: Group) -> Iterator[dict[str, object]]:
    """Every number of a group that has dimensions, and every single one, with its place."""
    for name, value in group.attrs.items():
        if isinstance(value, int | float):
            yield {"quantity": name, "value": value}
    for name, array in group.arrays():
        if name in array.dims or len(array.dims) != array.values.ndim or array.values.shape == ():
            continue
        along = [group.array(dim).values if dim in group else np.arange(size)
                 for dim, size in zip(array.dims, array.values.shape, strict=True)]  # fmt: skip
        places = itertools.product(*(axis.tolist() for axis in along))
        for place, value in zip(places, array.values.ravel().tolist(), strict=True):
            yield {"quantity": name, **dict(zip(array.dims, place, strict=True)), "value": value}
