"""A network placed on a profile: theta' = realise(placement, theta, z), where every z is one possible device.

Sampling draws z, attacking chooses it; z = 0 (or absent) is the device without random variation. A tensor that no
stage changes is returned as it is, without an instance axis.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware import randomness
from snnrobust.hardware.calibration import mode_of
from snnrobust.hardware.layout import Layout, pack
from snnrobust.hardware.normals import fast_normals, normals
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.schema.document import Spatial
from snnrobust.hardware.stages import Array, Context, Coordinate, Site, Stage, Z, generator_for, stages_for
from snnrobust.hardware.stages.base import STATIC, TEMPORAL, Kind
from snnrobust.hardware.stages.calibration import calibrate
from snnrobust.hardware.stages.correlation import correlate
from snnrobust.hardware.stages.fields import basis
from snnrobust.snn.specs import ParameterSpec

ON_ZEROS = "relative spread has no effect on zeros: "
"""What a note on tensors that are `inert` begins with."""


@dataclass(frozen=True)
class Placement:
    """Which stages act on which parameter of a network.

    Attributes:
        profile: The chip.
        specs: The network's parameters.
        stages: Stages of each parameter that has any, in order.
        coordinates: Every coordinate that the stages read, by key.
        layout: Where the neurons lie on the chip.
        calibration: The mode of calibration that the stages have.
    """

    profile: Profile
    specs: Mapping[str, ParameterSpec]
    stages: Mapping[str, tuple[Stage, ...]]
    coordinates: Mapping[str, Coordinate]
    layout: Layout
    calibration: str = "none"

    def unlisted(self) -> tuple[str, ...]:
        """Roles of the network on which the profile has no say; they stay ideal."""
        if self.profile.kind in ("ideal", "relative"):  # both say of every role whether it varies
            return ()
        modelled = {name for name, found in self.stages.items() if any(stage.coordinates() for stage in found)}
        roles = {spec.role for name, spec in self.specs.items() if name not in modelled and spec.on_chip}
        return tuple(sorted(r for r in roles if r != "none" and self.profile.parameters.get(r) is None))


def place(
    profile: Profile, specs: Mapping[str, ParameterSpec], *, only_mismatch: bool = False, calibration: str = "none"
) -> Placement:
    """The placement of a network's parameters on a profile.

    Args:
        profile: The chip.
        specs: Role, shape and layer of each parameter.
        only_mismatch: Leave quantisation and faults out.
        calibration: What a lab did to the chip: one of `calibration.MODES`.

    Raises:
        ConfigError: If the mode is unknown.
        ProfileError: If the profile has no numbers for the mode.
    """
    mode = mode_of(profile, calibration)
    with_gain = {spec.layer for spec in specs.values() if spec.role == "gain"}
    layout = pack(specs, profile.limits.neurons_per_core)
    sites = _sites(profile, specs, layout)
    stages = {
        name: stages_for(
            profile,
            name,
            specs[name],
            site,
            has_gain=specs[name].layer in with_gain,
            only_mismatch=only_mismatch,
            column_affine=mode == "column_affine",
        )
        for name, site in sites.items()
    }
    stages = {name: found for name, found in stages.items() if found}
    if profile.correlation is not None:
        stages = correlate(profile.correlation, specs, stages)
    if mode in ("core_mean", "trim", "residual"):
        stages = calibrate(profile.calibration, mode, generator_for(profile), stages)
    coordinates = {c.key: c for found in stages.values() for stage in found for c in stage.coordinates()}
    return Placement(profile, specs, stages, coordinates, layout, mode)


def _sites(profile: Profile, specs: Mapping[str, ParameterSpec], layout: Layout) -> dict[str, Site]:
    """Where the neurons of each tensor on the chip lie; roles with the same kind of field share its basis."""
    bases: dict[tuple[str, float | None], Tensor] = {}

    def basis_of(spatial: Spatial | None) -> Tensor | None:
        if spatial is None or not spatial.spread:
            return None
        kind = spatial.kernel, spatial.correlation_length
        if kind not in bases:
            bases[kind] = basis(layout, spatial)
        return bases[kind]

    sites = {}
    for name, spec in specs.items():
        if spec.on_chip and spec.role != "none":
            entry, rows = profile.parameters.get(spec.role), layout.rows(spec)
            of_all = basis_of(None if entry is None else entry.components.spatial)
            sites[name] = Site(layout.cores, layout.core[rows], None if of_all is None else of_all[rows])
    return sites


def draw(
    placement: Placement,
    *,
    seed: int,
    purpose: str,
    instances: Sequence[int] | None,
    extra: tuple[int, ...] = (),
    kinds: Sequence[Kind] = (*STATIC, *TEMPORAL),
    trial: int = 0,
    part: int = 0,
    writes: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Standard normal coordinates of chips, a pure function of the arguments.

    Args:
        placement: What has to be drawn.
        seed: The user's seed.
        purpose: train, validation, test or attack.
        instances: Numbers of the chips; None draws chip 0 without an instance axis.
        extra: Further parts of the key, such as the training step.
        kinds: Kinds of coordinates to draw.
        trial: Number of the pass over the data, for temporal and slow coordinates.
        part: Which part of the pass, for slow coordinates.
        writes: How often parameters were written before, by name, for what is drawn at every write.

    Returns:
        Coordinates by key, float32, [K, *shape], or [*shape] without an instance axis.
    """
    chips = (0,) if instances is None else instances
    when = {"temporal": (trial,), "slow": (trial, part)}
    drawn = [c for c in placement.coordinates.values() if c.kind in kinds]

    def keys_of(c: Coordinate) -> list[int]:
        before = (writes or {}).get(c.parameter, 0) if c.per_write else 0
        granularity, write = (f"{c.granularity}.write", (before,)) if before else (c.granularity, ())
        more = (*extra, *when.get(c.kind, ()), *write)
        return [randomness.key(seed, purpose, c.parameter, c.component, granularity, chip, *more) for chip in chips]

    keys = {c.key: keys_of(c) for c in drawn}
    values = _normals({c.key: math.prod(c.shape) for c in drawn if c.kind != "slow"}, keys)
    values |= {c.key: fast_normals(keys[c.key], math.prod(c.shape)) for c in drawn if c.kind == "slow"}
    return {
        c.key: torch.from_numpy(values[c.key].reshape(c.shape if instances is None else (len(chips), *c.shape)))
        for c in drawn
    }


