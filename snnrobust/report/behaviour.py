"""Tables of how chips behave, and the answer as a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from snnrobust.evaluation.observation.activity import NEAR, SATURATED
from snnrobust.evaluation.observation.behaviour import NOMINAL
from snnrobust.report.text import by_line, percent, table

if TYPE_CHECKING:
    from snnrobust.evaluation.observation.behaviour import Behaviour

CRITERIA = (
    "agreement: share of samples that a chip answers as the network on no chip does; latency: until the answer of the "
    "steps so far is the final one and stays, mean over samples; rates and latencies are in the time of the network",
    "silent: no spike in any sample; saturated: at least "
    f"{percent(SATURATED)} % of the spikes that the refractory time leaves room for; tonic: spikes although nothing "
    "arrives; shares of neurons in percent",
)
MARGINS = (
    "distance: mean |v - threshold| before spike and reset, in units of the nominal threshold above rest; near: share "
    f"of neurons and steps within {NEAR:g} of it, in percent. In brackets: the worst chip, or the range of chips",
)


def behaviour_statement(found: Behaviour) -> str:
    """Where chips agree least with the network on no chip, and how many have outputs that are not finite."""
    agreement = found.measures["agreement"][:, 1:].mean((0, 2))
    worst = int(np.argmin(agreement))
    chips = int((found.measures["nonfinite"][:, 1:] > 0).any((0, 1)).sum())
    return (
        f"chips answer {percent(agreement[worst])} % of the samples as the network on no chip does under "
        f"{found.conditions[1 + worst]}"
        + (", the least of all conditions" if len(agreement) > 1 else "")
        + (f"; {chips} of {found.accuracy.shape[-1]} chips have outputs that are not finite" if chips else "")
    )


def behaviour_table(label: str, found: Behaviour) -> Table:
    """What chips do under each condition, mean over chips and all spiking neurons."""
    rows = []
    for m, c in _rows(found):
        of = {name: values[m, c] for name, values in found.measures.items()}
        own = found.neurons[m] > 0
        neurons = found.neurons[m, own]
        rates = (of["rate"][:, own] @ neurons) / neurons.sum()
        shares = (100 * of[name][:, own].sum(1) / neurons.sum() for name in ("silent", "saturated", "tonic"))
        rows.append(
            (
                found.conditions[c],
                percent(found.accuracy[m, c].mean()),
                percent(of["agreement"].mean()),
                _mean(1e3 * of["latency"], "{:.3g}"),
                f"{rates.mean():.3g}",
                *(_mean(share, "{:.1f}") for share in shares),
                str(int((of["nonfinite"] > 0).sum())),
                _energy(of["energy"]),
            )
        )
    numbers = (
        f"{found.metric}", "agreement", "latency, ms", "rate, Hz", "silent", "saturated", "tonic", "non-finite chips",
        "energy, J / sample",
    )  # fmt: skip
    title = f"{label}: behaviour, mean over {found.accuracy.shape[-1]} chips on {found.samples} samples, in percent"
    return table(title, {"condition": "name", **dict.fromkeys(numbers, "number")}, rows)


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
                _energy(of["energy"]),
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
    """What has to be said beside the tables of chips and layers, one line each."""
    return [*CRITERIA, *MARGINS, *by_line(found.notes), found.population]


def _rows(found: Behaviour) -> list[tuple[int, int]]:
    """Positions of network and condition, condition by condition."""
    return [(m, c) for c in range(len(found.conditions)) for m in range(len(found.models))]


def _mean(values: NDArray[np.float64], form: str) -> str:
    known = values[~np.isnan(values)]
    return form.format(known.mean()) if len(known) else "-"


def _energy(values: NDArray[np.float64]) -> str:
    return "not available" if np.isnan(values).all() else f"{np.nanmean(values):.3g}"


def _with_worst(values: NDArray[np.float64], form: str, *, alone: bool) -> str:
    """The mean and, unless all chips are the same, the largest value."""
    if alone or np.isnan(values).all():
        return _mean(values, form)
    return f"{_mean(values, form)} [{form.format(np.nanmax(values))}]"
