"""Figures: each a function of results that gives a matplotlib Figure, or None where there is nothing to show.

Figures are one column wide, so that their text stays readable on a phone and in a paper. Networks have the colours of
Okabe and Ito (2008), which people with any colour vision tell apart, and a marker each, for print without colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from snnrobust.report.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from snnrobust.evaluation.statistics.yields import Summary
    from snnrobust.evaluation.tolerance import Tolerance
    from snnrobust.training.record import TrainedModel

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")
"""Line of the first six networks, which have a colour each, of the next six, ..."""
INK = "#24292F"
"""Text, axes and everything else that is not a network; a page may replace it by its own text colour."""
WIDTH = 4.6  # inches
FONT_SIZE = 9.5
DOTS_AS_VECTORS = 1000
"""Strips of more chips are drawn as pixels: a page with 10,000 vector dots a strip is slow to open."""
LONGEST_NAME = 28
DASHED: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": (0, (4, 3))}
"""A line that is asked for: a specification, a yield."""

_SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": FONT_SIZE,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "legend.fontsize": FONT_SIZE,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "xtick.color": INK,
    "ytick.color": INK,
}
STYLE: list[str | Path | dict[str, Any]] = ["default", _SETTINGS]
"""For `matplotlib.style.context`, which leaves the user's own settings as they are."""


@style.context(STYLE)
def accuracy_against_level(result: Tolerance, *, specification: float | None = None) -> Figure | None:
    """Accuracy of the chips against the relative mismatch level: mean, 5 to 95 % band and worst chip of each network.

    Sweeps of several kinds (normal, lognormal, other roles) get an axes each.

    Args:
        result: Accuracies by network, condition and chip; profiles are left out.
        specification: The accuracy that a good chip reaches, drawn as a line.

    Returns:
        The figure; None where no sweep has two levels that were run.
    """
    families = sweeps(result)
    if not families:
        return None
    figure = Figure(figsize=(WIDTH, 0.5 + 2.6 * len(families)))
    axes = figure.subplots(len(families), sharex=True, squeeze=False)[:, 0]
    for ax, (family, conditions) in zip(axes, families.items(), strict=True):
        for m in range(len(result.models)):
            draw_sweep(ax, result, m, conditions, [100 * result.levels[c] for c in conditions])
        if specification is not None:
            ax.axhline(100 * specification, **DASHED, label="specification")
        if len(families) > 1:
            ax.set_title(short(family))
        ax.set_ylabel(f"{result.metric} (%)")
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, -2), min(high, 101))
        ax.margins(x=0.02)
    axes[-1].set_xlabel("relative mismatch level, standard deviation (%)")
    legend(figure, result.models)
    return figure


@style.context(STYLE)
def chips_strip(result: Tolerance, *, specification: float) -> Figure | None:
    """Accuracy of every chip as a dot, a strip for each profile and network, with the mean and the yield.

    Relative levels that `accuracy_against_level` cannot show, such as a single one, are strips here.

    Args:
        result: Accuracies by network, condition and chip.
        specification: The accuracy that a good chip reaches, drawn as a line.

    Returns:
        The figure; None where no chip was run under such a condition.
    """
    shown = {c for conditions in sweeps(result).values() for c in conditions}
    run = [s for s in result.summary(specification) if s.chips]
    names = [name for c, name in enumerate(result.conditions) if c not in shown]
    groups = {name: group for name in names if (group := [s for s in run if s.condition == name])}
    if not groups:
        return None
    rows = sum(len(group) for group in groups.values())
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * rows + 0.4 * len(groups)))
    heights = [len(group) for group in groups.values()]
    axes = figure.subplots(len(groups), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, group) in zip(axes, groups.items(), strict=True):
        ax.set_title(short(name, 30), pad=4)
        _draw_strips(ax, result, group)
        ax.axvline(100 * specification, **DASHED)
    _limit_strips(axes[-1], result, groups)
    axes[0].annotate(
        "yield", (1, 1), xycoords="axes fraction", xytext=(46, 4),
        textcoords="offset points", ha="right", va="bottom", annotation_clip=False,
    )  # fmt: skip
    axes[-1].set_xlabel(f"{result.metric} of a chip (%)")
    return figure


@style.context(STYLE)
def training_curves(
    models: Sequence[TrainedModel], *, metric: str = "accuracy", networks: Sequence[str] = ()
) -> Figure | None:
    """Training loss and validation accuracy of each network against the epoch; a dot marks the epoch that was kept.

    Args:
        models: Trained networks; those without a history are left out.
        metric: Which accuracy the validation column holds.
        networks: Names of all networks that other figures show, so that each keeps its colour.

    Returns:
        The figure; None where there is no history.
    """
    order = list(dict.fromkeys([*networks, *(model.label for model in models)]))
    panels = {"loss": ("training loss", 1.0), "validation": (f"validation {metric} (%)", 100.0)}
    found = {column: [m for m in models if np.isfinite(m.history.get(column, [])).any()] for column in panels}
    found = {column: having for column, having in found.items() if having}
    if not found:
        return None
    figure = Figure(figsize=(WIDTH, 0.6 + 1.9 * len(found)))
    axes = figure.subplots(len(found), sharex=True, squeeze=False)[:, 0]
    for ax, (column, having) in zip(axes, found.items(), strict=True):
        label, scale = panels[column]
        for model in having:
            values = scale * np.asarray(model.history[column], dtype=np.float64)
            network = order.index(model.label)
            ax.plot(np.arange(1, len(values) + 1), values, **line_of(network))
            if 0 <= model.selected_epoch < len(values):
                ax.plot(
                    model.selected_epoch + 1, values[model.selected_epoch], "o", color=colour_of(network), markersize=5
                )
        ax.set_ylabel(label)
        ax.margins(x=0.02)
    if "loss" in found and all(np.nanmin(model.history["loss"]) > 0 for model in found["loss"]):
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes[0].yaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, order, [order.index(m.label) for m in models if m.history], lines_only=True)
    return figure


