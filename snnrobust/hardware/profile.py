"""Profiles: a chip, or a family of chips, as a frozen object read from YAML.

load_profile("dynapse1")            a profile that ships with the package
load_profile("my_chip.yaml")        a file of one's own
Profile.relative(0.2)               the mismatch theta (1 + 0.2 z) of level sweeps
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, NamedTuple, Self, get_args

import yaml

from snnrobust.errors import ProfileError, unknown
from snnrobust.hardware.schema import evidence, features, rules, scaling
from snnrobust.hardware.schema.base import Role
from snnrobust.hardware.schema.check import parse
from snnrobust.hardware.schema.comparison import leaves
from snnrobust.hardware.schema.document import Component, Components, Document, Parameter, Parameters
from snnrobust.hardware.schema.environment import COLDEST, HOTTEST
from snnrobust.hardware.schema.evidence import EvidenceSummary, Number
from snnrobust.hardware.schema.yaml_lines import FLOAT, MAX_BYTES, read, short, show

# Fields that explain a profile and change nothing in the simulation.
_EXPLANATIONS = frozenset({"description", "process", "sources", "evidence", "source", "note", "a_vt", "interval"})


class Profile(Document):
    """A validated profile; the attributes are the blocks of schema.Document."""

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of all that the simulation depends on, and the name.

        Descriptions, notes, sources, evidence, intervals, process and a_vt do not enter, nor the order of keys, nor
        whether a default is written out.
        """
        content = _canonical(self.model_dump())
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """The profile as YAML text; `parse_profile(profile.to_yaml()) == profile`. Comments are not kept."""
        data = _plain(self.model_dump(exclude_unset=True))
        return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)

    def diff(self, other: Document) -> list[str]:
        """One line for every value that differs: `path: here -> there`; explanations are compared too."""
        here, there = (dict(leaves(p.model_dump())) for p in (self, other))
        paths = [*here, *(path for path in there if path not in here)]
        return [
            f"{path}: {here.get(path, 'absent')} -> {there.get(path, 'absent')}"
            for path in paths
            if here.get(path) != there.get(path)
        ]

    def not_simulated(self) -> list[str]:
        """Places that have an effect which this version does not simulate yet, e.g. `crossbar.drift`."""
        return features.not_simulated(self)

    def under(self, time: float | None = None, temperature: float | None = None, age: float | None = None) -> Self:
        """The profile in another environment; what is not given stays.

        Args:
            time: Time since programming in s (crossbars).
            temperature: Temperature of operation in K; the spreads stay those of `temperature_ref`, or of the
                temperature that the profile states.
            age: Time in use in s.

        Raises:
            ProfileError: If a value is outside its domain, or the profile has no law that says what it does.
        """
        given = {"time": time, "temperature": temperature, "age": age}
        for name, value in given.items():
            if name == "temperature" and value is not None and not COLDEST <= value <= HOTTEST:
                raise ProfileError(f"{name}: {value!r} K must be from {COLDEST:g} to {HOTTEST:g} K")
            if value is not None and not 0 <= value < math.inf:
                raise ProfileError(f"{name}: {value!r} must be a finite number >= 0")
        old = self.environment
        new: dict[str, object] = {}
        if time is not None:
            if self.crossbar is None:
                raise ProfileError(f"time: nothing in {self.name} depends on the time since programming")
            new["time_since_programming"] = float(time)
        if temperature is not None:
            if old.reference is None:
                raise ProfileError(
                    f"temperature: {self.name} states none at which it holds (environment.temperature_ref)"
                )
            new |= {"temperature": float(temperature), "temperature_ref": old.reference}
        if age is not None:
            new["age"] = float(age)
        if not new:
            return self
        evidence: dict[str, object] = {} if old.evidence or self.evidence else {"evidence": "assumption"}
        profile = self.model_copy(update={"environment": old.model_copy(update=new | evidence)})
        for path, message in rules.problems(profile):
            raise ProfileError(f"{self.name}: {show(path)}: {message}")
        return profile

    def scaled(self, factors: Mapping[str, float]) -> Self:
        """The profile with the static spreads of roles times their factors (see `scaling.scaled`).

        Raises:
            ProfileError: If a role has no spread here, or the wider spread breaks a rule.
        """
        return scaling.scaled(self, factors)

    def numbers(self) -> Iterator[Number]:
        """Every number that the profile states, with (path, value, evidence, source, note)."""
        return evidence.numbers(self)

    def evidence_summary(self) -> EvidenceSummary:
        """Counts of numbers by evidence, and the list of the assumed ones."""
        return evidence.summary(self)

    @classmethod
    def relative(
        cls,
        level: float,
        roles: Sequence[str] = ("weight", "recurrent_weight", "bias"),
        distribution: Literal["normal", "lognormal"] = "normal",
    ) -> Profile:
        """The mismatch of level sweeps: every element becomes theta (1 + level z), z ~ N(0, 1), unclipped.

        With `lognormal`, theta exp(s z) with s = sqrt(ln(1 + level^2)). Level 0 changes nothing.

        Args:
            level: Relative standard deviation, a fraction >= 0.
            roles: Roles that vary; weights element by element, others by neuron.
            distribution: normal (signs may flip) or lognormal.

        Raises:
            ProfileError: If the level is negative or not finite, or a role or distribution is unknown.
        """
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 <= level < math.inf:
            raise ProfileError(f"level: {level!r} must be a finite number >= 0")
        if distribution not in ("normal", "lognormal"):
            raise ProfileError(unknown("distribution", str(distribution), ("normal", "lognormal")))
        for role in roles:
            if role not in get_args(Role):
                raise ProfileError(unknown("role", str(role), get_args(Role)))
        entries = {role: _level_entry(role, float(level), distribution) for role in roles}
        if "weight" in entries and "recurrent_weight" not in entries:  # it would inherit the weight's spread
            entries["recurrent_weight"] = _level_entry("recurrent_weight", 0.0, distribution)
        profile = cls(
            schema_version="1.0",
            name=_level_name(float(level), roles, distribution),
            kind="relative",
            description=f"Relative {distribution} spread of standard deviation {level:g} on {', '.join(roles)}.",
            evidence="assumption",
            parameters=Parameters(**entries),
        )
        for path, message in rules.problems(profile):
            raise ProfileError(f"{show(path)}: {message}")
        return profile


