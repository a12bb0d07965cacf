"""Calibration: what a lab takes away of the static variation of a chip, and what it leaves.

u is the deviation of a device that the lab met: ln(factor) of a lognormal, factor - 1 of other relative spreads, the
offset in its unit of an absolute one. S is its standard deviation over devices and chips. All of that is at T_ref and,
where spread depends on the value, S is at the reference level. Of u there is left

    core_mean   u - a(S m)                    m: mean of the standardised u of the role's devices on the core in use
    trim        u - clip(m, -k S, k S)        m: mean of u over what shares a trim
                  + D (Phi(z_1) - 1/2) + e S z_2,   D = 2 k S / (2^bits - 1)
    residual    r S z                         z instead of the device's own coordinates

z, z_1, z_2 are coordinates of the calibrated chip. A trim's steps lie anywhere against the target, so that rounding
leaves a uniform residual that is independent of u, sd D / sqrt(12). a(.) is what the core's bias generator can set;
exact where the profile has none. A trim mends anomalous devices as far as it reaches; a ratio does not (it is that of
the bulk), nor does the mean of a core. A correction stays as it was set: what temperature, age, drift and temporal
noise change later is added to what it left. Calibrated chips have the distribution's clip, too.

The trim's closed form is that of a uniform quantiser; the ratios are what acceptance tests of calibrations state (calix
for BrainScaleS-2). A mean over n devices of their own spread s is off by s / sqrt(n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from snnrobust.hardware.stages.base import Coordinate, Stage, Z, aligned, by_sign, device_shape
from snnrobust.hardware.stages.bias_generator import INVERSE, BiasGenerator
from snnrobust.hardware.stages.distributions import reference_spread
from snnrobust.hardware.stages.variation import SHARED, Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snnrobust.hardware.schema.calibration import Calibration, Trim


_NO_CURRENT = ("gain", "v_leak", "v_reset")
"""Roles that no current of the bias generator sets."""


class Correction(Protocol):
    """What a calibration does about the spread of one tensor."""

    def coordinates(self) -> tuple[Coordinate, ...]:
        """Coordinates of its own."""
        ...

    def settings(self, variation: Variation, z: Z, theta: Tensor) -> tuple[Tensor | None, ...]:
        """What was set on the chips z: tensors that broadcast against theta, with the instance axis of z."""
        ...

    def left(self, u: Tensor, odd: Tensor | None, theta: Tensor, *settings: Tensor | None) -> Tensor:
        """What is left of the deviations u, and of what outliers add to them."""
        ...

    def reach(self, low: Tensor, high: Tensor, k: float) -> tuple[Tensor, Tensor]:
        """Outer bounds of what is left of low <= u <= high where all coordinates are within +-k."""
        ...


@dataclass(frozen=True)
class FreshResidual:
    """r S z.

    Attributes:
        coordinate: z, of the granularity of the spread.
        spread: r S.
    """

    coordinate: Coordinate
    spread: float

    def coordinates(self) -> tuple[Coordinate, ...]:
        """z."""
        return (self.coordinate,)

    def settings(self, variation: Variation, z: Z, theta: Tensor) -> tuple[Tensor | None, ...]:
        """r S z."""
        if self.coordinate.key not in z:
            return (None,)
        value = self.spread * variation.on_elements(self.coordinate, z).to(theta.dtype)
        return (_of_sign(value, theta, variation, self.coordinate.granularity),)

    def left(self, u: Tensor, odd: Tensor | None, theta: Tensor, *settings: Tensor | None) -> Tensor:
        """r S z, and what outliers add."""
        residual = torch.zeros_like(u) if settings[0] is None else settings[0]
        return residual if odd is None else residual + odd

    def reach(self, low: Tensor, high: Tensor, k: float) -> tuple[Tensor, Tensor]:
        """+-k r S."""
        return torch.full_like(low, -k * self.spread), torch.full_like(high, k * self.spread)


@dataclass(frozen=True)
class Trimmed:
    """u - clip(m, -k S, k S) + D (Phi(z_1) - 1/2) + e S z_2.

    Attributes:
        shape: Shape of the tensor.
        granularity: What shares a trim.
        reaches: k S.
        step: D.
        noise: e S.
        rounding: z_1.
        readout: z_2; None without noise.
    """

    shape: tuple[int, ...]
    granularity: str
    reaches: float
    step: float
    noise: float
    rounding: Coordinate
    readout: Coordinate | None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """z_1 and z_2."""
        return (self.rounding,) if self.readout is None else (self.rounding, self.readout)

    def settings(self, variation: Variation, z: Z, theta: Tensor) -> tuple[Tensor | None, ...]:
        """What rounding and measuring leave."""
        parts = []
        if self.rounding.key in z:
            at = variation.on_elements(self.rounding, z).to(theta.dtype)
            parts.append(self.step * (torch.special.ndtr(at) - 0.5))
        if self.readout is not None and self.readout.key in z:
            parts.append(self.noise * variation.on_elements(self.readout, z).to(theta.dtype))
        return (_of_sign(sum(parts[1:], parts[0]), theta, variation, self.granularity) if parts else None,)

    def left(self, u: Tensor, odd: Tensor | None, theta: Tensor, *settings: Tensor | None) -> Tensor:
        """u with what outliers add, less what the trims take."""
        met = u if odd is None else u + odd
        left = met - self._shared(met, theta).clamp(-self.reaches, self.reaches)
        return left if settings[0] is None else left + settings[0]

    def reach(self, low: Tensor, high: Tensor, k: float) -> tuple[Tensor, Tensor]:
        """The ends of u - clip(u), or of u - clip(m) for any mean m, and the ends of rounding and noise."""
        taken = (low, high) if self._own() else (high.max(), low.min())
        room = self.step * (0.5 * math.erf(k / math.sqrt(2))) + self.noise * k
        ends = [end - t.clamp(-self.reaches, self.reaches) for end, t in zip((low, high), taken, strict=True)]
        return ends[0] - room, ends[1] + room

    def _own(self) -> bool:
        """Whether every element has a trim of its own."""
        return len(self.shape) < 2 or self.granularity == "per_synapse"

    def _shared(self, u: Tensor, theta: Tensor) -> Tensor:
        """m of each element: the mean over the synapses that share its trim; a weight of zero is none."""
        if self._own():
            return u
        typed = self.granularity == "per_neuron_type"
        shared = [theta > 0, theta < 0] if typed else [theta != 0]
        found = torch.zeros_like(theta)
        for among in shared:
            there = among.to(theta.dtype)
            count = _row_sums(there, len(self.shape)).clamp_min(1)
            found = found + there * (_row_sums(u * there, len(self.shape)) / count)
        return found


@dataclass(frozen=True, eq=False)
class CoreMean:
    """u - a(S m).

    Attributes:
        members: The spreads of all tensors whose devices the core's bias sets.
        spread: S.
        set_by: What the generator makes of a wanted correction [..] in float64; None where any can be set.
    """

    members: tuple[Variation, ...]
    spread: float
    set_by: Callable[[Tensor], Tensor] | None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: what a core's mean is follows from its devices."""
        return ()

    def settings(self, variation: Variation, z: Z, theta: Tensor) -> tuple[Tensor | None, ...]:
        """a(S m) of each neuron's core."""
        mean = core_means(self.members, z)
        if mean is None:
            return (None,)
        wanted = self.spread * mean
        of_core = wanted if self.set_by is None else self.set_by(wanted)
        ndim, core = len(variation.spec.shape), variation.site.core.to(of_core.device)
        of_neuron = of_core[..., core].to(theta.dtype)
        return (aligned(of_neuron, (1,), ndim) if ndim else of_neuron[..., 0],)

    def left(self, u: Tensor, odd: Tensor | None, theta: Tensor, *settings: Tensor | None) -> Tensor:
        """u less the core's correction."""
        left = u if odd is None else u + odd
        return left if settings[0] is None else left - settings[0]

    def reach(self, low: Tensor, high: Tensor, k: float) -> tuple[Tensor, Tensor]:
        """The ends of u - a(S m) for any mean m within +-k."""
        ends = (
            1.00001 * self.spread * torch.tensor([-k, k], dtype=torch.float64)
        )  # rounding may move it to another step
        least, most = (ends if self.set_by is None else self.set_by(ends)).tolist()
        return low - most, high - least


