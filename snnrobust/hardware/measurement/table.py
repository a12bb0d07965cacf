"""Measurements as a tidy CSV file: one row a measured value.

    chip        name of the chip (required)
    neuron      number of the neuron in its core, or in `layer`, from 0 (required)
    parameter   a role of profiles: weight, tau_mem, v_th, ... (required); v_th counts from v_leak
    value       the measured value (required)
    core        number of the core, from 0; 0 where absent
    x, y        place of the neuron on the die, in any unit; unknown where absent
    bias        name of the bias setting; all rows have the same one where absent
    trial       name of the repetition; where absent, rows of the same device and bias are repetitions
    unit        s, ms and us are times; v_th_range is a potential in units of v_th - v_reset; 1 (the default) is a
                fraction of nominal; anything else is kept as a name
    nominal     what the value should be, in the same unit
    layer       name of the network's layer
    type        excitatory (the default) or inhibitory, of a weight
    synapse     number of the weight's source, where weights differ synapse by synapse

Values that no instrument means are sentinels: empty, NaN, infinite, at least 1e30, and not positive where the parameter
is. They are counted, not used.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from snnrobust.errors import MeasurementError, unknown
from snnrobust.hardware.schema.base import Role
from snnrobust.storage.files import one_line

REQUIRED = ("chip", "neuron", "parameter", "value")
OPTIONAL = ("core", "x", "y", "bias", "trial", "unit", "nominal", "layer", "type", "synapse")
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
TYPES = ("excitatory", "inhibitory")
RANGE_UNIT = "v_th_range"
OFFSETS = ("v_leak", "v_reset")
"""Roles whose zero is arbitrary: always measured as an offset."""
HUGE = 1e30
_SHOWN_LINES, _SHOWN_ERRORS = 5, 20


@dataclass(frozen=True)
class Device:
    """Which device a row is about.

    Attributes:
        chip: Name of the chip.
        core: Number of the core.
        neuron: Number of the neuron in its core or layer.
        layer: Name of the network's layer; empty if the file has none.
        type: excitatory or inhibitory.
        synapse: Number of the source; -1 if the file has none.
    """

    chip: str
    core: int
    neuron: int
    layer: str = ""
    type: str = "excitatory"
    synapse: int = -1


@dataclass(frozen=True)
class Row:
    """One measured value, times in s.

    Attributes:
        line: Line of the file.
        device: What was measured.
        parameter: Role.
        value: Finite.
        place: (x, y), or None.
        bias: Name of the bias setting.
        trial: Name of the repetition.
        unit: s, v_th_range, 1, or any other name.
        nominal: What the value should be, or None.
    """

    line: int
    device: Device
    parameter: str
    value: float
    place: tuple[float, float] | None = None
    bias: str = ""
    trial: str = ""
    unit: str = "1"
    nominal: float | None = None

    @property
    def offset(self) -> bool:
        """Whether the value is an offset in units of v_th - v_reset, and not a positive quantity."""
        return self.unit == RANGE_UNIT or self.parameter in OFFSETS


@dataclass(frozen=True)
class Measurements:
    """What a file holds.

    Attributes:
        file: Name of the file.
        rows: Usable values, in the order of the file.
        sentinels: How many values of each parameter were none, by reason.
    """

    file: str
    rows: tuple[Row, ...]
    sentinels: Mapping[str, Mapping[str, int]]

    def parameters(self) -> dict[str, tuple[Row, ...]]:
        """Usable rows by parameter, in the order of the file."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.parameter, []).append(row)
        return {name: tuple(rows) for name, rows in found.items()}

    def chips(self) -> list[str]:
        """Names of the chips that have usable values."""
        return sorted({row.device.chip for row in self.rows})


class _RowError(Exception):
    """What is wrong with a row, without file and line."""


