"""Measured values of one chip as observations of its coordinates.

Which neuron of the network a row is about: with a column `layer`, neuron `neuron` of that layer. Else the neurons that
are on the chip are counted layer by layer, in the network's order, `limits.neurons_per_core` to a core; without that
limit core k is the k-th layer.

A factor is value / nominal, an offset (value - nominal) in units of v_th - v_reset. nominal is the row's own, or given
by parameter; 1 for values in units of nominal, 0 for offsets, and the network's own value for times. A spread that
depends on the level counts at the profile's reference level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from torch import Tensor

from snnrobust.errors import MeasurementError, unknown
from snnrobust.hardware.measurement.inverse import FARTHEST, standardised
from snnrobust.hardware.measurement.posterior import Floats, Posterior
from snnrobust.hardware.measurement.table import TYPES, Measurements, Row, row_errors
from snnrobust.hardware.mismatch import Placement
from snnrobust.hardware.schema.document import Parameter
from snnrobust.hardware.stages import Coordinate
from snnrobust.hardware.stages.base import device_shape
from snnrobust.hardware.stages.variation import SHARED, Variation

UPPER = 30.0
"""A coordinate beyond every quantile: decides that a device is anomalous, or, negative, that it is not."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What is known of a chip.

    Attributes:
        posterior: Measured deviations and how they follow from the coordinates.
        anomalous: By key of an outlier coordinate: measured devices, and which of them are anomalous.
        typical_size: By key of an outlier's size: measured devices, whose factor is the profile's own; what their value
            differs from it counts as their spread.
        notes: What the user has to know.
    """

    posterior: Posterior
    anomalous: Mapping[str, tuple[NDArray[np.intp], NDArray[np.bool_]]]
    typical_size: Mapping[str, NDArray[np.intp]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    """A row on a tensor: flat index of the device, and its factor or offset."""

    device: int
    value: float


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of devices of one tensor.

    Attributes:
        variation: The spread of the tensor.
        device: Flat index of each device, [M].
        zeta: Mean of its standardised readings.
        variance: Variance of that mean from read-out noise.
        odd: Whether the device is anomalous.
    """

    variation: Variation
    device: NDArray[np.intp]
    zeta: Floats
    variance: Floats
    odd: NDArray[np.bool_]


class _RowError(Exception):
    """Why a row does not fit, without file and line."""


def observe(
    placement: Placement, theta: Mapping[str, Tensor], measurements: Measurements, nominal: Mapping[str, float]
) -> Observations:
    """Translate measurements of one chip into observations.

    Args:
        placement: The network on the profile.
        theta: Nominal parameters of the network.
        measurements: Rows of one chip.
        nominal: What values should be, by parameter, for rows that do not say.

    Raises:
        MeasurementError: With one line for every kind of row that does not fit (`row_errors`).
    """
    grouped = _by_tensor(placement, theta, measurements, nominal)
    known, notes = [], []
    anomalous: dict[str, tuple[NDArray[np.intp], NDArray[np.bool_]]] = {}
    sizes: dict[str, NDArray[np.intp]] = {}
    for name, readings in grouped.items():
        found = _known(placement, theta, name, readings)
        known.append(found)
        notes.append(_note(name, found))
        keys = {c.component: c.key for c in found.variation.coordinates()}
        if "outlier" in keys and found.variation.entry.granularity not in SHARED:
            anomalous[keys["outlier"]] = found.device, found.odd
            sizes[keys["outlier_size"]] = found.device
    return Observations(_posterior(placement, theta, known), anomalous, sizes, tuple(notes))


def variation_of(placement: Placement, name: str) -> Variation | None:
    """The spread of a tensor, if it has one."""
    return next((stage for stage in placement.stages.get(name, ()) if isinstance(stage, Variation)), None)


def elements(variation: Variation) -> tuple[int, ...]:
    """Shape of zeta: one value a device, and one a neuron where the whole tensor shares the device draw."""
    granularity = variation.entry.granularity
    return device_shape("per_neuron" if granularity in SHARED else granularity, variation.spec.shape)


# --- from rows to devices ------------------------------------------------------------------------------


def _by_tensor(
    placement: Placement, theta: Mapping[str, Tensor], measurements: Measurements, nominal: Mapping[str, float]
) -> dict[str, list[_Reading]]:
    places = _layout(placement)
    found: dict[str, list[_Reading]] = {}
    errors = []
    for row in measurements.rows:
        try:
            name, reading = _reading(placement, theta, places, row, nominal)
            found.setdefault(name, []).append(reading)
        except _RowError as error:
            errors.append((row.line, str(error)))
    if errors:
        raise row_errors(measurements.file, errors)
    return found


