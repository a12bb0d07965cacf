"""Figures of one analysis each: what to calibrate first, what a verdict rests on, what to specify, behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from snnrobust.report.figures import COLOURS, DASHED, INK, MARKERS, STYLE, WIDTH, short
from snnrobust.report.text import percent, spread_text

if TYPE_CHECKING:
    from snnrobust.evaluation.bits import Bits
    from snnrobust.evaluation.observation.behaviour import Behaviour
    from snnrobust.evaluation.sensitivity import Sensitivity
    from snnrobust.evaluation.specification import Specification
    from snnrobust.evaluation.tornado import Tornado

MOST_BARS = 12
_BLUE, _RED, _GREEN = COLOURS[:3]


@style.context(STYLE)
def ranking(found: Sensitivity) -> Figure:
    """The yield that perfecting each part would bring, and its share of the variance, both with intervals.

    Args:
        found: Scores of the same chips by what varies on them.
    """
    parts = found.ranking()
    figure = Figure(figsize=(WIDTH, 1.3 + 0.34 * len(parts)))
    left, right = figure.subplots(1, 2, sharey=True)
    for row, part in enumerate(parts):
        gain, (share, low, high) = part.gain, part.share
        left.plot([100 * gain.low, 100 * gain.high], [row, row], color=_BLUE, linewidth=1.6)
        left.plot(100 * gain.value, row, "o", color=_BLUE, markersize=6)
        right.plot([100 * low, 100 * high], [row, row], color=_RED, linewidth=1.6)
        right.plot(100 * share, row, "s", color=_RED, markersize=5)
    for ax in (left, right):
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
    left.set_yticks(range(len(parts)), [short(part.name, 20) for part in parts])
    left.set_ylim(len(parts) - 0.4, -0.6)
    left.set_xlabel("yield gained if perfect\n(percentage points)")
    right.set_xlabel("share of the variance\nof the margin (%)")
    return figure


@style.context(STYLE)
def tornado_bars(found: Tornado) -> Figure:
    """The yield with each uncertain number of the profile at both of its ends, the widest first.

    Args:
        found: Yields over the uncertain numbers.
    """
    bars = found.bars[:MOST_BARS]
    figure = Figure(figsize=(WIDTH, 1.3 + 0.44 * max(1, len(bars))))
    ax = figure.subplots()
    for row, bar in enumerate(bars):
        for end, y, colour in (("low", bar.low, _BLUE), ("high", bar.high, _RED)):
            ax.barh(row + (0.18 if end == "high" else -0.18), 100 * (y.share - found.base.share), 0.34,
                    left=100 * found.base.share, color=colour, linewidth=0)  # fmt: skip
            ax.plot(100 * y.share, row + (0.18 if end == "high" else -0.18), "|", color=colour, markersize=9)
        name = short(bar.path.removeprefix("parameters.").replace(".components.", "."), 30)
        ax.annotate(
            name + (" — flips the verdict" if bar.flips else ""), (0, row - 0.4), xycoords=("axes fraction", "data"),
            xytext=(2, 0), textcoords="offset points", va="bottom", ha="left", fontsize=8,
            fontweight="bold" if bar.flips or bar.moves else "normal",
        )  # fmt: skip
    ax.axvline(100 * found.base.share, color=INK, linewidth=1)
    ax.axvline(100 * found.requirement.share, **DASHED)
    ax.set_yticks([])
    ax.set_ylim(len(bars) - 0.4, -0.75)
    ax.margins(x=0.08)
    ax.set_xlabel(f"yield, chips ≥ {percent(found.requirement.accuracy)} % (%)")
    handles = [Line2D([], [], color=c, linewidth=6, label=f"at its {e} end") for c, e in
               ((_BLUE, "low"), (_RED, "high"))]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure


@style.context(STYLE)
def behaviour_by_condition(found: Behaviour) -> Figure:
    """Accuracy under each condition and agreement with the network on no chip, mean over chips and their range.

    Args:
        found: Behaviour of one network.
    """
    figure = Figure(figsize=(WIDTH, 1.4 + 0.4 * len(found.conditions)))
    ax = figure.subplots()
    for values, shift, colour, marker in (
        (found.accuracy[0], -0.13, _BLUE, "o"), (found.measures["agreement"][0], 0.13, _RED, "s"),
    ):  # fmt: skip
        for row, chips in enumerate(100 * values):
            ax.plot([chips.min(), chips.max()], [row + shift] * 2, color=colour, linewidth=1.6)
            ax.plot(chips.mean(), row + shift, marker, color=colour, markersize=5.5)
    ax.set_yticks(range(len(found.conditions)), [short(name, 24) for name in found.conditions])
    ax.set_ylim(len(found.conditions) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("share of samples (%)")
    handles = [
        Line2D([], [], marker="o", color=_BLUE, markersize=5.5, label=found.metric),
        Line2D([], [], marker="s", color=_RED, markersize=5.5, label="agreement"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure


@style.context(STYLE)
def specification_limits(found: Specification) -> Figure:
    """How large each spread may be, alone and together with the others, in multiples of the profile's.

    Args:
        found: The largest spreads that meet a requirement.
    """
    limits = found.limits
    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(limits)))
    ax = figure.subplots()
    for row, x in enumerate(limits):
        ax.plot([x.joint, x.alone], [row, row], color=INK, alpha=0.35, linewidth=1.2)
        ax.plot(x.alone, row, ">" if x.open else "^", color=_GREEN, markersize=6.5)
        ax.plot(x.joint, row, "o", color=_BLUE, markersize=6.5)
        ax.annotate(
            spread_text(x, x.joint), (1, row), xycoords=("axes fraction", "data"), xytext=(56, 0),
            textcoords="offset points", ha="right", va="center", annotation_clip=False,
        )  # fmt: skip
    ax.axvline(1, **DASHED)
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(FixedLocator([2.0**n for n in range(-6, 4) if low <= 2.0**n <= high]))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(limits)), [short(x.knob.role, 20) for x in limits])
    ax.set_ylim(len(limits) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.annotate(
        "specified", (1, 1), xycoords="axes fraction", xytext=(56, 4), textcoords="offset points", ha="right",
        va="bottom", annotation_clip=False,
    )  # fmt: skip
    ax.set_xlabel("spread, multiples of the profile's")
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=_BLUE, markersize=6.5, label="together"),
        Line2D([], [], marker="^", linestyle="none", color=_GREEN, markersize=6.5, label="alone (▸ at least)"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure


@style.context(STYLE)
def yield_over_bits(found: Bits) -> Figure:
    """Yield with its interval over the bits of weights, a line for each number of ADC bits and a panel for each size.

    A ring marks the smallest choices that suffice.

    Args:
        found: Yields over bits and mismatch.
    """
    scales, converters = found.scales(), list(dict.fromkeys(cell.adc for cell in found.cells))
    figure = Figure(figsize=(WIDTH, 0.9 + 2.1 * len(scales)))
    axes = figure.subplots(len(scales), sharex=True, squeeze=False)[:, 0]
    for ax, scale in zip(axes, scales, strict=True):
        for n, adc in enumerate(converters):
            own = sorted((c for c in found.cells if c.scale == scale and c.adc == adc), key=lambda c: c.weight)
            x = [c.weight + 0.12 * (n - (len(converters) - 1) / 2) for c in own]  # intervals lie side by side
            low, high, share = ([100 * getattr(c.found, end) for c in own] for end in ("low", "high", "share"))
            look: dict[str, Any] = {"color": COLOURS[n % len(COLOURS)], "marker": MARKERS[n % len(MARKERS)]}
            ax.vlines(x, low, high, color=look["color"], linewidth=1.4)
            label = "" if adc is None else f"{adc} ADC bits"
            ax.plot(x, share, markersize=4.5, linewidth=1.2, label=label, **look)
            enough = [(at, 100 * c.found.share) for at, c in zip(x, own, strict=True) if c in found.sufficient(scale)]
            ax.plot(*zip(*enough, strict=True) if enough else ([], []), "o", color="none", markeredgecolor=INK,
                    markersize=11, markeredgewidth=1.3, zorder=5)  # fmt: skip
        ax.axhline(100 * found.requirement.share, **DASHED)
        ax.set_title(short(f"{scale:g} × the spreads of {found.profile.name}", 44), pad=4)
        ax.set_ylabel(f"chips ≥ {percent(found.requirement.accuracy)} % (%)")
        ax.set_ylim(-8, 112)  # the ring has a size
    axes[-1].set_xlabel("bits of a weight")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [] if converters == [None] else axes[0].get_legend_handles_labels()[0]
    ring = Line2D([], [], marker="o", linestyle="none", color="none", markeredgecolor=INK, markersize=9,
                  label="the smallest that suffices")  # fmt: skip
    figure.legend(handles=[*handles, ring], loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure
