r"""Survey, descriptive: every objective with its default choices on every task, few samples, few epochs, few seeds.

    python benchmarks/survey.py --plan                 what it will cost, and what is done
    python benchmarks/survey.py --minutes 170          the next cells; run one process a core
    python benchmarks/survey.py --report               results/survey.md
    python benchmarks/survey.py --quick                a minute, tiny, in build/survey_quick

A network of 64 LIF neurons, 30 epochs (and as many for a teacher), at most 2,000 training and 1,000 test samples of a
task, 2 seeds, 50 test chips. Nothing is tuned and nothing is compute-matched: the column passes says what a method
costs, and `headline.py` compares fairly. results/survey.csv has a row a training and level; what is there is not run
again.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from cells import Cell, Results, Row, work
from configuration import Configuration, Net, Stage, chip_accuracies, thinned, trained

from snnrobust.compiled import set_threads
from snnrobust.errors import SnnRobustError
from snnrobust.tasks import Task, list_tasks, load_task
from snnrobust.training import NAMED, OBJECTIVES, Adversarial, Distillation, ForwardNoise, Standard
from snnrobust.training.objectives import Choices

HERE = Path(__file__).parent
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
SPLITS = {
    "ecg4": "beats",
    "keywords": "speakers",
    "vowels": "utterances",
    "ecg4_patients": "patients",
    "digits": "recordings",
    "gestures": "subjects",
    "temporal_xor": "generated",
    "ecg6": "time",
    "ecg_nv": "patients",
    "fashion_mnist": "images",
}
"""The tasks, most telling first, and what is apart in their splits."""
FOUR: dict[str, Choices] = {
    "standard": Standard(),
    "forward_noise": ForwardNoise(),
    "adversarial": Adversarial(),
    "adversarial_as_published": NAMED["adversarial_as_published"],
}
FEW = {"fashion_mnist": FOUR}
"""Tasks with few methods."""
KEY = ("task", "method", "passes", "seed")
NUMBERS = ("mean", "std", "minimum", "quantile05")
COLUMNS = ("task", "split", "method", "passes", "epochs", "seed", "level", *NUMBERS, "seconds")
SECONDS_A_SAMPLE_AND_STEP = 1.2e-6
"""Of one core for a pass at 64 neurons, rough."""


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        tasks: Names of the tasks.
        neurons: Hidden neurons.
        epochs: Epochs of every training.
        seeds: Seeds.
        chips: Test chips.
        train: Most training samples.
        test: Most test samples.
    """

    tasks: Sequence[str] = tuple(SPLITS)
    neurons: int = 64
    epochs: int = 30
    seeds: Sequence[int] = (1, 2)
    chips: int = 50
    train: int = 2000
    test: int = 1000


@dataclass(frozen=True)
class Survey:
    """One run of the survey.

    Attributes:
        size: How much of everything.
        results: The CSV file.
        scratch: Folder of run files and claims.
        loaded: Tasks that were needed so far.
    """

    size: Size
    results: Results
    scratch: Path
    loaded: dict[str, Task] = field(default_factory=dict, repr=False)

    def cells(self) -> Iterator[Cell]:
        """All cells of tasks that are here: the first seed of every task before the second of any."""
        here = {listing.name for listing in list_tasks() if listing.available}
        for seed in self.size.seeds:
            for task in self.size.tasks:
                for name, stages in methods(task).items() if task in here else ():
                    passes = self.size.epochs * sum(stage.objective.passes for stage in stages)
                    configuration = Configuration(Net(neurons=self.size.neurons), shares(stages))
                    yield Cell(task, SPLITS[task], name, configuration, passes, seed)

    def task(self, name: str) -> Task:
        """A task, loaded once."""
        if name not in self.loaded:
            self.loaded[name] = thinned(load_task(name), train=self.size.train, test=self.size.test)
        return self.loaded[name]

    def run(self, cell: Cell) -> None:
        """Train, test on chips, and enter a row a level."""
        task = self.task(cell.task)
        net, seconds = trained(cell.configuration, task, self.scratch / cell.file, passes=cell.passes, seed=cell.seed)
        found = chip_accuracies(net, task, LEVELS, chips=self.size.chips, purpose="test")
        rows = []
        for level, each in found.items():
            numbers = (each.mean(), each.std(ddof=1) if len(each) > 1 else 0.0, each.min(), np.quantile(each, 0.05))
            named = dict(zip(NUMBERS, (f"{v:.4f}" for v in numbers), strict=True))
            row = {**cell.values, "level": f"{level:g}", "seconds": f"{seconds:.0f}", **named}
            rows.append({name: row[name] for name in COLUMNS})
        self.results.add(rows)

    def plan(self) -> Iterator[str]:
        """Expected hours of one core by task, and what is done."""
        cells, done = list(self.cells()), self.results.done()
        total = 0.0
        for task in dict.fromkeys(cell.task for cell in cells):
            own, data = [cell for cell in cells if cell.task == task], self.task(task)
            chips = self.size.chips * sum(level > 0 for level in LEVELS) + 1
            samples = sum(cell.passes * len(data.train) + chips * len(data.test) / 3 for cell in own)
            hours = samples * data.steps * SECONDS_A_SAMPLE_AND_STEP / 3600
            total += hours
            finished = sum(self.results.key_of(cell.values) in done for cell in own)
            yield f"{task:16} {len(own):3} cells ({finished} done), {hours:.2f} h"
        yield f"in all {len(cells)} cells, {total:.1f} hours of one core"
        yield from (f"{name}: no such task here, or no data; left out" for name in self.absent())

    def absent(self) -> list[str]:
        """Tasks that are left out."""
        here = {cell.task for cell in self.cells()}
        return [name for name in self.size.tasks if name not in here]


