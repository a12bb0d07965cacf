"""Cells of a benchmark: one training and its chips each, done once, by any of several processes, kept in CSV files.

A cell is one network, trained in one way with one seed on one task. Its rows enter a CSV file together, and a cell
whose rows are there is never run again: the committed CSV files are the state of a benchmark that takes many sessions.
A process claims a cell by the lock of a file, which goes with the process. The trainer's run files in a scratch folder
let an interrupted cell go on; without them it starts anew, to the same bits.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from configuration import Configuration

from snnrobust.errors import RunFileError, SnnRobustError
from snnrobust.storage.files import replace_file
from snnrobust.storage.lock import open_locked

Row: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Cell:
    """One training and its chips.

    Attributes:
        task: Name of the task.
        split: What is apart in the task's split: beats, patients, speakers.
        method: Name of the method.
        configuration: The method's network and training.
        passes: Passes through the training data that it may spend.
        seed: Seed of the initial weights, of the order of samples and of the training's noise.
    """

    task: str
    split: str
    method: str
    configuration: Configuration
    passes: int
    seed: int

    @property
    def values(self) -> Row:
        """What names this cell in a CSV file."""
        return {
            "task": self.task,
            "split": self.split,
            "method": self.method,
            "configuration": str(self.configuration),
            "passes": str(self.configuration.spent(self.passes)),
            "epochs": str(self.configuration.epochs(self.passes)),
            "seed": str(self.seed),
        }

    @property
    def file(self) -> str:
        """Beginning of the names of its files in the scratch folder."""
        text = f"{self.configuration}, {self.passes} passes"
        return f"{self.task}-{self.method}-{hashlib.sha256(text.encode()).hexdigest()[:12]}-seed{self.seed}"


class Results:
    """A CSV file of cells.

    Args:
        path: The file; it need not exist.
        columns: Names of its columns.
        key: Columns that name a cell.
    """

    def __init__(self, path: Path, columns: Sequence[str], key: Sequence[str]) -> None:
        self.path, self.columns, self.key = path, tuple(columns), tuple(key)

    def key_of(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """What names a row's cell."""
        return tuple(values[name] for name in self.key)

    def rows(self) -> list[Row]:
        """All rows, as text.

        Raises:
            RunFileError: If the file has other columns.
        """
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != self.columns:
                raise RunFileError(f"{self.path}: columns {reader.fieldnames} must be {', '.join(self.columns)}")
            return list(reader)

    def done(self) -> set[tuple[str, ...]]:
        """Keys of the cells that are in the file."""
        return {self.key_of(row) for row in self.rows()}

    def add(self, rows: Sequence[Row]) -> None:
        """Put a cell's rows into the file, whole or not at all, in the place of any that it has there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(self.path.with_name(f".{self.path.name}.lock")):
            new = {self.key_of(row) for row in rows}
            kept = [row for row in self.rows() if self.key_of(row) not in new]
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*kept, *rows])
            replace_file(self.path, text.getvalue().encode())


def work(
    cells: Iterable[Cell], results: Results, folder: Path, run: Callable[[Cell], None], *, until: float | None = None
) -> int:
    """Run the cells that are neither done nor claimed by another process, one after the other.

    Args:
        cells: The cells, most telling first.
        results: The file that says which are done; `run` puts a cell into it.
        folder: Scratch folder for claims.
        run: Runs one cell. One that fails is reported and left open.
        until: No cell is started after this time of `time.monotonic`; None for no end.

    Returns:
        The number of cells that were run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, ran = results.done(), 0
    for cell in cells:
        key = results.key_of(cell.values)
        if key in done:
            continue
        if until is not None and time.monotonic() > until:
            break
        with claimed(folder / f"{cell.file}.claim") as mine:
            if not mine or key in results.done():
                continue
            print(f"{time.strftime('%H:%M:%S')} {', '.join(key)}", flush=True)
            started = time.monotonic()
            try:
                run(cell)
            except SnnRobustError as error:
                print(f"{time.strftime('%H:%M:%S')} failed: {error}", flush=True)
                continue
            ran += 1
            print(f"{time.strftime('%H:%M:%S')} done in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    return ran


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone holds a claim; it ends with the block, or with the process."""
    try:
        handle = open_locked(path)
    except RunFileError:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for the lock of a file that stays."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
