"""Static and per-trial spread of a parameter: distribution, components, granularity, level dependence, outliers.

All components form one coordinate, standard normal in total, zeta = sum_c (s_c / S) z_c with S^2 = sum_c s_c^2, and
the distribution maps it to a deviation: for a relative spread theta' = base + (theta - base) factor, with

    normal             factor = 1 + S zeta
    lognormal          factor = exp(S zeta), s_c = sqrt(ln(1 + cv_c^2))     (center mean: exp(S zeta - S^2/2))
    uniform            factor = 1 + sqrt(3) S (2 Phi(zeta) - 1)
    truncated_normal   factor = 1 + S Phi_ab^-1(Phi(zeta)), truncated at `clip` (relative: at 0 if it has no lower end)

and for an absolute one theta' = theta + unit (factor - 1). base is v_leak for v_th, else 0. zeta = 0 is nominal,
except where the distribution says otherwise: `center: mean`, and a truncation that is not symmetric about the nominal
value, where zeta = 0 is the median. A tensor without any coordinate in z stays nominal there, too.

z_c is one draw a chip (die), a core (core), a value of a field over the die (spatial, fields.py) or one draw an element
of the granularity (device), which may be correlated with those of other roles (correlation.py). Away from T_ref, S of a
lognormal is S T_ref / T (environment.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from snnrobust.hardware.randomness import upper_quantile
from snnrobust.hardware.stages.base import Context, Coordinate, Z, aligned, by_instance, by_sign, device_shape
from snnrobust.hardware.stages.fields import field
from snnrobust.snn.specs import ParameterSpec

if TYPE_CHECKING:
    from snnrobust.hardware.schema import Component, Parameter
    from snnrobust.hardware.stages.correlation import Mixing

Move = Callable[[Tensor | None, Tensor | None, Tensor | None], Tensor]
"""theta' from static, temporal and outlier parts of the devices."""
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
    """

    name: str
    role: str
    spec: ParameterSpec
    entry: Parameter
    site: Site
    spread_factor: float = 1.0
    mixing: Mixing | None = None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """die, core, spatial and device where their spread is not zero; temporal; two for outliers."""
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
        return tuple(found)

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """theta' of this module's formulas, with the instance axis of z if it has one."""
        parts = self.standardised(z, theta), self._moving(z, theta), self._outlier_factor(z, theta)
        if all(part is None for part in parts):
            return theta
        move = self._absolute if self.entry.mode == "absolute" else self._relative
        return by_instance(move(theta, context), theta, *parts)

    def between(self, theta: Tensor, low: float, high: float, context: Context) -> tuple[Tensor, Tensor]:
        """The least and the largest theta' of devices with low <= zeta <= high; theta' is monotone in zeta.

        What is drawn in every trial is at its median, and no device is an outlier.
        """
        move = (self._absolute if self.entry.mode == "absolute" else self._relative)(theta, context)
        ends = [move(theta.new_full((1,) * theta.ndim, zeta), None, None) for zeta in (low, high)]
        return torch.minimum(*ends), torch.maximum(*ends)

    def reaches(self, k: float, shared: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """Ends of zeta in the box of k standard deviations, over all elements.

        Args:
            k: Half-width of the box.
            shared: Ends of coordinates that are known to lie in a part of it, by key.
        """
        low, high = 0.0, 0.0
        for c in self.coordinates():
            if c.kind == "continuous":
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
        used = {c.component: c for c in self.coordinates() if c.kind == "continuous" and c.key in z}
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
        total = math.sqrt(sum(s * s for s in spreads.values()))
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
        terms = [share[name] * self._on_elements(used[name], z) for name in names if name in used]
        return sum(terms[1:], terms[0]) if terms else None

    def _on_elements(self, c: Coordinate, z: Z) -> Tensor:
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
        return self._on_elements(found, z).to(theta.dtype)

    def _negative(self, theta: Tensor) -> Tensor | None:
        """1 for inhibitory weights and 0 for the others, where these are different devices of a neuron."""
        typed = self.entry.granularity == "per_neuron_type" and len(self.spec.shape) > 1
        return (theta < 0).to(theta.dtype) if typed else None

    def _each(self, value: Tensor, negative: Tensor | None) -> Tensor:
        """A value of each device as one of each element; what both types of a neuron share stays as it is."""
        ndim = len(self.spec.shape)
        return value if negative is None or value.shape[1 - ndim] == 1 else by_sign(value, negative, ndim)

    def _relative(self, theta: Tensor, context: Context) -> Move:
        base = context.siblings["v_leak"] if self.spec.role == "v_th" and "v_leak" in context.siblings else None
        distance = theta if base is None else theta - base
        spread = self._total_spread(distance)
        total, negative = self._with_temporal(spread), self._negative(theta)
        low, high = self.entry.clip or (None, None)
        ends = (0.0 if low is None else low) - 1, math.inf if high is None else high - 1

        def moved(static: Tensor | None, moving: Tensor | None, outlier: Tensor | None) -> Tensor:
            factor = 1 + self._mapped(self._deviation(spread, static, moving, negative), total, *ends)
            if outlier is not None:
                factor = factor * self._each(outlier, negative)
            if self.entry.clip is not None:
                factor = factor.clamp(*self.entry.clip)
            return distance * factor if base is None else base + distance * factor

        return moved

    def _absolute(self, theta: Tensor, context: Context) -> Move:
        spread = self._total_spread(theta)
        total, negative = self._with_temporal(spread), self._negative(theta)
        unit: Tensor | float = 1.0
        if self.entry.unit == "v_th_range":
            one = torch.ones((), dtype=theta.dtype, device=theta.device)
            unit = context.siblings.get("v_th", one) - context.siblings.get("v_reset", 0 * one)
        low, high = self.entry.clip or (None, None)
        size = torch.as_tensor(unit).abs().clamp_min(1e-12)
        ends = -math.inf if low is None else (low - theta) / size, math.inf if high is None else (high - theta) / size

        def moved(static: Tensor | None, moving: Tensor | None, outlier: Tensor | None) -> Tensor:
            value = theta + unit * self._mapped(self._deviation(spread, static, moving, negative), total, *ends)
            return value if self.entry.clip is None else value.clamp(*self.entry.clip)

        return moved

    def _deviation(
        self, spread: Tensor, static: Tensor | None, moving: Tensor | None, negative: Tensor | None
    ) -> Tensor:
        """S zeta with the temporal part: a coordinate that is absent counts as 0."""
        deviation = torch.zeros_like(spread) if static is None else spread * self._each(static, negative)
        return deviation if moving is None else deviation + self._each(moving, negative)

    def _with_temporal(self, spread: Tensor) -> Tensor:
        """S with the temporal part."""
        return (spread**2 + self.temporal() ** 2).sqrt() if self.temporal() else spread

    def _total_spread(self, distance: Tensor) -> Tensor:
        """S at T, which depends on the nominal value where the profile says so: cv clip((|theta| / ref)^p, ...)."""
        spreads = self.spreads()
        total = math.sqrt(sum(s * s for s in spreads.values()))
        law = self.entry.level_dependence
        if law is None or not total:
            return torch.full((), total * self.spread_factor, dtype=distance.dtype, device=distance.device)
        lognormal = self.entry.distribution == "lognormal"
        cv = math.sqrt(math.expm1(total**2)) if lognormal else total
        magnitude = distance.abs()
        reference = torch.full((), law.reference, dtype=distance.dtype, device=distance.device)
        if law.reference_of == "median":
            present = magnitude.detach()[magnitude.detach() > 0]  # a weight of zero is no synapse
            reference = reference * present.median() if present.numel() else reference
        # Bounded away from 0 and infinity, so that the gradient is finite at theta = 0 for any exponent.
        ratio = (magnitude / reference.clamp_min(1e-30)).clamp(1e-6, 1e6)
        at_level = (cv * ratio**law.exponent).clamp(law.cv_min or 0.0, law.cv_max).clamp_min(1e-12)
        spread: Tensor = torch.log1p(at_level**2).sqrt() if lognormal else at_level
        return spread * self.spread_factor

    def _mapped(
        self, deviation: Tensor, spread: Tensor, low: Tensor | float = -math.inf, high: Tensor | float = math.inf
    ) -> Tensor:
        """factor - 1; low and high are the ends of a truncated one."""
        kind = self.entry.distribution
        if kind == "lognormal":
            centred = deviation - spread**2 / 2 if self.entry.center == "mean" else deviation
            grown: Tensor = torch.expm1(centred)
            return grown
        if kind == "normal":
            return deviation
        safe = spread.clamp_min(1e-12).double()
        probability = torch.special.ndtr(deviation.double() / safe)
        if kind == "uniform":
            mapped: Tensor = math.sqrt(3) * safe * (2 * probability - 1)
            return mapped.to(deviation.dtype)
        below, above = torch.special.ndtr(low / safe), torch.special.ndtr(high / safe)
        inside = (below + probability * (above - below)).clamp(1e-300, 1 - 1e-16)
        mapped = safe * torch.special.ndtri(inside)
        return mapped.to(deviation.dtype)

    def _outlier_factor(self, z: Z, theta: Tensor) -> Tensor | None:
        law, chosen, size = self.entry.outliers, self._read("outlier", z, theta), self._read("outlier_size", z, theta)
        if law is None or chosen is None:
            return None
        factor = torch.full_like(chosen, law.factor)
        if size is not None and law.cv:
            factor = factor * torch.exp(math.sqrt(math.log1p(law.cv**2)) * size)
        return torch.where(chosen > upper_quantile(law.fraction), factor, torch.ones_like(factor))
