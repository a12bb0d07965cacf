"""Variance components: die, core, spatial (a plane) and device, from mean squares.

The model of device i on core k of chip c, with coordinates x, y centred and mean(x^2 + y^2) = 1 on each chip, is

    value = mean + die_c + core_ck + a_c x + b_c y + device_i,     a_c, b_c ~ N(0, spatial^2)

Each chip gets a plane by least squares within its cores; what is left gives the residual mean square R. The planes'
slopes, the cores' means (after the plane) and the chips' means give a mean square each, of known expectation:

    E R = device^2 + read-out noise        E S = spatial^2 + g_s R
    E C = core^2 + g_c R                   E D = die^2 + h core^2 + g_d R

g and h follow from the numbers of devices. Equating them is the method of moments (Searle, Casella and McCulloch,
Variance Components, 1992, unweighted means). So each variance is a linear combination of independent mean squares, and
its interval is the modified large-sample one (Graybill and Wang, J. Am. Stat. Assoc. 75:869, 1980; with coefficients of
both signs Ting et al., J. Stat. Comput. Simul. 35:135, 1990, here without cross terms), which is the chi-square
interval where the combination has one term.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIDENCE = 0.95
_FLAT = 1e-6  # neurons in a row carry no plane: smallest eigenvalue over the largest


@dataclass(frozen=True)
class MeanSquare:
    """A mean square and its degrees of freedom."""

    value: float
    df: float


@dataclass(frozen=True)
class Estimate:
    """A variance (or what is made of it), and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Places:
    """Where devices are.

    Attributes:
        chip: Number of each device's chip, [N].
        core: Number of each device's core, [N].
        xy: Place on the die, [N, 2], NaN where not known.
    """

    chip: Ints
    core: Ints
    xy: Floats

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Places:
        """Some of the devices."""
        return Places(self.chip[index], self.core[index], self.xy[index])


@dataclass(frozen=True)
class Decomposition:
    """Variances by component.

    Attributes:
        residual: Mean square of what neither chip, core nor plane explains.
        left: Residual of each device, [N].
        variances: die, core and spatial, where identifiable.
        missing: Why the others are not.
        explained: Share of the variance within chips that the planes explain, R^2; None without planes.
    """

    residual: MeanSquare
    left: Floats
    variances: Mapping[str, Estimate]
    missing: Mapping[str, str]
    explained: float | None


@dataclass(frozen=True)
class _Chip:
    """Least squares of one chip.

    Attributes:
        means: Mean of each core after the plane, [K].
        covariance: Its covariance over R, [K, K].
        slopes: a and b.
        slope_trace: Trace of the slopes' covariance over R.
        left: Residuals.
    """

    means: Floats
    covariance: Floats
    slopes: Floats
    slope_trace: float
    left: Floats


def decompose(values: Floats, places: Places, *, plane: bool = True) -> Decomposition:
    """Mean squares of a value a device, and the variances that follow.

    Args:
        values: One value a device, [N], without NaN.
        places: Where each device is.
        plane: Whether chips may have a plane.
    """
    chips = [np.flatnonzero(places.chip == c) for c in np.unique(places.chip)]
    planes = plane and all(_carries_plane(places, index) for index in chips)
    fits = [_least_squares(values[index], places.take(index), planes) for index in chips]
    left = np.empty_like(values)
    for index, fit in zip(chips, fits, strict=True):
        left[index] = fit.left
    fitted = sum(len(fit.means) for fit in fits) + 2 * planes * len(fits)
    residual = _mean_square(float(left @ left), len(values) - fitted)
    variances: dict[str, Estimate] = {}
    missing: dict[str, str] = {}
    if planes:
        trace = np.mean([fit.slope_trace for fit in fits]) / 2
        slopes = _mean_square(sum(float(fit.slopes @ fit.slopes) for fit in fits), 2 * len(fits))
        variances["spatial"] = combination([(1.0, slopes), (-float(trace), residual)])
    else:
        missing["spatial"] = "coordinates of too few neurons, or in one line"
    die: list[tuple[float, MeanSquare]] = []
    within = [fit for fit in fits if len(fit.means) > 1]
    if within:
        freedom = sum(len(fit.means) - 1 for fit in within)
        cores = _mean_square(sum(_scatter(fit.means) for fit in within), freedom)
        sampling = sum(_between(fit.covariance) for fit in within) / freedom
        variances["core"] = combination([(1.0, cores), (-sampling, residual)])
        share = float(np.mean([1 / len(fit.means) for fit in fits]))
        die = [(-share, cores), (share * sampling, residual)]
    else:
        missing["core"] = "one core on each chip"
    if len(fits) > 1:
        of_means = _mean_square(_scatter(np.array([fit.means.mean() for fit in fits])), len(fits) - 1)
        error = float(np.mean([fit.covariance.mean() for fit in fits]))
        variances["die"] = combination([(1.0, of_means), *die, (-error, residual)])
    else:
        missing["die"] = "one chip"
    return Decomposition(residual, left, variances, missing, _explained(fits, residual, len(values), planes))