def sweeps(result: Tolerance) -> dict[str, list[int]]:
    """Conditions of level sweeps in order of their level, by the sweep's name (without the level in it).

    Args:
        result: Results; a sweep counts if at least two of its levels were run.
    """
    families: dict[str, list[int]] = {}
    for c, (name, level) in enumerate(zip(result.conditions, result.levels, strict=True)):
        if math.isfinite(level) and not np.isnan(result.accuracy[:, c]).all():
            number = repr(level).removesuffix(".0")
            plain, space, mode = name.partition(" ")
            family = "_".join(part for part in plain.split("_") if part != number) + space + mode
            families.setdefault(family, []).append(c)
    ordered = {name: sorted(found, key=lambda c: result.levels[c]) for name, found in families.items()}
    return {name: found for name, found in ordered.items() if len({result.levels[c] for c in found}) > 1}


def colour_of(network: int) -> str:
    """Colour of a network by its position."""
    return COLOURS[network % len(COLOURS)]


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name on one line of bounded length; what is not printable becomes a question mark."""
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def swarm(values: NDArray[np.float64], *, width: float, most: float) -> NDArray[np.float64]:
    """Offsets that lay dots of nearly equal value side by side: 0, +1, -1, +2, ... steps in order of their position.

    Args:
        values: Position of each dot along the strip [K].
        width: Dots in the same bin of this width are laid side by side.
        most: Largest offset; the fullest bin reaches it, or less if it holds few dots.

    Returns:
        Offset of each dot across the strip [K].
    """
    bins = np.round(values / width).astype(np.int64)
    offsets = np.zeros(len(values))
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.diff(bins[order], prepend=np.iinfo(np.int64).min))
    rank = np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
    offsets[order] = (rank + 1) // 2 * np.where(rank % 2, 1, -1)
    step = min(most / 4, most / max(float(np.abs(offsets).max(initial=0)), 1.0))
    return step * offsets


def line_of(network: int) -> dict[str, Any]:
    """How the lines of a network look, by its position."""
    dashes = DASHES[network // len(COLOURS) % len(DASHES)]
    return {"color": colour_of(network), "linestyle": dashes, "linewidth": 1.8, "markersize": 4.5}


def marker_of(network: int) -> str:
    """Marker of a network by its position."""
    return MARKERS[network % len(MARKERS)]


def draw_sweep(ax: Axes, result: Tolerance, network: int, conditions: Sequence[int], x: Sequence[float]) -> None:
    """Mean, band and worst chip of one network at each x, under the conditions where it was run."""
    chips = [(at, result.accuracy[network, c]) for at, c in zip(x, conditions, strict=True)]
    run = [(at, row[~np.isnan(row)]) for at, row in chips if not np.isnan(row).all()]
    if not run:
        return
    places = np.array([at for at, _ in run])
    low, high = (100 * np.array([np.quantile(row, q) for _, row in run]) for q in (0.05, 0.95))
    colour = colour_of(network)
    ax.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(places, [100 * row.mean() for _, row in run], marker=marker_of(network), **line_of(network))
    ax.plot(places, [100 * row.min() for _, row in run], color=colour, marker="x", markersize=5, linestyle="none")


def _draw_strips(ax: Axes, result: Tolerance, group: Sequence[Summary]) -> None:
    """The strips of one condition, a row a network, with mean and yield."""
    condition = result.conditions.index(group[0].condition)
    for row, s in enumerate(group):
        network = result.models.index(s.model)
        values = 100 * result.accuracy[network, condition]
        values = values[~np.isnan(values)]
        offsets = swarm(values, width=0.5, most=0.36)
        many = len(values) > DOTS_AS_VECTORS
        ax.plot(
            values, row + offsets, marker="o", linestyle="none", color=colour_of(network), markersize=3,
            alpha=0.55, markeredgewidth=0, rasterized=many,
        )  # fmt: skip
        ax.plot([100 * s.mean] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.6)
        ax.annotate(
            f"{percent(s.chips_passed.share)} %", (1, row), xycoords=("axes fraction", "data"), xytext=(46, 0),
            textcoords="offset points", ha="right", va="center", annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(range(len(group)), [short(s.model, 16) for s in group])
    ax.set_ylim(len(group) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")


def _limit_strips(ax: Axes, result: Tolerance, groups: dict[str, list[Summary]]) -> None:
    """The range of all strips and the specification, and never far beyond 100 %."""
    rows = [s for group in groups.values() for s in group]
    low = 100 * min([s.minimum for s in rows] + [rows[0].specification])
    ax.set_xlim(low - max(2.0, 0.04 * (100 - low)), 101)


def legend(
    figure: Figure, networks: Sequence[str], shown: Sequence[int] | None = None, *, lines_only: bool = False
) -> None:
    """Name networks above a figure, all of them or those at the positions given."""
    positions = range(len(networks)) if shown is None else shown
    handles = [
        Line2D([], [], marker="" if lines_only else marker_of(m), label=short(networks[m]), **line_of(m))
        for m in positions
    ]
    options: dict[str, Any] = {"loc": "outside upper left", "ncols": 2, "borderaxespad": 0.2}
    figure.legend(handles=handles, **options)
