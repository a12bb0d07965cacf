"""Arrays of conductances against transcriptions of aihwkit's and CrossSim's formulas, and closed forms.

Statistical bounds are 5 standard errors at fixed seeds (2e-6 false alarms per bound).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from snnrobust.hardware.crossbar.compensation import compensation
from snnrobust.hardware.crossbar.curves import curve
from snnrobust.hardware.crossbar.drift import drifted
from snnrobust.hardware.crossbar.mapping import conductances, devices, over_tiles, relative_weight, sensitivity
from snnrobust.hardware.crossbar.programming import programmed, programming_sigma
from snnrobust.hardware.crossbar.read_noise import read_sigma, shares
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import load_profile

PCM = load_profile("pcm_ibm")
HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
POWER_LAW = """drift:
    model: power_law
    t0: 20.0
    nu_mean: {a_ln: -0.0155, b: 0.0244, min: 0.049, max: 0.1}
    nu_std: {a_ln: -0.0125, b: -0.0059, min: 0.008, max: 0.045}
    rectify: abs"""
WAN = """drift:
    model: table
    interpolate: true
    table:
      - {time: 1.0, coefficients: [0.348, 16.030, -43.853, 45.393, -16.815]}
      - {time: 86400.0, coefficients: [0.701, 22.086, -50.773, 47.095, -16.458]}
      - {time: 172800.0, coefficients: [0.782, 20.274, -43.507, 37.062, -11.934]}
  programming:
    {model: polynomial, variable: g_rel, coefficients: [0.348, 16.030, -43.853, 45.393, -16.815], g_max_ref: 40.0}"""
CMO = """drift:
    model: log_shift
    mean_per_ln_t: -0.08900206
    std: {per_ln_t: 0.04201137, b: 0.41183342}
    clip: [9.0, 88.2]
  read_noise: {model: log10_g, k: 0.0277316483, t_read: 1.0e-6}
  programming: {model: polynomial, variable: g_uS, coefficients: [0.0112185391, 0.01129027418], clip_zero: false}"""


def chip(blocks: str, g: str = "0.0, 25.0", mapping: str = "differential_one_sided", more: str = "", after: str = ""):
    low, high = g.split(", ")
    return profile(
        f"crossbar:\n  technology: any\n  g_min: {low}\n  g_max: {high}\n  mapping: {{scheme: {mapping}}}\n  {blocks}\n"
        f"{more}\n{after}",
        kind="crossbar",
    )


# --- mapping -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mapping", ["differential_one_sided", "differential_two_sided", "offset", "single_device", "n_pair, f: [1.0, 4.0]"]
)
@given(seed=st.integers(0, 2**31), low=st.floats(0, 5), reach=st.floats(1, 100))
def test_conductances_and_back(mapping, seed, low, reach):
    bar = chip("levels: null", f"{low}, {low + reach}", mapping).crossbar
    r = torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    r = r if bar.mapping.scheme in ("offset", "single_device") else 2 * r - 1
    found = conductances(r, bar)
    assert len(found) == len(devices(bar)) == len(sensitivity(bar))
    assert all(bool(((g >= low - 1e-9) & (g <= low + reach + 1e-9)).all()) for g in found)
    assert torch.allclose(relative_weight(found, bar), r, rtol=0, atol=1e-9)
    for n, part in enumerate(sensitivity(bar)):  # dr / dg
        moved = [g + (1e-3 if m == n else 0) for m, g in enumerate(found)]
        assert float((relative_weight(moved, bar) - r).abs().max()) == pytest.approx(1e-3 * part, rel=1e-6)


def test_pairs_of_higher_significance_are_used_last():
    # f = 1, 4: 0.1 of the largest weight, 5 reaches of the first pair, half of it; 0.6 fills it and half the other.
    bar = chip("levels: null", "2.0, 12.0", "n_pair, f: [1.0, 4.0]").crossbar
    found = conductances(torch.tensor([0.1, 0.6, -1.0]), bar)
    wanted = torch.tensor([[7.0, 12, 2], [2, 2, 12], [2, 7, 2], [2, 2, 12]])
    assert torch.allclose(torch.stack(found), wanted)


def test_statistics_over_tiles():
    x = torch.arange(24.0).reshape(4, 6)
    rows, columns = 4, 3
    for column in (False, True):
        found = over_tiles(x, (rows, columns), column=column, reduce=torch.amax).expand(4, 6)
        for n in range(4):
            for i in range(6):
                band = slice(n, n + 1) if column else slice(n // columns * columns, (n // columns + 1) * columns)
                assert found[n, i] == x[band, i // rows * rows : (i // rows + 1) * rows].max()
    assert torch.equal(over_tiles(x, None, column=True, reduce=torch.mean), x.mean(1, keepdim=True))
    assert over_tiles(x, (6, 4), column=False, reduce=torch.amax).item() == 23


def test_a_large_layer_has_a_scale_for_each_tile():
    bar = chip("tile: [2, 2]\n  programming: {model: polynomial, variable: g_uS, coefficients: [1.0]}")
    w = torch.tensor([[1.0, 0.5, 0.1, 0.0], [0.5, 0.2, 0.05, 0.1], [8.0, 1.0, 3.0, 2.0]])
    theta = {"l.weight": w}
    z = {"l.weight/g_plus": torch.ones(3, 4), "l.weight/g_minus": torch.zeros(3, 4)}
    tops = torch.tensor([[1, 1, 0.1, 0.1], [1, 1, 0.1, 0.1], [8, 8, 3, 3]])
    assert torch.allclose(realise(placed(bar, theta), theta, z)["l.weight"], w + tops / 25)


# --- fits ----------------------------------------------------------------------------------------------------

# relative conductance: programming sigma (uS), mean and sd of nu, Q
PCM_FITS = {
    0: (0.26348, 0.1, 0.045, 0.2),
    0.04: (0.34020, 0.07429, 0.03434, 0.07131),
    0.1: (0.44825, 0.06009, 0.02288, 0.03931),
    0.2: (0.60956, 0.04935, 0.01422, 0.02505),
    0.4: (0.86178, 0.049, 0.008, 0.01596),
    0.6: (1.02016, 0.049, 0.008, 0.01227),
    0.8: (1.08470, 0.049, 0.008, 0.01017),
    1.0: (1.05538, 0.049, 0.008, 0.00880),
}


@pytest.mark.parametrize(("relative", "fits"), PCM_FITS.items())
def test_fits_of_phase_change_memory(relative, fits):
    bar, g = PCM.crossbar, torch.tensor([25.0 * relative], dtype=torch.float64)
    found = [programming_sigma(g, bar, HOUR), *(curve(c, g / 25) for c in (bar.drift.nu_mean, bar.drift.nu_std))]
    # At t_inf = 1 s, sqrt(ln((t + t_read) / (2 t_read))) = 4.18965; a read of a device with one microsiemens.
    found.append(read_sigma(torch.ones_like(g), g, bar, 1.0) / 4.18965)
    assert [float(f) for f in found] == pytest.approx(fits, abs=6e-6)


@pytest.mark.parametrize(
    ("time", "low", "high", "root"),
    [
        (1.0, (0.99707, 0.00111), (0.99761, 0.00039), 4.18965),
        (HOUR, (0.73690, 0.08797), (0.77580, 0.03228), 4.76475),
        (DAY, (0.61589, 0.11907), (0.66501, 0.04459), 5.08681),
        (YEAR, (0.44742, 0.15010), (0.50018, 0.05729), 5.63702),
    ],
)
def test_drift_of_phase_change_memory(time, low, high, root):
    signed = profile_of(PCM.to_yaml().replace("rectify: abs", "rectify: none")).crossbar
    z = torch.from_numpy(stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000))
    for relative, (mean, sd) in ((0.1, low), (0.4, high), (1.0, high)):
        g = torch.full_like(z, 25.0 * relative)
        factor = drifted(torch.ones_like(z), g, z, signed, time)
        assert float(factor.mean()) == pytest.approx(mean, abs=3e-5)
        assert float(factor.std()) == pytest.approx(sd, abs=3e-5)
        assert not bool((drifted(torch.ones_like(z), g, z, PCM.crossbar, time) > 1).any())  # nu is a size there
    full = torch.tensor([25.0])
    assert float(read_sigma(full, full, PCM.crossbar, time)) == pytest.approx(25 * 0.0088 * root, rel=1e-4)


def test_fits_of_wan():
    g = torch.tensor([0.0, 4.0, 10.0, 20.0, 30.0, 39.999], dtype=torch.float64)
    bar = chip(WAN, "0.0, 40.0").crossbar
    for time, sigma in (
        (1.0, [0.348, 1.556, 2.258, 2.023, 1.533, 1.103]),
        (DAY, [0.701, 2.447, 3.721, 3.909, 3.367, 2.651]),
        (2 * DAY, [0.782, 2.410, 3.664, 3.929, 3.374, 2.677]),
    ):
        assert programming_sigma(g, bar, time).tolist() == pytest.approx(sigma, abs=1.1e-3)
    # Between two times the spread is linear in ln t; one z serves all times.
    middle = programming_sigma(g, bar, math.sqrt(DAY))
    ends = programming_sigma(g, bar, 1.0), programming_sigma(g, bar, DAY)
    assert torch.allclose(middle, (ends[0] + ends[1]) / 2)


@pytest.mark.parametrize(
    ("time", "shift", "sd"), [(1.0, 0, 0.41183), (HOUR, -0.72881, 0.75585), (DAY, -1.01166, 0.88937)]
)
def test_relaxation_of_cmo(time, shift, sd):
    bar, g = chip(CMO, "9.0, 88.2", "single_device").crossbar, torch.tensor([50.0], dtype=torch.float64)
    still = drifted(g, g, None, bar, time)
    assert float(still) - 50 == pytest.approx(shift, abs=6e-6)
    assert float(drifted(g, g, torch.ones(1), bar, time) - still) == pytest.approx(sd, abs=6e-6)
    reads = {1.0: (0.0959, 0.1707, 0.1954), HOUR: (0.1222, 0.2175, 0.2491), DAY: (0.1310, 0.2332, 0.2670)}[time]
    three = torch.tensor([9.0, 50.0, 88.2])
    assert read_sigma(three, three, bar, time).tolist() == pytest.approx(reads, abs=6e-5)


def transcribed_pcm(g_target, normals, time, g_max=25.0):
    """PCMLikeNoiseModel of aihwkit: programming, drift and accumulated 1/f noise with the given normal numbers."""
    programming, exponent, read = normals
    x = g_target / g_max
    g = np.maximum(g_target + (0.26348 + 1.965 * x - 1.1731 * x**2) * g_max / 25 * programming, 0)
    with np.errstate(divide="ignore"):
        mean = np.clip(-0.0155 * np.log(x) + 0.0244, 0.049, 0.1)
        sd = np.clip(-0.0125 * np.log(x) - 0.0059, 0.008, 0.045)
    t = time + 20.0
    moved = g * (t / 20.0) ** -np.abs(mean + sd * exponent)
    q = np.minimum(0.0088 / np.maximum((g / g_max) ** 0.65, 1e-3), 0.2)
    return np.maximum(moved + moved * q * math.sqrt(math.log((t + 250e-9) / 500e-9)) * read, 0)


@given(seed=st.integers(0, 2**31), time=st.sampled_from([1.0, 100.0, HOUR, YEAR]))
def test_a_pair_by_transcription(seed, time):
    rng = np.random.default_rng(seed)
    w, normals = rng.normal(size=(4, 6)), rng.normal(size=(2, 3, 4, 6))
    blocks = (
        POWER_LAW + "\n  programming: {model: polynomial, variable: g_rel, coefficients: [0.26348, 1.965, -1.1731], "
    )
    blocks += "g_max_ref: 25.0}\n  read_noise: {model: pcm_1f, coefficient: 0.0088, exponent: 0.65, q_max: 0.2, "
    blocks += "t_read: 250.0e-9, trial_time: 1.0e-9}"  # all of the noise is slower than a trial: frozen
    bar = chip(blocks, after=f"environment: {{time_since_programming: {time}}}")
    top = np.abs(w).max()
    plus, minus = (transcribed_pcm(np.maximum(s * w, 0) / top * 25, normals[n], time) for n, s in enumerate((1, -1)))
    theta = {"l.weight": torch.from_numpy(w)}
    z = {
        f"l.weight/{device}{part}": torch.from_numpy(normals[n, m])
        for n, device in enumerate(("g_plus", "g_minus"))
        for m, part in enumerate(("", ".drift", ".read"))
    }
    found = realise(placed(bar, theta), theta, z)["l.weight"]
    assert np.allclose(found.numpy(), (plus - minus) / 25 * top, rtol=1e-9, atol=1e-12)


def test_programmed_below_zero_only_where_the_profile_says_so():
    g, z = torch.zeros(1), torch.full((1,), -1.0)
    assert float(programmed(g, torch.ones(1), z, chip(WAN, "0.0, 40.0").crossbar)) == 0
    assert float(programmed(g, torch.ones(1), z, chip(CMO, "9.0, 88.2", "single_device").crossbar)) == -1


# --- a chip over time ----------------------------------------------------------------------------------------


def at(time: float):
    text = PCM.to_yaml().replace("time_since_programming: 3600.0", f"time_since_programming: {time}")
    return profile_of(text.replace("compensation: global", "compensation: none"))


def profile_of(text: str):
    from snnrobust.hardware.profile import parse_profile

    return parse_profile(text)


def test_a_chip_is_one_trajectory():
    theta = {"l.weight": torch.rand(8, 9) + 0.1}
    kinds = ("continuous", "fixed")
    last = None
    for time in (1.0, HOUR, DAY, YEAR):
        placement = placed(at(time), theta)
        z = draw(placement, seed=3, purpose="test", instances=range(4), kinds=kinds)
        w = realise(placement, theta, z)["l.weight"]
        assert torch.equal(
            w,
            realise(placement, theta, draw(placement, seed=3, purpose="test", instances=range(4), kinds=kinds))[
                "l.weight"
            ],
        )
        plus = {key: value for key, value in z.items() if "g_plus" in key}
        g = realise(placement, theta, plus)["l.weight"]  # all weights are positive: g_plus alone
        assert last is None or bool((g <= last).all())
        last = g


def test_the_split_of_read_noise_keeps_its_variance():
    parts = shares(PCM.crossbar, HOUR)
    assert sum(parts) == pytest.approx(1)
    octaves = math.log((HOUR + 20) / 100), math.log(100 / 1e-3), math.log(1e-3 / 500e-9)
    assert parts == pytest.approx([o / sum(octaves) for o in octaves], rel=1e-9)
    assert shares(chip("levels: null").crossbar, HOUR) == (1, 0, 0)
    young = [shares(PCM.crossbar, seconds) for seconds in np.geomspace(1e-3, 1e9, 200)]
    assert min(map(min, young)) == 0.0  # after less than a trial nothing is slower; never less than nothing


def test_slow_noise_changes_within_a_trial_and_the_frozen_part_does_not():
    theta = {"l.weight": torch.rand(4, 5)}
    placement = placed(PCM, theta)
    one, two = (draw(placement, seed=1, purpose="test", instances=[0], part=part) for part in (0, 1))
    other = draw(placement, seed=1, purpose="test", instances=[0], trial=1)
    for key in one:
        assert torch.equal(one[key], two[key]) == (not key.endswith(".slow"))
        assert torch.equal(one[key], other[key]) == (not key.endswith((".slow", ".read")))


# --- compensation --------------------------------------------------------------------------------------------


def test_compensation_of_an_array_that_has_lost_the_same_everywhere():
    w = torch.randn(6, 8, dtype=torch.float64)
    assert torch.allclose(compensation(w, 0.7 * w, PCM.crossbar), torch.full((1, 1), 1 / 0.7, dtype=torch.float64))
    column = chip("compensation: per_column").crossbar
    lost = torch.linspace(0.5, 1, 6, dtype=torch.float64)[:, None]
    assert torch.allclose(compensation(w, lost * w, column), 1 / lost)
    assert compensation(w, w, chip("levels: null").crossbar) is None
    assert torch.equal(compensation(w, 0 * w, PCM.crossbar), torch.ones(1, 1, dtype=torch.float64))


def test_compensation_keeps_the_mean_size_of_the_weights():
    theta = {"l.weight": torch.randn(64, 64, generator=torch.Generator().manual_seed(0))}
    for time in (HOUR, YEAR):
        text = PCM.to_yaml().replace("time_since_programming: 3600.0", f"time_since_programming: {time}")
        sizes = []
        for compensated in ("global", "none"):
            placement = placed(profile_of(text.replace("compensation: global", f"compensation: {compensated}")), theta)
            w = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=[0]))["l.weight"]
            sizes.append(float(w.abs().mean() / theta["l.weight"].abs().mean()))
        assert sizes[0] == pytest.approx(1, abs=0.03)
        assert sizes[1] < 0.85


# --- stuck cells ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0.0175, 0.0904), (0.0904, 0.0175)])
@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
def test_moments_of_stuck_cells(low, high, w):
    n = 200_000
    theta = {"l.weight": torch.full((2, n // 2), w, dtype=torch.float64)}
    theta["l.weight"][0, 0] = 1.0  # sets the scale
    bar = chip("levels: null", after=f"faults: {{stuck_lrs: {low}, stuck_hrs: {high}}}")
    found = realise(placed(bar, theta), theta, draw(placed(bar, theta), seed=2, purpose="test", instances=None))
    x, q = found["l.weight"].flatten()[1:].numpy(), low + high
    variance = (1 - q) * w**2 + low - ((1 - q) * w + low) ** 2 + low * (1 - low)
    assert abs(x.mean() - (1 - q) * w) < 5 * math.sqrt(variance / n)
    square = (x - (1 - q) * w) ** 2
    assert abs(square.mean() - variance) < 5 * square.std() / math.sqrt(n)
    if w == 0:
        assert variance == pytest.approx({0.0175: 0.0343875, 0.0904: 0.16445568}[low], rel=1e-6)


def test_clustered_faults_are_as_many_but_come_together():
    theta = {"l.weight": torch.full((400, 400), 0.5)}
    counts = {}
    for clustered in ("false", "true"):
        bar = chip("levels: null", after=f"faults: {{stuck_hrs: 0.05, clustered: {clustered}}}")
        placement = placed(bar, theta)
        z = draw(placement, seed=2, purpose="test", instances=None)
        dead = realise(placement, theta, {k: v for k, v in z.items() if "g_plus" in k})["l.weight"] == 0
        assert float(dead.float().mean()) == pytest.approx(0.05, abs=0.02)
        counts[clustered] = dead.float().reshape(50, 8, 50, 8).mean((1, 3)).std()
    assert counts["true"] > 3 * counts["false"]


def test_cells_that_did_not_converge_have_any_conductance_and_only_written_ones_fail():
    n = 100_000
    theta = {"l.weight": torch.full((1, n), 1.0)}
    bar = chip("levels: null", "5.0, 25.0", after="faults: {not_converged: 0.2}")
    found = realise(placed(bar, theta), theta, draw(placed(bar, theta), seed=1, purpose="test", instances=None))
    x = found["l.weight"].numpy().ravel()
    failed = x[x < 0.9999]
    assert stats.binomtest(len(failed), n, 0.2).pvalue > 1e-5
    assert stats.kstest(failed, "uniform").pvalue > 1e-5


# --- wires ---------------------------------------------------------------------------------------------------


def test_wires_take_from_what_is_far_from_the_driver_and_the_ground():
    # One cell: the wires are in series with it, 1 / (1 / g + 2 r).
    wires = "ir_drop: {model: nodal, r_wire: 1000.0, v_read: 0.2}"
    bar = chip(wires + "\n  programming: {model: polynomial, variable: g_uS, coefficients: [0.0]}")
    zero = {"l.weight/g_plus": torch.zeros(1, 1), "l.weight/g_minus": torch.zeros(1, 1)}
    one = {"l.weight": torch.ones(1, 1)}
    assert float(realise(placed(bar, one), one, zero)["l.weight"]) == pytest.approx(1 / (1 + 2000 * 25e-6))
    theta = {"l.weight": torch.ones(6, 5)}
    z = {key: torch.zeros(2, 6, 5) for key in zero}
    found = realise(placed(bar, theta), theta, z)["l.weight"]
    assert found.shape == (2, 6, 5)
    assert bool((found < 1).all())
    assert bool((found[:, :, 1:] > found[:, :, :-1]).all())  # later rows (inputs) are nearer to the ground
    assert bool((found[:, 1:] < found[:, :-1]).all())  # later columns (neurons) are farther from the driver


@pytest.mark.parametrize(
    "mapping", ["differential_one_sided", "differential_two_sided", "offset", "single_device", "n_pair, f: [1.0, 3.0]"]
)
@pytest.mark.parametrize("ends", [(-2.0, 2.0), (-1.0, 2.0), (1.0, 2.0)])
def test_constant_noise_is_a_fraction_of_the_largest_weight(mapping, ends):
    bar = chip("read_noise: {model: constant, relative_to_w_max: 0.013}", "1.0, 12.0", mapping)
    w = torch.empty(100, 100, dtype=torch.float64).uniform_(*ends, generator=torch.Generator().manual_seed(0))
    w[0, :2] = torch.tensor(ends)
    theta = {"l.weight": w}
    placement = placed(bar, theta)
    z = draw(placement, seed=1, purpose="test", instances=range(3))
    noise = (realise(placement, theta, z)["l.weight"] - w).std()
    assert float(noise) == pytest.approx(0.013 * 2, abs=5 * 0.026 / math.sqrt(2 * 30_000))


def test_a_table_needs_no_law_of_programming():
    blocks = "drift: {model: table, table: [{time: 1.0, coefficients: [0.5, 1.0]}]}"
    bar = chip(blocks, after="environment: {time_since_programming: 1.0}")
    theta = {"l.weight": torch.tensor([[1.0, 0.4]])}
    z = {"l.weight/g_plus": torch.ones(1, 2)}  # sigma 0.5 + g / g_max, in microsiemens
    found = realise(placed(bar, theta), theta, z)["l.weight"]
    assert torch.allclose(found, theta["l.weight"] + torch.tensor([[1.5, 0.9]]) / 25)


def test_nothing_has_fluctuated_at_the_time_of_programming():
    bar = load_profile("reram_cmo").crossbar
    assert shares(bar, 0.0) == (1.0, 0.0, 0.0)
    assert not read_sigma(torch.tensor([9.0, 50.0]), torch.tensor([9.0, 50.0]), bar, 0.0).any()
