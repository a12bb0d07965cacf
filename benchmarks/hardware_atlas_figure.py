"""The figure of the atlas: accuracy on every profile, and over time on crossbars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Rows = Sequence[Mapping[str, Any]]
COLOURS = {"standard": "#0072B2", "robust": "#D55E00"}
MARKERS = {"none": "o", "core_mean": "s", "trim": "^", "residual": "D", "column_affine": "v", "in_the_loop": "P"}


def draw(rows: Rows, path: Path) -> None:
    """Left: mean, and from the 5 % quantile on, of each network on each profile; right: mean over time."""
    kept = [row for row in rows if row["mean"] is not None and row["limits"] == "ignored"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 6.6), width_ratios=(3, 2), constrained_layout=True)
    _profiles(left, [row for row in kept if row["time_s"] is None])
    _times(right, [row for row in kept if row["time_s"] is not None])
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _profiles(panel: plt.Axes, rows: Rows) -> None:
    names = list(dict.fromkeys(row["profile"] for row in rows))
    for network, shift in zip(COLOURS, (0.15, -0.15), strict=True):
        for mode, marker in MARKERS.items():
            own = [row for row in rows if (row["network"], row["calibration"]) == (network, mode)]
            if not own:
                continue
            y = [names.index(row["profile"]) + shift for row in own]
            mean = [100 * row["mean"] for row in own]
            low = [m - 100 * row["quantile05"] for m, row in zip(mean, own, strict=True)]
            label = network if mode == "none" else None
            panel.errorbar(
                mean, y, xerr=[[max(0.0, v) for v in low], [0] * len(low)], fmt=marker, ms=5, lw=1,
                color=COLOURS[network], mfc=COLOURS[network] if mode == "none" else "white", label=label,
            )  # fmt: skip
    used = {row["calibration"] for row in rows} - {"none"}
    for mode in (m for m in MARKERS if m in used):
        panel.plot([], [], MARKERS[mode], color="0.3", mfc="white", label=f"calibrated: {mode}")
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    panel.set_xlabel(f"test accuracy (%), mean and 5 % quantile over chips; {rows[0]['task']}")
    panel.grid(alpha=0.2)
    panel.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.3, 1.0), ncol=4, frameon=False)


def _times(panel: plt.Axes, rows: Rows) -> None:
    names = list(dict.fromkeys(row["profile"] for row in rows))
    dashes = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
    for name, dash in zip(names, dashes, strict=False):
        for network, colour in COLOURS.items():
            own = [row for row in rows if (row["profile"], row["network"]) == (name, network)]
            time, mean = [row["time_s"] for row in own], [100 * row["mean"] for row in own]
            panel.plot(time, mean, color=colour, ls=dash, marker=".", label=name if network == "robust" else None)
    panel.set_xscale("log")
    panel.set_xticks([1, 3600, 86_400, 2_592_000, 31_536_000], ["1 s", "1 h", "1 d", "30 d", "1 y"])
    panel.minorticks_off()
    panel.set_xlabel("time since programming")
    panel.set_ylabel("mean accuracy (%)")
    panel.grid(alpha=0.2)
    panel.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2, frameon=False, handlelength=3)
