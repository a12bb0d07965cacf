"""What a verdict rests on: the yield with each uncertain number of a profile at its ends, on the same chips."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ProfileError
from snnrobust.evaluation.analyses import Piece, anew, readable, texts
from snnrobust.evaluation.montecarlo import population, samples_for
from snnrobust.evaluation.requirement import Requirement, Verdict
from snnrobust.evaluation.scores import chip_scores, deployed
from snnrobust.evaluation.statistics.yields import Yield
from snnrobust.hardware.mismatch import place
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.hardware.schema.uncertain import Uncertain, uncertain, with_number
from snnrobust.hardware.schema.yaml_lines import show
from snnrobust.progress import progress
from snnrobust.storage import Array, Group, Scalar
from snnrobust.tasks import Task


class Bar(NamedTuple):
    """The yield at both ends of one number.

    Attributes:
        number: The number and its ends.
        low: Yield at the lower end.
        high: Yield at the upper end.
        flips: Whether the verdict is another at an end.
        moves: Whether the yield of an end is outside the interval of the profile's yield.
    """

    number: Uncertain
    low: Yield
    high: Yield
    flips: bool
    moves: bool

    @property
    def path(self) -> str:
        """Place of the number in the profile."""
        return show(self.number.number.path)

    @property
    def swing(self) -> float:
        """How far apart the yields at the ends are."""
        return abs(self.high.share - self.low.share)


@dataclass(frozen=True)
class Tornado:
    """Yields over the uncertain numbers of a profile, the widest swing first.

    Attributes:
        profile: The chip.
        base: Yield with the profile's own numbers.
        bars: One a number.
        requirement: What is asked of the chips.
        fixed: Numbers that could not be moved, with the reason.
        idle: Places of numbers that move nothing that the network has.
        population: What chips and data were, as one sentence.
    """

    profile: Profile
    base: Yield
    bars: tuple[Bar, ...]
    requirement: Requirement
    fixed: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    population: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the chips meet the requirement."""
        return self.requirement.verdict(self.base)

    def rests_on(self) -> list[Bar]:
        """Numbers whose range flips the verdict or moves the yield beyond its interval."""
        return [bar for bar in self.bars if bar.flips or bar.moves]

    @property
    def statement(self) -> str:
        """The answer as one sentence."""
        rests = self.rests_on()
        verdict = f"{self.verdict}: {self.requirement}"
        of = f"of {len(self.bars)} uncertain numbers of {self.profile.name}"
        if not rests:
            return f"{verdict}; no one {of} changes this verdict within its range"
        kinds = {bar.number.number.evidence for bar in rests}
        kind = "assumed" if kinds == {"assumption"} else "uncertain"
        count = f"{len(rests)} {kind} number{'s' * (len(rests) > 1)}"
        names = ", ".join(bar.path.removeprefix("parameters.") + " (flips it)" * bar.flips for bar in rests)
        return f"{verdict}; this verdict rests on {count}: {names}"

    def to_group(self) -> Group:
        """The bars as a group of a run file, with the dimension number."""
        dims = ("number",)
        items = {"number": Array(texts([bar.path for bar in self.bars]), dims)}
        items["range"] = Array(texts([f"{bar.number.low} to {bar.number.high}" for bar in self.bars]), dims)
        for end in ("low", "high"):
            found: list[Yield] = [getattr(bar, end) for bar in self.bars]
            items[f"yield_{end}"] = Array(np.array([y.share for y in found], dtype=np.float64), dims)
            items[f"passed_{end}"] = Array(np.array([y.passed for y in found], dtype=np.int64), dims)
        items["flips"] = Array(np.array([bar.flips for bar in self.bars], dtype=bool), dims)
        items["profile"] = Array(np.array(self.profile.to_yaml()))
        attrs: dict[str, Scalar] = {"profile": self.profile.name, "hash": self.profile.hash, "yield": self.base.share}
        attrs |= {"passed": self.base.passed, "chips": self.base.chips, **self.requirement.to_attrs()}
        attrs |= {"fixed": json.dumps(self.fixed), "idle": json.dumps(self.idle)}
        return Group(items, {**attrs, "statement": self.statement, "population": self.population})

    @classmethod
    def from_group(cls, group: Group) -> Tornado:
        """The tornado of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("tornado"):
            asked, attrs = Requirement.from_attrs(group.attrs), group.attrs
            profile, chips = parse_profile(str(group.array("profile").values), file="profile"), int(attrs["chips"])
            known = {show(u.number.path): u for u in uncertain(profile)}
            base = asked.observed(int(attrs["passed"]), chips)
            passed = (group.array(f"passed_{end}").values for end in ("low", "high"))
            rows = zip(group.array("number").values, *passed, strict=True)
            bars = tuple(
                _bar(known[str(path)], asked, base, *(asked.observed(int(p), chips) for p in ends))
                for path, *ends in rows
            )
            fixed, idle = (tuple(json.loads(str(attrs[name]))) for name in ("fixed", "idle"))
            return cls(profile, base, bars, asked, fixed, idle, str(attrs["population"]))


def tornado(
    net: Deployable,
    profile: Profile,
    task: Task,
    *,
    requirement: Requirement | None = None,
    chips: int = 300,
    seed: int = 1,
    purpose: str = "test",
    trials: int = 1,
    show_progress: bool = False,
    piece: Piece = anew,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Tornado:
    """The yield with each uncertain number of a profile at its ends: the same chips, with the same coordinates.

    A number's ends are the interval that the profile states, else a quarter below and above an assumption.

    Args:
        net: A trained network.
        profile: The chip.
        task: Data.
        requirement: What is asked of the chips.
        chips: Number of chips, scored twice for every number.
        seed: Seed of the chips.
        purpose: "test", or "validation".
        trials: Passes over the data.
        show_progress: Show progress on the standard error stream.
        piece: Keeps the accuracies at each end (`analyses.Kept`).
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Raises:
        ConfigError: For an argument outside its domain.
    """
    data, asked = samples_for(purpose, task), requirement or Requirement()

    def found(chip: Profile) -> Yield:
        def scored() -> dict[str, NDArray[np.float64]]:
            deployment = deployed(chip, net, chips, seed, purpose, **deploy)
            return {"accuracy": chip_scores(deployment, data, task.metric, trials=trials).accuracy}

        accuracy = piece(chip.hash, scored)["accuracy"]
        return asked.observed(int(asked.passes(accuracy).sum()), chips)

    every = list(uncertain(profile))
    idle = [u for u in every if not _used(u, profile, net)]
    base, bars, fixed = found(profile), [], []
    moving = [u for u in every if u not in idle]
    with progress("chips", 2 * chips * len(moving), show=show_progress) as shown:
        for u in moving:
            try:
                low, high = (found(with_number(profile, u.number.path, end)) for end in (u.low, u.high))
            except ProfileError as error:
                fixed.append(str(error))
                continue
            bars.append(_bar(u, asked, base, low, high))
            shown.advance(2 * chips, note=show(u.number.path))
    bars.sort(key=lambda bar: -bar.swing)
    about = population(task, len(data), chips, seed, purpose, trials)
    unused = tuple(show(u.number.path) for u in idle)
    return Tornado(profile, base, tuple(bars), asked, tuple(fixed), unused, about)


def _bar(u: Uncertain, asked: Requirement, base: Yield, low: Yield, high: Yield) -> Bar:
    """The yields at the ends of a number, beside that of the profile."""
    flips = any(asked.verdict(end) != asked.verdict(base) for end in (low, high))
    moves = any(not base.low <= end.share <= base.high for end in (low, high))
    return Bar(u, low, high, flips, moves)


def _used(u: Uncertain, profile: Profile, net: Deployable) -> bool:
    """Whether a number is about something that the network has: roles of its parameters."""
    path = u.number.path
    if path[0] != "parameters":
        return True
    specs = net.parameter_specs()
    entries = (profile.parameters.get(specs[name].role) for name in place(profile, specs).stages)
    return any(entry is getattr(profile.parameters, str(path[1])) for entry in entries)
