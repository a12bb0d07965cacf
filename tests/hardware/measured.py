"""Planted measurements for tests: rows of chips whose components are known."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snnrobust.hardware.measurement.table import Device, Row

PLANTED = {"die": 0.08, "core": 0.05, "spatial": 0.06, "device": 0.1}
"""Standard deviations of logarithms."""


def cv(s: float) -> float:
    return math.sqrt(math.expm1(s * s))


def planted(
    random: np.random.Generator,
    *,
    chips: int = 5,
    cores: int = 4,
    neurons: int = 16,
    spread: Mapping[str, float] = PLANTED,
    noise: float = 0.04,
    trials: int = 2,
    levels: Sequence[float] = (1.0,),
    exponent: float = 0.0,
    places: bool = True,
    shape: str = "lognormal",
    anomalous: int = 0,
    factor: float = 3.0,
) -> list[Row]:
    """Rows of a weight in mV, 20 mV at level 1; the first `anomalous` neurons of each chip are `factor` larger."""
    side, grid = math.isqrt(neurons), math.ceil(math.sqrt(cores))
    core, neuron = np.divmod(np.arange(cores * neurons), neurons)
    xy = np.stack([core % grid * side + neuron % side, core // grid * side + neuron // side], 1).astype(float)
    centred = xy - xy.mean(0)
    plane = centred / math.sqrt((centred**2).sum(1).mean())
    rows = []
    for chip in range(chips):
        z = spread.get("die", 0.0) * random.standard_normal()
        z = z + spread.get("core", 0.0) * random.standard_normal(cores)[core]
        z = z + spread.get("spatial", 0.0) * (plane @ random.standard_normal(2))
        z = z + spread["device"] * random.standard_normal(len(core))
        z[:anomalous] += math.log(factor)
        for level in levels:
            for trial in range(trials):
                deviation = level**exponent * z + noise * random.standard_normal(len(core))
                values = 20 * level * (np.exp(deviation) if shape == "lognormal" else 1 + deviation)
                rows += [
                    Row(
                        len(rows) + 2 + i,
                        Device(f"chip{chip}", int(k), int(n)),
                        "weight",
                        float(v),
                        (float(x), float(y)) if places else None,
                        f"{level:g}",
                        str(trial),
                        "mV",
                    )
                    for i, (k, n, v, (x, y)) in enumerate(zip(core, neuron, values, xy, strict=True))
                ]
    return rows


def write(path: Path, rows: Sequence[Row]) -> Path:
    """The rows as a CSV file with every column that they use."""
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["chip", "core", "neuron", "x", "y", "parameter", "bias", "trial", "value", "unit"])
        for r in rows:
            place = r.place or ("", "")
            table.writerow(
                [r.device.chip, r.device.core, r.device.neuron, *place, r.parameter, r.bias, r.trial, r.value, r.unit]
            )
    return path