def _normals(sizes: Mapping[str, int], keys: Mapping[str, Sequence[int]]) -> dict[str, NDArray[np.float32]]:
    """The normals of many coordinates at once, each of its size under every one of its keys."""
    counts = [size for name, size in sizes.items() for _ in keys[name]]
    drawn = normals([key for name in sizes for key in keys[name]], counts)
    ends = np.cumsum([size * len(keys[name]) for name, size in sizes.items()])
    return dict(zip(sizes, np.split(drawn, ends[:-1]), strict=True)) if sizes else {}


def stored(placement: Placement, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a chip stores of each parameter: theta after the first stages, those that are the same on every chip."""
    return realise(placement, theta, {}, until=first_random)


def first_random(stages: tuple[Stage, ...]) -> int:
    """Which of a parameter's stages is the first with coordinates."""
    return next((n for n, stage in enumerate(stages) if stage.coordinates()), len(stages))


class Kept(NamedTuple):
    """A parameter in the cells of an array: what was to be written, and what the cells hold."""

    theta: Tensor
    cells: tuple[Tensor, ...]


def keep(
    placement: Placement, theta: Mapping[str, Tensor], z: Z, *, stored: Mapping[str, Tensor] | None = None
) -> dict[str, Kept]:
    """What arrays hold over a trial, by parameter: `realise` reads them, and needs no static coordinates of theirs.

    Arrays into which something is written that changes from trial to trial are left out.
    """
    before = realise(placement, theta, z, stored=stored, until=before_array)
    found = {}
    for name, stages in placement.stages.items():
        array, earlier = _array(stages), stages[: before_array(stages)]
        if (
            array is not None
            and array.coordinates()
            and not any(c.kind in TEMPORAL for stage in earlier for c in stage.coordinates())
        ):
            found[name] = Kept(before[name], array.written(before[name], z))
    return found


def _array(stages: tuple[Stage, ...]) -> Array | None:
    return next((stage for stage in stages if isinstance(stage, Array)), None)


def before_array(stages: tuple[Stage, ...]) -> int:
    """How many stages come before the array; all of them where there is none."""
    return next((n for n, stage in enumerate(stages) if isinstance(stage, Array)), len(stages))


def realise(
    placement: Placement,
    theta: Mapping[str, Tensor],
    z: Z,
    *,
    stored: Mapping[str, Tensor] | None = None,
    kept: Mapping[str, Kept] | None = None,
    until: Callable[[tuple[Stage, ...]], int] = len,
) -> dict[str, Tensor]:
    """The parameters of the devices z: differentiable in theta and z, with finite gradients.

    Args:
        placement: Stages of each parameter.
        theta: Nominal parameters by name.
        z: Coordinates by key, all with or all without an instance axis; absent ones count as 0, and a stage without
            any of its coordinates does nothing.
        stored: What `stored` gives for theta, if it is at hand: it is the same for all z.
        kept: What `keep` gives for theta and the static part of z, if it is at hand.
        until: After how many of a parameter's stages to stop.

    Returns:
        Parameters by name; those that a stage changes have the instance axis of z, the others are theta's own.
    """
    result = dict(theta)
    layers: dict[str, dict[str, Tensor]] = {}
    for name, spec in placement.specs.items():
        if name in theta:
            layers.setdefault(spec.layer, {})[spec.role] = theta[name]
    for name, stages in placement.stages.items():
        spec = placement.specs[name]
        context = Context(spec, layers.get(spec.layer, {}))
        done = 0 if stored is None else first_random(stages)
        value = theta[name] if stored is None else stored[name]
        array = _array(stages)
        if kept is not None and name in kept and array is not None:
            done, value = before_array(stages) + 1, array.read(*kept[name], z)
        for stage in stages[done : until(stages)]:
            value = stage.apply(value, z, context)
        result[name] = value
    return result


def project(placement: Placement, z: Z, k: float) -> dict[str, Tensor]:
    """z with its continuous coordinates inside the box of k standard deviations; the others as they are."""
    result = dict(z)
    for stages in placement.stages.values():
        for stage in stages:
            result.update(stage.project(result, k))
    return result


def inert(placement: Placement, theta: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are all zero although their spread is relative, so that no chip differs in them."""
    found = []
    for name in placement.stages:
        role = placement.specs[name].role
        entry = placement.profile.parameters.get(role)
        if role == "v_th" or entry is None or entry.distribution == "none":  # v_th spreads relative to v_leak
            continue
        if entry.mode == "relative" and not bool(theta[name].any()):
            found.append(name)
    return found


def warn_of_zeros(placement: Placement, theta: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are `inert`; warns."""
    found = inert(placement, theta)
    if found:
        warnings.warn(f"relative spread has no effect on tensors of zeros: {', '.join(found)}", stacklevel=3)
    return found
