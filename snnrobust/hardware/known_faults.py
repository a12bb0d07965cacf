"""One chip whose faults are known: read from a file, and simulated with exactly these.

A fault map is a CSV file with a fault a row:

    parameter,neuron,source,device,kind
    layer0.weight,3,17,,dead_synapse
    layer0.weight,4,2,g_plus,stuck_lrs
    layer0,5,,,dead_neuron

`parameter` is a weight tensor, or, of a dead neuron, the layer; `neuron` and `source` count from 0 (of a tensor with
more than two axes, sources are counted in the order of its memory); `device` names the cell of a weight that several
hold (`g_plus`, `g_minus`, ...), and may be left out of crossbars with one device a weight.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, MeasurementError, unknown
from snnrobust.hardware import individual, mismatch
from snnrobust.hardware.crossbar.mapping import devices
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.mismatch import Placement, place
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.randomness import upper_quantile
from snnrobust.hardware.stages import Coordinate
from snnrobust.hardware.stages.base import STATIC, TEMPORAL, Kind
from snnrobust.snn.specs import WEIGHTS

COLUMNS = ("parameter", "neuron", "source", "device", "kind")
REQUIRED = ("parameter", "neuron", "kind")
KINDS = ("dead_synapse", "dead_neuron", "stuck_lrs", "stuck_hrs")
_STUCK = ("stuck_lrs", "stuck_hrs")
_WELL = -30.0  # below every quantile: no fault


@dataclass(frozen=True)
class Fault:
    """One fault, and the line of the file that states it (the columns: see the module)."""

    parameter: str
    neuron: int
    source: int | None
    device: str
    kind: str
    line: int = 0


@dataclass(frozen=True)
class FaultMap:
    """The faults of one chip, and the file that they are from."""

    faults: tuple[Fault, ...]
    file: str = "fault map"


@dataclass(frozen=True)
class FaultyChips(Deployment):
    """A deployment all of whose chips have the same, known faults, and differ in the rest as before.

    Attributes:
        base: The deployment without them.
        known: Coordinates of the faults, [*shape] by key.
    """

    base: Deployment | None = None
    known: Mapping[str, Tensor] = field(default_factory=dict)

    def coordinates(
        self, chips: Sequence[int], trial: int = 0, part: int = 0, *, kinds: Sequence[Kind] = (*STATIC, *TEMPORAL)
    ) -> dict[str, Tensor]:
        """Those of the chips without the faults, and those of the faults."""
        found: dict[str, Tensor] = {}
        if self.base is not None:  # what is written on the chips is drawn for, too
            base = replace(self.base, theta=self.theta, writes=self.writes, first=self.first)
            found = base.coordinates(chips, trial, part, kinds=kinds)
        held = {k: z.expand(len(chips), *z.shape) for k, z in self.known.items() if "fixed" in kinds}
        return {key: z for key, z in found.items() if key in self.placement.coordinates} | held


def read_faults(path: str | Path) -> FaultMap:
    """The fault map in a CSV file (columns: see the module).

    Raises:
        MeasurementError: If the file cannot be read, with one line for every error in it.
    """
    file = str(path)
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, restkey="")
            missing = [name for name in REQUIRED if name not in (table.fieldnames or ())]
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise MeasurementError(f"{file}: cannot be read: {reason}") from error
    if missing:
        raise MeasurementError(f"{file}:1: columns missing: {', '.join(missing)}")
    errors: list[str] = []
    found = []
    for line, row in enumerate(rows, 2):
        try:
            found.append(_fault(row, line))
        except ConfigError as error:
            errors.append(f"{file}:{line}: {error}")
    if errors:
        raise MeasurementError("\n".join(errors))
    return FaultMap(tuple(found), file)


def with_faults(deployment: Deployment, faults: FaultMap) -> FaultyChips:
    """The deployment on chips that have exactly these faults, instead of those that the profile draws.

    Raises:
        ConfigError: If the deployment leaves faults out (only="mismatch").
        MeasurementError: With one line for every fault that does not fit the network or the profile.
    """
    if not deployment.periphery:
        raise ConfigError("only: 'mismatch' leaves faults out; deploy without it")
    old = deployment.placement
    placement = place(_profile(deployment, faults), old.specs, calibration=old.calibration)
    known = {c.key: torch.full(c.shape, _WELL) for c in placement.coordinates.values() if _of_faults(c)}
    errors = []
    for fault in faults.faults:
        try:
            _enter(fault, placement, known)
        except ConfigError as error:
            errors.append(f"{faults.file}:{fault.line}: {error}")
    if errors:
        raise MeasurementError("\n".join(errors))
    with torch.no_grad():  # what comes before the first random stage ends earlier where faults are the first
        plain = mismatch.stored(placement, individual.rows(old.specs, deployment.theta, 0))
        kept = individual.stored(placement, deployment.theta, plain)
    same = {f.name: getattr(deployment, f.name) for f in fields(Deployment)}
    note = f"the {len(faults.faults)} faults of {faults.file} on every chip, and no others"
    changed = {**same, "placement": placement, "stored": kept, "notes": (*deployment.notes, note)}
    return FaultyChips(**changed, base=deployment, known=known)


def _fault(row: Mapping[str | None, str | list[str] | None], line: int) -> Fault:
    for name in row:
        if name not in COLUMNS:
            raise ConfigError(unknown("column", str(name), COLUMNS))
    cells = {name: str(row.get(name) or "").strip() for name in COLUMNS}
    if cells["kind"] not in KINDS:
        raise ConfigError(unknown("kind", cells["kind"], KINDS))
    if not cells["parameter"]:
        raise ConfigError("parameter: is missing")
    source = None if cells["kind"] == "dead_neuron" else _number("source", cells["source"])
    return Fault(cells["parameter"], _number("neuron", cells["neuron"]), source, cells["device"], cells["kind"], line)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ConfigError(f"{name}: {text[:20]!r} must be a whole number from 0")
    return int(text)


def _profile(deployment: Deployment, faults: FaultMap) -> Profile:
    """The deployment's profile, its rates of faults those of the map: only a rate that is not 0 has coordinates."""
    profile, specs = deployment.profile, deployment.placement.specs.values()
    synapses = sum(math.prod(s.shape) for s in specs if s.on_chip and s.role in WEIGHTS)
    cells = synapses * (1 if profile.crossbar is None else len(devices(profile.crossbar)))
    neurons = sum(s.shape[0] for s in specs if s.on_chip and s.role == "gain")
    sizes = {"dead_synapse": synapses, "dead_neuron": neurons, "stuck_lrs": cells, "stuck_hrs": cells}
    rates = {kind: min(1.0, _count(faults, kind) / max(size, 1)) for kind, size in sizes.items()}
    changed = profile.faults.model_copy(update={**rates, "not_converged": 0.0, "clustered": False, "known": True})
    return profile.model_copy(update={"faults": changed})


