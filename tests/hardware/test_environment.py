"""Temperature and age against their formulas; Profile.under."""

from __future__ import annotations

import math
import re

import pytest
import torch
from chip_builder import placed, profile, spread

from snnrobust.errors import ProfileError
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import Profile, load_profile, parse_profile
from snnrobust.hardware.schema.check import parse
from snnrobust.hardware.stages.environment import thermal_voltage
from snnrobust.snn import Network

WARM = "environment: {{temperature: 358.15, temperature_ref: 300, bias_law: {law}}}"
ENTRIES = """
parameters:
  tau_mem: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.12}}}
  bias: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.12}}}
  gain: {distribution: normal, granularity: per_neuron, components: {device: {cv: 0.1}}}
"""
THETA = {f"l.{role}": torch.tensor([2.0], dtype=torch.float64) for role in ("tau_mem", "tau_syn", "bias", "gain")}
AGED = """
environment:
  temperature: 300
  age: 16
  ageing: {amplitude: 0.005, exponent: 0.25, kappa: 0.7}
"""


def realised(chip: Profile, z: float | None = None) -> dict[str, float]:
    """The parameters where every coordinate is z."""
    placement = placed(chip, THETA)
    own = {} if z is None else {k: torch.full(c.shape, z).double() for k, c in placement.coordinates.items()}
    return {name.split(".")[1]: float(p) for name, p in realise(placement, THETA, own).items()}


@pytest.mark.parametrize(
    ("celsius", "millivolt"), [(0, 23.54), (20, 25.26), (26.85, 25.85), (40, 26.99), (60, 28.71), (85, 30.86)]
)
def test_thermal_voltage(celsius, millivolt):
    assert 1e3 * thermal_voltage(273.15 + celsius) == pytest.approx(millivolt, abs=0.005)


def test_spread_of_a_transistor_at_two_temperatures():
    # A = 12.5 mV um, W L = 4 um^2, one device, kappa = 0.7: s = 0.1197 at 300 K, 0.1002 at 358.15 K.
    sigma = 12.5e-3 / math.sqrt(2 * 4)
    s, warm = (0.7 * sigma / thermal_voltage(t) for t in (300.0, 358.15))
    assert (s, warm) == pytest.approx((0.1197, 0.1002), abs=5e-5)
    cv = math.sqrt(math.expm1(s**2))
    entry = f"distribution: lognormal, granularity: per_neuron, components: {{device: {{cv: {cv}}}}}"
    chip = parse_profile(spread("bias", entry).to_yaml() + WARM.format(law="ptat") + "\n")
    assert math.log(realised(chip, 1.0)["bias"] / 2) == pytest.approx(warm, rel=1e-12)


@pytest.mark.parametrize("law", ["constant_current", "ptat", "ignore"])
def test_laws(law):
    chip = profile(ENTRIES + WARM.format(law=law))
    ratio = 358.15 / 300
    grows = ratio if law == "constant_current" else 1.0
    assert realised(chip) == pytest.approx({"tau_mem": 2 * grows, "tau_syn": 2 * grows, "bias": 2, "gain": 2})
    s = math.sqrt(math.log1p(0.12**2)) / (1 if law == "ignore" else ratio)
    found = realised(chip, 1.0)
    assert math.log(found["tau_mem"] / 2 / grows) == pytest.approx(s)
    assert math.log(found["bias"] / 2) == pytest.approx(s)
    assert found["gain"] == pytest.approx(2.2)  # a normal spread is not one of threshold voltages
    assert chip.not_simulated() == []


def test_spread_at_a_level_shrinks_too():
    entry = (
        "distribution: lognormal, granularity: per_neuron, components: {die: {cv: 0.06}, device: {cv: 0.08}}, "
        "level_dependence: {exponent: 1.0, reference: 1.0, reference_of: value}"
    )
    chips = [parse_profile(spread("bias", entry).to_yaml() + WARM.format(law=law) + "\n") for law in ("ptat", "ignore")]
    warm, cold = (math.log(realised(chip, 1.0)["bias"] / 2) for chip in chips)
    assert warm == pytest.approx(cold * 300 / 358.15)


