"""Spreads of every parameter in a file of measurements: what varies, by how much, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import MeasurementError
from snnrobust.hardware.measurement.components import Decomposition, Estimate, combination, decompose
from snnrobust.hardware.measurement.levels import LevelLaw, level_law, residuals
from snnrobust.hardware.measurement.repeats import Readings, adjacent_covariance, readings
from snnrobust.hardware.measurement.shape import Anomalies, Shape, anomalies, compare
from snnrobust.hardware.measurement.spatial import Alike, alike, with_field, without
from snnrobust.hardware.measurement.table import RANGE_UNIT, Measurements, Row

Bools = NDArray[np.bool_]

COMPONENTS = ("die", "core", "spatial", "device")
WEIGHTS = ("weight", "recurrent_weight")
FEWEST = 8
"""Devices below which a spread is not fitted."""
BY_TRIALS, BY_LEVELS, NOT_SEPARABLE = "trials", "adjacent levels", "not separable"


@dataclass(frozen=True)
class ParameterFit:
    """The spread of one parameter. Spreads are coefficients of variation, or, of an offset, in v_th - v_reset.

    Attributes:
        parameter: Its role.
        offset: Whether it is an offset (a normal spread) and not a factor.
        devices: Devices at the reference level, anomalous ones included.
        chips: Chips that they are on.
        values: Usable values, all levels and trials.
        granularity: What one device is: per_neuron, per_neuron_type or per_synapse.
        levels: Names and nominal values of the bias settings.
        reference: The level at which the components hold.
        spreads: die, core, spatial, device, where identifiable.
        missing: Why the others are not.
        noise: Spread of one reading around the device's value; None where it cannot be told from the device's own.
        noise_by: How it was told: trials, adjacent levels, or not separable.
        explained: R^2 of the planes within chips, None without coordinates.
        alike: Whether neighbours are alike beyond the planes, and the field that then takes their place; None without
            coordinates, or with too many devices a chip.
        shape: Normal against lognormal; None for an offset.
        anomalies: Devices apart from the others; they enter no spread.
        law: How the spread depends on the level; None with one level, or with too much noise.
    """

    parameter: str
    offset: bool
    devices: int
    chips: int
    values: int
    granularity: str
    levels: tuple[tuple[str, float], ...]
    reference: str
    spreads: Mapping[str, Estimate]
    missing: Mapping[str, str]
    noise: Estimate | None
    noise_by: str
    explained: float | None
    alike: Alike | None
    shape: Shape | None
    anomalies: Anomalies
    law: LevelLaw | None

    @property
    def distribution(self) -> str:
        """normal or lognormal."""
        return self.shape.chosen if self.shape is not None else "normal"


@dataclass(frozen=True)
class Fit:
    """All parameters of a file.

    Attributes:
        file: Name of the file.
        chips: Number of chips in it.
        parameters: Fits by parameter.
        sentinels: How many values of each parameter were none, by reason.
        left_out: Parameters that could not be fitted, and why.
    """

    file: str
    chips: int
    parameters: Mapping[str, ParameterFit]
    sentinels: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, str]


def fit_measurements(measurements: Measurements) -> Fit:
    """Fit every parameter of a file.

    Raises:
        MeasurementError: If none can be fitted, with one line for each.
    """
    fits: dict[str, ParameterFit] = {}
    left_out: dict[str, str] = {}
    for parameter, rows in measurements.parameters().items():
        try:
            fits[parameter] = fit_parameter(parameter, rows)
        except MeasurementError as error:
            left_out[parameter] = str(error)
    if not fits:
        raise MeasurementError("\n".join(f"{measurements.file}: {name}: {why}" for name, why in left_out.items()))
    return Fit(measurements.file, len(measurements.chips()), fits, measurements.sentinels, left_out)


def fit_parameter(parameter: str, rows: Sequence[Row]) -> ParameterFit:
    """The spread of one parameter.

    Anomalous devices are taken out, then both shapes are decomposed, and the likelier one is kept. Where neighbours are
    alike beyond a plane, a field takes its place.

    Raises:
        MeasurementError: If there are too few devices, or the unit of an offset is not v_th_range.
    """
    offset = rows[0].offset
    if offset and rows[0].unit != RANGE_UNIT:
        raise MeasurementError(f"unit {rows[0].unit!r}; needed: {RANGE_UNIT}, values in units of v_th - v_reset")
    data = readings(rows, "plain" if offset else "logarithm")
    level = data.reference()
    present = data.counts[:, level] > 0
    odd = _anomalies(data, present, level, offset)
    bulk = present.copy()
    bulk[present] = ~odd.chosen
    found = _decomposed(data, bulk, level)
    shape = None
    if not offset:
        linear = readings(rows, "relative")
        found_linear = _decomposed(linear, bulk, level)
        logarithms = data.values[bulk, level] - math.log(data.nominal[level])
        shape = compare(logarithms, found.left, found_linear.left)
        if shape.chosen == "normal":
            data, found = linear, found_linear
    to_spread = _cv_of_lognormal if shape is not None and shape.chosen == "lognormal" else math.sqrt
    device, noise, by = _separated(data, bulk, level, found)
    variances = {**found.variances, "device": device}
    neighbours = None
    if found.explained is not None:
        values, places = data.values[bulk, level], data.places.take(bulk)
        neighbours = alike(values, found.left, places)
        if neighbours is not None and neighbours.field is not None:
            variances = with_field(decompose(values, places, plane=False).variances, neighbours.field)
            noise_of_mean = found.residual.value - device.value
            variances["device"] = without(neighbours.field.nugget, 1.0, Estimate(*(noise_of_mean,) * 3))
    return ParameterFit(
        parameter=parameter,
        offset=offset,
        devices=int(present.sum()),
        chips=len(np.unique(data.places.chip[present])),
        values=len(rows),
        granularity=_granularity(parameter, rows),
        levels=tuple(zip(data.levels, data.nominal.tolist(), strict=True)),
        reference=data.levels[level],
        spreads={name: _each(variances[name], to_spread) for name in COMPONENTS if name in variances},
        missing=found.missing,
        noise=None if noise is None else _each(noise, to_spread),
        noise_by=by,
        explained=found.explained,
        alike=neighbours,
        shape=shape,
        anomalies=odd,
        law=None if offset else level_law(data, bulk, to_spread),
    )


def _anomalies(data: Readings, present: Bools, level: int, offset: bool) -> Anomalies:
    if present.sum() < FEWEST:
        raise MeasurementError(f"{int(present.sum())} devices at one bias; needed: {FEWEST}")
    places = data.places.take(present)
    _, group = np.unique(np.stack([places.chip, places.core]), axis=1, return_inverse=True)
    return anomalies(data.values[present, level], group.reshape(-1), logarithms=not offset)


def _decomposed(data: Readings, bulk: Bools, level: int) -> Decomposition:
    found = decompose(data.values[bulk, level], data.places.take(bulk))
    if found.residual.df < 3:
        raise MeasurementError(f"{int(bulk.sum())} devices, too few for their chips and cores")
    if found.residual.value < 1e-24:
        raise MeasurementError("all values are the same")
    return found


def _separated(data: Readings, bulk: Bools, level: int, found: Decomposition) -> tuple[Estimate, Estimate | None, str]:
    """Variance of the devices and of one reading at a level, and how they were told apart."""
    reading, per_trial = data.noise(level, bulk)
    if reading.df:
        device = combination([(1.0, found.residual), (-per_trial, reading)])
        return device, combination([(1.0, reading)]), BY_TRIALS
    left, levels, df = residuals(data, bulk)
    if len(levels) > 1:
        frozen = adjacent_covariance(left, levels.index(level), df)
        return combination([(1.0, frozen)]), combination([(1.0, found.residual), (-1.0, frozen)]), BY_LEVELS
    return combination([(1.0, found.residual)]), None, NOT_SEPARABLE


def _granularity(parameter: str, rows: Sequence[Row]) -> str:
    if parameter not in WEIGHTS:
        return "per_neuron"
    return "per_synapse" if any(row.device.synapse >= 0 for row in rows) else "per_neuron_type"


def _each(estimate: Estimate, function: Callable[[float], float]) -> Estimate:
    return Estimate(function(estimate.value), function(estimate.low), function(estimate.high))


def _cv_of_lognormal(variance: float) -> float:
    return math.sqrt(math.expm1(min(variance, 700.0)))
