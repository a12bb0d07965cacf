"""The catalogue: what each shipped chip says, against the tables that its numbers come from."""

from __future__ import annotations

import math

import pytest
import yaml
from test_profile import NAMES, TEXTS

from snnrobust.hardware.profile import load_profile, parse_profile
from snnrobust.hardware.schema.comparison import differences
from snnrobust.hardware.schema.yaml_lines import read

CROSSBARS = [name for name in NAMES if load_profile(name).crossbar is not None]


def reordered(value: object) -> object:
    """The same data with the keys of every mapping in reverse."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_does_not_depend_on_the_order_of_keys(name):
    data = read(TEXTS[name]).data
    text = yaml.safe_dump(reordered(data), sort_keys=False)
    assert text != yaml.safe_dump(data, sort_keys=False)
    assert parse_profile(text).hash == load_profile(name).hash


@pytest.mark.parametrize("name", NAMES)
def test_a_file_begins_with_an_explanation_and_fits_a_page(name):
    lines = TEXTS[name].splitlines()
    assert sum(line.startswith("#") for line in lines) >= 2
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 130


def test_the_chip_without_a_proxy_differs_in_the_threshold_alone():
    for name in ("dynapse1", "dynapse2"):
        chip, without = load_profile(name), load_profile(f"{name}_no_threshold_proxy")
        assert chip.parameters.v_th is not None
        assert without.parameters.v_th is None
        assert {row.path.split(".v_th.")[0] for row in differences(chip, without)} == {"parameters"}
        note = next(n for n in chip.numbers() if n.path[1:2] == ("v_th",)).note
        assert note.startswith("proxy: time-to-first-spike CV 9 %")


def test_a_measured_spread_is_used_once():
    # Two roles may have the same number; they may not have it from the same measurement, which is a source and a value.
    for name in NAMES:
        spreads = [
            (n.source, n.value)
            for n in load_profile(name).numbers()
            if n.path[-1] in ("cv", "sd") and n.evidence in ("measured", "measured_secondary")
        ]
        assert len(set(spreads)) == len(spreads), name


def test_dynapse2_is_dynapse1_carried_over_and_its_own_dead_synapses():
    chip, before = load_profile("dynapse2"), load_profile("dynapse1")
    assert chip.parameters.weight.components.device.cv == before.parameters.weight.components.device.cv
    assert chip.parameters.tau_mem.outliers.fraction == before.parameters.tau_mem.outliers.fraction
    spreads = [n for n in chip.numbers() if n.path[0] == "parameters"]
    assert {n.evidence for n in spreads} == {"assumption"}
    dead = next(n for n in chip.numbers() if n.path == ("faults", "dead_synapse"))
    assert (dead.evidence, dead.source) == ("measured", "maryada2023")
    assert 0.050 <= dead.value <= 0.072
    bias = chip.quantization.bias
    smallest = bias.i_max / bias.ratio ** (bias.coarse - 1)
    assert smallest == pytest.approx(72e-12, rel=0.03)  # full scales from 72 pA to 2.3 uA


def test_rolls_says_its_one_measured_spread_once():
    chip = load_profile("rolls")
    assert {n.path[1] for n in chip.numbers() if n.value == 0.094} == {"gain"}
    assert chip.limits.fan_in == 128 * 1024 // chip.limits.neurons
    assert 2**chip.quantization.weight.bits == 4


def test_brainscales2_after_calibration():
    chip = load_profile("brainscales2")
    limits = {"tau_mem": 0.45, "tau_syn": 0.2, "v_th": 0.35, "v_leak": 0.3, "v_reset": 0.2}
    assert chip.calibration.residual.model_dump(exclude_none=True, exclude={"evidence", "source", "note"}) == limits
    assert (chip.time_scale.value, chip.limits.fan_in, chip.limits.signed_by) == (1000.0, 256, "row")
    assert 2 ** (chip.quantization.weight.bits - 1) - 1 == 63
    for role in limits:  # below the measured bound, sigma_d of 50 %
        assert chip.parameters.get(role).components.device.spread < 0.5


@pytest.mark.parametrize("percent", [10, 20, 30])
def test_generic_area_coefficient(percent):
    # CV -> s -> the transistor of the description, with the profile's own A_VT.
    chip = load_profile(f"generic_subthreshold_180nm_{percent}")
    s = math.sqrt(math.log1p(chip.parameters.weight.components.device.cv**2))
    area = (0.7 * 1e-3 * chip.a_vt.value / (25.852e-3 * s)) ** 2 / 2
    assert area == pytest.approx({10: 5.8, 20: 1.46, 30: 0.66}[percent], rel=0.02)


def test_the_two_stress_tests_have_their_rates_swapped():
    high, low = load_profile("rram_hfox_stuck_hrs_dominant"), load_profile("rram_hfox_stuck_lrs_dominant")
    assert (high.faults.stuck_lrs, high.faults.stuck_hrs) == (0.0175, 0.0904)
    assert (low.faults.stuck_lrs, low.faults.stuck_hrs) == (0.0904, 0.0175)
    assert {row.path for row in differences(high, low)} == {"faults.stuck_lrs", "faults.stuck_hrs"}
    # Closed form of the pair at w = 0: Var = 2 p_L (1 - p_L); the frequent kind decides.
    assert 2 * high.faults.stuck_lrs * (1 - high.faults.stuck_lrs) == pytest.approx(0.0343875)
    assert 2 * low.faults.stuck_lrs * (1 - low.faults.stuck_lrs) == pytest.approx(0.16445568)
    assert 1 - high.faults.stuck_lrs - high.faults.stuck_hrs == pytest.approx(0.8921)
    assert low.faults.stuck_lrs / low.faults.stuck_hrs == pytest.approx(5.2, abs=0.05)  # yuan2021


@pytest.mark.parametrize("name", CROSSBARS)
def test_no_chip_claims_more_of_its_conductances_than_is_known(name):
    # No crossbar here was read first-hand, but for the yield of joshi2020.
    measured = [n for n in load_profile(name).numbers() if n.evidence == "measured"]
    assert {n.path for n in measured} <= {("faults", "not_converged")}


def test_no_profile_states_an_energy_that_its_sources_do_not():
    assert [name for name in NAMES if load_profile(name).energy is not None] == []