def test_at_its_own_temperature_a_chip_is_as_it_was():
    chip = load_profile("dynapse1")
    again = chip.under(temperature=300.0)
    assert (again, again.hash) == (chip, chip.hash)
    plain = profile(ENTRIES + "environment: {temperature: 300, bias_law: constant_current}")
    assert realise(placed(plain, THETA), THETA, {})["l.tau_mem"] is THETA["l.tau_mem"]
    assert plain.not_simulated() == []


def test_a_time_constant_without_a_spread_is_still_listed():
    chip = profile("parameters: {}\n" + WARM.format(law="constant_current"))
    assert placed(chip, THETA).unlisted() == ("bias", "gain", "tau_mem", "tau_syn")


def test_age_lowers_currents():
    # 5 mV s^-1/4 after 16 s: 10 mV, that is -24 % of the current.
    fresh, aged = profile(ENTRIES), profile(ENTRIES + AGED)
    f = math.exp(-0.7 * 0.010 / 0.0258520)
    assert f == pytest.approx(0.7628, abs=1e-4)
    expected = {"tau_mem": 2 / f, "tau_syn": 2 / f, "bias": 2 * f, "gain": 2}
    assert realised(aged) == pytest.approx(expected, rel=1e-5)
    new = aged.under(age=0)
    assert realised(new) == realised(fresh)
    assert aged.not_simulated() == new.not_simulated() == []
    assert realised(aged, 1.0)["bias"] == pytest.approx(realised(fresh, 1.0)["bias"] * f, rel=1e-5)


def test_the_same_z_at_any_temperature_and_age():
    chip = profile(ENTRIES + AGED + "  temperature_ref: 290\n  bias_law: ptat")
    zs = [
        draw(placed(c, THETA), seed=1, purpose="test", instances=[3])
        for c in (chip, chip.under(age=0, temperature=400))
    ]
    assert all(torch.equal(value, zs[1][key]) for key, value in zs[0].items())


class TestUnder:
    def test_it_replaces_what_is_given(self):
        chip = load_profile("dynapse1")
        warm = chip.under(temperature=330)
        assert (warm.environment.temperature, warm.environment.temperature_ref) == (330.0, 300.0)
        assert warm.diff(chip) == ["environment.temperature: 330.0 -> 300.0"]
        assert warm.hash != chip.hash
        assert chip.environment.temperature == 300.0  # untouched
        assert chip.under() is chip
        assert parse_profile(warm.to_yaml()) == warm
        later = load_profile("pcm_ibm").under(time=86400)
        assert later.environment.time_since_programming == 86400.0
        assert later.environment.temperature == 300.0

    def test_the_temperature_that_a_profile_states_is_its_reference(self):
        warm = profile("environment: {temperature: 300, bias_law: ptat}").under(temperature=330)
        assert (warm.environment.temperature, warm.environment.temperature_ref) == (330.0, 300.0)
        assert parse_profile(warm.to_yaml()) == warm
        assert warm.under(temperature=340).environment.temperature_ref == 300.0

    def test_a_chosen_condition_is_an_assumption_where_nobody_says_more(self):
        text = load_profile("pcm_ibm").to_yaml()
        silent = parse_profile(text[: text.index("environment:")])
        later = silent.under(time=60.0)
        assert later.environment.evidence == "assumption"
        assert parse_profile(later.to_yaml()) == later

    @pytest.mark.parametrize(
        ("name", "environment", "message"),
        [
            ("pcm_ibm", {"temperature": 330.0}, "environment.bias_law: needed where temperature differs"),
            ("ideal", {"temperature": 330.0}, "temperature: ideal states none at which it holds"),
            ("dynapse1", {"age": 1.0}, "environment.age: 1 s has no effect without a law; give `ageing`"),
            ("dynapse1", {"time": 60.0}, "time: nothing in dynapse1 depends on the time since programming"),
            ("dynapse1", {"temperature": 0.0}, "temperature: 0.0 K must be from 200 to 450 K"),
            ("dynapse1", {"temperature": 1.0}, "temperature: 1.0 K must be from 200 to 450 K"),
            ("dynapse1", {"temperature": 450.1}, "temperature: 450.1 K must be from 200 to 450 K"),
            ("dynapse1", {"temperature": math.nan}, "temperature: nan K must be from 200 to 450 K"),
            ("pcm_ibm", {"time": -1.0}, "time: -1.0 must be a finite number >= 0"),
            ("pcm_ibm", {"time": math.inf}, "time: inf must be a finite number >= 0"),
        ],
    )
    def test_what_has_no_law_is_an_error(self, name, environment, message):
        with pytest.raises(ProfileError) as error:
            load_profile(name).under(**environment)
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_time_outside_the_model(self):
        chip = profile(
            """
            crossbar:
              technology: rram
              g_min: 1.0
              g_max: 40.0
              mapping: {scheme: differential_one_sided}
              drift: {model: table, table: [{time: 1, coefficients: [0.3]}, {time: 86400, coefficients: [0.7]}]}
            """,
            kind="crossbar",
        )
        assert chip.under(time=86400).environment.time_since_programming == 86400
        with pytest.raises(ProfileError, match=r"60 is outside crossbar\.drift\.table; allowed: 1, 86400"):
            chip.under(time=60)


