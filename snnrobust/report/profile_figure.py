"""A figure of a profile: how every role spreads over devices and chips, and how a crossbar's devices behave.

Spreads and weight errors come from the chips that a deployment would draw, on a small layer.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib import style
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snnrobust.errors import ConfigError
from snnrobust.hardware import draw, place, realise
from snnrobust.report import conductance
from snnrobust.report.figures import COLOURS, DASHES, INK, STYLE, WIDTH
from snnrobust.snn.specs import WEIGHTS, spec_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from snnrobust.hardware.profile import Profile
    from snnrobust.hardware.schema.crossbar import Crossbar
    from snnrobust.hardware.schema.document import Parameter

CHIPS, NEURONS, INPUTS, DEVICES = 200, 64, 16, 4000
NOMINAL = {
    **{"weight": 1.0, "recurrent_weight": 1.0, "bias": 1.0, "gain": 1.0, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0},
    **{"tau_mem": 20e-3, "tau_syn": 10e-3, "refractory": 2e-3, "tau_adapt": 0.1, "adaptation": 0.5},
}
"""Values of the layer's parameters: all elements of a role are equal, weights of either sign."""
TARGETS = (0.1, 0.5, 1.0)
"""Of the range of conductances; the devices whose drift is shown."""
SPANS = ((365.25 * 86400.0, "year"), (86400.0, "day"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
UNITS = {"v_th_range": "v_th - v_reset", "s": "s", "parameter": "the parameter's unit"}

Draw = Callable[["Axes"], None]


@style.context(STYLE)
def profile_figure(profile: Profile) -> Figure:
    """The figure: a panel for each role that varies, and for a crossbar noise, drift over a year and weight error.

    Raises:
        ConfigError: If nothing in the profile varies.
    """
    panels = [*_role_panels(profile), *_crossbar_panels(profile)]
    if not panels:
        raise ConfigError(f"{profile.name}: nothing varies, so there is nothing to plot")
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * columns, 0.4 + 2.5 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, panel in zip(axes, panels, strict=False):
        panel(ax)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.suptitle(profile.name, x=0.01, ha="left", weight="bold")
    return figure


def save_profile_figure(profile: Profile, path: Path) -> None:
    """Write the figure; the ending of the file decides the format.

    Raises:
        ConfigError: If the file cannot be written, or nothing varies.
    """
    figure = profile_figure(profile)
    allowed = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in allowed:
        raise ConfigError(f"plot: {path} must end in one of {', '.join(allowed)}")
    try:
        figure.savefig(path, dpi=150, facecolor="white")
    except OSError as error:
        raise ConfigError(f"plot: {path} cannot be written: {error.strerror}") from error


def deviations(profile: Profile) -> dict[str, NDArray[np.float64]]:
    """How far each role of a layer of `NEURONS` deviates on `CHIPS` chips, [chips, elements], by role.

    theta'/theta - 1 where the spread is relative, theta' - theta in the entry's unit where it is absolute; without
    quantisation and faults.
    """
    varied = {r: entry for r, entry in profile.parameters.given().items() if entry.distribution != "none"}
    shapes = {role: (NEURONS, INPUTS) if role in WEIGHTS else (NEURONS,) for role in NOMINAL}
    theta = {f"layer.{role}": torch.full(shapes[role], NOMINAL[role], dtype=torch.float64) for role in NOMINAL}
    for role in WEIGHTS:
        theta[f"layer.{role}"][:, ::2] *= -1
    specs = {name: spec_of(name.split(".")[1], tuple(p.shape), layer="layer") for name, p in theta.items()}
    placement = place(profile, specs, only_mismatch=True)
    with torch.no_grad():
        chips = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(CHIPS)))
    found = {}
    for role, entry in varied.items():
        moved, nominal = chips[f"layer.{role}"], theta[f"layer.{role}"]
        difference = moved - nominal if entry.mode == "absolute" else moved / nominal - 1
        found[role] = difference.expand(CHIPS, *nominal.shape).reshape(CHIPS, -1).numpy()
    return found


def weight_errors(profile: Profile, weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """(w' - w) / w_max of one neuron's weights on `CHIPS` chips [chips, weights]; None where no stage acts on them.

    Args:
        profile: A profile with a crossbar.
        weights: Nominal weights; the largest magnitude is w_max.
    """
    theta = {"layer.weight": torch.tensor(weights, dtype=torch.float64)[None]}
    placement = place(profile, {"layer.weight": spec_of("weight", (1, len(weights)), layer="layer")})
    if not placement.stages:
        return None
    with torch.no_grad():
        chips = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(CHIPS)))
    error = (chips["layer.weight"] - theta["layer.weight"]).expand(CHIPS, 1, len(weights))[:, 0]
    relative: NDArray[np.float64] = error.numpy() / np.abs(weights).max()
    return relative


def _role_panels(profile: Profile) -> list[Draw]:
    entries = profile.parameters.given()
    return [_role_panel(role, entries[role], values) for role, values in deviations(profile).items()]


