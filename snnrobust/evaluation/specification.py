"""Inverse design: how large the spreads of a chip may be, so that a share of the chips reaches an accuracy.

Spreads are factors f_r of those of a profile, sigma_r = f_r sigma_r,0. A specification holds if the lower confidence
bound of the yield of the design chips reaches the share; it is then tested once on fresh chips.

Alone, each f_r is the largest that holds with the others at 0, L_r. The joint allocation minimises the cost
sum_r c_r / sigma_r^2, which is area where c_r counts devices. If variances of the score add up, all that holds is
sum_r (f_r / L_r)^2 <= 1 and the cheapest has f_r^2 in proportion to L_r sqrt(c_r / sigma_r,0^2); that gives the ratios
of the factors. Their common size is found by simulation, so a specification holds whether or not variances add up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.design_chips import SMALLEST, DesignChips, largest
from snnrobust.evaluation.requirement import Requirement, Verdict
from snnrobust.evaluation.spreads import Knob, knobs
from snnrobust.evaluation.statistics.yields import Yield
from snnrobust.hardware.area import transistor_area, trim_bits
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.progress import progress
from snnrobust.storage import Array, Group, Scalar
from snnrobust.tasks import Task


class Limit(NamedTuple):
    """How large one spread may be.

    Attributes:
        knob: The spread.
        alone: Largest factor with all others at 0.
        beside: Largest factor with all others as in the profile; None where even 0 does not suffice.
        open: Whether `alone` is the end of the search, 8 times the profile's spread or the widest that a profile may
            have, so that it may be larger.
        joint: Its factor in the joint allocation.
    """

    knob: Knob
    alone: float
    beside: float | None
    open: bool
    joint: float


@dataclass(frozen=True)
class Specification:
    """The largest spreads of a chip that meet a requirement.

    Attributes:
        base: The profile that the factors are of.
        profile: The profile with the jointly allocated spreads.
        limits: One for each spread.
        requirement: What is asked of the chips.
        design: Yield of the design chips at the joint allocation.
        fresh: Yield of fresh chips there.
        costs: c_r of each spread.
        notes: What has to be said of the chip.
        population: What chips and data were, as one sentence.
    """

    base: Profile
    profile: Profile
    limits: tuple[Limit, ...]
    requirement: Requirement
    design: Yield
    fresh: Yield
    costs: Mapping[str, float]
    notes: tuple[str, ...] = ()
    population: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the fresh chips meet the requirement."""
        return self.requirement.verdict(self.fresh)

    @property
    def factors(self) -> dict[str, float]:
        """Factor of each spread in the joint allocation."""
        return {limit.knob.role: limit.joint for limit in self.limits}

    @property
    def relative_cost(self) -> float:
        """sum c_r / sigma_r^2 of the joint allocation, over that of the profile."""
        here = sum(self.costs[x.knob.role] / (x.knob.spread * x.joint) ** 2 for x in self.limits)
        return here / sum(self.costs[x.knob.role] / x.knob.spread**2 for x in self.limits)

    def area(self, limit: Limit) -> float | None:
        """W L in um^2 of a transistor with the spread of the joint allocation, where the profile states A_VT."""
        return None if limit.knob.s is None else transistor_area(self.base, limit.knob.s * limit.joint)

    def total_area(self) -> float | None:
        """um^2 of one transistor for each device; None where it is not known of every spread."""
        areas = [(self.area(limit), limit.knob.devices) for limit in self.limits]
        return None if any(a is None for a, _ in areas) else sum((a or 0.0) * n for a, n in areas)

    def bits(self, limit: Limit) -> int:
        """Bits of a trim that would bring the profile's spread to that of the joint allocation."""
        return trim_bits(self.base, limit.joint)

    @property
    def statement(self) -> str:
        """The answer as one sentence."""
        word = {"pass": "met", "fail": "missed", "undecided": "not decided"}[self.verdict]
        f, d = self.fresh, self.design
        return (
            f"{self.requirement}: {word} on {f.chips} fresh chips, {f.passed} of which pass "
            f"({100 * f.share:.1f} %, {100 * f.low:.1f}-{100 * f.high:.1f}); "
            f"designed on {d.chips} others, {d.passed} of which pass (lower bound {100 * d.low:.2f} %)"
        )

    def to_group(self) -> Group:
        """The specification as a group of a run file, with the dimension spread."""
        dims = ("spread",)
        columns: dict[str, list[float]] = {
            "profile_spread": [x.knob.spread for x in self.limits],
            "alone": [x.alone for x in self.limits],
            "beside": [math.nan if x.beside is None else x.beside for x in self.limits],
            "joint": [x.joint for x in self.limits],
            "devices": [float(x.knob.devices) for x in self.limits],
            "cost": [self.costs[x.knob.role] for x in self.limits],
        }
        items = {"spread": Array(np.array([x.knob.role for x in self.limits]), dims)}
        items |= {name: Array(np.array(values), dims) for name, values in columns.items()}
        items |= {"unit": Array(np.array([x.knob.unit for x in self.limits], dtype="U40"), dims)}
        items |= {"s": Array(np.array([math.nan if x.knob.s is None else x.knob.s for x in self.limits]), dims)}
        items |= {"open": Array(np.array([x.open for x in self.limits], dtype=bool), dims)}
        items["profile"] = Array(np.array(self.profile.to_yaml()))
        items["base_profile"] = Array(np.array(self.base.to_yaml()))
        attrs: dict[str, Scalar] = {"profile": self.base.name, "hash": self.profile.hash}
        for name, found in (("design", self.design), ("fresh", self.fresh)):
            attrs |= {f"{name}_passed": found.passed, f"{name}_chips": found.chips}
        attrs |= {**self.requirement.to_attrs(), "notes": json.dumps(self.notes), "relative_cost": self.relative_cost}
        return Group(items, {**attrs, "statement": self.statement, "population": self.population})

    @classmethod
    def from_group(cls, group: Group) -> Specification:
        """The specification of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("specification"):
            asked, attrs = Requirement.from_attrs(group.attrs), group.attrs
            base, profile = (
                parse_profile(str(group.array(name).values), file=name) for name in ("base_profile", "profile")
            )
            names = ("spread", "profile_spread", "devices", "unit", "s", "alone", "beside", "open", "joint", "cost")
            limits, costs = [], {}
            for row in zip(*(group.array(name).values.tolist() for name in names), strict=True):
                role, spread, devices, unit, s, alone, beside, open_, joint, cost = row
                knob = Knob(role, spread, int(devices), unit, None if math.isnan(s) else s)
                limits.append(Limit(knob, alone, None if math.isnan(beside) else beside, bool(open_), joint))
                costs[role] = cost
            design, fresh = (
                asked.observed(int(attrs[f"{name}_passed"]), int(attrs[f"{name}_chips"]))
                for name in ("design", "fresh")
            )
            notes = tuple(json.loads(str(attrs["notes"])))
            return cls(base, profile, tuple(limits), asked, design, fresh, costs, notes, str(attrs["population"]))


def specify(
    net: Deployable,
    profile: Profile,
    task: Task,
    requirement: Requirement,
    *,
    chips: int = 1000,
    fresh_chips: int | None = None,
    costs: Mapping[str, float] | None = None,
    seed: int = 1,
    show_progress: bool = False,
    piece: Piece = anew,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Specification:
    """The largest spreads with which a network meets a requirement: each alone, and the cheapest together.

    Design chips are those of purpose "validation", fresh ones those of "test", of the same seed; both are scored on the
    test data, for which the accuracy is asked. What is not a static spread stays as in the profile in any case:
    outliers, faults, noise, quantisation.

    Args:
        net: A trained network.
        profile: The chip; its spreads are what factors multiply.
        task: Data.
        requirement: What is asked of the chips.
        chips: Number of design chips.
        fresh_chips: Number of fresh chips; as many by default.
        costs: c_r of the cost c_r / sigma_r^2; the number of devices by default, which makes the cost an area.
        seed: Seed of the chips.
        show_progress: Show progress on the standard error stream.
        piece: Keeps what was found at each choice of spreads (`analyses.Kept`).
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Raises:
        ConfigError: For an argument outside its domain, or too few chips to show the yield.
        ProfileError: If the profile has no spread that the network has, or even without any spread the requirement is
            not met.
    """
    requirement.most_failures(fresh_chips or chips)
    every = knobs(profile, net)
    prices = _prices(every, costs or {})
    design = DesignChips(net, profile, task.test, task.metric, requirement, chips, seed, deploy, piece)
    zero = {knob.role: 0.0 for knob in every}
    if not design.holds(zero):
        found = design.observed(zero)
        raise ProfileError(
            f"{profile.name}: without any spread {found.passed} of {found.chips} chips reach "
            f"{requirement.accuracy:g}, so no spread is small enough for {requirement}"
        )
    alone, beside, ends = {}, {}, {role: _allowed(profile, role) for role in zero}
    with progress("searches", 2 * len(every) + 1, show=show_progress) as shown:
        for role in zero:
            alone[role] = design.largest(partial(_with, zero, role), ends[role])
            shown.advance(note=f"{role} alone")
            possible = design.holds({}) or design.holds({role: 0.0})
            beside[role] = design.largest(partial(_with, {}, role), ends[role]) if possible else None
            shown.advance(note=f"{role} beside the others")
        joint = _joint(design, every, alone, prices)
        shown.advance(note="together")
    limits = tuple(Limit(k, alone[k.role], beside[k.role], alone[k.role] >= ends[k.role], joint[k.role]) for k in every)
    fresh = design.observed(joint, purpose="test", chips=fresh_chips or chips)
    population = (
        f"{chips} design chips (validation, seed {seed}), {fresh.chips} fresh chips (test, seed {seed}), all on "
        f"{len(task.test)} samples of {task.name}; {task.metric}; data: {task.split}"
    )
    notes, observed = design.deployed(joint, "test", 1).notes, design.observed(joint)
    return Specification(
        profile, profile.scaled(joint), limits, requirement, observed, fresh, prices, notes, population
    )


def _prices(every: list[Knob], costs: Mapping[str, float]) -> dict[str, float]:
    roles = [knob.role for knob in every]
    for role, cost in costs.items():
        if role not in roles:
            raise ConfigError(f"costs: {role!r} is no spread here; allowed: {', '.join(roles)}")
        if not 0 < cost < math.inf:
            raise ConfigError(f"costs: {role} {cost!r} must be a finite number > 0")
    return {knob.role: float(costs.get(knob.role, knob.devices)) for knob in every}


def _with(others: Mapping[str, float], role: str, factor: float) -> dict[str, float]:
    """Factors of some roles, and of this one."""
    return {**others, role: factor}


def _allowed(profile: Profile, role: str) -> float:
    """The largest factor, up to the end of the search, with which the profile is still valid."""

    def valid(factor: float) -> bool:
        try:
            profile.scaled({role: factor})
        except ProfileError:  # such as the rule against wide normals
            return False
        return True

    return largest(valid)


def _joint(
    design: DesignChips, every: list[Knob], alone: Mapping[str, float], prices: Mapping[str, float]
) -> dict[str, float]:
    """The cheapest factors, of the ratios f^2 in proportion to L sqrt(c / sigma^2), none above what it may be alone."""
    ratios = {k.role: math.sqrt(alone[k.role]) * (prices[k.role] / k.spread**2) ** 0.25 for k in every}
    most = max(ratios.values())

    def of_size(size: float) -> dict[str, float]:
        return {role: min(size * ratio / most, alone[role]) for role, ratio in ratios.items()}

    size = design.largest(of_size) if min(alone.values()) else 0.0
    if not size:
        tight = ", ".join(role for role, factor in alone.items() if not factor) or "all together"
        raise ProfileError(
            f"{design.profile.name}: {tight}: not even {SMALLEST:g} times the spread is small enough for "
            f"{design.requirement}"
        )
    return of_size(size)
