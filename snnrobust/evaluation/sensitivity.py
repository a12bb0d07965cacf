"""Which part of a chip's variation costs the yield: each part alone, all but each, and all, on the same chips.

With f(S) the score of a chip of which the parts S vary, and effects D_p = f({p}) - f({}), the score of a chip is

    f(all) = f({}) + sum_p D_p + I,    Var f(all) = sum_p Cov(D_p, f(all)) + Cov(I, f(all))

so that the shares Cov(., f(all)) / Var f(all) of parts and of their interaction I sum to 1 (Li et al. 2010,
doi:10.1021/jp9096919, with the perfect chip as the anchor). The gain of perfecting a part is the yield of all but it
less that of all, paired by chip: that, and not a share of variance, says which part to calibrate first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.montecarlo import population, samples_for
from snnrobust.evaluation.requirement import Requirement
from snnrobust.evaluation.scores import Scores, chip_scores, deployed
from snnrobust.evaluation.statistics.yields import Yield, named
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.parts import parts_of, varying
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.progress import progress
from snnrobust.storage import Array, Group, Scalar
from snnrobust.tasks import Task

Varied = frozenset[str]
"""The parts that vary."""
_RESAMPLES = 1000
_INTERACTION = 0.2
"""Share of the margin's variance from which an interaction is called one."""


class Difference(NamedTuple):
    """A yield less another on the same chips, with its 95 % interval.

    Attributes:
        value: (better - worse) / chips.
        low: Lower end of the interval.
        high: Upper end.
        better: Chips that pass only with the change.
        worse: Chips that pass only without it.
    """

    value: float
    low: float
    high: float
    better: int
    worse: int


