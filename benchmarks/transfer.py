r"""Transfer: to mismatch of other parameters, to chips of other profiles, to attacked devices, to the weakest of many.

    python benchmarks/transfer.py --plan               what it will cost, and what is done
    python benchmarks/transfer.py --minutes 170        the next cells; run one process a core
    python benchmarks/transfer.py --report             results/transfer.md
    python benchmarks/transfer.py --quick              all of it in about a minute, tiny, in build/transfer_quick

Tables, each a file results/transfer_<table>.csv with a row a network and condition:

    roles       mismatch of weights, of time constants and thresholds, of all; trained for weights only and for all
    profiles    trained for one profile, deployed on another
    attacks     devices that an attack finds, beside Gaussian mismatch and random vertices of the same size
    first_bar   the headline's own networks on 1,000 fresh chips of dynapse1, with mismatch only; once they are there
    fitted      networks that fit on dynapse1 and dynapse2, on 1,000 fresh chips with all that these profiles state

Rules and budget are in `transfer_plan.py`. A network that is in a file is not trained or measured again.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import transfer_plan as plan
from cells import Cell, Results, work
from configuration import Net, trained
from transfer_measures import Size
from transfer_report import report

from snnrobust.compiled import set_threads
from snnrobust.errors import SnnRobustError
from snnrobust.tasks import Task, list_tasks

HERE = Path(__file__).parent
QUICK = HERE.parent / "build" / "transfer_quick"
KEY = ("task", "method", "configuration", "passes", "seed")
NUMBERS = ("mean", "std", "minimum", "quantile05", "yield90", "bound01")
COLUMNS = (
    "task",
    "split",
    "method",
    "configuration",
    "passes",
    "epochs",
    "seed",
    "condition",
    "level",
    "chips",
    *NUMBERS,
)


@dataclass(frozen=True)
class Transfer:
    """One run of the benchmark: its size, and where its files are.

    Attributes:
        tables: Tables, most telling first.
        results: Folder of the CSV files.
        scratch: Folder of the folders of run files and claims.
        size: How much of everything is measured.
        seeds: Seeds of the trainings.
        task: This task alone; None for all.
        loaded: Tasks that were needed so far.
    """

    tables: Sequence[plan.Table]
    results: Path
    scratch: Path
    size: Size = Size()  # noqa: RUF009 (frozen)
    seeds: Sequence[int] = plan.SEEDS
    task: str | None = None
    loaded: dict[str, Task] = field(default_factory=dict, repr=False)

    def file(self, table: plan.Table) -> Results:
        """The CSV file of a table."""
        return Results(self.results / f"transfer_{table.name}.csv", COLUMNS, KEY)

    def cells(self, table: plan.Table, seeds: Sequence[int] | None = None) -> Iterator[Cell]:
        """A table's networks on tasks whose data is here."""
        here = {listing.name for listing in list_tasks() if listing.available}
        wanted = here if self.task is None else here & {self.task}
        return (cell for cell in table.cells(seeds or self.seeds) if cell.task in wanted)

    def data(self, setting: plan.Setting) -> Task:
        """A task, loaded once."""
        name = f"{setting.task} {setting.most} {setting.encoding}"
        if name not in self.loaded:
            self.loaded[name] = setting.load()
        return self.loaded[name]

    def network(self, table: plan.Table, cell: Cell) -> None:
        """Train a network, or read it from its run file, measure it, and enter a row a condition."""
        task, runs = self.data(table.setting(cell.task)), self.scratch / table.runs / cell.file
        net, _ = trained(cell.configuration, task, runs, passes=cell.passes, seed=cell.seed)
        found = table.measure(net, task, self.size)
        rows = [{**cell.values, **measured.row(plan.SPECIFICATION)} for measured in found]
        self.file(table).add([{name: row[name] for name in COLUMNS} for row in rows])

    def run(self, minutes: float | None) -> None:
        """All networks that are left: the first seed of every table before the second of any."""
        until = None if minutes is None else time.monotonic() + 60 * minutes
        ran = 1
        while ran:  # what another process had claimed may be a network of the next table
            ran = 0
            for seed in self.seeds:
                for table in self.tables:
                    one = functools.partial(self.network, table)
                    folder = self.scratch / table.runs
                    ran += work(self.cells(table, [seed]), self.file(table), folder, one, until=until)

    def status(self) -> Iterator[str]:
        """What is done, and what waits, as lines."""
        for table in self.tables:
            cells, done = list(self.cells(table)), self.file(table).done()
            finished = sum(self.file(table).key_of(cell.values) in done for cell in cells)
            reason = "headline.py to choose and test its networks" if isinstance(table, plan.OfHeadline) else "its data"
            waits = "" if cells else f"waits for {reason}"
            yield f"{table.name:10} done: {finished} of {len(cells)}; {waits}".rstrip("; ")


def quick(folder: Path) -> Transfer:
    """Tiny: the shipped task, few passes and chips, no networks of the headline."""

    def tiny(table: plan.Table) -> plan.Table:
        setting = replace(table.settings[0], task="vowels", split="utterances", passes=5, most=100, few=100)
        return replace(table, settings=(setting,), net=Net(neurons=24, tau_mem=(3.0, 60.0)))

    tables = [tiny(table) for table in plan.TABLES if not isinstance(table, plan.OfHeadline)]
    size = Size(chips=4, many=300, levels=(0.2, 0.5), steps=2, restarts=2, samples=30)
    return Transfer(tables, folder, folder / "scratch", size, (1, 2))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the budget and what is done, run nothing")
    parser.add_argument("--report", action="store_true", help="write the tables, run nothing")
    parser.add_argument("--table", choices=[table.name for table in plan.TABLES], help="this table alone")
    parser.add_argument("--task", choices=[setting.task for setting in plan.SETTINGS], help="this task alone")
    parser.add_argument("--minutes", type=float, help="start no network after this time")
    parser.add_argument("--scratch", type=Path, default=HERE.parent, help="where the folders of run files are")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    set_threads(1)
    tables = [table for table in plan.TABLES if arguments.table in (None, table.name)]
    transfer = Transfer(tables, HERE / "results", arguments.scratch, task=arguments.task)
    if arguments.quick:
        shutil.rmtree(QUICK, ignore_errors=True)
        transfer = quick(QUICK)
    if arguments.plan:
        budget = plan.budget([(table, list(transfer.cells(table))) for table in transfer.tables])
        print("\n".join([*budget, *transfer.status()]))
        return
    if not arguments.report:
        transfer.run(arguments.minutes)
    if arguments.report or arguments.quick:
        text = "\n".join(report({table.name: transfer.file(table).rows() for table in transfer.tables})) + "\n"
        (transfer.results / "transfer.md").write_text(text)
        print(text, end="")


if __name__ == "__main__":
    try:
        main()
    except SnnRobustError as error:
        raise SystemExit(f"error: {error}") from None
