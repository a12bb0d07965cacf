"""Fitting: closed forms of the mean squares, planted truth, and the profile that comes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from chip_builder import devices, profile
from measured import PLANTED, cv, planted, write
from scipy.stats import binom, chi2
from typer.testing import CliRunner

from snnrobust.cli import app
from snnrobust.errors import MeasurementError, ProfileError
from snnrobust.hardware.measurement import fit_measurements, read_measurements, report, to_profile
from snnrobust.hardware.measurement.components import MeanSquare, Places, combination, decompose
from snnrobust.hardware.measurement.fit import fit_parameter
from snnrobust.hardware.measurement.shape import compare, distance
from snnrobust.hardware.measurement.table import Device, Measurements, Row
from snnrobust.hardware.profile import load_profile, parse_profile
from snnrobust.hardware.schema.rules import WIDE_NORMAL


def measurements(rows):
    return Measurements("lab/m.csv", tuple(rows), {})


# --- closed forms --------------------------------------------------------------------------------------


def test_one_mean_square_has_the_chi_square_interval():
    found = combination([(1.0, MeanSquare(2.0, 9))])
    assert found.value == 2.0
    assert found.low == pytest.approx(9 * 2.0 / chi2.ppf(0.975, 9))
    assert found.high == pytest.approx(9 * 2.0 / chi2.ppf(0.025, 9))


def test_a_difference_is_never_negative_and_terms_add_up():
    small, large = MeanSquare(1.0, 5), MeanSquare(2.0, 50)
    none = combination([(1.0, small), (-1.0, large)])
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high > 0
    assert combination([(1.0, small), (1.0, large), (-1.0, large)]) == combination([(1.0, small), (0.0, large)])


def test_mean_squares_by_hand():
    """Two chips of two cores of two neurons, no places: classical nested analysis of variance."""
    values = np.array([1.0, 3.0, 5.0, 5.0, 2.0, 2.0, 8.0, 4.0])
    chip, core = np.repeat([0, 1], 4), np.tile([0, 0, 1, 1], 2)
    found = decompose(values, Places(chip, core, np.full((8, 2), np.nan)))
    assert found.left.tolist() == [-1, 1, 0, 0, 0, 0, 2, -2]
    assert (found.residual.value, found.residual.df) == (2.5, 4)
    # Means of cores 2, 5 and 2, 6: mean square (4.5 + 8) / 2 = 6.25; less residual / 2 neurons.
    assert found.variances["core"].value == pytest.approx(6.25 - 1.25)
    # Means of chips 3.5 and 4: mean square 0.125; less 6.25 / 2 cores: nothing is left.
    assert found.variances["die"].value == 0
    assert "spatial" in found.missing


def test_a_plane_is_recovered_exactly():
    x, y = np.meshgrid(np.arange(5.0), np.arange(5.0))
    xy = np.stack([x.ravel(), y.ravel()], 1)
    centred = (xy - 2) / 2  # mean of x^2 + y^2 is 1
    values = 0.3 * centred[:, 0] - 0.4 * centred[:, 1]
    found = decompose(values, Places(np.zeros(25, int), np.zeros(25, int), 7 * xy + 3))
    assert np.abs(found.left).max() < 1e-12
    assert found.variances["spatial"].value == pytest.approx((0.3**2 + 0.4**2) / 2)
    assert found.explained == pytest.approx(1.0)
    assert set(found.missing) == {"core", "die"}


def test_a_line_of_neurons_carries_no_plane():
    xy = np.stack([np.arange(10.0), 2 * np.arange(10.0)], 1)
    assert "spatial" in decompose(np.arange(10.0) ** 2, Places(np.zeros(10, int), np.zeros(10, int), xy)).missing


def test_distance_and_likelihood_by_hand():
    assert distance(np.array([-1.0, 1.0])) == pytest.approx(0.5 - 0.23975006, abs=1e-6)  # Phi(-1/sqrt 2) = 0.23975
    ones = np.array([-0.1, 0.1])
    assert compare(np.zeros(2), ones, 2 * ones).gain == pytest.approx(2 * math.log(2))
    assert compare(np.ones(2), ones, ones).gain == pytest.approx(-2)


# --- planted truth -----------------------------------------------------------------------------------------

SETS = 200
FEWEST_COVERED = 180
"""A true coverage of 95 % falls below with probability 0.1 %, one of 85 % passes with 2 %."""


def test_the_stated_error_rate():
    assert binom.cdf(FEWEST_COVERED - 1, SETS, 0.95) < 0.0015
    assert binom.sf(FEWEST_COVERED - 1, SETS, 0.85) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        {"chips": 6, "cores": 4, "neurons": 16},
        {"chips": 3, "cores": 1, "neurons": 49, "trials": 3},
        {"chips": 4, "cores": 2, "neurons": 16, "trials": 1, "levels": (0.5, 1.0, 2.0)},
    ],
    ids=["cores", "one core", "no trials"],
)
def test_intervals_cover_planted_truth(design):
    """Nominal 95 %: each component's interval covers in at least 180 of 200 data sets."""
    random = np.random.default_rng(1)
    spread = dict(PLANTED) if design["cores"] > 1 else {**PLANTED, "core": 0.0}
    known = {name: s for name, s in spread.items() if s}
    covered, values = dict.fromkeys([*known, "noise"], 0), {name: [] for name in known}
    for _ in range(SETS):
        found = fit_parameter("weight", planted(random, spread=spread, **design))
        for name, s in known.items():
            covered[name] += found.spreads[name].low <= cv(s) <= found.spreads[name].high
            values[name].append(found.spreads[name].value ** 2)
        covered["noise"] += found.noise.low <= cv(0.04) <= found.noise.high
    assert min(covered.values()) >= FEWEST_COVERED, covered
    for name, s in known.items():  # and variances are right on average, at 4 standard errors
        error = np.std(values[name]) / math.sqrt(SETS)
        assert abs(np.mean(values[name]) - cv(s) ** 2) < 4 * error + 0.02 * cv(s) ** 2, name