def methods(task: str) -> dict[str, tuple[Stage, ...]]:
    """Every objective with its default choices and the paper's, each once, by name."""
    given: dict[str, Choices] = FEW.get(task) or {**{name: cls() for name, cls in OBJECTIVES.items()}, **NAMED}
    found: dict[str, tuple[Stage, ...]] = {}
    for name, objective in given.items():
        if (Stage(objective=objective),) not in found.values():
            # A teacher has to know something: it is the network after standard training.
            first = (Stage(objective=Standard()),) if isinstance(objective, Distillation) else ()
            found[name] = (*first, Stage(objective=objective))
    return found


def shares(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages that have as many epochs each."""
    total = sum(stage.objective.passes for stage in stages)
    return tuple(Stage(objective=stage.objective, share=stage.objective.passes / total) for stage in stages)


def report(rows: Sequence[Row]) -> Iterator[str]:
    """A table a task: mean accuracy over seeds and chips by method and level."""
    yield "# Survey\n\nDescriptive: nothing is tuned or compute-matched. Accuracy in %, mean over seeds and chips."
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        yield f"\n## {task}, split by {own[0]['split']}\n"
        yield "| method | passes an epoch | seeds | " + " | ".join(f"{level:g}" for level in LEVELS) + " |"
        yield "|---" * (3 + len(LEVELS)) + "|"
        for method in dict.fromkeys(row["method"] for row in own):
            yield _line(method, [row for row in own if row["method"] == method])


def _line(method: str, rows: Sequence[Mapping[str, str]]) -> str:
    seeds = {row["seed"] for row in rows}
    means = [np.mean([float(row["mean"]) for row in rows if float(row["level"]) == level]) for level in LEVELS]
    each = int(rows[0]["passes"]) / int(rows[0]["epochs"])
    return f"| {method} | {each:g} | {len(seeds)} | " + " | ".join(f"{100 * mean:.1f}" for mean in means) + " |"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the budget and what is done, run nothing")
    parser.add_argument("--report", action="store_true", help="write the table, run nothing")
    parser.add_argument("--task", choices=list(SPLITS), help="this task alone")
    parser.add_argument("--minutes", type=float, help="start no cell after this time")
    parser.add_argument("--scratch", type=Path, default=HERE.parent / "survey_runs")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    set_threads(1)
    folder, scratch, size = HERE / "results", arguments.scratch, Size()
    if arguments.quick:
        folder = HERE.parent / "build" / "survey_quick"
        shutil.rmtree(folder, ignore_errors=True)
        scratch, size = folder / "scratch", Size(("vowels",), 32, 8, (1,), 5, 200, 100)
    elif arguments.task:
        size = Size((arguments.task,))
    survey = Survey(size, Results(folder / "survey.csv", COLUMNS, KEY), scratch)
    if arguments.plan:
        print("\n".join(survey.plan()))
        return
    if not arguments.report:
        until = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
        for name in survey.absent():
            print(f"{name}: no such task here, or no data; left out")
        work(survey.cells(), survey.results, survey.scratch, survey.run, until=until)
    if arguments.report or arguments.quick:
        text = "\n".join(report(survey.results.rows())) + "\n"
        (folder / "survey.md").write_text(text)
        print(text, end="")


if __name__ == "__main__":
    try:
        main()
    except SnnRobustError as error:
        raise SystemExit(f"error: {error}") from None
