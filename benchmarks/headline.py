r"""Headline benchmark: the paper's methods and this project's own, compute-matched, on fresh chips.

    python benchmarks/headline.py --plan               what it will cost, and what is done
    python benchmarks/headline.py --minutes 170        the next cells; run one process a core
    python benchmarks/headline.py --phase report       results/headline.md and results/headline.png
    python benchmarks/headline.py --quick              all of it in about a minute, tiny, in build/headline_quick

Rules and budget are in `headline_plan.py`. Phases: "tune" trains the trials and tests them on validation data and
validation chips (results/headline_validation.csv); "choose" takes the best trial of each method whose trials are all
done (results/headline_choices.json), once; "test" trains the chosen configurations with other seeds and tests them on
test data and test chips (results/headline.csv, one row a chip; without mismatch all chips are the same, one row).
Every phase goes on where it was; "all" is tune, choose and test in turn.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import headline_plan as plan
import torch
from cells import Cell, Results, Row, work
from configuration import Trained, chip_accuracies, group_accuracies, trained
from headline_report import report

from snnrobust.compiled import set_threads
from snnrobust.errors import SnnRobustError
from snnrobust.storage.files import replace_file
from snnrobust.tasks import Task

HERE = Path(__file__).parent
QUICK = HERE.parent / "build" / "headline_quick"
PHASES = ("all", "tune", "choose", "test", "report")
KEY = ("task", "method", "passes", "seed")
TRIAL = ("task", "split", "method", "configuration", "passes", "epochs", "seed", "level", "accuracy", "seconds")
TESTED = ("task", "split", "method", "passes", "seed", "chip", "level", "accuracy")
GROUPED = ("task", "split", "method", "passes", "seed", "level", "group", "samples", "accuracy")
GROUP_LEVEL = 0.5


@dataclass(frozen=True)
class Headline:
    """One run of the benchmark: its size, and where its files are.

    Attributes:
        settings: Tasks.
        results: Folder of the results.
        scratch: Folder of run files and claims.
        trials: Most trials of a method; None for all.
        seeds: Seeds of the tested networks.
        validation_chips: Chips on which trials are compared.
        test_chips: Chips on which the chosen are tested.
    """

    settings: Sequence[plan.Setting]
    results: Path
    scratch: Path
    trials: int | None = None
    seeds: Sequence[int] = plan.SEEDS
    validation_chips: int = plan.VALIDATION_CHIPS
    test_chips: int = plan.TEST_CHIPS
    loaded: dict[str, Task] = field(default_factory=dict, repr=False)

    @property
    def validation(self) -> Results:
        """Trials: a row a level, the mean over validation chips."""
        return Results(self.results / "headline_validation.csv", TRIAL, (*KEY, "configuration"))

    @property
    def tested(self) -> Results:
        """Chosen configurations: a row a test chip and level."""
        return Results(self.results / "headline.csv", TESTED, KEY)

    @property
    def grouped(self) -> Results:
        """Chosen configurations: a row a group of test samples, the mean over test chips at one level."""
        return Results(self.results / "headline_groups.csv", GROUPED, KEY)

    @property
    def choices(self) -> Path:
        """What was chosen, by task and method."""
        return self.results / "headline_choices.json"

    def setting(self, name: str) -> plan.Setting:
        """The setting of a task."""
        return next(setting for setting in self.settings if setting.task == name)

    def task(self, name: str) -> Task:
        """A task, loaded once."""
        if name not in self.loaded:
            self.loaded[name] = self.setting(name).load()
        return self.loaded[name]

    def tuning(self) -> list[Cell]:
        """All trials, in order."""
        return [cell for setting in self.settings for cell in plan.tuning(setting, self.trials)]

    def testing(self) -> list[Cell]:
        """All tests whose configuration is chosen: the first seed on every task before the second."""
        trials = {str(c): c for method in plan.METHODS.values() for c in method.trials}
        made = self.chosen()
        cells: list[Cell] = []
        for setting in self.settings:
            chosen = {m: trials[one["configuration"]] for m, one in made.get(setting.choices_of, {}).items()}
            cells += plan.testing(setting, chosen, self.seeds)
        return sorted(cells, key=lambda cell: cell.seed)

    def chosen(self) -> dict[str, dict[str, Any]]:
        """What was chosen so far, by task and method."""
        return dict(json.loads(self.choices.read_text())) if self.choices.exists() else {}

    def choose(self) -> None:
        """Choose for every method whose trials are all done; what is chosen stays."""
        rows, made, before = self.validation.rows(), self.chosen(), self.chosen()
        for setting in self.settings:
            for method in plan.METHODS:
                cells = [c for c in plan.tuning(setting, self.trials) if c.method == method]
                best = choice(scores_of(cells, rows, self.validation), len(cells))
                if best is not None and method not in made.get(setting.task, {}):
                    made.setdefault(setting.task, {})[method] = best
                    print(f"chosen for {method} on {setting.task}: {best['configuration']}", flush=True)
        if made != before:
            replace_file(self.choices, (json.dumps(made, indent=2) + "\n").encode())

    def network(self, cell: Cell, task: Task) -> Trained:
        """The trained network of a cell."""
        runs = self.scratch / cell.file
        return trained(cell.configuration, task, runs, passes=cell.passes, seed=cell.seed)

    def trial(self, cell: Cell) -> None:
        """Train a trial and test it on validation chips."""
        task = self.task(cell.task)
        net, seconds = self.network(cell, task)
        found = chip_accuracies(net, task, plan.LEVELS, chips=self.validation_chips, purpose="validation")
        extra = {"seconds": f"{seconds:.0f}"}
        rows = [{"level": f"{level:g}", "accuracy": f"{each.mean():.4f}", **extra} for level, each in found.items()]
        self.validation.add([_only(TRIAL, {**cell.values, **row}) for row in rows])

    def test(self, cell: Cell) -> None:
        """Train a chosen configuration and test it on test chips."""
        task = self.task(cell.task)
        net, _ = self.network(cell, task)
        if self.setting(cell.task).groups:
            groups = group_accuracies(net, task, GROUP_LEVEL, chips=self.test_chips)
            self.grouped.add(
                [
                    _only(GROUPED, {**cell.values, "level": f"{GROUP_LEVEL:g}", "group": name, **row})
                    for name, row in groups.items()
                ]
            )
        found = chip_accuracies(net, task, plan.LEVELS, chips=self.test_chips, purpose="test")
        self.tested.add(
            [
                _only(TESTED, {**cell.values, "chip": str(k), "level": f"{level:g}", "accuracy": f"{a:.4f}"})
                for level, each in found.items()
                for k, a in enumerate(each)
            ]
        )

    def run(self, phase: str, minutes: float | None) -> None:
        """One phase, or all in turn as long as there is something to do."""
        until = None if minutes is None else time.monotonic() + 60 * minutes
        while True:
            ran = 0
            if phase in ("all", "tune"):
                ran += work(self.tuning(), self.validation, self.scratch, self.trial, until=until)
            if phase in ("all", "choose"):
                self.choose()
            if phase in ("all", "test"):
                ran += work(self.testing(), self.tested, self.scratch, self.test, until=until)
            if phase != "all" or not ran:
                return

    def status(self) -> list[str]:
        """What is done, as lines."""
        trials, done = self.tuning(), self.validation.done()
        tests, tested = self.testing(), self.tested.done()
        return [
            f"trials done: {sum(self.validation.key_of(c.values) in done for c in trials)} of {len(trials)}",
            f"tests done: {sum(self.tested.key_of(c.values) in tested for c in tests)} of {len(tests)} chosen so far",
        ]


def scores_of(cells: Sequence[Cell], rows: Sequence[Row], results: Results) -> dict[str, float]:
    """Mean validation accuracy over levels above 0 of the trials that are done, by configuration."""
    scores = {}
    for cell in cells:
        key = results.key_of(cell.values)
        own = [float(row["accuracy"]) for row in rows if results.key_of(row) == key and float(row["level"]) > 0]
        if own:
            scores[str(cell.configuration)] = round(fmean(own), 6)
    return scores


def choice(scores: Mapping[str, float], trials: int) -> dict[str, Any] | None:
    """The best configuration with all scores, the first of equals; None until all trials are done."""
    if not trials or len(scores) < trials:
        return None
    return {"configuration": max(scores, key=lambda text: scores[text]), "scores": dict(scores)}


def _only(columns: Sequence[str], row: Mapping[str, str]) -> Row:
    return {name: row[name] for name in columns}


def quick(folder: Path) -> Headline:
    """Tiny: the shipped task, two trials a method, two seeds, few chips."""
    setting = plan.Setting("vowels", "utterances", {"paper": 10, "wide": 10}, 0.7, "vowels")
    return Headline([setting], folder, folder / "scratch", 2, (1, 2), 2, 3)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", choices=PHASES, default="all")
    parser.add_argument("--plan", action="store_true", help="print the budget and what is done, run nothing")
    parser.add_argument("--task", choices=[setting.task for setting in plan.SETTINGS], help="this task alone")
    parser.add_argument("--minutes", type=float, help="start no cell after this time")
    parser.add_argument("--scratch", type=Path, default=HERE.parent / "headline_runs")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    set_threads(1)
    settings = [setting for setting in plan.SETTINGS if arguments.task in (None, setting.task)]
    headline = Headline(settings, HERE / "results", arguments.scratch)
    if arguments.quick:
        shutil.rmtree(QUICK, ignore_errors=True)
        headline = quick(QUICK)
    if arguments.plan:
        print("\n".join([*plan.budget(settings), *headline.status()]))
        return
    if arguments.phase != "report":
        headline.run(arguments.phase, arguments.minutes)
    if arguments.quick or arguments.phase == "report":
        report(headline.results, headline.settings)


if __name__ == "__main__":
    try:
        main()
    except SnnRobustError as error:
        raise SystemExit(f"error: {error}") from None
