"""Analyses beside a benchmark in one run file: finished pieces in a journal, the result in the file once it is whole.

An analysis has the group `analyses/KIND/NETWORK on CHIP`, with what defines it in the attribute `config`. The same call
finds it there again; one that was interrupted goes on from its pieces in `RUN.KIND.journal`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, ProfileError, RunFileError, SnnRobustError
from snnrobust.evaluation.montecarlo import identity
from snnrobust.executor import Executor, Threads
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.module import Module
from snnrobust.hardware.profile import Profile
from snnrobust.snn.network import Network
from snnrobust.storage import (
    Group,
    Journal,
    command_line,
    journal_path,
    locked,
    open_run,
    parsed,
    read_journal,
    remove_journal,
    unwritten,
    write_run,
)
from snnrobust.tasks import Split, Task
from snnrobust.training.checkpoint import first_difference
from snnrobust.training.data import data_hash
from snnrobust.training.record import TrainedModel, check_label

U = TypeVar("U")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Piece: TypeAlias = Callable[[str, Callable[[], Arrays]], Arrays]
"""Gives the arrays of a piece of work by its name: those of an earlier run, or those that the work gives now."""
LEVELS = "relative levels"
"""The chip of an analysis without a profile."""


def anew(name: str, work: Callable[[], Arrays]) -> Arrays:
    """A piece that is kept nowhere."""
    return work()


class Kept:
    """One analysis of one network, as a context: its result if the file has it, else the pieces that are finished.

    Args:
        path: The run file, there already or not; None keeps nothing.
        kind: What is analysed, such as "sensitivity".
        label: Name of the network.
        net: The network; stored, where the file has none of that name.
        chip: Name of the profile, or `LEVELS`.
        config: Everything that defines the analysis.
        overwrite: Replace another analysis of this kind, network and chip.

    Attributes:
        stored: The result, where the file has it.

    Raises:
        RunFileError: If the file holds another analysis or another network of that name, or another process writes.
    """

    def __init__(
        self,
        path: Path | None,
        kind: str,
        label: str,
        net: Deployable | TrainedModel,
        chip: str,
        config: Mapping[str, Any],
        *,
        overwrite: bool = False,
    ) -> None:
        check_label(label)
        self.path, self.place = path, f"analyses/{kind}/{label} on {chip}"
        self.model = TrainedModel(label, net, {}) if isinstance(net, Network | Module) else None
        self.model = net if isinstance(net, TrainedModel) else self.model
        self.label, self.config = label, json.loads(json.dumps(dict(config), sort_keys=True))
        self.stored: Group | None = None
        self._journal: Journal | None = None
        self._pieces: dict[str, dict[str, NDArray[Any]]] = {}
        if path is None:
            return
        if path.exists():
            self.stored = self._find(path, kind, overwrite)
        if self.stored is None:
            self._begin(journal_path(f"{path}.{kind}"), overwrite)

    def piece(self, name: str, work: Callable[[], Arrays]) -> Arrays:
        """A piece of the work, which is done once; a `Piece`."""
        if name not in self._pieces:
            self._pieces[name] = dict(work())
            if self._journal is not None:
                self._journal.append(name, self._pieces[name])
        return self._pieces[name]

    def pieces(
        self, job: Callable[[U], Arrays], units: Mapping[str, U], executor: Executor
    ) -> Generator[tuple[str, Arrays], None, None]:
        """Pieces by name, those of an earlier call first, the others as they end; close the iterator to stop.

        Args:
            job: What gives a unit's arrays.
            units: Units by the name of their piece.
            executor: Who runs them.
        """
        yield from [(name, self._pieces[name]) for name in units if name in self._pieces]
        left = {name: unit for name, unit in units.items() if name not in self._pieces}
        prepare = Threads.shared(executor.workers)
        with closing(executor.run(_Named(job), left.items(), prepare)) as finished:
            for (name, _), arrays in finished:
                yield name, self.piece(name, partial(dict, arrays))

    def finish(self, result: Group) -> Group:
        """Put the result into the run file, beside all that is there; returns it as it is stored."""
        about = {"config": json.dumps(self.config, sort_keys=True), "command": command_line()}
        entry = Group(result.items, {**result.attrs, **about})
        if self.path is not None and self._journal is not None:
            with locked(self.path), unwritten(self.path):
                tree = open_run(self.path) if self.path.exists() else Group({}, {"kind": "analysis"})
                if self.model is not None and f"models/{self.label}" not in tree:
                    tree = tree.put(f"models/{self.label}", self.model.to_group())
                write_run(self.path, tree.put(self.place, entry))
            self._journal.close(remove=True)
            self._journal = None
        return entry

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._journal is not None:  # what is refused would be again, and its pieces would stand in another's way
            self._journal.close(remove=isinstance(error, ConfigError | ProfileError))

    def _find(self, path: Path, kind: str, overwrite: bool) -> Group | None:
        """The result that the file has, unless it is to be replaced."""
        tree = open_run(path)
        there = tree.group(place).attrs.get("hash") if (place := f"models/{self.label}") in tree else None
        if self.model is not None and there not in (None, self.model.net.hash()):
            raise RunFileError(f"{path}: holds another network named {self.label!r}; choose another path")
        if overwrite or self.place not in tree:
            return None
        found = tree.group(self.place)
        theirs = parsed(found.attrs.get("config"))
        if theirs != self.config:
            field, there, ours = first_difference(theirs, self.config)
            raise RunFileError(
                f"{path}: holds another {kind} of {self.place.split('/')[-1]} ({field}: {there!r} there, {ours!r} "
                "here); choose another path, or overwrite it"
            )
        return found

    def _begin(self, path: Path, overwrite: bool) -> None:
        """Open the journal and take the pieces that an interrupted call left there."""
        if overwrite:
            remove_journal(path)
        text = f"{self.place} {json.dumps(self.config, sort_keys=True)}"
        key = hashlib.sha256(text.encode()).hexdigest()
        try:
            self._journal = Journal(path, key)
        except RunFileError as error:
            if "another experiment" not in str(error):
                raise
            raise RunFileError(
                f"{path}: left by an interrupted analysis with other options; finish that one, or overwrite it"
            ) from None
        self._pieces = read_journal(path, key=key)


class _Named(Generic[U]):
    """A job whose units come with their names; defined here, so that it can be sent to another process."""

    def __init__(self, job: Callable[[U], Arrays]) -> None:
        self.job = job

    def __call__(self, unit: tuple[str, U]) -> Arrays:
        """What the job gives of the unit."""
        return self.job(unit[1])


class Storable(Protocol):
    """A result that a run file can hold."""

    def to_group(self) -> Group:
        """The result as a group."""
        ...

    @classmethod
    def from_group(cls, group: Group) -> Self:
        """The result of such a group."""
        ...


R = TypeVar("R", bound=Storable)


def once(kept: Kept, kind: type[R], work: Callable[..., R], *given: object, **options: object) -> R:
    """The result that the file has, or what `work(*given, piece=..., **options)` gives, which is then in the file."""
    with kept:
        if kept.stored is not None:
            return kind.from_group(kept.stored)
        found = work(*given, piece=kept.piece, **options)
        kept.stored = kept.finish(found.to_group())
        return found


def analyses_of(stored: Group, kind: str) -> dict[str, Group]:
    """The analyses of a kind in a run file, by "network on chip"."""
    place = f"analyses/{kind}"
    return dict(stored.group(place).groups()) if place in stored else {}


def keyed_by(net: Deployable, profile: Profile | None, task: Task, data: Split, **options: Any) -> dict[str, Any]:  # noqa: ANN401 (whatever JSON has)
    """What defines an analysis: network, chip, data and options."""
    return {
        "model": identity(net),
        "profile": LEVELS if profile is None else profile.hash,
        "task": [task.name, task.encoding, task.split, data_hash(data)],
        **options,
    }


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise RunFileError where a group, which may be from elsewhere, does not hold what it should."""
    try:
        yield
    except (
        SnnRobustError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise RunFileError(f"{what}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def texts(values: list[str]) -> NDArray[Any]:
    """Texts as an array, also where there is none."""
    return np.array(values, dtype=np.str_) if values else np.array([], dtype="U1")


def network_of(entry: str) -> str:
    """The network of an analysis's name."""
    return entry.rsplit(" on ", 1)[0]


def chip_of(entry: str) -> str:
    """The chip of an analysis's name."""
    return entry.rsplit(" on ", 1)[-1]