@dataclass(frozen=True)
class CoreBias:
    """The correction that the nearest current of a core's bias generator makes, near the current of a typical value.

    A correction a lowers ln(factor) (logarithmic), or the factor itself, so the bias current is to change by
    exp(-a), or 1 - a, or by 1 over it where the parameter is inverse to the current. Straight-through in gradients.
    """

    generator: BiasGenerator
    logarithmic: bool
    inverse: bool

    def __call__(self, wanted: Tensor) -> Tensor:
        """The correction that is set, for one that is wanted, in float64."""
        goal = wanted.detach().cpu().numpy()
        factor = np.exp(-goal) if self.logarithmic else np.maximum(1 - goal, 1e-6)
        reference = self.generator.i_reference
        ratio = 1 / factor if self.inverse else factor
        standard = self.generator.nearest(np.array([reference]), zero=False)
        made = self.generator.nearest(reference * ratio, zero=False) / standard
        found = 1 / made if self.inverse else made
        corrected = -np.log(found) if self.logarithmic else 1 - found
        return wanted + (torch.from_numpy(corrected).to(wanted) - wanted.detach())


def core_means(members: tuple[Variation, ...], z: Z) -> Tensor | None:
    """Mean [.., cores] over the neurons on each core of the standardised deviation of their devices, in float64."""
    total, count = torch.zeros(()), torch.zeros(members[0].site.cores, dtype=torch.float64)
    found = [(member, member.standardised(z, torch.zeros(()))) for member in members]
    for member, zeta in found:
        if zeta is None:
            continue
        core, shape = member.site.core.to(zeta.device), member.spec.shape
        lead = zeta.shape[: zeta.ndim - len(shape)]
        count = count.to(zeta.device).index_add(0, core, torch.ones(len(core), dtype=torch.float64, device=zeta.device))
        # Chip by chip: a sum over several at once has another order, and so other last bits.
        chips = zeta.reshape(-1, *zeta.shape[zeta.ndim - len(shape) :])
        rows = [chip.double().reshape(len(chip) if shape else 1, -1).mean(-1).expand(len(core)) for chip in chips]
        sums = [torch.zeros_like(count).index_add(0, core, row) for row in rows]
        total = total + torch.stack(sums).reshape(*lead, len(count))
    return total / count.clamp_min(1) if any(zeta is not None for _, zeta in found) else None


