"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from snnrobust.evaluation.specification import Limit
    from snnrobust.evaluation.statistics.yields import Yield
    from snnrobust.evaluation.tolerance import Tolerance


def console() -> Console:
    """Where tables go: as wide as the terminal, and at least 140 columns in a file or pipe.

    Text is shown as it is: brackets in a name or a note are no markup.
    """
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=max(out.width, 140))


def percent(value: float) -> str:
    """A fraction in percent with one decimal."""
    return f"{100 * value:.1f}"


def spread_text(limit: Limit, factor: float) -> str:
    """A spread times a factor, in percent or in its unit."""
    value = limit.knob.spread * factor
    return f"{value:.3g} {limit.knob.unit}" if limit.knob.unit else f"{100 * value:.3g} %"


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


def tolerance_table(
    result: Tolerance, specification: float, drop: float = 0.02, *, simultaneous: bool = False
) -> Table:
    """Accuracy of the chips of each network under each condition, and their yield.

    Args:
        result: The results.
        specification: The accuracy that a good chip reaches, a fraction.
        drop: What a chip may lose of its network's accuracy on no chip in the second yield, a fraction.
        simultaneous: Whether the intervals of yields are to hold at all specifications at once.
    """
    found = result.summary(specification, drop, simultaneous=simultaneous)
    shown = {  # columns that not every result has
        "nominal": any(s.chips_near_nominal for s in found),
        "samples": any(s.resampled for s in found),
        "verdict": any(s.verdict for s in found),
    }
    rows: list[tuple[str, ...]] = []
    for s in found:
        y, second = s.chips_passed, s.chips_near_nominal
        chips = f"{s.chips}" if not s.nonfinite else f"{s.chips} ({s.nonfinite} non-finite)"
        if not s.chips:
            rows.append((s.condition, s.model, "not run"))
            continue
        more = {
            "nominal": "" if second is None else with_interval(second),
            "samples": "" if s.resampled is None else between(*s.resampled),
            "verdict": s.verdict,
        }
        values = *map(percent, (s.mean, s.std, s.quantile05, y.share)), between(y.low, y.high)
        own = [more[name] for name, wanted in shown.items() if wanted]
        rows.append((s.condition, s.model, *values, *own, percent(s.minimum), chips))
    yields = (f"yield >= {percent(specification)}", "95 %\ninterval")
    headings = {"nominal": f">= nominal\n- {percent(drop)}", "samples": "with\nsamples", "verdict": "verdict"}
    own = [headings[name] for name, wanted in shown.items() if wanted]
    numbers = ("mean", "std", "5 %\nquantile", *yields, *own, "min\nof", "chips")
    columns = {"chip": "name", "network": "name", **dict.fromkeys(numbers, "number")}
    intervals = dict.fromkeys(s.chips_passed.interval for s in found)
    return table(f"{result.metric} over chips, in percent; {', '.join(intervals)}", columns, rows)


def between(low: float, high: float) -> str:
    """An interval in percent."""
    return f"{percent(low)}-{percent(high)}"


def with_interval(found: Yield) -> str:
    """A yield and its interval in percent; without one where none holds."""
    return f"{percent(found.share)} ({between(found.low, found.high)})" if found.low or found.high < 1 else "-"


def notes(result: Tolerance) -> list[str]:
    """What has to be said beside the table, one line each, with the conditions that it is about."""
    lines = by_line(result.remarks())
    if result.right is not None:
        groups = int(result.right.groups.max()) + 1
        kinds = "samples" if groups == result.samples else "groups of samples, such as speakers or patients"
        lines.append(f"with samples: 95 % bootstrap interval over chips and {groups} {kinds}; approximate")
    if result.stopping is not None:
        lines.append(
            f"chips were simulated until {result.stopping.until}; their interval holds at every number of chips, "
            "a verdict pass or fail is wrong with a probability of at most "
            f"{percent(1 - result.stopping.confidence)} %"
        )
    return [*lines, result.population] if result.population else lines


def by_line(notes: Mapping[str, Iterable[str]]) -> list[str]:
    """Each line once, after the names of all conditions that it is said of."""
    about: dict[str, list[str]] = {}
    for name, found in notes.items():
        for line in found:
            about.setdefault(line, []).append(name)
    return [f"{', '.join(names)}: {line}" for line, names in about.items()]
