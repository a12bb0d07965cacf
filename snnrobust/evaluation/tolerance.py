"""Results of simulated chips: accuracy by model, condition and chip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation.statistics import Summary, summarise
from snnrobust.storage import Array, Group

MEASURES = ("accuracy", "balanced_accuracy", "nonfinite")


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
    """

    models: tuple[str, ...]
    conditions: tuple[str, ...]
    levels: tuple[float, ...]
    measures: dict[str, NDArray[np.float64]]
    metric: str = "accuracy"
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    population: str = ""
    samples: int = 0

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
        return cls(tuple(models), tuple(conditions), tuple(levels), arrays, **described)

    def fill(self, place: Sequence[int] | NDArray[np.int64], measures: Mapping[str, NDArray[np.float64]]) -> None:
        """Enter the measures of a block of chips at place (model, condition, first chip, end)."""
        model, condition, start, stop = (int(v) for v in place)
        for name in MEASURES:
            self.measures[name][model, condition, start:stop] = measures[name]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """The accuracy that counts on this task [model, condition, instance]."""
        return self.measures[self.metric.replace(" ", "_")]

    @property
    def chips(self) -> int:
        """Number of chips K."""
        return int(self.accuracy.shape[-1])

    def summary(self, specification: float = 0.9) -> list[Summary]:
        """Mean, std, minimum, 5 % quantile and yield of each model under each condition.

        Args:
            specification: The accuracy that a good chip reaches, a fraction.

        Raises:
            ConfigError: If the specification is not 0 to 1.
        """
        if not 0 <= specification <= 1:
            raise ConfigError(f"specification: {specification} must be a fraction from 0 to 1")
        return [
            summarise(model, condition, self.accuracy[m, c], self.measures["nonfinite"][m, c], specification)
            for c, condition in enumerate(self.conditions)
            for m, model in enumerate(self.models)
        ]

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
        notes = json.dumps({name: list(lines) for name, lines in self.notes.items()})
        return Group(
            items, {"metric": self.metric, "notes": notes, "population": self.population, "samples": self.samples}
        )

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
            )
        except (RunFileError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunFileError(f"tolerance: not a table of results ({error})") from error
        _check(result)
        return result


def _check(result: Tolerance) -> None:
    """Refuse a table that no benchmark of ours writes: the file is from elsewhere."""
    shape = (len(result.models), len(result.conditions), len(result.measures["accuracy"].T))
    if result.metric.replace(" ", "_") not in ("accuracy", "balanced_accuracy"):
        raise RunFileError(f"tolerance: metric {result.metric!r} must be accuracy or balanced accuracy")
    if len(result.levels) != shape[1] or any(values.shape != shape for values in result.measures.values()):
        raise RunFileError(f"tolerance: the arrays of the results do not have the shape {shape}")
    if (result.accuracy < 0).any() or (result.accuracy > 1).any():
        raise RunFileError("tolerance: an accuracy is outside 0 to 1")
