"""Figures of chips in bulk: yield against level, the distribution of accuracies, drift over time, breaking levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from snnrobust.evaluation.statistics.quantiles import share_above
from snnrobust.report.figures import (
    DASHED,
    STYLE,
    WIDTH,
    colour_of,
    draw_sweep,
    legend,
    line_of,
    marker_of,
    short,
    sweeps,
)
from snnrobust.report.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from snnrobust.evaluation.breaking import BreakingLevels
    from snnrobust.evaluation.tolerance import Tolerance

_TIMES = {"1 s": 1.0, "1 min": 60.0, "1 h": 3600.0, "1 d": 86400.0, "30 d": 2.592e6, "1 y": 3.1536e7, "10 y": 3.1536e8}


@style.context(STYLE)
def yield_against_level(result: Tolerance, *, specification: float) -> Figure | None:
    """Yield of each network against the relative mismatch level, with its interval at each level.

    Args:
        result: Accuracies by network, condition and chip; profiles are left out.
        specification: The accuracy that a good chip reaches.

    Returns:
        The figure; None where no sweep has two levels that were run.
    """
    families = sweeps(result)
    if not families:
        return None
    rows = {(s.model, s.condition): s for s in result.summary(specification) if s.chips}
    figure = Figure(figsize=(WIDTH, 0.5 + 2.6 * len(families)))
    axes = figure.subplots(len(families), sharex=True, squeeze=False)[:, 0]
    for ax, (family, conditions) in zip(axes, families.items(), strict=True):
        for m, model in enumerate(result.models):
            cells = [(result.levels[c], rows.get((model, result.conditions[c]))) for c in conditions]
            own = [(100 * level, s.chips_passed) for level, s in cells if s is not None]
            x = [level for level, _ in own]
            low, high, share = ([100 * getattr(y, name) for _, y in own] for name in ("low", "high", "share"))
            ax.fill_between(x, low, high, color=colour_of(m), alpha=0.2, linewidth=0)
            ax.plot(x, share, marker=marker_of(m), **line_of(m))
        if len(families) > 1:
            ax.set_title(short(family))
        ax.set_ylabel(f"chips ≥ {percent(specification)} % (%)")
        ax.set_ylim(-2, 102)
        ax.margins(x=0.02)
    axes[-1].set_xlabel("relative mismatch level, standard deviation (%)")
    legend(figure, result.models)
    return figure


@style.context(STYLE)
def distribution(result: Tolerance, *, specification: float, most: int = 6) -> Figure | None:
    """Share of chips at or above every accuracy, with a band that holds at all accuracies at once.

    It is one minus the empirical distribution function, from the left: the yield at any specification.

    Args:
        result: Accuracies by network, condition and chip.
        specification: The accuracy that a good chip reaches, drawn as a line.
        most: Most panels, one a condition: profiles, else the largest levels.

    Returns:
        The figure; None where no chip was run.
    """
    chosen = [c for c in _chips_first(result) if not np.isnan(result.accuracy[:, c]).all()][:most]
    if not chosen:
        return None
    figure = Figure(figsize=(WIDTH, 0.7 + 1.9 * len(chosen)))
    axes = figure.subplots(len(chosen), sharex=True, squeeze=False)[:, 0]
    for ax, c in zip(axes, chosen, strict=True):
        for m in range(len(result.models)):
            _draw_share_above(ax, np.maximum(result.counted[m, c], 0), m, band=result.stopping is None)
        ax.axvline(100 * specification, **DASHED)
        ax.set_title(short(result.conditions[c], 40), pad=4)
        ax.set_ylabel("chips at or above (%)")
        ax.set_ylim(-2, 102)
    lowest = min(float(np.nanmin(result.accuracy[:, c])) for c in chosen)
    axes[-1].set_xlim(100 * min(lowest, specification) - 2, 100.5)
    axes[-1].set_xlabel(f"{result.metric} of a chip (%)")
    legend(figure, result.models, lines_only=True)
    return figure


@style.context(STYLE)
def drift(result: Tolerance, times: Mapping[str, float]) -> Figure | None:
    """Accuracy of the chips over the time since they were programmed: mean, 5 to 95 % band and worst chip.

    Args:
        result: Accuracies by network, condition and chip.
        times: Time in s of the conditions that have one.

    Returns:
        The figure; None where no chip was tested at two times above 0.
    """
    families = ages(result, times)
    if not families:
        return None
    figure = Figure(figsize=(WIDTH, 0.5 + 2.6 * len(families)))
    axes = figure.subplots(len(families), sharex=True, squeeze=False)[:, 0]
    for ax, (family, conditions) in zip(axes, families.items(), strict=True):
        x = [times[result.conditions[c]] for c in conditions]
        for m in range(len(result.models)):
            draw_sweep(ax, result, m, conditions, x)
        ax.set_title(short(family, 40), pad=4)
        ax.set_ylabel(f"{result.metric} (%)")
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ticks = {name: at for name, at in _TIMES.items() if low <= at <= high}
        if len(ticks) > 1:
            ax.xaxis.set_major_locator(FixedLocator(list(ticks.values())))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticklabels(list(ticks))
    axes[-1].set_xlabel("time since programming")
    legend(figure, result.models)
    return figure


@style.context(STYLE)
def breaking(found: Mapping[str, BreakingLevels], *, share: float = 0.99) -> Figure | None:
    """Share of chips that are still good at each level; the tolerance is where it falls below a yield.

    Args:
        found: Breaking levels by network, of one chip.
        share: The yield that is drawn as a line.
    """
    if not found:
        return None
    figure = Figure(figsize=(WIDTH, 3.1))
    ax = figure.subplots()
    for m, own in enumerate(found.values()):
        levels = np.sort(own.levels)
        ends = np.concatenate([[0.0], levels[np.isfinite(levels)], own.grid[-1:]])
        good = [own.passed[:, 0].mean(), *((own.levels >= level - 1e-12).mean() for level in ends[1:])]
        ax.step(ends, 100 * np.array(good), where="pre", **line_of(m))
    one = next(iter(found.values()))
    ax.axhline(100 * share, **DASHED)
    ax.set_ylim(-2, 102)
    ax.set_xlim(0, one.grid[-1])
    ax.set_ylabel(f"chips still ≥ {percent(one.specification)} % (%)")
    relative = one.condition == "relative level"
    name = "relative mismatch level, a fraction" if relative else f"multiple of the spreads of {one.condition}"
    ax.set_xlabel(short(name, 60))
    legend(figure, list(found), lines_only=True)
    return figure


def ages(result: Tolerance, times: Mapping[str, float]) -> dict[str, list[int]]:
    """Conditions that differ in nothing but the time, in its order, by the name without it.

    Args:
        result: Results; two times above 0 must have been run.
        times: Time in s of the conditions that have one.
    """
    families: dict[str, list[int]] = {}
    for c, name in enumerate(result.conditions):
        if times.get(name, 0) > 0 and not np.isnan(result.accuracy[:, c]).all():
            plain, space, mode = name.partition(" ")
            families.setdefault(plain.split("_at_")[0] + space + mode, []).append(c)
    ordered = {name: sorted(found, key=lambda c: times[result.conditions[c]]) for name, found in families.items()}
    return {name: found for name, found in ordered.items() if len(found) > 1}


def _draw_share_above(ax: Axes, accuracy: NDArray[np.float64], network: int, *, band: bool) -> None:
    if np.isnan(accuracy).all():
        return
    values, share, low, high = share_above(accuracy)
    x = 100 * np.append(0.0, values)
    ax.step(x, 100 * np.append(1.0, share), where="pre", **line_of(network))
    if band:
        bottom, top = 100 * np.append(low[0], low), 100 * np.append(1.0, high)
        ax.fill_between(x, bottom, top, step="pre", color=colour_of(network), alpha=0.2, linewidth=0)


def _chips_first(result: Tolerance) -> Sequence[int]:
    """Profiles in their order, else levels from the largest."""
    profiles = [c for c, level in enumerate(result.levels) if math.isnan(level)]
    levels = sorted((c for c in range(len(result.levels)) if c not in profiles), key=lambda c: -result.levels[c])
    return profiles or [c for c in levels if result.levels[c] > 0][:3]
