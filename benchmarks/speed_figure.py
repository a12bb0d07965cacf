"""The figure of the speed benchmark: time of each library along each axis."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from speed_timing import Timing
from speed_works import AXES, BASE, STORED, WORKS, Point

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAMES = {"numba": "ours, numba", "eager": "ours, eager", "torch": "torch, baddbmm"}
AXIS_NAMES = {
    "neurons": "neurons N",
    "steps": "steps T",
    "instances": "chips K",
    "rate": "spikes per neuron and step",
    "spikes": "input",
    "surrogate": "surrogate",
}
COLOURS = dict(zip(STORED, ("C3", "C1", "C0", "C2", "C4", "C5", "C7", "k"), strict=True))


def draw(results: list[tuple[Point, dict[str, Timing]]], path: Path) -> None:
    """One row of panels a work, one panel an axis, one line a library; bars are quartiles."""
    works = [name for name, work in WORKS.items() if work.axes]
    columns = max(len(WORKS[name].axes) for name in works)
    figure, panels = plt.subplots(len(works), columns, figsize=(3.2 * columns, 3.2 * len(works)), sharey="row")
    for row, name in zip(panels, works, strict=True):
        for panel, axis in zip(row, WORKS[name].axes, strict=True):
            lines(panel, axis, {p.case: t for p, t in results if p.work == name})
            panel.set_xlabel(AXIS_NAMES[axis])
        row[0].set_ylabel(f"{name}, ms per {WORKS[name].unit}")
    panels[0][0].legend(fontsize="x-small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def lines(panel: plt.Axes, axis: str, timings: dict[object, dict[str, Timing]]) -> None:
    """The libraries' times along one axis around the base point."""
    cases = [case for case in AXES[axis] if case in timings]
    values = [getattr(case, axis) for case in cases]
    numbers = all(type(value) in (int, float) for value in values)
    places = values if numbers else list(range(len(values)))
    for library, colour in COLOURS.items():
        found = [(x, timings[case][library]) for x, case in zip(places, cases, strict=True) if library in timings[case]]
        if not found:
            continue
        x, t = zip(*found, strict=True)
        middle = [1e3 * one.median for one in t]
        spread = [[1e3 * (one.median - one.low) for one in t], [1e3 * (one.high - one.median) for one in t]]
        label = NAMES.get(library, library)
        panel.errorbar(
            x, middle, spread, color=colour, marker="o", ms=3, lw=1.2 if numbers else 0, elinewidth=1, label=label
        )
    panel.set_yscale("log")
    panel.grid(alpha=0.3)
    if numbers:
        panel.set_xscale("log")
        panel.axvline(getattr(BASE, axis), color="0.8", zorder=0)
        panel.set_xticks(places, [f"{v:g}" for v in places], minor=False)
        panel.minorticks_off()
    else:
        text = {True: "spikes", False: "currents"}
        panel.set_xticks(places, [text.get(v, v) for v in values])
        panel.set_xlim(-0.5, len(places) - 0.5)