def _layout(placement: Placement) -> list[tuple[str, int]]:
    """Neurons of each layer on the chip, in the network's order."""
    counts: dict[str, int] = {}
    for spec in placement.specs.values():
        if spec.on_chip and spec.role != "none":
            counts[spec.layer] = max(counts.get(spec.layer, 0), spec.shape[0] if spec.shape else 1)
    return list(counts.items())


def _neuron(row: Row, places: list[tuple[str, int]], per_core: int | None) -> tuple[str, int]:
    """Layer and neuron of a row (rule in the module's docstring)."""
    device, counts = row.device, dict(places)
    if device.layer:
        if device.layer not in counts:
            raise _RowError(unknown("layer", device.layer[:40], counts))
        layer, index = device.layer, device.neuron
    elif per_core is None:
        if device.core >= len(places):
            raise _RowError(f"core: {device.core}; the network has layers 0 to {len(places) - 1} on the chip")
        layer, index = places[device.core][0], device.neuron
    else:
        if device.neuron >= per_core:
            raise _RowError(f"neuron: {device.neuron}; a core has neurons 0 to {per_core - 1}")
        index = device.core * per_core + device.neuron
        ends = np.cumsum([count for _, count in places])
        number = min(int(np.searchsorted(ends, index, side="right")), len(places) - 1)
        layer, index = places[number][0], index - int(ends[number]) + places[number][1]
    if index >= counts[layer]:
        raise _RowError(f"neuron: {device.neuron} is beyond the network's neurons on the chip ({layer or 'network'})")
    return layer, index


def _reading(
    placement: Placement,
    theta: Mapping[str, Tensor],
    places: list[tuple[str, int]],
    row: Row,
    nominal: Mapping[str, float],
) -> tuple[str, _Reading]:
    layer, neuron = _neuron(row, places, placement.profile.limits.neurons_per_core)
    named = [n for n, spec in placement.specs.items() if (spec.layer, spec.role) == (layer, row.parameter)]
    if not named:
        raise _RowError(f"parameter: layer {layer or 'network'} has no {row.parameter}")
    variation = variation_of(placement, named[0])
    if variation is None or not variation.spreads():
        raise _RowError(f"parameter: the profile {placement.profile.name} has no spread of {row.parameter}")
    shape = elements(variation)
    second = 0
    if variation.entry.granularity == "per_synapse" and len(shape) > 1:
        second = row.device.synapse
        if not 0 <= second < shape[1] or math.prod(shape[2:]) != 1:
            raise _RowError(
                f"synapse: {second if second >= 0 else 'absent'}; needed: a source from 0 to {shape[1] - 1}"
            )
    elif len(shape) > 1 and shape[1] > 1:
        second = TYPES.index(row.device.type)
    index = neuron if len(shape) < 2 else neuron * shape[1] + second
    return named[0], _Reading(index, _deviation(row, variation.entry, theta[named[0]], index, nominal))


def _deviation(row: Row, entry: Parameter, theta: Tensor, index: int, nominal: Mapping[str, float]) -> float:
    """value / nominal, or value - nominal where the profile's spread is absolute."""
    if (entry.mode == "absolute" and entry.unit == "v_th_range") != row.offset:
        needed = "an offset, unit v_th_range" if entry.mode == "absolute" else "a factor"
        raise _RowError(f"unit: {row.unit}; the profile's spread of {row.parameter} is {needed}")
    expected = row.nominal if row.nominal is not None else nominal.get(row.parameter)
    if expected is None and row.offset:
        expected = 0.0
    elif expected is None and entry.mode == "relative" and row.unit == "1":
        expected = 1.0
    elif expected is None and (row.unit == "s" or entry.mode == "absolute") and theta.ndim == 1:
        expected = float(theta[index].abs())
    if expected is None or (entry.mode == "relative" and not expected > 0):
        raise _RowError(f"nominal: not known of {row.parameter} in {row.unit}; give a column or an argument `nominal`")
    return row.value / expected if entry.mode == "relative" else row.value - expected


# --- from devices to deviations ------------------------------------------------------------------------


