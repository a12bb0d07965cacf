"""Figures of the worst device and of the rarest chips: attacks beside chance, certificates, rare failures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from snnrobust.report.figures import COLOURS, DASHED, INK, STYLE, WIDTH, short
from snnrobust.report.text import percent

if TYPE_CHECKING:
    from snnrobust.evaluation.certificates.certificate import Certified
    from snnrobust.evaluation.rare_chips import Checked
    from snnrobust.evaluation.worst_case import WorstCase

_BLUE, _RED, _GREEN = COLOURS[:3]


@style.context(STYLE)
def worst_case_curves(found: WorstCase) -> Figure:
    """Score of attacked devices over the size of the box, beside Gaussian and random-vertex mismatch of the same size.

    Args:
        found: Scores of attacked and random devices.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    ax = figure.subplots()
    of_relative, scale = not found.profile, 100.0 if not found.profile else 1.0
    x = [scale * radius for radius in found.radii]
    for values, colour, marker, name in (
        (found.gaussian, _BLUE, "o", "Gaussian"), (found.vertices, _GREEN, "^", "random vertex"),
    ):  # fmt: skip
        ax.fill_between(x, 100 * values.min(1), 100 * values.max(1), color=colour, alpha=0.18, linewidth=0)
        ax.plot(x, 100 * values.mean(1), marker=marker, color=colour, markersize=4.5, linewidth=1.8, label=name)
    for (loss, values), dashes in zip(found.attacked.items(), ("-", "--", ":"), strict=False):
        ax.plot(x, 100 * values, marker="x", color=_RED, linestyle=dashes, linewidth=1.8, markersize=5.5,
                label=f"attack ({loss})")  # fmt: skip
    ax.axhline(100 * found.nominal, label="no variation", **DASHED)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -2), min(high + 1, 101))
    ax.set_ylabel(f"{found.metric} (%)")
    unit = "% of each weight" if of_relative else f"σ of {short(found.profile, 30)}"
    ax.set_xlabel(f"half-width of the box, or standard deviation\n({unit})")
    figure.legend(loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure


@style.context(STYLE)
def certified_over_box(found: Certified) -> Figure:
    """Samples that every device in a box classifies correctly, and spikes that no device changes, over its half-width.

    Args:
        found: Certificates over the size of the box.
    """
    figure = Figure(figsize=(WIDTH, 3.3))
    ax = figure.subplots()
    scale = 1.0 if found.profile else 100.0
    boxes = sorted(found.boxes, key=lambda box: box.k)
    x = [scale * box.k for box in boxes]
    ax.plot(x, [100 * box.share for box in boxes], "o-", color=_BLUE, markersize=5, linewidth=1.8,
            label="samples certified")  # fmt: skip
    ax.plot(x, [100 * box.certain for box in boxes], "s--", color=_RED, markersize=4.5, linewidth=1.8,
            label="spikes certain")  # fmt: skip
    per = "" if found.profile else " %"
    for k, dots, name in ((found.half, "--", "half"), (found.largest, ":", "one sample")):
        if k > 0:
            ax.axvline(scale * k, color=INK, linewidth=1, linestyle=dots, label=f"{name}: {scale * k:.2g}{per}")
    above = [at for at in [*x, scale * found.half, scale * found.largest] if at > 0]
    if above:  # a box of size 0 lies at the left end of a logarithmic axis
        ax.set_xscale("symlog", linthresh=min(above), linscale=0.5)
        tens = [10.0**n for n in range(-9, 4) if 0.99 * min(above) <= 10.0**n <= 1.01 * max(above)]
        ax.xaxis.set_major_locator(FixedLocator([*x[: x[0] == 0], *tens]))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(-3, 103)
    ax.set_ylabel("share (%)")
    unit = f"σ of {short(found.profile, 30)}" if found.profile else "% of each weight"
    ax.set_xlabel(f"half-width k of the box ({unit})")
    figure.legend(loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure


@style.context(STYLE)
def rare_failures(found: Checked) -> Figure:
    """The share of bad chips with its interval, by a method for rare failures and by plain Monte Carlo.

    A share of 0 has no place on the logarithmic axis: an arrow leads to the left from the upper end of its interval.

    Args:
        found: The share of chips below a specification.
    """
    rare = found.found
    method = "importance\nsampling" if rare.method.startswith("importance") else "subset\nsimulation"
    rows = (
        (method, rare.share, rare.low, rare.high, rare.chips, _BLUE, "o"),
        ("plain\nMonte Carlo", found.bad / found.plain, found.low, found.high, found.plain, _RED, "s"),
    )
    ends = [100 * v for _, share, low, high, *_ in rows for v in (share, low, high) if v > 0 and math.isfinite(v)]
    left, right = _decades(ends or [100.0])
    figure = Figure(figsize=(WIDTH, 2.3))
    ax = figure.subplots()
    for row, (_, share, low, high, chips, colour, marker) in enumerate(rows):
        resolved = math.isfinite(high)
        if resolved:
            ax.plot([max(100 * low, left), 100 * high], [row, row], color=colour, linewidth=1.8)
            ax.plot(100 * high, row, "|", color=colour, markersize=10)
            ax.plot(max(100 * low, left), row, "|" if low > 0 else "<", color=colour, markersize=10 if low > 0 else 6)
        if share > 0:
            ax.plot(100 * share, row, marker, color=colour, markersize=6.5)
        words = f"{100 * share:.2g} %" if share > 0 else f"none of {chips:,}" if resolved else "not resolved"
        ax.annotate(words + ("" if resolved or share == 0 else ", no interval"), (0.02, row - 0.18),
                    xycoords=("axes fraction", "data"), va="bottom", ha="left")  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    ax.xaxis.set_major_locator(LogLocator(numticks=7))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
    ax.set_ylim(len(rows) - 0.6, -0.75)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(f"chips below {percent(found.specification)} % (%), logarithmic")
    return figure


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around positive values, with room below the least."""
    return 10.0 ** math.floor(math.log10(min(values) / 3)), 10.0 ** math.ceil(math.log10(max(values)))