@pytest.mark.parametrize(
    ("environment", "lines"),
    [
        (
            "{temperature: 330, temperature_ref: 300}",
            ["bias_law: needed where temperature differs from temperature_ref"],
        ),
        ("{temperature: 330}", []),
        ("{age: 3600}", ["age: 3600 s has no effect without a law; give `ageing`"]),
        ("{age: 0}", []),
        (
            "{ageing: {amplitude: 0.001, exponent: 0.2}}",
            ["ageing: needs `temperature`, which a threshold is measured against (kT/q)"],
        ),
        ("{temperature: 300, ageing: {amplitude: -1, exponent: 0.2}}", ["ageing.amplitude: -1 must be >= 0"]),
        ("{bias_law: ptat}", ["bias_law ptat has no effect without `temperature_ref` or `temperature`"]),
        ("{bias_law: ignore}", []),
        ("{bias_law: ptat, temperature_ref: 300}", []),
        ("{temperature: 1, bias_law: ptat}", ["temperature: 1 must be >= 200"]),
        ("{temperature: 300, temperature_ref: 27e3, bias_law: ptat}", ["temperature_ref: 27000.0 must be <= 450"]),
    ],
)
def test_rules(environment, lines):
    text = 'schema_version: "1.0"\nname: mine\nkind: analog_asic\ndescription: .\nevidence: assumption\n'
    _, errors = parse(f"{text}environment: {environment}\n", "x", Profile)
    assert [re.split(r"environment(?:\.|: )", line, maxsplit=1)[1] for line in errors] == lines


@pytest.mark.parametrize("temperature", [200.0, 450.0])
@pytest.mark.parametrize("law", ["ptat", "constant_current"])
def test_answers_are_finite_at_the_ends_of_the_range(temperature, law):
    chip = load_profile("dynapse1")
    chip = chip.model_copy(update={"environment": chip.environment.model_copy(update={"bias_law": law})})
    net = Network.recurrent(4, 8, 3, tau_syn=5e-3)
    x = (torch.rand(30, 6, 4, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    logits = Chip(chip).deploy(net, 20, temperature=temperature).run(x)
    assert bool(logits.isfinite().all())
    assert float(logits.std()) > 0


def test_a_law_with_a_reference_alone_acts_once_a_temperature_is_chosen():
    chip = profile(ENTRIES + "environment: {temperature_ref: 300, bias_law: constant_current}")
    assert realised(chip)["tau_mem"] == 2
    assert realised(chip.under(temperature=330))["tau_mem"] == pytest.approx(2.2)