class ProfileSummary(NamedTuple):
    """A shipped profile in one line."""

    name: str
    kind: str
    description: str


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or a file by path (a Path, or text with a separator or a .yaml ending).

    Raises:
        ProfileError: If there is no such profile, or with one line for every error in it.
    """
    if isinstance(name_or_path, str) and not _looks_like_path(name_or_path):
        file = _shipped().get(name_or_path)
        if file is None:
            raise ProfileError(unknown("profile", short(name_or_path), _shipped()))
        return parse_profile(file.read_bytes(), file=file.name)
    path = Path(name_or_path)
    return parse_profile(_read_file(path), file=str(path))


def parse_profile(content: bytes | str, file: str = "profile.yaml") -> Profile:
    """A profile from YAML text; `file` is the name that error lines begin with.

    Raises:
        ProfileError: With one line for every error.
    """
    profile, errors = parse(content, file, Profile)
    if profile is None:
        raise ProfileError("\n".join(errors))
    return profile


def check_profile(source: str | bytes | Path) -> list[str]:
    """Every error of a profile, one line each: `file.yaml:12: parameters.tau_mem...: what is wrong`.

    Args:
        source: A path (a Path or one line of text), or the YAML text itself (bytes, or several lines).

    Returns:
        The lines; empty if the profile is valid.
    """
    if isinstance(source, bytes) or (isinstance(source, str) and "\n" in source):
        return parse(source, "profile.yaml", Profile)[1]
    try:
        content = _read_file(Path(source))
    except ProfileError as error:
        return [str(error)]
    return parse(content, str(source), Profile)[1]


def list_profiles() -> list[ProfileSummary]:
    """The shipped profiles, by name, without validating them."""
    summaries = []
    for name, file in _shipped().items():
        data = read(file.read_bytes()).data
        fields = data if isinstance(data, dict) else {}
        summaries.append(ProfileSummary(name, str(fields.get("kind", "")), str(fields.get("description", ""))))
    return summaries


def _shipped() -> dict[str, Traversable]:
    """Files of the shipped profiles by name: those of the installed package, else of a source checkout."""
    try:
        folder = importlib.resources.files("snnrobust.hardware_profiles")
    except ModuleNotFoundError:
        folder = Path(__file__).parents[2] / "hardware_profiles"
    files = {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}
    return dict(sorted(files.items()))


def _looks_like_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.endswith((".yaml", ".yml"))


def _read_file(path: Path) -> bytes:
    """At most one byte more than a profile may have; a pipe or a device is refused, reading it may not end."""
    shown = short(str(path))
    try:
        if not path.is_file():
            raise ProfileError(f"{shown}: no such file" if not path.exists() else f"{shown}: not a regular file")
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProfileError(f"{shown}: cannot be read: {reason}") from error


def _level_entry(role: str, level: float, distribution: Literal["normal", "lognormal"]) -> Parameter:
    granularity: Literal["per_synapse", "per_neuron"] = "per_synapse" if role.endswith("weight") else "per_neuron"
    if level == 0:
        return Parameter(distribution="none", granularity=granularity)
    device = Components(device=Component(cv=level))
    return Parameter(distribution=distribution, granularity=granularity, components=device)


def _level_name(level: float, roles: Sequence[str], distribution: str) -> str:
    parts = ["relative", *(["lognormal"] if distribution == "lognormal" else []), repr(level).removesuffix(".0")]
    if set(roles) != {"weight", "recurrent_weight", "bias"}:
        parts.append("+".join(sorted(set(roles))))
    return "_".join(parts)


def _canonical(value: object) -> object:
    if isinstance(value, dict):
        kept = ((key, item) for key, item in value.items() if key not in _EXPLANATIONS and item is not None)
        return {key: _canonical(item) for key, item in kept}
    return [_canonical(item) for item in value] if isinstance(value, tuple) else value


def _plain(value: object) -> object:
    """Lists instead of tuples, and the explanations of a block after its numbers."""
    if isinstance(value, dict):
        last = {key: value[key] for key in ("evidence", "source", "note") if key in value}
        return {key: _plain(item) for key, item in value.items() if key not in last} | last
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


class _Dumper(yaml.SafeDumper):
    """Quotes text that reads as a YAML 1.2 number."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
