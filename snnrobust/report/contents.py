"""What a run file holds, read once for pages, figures, tables and citations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from snnrobust.errors import ProfileError, RunFileError, unknown
from snnrobust.evaluation import (
    Behaviour,
    Bits,
    BreakingLevels,
    LossLandscape,
    Sensitivity,
    Specification,
    Tolerance,
    Tornado,
    WorstCase,
)
from snnrobust.evaluation.analyses import Storable, analyses_of, network_of
from snnrobust.evaluation.certificates.certificate import Certified
from snnrobust.evaluation.rare_chips import Checked
from snnrobust.evaluation.results import hashes_of, read_tolerance
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.storage import Group, open_run, parsed
from snnrobust.training.record import TrainedModel

KINDS: dict[str, type[Storable]] = {
    "sensitivity": Sensitivity,
    "tornado": Tornado,
    "specification": Specification,
    "bits": Bits,
    "tolerance": BreakingLevels,
    "rare": Checked,
    "worst_case": WorstCase,
    "landscape": LossLandscape,
    "certificate": Certified,
    "behaviour": Behaviour,
}
"""Analyses that can be shown, in the order of a page."""
COMMANDS = {
    "sensitivity": "sensitivity NET.h5 --profile P",
    "tornado": "sensitivity NET.h5 --profile P --tornado",
    "specification": "spec NET.h5 --profile P",
    "bits": "bits NET.h5 --profile P",
    "tolerance": "tolerance NET.h5",
    "rare": "rare NET.h5 --profile P",
    "worst_case": "worst NET.h5",
    "landscape": "landscape NET.h5",
    "certificate": "certify NET.h5",
    "behaviour": "behaviour NET.h5 --profile P",
}
"""What makes them."""


class StoredProfile(NamedTuple):
    """A profile of a run file.

    Attributes:
        name: Its name.
        kind: Its kind, as stored.
        hash: SHA-256 as stored with the results.
        text: The stored YAML.
        profile: The parsed text, or None.
        problem: Why it could not be parsed, or what does not fit; empty if all is well.
    """

    name: str
    kind: str
    hash: str
    text: str
    profile: Profile | None
    problem: str

    @property
    def evidence(self) -> str:
        """Counts of numbers by how they are known, such as "12 measured, 3 assumption"."""
        counts = self.profile.evidence_summary().counts if self.profile else {}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no numbers"

    @property
    def assumed(self) -> list[str]:
        """The assumed numbers, as "path = value"."""
        found = self.profile.evidence_summary().assumed if self.profile else []
        return [f"{'.'.join(map(str, n.path))} = {plain(n.value)}" for n in found]


@dataclass(frozen=True, eq=False)
class Contents:
    """A run file.

    Attributes:
        stored: The whole file.
        result: Accuracies of chips; None where the file has none.
        source: Name of the file; "" if it has none.
    """

    stored: Group
    result: Tolerance | None = None
    source: str = ""
    _lines: list[str] = field(default_factory=list)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What defines the benchmark."""
        return parsed(self.stored.attrs.get("config"))

    @cached_property
    def models(self) -> list[TrainedModel]:
        """The networks of the benchmark, or of the analyses where there is none, that can be read."""
        groups = dict(groups_of(self.stored, "models"))
        found = []
        for name in groups if self.result is None else self.result.models:
            try:
                found.append(TrainedModel.from_group(name, groups[name]))
            except KeyError:
                self._lines.append(f"{name}: the run file does not hold this network")
            except RunFileError as error:
                self._lines.append(str(error))
        return found

    @cached_property
    def profiles(self) -> list[StoredProfile]:
        """The profiles of the benchmark."""
        return [_profile(name, group) for name, group in groups_of(self.stored, "profiles")]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hash of the profile of each condition."""
        return {} if self.result is None else hashes_of(self.result, self.stored)

    @cached_property
    def analyses(self) -> dict[str, dict[str, Any]]:
        """Analyses by kind and "network on chip", without those that cannot be read or are of another network."""
        found: dict[str, dict[str, Any]] = {}
        for kind, cls in KINDS.items():
            for entry, group in analyses_of(self.stored, kind).items():
                try:
                    if not self._same_network(entry, group):
                        raise RunFileError("of another network of this name than that of the results")
                    found.setdefault(kind, {})[entry] = cls.from_group(group)
                except RunFileError as error:
                    self._lines.append(f"{kind} of {entry}: {error}")
        return found

    @property
    def problems(self) -> list[str]:
        """A line for everything in the file that cannot be shown."""
        _ = self.models, self.analyses
        return self._lines

    def analysis(self, kind: str, of: str | None = None) -> tuple[str, Any]:
        """The analysis of a kind, with its name, "network on chip".

        Args:
            kind: One of `KINDS`.
            of: Its name; may be left out where there is one.

        Raises:
            RunFileError: If there is none, or several and no name.
        """
        found = self.analyses.get(kind, {})
        if not found:
            name = self.source or "RUN.h5"
            lines = [line for line in self.problems if line.startswith(f"{kind} of")]
            raise RunFileError(
                lines[0]
                if lines
                else f"{name}: holds no {kind.replace('_', ' ')}; `snnrobust {COMMANDS[kind]} -o {name}` adds it"
            )
        if of is not None and of not in found:
            raise RunFileError(unknown(f"{kind} of", of, found))
        if of is None and len(found) > 1:
            raise RunFileError(f"of: the file has several; give one of {', '.join(map(repr, found))}")
        name = next(iter(found)) if of is None else of
        return name, found[name]

    def tolerance(self) -> Tolerance:
        """Accuracies of chips.

        Raises:
            RunFileError: If the file has none.
        """
        if self.result is None:
            name = self.source or "RUN.h5"
            raise RunFileError(
                f"{name}: holds no results of chips; `snnrobust deploy NET.h5 --profile P -o {name}` or "
                "`snnrobust benchmark` adds them"
            )
        return self.result

    def _same_network(self, entry: str, group: Group) -> bool:
        place, model = f"models/{network_of(entry)}", parsed(group.attrs.get("config")).get("model")
        return model is None or place not in self.stored or self.stored.group(place).attrs.get("hash") == model


def read_contents(path: str | Path) -> Contents:
    """The contents of a run file, with what is still in its journal.

    Raises:
        RunFileError: If it is none.
    """
    stored = open_run(path)
    if "tolerance" in stored:
        result, stored = read_tolerance(path)
        return Contents(stored, result, Path(path).name)
    return Contents(stored, None, Path(path).name)


def groups_of(stored: Group, name: str) -> Iterator[tuple[str, Group]]:
    """The groups in a group, if it is there."""
    return stored.group(name).groups() if name in stored else iter(())


def plain(value: object) -> str:
    """A setting as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _profile(name: str, group: Group) -> StoredProfile:
    text = str(group.array("text").values) if "text" in group else ""
    stated = str(group.attrs.get("hash", ""))
    kind = str(group.attrs.get("kind", ""))
    try:
        profile = parse_profile(text, file=name)
    except ProfileError as error:
        return StoredProfile(name, kind, stated, text, None, f"cannot be read by this version: {error}")
    problem = "" if profile.hash == stated else f"the stored text has another hash, {profile.hash}"
    return StoredProfile(name, kind, stated, text, profile, problem)