def calibrate(
    calibration: Calibration, mode: str, generator: BiasGenerator | None, stages: Mapping[str, tuple[Stage, ...]]
) -> dict[str, tuple[Stage, ...]]:
    """The stages of every tensor on chips that were calibrated: variations know what was done about them.

    Args:
        calibration: The profile's numbers.
        mode: core_mean, trim or residual.
        generator: The bias generator of the chip.
        stages: Stages by tensor.
    """
    spreads = [s for found in stages.values() for s in found if isinstance(s, Variation) and s.spreads()]

    def corrected(stage: Stage) -> Stage:
        if not isinstance(stage, Variation) or not stage.spreads():
            return stage
        if mode == "core_mean":
            return replace(stage, calibration=_core_mean(stage, spreads, generator))
        if mode == "trim" and calibration.trim is not None:
            return replace(stage, calibration=_trimmed(stage, calibration.trim))
        return replace(stage, calibration=_fresh(stage, calibration))

    return {name: tuple(corrected(stage) for stage in found) for name, found in stages.items()}


def _spread_of(variation: Variation) -> float:
    """S."""
    return reference_spread(variation.entry, math.sqrt(sum(s * s for s in variation.spreads().values())))


def _core_mean(variation: Variation, spreads: list[Variation], generator: BiasGenerator | None) -> CoreMean:
    members = tuple(v for v in spreads if v.role == variation.role)
    bias = None
    if generator is not None and variation.entry.mode == "relative" and variation.spec.role not in _NO_CURRENT:
        bias = CoreBias(generator, variation.logarithmic, variation.spec.role in INVERSE)
    return CoreMean(members, _spread_of(variation), bias)


def _trimmed(variation: Variation, trim: Trim) -> Trimmed | None:
    if trim.roles is not None and variation.spec.role not in trim.roles and variation.role not in trim.roles:
        return None
    shape = device_shape(trim.granularity, variation.spec.shape)
    spread = _spread_of(variation)
    reaches = trim.range_sigma * spread
    parts = [Coordinate(variation.name, part, trim.granularity, shape) for part in ("trim_step", "trim_readout")]
    return Trimmed(
        variation.spec.shape,
        trim.granularity,
        reaches,
        2 * reaches / (2**trim.bits - 1),
        trim.noise_sigma * spread,
        parts[0],
        parts[1] if trim.noise_sigma else None,
    )


def _fresh(variation: Variation, calibration: Calibration) -> FreshResidual | None:
    if calibration.residual is None:
        return None
    ratio = getattr(calibration.residual, variation.spec.role)
    ratio = getattr(calibration.residual, variation.role) if ratio is None else ratio
    if ratio is None:
        return None
    granularity, cores = variation.entry.granularity, (variation.site.cores,)
    shape = cores if granularity == "per_core" else device_shape(granularity, variation.spec.shape)
    owner = variation.role if granularity in SHARED else variation.name
    return FreshResidual(Coordinate(owner, "residual", granularity, shape), ratio * _spread_of(variation))


def _of_sign(value: Tensor, theta: Tensor, variation: Variation, granularity: str) -> Tensor:
    """A value of each type of a neuron as one of each weight; others as they are."""
    ndim = len(variation.spec.shape)
    typed = granularity == "per_neuron_type" and ndim > 1
    return by_sign(value, (theta < 0).to(theta.dtype), ndim) if typed else value


def _row_sums(x: Tensor, ndim: int) -> Tensor:
    """Sums over all axes of a tensor of `ndim` axes but its first, kept; chip by chip, whose order does not change."""
    if x.ndim > ndim:
        return torch.stack([_row_sums(one, ndim) for one in x])
    axes = tuple(range(1, ndim))
    total: Tensor = x.sum(axes, keepdim=True)
    return total
