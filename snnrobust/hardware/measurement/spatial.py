"""Fields over the die beyond a plane: whether neighbours are alike, and over which distance.

Moran's I of the residuals e after cores and planes, over pairs of neighbours (w = 1), is e' W e / e' e. For independent
normal devices e = M epsilon, with d degrees of freedom left, and

    E I = tr(M W) / d,    Var I = 2 (d tr(M W M W) - tr(M W)^2) / (d^2 (d + 2))

(Cliff and Ord, Geographical Analysis 4:267, 1972). Where I is too large at 1 %, a field takes the place of the plane: a
Gaussian process of covariance s^2 (f k(d / L) + (1 - f) [i = j]), k(r) = exp(-r) or exp(-r^2 / 2), by restricted
likelihood of what is left after the cores' means, on a grid of f and L. Intervals are those of the profile likelihood,
2 (l_max - l) < 3.84; those of L and of the field's variance hold for the kernel that is named, that of the devices' own
variance for both. A correlation length whose interval reaches an end of the grid is not identifiable: a shorter one
would look like independent devices, a longer one like a plane. Where the data do not tell the kernels apart, the
likelier one with an identifiable length is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import chi2, norm

from snnrobust.hardware.measurement.components import CONFIDENCE, Estimate, Floats, Places

FALSE_ALARM = 0.01
KERNELS = ("exponential", "rbf")
LENGTHS: Floats = np.geomspace(0.04, 2.0, 28)
SHARES: Floats = np.linspace(0.02, 0.98, 41)
MOST = 1000
"""Devices of a chip above which nothing is tested or fitted: matrices of all their pairs would take minutes."""
NEAR = 1.5
"""Neighbours are nearer than this, in units of the median distance of nearest neighbours."""


@dataclass(frozen=True)
class Field:
    """A field that is fitted to devices.

    Attributes:
        kernel: exponential or rbf.
        decided: Whether the data tell the kernels apart.
        length: Correlation length in units of the die's edge, and its interval.
        variance: Variance of the field.
        nugget: Variance of what is independent from device to device, read-out noise included.
        of_cores: What the field adds to the variance between cores, per unit of its variance.
        of_dies: The same of the variance between dies.
    """

    kernel: str
    decided: bool
    length: Estimate
    variance: Estimate
    nugget: Estimate
    of_cores: float
    of_dies: float


@dataclass(frozen=True)
class Alike:
    """Whether neighbours are alike.

    Attributes:
        probability: That Moran's I of independent devices is as large.
        field: What was fitted where it is small; None where the length is not identifiable, or nothing was fitted.
    """

    probability: float
    field: Field | None

    @property
    def significant(self) -> bool:
        """Whether independent devices would show this in less than 1 % of cases."""
        return self.probability < FALSE_ALARM


def alike(values: Floats, left: Floats, places: Places) -> Alike | None:
    """Test the residuals of devices, and fit a field to their values where neighbours are alike.

    None where a chip has more than `MOST` devices.

    Args:
        values: One value a device, [N].
        left: What is left of them after cores and planes, [N].
        places: Where each device is; all with coordinates.
    """
    chips = [places.chip == chip for chip in np.unique(places.chip)]
    parts = [places.take(chip) for chip in chips]
    if max(len(part.chip) for part in parts) > MOST:
        return None
    probability = moran(parts, [left[chip] for chip in chips])
    fits = probability < FALSE_ALARM
    return Alike(probability, _fitted(parts, [values[chip] for chip in chips]) if fits else None)


def moran(chips: Sequence[Places], left: Sequence[Floats]) -> float:
    """Probability that independent devices have as large an I, by its normal approximation.

    Devices at one place, such as both types of a neuron's synapses, count as one.
    """
    above = below = first = second = 0.0
    freedom = 0
    for chip, e in map(_by_place, chips, left):
        distance = squareform(pdist(chip.xy))
        near = (distance > 0) & (distance < NEAR * _spacing(distance))
        basis = _contrasts(np.concatenate([_of_cores(chip), chip.xy], axis=1))
        inner = basis.T @ near @ basis
        above, below = above + float(e @ near @ e), below + float(e @ e)
        first, second = first + float(np.trace(inner)), second + float((inner**2).sum())
        freedom += basis.shape[1]
    spread = freedom * second - first**2
    if spread <= 1e-9 * freedom * second:  # one contrast has no other value
        return 1.0
    variance = 2 * spread / (freedom**2 * (freedom + 2))
    return float(norm.sf((above / below - first / freedom) / math.sqrt(variance)))


def _by_place(chip: Places, left: Floats) -> tuple[Places, Floats]:
    """One device a place, with the mean of those that are there."""
    _, first, place = np.unique(chip.xy, axis=0, return_index=True, return_inverse=True)
    mean: Floats = np.bincount(place.reshape(-1), left) / np.bincount(place.reshape(-1))
    return chip.take(first), mean


def _fitted(chips: Sequence[Places], values: Sequence[Floats]) -> Field | None:
    """The field of the likelier kernel among those that the data allow, if its length is identifiable."""
    edge = max(float(np.ptp(chip.xy, axis=0).max()) + _spacing(squareform(pdist(chip.xy))) for chip in chips)
    found = {kernel: _likelihood(chips, values, kernel, edge) for kernel in KERNELS}
    best = max(grid.best for grid in found.values())
    allowed = sorted((k for k in found if found[k].best > best - _reach()), key=lambda k: -found[k].best)
    for kernel in allowed:
        grid, length = found[kernel], found[kernel].length()
        if length is not None:
            nuggets = [found[k].part(1 - SHARES, best) for k in allowed]
            nugget = Estimate(
                grid.part(1 - SHARES, best).value, min(n.low for n in nuggets), max(n.high for n in nuggets)
            )
            added = _shares(chips, kernel, edge * length.value)
            return Field(kernel, len(allowed) == 1, length, grid.part(SHARES, grid.best), nugget, *added)
    return None


@dataclass(frozen=True)
class _Grid:
    """What the likelihood at s^2, f, L is made of: log determinants and quadratic forms for s = 1, [F, L]."""

    logdet: Floats
    quadratic: Floats
    freedom: int

    @property
    def best(self) -> float:
        return float(self._profiled.max())

    @property
    def _profiled(self) -> Floats:
        """Log likelihood at the best s^2, [F, L]."""
        profiled: Floats = -0.5 * (self.freedom * np.log(self.quadratic / self.freedom) + self.logdet + self.freedom)
        return profiled

    def length(self) -> Estimate | None:
        """L and its interval; None where that reaches an end."""
        of_length = self._profiled.max(0)
        inside = np.flatnonzero(of_length > self.best - _reach())
        if inside[0] == 0 or inside[-1] == len(LENGTHS) - 1:
            return None
        low = _crossing(np.log(LENGTHS), of_length, self.best - _reach(), inside[0], inside[0] - 1)
        high = _crossing(np.log(LENGTHS), of_length, self.best - _reach(), inside[-1], inside[-1] + 1)
        return Estimate(float(LENGTHS[of_length.argmax()]), math.exp(low), math.exp(high))

    def part(self, share: Floats, best: float) -> Estimate:
        """The variance s^2 times a share [F], and its interval below a largest log likelihood."""
        f, place = np.unravel_index(self._profiled.argmax(), self._profiled.shape)
        value = float(self.quadratic[f, place] / self.freedom * share[f])
        trial = value * np.geomspace(1 / 50, 50, 401)
        scale = trial[:, None, None] / share[:, None]
        likelihood = -0.5 * (self.freedom * np.log(scale) + self.logdet + self.quadratic / scale)
        inside = np.flatnonzero(likelihood.max((1, 2)) > best - _reach())
        return Estimate(value, float(trial[inside[0]]), float(trial[inside[-1]])) if inside.size else _none(value)


def _likelihood(chips: Sequence[Places], values: Sequence[Floats], kernel: str, edge: float) -> _Grid:
    logdet, quadratic = np.zeros((2, len(SHARES), len(LENGTHS)))
    known: dict[bytes, list[tuple[Floats, Floats]]] = {}  # chips of one layout share their matrices
    freedom = 0
    for chip, value in zip(chips, values, strict=True):
        layout = chip.xy.tobytes() + chip.core.tobytes()
        if layout not in known:
            known[layout] = list(_spectra(chip, kernel, edge))
        for n, (spectrum, vectors) in enumerate(known[layout]):
            diagonal = SHARES[:, None] * spectrum.clip(0) + (1 - SHARES[:, None])
            logdet[:, n] += np.log(diagonal).sum(1)
            quadratic[:, n] += ((vectors.T @ value) ** 2 / diagonal).sum(1)
        freedom += len(known[layout][0][0])
    return _Grid(logdet, quadratic, freedom)


def _spectra(chip: Places, kernel: str, edge: float) -> Iterator[tuple[Floats, Floats]]:
    """Eigenvalues of the field's covariance among contrasts at each length, and the contrasts that have them."""
    basis, distance = _contrasts(_of_cores(chip)), squareform(pdist(chip.xy))
    for length in LENGTHS:
        spectrum, vectors = np.linalg.eigh(basis.T @ _covariance(distance / (edge * length), kernel) @ basis)
        yield spectrum, basis @ vectors


