"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from snnrobust.evaluation.tolerance import Tolerance


def console() -> Console:
    """Where tables go: as wide as the terminal, and at least 120 columns in a file or pipe.

    Text is shown as it is: brackets in a name or a note are no markup.
    """
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=max(out.width, 120))


def percent(value: float) -> str:
    """A fraction in percent with one decimal."""
    return f"{100 * value:.1f}"


def table(title: str, columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table.

    Args:
        title: Line above it.
        columns: What each column holds, by its heading: "name" or "number", never cut; "text", wrapped.
        rows: Cells.
    """
    result = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for heading, kind in columns.items():
        result.add_column(
            heading, justify="right" if kind == "number" else "left", no_wrap=kind != "text", overflow="fold"
        )
    for row in rows:
        result.add_row(*row)
    return result


def tolerance_table(result: Tolerance, specification: float) -> Table:
    """Accuracy of the chips of each network under each condition, and their yield."""
    rows = []
    for s in result.summary(specification):
        y = s.chips_passed
        chips = f"{s.chips}" if not s.nonfinite else f"{s.chips} ({s.nonfinite} non-finite)"
        if not s.chips:
            rows.append((s.condition, s.model, "not run", *[""] * 6))
            continue
        interval = f"{percent(y.low)}-{percent(y.high)}"
        values = map(percent, (s.mean, s.std, s.minimum, s.quantile05, y.share))
        rows.append((s.condition, s.model, *values, interval, chips))
    numbers = ("mean", "std", "min", "5 % quantile", f"yield >= {percent(specification)}", "95 % interval", "chips")
    columns = {"chip": "name", "network": "name", **dict.fromkeys(numbers, "number")}
    return table(f"{result.metric} over chips, in percent", columns, rows)


def notes(result: Tolerance) -> list[str]:
    """What has to be said beside the table, one line each, with the conditions that it is about."""
    about: dict[str, list[str]] = {}
    for name, found in result.notes.items():
        for line in found:
            about.setdefault(line, []).append(name)
    lines = [f"{', '.join(names)}: {line}" for line, names in about.items()]
    return [*lines, result.population] if result.population else lines