def _count(faults: FaultMap, kind: str) -> int:
    return sum(fault.kind == kind for fault in faults.faults)


def _of_faults(c: Coordinate) -> bool:
    return c.kind == "fixed" and (c.component in KINDS or c.component.endswith(".fault"))


def _enter(fault: Fault, placement: Placement, known: Mapping[str, Tensor]) -> None:
    """Set the coordinate of a fault."""
    component, profile = fault.kind, placement.profile
    if fault.kind in _STUCK:
        if profile.crossbar is None:
            raise ConfigError(f"kind: {fault.kind}; {profile.name} has no crossbar whose cells could be stuck")
        names = devices(profile.crossbar)
        device = fault.device or (names[0] if len(names) == 1 else "")
        if device not in names:
            raise ConfigError(unknown("device", device, names))
        component = f"{device}.fault"
    key = f"{fault.parameter}/{component}"
    if key not in known:
        raise ConfigError(unknown("parameter", fault.parameter, [k.partition("/")[0] for k in known if component in k]))
    shape = known[key].shape
    ends = {"neuron": (fault.neuron, shape[0])}
    if fault.source is not None:
        ends["source"] = fault.source, math.prod(shape[1:])
    for name, (index, count) in ends.items():
        if index >= count:
            raise ConfigError(f"{name}: {index} of {fault.parameter} must be from 0 to {count - 1}")
    if float(known[key].reshape(shape[0], -1)[fault.neuron, fault.source or 0]) != _WELL:
        raise ConfigError(f"neuron: {fault.neuron} of {fault.parameter} has a fault already")
    rates = profile.faults
    inside = rates.stuck_lrs + rates.stuck_hrs / 2  # the middle of the tail that says "stuck at high resistance"
    value = upper_quantile(inside) if fault.kind == "stuck_hrs" else -_WELL
    known[key].reshape(shape[0], -1)[fault.neuron, fault.source or 0] = value
