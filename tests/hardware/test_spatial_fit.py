"""Fields over the die in measurements: Moran's test by hand and by its error rate, planted fields found again.

Bounds of counts are stated with their probabilities under the nominal rates.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from measured import planted
from scipy.stats import binom

from snnrobust.hardware.measurement.components import Estimate, Places, decompose
from snnrobust.hardware.measurement.fit import fit_measurements, fit_parameter
from snnrobust.hardware.measurement.spatial import FALSE_ALARM, alike, moran, with_field, without
from snnrobust.hardware.measurement.table import Device, Measurements, Row
from snnrobust.hardware.measurement.writing import report, to_profile
from snnrobust.hardware.profile import parse_profile


def grid(side: int, chips: int = 1, cores: int = 1) -> Places:
    """Square dies, and cores that are vertical stripes."""
    x, y = (part.ravel() for part in np.meshgrid(np.arange(side), np.arange(side)))
    core = x * cores // side
    xy = np.stack([x, y], 1).astype(float)
    return Places(np.repeat(np.arange(chips), side**2), np.tile(core, chips), np.tile(xy, (chips, 1)))


def field(places: Places, length: float, random: np.random.Generator, kernel: str = "rbf") -> np.ndarray:
    """A field of variance 1 on each chip, its length in units of the die's edge."""
    side = round(math.sqrt(np.bincount(places.chip)[0]))
    out = np.empty(len(places.chip))
    for chip in np.unique(places.chip):
        xy = places.xy[places.chip == chip] / side
        r = np.hypot(*(xy[:, None] - xy).transpose(2, 0, 1)) / length
        covariance = np.exp(-r if kernel == "exponential" else -(r**2) / 2)
        out[places.chip == chip] = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(xy))) @ random.normal(size=len(xy))
    return out


def seen_in(values, places):
    found = alike(values, decompose(values, places).left, places)
    assert found is not None
    return found


def test_moran_by_hand():
    """Four devices in a square, all of them neighbours: mean and plane leave one contrast, no freedom to test."""
    places = grid(2)
    assert moran([places], [np.array([1.0, -1.0, -1.0, 1.0])]) == 1.0
    # A 3 x 3 board of checkers: of 20 pairs 12 are unlike neighbours and 8 like ones along a diagonal.
    board = np.where((np.arange(9) % 2) == 0, 1.0, -1.0)
    near = np.hypot(*(grid(3).xy[:, None] - grid(3).xy).transpose(2, 0, 1)) < 1.5
    np.fill_diagonal(near, False)
    assert board @ near @ board == 2 * (8 - 12)
    design = np.concatenate([np.ones((9, 1)), grid(3).xy], 1)
    left = np.eye(9) - design @ np.linalg.inv(design.T @ design) @ design.T
    product, d = left @ near, 6
    variance = 2 * (d * np.trace(product @ product) - np.trace(product) ** 2) / (d**2 * (d + 2))
    e = left @ board
    z = (e @ near @ e / (e @ e) - np.trace(product) / d) / math.sqrt(variance)
    assert moran([grid(3)], [e]) == pytest.approx(1 - NormalDist().cdf(z), abs=1e-12)


def test_the_null_moments_are_those_of_simulated_residuals():
    places, random = grid(7, cores=2), np.random.default_rng(0)
    found = [moran([places], [decompose(random.normal(size=49), places).left]) for _ in range(400)]
    assert abs(np.mean(found) - 0.5) < 4 / math.sqrt(12 * 400)  # the mean of uniform probabilities


@pytest.mark.slow
def test_independent_devices_raise_no_alarm():
    """At most 11 of 400 sets: more has probability 0.1 % at the nominal rate of 1 %."""
    places, random = grid(8, chips=2, cores=2), np.random.default_rng(1)
    assert binom.sf(11, 400, FALSE_ALARM) < 1.1e-3
    alarms = sum(seen_in(random.normal(size=128), places).significant for _ in range(400))
    assert alarms <= 11, alarms


def test_a_plane_is_no_field():
    places, random = grid(10, chips=3), np.random.default_rng(2)
    slope = (places.xy - 4.5) @ np.array([0.3, -0.2])
    assert not seen_in(slope + random.normal(size=300), places).significant


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["rbf", "exponential"])
def test_planted_fields_are_found_again(kernel):
    """A field of 60 % of the variance on 3 chips of 100 devices, 40 sets.

    Intervals of L and the field's variance where the kernel is right, of the devices' own variance in any case: at most
    as many fail as at 95 % with a probability of 0.2 %.
    """
    places, random, length = grid(10, chips=3), np.random.default_rng(3), 0.25
    outside = dict.fromkeys(("length", "variance", "nugget"), 0)
    found = right = 0
    for _ in range(40):
        values = math.sqrt(0.6) * field(places, length, random, kernel) + math.sqrt(0.4) * random.normal(size=300)
        seen = seen_in(values, places)
        assert seen.significant
        if seen.field is None:
            continue
        found, right = found + 1, right + (seen.field.kernel == kernel)
        assert seen.field.kernel == kernel or not seen.field.decided
        for name, true in (("length", length), ("variance", 0.6), ("nugget", 0.4)):
            interval = getattr(seen.field, name)
            counts = name == "nugget" or seen.field.kernel == kernel
            outside[name] += counts and not interval.low <= true <= interval.high
    assert found >= 36
    assert outside["nugget"] <= binom.ppf(0.998, found, 0.05), (outside, found)
    assert max(outside.values()) <= max(binom.ppf(0.998, right, 0.05), outside["nugget"]), (outside, right)


