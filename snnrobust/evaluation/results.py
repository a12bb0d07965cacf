"""The run file of a benchmark: finished blocks in a journal, folded into the file; the same call goes on from there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from snnrobust.errors import RunFileError
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.module import Module
from snnrobust.hardware.profile import Profile
from snnrobust.snn.network import Network
from snnrobust.storage import (
    Array,
    Group,
    Journal,
    Scalar,
    command_line,
    journal_path,
    open_run,
    read_journal,
    remove_journal,
    write_run,
)
from snnrobust.training.checkpoint import check_config
from snnrobust.training.record import TrainedModel, check_label

SECONDS_BETWEEN_FOLDS = 120.0


class ResultFile:
    """Where a benchmark's results go; a context that folds them into the file when it ends, also by Ctrl-C.

    Args:
        path: The run file; None keeps nothing.
        config: Everything that defines the benchmark.
        nets: Networks by name, stored beside the results.
        profiles: Profiles, stored as text.
        result: The table that is filled; what was done before is filled in at once.
        overwrite: Replace a file of another experiment.

    Raises:
        ConfigError: If no model in a run file can have a network's name.
        RunFileError: If the file holds another experiment, or another process writes it.
    """

    def __init__(
        self,
        path: Path | None,
        config: Mapping[str, Any],
        nets: Mapping[str, Deployable | TrainedModel],
        profiles: list[Profile],
        result: Tolerance,
        *,
        overwrite: bool,
    ) -> None:
        self.path, self.result = path, result
        self.config = json.dumps(dict(config), sort_keys=True)
        self.nets, self.profiles = nets, profiles
        self.journal: Journal | None = None
        self._beside = Group()
        self._folded = time.monotonic()
        if path is None:
            return
        for name in nets:
            check_label(name)
        if overwrite:
            remove_run(path)
        self._resume(path)

    def has(self, model: int, condition: int, block: range) -> bool:
        """Whether these chips were run before."""
        return not np.isnan(self.result.measures["accuracy"][model, condition, block.start : block.stop]).any()

    def add(self, model: int, condition: int, block: range, measures: Mapping[str, NDArray[Any]]) -> None:
        """Keep the measures of a block of chips."""
        place = np.array([model, condition, block.start, block.stop])
        if self.journal is not None:
            self.journal.append("/".join(map(str, place)), {"place": place, **measures})
        self.result.fill(place, measures)
        if time.monotonic() - self._folded > SECONDS_BETWEEN_FOLDS:
            self.fold()

    def fold(self) -> None:
        """Write all results so far into the run file and empty the journal."""
        if self.path is None or self.journal is None:
            return
        write_run(self.path, self._tree())
        self.journal.clear()
        self._folded = time.monotonic()

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.journal is not None:
            self.fold()
            self.journal.close(remove=True)

    def _resume(self, path: Path) -> None:
        """Open the journal, fill in what was done before, and have a run file from the first block on."""
        new = not path.exists()
        if not new:
            self._beside = open_run(path)
            new = self._beside.attrs.get("kind") == "analysis"  # kept before there was a benchmark
        if not new:
            check_config(path, self._beside, "benchmark", json.loads(self.config))
            self.result.resume(Tolerance.from_group(self._beside.group("tolerance")))
        key = key_of(self.config)
        self.journal = Journal(journal_path(path), key)
        for arrays in read_journal(journal_path(path), key=key).values():
            self.result.fill(arrays["place"], arrays)
        if new:  # so that readers find models, conditions and profiles beside the journal
            write_run(path, self._tree())

    def _tree(self) -> Group:
        attrs: dict[str, Scalar] = {
            "kind": "benchmark",
            "config": self.config,
            "engine": "auto",
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
            "command": command_line(),
        }
        models = dict(self._beside.group("models").groups()) if "models" in self._beside else {}
        models |= {
            name: (net if isinstance(net, TrainedModel) else TrainedModel(name, net, {})).to_group()
            for name, net in self.nets.items()
            if isinstance(net, Network | Module | TrainedModel)
        }
        profiles = {
            p.name: Group({"text": Array(np.array(p.to_yaml()))}, {"hash": p.hash, "kind": p.kind})
            for p in self.profiles
        }
        own = {"models": Group(models), "profiles": Group(profiles), "tolerance": self.result.to_group()}
        return Group({**self._beside.items, **own}, attrs)


def key_of(config: str) -> str:
    """What a journal's header says of its experiment."""
    return hashlib.sha256(config.encode()).hexdigest()


def remove_run(path: Path) -> None:
    """Remove a run file and its journal, if they exist."""
    remove_journal(journal_path(path))
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunFileError(f"{path}: cannot be replaced ({error.strerror or error})") from error


def read_tolerance(path: str | Path) -> tuple[Tolerance, Group]:
    """The results of a benchmark's run file, with blocks that are still in its journal, and the whole file.

    Raises:
        RunFileError: If the file is no benchmark's.
    """
    config = open_run(path).attrs.get("config", "")
    # The journal before the file that counts: a block that is folded between the two is seen twice, never missed.
    records = read_journal(journal_path(path), key=key_of(str(config)))
    stored = open_run(path)
    if "tolerance" not in stored:
        raise RunFileError(f"{path}: holds no results of a benchmark (kind: {stored.attrs.get('kind', 'unknown')})")
    result = Tolerance.from_group(stored.group("tolerance"))
    for arrays in records.values():
        result.fill(arrays["place"], arrays)
    return result, stored


def hashes_of(result: Tolerance, stored: Group) -> dict[str, str]:
    """Hash of the profile of each condition, by the condition's name, as far as the run file has it."""
    profiles = dict(stored.group("profiles").groups()) if "profiles" in stored else {}
    hashes = {name: str(group.attrs.get("hash", "")) for name, group in profiles.items()}
    # The name of a condition is that of its profile, and in brackets what a lab did to the chips.
    found = {name: hashes.get(name) or hashes.get(name.partition(" (")[0], "") for name in result.conditions}
    return {name: digest for name, digest in found.items() if digest}
