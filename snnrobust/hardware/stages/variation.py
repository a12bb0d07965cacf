"""Static and per-trial spread of a parameter: distribution, components, granularity, level dependence, outliers.

All components form one coordinate, standard normal in total, zeta = sum_c (s_c / S) z_c with S^2 = sum_c s_c^2, and
the distribution maps it to a deviation: for a relative spread theta' = base + (theta - base) factor, with

    normal             factor = max(0, 1 + S zeta), which `Profile.relative` does not bound
    lognormal          factor = exp(S zeta), s_c = sqrt(ln(1 + cv_c^2))     (center mean: exp(S zeta - S^2/2))
    uniform            factor = 1 + sqrt(3) S (2 Phi(zeta) - 1)
    truncated_normal   factor = 1 + S Phi_ab^-1(Phi(zeta)), truncated at `clip` (relative: at 0 if it has no lower end)

and for an absolute one theta' = theta + unit (factor - 1). base is v_leak for v_th, else 0. zeta = 0 is nominal,
except where the distribution says otherwise: `center: mean`, and a truncation that is not symmetric about the nominal
value, where zeta = 0 is the median. A tensor without any coordinate in z stays nominal there, too.

z_c is one draw a chip (die), a core (core), a value of a field over the die (spatial, fields.py) or one draw an element
of the granularity (device), which may be correlated with those of other roles (correlation.py). Away from T_ref, S of a
lognormal is S T_ref / T (environment.py). What a calibration leaves of a deviation is in calibration.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from snnrobust.hardware.randomness import upper_quantile
from snnrobust.hardware.stages.base import Context, Coordinate, Z, aligned, by_instance, by_sign, device_shape
from snnrobust.hardware.stages.distributions import mapped, spread_at
from snnrobust.hardware.stages.fields import field
from snnrobust.snn.specs import ParameterSpec

if TYPE_CHECKING:
    from snnrobust.hardware.schema.document import Component, Parameter
    from snnrobust.hardware.stages.calibration import Correction
    from snnrobust.hardware.stages.correlation import Mixing

STATIC = ("die", "core", "spatial", "device")
SHARED = ("per_core", "per_die")
"""Granularities at which other tensors of the role share a device draw."""


@dataclass(frozen=True, eq=False)
class Site:
    """Where the N neurons of a tensor lie.

    Attributes:
        cores: Number of the chip's cores in use.
        core: Core of each neuron, [N].
        basis: What makes the role's field over the neurons of its coordinates, [N, R]; None without a field.
    """

    cores: int
    core: Tensor
    basis: Tensor | None = None


class _Scale(NamedTuple):
    """How deviations move a tensor.

    Attributes:
        spread: S at T.
        total: S with the temporal part.
        negative: See `_negative`.
        ends: Where a truncated distribution ends.
        value: theta' of a deviation, and of the factor of outliers.
    """

    spread: Tensor
    total: Tensor
    negative: Tensor | None
    ends: tuple[Tensor | float, Tensor | float]
    value: Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Variation:
    """The spread of one parameter tensor (formulas above).

    Attributes:
        name: Name of the tensor.
        role: The profile's entry it falls under: die, core and spatial draws are shared by all tensors of one role.
        spec: Shape and layer of the tensor.
        entry: The profile's entry.
        site: Where its neurons lie.
        spread_factor: s(T) / s(T_ref) of the static components.
        mixing: How its device draws are correlated with those of other roles; None where they are not.
        calibration: What is done about it on a calibrated chip; None where nothing is.
        signs_flip: Whether factors may be negative, as in the unclipped mismatch of level sweeps.
    """

    name: str
    role: str
    spec: ParameterSpec
    entry: Parameter
    site: Site
    spread_factor: float = 1.0
    mixing: Mixing | None = None
    calibration: Correction | None = None
    signs_flip: bool = False

    def coordinates(self) -> tuple[Coordinate, ...]:
        """die, core, spatial and device where their spread is not zero; temporal; two for outliers; a calibration's."""
        if self.entry.distribution == "none":
            return ()
        cores, spatial = (self.site.cores,), self.entry.components.spatial
        shape = cores if self.entry.granularity == "per_core" else device_shape(self.entry.granularity, self.spec.shape)
        owner = self.role if self.entry.granularity in SHARED else self.name
        found: list[Coordinate] = []
        for component in self.spreads():
            if component == "die":
                found.append(Coordinate(self.role, "die", "per_die", ()))
            elif component == "core":
                found.append(Coordinate(self.role, "core", "per_core", cores))
            elif component == "spatial" and spatial is not None and self.site.basis is not None:
                found.append(Coordinate(self.role, "spatial", spatial.kernel, self.site.basis.shape[1:]))
            elif component == "device":
                found.append(Coordinate(owner, "device", self.entry.granularity, shape))
        if self.temporal():
            found.append(Coordinate(self.name, "temporal", self.entry.granularity, shape, "temporal"))
        if self.entry.outliers and self.entry.outliers.fraction:
            for part in ("outlier", "outlier_size"):
                found.append(Coordinate(self.name, part, self.entry.granularity, shape, "fixed"))
        return (*found, *(() if self.calibration is None else self.calibration.coordinates()))

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """theta' of this module's formulas, with the instance axis of z if it has one."""
        parts = self.standardised(z, theta), self._moving(z, theta), self._outlier_factor(z, theta)
        settings = () if self.calibration is None else self.calibration.settings(self, z, theta)
        if all(part is None for part in (*parts, *settings)):
            return theta
        scale = self._scale_of(theta, context)

        def moved(
            static: Tensor | None, moving: Tensor | None, outlier: Tensor | None, *settings: Tensor | None
        ) -> Tensor:
            odd = None if outlier is None else self._each(outlier, scale.negative)
            if self.calibration is None:
                return scale.value(self._deviation(scale, static, moving), odd)
            return scale.value(self._left(self.calibration, scale, theta, static, moving, odd, settings), None)

        return by_instance(moved, theta, *parts, *settings)

    def between(self, theta: Tensor, low: float, high: float, context: Context, k: float) -> tuple[Tensor, Tensor]:
        """The least and the largest theta' of devices with low <= zeta <= high; theta' is monotone in zeta.

        What is drawn in every trial is at its median, and no device is an outlier. A calibration's own coordinates are
        within the box of k standard deviations; its ends are outer bounds.
        """
        scale = self._scale_of(theta, context)
        zetas = [theta.new_full((1,) * theta.ndim, zeta) for zeta in (low, high)]
        ends = [self._deviation(scale, zeta, None) for zeta in zetas]
        if self.calibration is not None:
            met = [self._deviation(self._when_calibrated(scale), zeta, None) for zeta in zetas]
            change = [now - before for now, before in zip(ends, met, strict=True)]
            left = self.calibration.reach(met[0], met[1], k)
            ends = [left[0] + torch.minimum(*change), left[1] + torch.maximum(*change)]
        values = [scale.value(end, None) for end in ends]
        return torch.minimum(*values), torch.maximum(*values)

    def reaches(self, k: float, shared: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """Ends of zeta in the box of k standard deviations, over all elements.

        Args:
            k: Half-width of the box.
            shared: Ends of coordinates that are known to lie in a part of it, by key.
        """
        low, high = 0.0, 0.0
        for c in self.coordinates():
            if c.component in STATIC:
                factor = self.shares()[c.component]
                if c.component == "spatial" and self.site.basis is not None:
                    factor *= float(self.site.basis.abs().sum(1).max())
                if c.component == "device" and self.mixing is not None:
                    factor *= sum(abs(weight) for weight, _ in self.mixing.terms)
                ends = shared.get(c.key, (-k, k))
                low, high = low + factor * ends[0], high + factor * ends[1]
        return max(low, -k), min(high, k)

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Shared coordinates clipped to +-k, then each element's own to what the bound on their sum leaves.

        The sum bound is |sum_c s_c z_c| <= k sqrt(sum_c s_c^2) per element; the result is feasible, not Euclidean.
        Where the shared sum is so large that no value of its own could bring some element back, the shared
        coordinates of the chip are first scaled down together. Correlated devices are scaled down neuron by neuron
        (correlation.py), and the shared sum must by itself be within the bound.
        """
        own_of_lab = () if self.calibration is None else self.calibration.coordinates()
        of_lab = {c.key: z[c.key].clamp(-k, k) for c in own_of_lab if c.key in z}
        return {**self._project_static(z, k), **of_lab}

    def _project_static(self, z: Z, k: float) -> dict[str, Tensor]:
        used = {c.component: c for c in self.coordinates() if c.component in STATIC and c.key in z}
        own = None if self.entry.granularity in SHARED else used.pop("device", None)
        moved = {c.key: z[c.key].clamp(-k, k) for c in used.values()}
        reach = self.shares()["device"] if own is not None else 0.0
        taken = self._shared_sum(moved)
        if taken is not None:
            most = k * (1 + reach) if self.mixing is None else k
            factor = (most / self._peak(taken)).clamp(max=1)
            moved = {c.key: moved[c.key] * aligned(factor, (), len(c.shape)) for c in used.values()}
            taken = self._shared_sum(moved)
        if self.mixing is not None:
            shape = device_shape(self.entry.granularity, self.spec.shape)
            return {**moved, **self.mixing.project(z, k, taken, self.shares()["device"], shape)}
        if own is None:
            return moved
        value = z[own.key].clamp(-k, k)
        if taken is not None:
            value = torch.minimum(torch.maximum(value, (-k - taken) / reach), (k - taken) / reach).clamp(-k, k)
        return {**moved, own.key: value}

    def spreads(self) -> dict[str, float]:
        """s of each static component that is not zero, at T_ref: cv or sd, or sqrt(ln(1 + cv^2)) of a lognormal."""
        if self.entry.distribution == "none":
            return {}
        given = self.entry.components.given()
        found = {name: self._scale(given[name]) for name in STATIC if name in given}
        return {name: s for name, s in found.items() if s}

    def temporal(self) -> float:
        """s of the part that is drawn again in every trial."""
        part = self.entry.components.temporal
        drawn = self.entry.distribution != "none" and part is not None and part.redraw == "trial"
        return self._scale(part) if drawn and part is not None else 0.0

    def shares(self) -> dict[str, float]:
        """s_c / S of each static component; their squares sum to 1."""
        spreads = self.spreads()
        total = math.hypot(*spreads.values())
        return {name: s / total for name, s in spreads.items()}

    def standardised(self, z: Z, theta: Tensor) -> Tensor | None:
        """zeta = sum_c (s_c / S) z_c of each device (`device_shape`); None where z has no static coordinate."""
        terms = []
        shared = self._shared_sum(z)
        if shared is not None:
            terms.append(shared.to(theta.dtype))
        own = self._device(z, theta)
        if own is not None:
            terms.append(self.shares()["device"] * own)
        return sum(terms[1:], terms[0]) if terms else None

    def _moving(self, z: Z, theta: Tensor) -> Tensor | None:
        """What the part that is drawn again in every trial adds to the deviation of each device."""
        value = self._read("temporal", z, theta)
        return None if value is None else self.temporal() * value

    def _device(self, z: Z, theta: Tensor) -> Tensor | None:
        """The coordinate of each element's own device, correlated with those of other roles."""
        if self.entry.granularity in SHARED:
            return None
        if self.mixing is None:
            return self._read("device", z, theta)
        mixed = self.mixing.mixed(z, device_shape(self.entry.granularity, self.spec.shape))
        return None if mixed is None else mixed.to(theta.dtype)

    def _scale(self, component: Component) -> float:
        spread = component.spread
        return math.sqrt(math.log1p(spread**2)) if self.entry.distribution == "lognormal" else spread

    def _shared_sum(self, z: Z) -> Tensor | None:
        """What die, core, spatial and, where a core or die shares it, device contribute to zeta."""
        used = {c.component: c for c in self.coordinates() if c.key in z}
        share = self.shares()
        names = STATIC if self.entry.granularity in SHARED else STATIC[:-1]
        terms = [share[name] * self.on_elements(used[name], z) for name in names if name in used]
        return sum(terms[1:], terms[0]) if terms else None

    def on_elements(self, c: Coordinate, z: Z) -> Tensor:
        """A coordinate as values that broadcast against the tensor: of each neuron its core's, or its field's."""
        value, ndim = z[c.key], len(self.spec.shape)
        if c.component == "spatial" and self.site.basis is not None:
            of_neuron = field(self.site.basis, value)
        elif c.granularity == "per_core":
            of_neuron = value[..., self.site.core]
        else:
            return aligned(value, c.shape, ndim)
        return aligned(of_neuron, (1,), ndim) if ndim else of_neuron[..., 0]

    def _peak(self, shared: Tensor) -> Tensor:
        """The largest |sum| over the elements of each instance."""
        axes = tuple(range(-len(self.spec.shape), 0))
        size = shared.abs().amax(axes) if axes else shared.abs()
        return size.clamp_min(torch.finfo(size.dtype).tiny)

    def _read(self, component: str, z: Z, theta: Tensor) -> Tensor | None:
        found = next((c for c in self.coordinates() if c.component == component), None)
        if found is None or found.key not in z:
            return None
        return self.on_elements(found, z).to(theta.dtype)

    def _negative(self, theta: Tensor) -> Tensor | None:
        """1 for inhibitory weights and 0 for the others, where these are different devices of a neuron."""
        typed = self.entry.granularity == "per_neuron_type" and len(self.spec.shape) > 1
        return (theta < 0).to(theta.dtype) if typed else None

    def _each(self, value: Tensor, negative: Tensor | None) -> Tensor:
        """A value of each device as one of each element; what both types of a neuron share stays as it is."""
        ndim = len(self.spec.shape)
        return value if negative is None or value.shape[1 - ndim] == 1 else by_sign(value, negative, ndim)

    def _scale_of(self, theta: Tensor, context: Context) -> _Scale:
        return self._absolute(theta, context) if self.entry.mode == "absolute" else self._relative(theta, context)

    def _relative(self, theta: Tensor, context: Context) -> _Scale:
        base = context.siblings["v_leak"] if self.spec.role == "v_th" and "v_leak" in context.siblings else None
        distance = theta if base is None else theta - base
        low, high = self.entry.clip or (None, None)
        ends_at_zero = self.entry.distribution == "normal" and low is None and not self.signs_flip
        bounds = (0.0 if ends_at_zero else low, high)
        ends = (0.0 if low is None else low) - 1, math.inf if high is None else high - 1

        def value(deviation: Tensor, outlier: Tensor | None) -> Tensor:
            factor = 1 + (torch.expm1(deviation) if self.logarithmic else deviation)
            if outlier is not None:
                factor = factor * outlier
            if bounds != (None, None):
                factor = factor.clamp(*bounds)
            return distance * factor if base is None else base + distance * factor

        spread = self._total_spread(distance)
        return _Scale(spread, self._with_temporal(spread), self._negative(theta), ends, value)

    def _absolute(self, theta: Tensor, context: Context) -> _Scale:
        unit: Tensor | float = 1.0
        if self.entry.unit == "v_th_range":
            one = torch.ones((), dtype=theta.dtype, device=theta.device)
            unit = context.siblings.get("v_th", one) - context.siblings.get("v_reset", 0 * one)
        low, high = self.entry.clip or (None, None)
        size = torch.as_tensor(unit).abs().clamp_min(1e-12)
        ends = -math.inf if low is None else (low - theta) / size, math.inf if high is None else (high - theta) / size

        def value(deviation: Tensor, outlier: Tensor | None) -> Tensor:
            moved = theta + unit * deviation
            return moved if self.entry.clip is None else moved.clamp(*self.entry.clip)

        spread = self._total_spread(theta)
        return _Scale(spread, self._with_temporal(spread), self._negative(theta), ends, value)

    def _deviation(self, scale: _Scale, static: Tensor | None, moving: Tensor | None) -> Tensor:
        """The distribution's map of S zeta with the temporal part: a coordinate that is absent counts as 0."""
        found = torch.zeros_like(scale.spread) if static is None else scale.spread * self._each(static, scale.negative)
        found = found if moving is None else found + self._each(moving, scale.negative)
        return mapped(self.entry, found, scale.total, *scale.ends)

    def _left(
        self,
        calibration: Correction,
        scale: _Scale,
        theta: Tensor,
        static: Tensor | None,
        moving: Tensor | None,
        odd: Tensor | None,
        settings: tuple[Tensor | None, ...],
    ) -> Tensor:
        """What a calibration at T_ref leaves, and what has changed since."""
        met = self._deviation(self._when_calibrated(scale), static, None)
        added = None if odd is None else odd.log() if self.logarithmic else (1 + met) * (odd - 1)
        left = calibration.left(met, added, theta, *settings)
        if moving is None and self.spread_factor == 1:
            return left
        return left + (self._deviation(scale, static, moving) - met)

    def _when_calibrated(self, scale: _Scale) -> _Scale:
        """The scale at T_ref."""
        if self.spread_factor == 1:
            return scale
        spread = scale.spread / self.spread_factor
        return scale._replace(spread=spread, total=self._with_temporal(spread))

    def _with_temporal(self, spread: Tensor) -> Tensor:
        """S with the temporal part."""
        return (spread**2 + self.temporal() ** 2).sqrt() if self.temporal() else spread

    def _total_spread(self, distance: Tensor) -> Tensor:
        """S at T, which depends on the nominal value where the profile says so."""
        total = math.hypot(*self.spreads().values())
        return spread_at(self.entry, total, distance, self.spread_factor)

    @property
    def logarithmic(self) -> bool:
        """Whether deviations are those of the logarithm of the factor."""
        return self.entry.distribution == "lognormal"

    def _outlier_factor(self, z: Z, theta: Tensor) -> Tensor | None:
        law, chosen, size = self.entry.outliers, self._read("outlier", z, theta), self._read("outlier_size", z, theta)
        if law is None or chosen is None:
            return None
        factor = torch.full_like(chosen, law.factor)
        if size is not None and law.cv:
            factor = factor * torch.exp(math.sqrt(math.log1p(law.cv**2)) * size)
        return torch.where(chosen > upper_quantile(law.fraction), factor, torch.ones_like(factor))