def test_what_a_field_adds_to_cores_and_dies():
    """Half of the dies' and cores' scatter comes from a field here, and is taken off: the rest is right on average."""
    places, random = grid(8, chips=8, cores=2), np.random.default_rng(5)
    dies, cores = [], []
    for _ in range(6):
        values = field(places, 0.25, random) + 0.5 * random.normal(size=512)
        seen = seen_in(values, places)
        assert seen.field is not None
        plain = decompose(values, places, plane=False).variances
        true = Estimate(1.0, 1.0, 1.0)
        dies.append(plain["die"].value - seen.field.of_dies)
        cores.append(plain["core"].value - seen.field.of_cores)
        assert without(plain["core"], seen.field.of_cores, true).value == max(cores[-1], 0.0)
        assert with_field(plain, seen.field)["spatial"] is seen.field.variance
    for left in (dies, cores):  # neither dies nor cores differ by themselves; estimates are cut off at 0 before
        assert abs(np.mean(left)) < 4 * np.std(left) / math.sqrt(6) + 0.03


def test_an_estimate_less_another():
    taken = Estimate(2.0, 1.0, 4.0)
    assert without(Estimate(5.0, 3.0, 9.0), 0.5, taken) == Estimate(4.0, 1.0, 8.5)
    assert without(Estimate(0.1, 0.0, 0.4), 0.5, taken) == Estimate(0.0, 0.0, 0.4)  # not "certainly 0"


def test_a_length_beyond_the_die_is_not_identifiable():
    places, random = grid(14, chips=2), np.random.default_rng(7)
    seen = seen_in(field(places, 8.0, random, "exponential") + 0.05 * random.normal(size=392), places)
    assert seen.significant
    assert seen.field is None


def test_two_devices_of_one_neuron_are_no_neighbours():
    once, random = grid(8), np.random.default_rng(8)
    places = Places(*(np.concatenate([part, part]) for part in (once.chip, once.core, once.xy)))
    alarms = 0
    for _ in range(40):
        alarms += seen_in(np.tile(random.normal(size=64), 2) + 0.1 * random.normal(size=128), places).significant
    assert alarms <= 3  # more has probability 0.1 % at 1 %
    smooth = seen_in(np.tile(field(once, 0.2, random), 2) + 0.3 * random.normal(size=128), places)
    assert smooth.significant


def test_too_many_devices_are_not_tested():
    places = grid(33)
    assert alike(np.zeros(1089), np.zeros(1089), places) is None


def measurements(values, places) -> Measurements:
    neuron = np.concatenate([np.arange(n) for n in np.bincount(places.chip)])
    rows = [
        Row(i + 2, Device(f"chip{c}", 0, int(n)), "tau_mem", float(v), (float(x), float(y)), "", "1", "s")
        for i, (c, n, v, (x, y)) in enumerate(zip(places.chip, neuron, values, places.xy, strict=True))
    ]
    return Measurements("lab/m.csv", tuple(rows), {})


def test_the_field_reaches_profile_and_report():
    places, random = grid(12, chips=3), np.random.default_rng(11)
    z = 0.1 * field(places, 0.3, random) + 0.08 * random.normal(size=432)
    fit = fit_measurements(measurements(0.02 * np.exp(z), places))
    found = fit.parameters["tau_mem"]
    spread = found.spreads
    assert spread["spatial"].low < 0.1 < spread["spatial"].high
    assert spread["device"].low < 0.08 < spread["device"].high
    made = to_profile(fit, name="lab")
    spatial = made.parameters.tau_mem.components.spatial
    assert spatial.kernel == "rbf"
    assert spatial.correlation_length == pytest.approx(0.3, rel=0.4)
    assert "correlation_length" in spatial.note
    assert parse_profile(made.to_yaml()).not_simulated() == []
    assert "so the spatial part is a field, rbf" in report(fit)
    assert found.alike.field.length.low < 0.3 < found.alike.field.length.high
    plain = fit_parameter("weight", planted(np.random.default_rng(0), chips=2, cores=1, neurons=64))
    assert plain.alike is not None
    assert plain.alike.field is None