def _covariance(r: Floats, kernel: str) -> Floats:
    found: Floats = np.exp(-r) if kernel == "exponential" else np.exp(-(r**2) / 2)
    return found


def _shares(chips: Sequence[Places], kernel: str, length: float) -> tuple[float, float]:
    """What a field of variance 1 adds to the estimated variances between cores and between dies (components.py)."""
    scatter, freedom, of_mean, share = 0.0, 0, [], []
    for chip in chips:
        average = _of_cores(chip)
        average = average / average.sum(0)
        means = average.T @ _covariance(squareform(pdist(chip.xy)) / length, kernel) @ average
        scatter += float(np.trace(means) - means.sum() / len(means))
        freedom += len(means) - 1
        of_mean.append(means.mean())
        share.append(1 / len(means))
    of_cores = scatter / freedom if freedom else 0.0
    return of_cores, float(np.mean(of_mean)) - float(np.mean(share)) * of_cores


def _of_cores(chip: Places) -> Floats:
    """1 where a device is on a core, [N, cores]."""
    found: Floats = (chip.core[:, None] == np.unique(chip.core)).astype(np.float64)
    return found


def _contrasts(design: Floats) -> Floats:
    """An orthonormal basis of what a design [N, P] does not explain, [N, N - rank]."""
    vectors, sizes, _ = np.linalg.svd(design)
    rank = int((sizes > 1e-9 * sizes[0]).sum())
    return vectors[:, rank:]


