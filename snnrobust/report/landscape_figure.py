"""The figure of a loss landscape: lines along directions, and the plane of a random and the adversarial one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from snnrobust.report.figures import COLOURS, INK, STYLE, WIDTH, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from snnrobust.evaluation.landscape_study import LossLandscape

_BLUE, _RED = COLOURS[:2]
_MANY_TIMES = 20
"""Losses that span more than this factor are drawn on a logarithmic scale."""
_AREAS = 10


@style.context(STYLE)
def loss_landscape(found: LossLandscape) -> Figure:
    """Loss along random directions and the adversarial one, and in the plane of the two.

    Args:
        found: Losses around a network.
    """
    sliced = found.slice.size > 0
    figure = Figure(figsize=(WIDTH, 3.3 + 3.1 * sliced))
    axes = figure.subplots(1 + sliced, height_ratios=[2.6, 3.0][: 1 + sliced], squeeze=False)[:, 0]
    _draw_lines(axes[0], found)
    if sliced:
        _draw_slice(figure, axes[1], found)
    figure.legend(loc="outside upper left", ncols=2, borderaxespad=0.2)
    return figure


def _draw_lines(ax: Axes, found: LossLandscape) -> None:
    count = len(found.random)
    for line in found.random if count > 1 else ():
        ax.plot(found.alphas, line, color=_BLUE, linewidth=0.8, alpha=0.45)
    mean = f"mean of {count} random directions" if count > 1 else "random direction"
    ax.plot(found.alphas, found.random.mean(0), color=_BLUE, linewidth=2, label=mean)
    ax.plot(found.alphas, found.adversarial, color=_RED, linewidth=2, linestyle="--", label="adversarial direction")
    ax.axhline(math.log(found.classes), color=INK, linewidth=1, linestyle=":", label="a guess")
    losses = np.concatenate([found.random.ravel(), found.adversarial])
    if _wide(losses):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    ax.margins(x=0)
    ax.set_ylabel("cross-entropy (nats)")
    ax.set_xlabel(f"along a direction (unit: {short(found.size(found.scale), 30)})")


def _draw_slice(figure: Figure, ax: Axes, found: LossLandscape) -> None:
    low, high = float(np.nanmin(found.slice)), float(np.nanmax(found.slice))
    wide = _wide(found.slice)
    levels = (
        np.geomspace(low, high, _AREAS + 1) if wide else MaxNLocator(_AREAS).tick_values(low, max(high, low + 1e-3))
    )
    place = found.across, found.across, found.slice
    areas = ax.contourf(*place, levels=levels, cmap="cividis", norm="log" if wide else "linear")
    ax.contour(*place, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
    ax.plot(0, 0, "+", color="white", markersize=9, markeredgewidth=1.6)
    ax.grid(visible=False)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel("along the adversarial direction (same unit)")
    ax.set_ylabel("along a random one")
    bar = figure.colorbar(areas, ax=ax, label="cross-entropy (nats)", format="{x:.2g}", ticks=levels[::2])
    bar.ax.minorticks_off()


def _wide(losses: NDArray[np.float64]) -> bool:
    """Whether a linear scale would hide the valley."""
    return bool(np.nanmin(losses) > 0 and np.nanmax(losses) > _MANY_TIMES * np.nanmin(losses))
