"""The tables of the transfer benchmark, from its CSV files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cells import Row

from snnrobust.evaluation.comparison import paired_difference

NOMINAL = "nominal"
HEADERS = {"mean": "mean", "quantile05": "5 %", "minimum": "worst", "yield90": "yield", "bound01": "1 % quantile above"}


@dataclass(frozen=True)
class Shown:
    """How a table of the benchmark is shown.

    Attributes:
        title: Its heading.
        text: What it says, and how.
        parts: Statistics over chips that stand together in one table.
        pairs: Methods that are compared, what with, and under which condition; "" for all.
    """

    title: str
    text: str
    parts: tuple[tuple[str, ...], ...]
    pairs: tuple[tuple[str, str, str], ...] = ()


SHOWN = {
    "roles": Shown(
        "Mismatch of weights, of time constants and thresholds, of all",
        "`weights`: weights and biases; `neurons`: tau_mem, tau_syn, v_th; `all`: both. `..._all` was trained with "
        "noise, or attacked, on all of them.",
        (("mean", "quantile05"),),
        (("noise", "standard", ""), ("noise_all", "noise", ""), ("attack", "noise", ""), ("attack_all", "attack", "")),
    ),
    "profiles": Shown(
        "Trained for one profile, deployed on another",
        "`noise`: relative mismatch of 0.3, for no profile. `for_...`: noise drawn from that profile, through its "
        "quantisation, crossbar and faults. Chips are not calibrated. Yield: chips with an accuracy of 90 % or more.",
        (("mean",), ("quantile05",), ("yield90",)),
        (
            ("noise", "standard", ""),
            ("for_dynapse1", "noise", "dynapse1"),
            ("for_dynapse1", "noise", "dynapse2"),
            ("for_brainscales2", "noise", "brainscales2"),
            ("for_pcm_ibm", "noise", "pcm_ibm"),
            ("for_reram_wan2022", "noise", "reram_wan2022"),
        ),
    ),
    "attacks": Shown(
        "Attacked devices beside random ones of the same size",
        "Weights and biases. `gaussian`: standard deviation = level; `vertices`: each parameter moved by +-level; "
        "`attack`: the device with the largest loss (task: cross-entropy, kl: divergence from the nominal outputs) "
        "that ascent on training data found in the box of half-width level. All are scored on test data. A search may "
        "miss a worse device.",
        (("mean", "minimum"),),
        (("noise", "standard", ""), ("attack", "noise", "")),
    ),
    "first_bar": Shown(
        "The headline's own networks on dynapse1, mismatch only",
        "The 1 % quantile over chips is above the last column with 95 % confidence: the 5th-worst of 1,000 chips.",
        (("mean", "minimum", "bound01"),),
    ),
    "fitted": Shown(
        "Networks that fit on dynapse1 and dynapse2, with all that these profiles state",
        "Inputs are spikes, at most 64 synapses a neuron, weights as the chip stores them; limits are enforced. The "
        "1 % quantile over chips is above the last column with 95 % confidence.",
        (("mean", "minimum", "bound01"),),
    ),
}


def report(tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """All tables that have rows."""
    yield "# Transfer\n"
    yield (
        "Accuracy in %. Of each network's chips the mean, the 5 % quantile, the worst, or the yield is taken; shown is "
        "the mean over training seeds with its 95 % t interval. Methods of a table have the same passes through the "
        "data. Rules: `benchmarks/transfer_plan.py`."
    )
    for name, rows in tables.items():
        shown = SHOWN[name]
        for task in dict.fromkeys(row["task"] for row in rows):
            own = [row for row in rows if row["task"] == task]
            yield f"\n## {shown.title}: {task}, split by {own[0]['split']}\n"
            yield f"{shown.text} Chips: {max(int(row['chips']) for row in own):,}. Passes: {own[0]['passes']}."
            for statistics in shown.parts:
                yield ""
                yield from matrix(own, statistics)
            yield from differences(own, shown.pairs)


def matrix(rows: Sequence[Row], statistics: Sequence[str]) -> Iterator[str]:
    """A line a level and method, a column a condition and statistic; the network on no chip in front."""
    alone = {row["condition"] for row in rows} - {row["condition"] for row in rows if row["chips"] != "1"}
    conditions = [c for c in dict.fromkeys(row["condition"] for row in rows) if c != NOMINAL]
    columns = [(c, s) for c in conditions for s in statistics if c not in alone or s == "mean"]
    levels = list(dict.fromkeys(row["level"] for row in rows if row["condition"] != NOMINAL))
    yield "| level | method | seeds | nominal | " + " | ".join(f"{c}, {HEADERS[s]}" for c, s in columns) + " |"
    yield "|---" * (4 + len(columns)) + "|"
    for level in levels:
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [row for row in rows if row["method"] == method]
            still = values(own, NOMINAL, "0", "mean")
            each = (over_seeds(list(values(own, c, level, s).values())) for c, s in columns)
            yield f"| {level} | {method} | {len(still)} | {over_seeds(list(still.values()))} | {' | '.join(each)} |"


def differences(rows: Sequence[Row], pairs: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Each method minus its rival, under every condition or one: means over chips, paired by training seed."""
    lines = []
    for name, rival, only in pairs:
        for condition, level in dict.fromkeys((row["condition"], row["level"]) for row in rows):
            if only not in ("", condition):
                continue
            one, other = (
                values([row for row in rows if row["method"] == m], condition, level, "mean") for m in (rival, name)
            )
            seeds = sorted(one.keys() & other.keys())
            if seeds:
                change = over_seeds([other[s] - one[s] for s in seeds], sign="+")
                lines.append(f"| {name} - {rival} | {condition} {level} | {change} | {len(seeds)} |")
    if lines:
        yield "\nDifferences in points, paired by training seed:\n"
        yield "| method - rival | condition | difference | seeds |\n|---|---|---|---|"
        yield from lines


def values(rows: Sequence[Row], condition: str, level: str, statistic: str) -> dict[str, float]:
    """A statistic over chips by training seed; where it is not resolved, NaN."""
    found = [row for row in rows if (row["condition"], row["level"]) == (condition, level)]
    return {row["seed"]: float(row[statistic] or "nan") for row in found}


def over_seeds(each: Sequence[float], sign: str = "") -> str:
    """Mean over training seeds in % with the half-width of its 95 % t interval; the mean alone of one seed."""
    known = [value for value in each if not math.isnan(value)]
    if not known:
        return ""
    d = paired_difference(np.zeros(len(known)), known, pairing="training seed")
    half = (d.high - d.low) / 2
    return f"{100 * d.mean:{sign}.1f}" + (f" ± {100 * half:.1f}" if math.isfinite(half) else "")
