"""Finished blocks of an experiment whose run file is written at its end: a kill loses none of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.evaluation.results import remove_run
from snnrobust.storage import Group, Journal, journal_path, read_journal, write_run
from snnrobust.training.record import check_label


class Kept:
    """Finished blocks, in a journal beside the run file; a context.

    Args:
        path: The run file; None keeps nothing.
        config: Everything that defines the experiment.
        names: Names of the networks, which have to be those of groups in a run file.
        overwrite: Replace a run file of another experiment.

    Attributes:
        found: Arrays of each finished block, by its name.

    Raises:
        ConfigError: If no group in a run file can have a network's name.
        RunFileError: If the journal is another experiment's, or another process writes it.
    """

    def __init__(self, path: Path | None, config: Mapping[str, Any], names: Iterable[str], overwrite: bool) -> None:
        self.path, self.config = path, json.dumps(dict(config), sort_keys=True)
        self.found: dict[str, dict[str, NDArray[Any]]] = {}
        self.journal: Journal | None = None
        if path is None:
            return
        for name in names:
            check_label(name)
        if overwrite:
            remove_run(path)
        key = hashlib.sha256(self.config.encode()).hexdigest()
        self.journal = Journal(journal_path(path), key)
        self.found = read_journal(journal_path(path), key=key)

    def add(self, unit: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a finished block."""
        self.found[unit] = {name: np.asarray(values) for name, values in arrays.items()}
        if self.journal is not None:
            self.journal.append(unit, arrays)

    def finish(self, kind: str, items: Mapping[str, Group]) -> None:
        """Write the run file, of this kind and with these groups, and drop the journal."""
        if self.path is not None and self.journal is not None:
            write_run(self.path, Group(items, {"kind": kind, "config": self.config}))
            self.journal.close(remove=True)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        if self.journal is not None:
            self.journal.close()