def _known(placement: Placement, theta: Mapping[str, Tensor], name: str, readings: list[_Reading]) -> _Known:
    """Mean and noise of the standardised readings of each device.

    The noise is pooled over all devices with repetitions; without any, a value is exact but for the profile's own
    temporal part.
    """
    variation = variation_of(placement, name)
    if variation is None:  # rows of such a tensor are refused before
        raise MeasurementError(f"{name}: has no spread")
    at = np.array([r.device for r in readings])
    value = np.array([r.value for r in readings])
    device, which, counts = np.unique(at, return_inverse=True, return_counts=True)
    neurons, siblings = _at_devices(placement, theta, name, at)
    zeta = standardised(variation, value, neurons, siblings)
    odd = np.zeros(len(device), dtype=bool)
    total = math.sqrt(sum(s * s for s in variation.spreads().values()))
    law = variation.entry.outliers
    if law is not None and law.fraction:
        apart = standardised(variation, value / law.factor)
        plain, far = (np.bincount(which, z) / counts for z in (zeta, apart))
        wide = 1 + math.log1p(law.cv**2) / total**2
        odds = math.log(law.fraction / max(1 - law.fraction, 1e-300)) - math.log(wide) / 2
        odd = odds - far**2 / (2 * wide) + plain**2 / 2 > 0
        zeta = np.where(odd[which], apart, zeta)
    mean = np.bincount(which, zeta) / counts
    repeats = len(readings) - len(device)
    noise = ((zeta - mean[which]) ** 2).sum() / repeats if repeats else (variation.temporal() / total) ** 2
    return _Known(variation, device, mean, noise / counts, odd)


def _at_devices(
    placement: Placement, theta: Mapping[str, Tensor], name: str, at: NDArray[np.intp]
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Nominal values of the devices and of the same neurons' other parameters, for one value a neuron."""
    value = theta[name].detach()
    if value.ndim != 1:
        return None, {}
    others = {
        spec.role: theta[other].detach().double()[torch.from_numpy(at)]
        for other, spec in placement.specs.items()
        if spec.layer == placement.specs[name].layer and spec.shape == tuple(value.shape)
    }
    return value[torch.from_numpy(at)], others


def _note(name: str, found: _Known) -> str:
    text = f"{name}: {len(found.device)} devices measured"
    lost = int((np.abs(found.zeta) >= FARTHEST - 1e-6).sum())
    return text if not lost else f"{text}, {lost} of them outside the profile's spread and taken at its end"


# --- from deviations to coordinates --------------------------------------------------------------------


def _posterior(placement: Placement, theta: Mapping[str, Tensor], known: Sequence[_Known]) -> Posterior:
    """H, block by block: zeta is linear in every coordinate, so unit coordinates give its columns."""
    shared: dict[str, Floats] = {}
    own: dict[str, csc_matrix] = {}
    for c in (c for c in placement.coordinates.values() if c.kind == "continuous"):
        single = c.component == "device" and c.granularity not in SHARED
        read = _own if single else _columns
        parts: list[Any] = [read(found, c, theta[found.variation.name]) for found in known]
        if all(part is None for part in parts):
            continue
        size = math.prod(c.shape)
        filled = [csr_matrix((len(f.device), size)) if p is None else p for f, p in zip(known, parts, strict=True)]
        block = csc_matrix(vstack([csr_matrix(part) for part in filled]))
        if single:
            own[c.key] = block
        else:
            shared[c.key] = block.toarray()
    zeta = np.concatenate([np.zeros(0), *(found.zeta for found in known)])
    variance = np.concatenate([np.zeros(0), *(found.variance for found in known)])
    return Posterior(shared, own, zeta, variance)


def _columns(found: _Known, c: Coordinate, theta: Tensor) -> Floats | None:
    """Coefficients of a shared coordinate for each measured device, [M, size]."""
    size = math.prod(c.shape)
    unit = torch.eye(size, dtype=torch.float64).reshape(size, *c.shape)
    zeta = found.variation.standardised({c.key: unit}, theta.detach().double())
    if zeta is None:
        return None
    columns: Floats = zeta.expand(size, *elements(found.variation)).reshape(size, -1)[:, found.device].T.numpy()
    return columns


def _own(found: _Known, c: Coordinate, theta: Tensor) -> csr_matrix | None:
    """Coefficients of the devices' own coordinate, [M, size], one a row.

    A coordinate of ones gives the coefficients; one that counts its elements tells, by the ratio, which one it is.
    """
    size, double = math.prod(c.shape), theta.detach().double()
    count = torch.arange(1.0, size + 1, dtype=torch.float64).reshape(c.shape)
    ones, counted = (found.variation.standardised({c.key: z}, double) for z in (torch.ones_like(count), count))
    if ones is None or counted is None:
        return None
    shape = elements(found.variation)
    weight, position = (z.expand(shape).reshape(-1)[found.device].numpy() for z in (ones, counted))
    column = np.rint(position / np.where(weight, weight, 1.0)).astype(np.intp) - 1
    rows = np.arange(len(found.device))
    return csr_matrix((weight, (rows, np.where(weight, column, 0))), shape=(len(rows), size))
