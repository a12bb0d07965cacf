"""Tables of tolerances and comparisons for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from snnrobust.evaluation.rare import TAIL
from snnrobust.evaluation.statistics.quantiles import chips_to_resolve
from snnrobust.evaluation.statistics.yields import named
from snnrobust.report.text import percent, table

if TYPE_CHECKING:
    from snnrobust.evaluation.breaking import BreakingLevels, ToleranceAt
    from snnrobust.evaluation.comparison import Comparison, MeanDifference
    from snnrobust.evaluation.methods import MethodComparison
    from snnrobust.evaluation.rare import RareFailures
    from snnrobust.evaluation.rare_chips import Checked


def breaking_table(found: Mapping[str, BreakingLevels], share: float) -> Table:
    """The tolerance of each network at a yield, beside what became of its chips."""
    rows = []
    for name, own in found.items():
        at, never = own.at_yield(share), int(np.isinf(own.levels).sum())
        rows.append(
            (
                name,
                *_tolerance(at, own.grid[-1]),
                _level(float(np.sort(own.levels)[(len(own.levels) - 1) // 2]), own.grid[-1]),
                str(int((~own.passed[:, 0]).sum())),
                str(never),
                str(int(own.reentrant.sum())),
                str(at.chips),
            )
        )
    one = next(iter(found.values()))
    unit = "relative level" if one.condition == "relative level" else f"multiple of the spreads of {one.condition}"
    title = (
        f"tolerance: the largest {unit} at which {percent(share)} % of chips reach {percent(one.specification)} % "
        f"{one.metric}; to {one.resolution:.2g}, from below"
    )
    numbers = (
        f"tolerance at {percent(share)} %", "95 % interval", "median chip", "bad at 0", f"good up to {one.grid[-1]:g}",
        "re-entrant", "chips",
    )  # fmt: skip
    return table(title, {"network": "name", **dict.fromkeys(numbers, "number")}, rows)


def breaking_notes(found: Mapping[str, BreakingLevels], share: float) -> list[str]:
    """What has to be said beside the table, one line each."""
    one = next(iter(found.values()))
    lines = list(dict.fromkeys(line for own in found.values() for line in own.notes))
    if any(own.reentrant.any() for own in found.values()):
        lines.append("re-entrant chips are good again at a level above one where they are not; the lower one counts")
    lines += [
        f"{f'{name}: ' if name else ''}{named(np.flatnonzero(own.broken))} gave outputs that are not finite at a level "
        "that was tried, which meet no specification"
        for name, own in found.items()
        if own.broken.any()
    ]
    if not one.at_yield(share).resolved:
        lines.append(f"an interval at a yield of {percent(share)} % takes {chips_to_resolve(1 - share)} chips")
    return [*lines, f"{one.population}; tested at {', '.join(f'{level:g}' for level in one.grid)}"]


def conditions_table(found: Sequence[Comparison]) -> Table:
    """Differences between conditions, chip by chip."""
    rows = []
    for c in found:
        y = c.chips_passed
        rows.append(
            (
                c.second,
                c.model,
                *_difference(c.accuracy),
                _signed(y.difference, y.low, y.high),
                f"{y.first_only}/{y.second_only}",
                _p(y.p_value),
                str(c.accuracy.pairs),
            )
        )
    numbers = (
        "accuracy\n[95 %]", "effect\n[95 %]", "p,\npaired t", f"yield\n>= {percent(found[0].specification)} [95 %]",
        "lost/\nwon", "p,\nMcNemar", "chips",
    )  # fmt: skip
    columns = {"condition": "name", "network": "name", **dict.fromkeys(numbers, "number")}
    return table(f"differences from {found[0].first} in percentage points, paired by chip", columns, rows)


def methods_table(found: Sequence[MethodComparison]) -> Table:
    """Differences between training methods, paired by training seed."""
    rows = [
        (c.condition, f"{c.second} - {c.first}", *_difference(c.accuracy), c.accuracy.test, str(c.accuracy.pairs))
        for c in found
    ]
    numbers = ("mean accuracy [95 %]", "effect [95 %]", "p", "test", "seeds")
    columns = {"condition": "name", "methods": "name", **dict.fromkeys(numbers, "number")}
    return table("differences in percentage points, paired by training seed", columns, rows)


def rare_interval(found: RareFailures) -> str:
    """The interval of a share of bad chips in percent, or that the runs do not resolve it."""
    return "not resolved" if math.isnan(found.low) else f"{100 * found.low:.2g}-{100 * found.high:.2g}"


def rare_table(label: str, checked: Checked, specification: float) -> Table:
    """The share of bad chips by a method for rare failures, and by plain Monte Carlo."""
    found = checked.found
    rows = [
        (found.method, f"{100 * found.share:.3g}", rare_interval(found), f"{found.effective:.3g}", str(found.chips)),
        (
            "plain Monte Carlo (Clopper-Pearson)",
            f"{100 * checked.bad / checked.plain:.3g}",
            f"{100 * checked.low:.2g}-{100 * checked.high:.2g}",
            str(checked.bad),
            str(checked.plain),
        ),
    ]
    columns = {
        "method": "name",
        **dict.fromkeys(("bad chips, %", "95 % interval, %", "effective", "simulated"), "number"),
    }
    return table(f"{label}: share of chips below {percent(specification)} %, {TAIL}", columns, rows)


def rare_notes(checked: Checked) -> list[str]:
    """What has to be said beside the table, one line each."""
    kind = "runs that reached a bad chip" if checked.found.method.startswith("subset") else "bad chips after weighing"
    lines = [*checked.notes, f"effective: {kind}; bad chips of plain Monte Carlo. The first interval is approximate"]
    if not (checked.agree or math.isnan(checked.found.low)):
        lines.append("the intervals do not overlap: trust neither before more chips are simulated")
    return [*lines, checked.population]


def _tolerance(at: ToleranceAt, last: float) -> tuple[str, str]:
    if not at.resolved:
        return f"not resolved ({at.chips})", ""
    return _level(at.level, last), f"{_level(at.low, last)}-{_level(at.high, last)}"


def _level(level: float, last: float) -> str:
    return f"{level:.3g}" if math.isfinite(level) else f">{last:g}"


def _difference(d: MeanDifference) -> tuple[str, str, str]:
    effect = "-" if math.isnan(d.effect) else f"{d.effect:+.2f} [{d.effect_low:+.2f}, {d.effect_high:+.2f}]"
    return _signed(d.mean, d.low, d.high), effect, _p(d.p_value)


def _signed(value: float, low: float, high: float) -> str:
    ends = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if math.isfinite(low) else ""
    return f"{100 * value:+.1f}{ends}"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "<1e-15" if value < 1e-15 else f"{value:.2g}"
