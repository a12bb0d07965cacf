"""The table and the figure of the headline benchmark, from its CSV files, beside the paper's own numbers."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import headline_plan as plan
import matplotlib
import numpy as np
from numpy.typing import NDArray

from snnrobust.evaluation import chip_yield, compare_methods

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PAPER = Path(__file__).parent / "paper_table1.csv"
PAPER_TASKS = {"ecg4": "ECG", "keywords": "Speech"}
COLOURS = dict(zip(plan.METHODS, ("C0", "C2", "C4", "0.3", "C3", "C1", "C9", "C7"), strict=True))
RESAMPLES = 4000

Chips = dict[float, dict[int, NDArray[np.float64]]]
"""Accuracies of one method's chips [K] by level and seed."""


def report(results: Path, settings: Sequence[plan.Setting]) -> None:
    """Print the table, and write headline.md and headline.png into the folder of the results."""
    tested = tested_chips(results / "headline.csv")
    lines = [line for setting in settings if setting.task in tested for line in section(setting, tested, results)]
    if not lines:
        print("nothing is tested yet")
        return
    (results / "headline.md").write_text("\n".join(["# Headline results", *lines]) + "\n")
    print("\n".join(lines))
    draw([setting for setting in settings if setting.task in tested], tested, results / "headline.png")


def tested_chips(path: Path) -> dict[str, dict[str, Chips]]:
    """The chips of headline.csv by task and method."""
    found: dict[str, dict[str, dict[float, dict[int, list[float]]]]] = {}
    for row in _rows(path):
        of_method = found.setdefault(row["task"], {}).setdefault(row["method"], {})
        of_method.setdefault(float(row["level"]), {}).setdefault(int(row["seed"]), []).append(float(row["accuracy"]))
    return {
        task: {
            method: {level: {seed: np.array(a) for seed, a in seeds.items()} for level, seeds in levels.items()}
            for method, levels in methods.items()
        }
        for task, methods in found.items()
    }


def section(setting: plan.Setting, tested: dict[str, dict[str, Chips]], results: Path) -> Iterator[str]:
    """The lines of one task."""
    methods = {name: tested[setting.task][name] for name in plan.METHODS if name in tested[setting.task]}
    spent = {row["method"]: row["passes"] for row in _rows(results / "headline.csv") if row["task"] == setting.task}
    spec = setting.specification
    yield f"\n## {setting.task}, split by {setting.split}\n"
    yield (
        f"Accuracy in % over all networks and test chips: mean, std, minimum (of n), 5 % quantile; yield: chips at "
        f"{spec:.0%} or more, with the 95 % Clopper-Pearson interval over chips of these networks.\n"
    )
    if paper_rows(setting.task, 0.0):
        yield "The paper: 256 adaptive neurons, two networks x 100 draws, not one of these data sets; a guide only.\n"
    yield "| method | passes | level | mean | std | min (of n) | 5 % | yield |"
    yield "|---|---|---|---|---|---|---|---|"
    for level in plan.LEVELS:
        for name, chips in methods.items():
            pooled = np.concatenate(list(chips[level].values()))
            good = chip_yield(pooled, spec)
            spread = 100 * pooled.std(ddof=1) if len(pooled) > 1 else 0.0
            yield (
                f"| {name} | {spent[name]} | {level:g} | {100 * pooled.mean():.2f} | {spread:.2f} "
                f"| {100 * pooled.min():.2f} ({len(pooled)}) | {100 * np.quantile(pooled, 0.05):.2f} "
                f"| {good.share:.1%} ({good.low:.1%} to {good.high:.1%}) |"
            )
        for row in paper_rows(setting.task, level):
            yield (
                f"| *paper: {row['method']}* | | {level:g} | {float(row['mean']):.2f} | {float(row['std']):.2f} "
                f"| {float(row['min']):.2f} (200) | | |"
            )
    yield from comparisons(methods)
    yield from choices(setting, results)
    if setting.groups:
        yield from grouped(setting, results / "headline_groups.csv")


def choices(setting: plan.Setting, results: Path) -> Iterator[str]:
    """Every trial with its cost, as it was chosen from."""
    trials = [row for row in _rows(results / "headline_validation.csv") if row["task"] == setting.choices_of]
    yield f"\nTrials on validation data and chips of {setting.choices_of}, mean accuracy over levels .1 to .7:\n"
    yield "| method | configuration | passes | epochs | seconds (wall, on a busy machine) | mean | level 0 |"
    yield "|---|---|---|---|---|---|---|"
    for method in plan.METHODS:
        own: dict[str, list[dict[str, str]]] = {}
        for row in trials:
            if row["method"] == method:
                own.setdefault(row["configuration"], []).append(row)
        for configuration, rows in own.items():
            nominal = [float(row["accuracy"]) for row in rows if float(row["level"]) == 0]
            moved = [float(row["accuracy"]) for row in rows if float(row["level"]) > 0]
            cost = " | ".join(rows[0][name] for name in ("passes", "epochs", "seconds"))
            yield f"| {method} | {configuration} | {cost} | {100 * np.mean(moved):.2f} | {100 * nominal[0]:.2f} |"


