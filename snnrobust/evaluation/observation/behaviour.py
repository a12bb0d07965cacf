"""How chips behave beside their accuracy: measures by network, condition and chip, and by layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import RunFileError, unknown
from snnrobust.evaluation.analyses import analyses_of, readable
from snnrobust.evaluation.statistics.yields import passes
from snnrobust.storage import Array, Group, open_run

KIND = "behaviour"
CHIP_MEASURES = ("accuracy", "balanced_accuracy", "nonfinite", "agreement", "latency", "energy")
LAYER_MEASURES = ("spikes", "rate", "silent", "saturated", "tonic", "distance", "near")
NOMINAL = "nominal"
"""The condition of networks as they were trained, on no chip."""
UNITS = {"latency": "s", "energy": "J", "rate": "Hz"}


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What chips of some networks do under some conditions; the same chips everywhere.

    Attributes:
        models: Names of the networks.
        conditions: Names of the conditions; the first, `NOMINAL`, is the network on no chip, as often as there are
            chips.
        layers: Names of the spiking layers.
        neurons: Neurons of each layer [model, layer]; 0 where a network has no such layer.
        measures: Arrays by name, [model, condition, instance] and, of layers, [model, condition, instance, layer]
            (`observation.observe` says what they are); NaN where a chip was not run, or a measure is not available.
        metric: Which accuracy counts on this task: "accuracy" or "balanced accuracy".
        samples: Number of samples.
        notes: What has to be said beside each condition.
        population: What the chips and data were, as one sentence.
    """

    models: tuple[str, ...]
    conditions: tuple[str, ...]
    layers: tuple[str, ...]
    neurons: NDArray[np.int64]
    measures: dict[str, NDArray[np.float64]]
    metric: str = "accuracy"
    samples: int = 0
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    population: str = ""

    @classmethod
    def empty(
        cls,
        conditions: Sequence[str],
        neurons: Mapping[str, Mapping[str, int]],
        chips: int,
        **described: Any,  # noqa: ANN401 (fields of this class)
    ) -> Behaviour:
        """Nothing run yet: NaN everywhere.

        Args:
            conditions: Names of the conditions.
            neurons: Neurons of each layer, by network and layer.
            chips: Number of chips.
            **described: Fields of this class, from metric on.
        """
        layers = tuple(dict.fromkeys(layer for own in neurons.values() for layer in own))
        counts = np.array([[own.get(layer, 0) for layer in layers] for own in neurons.values()], dtype=np.int64)
        shape = (len(neurons), len(conditions), chips)
        measures = {name: np.full(shape, np.nan) for name in CHIP_MEASURES}
        measures |= {name: np.full((*shape, len(layers)), np.nan) for name in LAYER_MEASURES}
        return cls(tuple(neurons), tuple(conditions), layers, counts, measures, **described)

    @classmethod
    def joined(cls, parts: Sequence[Behaviour]) -> Behaviour:
        """Behaviour of the same chips on the same data side by side; NaN where a network was not run.

        Args:
            parts: At least one, of other networks or under other conditions.
        """
        neurons = {
            model: {layer: int(count) for layer, count in zip(part.layers, row, strict=True) if count > 0}
            for part in parts
            for model, row in zip(part.models, part.neurons, strict=True)
        }
        notes: dict[str, tuple[str, ...]] = {}
        for part in parts:
            for name, lines in part.notes.items():
                notes[name] = tuple(dict.fromkeys((*notes.get(name, ()), *lines)))
        conditions = list(dict.fromkeys(name for part in parts for name in part.conditions))
        first, chips = parts[0], max(part.accuracy.shape[-1] for part in parts)
        about = {"metric": first.metric, "samples": first.samples, "population": first.population}
        result = cls.empty(conditions, neurons, chips, notes=notes, **about)
        for part in parts:
            for m, c in np.ndindex(len(part.models), len(part.conditions)):
                found = {name: values[m, c] for name, values in part.measures.items()}
                found |= {name: found[name][:, part.neurons[m] > 0] for name in LAYER_MEASURES}
                place = result.models.index(part.models[m]), conditions.index(part.conditions[c])
                result.fill(*place, range(part.accuracy.shape[-1]), found)
        return result

    def fill(self, model: int, condition: int, block: range, found: Mapping[str, NDArray[np.float64]]) -> None:
        """Enter what a block of chips did; of one chip on condition `NOMINAL`, for all."""
        own = self.neurons[model] > 0
        for name in CHIP_MEASURES:
            self.measures[name][model, condition, block.start : block.stop] = found[name]
        for name in LAYER_MEASURES:
            self.measures[name][model, condition, block.start : block.stop][:, own] = found[name]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """The accuracy that counts on this task [model, condition, instance]."""
        return self.measures[self.metric.replace(" ", "_")]

    def good(self, specification: float) -> NDArray[np.bool_]:
        """Chips [model, condition, instance] that reach the specification, every one of their outputs finite."""
        finite: NDArray[np.bool_] = self.measures["nonfinite"] == 0
        return finite & passes(self.accuracy, specification)

    def to_group(self) -> Group:
        """The measures as a group of a run file, with dimensions model, condition, instance, layer."""
        dims = ("model", "condition", "instance", "layer")
        items = {
            "model": Array(np.array(self.models), ("model",)),
            "condition": Array(np.array(self.conditions), ("condition",)),
            "instance": Array(np.arange(self.accuracy.shape[-1]), ("instance",)),
            "layer": Array(np.array(self.layers), ("layer",)),
            "neurons": Array(self.neurons, ("model", "layer")),
        }
        for name, values in self.measures.items():
            items[name] = Array(values, dims[: values.ndim], {"units": UNITS[name]} if name in UNITS else {})
        notes = json.dumps({name: list(lines) for name, lines in self.notes.items()})
        return Group(
            items,
            {"metric": self.metric, "samples": self.samples, "notes": notes, "population": self.population},
        )

    @classmethod
    def from_group(cls, group: Group) -> Behaviour:
        """The measures of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("behaviour"):
            result = cls(
                _names(group, "model"),
                _names(group, "condition"),
                _names(group, "layer"),
                np.array(group.array("neurons").values, dtype=np.int64),
                {
                    name: np.array(group.array(name).values, dtype=np.float64)
                    for name in (*CHIP_MEASURES, *LAYER_MEASURES)
                },
                str(group.attrs["metric"]),
                int(group.attrs["samples"]),
                {name: tuple(map(str, lines)) for name, lines in json.loads(str(group.attrs["notes"])).items()},
                str(group.attrs["population"]),
            )
        chips = result.measures["accuracy"].shape[-1] if result.measures["accuracy"].ndim == 3 else -1
        shape = (len(result.models), len(result.conditions), chips, len(result.layers))
        wrong = [n for n in CHIP_MEASURES if result.measures[n].shape != shape[:3]]
        wrong += [n for n in LAYER_MEASURES if result.measures[n].shape != shape]
        wrong += [] if result.neurons.shape == (shape[0], shape[3]) else ["neurons"]
        wrong += [] if result.metric in ("accuracy", "balanced accuracy") else ["metric"]
        if wrong:
            raise RunFileError(f"behaviour: {', '.join(wrong)} do not fit the rest of the table")
        return result


def _names(group: Group, dim: str) -> tuple[str, ...]:
    return tuple(str(name) for name in group.array(dim).values)


def read_behaviour(path: str | Path, *, of: str | None = None) -> Behaviour:
    """The behaviour of chips in a run file: of one network, or of all side by side.

    Args:
        path: The run file.
        of: Which analysis, "network on chip"; all by default.

    Raises:
        RunFileError: If the file holds none, or several that are of other chips or data.
    """
    found = {name: Behaviour.from_group(group) for name, group in analyses_of(open_run(path), KIND).items()}
    if not found:
        raise RunFileError(
            f"{path}: holds no behaviour of chips; `snnrobust behaviour NET.h5 --profile P -o {path}` adds it"
        )
    if of is not None and of not in found:
        raise RunFileError(unknown("behaviour of", of, found))
    if of is None and len({(each.metric, each.samples, each.population) for each in found.values()}) > 1:
        raise RunFileError(f"of: {path} has several, of other chips or data; give one of {', '.join(map(repr, found))}")
    return Behaviour.joined(list(found.values())) if of is None else found[of]