def combination(terms: Sequence[tuple[float, MeanSquare]]) -> Estimate:
    """sum_i c_i M_i of independent mean squares, at least 0, with its 95 % interval (modified large-sample).

    With G = 1 - df/chi2_upper and H = df/chi2_lower - 1, the ends are the estimate minus sqrt(sum (G c M)^2) and plus
    sqrt(sum (H c M)^2), where terms with a negative coefficient exchange G and H.
    """
    together: dict[int, tuple[float, MeanSquare]] = {}
    for weight, term in terms:
        before = together.get(id(term), (0.0, term))[0]
        together[id(term)] = before + weight, term
    value = below = above = 0.0
    for weight, term in together.values():
        if term.df <= 0:
            return Estimate(math.nan, 0.0, math.inf)
        shrink = 1 - term.df / chi2.ppf((1 + CONFIDENCE) / 2, term.df)
        grow = term.df / chi2.ppf((1 - CONFIDENCE) / 2, term.df) - 1
        part = weight * term.value
        value += part
        below += (part * (shrink if part > 0 else grow)) ** 2
        above += (part * (grow if part > 0 else shrink)) ** 2
    return Estimate(max(value, 0.0), max(value - math.sqrt(below), 0.0), max(value + math.sqrt(above), 0.0))


def _least_squares(values: Floats, places: Places, plane: bool) -> _Chip:
    core = np.unique(places.core, return_inverse=True)[1]
    counts = np.bincount(core)
    means = np.bincount(core, values) / counts
    left = values - means[core]
    covariance = np.diag(1 / counts)
    if not plane:
        return _Chip(means, covariance, np.zeros(2), 0.0, left)
    xy = _standardised(places.xy)
    middle = np.stack([np.bincount(core, xy[:, axis]) / counts for axis in (0, 1)], 1)
    inside = xy - middle[core]
    inverse = np.linalg.inv(inside.T @ inside)
    slopes = inverse @ (inside.T @ left)
    return _Chip(
        means - middle @ slopes,
        covariance + middle @ inverse @ middle.T,
        slopes,
        float(np.trace(inverse)),
        left - inside @ slopes,
    )


def _standardised(xy: Floats) -> Floats:
    centred = xy - xy.mean(0)
    scaled: Floats = centred / math.sqrt((centred**2).sum(1).mean())
    return scaled


def _carries_plane(places: Places, index: NDArray[np.intp]) -> bool:
    """Whether the neurons of a chip have places that determine a plane within its cores."""
    xy, cores = places.xy[index], places.core[index]
    if not np.isfinite(xy).all() or len(index) < len(np.unique(cores)) + 3:
        return False
    inside = np.concatenate([xy[cores == core] - xy[cores == core].mean(0) for core in np.unique(cores)])
    low, high = np.linalg.eigvalsh(inside.T @ inside)
    return bool(low > _FLAT * high)


def _mean_square(total: float, df: int) -> MeanSquare:
    return MeanSquare(total / df if df > 0 else math.nan, df)


def _scatter(values: Floats) -> float:
    """sum (value - mean)^2."""
    return float(((values - values.mean()) ** 2).sum())


def _between(covariance: Floats) -> float:
    """The expected scatter of values with this covariance."""
    return float(np.trace(covariance) - covariance.sum() / len(covariance))


def _explained(fits: Sequence[_Chip], residual: MeanSquare, devices: int, planes: bool) -> float | None:
    """The planes' variance over that within chips."""
    if not planes or residual.df <= 0:
        return None
    of_planes = sum(float(fit.slopes @ fit.slopes) * len(fit.left) / 2 for fit in fits) / devices
    total = of_planes + residual.value * residual.df / devices
    return of_planes / total if total else 0.0