def comparisons(methods: dict[str, Chips]) -> Iterator[str]:
    """Each method minus its rivals, paired by training seed."""
    yield "\nDifferences in points, paired over training seeds (mean over the chips of each), 95 % t interval:\n"
    yield "| method - rival | level | difference | interval | p | seeds |"
    yield "|---|---|---|---|---|---|"
    pairs = [(name, rival) for name in methods for rival in plan.METHODS[name].rivals if rival in methods]
    for (name, rival), level in itertools.product(pairs, plan.LEVELS):
        one, other = methods[rival][level], methods[name][level]
        seeds = sorted(one.keys() & other.keys())
        if seeds:
            d = compare_methods([one[s].mean() for s in seeds], [other[s].mean() for s in seeds])
            tested = d.test == "paired t"
            interval = f"{100 * d.low:+.2f} to {100 * d.high:+.2f} | {d.p_value:.2g}" if tested else f"{d.test} |"
            yield f"| {name} - {rival} | {level:g} | {100 * d.mean:+.2f} | {interval} | {d.pairs} |"


def grouped(setting: plan.Setting, path: Path) -> Iterator[str]:
    """Differences with both training seeds and groups of test samples resampled."""
    table: dict[str, dict[int, dict[str, tuple[float, float]]]] = {}
    for row in _rows(path):
        if row["task"] == setting.task:
            own = table.setdefault(row["method"], {}).setdefault(int(row["seed"]), {})
            own[row["group"]] = (float(row["samples"]), float(row["accuracy"]))
    yield f"\nAt level 0.5, training seeds and {setting.split} resampled ({RESAMPLES} times), 95 % interval:\n"
    pairs = [(name, rival) for name in table for rival in plan.METHODS[name].rivals if rival in table]
    for name, rival in pairs:
        common = sorted(table[name].keys() & table[rival].keys())
        if len(common) > 1:
            low, middle, high = clustered([table[name][s] for s in common], [table[rival][s] for s in common])
            interval = f"{100 * low:+.2f} to {100 * high:+.2f}"
            yield f"- {name} - {rival}: {100 * middle:+.2f} ({interval}), {len(common)} seeds"


def clustered(
    one: Sequence[dict[str, tuple[float, float]]], other: Sequence[dict[str, tuple[float, float]]]
) -> tuple[float, float, float]:
    """Difference of accuracies with its 95 % bootstrap interval over seeds and groups: low, difference, high."""
    names = sorted(one[0])
    size = np.array([one[0][name][0] for name in names])
    d = np.array([[a[n][1] - b[n][1] for n in names] for a, b in zip(one, other, strict=True)])  # [seed, group]
    rng = np.random.default_rng(0)
    seeds = rng.multinomial(len(d), np.full(len(d), 1 / len(d)), RESAMPLES) / len(d)
    groups = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES) * size
    drawn = np.einsum("rs,sg,rg->r", seeds, d, groups) / groups.sum(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float((d.mean(0) * size).sum() / size.sum()), float(high)


def paper_rows(task: str, level: float) -> list[dict[str, str]]:
    """The paper's numbers for a task at a level, in percent; none where it has no such task."""
    wanted = PAPER_TASKS.get(task)
    return [row for row in _rows(PAPER) if row["task"] == wanted and float(row["level"]) == level]


def draw(settings: Sequence[plan.Setting], tested: dict[str, dict[str, Chips]], path: Path) -> None:
    """A panel a task: mean over chips against level, the 5 % quantile thin, the paper's means dashed."""
    figure, panels = plt.subplots(1, len(settings), figsize=(5 * len(settings), 4.2), squeeze=False)
    for panel, setting in zip(panels[0], settings, strict=True):
        for name, chips in tested[setting.task].items():
            pooled = [np.concatenate(list(chips[level].values())) for level in plan.LEVELS]
            colour = COLOURS[name]
            panel.plot(plan.LEVELS, [100 * a.mean() for a in pooled], "o-", color=colour, ms=3, label=name)
            panel.plot(plan.LEVELS, [100 * np.quantile(a, 0.05) for a in pooled], color=colour, lw=0.6)
        for style, method in zip((":", "--", "-.", (0, (1, 3))), _paper_methods(setting.task), strict=False):
            means = [
                float(r["mean"]) for lv in plan.LEVELS for r in paper_rows(setting.task, lv) if r["method"] == method
            ]
            panel.plot(plan.LEVELS, means, color="0.6", ls=style, lw=1, label=f"paper: {method}")
        panel.set_title(f"{setting.task}, split by {setting.split}", fontsize="medium")
        panel.set_xlabel("relative mismatch of weights and biases")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="xx-small", loc="lower left")
    panels[0][0].set_ylabel("accuracy of test chips in %: mean, and 5 % quantile (thin)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _paper_methods(task: str) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in paper_rows(task, 0.0)))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