def _role_panel(role: str, entry: Parameter, values: NDArray[np.float64]) -> Draw:
    """Histogram of all devices, and the range of the means of chips, in which single devices average out."""
    scale, unit = (1.0, UNITS[entry.unit or "parameter"]) if entry.mode == "absolute" else (100.0, "%")
    devices, means = scale * values.ravel(), scale * values.mean(axis=1)

    def panel(ax: Axes) -> None:
        low, high = np.quantile(devices, [0.001, 0.999])
        bins = np.linspace(low, high, 61).tolist()
        left, right = np.quantile(means, [0.05, 0.95])
        ax.axvspan(left, right, color=COLOURS[1], alpha=0.25, linewidth=0, label="means of chips")
        ax.hist(devices, bins, color=COLOURS[0], alpha=0.75, label="devices", log=entry.outliers is not None)
        ax.axvline(0, color=INK, linewidth=0.8, linestyle=DASHES[1])
        ax.set_title(f"{role} ({entry.distribution}, {entry.granularity})")
        ax.set_xlabel(f"deviation ({unit}); sd {devices.std():.3g}, of means {means.std():.2g}")
        ax.set_yticks([], minor=False)
        ax.minorticks_off()
        ax.legend(loc="upper right", fontsize=8)

    return panel


def _crossbar_panels(profile: Profile) -> list[Draw]:
    crossbar = profile.crossbar
    if crossbar is None:
        return []
    time = profile.environment.time_since_programming
    panels = [_noise_panel(crossbar, 3600.0 if time is None else time)]
    if crossbar.drift is not None and crossbar.drift.model != "none":
        panels.append(_drift_panel(crossbar))
    weights = np.linspace(-1, 1, 81)
    errors = weight_errors(profile, weights)
    return panels if errors is None else [*panels, _error_panel(weights, errors)]


def _noise_panel(crossbar: Crossbar, time: float) -> Draw:
    """Standard deviations against the target: programming, or what the table has, and a read."""
    g = np.linspace(crossbar.g_min, crossbar.g_max, 200)
    lines = {"programming": conductance.programming_sigma(crossbar, g)}
    if crossbar.drift is not None and crossbar.drift.table is not None:
        times = conductance.drift_times(crossbar)
        lines = {f"around the target after {span(t)}": conductance.table_sigma(crossbar, g, t) for t in times}
    if crossbar.read_noise is not None and crossbar.read_noise.model != "none":
        lines[f"one read after {span(time)}"] = conductance.read_sigma(crossbar, g, time)

    def panel(ax: Axes) -> None:
        for i, (label, sigma) in enumerate(lines.items()):
            ax.plot(g, sigma, color=COLOURS[i], linestyle=DASHES[i % len(DASHES)], label=label)
        ax.set_ylim(0, (1.1 + 0.13 * len(lines)) * max(sigma.max() for sigma in lines.values()))
        ax.set_title("noise")
        ax.set_xlabel("conductance (µS)")
        ax.set_ylabel("standard deviation (µS)")
        ax.legend(loc="upper left", fontsize=8)

    return panel


def _drift_panel(crossbar: Crossbar) -> Draw:
    """Mean and 5 to 95 % of devices over time, programmed to three conductances."""
    z = np.random.default_rng(1).standard_normal((2, DEVICES))
    times = conductance.drift_times(crossbar)
    targets = [crossbar.g_min + share * (crossbar.g_max - crossbar.g_min) for share in TARGETS]

    def panel(ax: Axes) -> None:
        for i, target in enumerate(targets):
            g = np.stack([conductance.drifted(crossbar, target, t, *z) for t in times])
            low, high = np.quantile(g, [0.05, 0.95], axis=1)
            ax.fill_between(times, low, high, color=COLOURS[i], alpha=0.2, linewidth=0)
            ax.plot(times, g.mean(axis=1), color=COLOURS[i], marker="o" if len(times) < 5 else "")
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        _name_times(ax, times)
        ax.set_title("drift, not compensated")
        ax.set_xlabel("time after programming")
        ax.set_ylabel("conductance (µS)")

    return panel


def _name_times(ax: Axes, times: NDArray[np.float64]) -> None:
    """Ticks at times that have a name, the later one of two that are close."""
    if len(times) < 5:
        marks = [t for t, after in pairwise([*times, np.inf]) if after > 3 * t]
    else:
        marks = [t for t in (1.0, 60.0, 3600.0, 86400.0, 30 * 86400.0) if times[0] <= t <= times[-1]]
    ax.set_xticks(marks, [span(t) for t in marks])
    ax.minorticks_off()


def _error_panel(weights: NDArray[np.float64], errors: NDArray[np.float64]) -> Draw:
    """Mean and 5 to 95 % of the error of a weight over chips."""

    def panel(ax: Axes) -> None:
        low, high = 100 * np.quantile(errors, [0.05, 0.95], axis=0)
        ax.fill_between(weights, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="5 to 95 % of chips")
        ax.plot(weights, 100 * errors.mean(axis=0), color=COLOURS[0], label="mean")
        ax.axhline(0, color=INK, linewidth=0.8, linestyle=DASHES[1])
        ax.set_xticks([-1, -0.5, 0, 0.5, 1])
        ax.set_title("weight error")
        ax.set_xlabel("weight / largest weight")
        ax.set_ylabel("error (% of the largest)")
        ax.legend(loc="upper right", fontsize=8, ncols=2)
        low_end, high_end = ax.get_ylim()
        ax.set_ylim(low_end, high_end + 0.25 * (high_end - low_end))

    return panel


def span(seconds: float) -> str:
    """A time in its largest unit: 1 h, 30 days."""
    size, unit = next(((s, u) for s, u in SPANS if seconds >= s), SPANS[-1])
    count = seconds / size
    return f"{count:.3g} {unit}{'s' if unit in ('day', 'year') and round(count, 2) != 1 else ''}"