def _spacing(distance: Floats) -> float:
    """Median distance to the nearest device at another place."""
    return float(np.median(np.where(distance > 0, distance, np.inf).min(1)))


def _reach() -> float:
    """How far the log likelihood falls within the interval."""
    return float(chi2.ppf(CONFIDENCE, 1)) / 2


def _none(value: float) -> Estimate:
    """A value on whose grid no point is likely enough; it is just so itself."""
    return Estimate(value, value, value)


def _crossing(x: Floats, y: Floats, level: float, inside: int, outside: int) -> float:
    """Where the line between two points has a value."""
    share = (y[inside] - level) / (y[inside] - y[outside])
    return float(x[inside] + share * (x[outside] - x[inside]))


def without(estimate: Estimate, factor: float, taken: Estimate) -> Estimate:
    """An estimate less `factor` times another, at least 0, with an interval that holds in any case.

    Where less than nothing is left of its upper end, by chance, nothing is taken from that.
    """
    least, most = sorted((factor * taken.low, factor * taken.high))
    high = estimate.high - least if estimate.high > least else estimate.high
    return Estimate(max(estimate.value - factor * taken.value, 0.0), max(estimate.low - most, 0.0), high)


def with_field(variances: Mapping[str, Estimate], field: Field) -> dict[str, Estimate]:
    """Variances by component without a plane, as they are once the field has its part."""
    factors = {"core": field.of_cores, "die": field.of_dies}
    found = {name: without(v, factors[name], field.variance) for name, v in variances.items() if name in factors}
    return {**found, "spatial": field.variance}
