"""Results of simulated chips: accuracy by model, condition and chip."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation.statistics.resampling import Samples, two_way_interval
from snnrobust.evaluation.statistics.sequences import Stopping
from snnrobust.evaluation.statistics.yields import Summary, counted, named, summarise
from snnrobust.storage import Array, Group, Scalar

MEASURES = ("accuracy", "balanced_accuracy", "nonfinite")
_STOPPING = ("until", "specification", "confidence")


@dataclass(frozen=True, eq=False)
class Tolerance:
    """What chips of some networks reach under some conditions; the same chips in every cell.

    Attributes:
        models: Names of the networks.
        conditions: Names of the conditions, such as "relative_0.2" or "dynapse1".
        levels: Relative mismatch level of each condition, NaN where it is a profile.
        measures: Arrays [model, condition, instance] by name: accuracy, balanced_accuracy, and nonfinite, the number
            of samples with non-finite outputs. NaN where a chip was not run yet.
        metric: Which accuracy counts on this task: "accuracy" or "balanced accuracy".
        notes: What has to be said beside each condition: blocks not simulated, roles without a model, limits.
        population: What the chips and data were, as one sentence.
        samples: Number of samples that each chip was tested on; 0 if it is not known.
        nominal: Accuracy of each network as it was trained, on no chip [model], where it was measured apart; NaN where
            not, as beside level 0, which is the same.
        stopping: When enough chips were simulated; None where their number was fixed.
        right: Which samples each chip classifies correctly; None where that was not kept.
    """

    models: tuple[str, ...]
    conditions: tuple[str, ...]
    levels: tuple[float, ...]
    measures: dict[str, NDArray[np.float64]]
    metric: str = "accuracy"
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    population: str = ""
    samples: int = 0
    nominal: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    stopping: Stopping | None = None
    right: Samples | None = None

    @classmethod
    def empty(
        cls,
        models: Sequence[str],
        conditions: Sequence[str],
        levels: Sequence[float],
        chips: int,
        **described: Any,  # noqa: ANN401 (fields of this class)
    ) -> Tolerance:
        """Nothing run yet: NaN everywhere; `described` are the fields from metric on."""
        shape = (len(models), len(conditions), chips)
        arrays = {name: np.full(shape, np.nan) for name in MEASURES}
        nominal = np.full(len(models), np.nan)
        return cls(tuple(models), tuple(conditions), tuple(levels), arrays, nominal=nominal, **described)

    def fill(self, place: Sequence[int] | NDArray[np.int64], measures: Mapping[str, NDArray[Any]]) -> None:
        """Enter the measures of a block of chips at place (model, condition, first chip, end)."""
        model, condition, start, stop = (int(v) for v in place)
        for name in MEASURES:
            self.measures[name][model, condition, start:stop] = measures[name]
        if self.right is not None and "hits" in measures:
            self.right.hits[model, condition, start:stop] = measures["hits"]

    def resume(self, done: Tolerance) -> None:
        """Enter all that an earlier table of the same benchmark holds."""
        for name in MEASURES:
            self.measures[name][...] = done.measures[name]
        self.nominal[...] = done.nominal if len(done.nominal) else np.nan
        if self.right is not None and done.right is not None:
            self.right.hits[...] = done.right.hits

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """The accuracy that counts on this task [model, condition, instance]."""
        return self.measures[self.metric.replace(" ", "_")]

    @property
    def counted(self) -> NDArray[np.float64]:
        """The accuracy by which a chip passes: -inf, which meets no specification, where its outputs are not finite."""
        return counted(self.accuracy, self.measures["nonfinite"])

    def remarks(self) -> dict[str, tuple[str, ...]]:
        """What has to be said beside each condition: its notes, and which chips gave outputs that are not finite."""
        found = {name: self.notes.get(name, ()) for name in self.conditions}
        for m, c in np.ndindex(len(self.models), len(self.conditions)):
            chips = np.flatnonzero(self.measures["nonfinite"][m, c] > 0)
            if len(chips):
                line = f"{self.models[m]}: {named(chips)} gave outputs that are not finite, which meet no specification"
                found[self.conditions[c]] += (line,)
        return found

    @property
    def chips(self) -> int:
        """Number of chips K."""
        return int(self.accuracy.shape[-1])

    def nominal_of(self, model: int) -> float:
        """Accuracy of a network as it was trained, on no chip; NaN where it is not known."""
        at_zero = self.accuracy[model, self.levels.index(0.0), 0] if 0.0 in self.levels else math.nan
        apart = self.nominal[model] if len(self.nominal) else math.nan
        return float(apart if math.isnan(at_zero) else at_zero)

    def summary(
        self, specification: float | None = None, drop: float = 0.02, *, simultaneous: bool = False
    ) -> list[Summary]:
        """Mean, std, minimum, 5 % quantile and yield of each model under each condition.

        Where chips were simulated until a verdict, the chips that led to it count, and the interval of the yield is
        that of the sequence; at another specification than that of the verdict there is no interval (0 to 1).

        Args:
            specification: The accuracy that a good chip reaches, a fraction; that of the verdict by default, or 0.9.
            drop: What a chip may lose of the nominal accuracy in the second yield, a fraction.
            simultaneous: Whether the intervals of yields are to hold at all specifications at once, so that one may be
                chosen after looking.

        Raises:
            ConfigError: If the specification or the drop is not 0 to 1, or the intervals are to hold at all
                specifications where chips were simulated until a verdict at one.
        """
        if simultaneous and self.stopping is not None:
            raise ConfigError(f"simultaneous: chips were simulated until {self.stopping.until}, at one specification")
        if specification is None:
            specification = 0.9 if self.stopping is None else self.stopping.specification
        for name, value in (("specification", specification), ("drop", drop)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name}: {value} must be a fraction from 0 to 1")
        cells = [(m, c) for c in range(len(self.conditions)) for m in range(len(self.models))]
        return [self._summary(m, c, specification, drop, simultaneous) for m, c in cells]

    def _summary(self, m: int, c: int, specification: float, drop: float, simultaneous: bool) -> Summary:
        accuracy, nonfinite = self.accuracy[m, c], self.measures["nonfinite"][m, c]
        decision = None if self.stopping is None else self.stopping.decide(self.counted[m, c])
        chips = self.chips if decision is None else decision.reached.chips
        found = summarise(
            self.models[m],
            self.conditions[c],
            accuracy[:chips],
            nonfinite[:chips],
            specification,
            nominal=self.nominal_of(m),
            drop=drop,
            simultaneous=simultaneous,
        )
        if decision is not None and self.stopping is not None:
            near = found.chips_near_nominal
            same = specification == self.stopping.specification
            found = found._replace(
                chips_passed=decision.reached if same else found.chips_passed.without_interval(),
                chips_near_nominal=None if near is None else near.without_interval(),
                verdict=decision.verdict if same else "",
                quantile05_bounds=(-math.inf, math.inf),  # they hold for a number of chips that was fixed
            )
        return found._replace(resampled=self._resampled(m, c, chips, specification))

    def _resampled(self, m: int, c: int, chips: int, specification: float) -> tuple[float, float] | None:
        """The interval over chips and samples; None where it is unknown which samples a chip gets right."""
        run = ~np.isnan(self.accuracy[m, c, :chips])
        if self.right is None or self.stopping is not None or not run.any():
            return None
        finite = self.measures["nonfinite"][m, c, :chips, None] == 0
        hits = np.where(finite, self.right.hits[m, c, :chips], 0)[run].astype(np.uint8)
        balanced = self.metric == "balanced accuracy"
        return two_way_interval(hits, self.right.classes, self.right.groups, specification, balanced=balanced)

    def to_group(self) -> Group:
        """The results as a group of a run file, with dimensions model, condition, instance."""
        dims = ("model", "condition", "instance")
        items = {
            "model": Array(np.array(self.models), ("model",)),
            "condition": Array(np.array(self.conditions), ("condition",)),
            "level": Array(np.array(self.levels, dtype=np.float64), ("condition",)),
            "instance": Array(np.arange(self.chips), ("instance",)),
            **{name: Array(values, dims) for name, values in self.measures.items()},
        }
        attrs: dict[str, Scalar] = {
            "metric": self.metric,
            "notes": json.dumps({name: list(lines) for name, lines in self.notes.items()}),
            "population": self.population,
            "samples": self.samples,
        }
        if len(self.nominal):
            items["nominal"] = Array(self.nominal, ("model",))
        if self.stopping is not None:
            attrs |= {name: getattr(self.stopping, name) for name in _STOPPING}
        if self.right is not None:
            items["hits"] = Array(self.right.hits, (*dims, "byte"))
            items["sample_class"] = Array(self.right.classes, ("sample",))
            items["sample_group"] = Array(self.right.groups, ("sample",))
        return Group(items, attrs)

    @classmethod
    def from_group(cls, group: Group) -> Tolerance:
        """The results of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        try:
            result = cls(
                tuple(str(name) for name in group.array("model").values),
                tuple(str(name) for name in group.array("condition").values),
                tuple(float(level) for level in group.array("level").values),
                {name: np.array(group.array(name).values, dtype=np.float64) for name in MEASURES},
                str(group.attrs["metric"]),
                {name: tuple(lines) for name, lines in json.loads(str(group.attrs["notes"])).items()},
                str(group.attrs["population"]),
                int(group.attrs["samples"]),
                np.array(group.array("nominal").values if "nominal" in group else [], dtype=np.float64),
                Stopping(**{name: group.attrs[name] for name in _STOPPING}) if "until" in group.attrs else None,  # type: ignore[arg-type]
                _right(group),
            )
        except (ConfigError, RunFileError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunFileError(f"tolerance: not a table of results ({error})") from error
        _check(result)
        return result


def _right(group: Group) -> Samples | None:
    if "hits" not in group:
        return None
    hits = np.array(group.array("hits").values, dtype=np.uint8)
    names = ("sample_class", "sample_group")
    return Samples(hits, *(np.array(group.array(name).values, dtype=np.int64) for name in names))


def _check(result: Tolerance) -> None:
    """Refuse a table that no benchmark of ours writes: the file is from elsewhere."""
    shape = (len(result.models), len(result.conditions), len(result.measures["accuracy"].T))
    if result.metric.replace(" ", "_") not in ("accuracy", "balanced_accuracy"):
        raise RunFileError(f"tolerance: metric {result.metric!r} must be accuracy or balanced accuracy")
    if len(result.levels) != shape[1] or any(values.shape != shape for values in result.measures.values()):
        raise RunFileError(f"tolerance: the arrays of the results do not have the shape {shape}")
    if len(result.nominal) not in (0, shape[0]):
        raise RunFileError(f"tolerance: {len(result.nominal)} nominal accuracies for {shape[0]} networks")
    right = result.right
    if right is not None:
        samples = len(right.classes)
        fits = right.hits.shape == (*shape, -(-samples // 8)) and right.groups.shape == (samples,) and samples
        if not fits or right.groups.min() < 0 or right.groups.max() >= samples:
            raise RunFileError("tolerance: the samples that chips classify correctly do not fit the results")
    if (result.accuracy < 0).any() or (result.accuracy > 1).any():
        raise RunFileError("tolerance: an accuracy is outside 0 to 1")
