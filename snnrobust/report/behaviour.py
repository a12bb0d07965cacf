"""Tables of how chips behave, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from snnrobust.evaluation.activity import NEAR, SATURATED
from snnrobust.evaluation.behaviour import NOMINAL
from snnrobust.report.text import by_line, percent, table

if TYPE_CHECKING:
    from snnrobust.evaluation.behaviour import Behaviour

CRITERIA = (
    "agreement: share of samples that a chip answers as the network on no chip does; latency: until the answer of the "
    "steps so far is the final one and stays, mean over samples, worst of all chips in brackets",
    "silent: no spike in any sample; saturated: at least "
    f"{percent(SATURATED)} % of the spikes that the refractory time leaves room for; tonic: spikes although nothing "
    "arrives; mean share of neurons over chips in percent, most of any chip in brackets",
    "distance: mean |v - threshold| before spike and reset, in units of the nominal threshold above rest; near: share "
    f"of neurons and steps within {NEAR:g} of it, in percent. Rates and latencies are in the time of the network",
)


def chips_table(found: Behaviour, specification: float) -> Table:
    """Accuracy, agreement, latency and energy over chips, by condition and network."""
    rows = []
    good = found.good(specification)
    for m, c in _rows(found):
        of = {name: found.measures[name][m, c] for name in ("agreement", "latency", "energy", "nonfinite")}
        accuracy, nominal = found.accuracy[m, c], found.conditions[c] == NOMINAL
        rows.append(
            (
                found.conditions[c],
                found.models[m],
                percent(accuracy.mean()),
                *(("",) * 4 if nominal else (
                    percent(accuracy.min()),
                    percent(good[m, c].mean()),
                    str(int((of["nonfinite"] > 0).sum())),
                    f"{percent(of['agreement'].mean())} [{percent(of['agreement'].min())}]",
                )),
                _with_worst(1e3 * of["latency"], "{:.3g}", alone=nominal),
                "not available" if np.isnan(of["energy"]).all() else f"{np.nanmean(of['energy']):.3g}",
            )
        )  # fmt: skip
    numbers = (
        f"{found.metric}\nmean", "min", f"yield >=\n{percent(specification)}", "non-finite\nchips", "agreement\n[min]",
        "latency,\nms [max]", "energy,\nJ / sample",
    )  # fmt: skip
    chips = found.accuracy.shape[-1]
    title = f"behaviour of {chips} chips on {found.samples} samples, in percent; non-finite chips are failures"
    return table(title, {"condition": "name", "network": "name", **dict.fromkeys(numbers, "number")}, rows)


def layers_table(found: Behaviour) -> Table:
    """Rates, neurons that do not work, and distances to the threshold over chips, by condition, network and layer."""
    rows = []
    for m, c in _rows(found):
        for n, layer in enumerate(found.layers):
            neurons, nominal = int(found.neurons[m, n]), found.conditions[c] == NOMINAL
            if not neurons:
                continue
            of = {name: values[m, c, :, n] for name, values in found.measures.items() if values.ndim == 4}
            rate = of["rate"]
            shares = (100 * of[name] / neurons for name in ("silent", "saturated", "tonic"))
            rows.append(
                (
                    found.conditions[c],
                    found.models[m],
                    f"{layer} ({neurons})",
                    f"{of['spikes'].mean():.4g}",
                    f"{rate.mean():.3g}" + ("" if nominal else f" [{rate.min():.3g}-{rate.max():.3g}]"),
                    *(_with_worst(share, "{:.1f}", alone=nominal) for share in shares),
                    _mean(of["distance"], "{:.3f}"),
                    _mean(100 * of["near"], "{:.1f}"),
                )
            )
    numbers = (
        "spikes /\nsample", "rate, Hz\n[range]", "silent\n[most]", "saturated\n[most]", "tonic\n[most]", "distance",
        "near",
    )  # fmt: skip
    names = dict.fromkeys(("condition", "network", "layer (neurons)"), "name")
    return table("neurons, layer by layer", names | dict.fromkeys(numbers, "number"), rows)


def behaviour_notes(found: Behaviour) -> list[str]:
    """What has to be said beside the tables, one line each."""
    return [*CRITERIA, *by_line(found.notes), found.population]


def _rows(found: Behaviour) -> list[tuple[int, int]]:
    """Positions of network and condition, condition by condition."""
    return [(m, c) for c in range(len(found.conditions)) for m in range(len(found.models))]


def _mean(values: NDArray[np.float64], form: str) -> str:
    known = values[~np.isnan(values)]
    return form.format(known.mean()) if len(known) else "-"


def _with_worst(values: NDArray[np.float64], form: str, *, alone: bool) -> str:
    """The mean and, unless all chips are the same, the largest value."""
    if alone or np.isnan(values).all():
        return _mean(values, form)
    return f"{_mean(values, form)} [{form.format(np.nanmax(values))}]"