class Part(NamedTuple):
    """What one part of the variation does.

    Attributes:
        name: The part: a role, a layer or a component.
        alone: Yield where it alone varies.
        without: Yield where all but it vary.
        gain: Yield that perfecting it would bring: `without` less the yield of all.
        tied: Whether its gain cannot be told from the largest one on these chips.
        share: Share of the variance of the margin, with the ends of its interval; shares may be negative.
        accuracy_share: Share of the variance of the accuracy.
    """

    name: str
    alone: Yield
    without: Yield
    gain: Difference
    tied: bool
    share: tuple[float, float, float]
    accuracy_share: float


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Scores of the same chips by what varies on them.

    Attributes:
        profile: The chip.
        parts: Names of the parts.
        by: How they are told apart: role, layer or component.
        scores: Scores of each chip by the set of parts that vary: none, each, all but each, all.
        requirement: What is asked of the chips.
        notes: What has to be said of the chip.
        population: What chips and data were, as one sentence.
    """

    profile: Profile
    parts: tuple[str, ...]
    by: str
    scores: Mapping[Varied, Scores]
    requirement: Requirement
    notes: tuple[str, ...] = ()
    population: str = ""

    @property
    def chips(self) -> int:
        """Number of chips K."""
        return len(self.scores[frozenset()].accuracy)

    def passes(self, varied: Varied) -> NDArray[np.bool_]:
        """Which chips reach the accuracy where these parts vary [K]."""
        return self.requirement.passes(self.scores[varied].accuracy)

    def yield_of(self, varied: Varied) -> Yield:
        """The yield where these parts vary."""
        return self.requirement.observed(int(self.passes(varied).sum()), self.chips)

    @property
    def everything(self) -> Varied:
        """All parts."""
        return frozenset(self.parts)

    def without(self, part: str) -> Varied:
        """All parts but one."""
        return self.everything - {part}

    @property
    def not_finite(self) -> NDArray[np.int64]:
        """Numbers of the chips with outputs that are not finite where everything varies; they fail."""
        return np.flatnonzero(np.isneginf(self.scores[self.everything].accuracy))

    def shares(self, measure: str = "margin") -> tuple[NDArray[np.float64], float]:
        """Shares of the variance over chips, of each part and of their interaction; they sum to 1.

        Args:
            measure: "margin" or "accuracy".
        """
        effects, total = self._effects(measure)
        found = variance_shares(effects, total)
        return found, float(1 - found.sum())

    def ranking(self) -> list[Part]:
        """What to calibrate first: by the yield that perfecting each part brings, then by the margin."""
        margins = {part: self._mean_margin(self.without(part)) for part in self.parts}
        shares, low, high = self._intervals()
        of_accuracy = dict(zip(self.parts, self.shares("accuracy")[0], strict=True))
        gains = {
            part: yields_apart(self.passes(self.everything), self.passes(self.without(part))) for part in self.parts
        }
        order = sorted(self.parts, key=lambda part: (-gains[part].value, -margins[part]))
        best = self.passes(self.without(order[0]))
        found = []
        for part in order:
            behind = yields_apart(self.passes(self.without(part)), best)
            n = self.parts.index(part)
            found.append(
                Part(
                    part,
                    self.yield_of(frozenset({part})),
                    self.yield_of(self.without(part)),
                    gains[part],
                    behind.low <= 0,
                    (float(shares[n]), float(low[n]), float(high[n])),
                    float(of_accuracy[part]),
                )
            )
        return found

    def only_together(self) -> tuple[int, int, tuple[str, ...]]:
        """Failures that no single part causes.

        Returns:
            How many chips fail where everything varies; how many of them pass with each part alone; and the parts of
            which perfecting any one cures at least half of these.
        """
        failing = ~self.passes(self.everything)
        alone = np.stack([self.passes(frozenset({part})) for part in self.parts]).all(0)
        together = failing & alone
        count = int(together.sum())
        cures = (
            [part for part in self.parts if self.passes(self.without(part))[together].mean() >= 0.5] if count else []
        )
        return int(failing.sum()), count, tuple(cures)

    @property
    def statement(self) -> str:
        """The answer as sentences: what to calibrate first, and whether parts fail only together."""
        best, *others = self.ranking()
        tied = [part.name for part in others if part.tied]
        if best.gain.low <= 0:
            first = f"no single {self.by} is known to raise the yield of these {self.chips} chips if it is perfected"
        else:
            names = " or ".join([best.name, *tied])
            same = f" (tied on {self.chips} chips)" if tied else ""
            first = f"calibrate {names} first{same}: yield {_signed(best.gain)} points if {best.name} is perfect"
        if len(self.not_finite):
            first += f"; {named(self.not_finite)} gave outputs that are not finite, and failed"
        failing, together, cures = self.only_together()
        if not together:
            return first
        # Deviations that merely add up have no interaction, and still a chip may fail only by several of them.
        add_up = not self.shares()[1] > _INTERACTION
        how = "only where several add up" if add_up else "by an interaction"
        why = f"{together} of {failing} failing chips pass with each {self.by} alone and fail {how}"
        return f"{first}; {why}" + (f"{', as' if add_up else ' of'} {' and '.join(cures)}" if len(cures) > 1 else "")

    def to_group(self) -> Group:
        """The scores as a group of a run file, with dimensions varied, part and instance."""
        names = [_name(varied, self.parts) for varied in self.scores]
        which = np.array([[part in varied for part in self.parts] for varied in self.scores])
        dims = ("varied", "instance")
        items = {"varied": Array(np.array(names), ("varied",)), "instance": Array(np.arange(self.chips), ("instance",))}
        items |= {"part": Array(np.array(self.parts), ("part",)), "varies": Array(which, ("varied", "part"))}
        items["profile"] = Array(np.array(self.profile.to_yaml()))
        for measure in Scores._fields:
            items[measure] = Array(np.stack([getattr(s, measure) for s in self.scores.values()]), dims)
        attrs: dict[str, Scalar] = {"by": self.by, "profile": self.profile.name, "hash": self.profile.hash}
        attrs |= {**self.requirement.to_attrs(), "notes": json.dumps(self.notes)}
        return Group(items, {**attrs, "statement": self.statement, "population": self.population})

    @classmethod
    def from_group(cls, group: Group) -> Sensitivity:
        """The sensitivity of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("sensitivity"):
            parts = tuple(str(part) for part in group.array("part").values)
            sets = [frozenset(np.array(parts)[row].tolist()) for row in group.array("varies").values]
            measures = (np.array(group.array(name).values, dtype=np.float64) for name in Scores._fields)
            scores = {varied: Scores(*row) for varied, *row in zip(sets, *measures, strict=True)}
            profile = parse_profile(str(group.array("profile").values), file="profile")
            notes, asked = tuple(json.loads(str(group.attrs["notes"]))), Requirement.from_attrs(group.attrs)
            return cls(profile, parts, str(group.attrs["by"]), scores, asked, notes, str(group.attrs["population"]))

    def _effects(self, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """f({p}) - f({}) [P, K] and f(all) - f({}) [K], of the chips whose scores are all finite."""
        of = {varied: getattr(scores, measure) for varied, scores in self.scores.items()}
        base = of[frozenset()]
        with np.errstate(invalid="ignore"):  # chips that are not finite in any case
            effects = np.stack([of[frozenset({part})] - base for part in self.parts])
            total = of[self.everything] - base
        finite = np.isfinite(effects).all(0) & np.isfinite(total)
        return effects[:, finite], total[finite]

    def _intervals(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the margin's variance, and the ends of their 95 % intervals by resampling chips."""
        effects, total = self._effects("margin")
        rows = np.random.default_rng(0).integers(0, len(total), (_RESAMPLES, len(total)))
        drawn = np.stack([variance_shares(effects[:, r], total[r]) for r in rows])
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        return variance_shares(effects, total), low, high

    def _mean_margin(self, varied: Varied) -> float:
        margin = self.scores[varied].margin
        return float(margin[~np.isnan(margin)].mean()) if not np.isnan(margin).all() else -np.inf


def sensitivity(
    net: Deployable,
    profile: Profile,
    task: Task,
    *,
    requirement: Requirement | None = None,
    by: str = "role",
    chips: int = 300,
    seed: int = 1,
    purpose: str = "test",
    trials: int = 1,
    show_progress: bool = False,
    piece: Piece = anew,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Sensitivity:
    """Score the same chips where each part of their variation is alone, is perfect, and where all vary.

    Args:
        net: A trained network.
        profile: The chip, or `Profile.relative(level)`.
        task: Data.
        requirement: Accuracy of a good chip, and the yield asked for.
        by: What a part is: a "role", a "layer" or a "component".
        chips: Number of chips, all of which are scored up to 2 parts + 2 times.
        seed: Seed of the chips.
        purpose: "test", or "validation" for validation chips on validation data.
        trials: Passes over the data.
        show_progress: Show progress on the standard error stream.
        piece: Keeps the scores of each set of parts (`analyses.Kept`).
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Raises:
        ConfigError: For an argument outside its domain.
        ProfileError: If nothing varies on the chip.
    """
    data = samples_for(purpose, task)
    whole = deployed(profile, net, chips, seed, purpose, **deploy)
    parts = parts_of(whole, by)
    if not parts:
        raise ProfileError(f"{profile.name}: nothing varies on it that the network has")
    everything = frozenset(parts)
    wanted = [frozenset(), *(frozenset({p}) for p in parts), *(everything - {p} for p in parts), everything]
    scores: dict[Varied, Scores] = {}
    with progress("chips", chips * len(set(wanted)), show=show_progress) as shown:
        for varied in dict.fromkeys(wanted):

            def scored(varied: Varied = varied) -> dict[str, NDArray[np.float64]]:
                chosen = whole if varied == everything else varying(whole, varied, by)
                return chip_scores(chosen, data, task.metric, trials=trials)._asdict()

            scores[varied] = Scores(**piece(_name(varied, parts), scored))
            shown.advance(chips, note=_name(varied, parts))
    about = population(task, len(data), chips, seed, purpose, trials)
    return Sensitivity(profile, parts, by, scores, requirement or Requirement(), whole.notes, about)


def variance_shares(effects: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cov(effect, total) / Var(total) of each part [P], from effects [P, K] and totals [K]; NaN if no chip differs."""
    if not len(total):
        return np.full(len(effects), np.nan)
    centred = total - total.mean()
    variance = float(centred @ centred)
    if variance <= 1e-24 * max(1.0, float(total @ total)):
        return np.full(len(effects), np.nan)
    shares: NDArray[np.float64] = (effects - effects.mean(1, keepdims=True)) @ centred / variance
    return shares


def yields_apart(before: NDArray[np.bool_], after: NDArray[np.bool_], confidence: float = 0.95) -> Difference:
    """Yield after less yield before, on the same chips [K].

    The interval is the adjusted Wald one of Bonett and Price 2012 (doi:10.3102/1076998611411915): with b and c chips
    that pass only after and only before, p = (b + 1)/(n + 2) and q = (c + 1)/(n + 2),
    p - q -+ z sqrt((p + q - (p - q)^2) / (n + 2)).
    """
    if len(before) != len(after) or not len(before):
        raise ConfigError(f"chips: {len(before)} and {len(after)} cannot be paired")
    better, worse, n = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    p, q = (better + 1) / (n + 2), (worse + 1) / (n + 2)
    half = float(ndtri((1 + confidence) / 2)) * ((p + q - (p - q) ** 2) / (n + 2)) ** 0.5
    return Difference((better - worse) / n, max(-1.0, p - q - half), min(1.0, p - q + half), better, worse)


def _name(varied: Varied, parts: tuple[str, ...]) -> str:
    """A set of parts in words."""
    if len(varied) in (0, len(parts)):
        return "all" if varied else "nothing"
    missing = [part for part in parts if part not in varied]
    return f"all but {missing[0]}" if len(missing) == 1 and len(parts) > 2 else " and ".join(sorted(varied))


def _signed(difference: Difference) -> str:
    """A difference of yields in points, with its interval."""
    return f"{100 * difference.value:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