@pytest.mark.slow
def test_the_exponent_covers_planted_truth():
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(SETS):
        rows = planted(
            random, chips=2, cores=1, neurons=64, levels=(0.5, 1.0, 2.0, 4.0), exponent=-0.3, noise=0.02, spread=PLANTED
        )
        found = fit_parameter("weight", rows).law.exponent
        covered += found.low <= -0.3 <= found.high
    assert covered >= 174, covered  # a bootstrap interval: 93 % or more passes but for 0.1 %


def test_chips_of_a_profile_give_its_numbers_back():
    """Simulated chips are measured and fitted: die, plane and device come back within their intervals."""
    body = (
        "parameters: {tau_mem: {distribution: lognormal, granularity: per_neuron, components: "
        "{die: {cv: 0.1}, spatial: {cv: 0.08, kernel: plane}, device: {cv: 0.2}}}}"
    )
    theta = {"layer0.tau_mem": torch.full((144,), 0.02)}
    chips = devices(profile(body), theta, range(30), seed=2)["layer0.tau_mem"].numpy()
    rows = [
        Row(2, Device(f"{k}", 0, n), "tau_mem", float(v), (n % 12, n // 12), "", "1", "s")
        for k, chip in enumerate(chips)
        for n, v in enumerate(chip)
    ]
    found = fit_parameter("tau_mem", rows)
    for name, true in (("die", 0.1), ("spatial", 0.08), ("device", 0.2)):
        assert found.spreads[name].low < true < found.spreads[name].high
    assert found.spreads["device"].high - found.spreads["device"].low < 0.02
    assert (found.distribution, found.noise, found.noise_by) == ("lognormal", None, "not separable")


def test_what_cannot_be_identified_is_said():
    one = fit_parameter(
        "weight", planted(np.random.default_rng(0), chips=1, cores=1, neurons=64, places=False, trials=1)
    )
    assert one.missing == {
        "die": "one chip",
        "core": "one core on each chip",
        "spatial": "coordinates of too few neurons, or in one line",
    }
    assert set(one.spreads) == {"device"}
    text = report(
        fit_measurements(measurements(planted(np.random.default_rng(0), chips=1, cores=1, places=False, trials=1)))
    )
    for line in ("die        not identifiable: one chip", "noise not separable"):
        assert line in text


@pytest.mark.parametrize("trials", [1, 4])
def test_noise_is_kept_apart_from_what_is_frozen(trials):
    levels = (1.0,) if trials > 1 else (0.7, 1.0, 1.4)
    rows = planted(
        np.random.default_rng(5), neurons=64, trials=trials, levels=levels, noise=0.2, spread={"device": 0.1}
    )
    found = fit_parameter("weight", rows)
    assert found.spreads["device"].value == pytest.approx(cv(0.1), rel=0.15)
    assert found.noise.value == pytest.approx(cv(0.2), rel=0.1)
    assert found.noise_by == ("trials" if trials > 1 else "adjacent levels")


@pytest.mark.parametrize("shape", ["normal", "lognormal"])
def test_the_shape_is_told_where_the_data_tell_it(shape):
    wide = {"device": 0.2}
    rows = planted(np.random.default_rng(3), chips=3, neurons=100, spread=wide, noise=0.0, trials=1, shape=shape)
    found = fit_parameter("weight", rows)
    assert found.shape.chosen == shape
    assert found.shape.decided
    own, other = found.shape.distance_normal, found.shape.distance_lognormal
    assert (own < other) == (shape == "normal")
    assert min(own, other) < found.shape.critical < max(own, other)
    narrow = fit_parameter(
        "weight", planted(np.random.default_rng(3), neurons=16, spread={"device": 0.02}, shape=shape)
    )
    assert (narrow.shape.chosen, narrow.shape.decided) == ("lognormal", False)


def test_anomalous_devices_are_found_and_kept_out():
    rows = planted(np.random.default_rng(4), chips=2, cores=1, neurons=256, anomalous=4, spread={"device": 0.1})
    found = fit_parameter("weight", rows)
    odd = found.anomalies
    assert (odd.above, odd.below) == (8, 0)
    assert odd.fraction.value == pytest.approx(8 / 512)
    assert odd.fraction.low < 8 / 512 < odd.fraction.high
    assert odd.factor.low < 3.0 < odd.factor.high
    assert found.spreads["device"].value == pytest.approx(cv(0.1), rel=0.1)
    clean = [
        fit_parameter("weight", planted(np.random.default_rng(k), chips=1, cores=1, neurons=100)) for k in range(20)
    ]
    assert sum(bool(f.anomalies.chosen.any()) for f in clean) <= 2  # 1 % each: more has probability 0.1 %


def test_too_little_is_refused_in_words():
    few = planted(np.random.default_rng(0), chips=1, cores=1, neurons=4)
    same = [Row(2, Device("a", 0, n), "weight", 5.0) for n in range(20)]
    potential = [Row(2, Device("a", 0, n), "v_leak", 5.0 + n, unit="mV") for n in range(20)]
    for rows, message in ((few, "4 devices at one bias"), (same, "the same"), (potential, "needed: v_th_range")):
        with pytest.raises(MeasurementError, match=message):
            fit_parameter(rows[0].parameter, rows)
    both = fit_measurements(measurements([*same, *[Row(2, Device("a", 0, n), "gain", 1 + n / 9) for n in range(20)]]))
    assert set(both.parameters) == {"gain"}
    assert both.left_out == {"weight": "all values are the same"}
    with pytest.raises(MeasurementError, match=r"lab/m\.csv: weight: all values are the same"):
        fit_measurements(measurements(same))


# --- the profile ------------------------------------------------------------------------------------------


def test_the_profile_is_valid_and_says_where_each_number_is_from():
    random = np.random.default_rng(6)
    rows = planted(random, chips=3, neurons=100, levels=(0.5, 1.0, 2.0), exponent=-0.3, anomalous=2)
    offsets = [
        Row(2, Device(f"{c}", 0, n), "v_leak", 0.1 * float(random.standard_normal()), None, "", str(t), "v_th_range")
        for c in range(3)
        for n in range(50)
        for t in range(2)
    ]
    fit = fit_measurements(measurements([*rows, *offsets]))
    made = to_profile(fit, name="mine", source_key="lab", citation="Our lab, 2026")
    assert parse_profile(made.to_yaml()) == made
    assert made.not_simulated() in ([], ["parameters.weight.components.core"])
    numbers = {number.path: number for number in made.numbers()}
    assert all((n.evidence, n.source) == ("measured", "lab") for n in numbers.values())
    weight = fit.parameters["weight"]
    device = numbers["parameters", "weight", "components", "device", "cv"]
    assert device.value == pytest.approx(weight.spreads["device"].value, rel=1e-3)
    assert f"{weight.devices} devices on 3 chips; 95 % " in device.note
    low, high = made.parameters.weight.components.device.interval
    assert (low, high) == pytest.approx((weight.spreads["device"].low, weight.spreads["device"].high), rel=1e-3)
    law = made.parameters.weight.level_dependence
    assert law.exponent == pytest.approx(-0.3, abs=0.05)
    assert law.cv_min < law.cv_max
    assert made.parameters.weight.outliers.factor == pytest.approx(3.0, rel=0.2)
    leak = made.parameters.v_leak
    assert (leak.distribution, leak.mode, leak.unit) == ("normal", "absolute", "v_th_range")
    assert made.sources[0].citation == "Our lab, 2026"
    with pytest.raises(ProfileError, match="name"):
        to_profile(fit, name="no name!")


def test_a_wide_normal_gets_a_bound():
    rows = [
        Row(2, Device("a", 0, n), "gain", float(v))
        for n, v in enumerate(np.random.default_rng(0).uniform(0.3, 1.7, 400))
    ]
    made = to_profile(fit_measurements(measurements(rows)))
    gain = made.parameters.gain
    assert gain.distribution == "normal"
    assert gain.components.device.cv > WIDE_NORMAL
    assert gain.clip == (0.0, None)
    assert made.evidence_summary().counts["assumption"] == 1  # the bound


# --- the command ------------------------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(app, ["profiles", "fit", *map(str, words)])


def test_the_command_writes_a_profile_and_prints_a_report(tmp_path):
    file = write(tmp_path / "m.csv", planted(np.random.default_rng(0), chips=3))
    result = run(file, "-o", tmp_path / "p.yaml", "--name", "lab_chip")
    assert result.exit_code == 0, result.output
    assert load_profile(tmp_path / "p.yaml").name == "lab_chip"
    for text in ("weight: 192 devices on 3 chips, 384 values", "  device", "by trials", "shape: "):
        assert text in result.stdout
    assert read_measurements(file).chips() == ["chip0", "chip1", "chip2"]


def test_mistakes_are_one_line_each(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("chip,neuron,parameter,value\na,x,tau_mem,1\na,0,tau,1\n")
    result = run(bad, "-o", tmp_path / "p.yaml")
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [f"{bad}:2", f"{bad}:3"]
    good = write(tmp_path / "m.csv", planted(np.random.default_rng(0), chips=2))
    for words in (
        (tmp_path / "absent.csv", "-o", tmp_path / "p.yaml"),
        (good, "-o", good),
        (good, "-o", tmp_path / "x/p"),
    ):
        result = run(*words)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "p.yaml").exists()