def read_measurements(path: str | os.PathLike[str]) -> Measurements:
    """Read a CSV file of measurements (columns above).

    Raises:
        MeasurementError: With one line for every kind of error, `file:line: what is wrong` (`row_errors`).
    """
    file = one_line(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return _read(stream, file)
    except OSError as error:
        raise MeasurementError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise MeasurementError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    except csv.Error as error:
        raise MeasurementError(f"{file}: is not a CSV file: {error}") from None


def _read(lines: Iterator[str], file: str) -> Measurements:
    reader = csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    errors = [(1, message) for message in _header_errors(header)]
    if errors:
        raise row_errors(file, errors)
    rows: list[Row] = []
    sentinels: dict[str, Counter[str]] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        try:
            if len(cells) != len(header):
                raise _RowError(f"{len(cells)} cells; the header has {len(header)}")
            row = _row({name: cell.strip() for name, cell in zip(header, cells, strict=True)}, reader.line_num)
        except _RowError as error:
            errors.append((reader.line_num, str(error)))
            continue
        reason = _sentinel(row)
        if reason is None:
            rows.append(row)
        else:
            sentinels.setdefault(row.parameter, Counter())[reason] += 1
    if "trial" not in header:
        rows = _numbered(rows)
    errors += _contradictions(rows)
    if errors:
        raise row_errors(file, errors)
    if not rows:
        raise MeasurementError(f"{file}: holds no usable value")
    return Measurements(file, tuple(rows), {name: dict(counts) for name, counts in sentinels.items()})


def row_errors(file: str, errors: Iterable[tuple[int, str]]) -> MeasurementError:
    """Errors in lines of a file, as one: a line for each kind, with the first lines that have it and their number.

    Args:
        file: Name of the file.
        errors: Lines of the file, and what is wrong there.
    """
    found: dict[str, list[int]] = {}
    for line, message in errors:
        found.setdefault(message, []).append(line)
    said = []
    for message, lines in found.items():
        more = ", ..." if len(lines) > _SHOWN_LINES else ""
        where = f" ({len(lines):,} lines: {', '.join(map(str, lines[:_SHOWN_LINES]))}{more})" if len(lines) > 1 else ""
        said.append(f"{file}:{lines[0]}: {message}{where}")
    rest = [f"{file}: and {len(said) - _SHOWN_ERRORS:,} more errors"] if len(said) > _SHOWN_ERRORS else []
    return MeasurementError("\n".join(said[:_SHOWN_ERRORS] + rest))


def _header_errors(header: list[str]) -> Iterator[str]:
    known = (*REQUIRED, *OPTIONAL)
    for name in dict.fromkeys(header):
        if name not in known:
            yield unknown("column", name[:40], known)
        elif header.count(name) > 1:
            yield f"column {name} is given twice"
    for name in REQUIRED:
        if name not in header:
            yield f"column {name} is missing; needed: {', '.join(REQUIRED)}"
    if ("x" in header) != ("y" in header):
        yield "columns x and y go together"


def _row(cells: Mapping[str, str], line: int) -> Row:
    parameter, unit = cells["parameter"], cells.get("unit") or "1"
    if parameter not in get_args(Role):
        raise _RowError(unknown("parameter", parameter[:40], get_args(Role)))
    kind = cells.get("type") or TYPES[0]
    if kind not in TYPES:
        raise _RowError(unknown("type", kind[:40], TYPES))
    if not cells["chip"]:
        raise _RowError("chip: is empty; needed: the name of the chip")
    scale = TIMES.get(unit, 1.0)
    place = (_number(cells, "x"), _number(cells, "y")) if cells.get("x") or cells.get("y") else None
    if place is not None and not all(map(math.isfinite, place)):
        raise _RowError(f"x, y: {place[0]:g}, {place[1]:g} must be finite")
    nominal = scale * _number(cells, "nominal") if cells.get("nominal") else None
    synapse = _whole(cells, "synapse") if cells.get("synapse") else -1
    core = _whole(cells, "core") if cells.get("core") else 0
    device = Device(cells["chip"], core, _whole(cells, "neuron"), cells.get("layer", ""), kind, synapse)
    row = Row(
        line,
        device,
        parameter,
        scale * _number(cells, "value") if cells["value"] else math.nan,
        place,
        cells.get("bias", ""),
        cells.get("trial", ""),
        "s" if unit in TIMES else unit,
        nominal,
    )
    if nominal is not None and not (math.isfinite(nominal) and (row.offset or nominal > 0)):
        raise _RowError(f"nominal: {cells['nominal']} must be a finite{'' if row.offset else ' positive'} number")
    return row


def _number(cells: Mapping[str, str], name: str) -> float:
    try:
        return float(cells[name])
    except ValueError:
        raise _RowError(f"{name}: {cells[name][:40]!r} is not a number") from None


def _whole(cells: Mapping[str, str], name: str) -> int:
    if not (cells[name].isascii() and cells[name].isdigit()) or len(cells[name]) > 9:
        raise _RowError(f"{name}: {cells[name][:40]!r} must be a whole number from 0")
    return int(cells[name])


def _sentinel(row: Row) -> str | None:
    """Why a value is none, or None if it is one."""
    if math.isnan(row.value):
        return "empty or NaN"
    if abs(row.value) >= HUGE:
        return "infinite or at least 1e30"
    return "not positive" if row.value <= 0 and not row.offset else None


def _numbered(rows: list[Row]) -> list[Row]:
    """Rows of the same device, parameter and bias as trials 1, 2, ..."""
    seen: Counter[tuple[Device, str, str]] = Counter()
    numbered = []
    for row in rows:
        cell = (row.device, row.parameter, row.bias)
        seen[cell] += 1
        numbered.append(replace(row, trial=str(seen[cell])))
    return numbered


def _contradictions(rows: list[Row]) -> Iterator[tuple[int, str]]:
    """Rows that say of a thing what an earlier row says otherwise."""
    cells: dict[object, int] = {}
    units: dict[str, Row] = {}
    places: dict[object, Row] = {}
    for row in rows:
        cell = (row.device, row.parameter, row.bias, row.trial)
        if cell in cells:
            yield row.line, f"repeats line {cells[cell]}: the same device, parameter, bias and trial"
        cells.setdefault(cell, row.line)
        first = units.setdefault(row.parameter, row)
        if row.unit != first.unit:
            yield row.line, f"unit: {row.unit!r} of {row.parameter}; line {first.line} has {first.unit!r}"
        neuron = (row.device.chip, row.device.core, row.device.neuron, row.device.layer)
        first = places.setdefault(neuron, row)
        if row.place != first.place:
            yield row.line, f"x, y: {row.place} of the same neuron; line {first.line} has {first.place}"
