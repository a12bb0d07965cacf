"""Profiles with other spreads, and with one number at its ends."""

import math

import pytest
import torch

from snnrobust.errors import ProfileError
from snnrobust.hardware import Chip, Model, Profile, list_profiles, load_profile
from snnrobust.hardware.profile import parse_profile
from snnrobust.hardware.schema.scaling import scalable
from snnrobust.hardware.schema.uncertain import uncertain, with_number
from snnrobust.hardware.schema.yaml_lines import show


def test_a_relative_level_scales_to_another_level():
    scaled = Profile.relative(0.2).scaled({"weight": 0.5, "bias": 2.0})
    weights = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    net = Model(lambda p, x: x.sum(0), {"w": weights, "b": weights[0]}, {"w": "weight", "b": "bias"})
    found = Chip(scaled).deploy(net, 4).parameters()
    of_level = {
        level: Chip(Profile.relative(level)).deploy(net, 4).parameters()["w" if level == 0.1 else "b"]
        for level in (0.1, 0.4)
    }
    torch.testing.assert_close(found["w"], of_level[0.1], rtol=1e-12, atol=0)
    torch.testing.assert_close(found["b"], of_level[0.4], rtol=1e-12, atol=0)


def test_what_is_scaled_and_what_says_so():
    profile = load_profile("dynapse1")
    scaled = profile.scaled({"weight": 0.5, "tau_syn": 1.0})
    weight, old = scaled.parameters.weight, profile.parameters.weight
    for name in ("die", "spatial", "device"):
        component = getattr(weight.components, name)
        assert component.cv == 0.5 * getattr(old.components, name).cv
        assert component.evidence == "assumption"
        assert component.source is None
    assert weight.components.temporal == old.components.temporal  # drawn in every trial
    assert (weight.level_dependence.cv_min, weight.level_dependence.cv_max) == (0.03, 0.0625)
    assert scaled.parameters.tau_syn == profile.parameters.tau_syn
    assert scaled.hash != profile.hash
    assert scaled.name == "dynapse1-scaled"
    assert parse_profile(scaled.to_yaml()) == scaled
    assert profile.scaled({"weight": 1.0}) is profile
    assert scaled.scaled({"weight": 2.0}).name == "dynapse1-scaled"


def test_programming_scales_with_the_cells():
    profile = load_profile("pcm_ibm")
    assert scalable(profile) == ("programming",)
    halved = profile.scaled({"programming": 0.5}).crossbar.programming.coefficients
    assert halved == tuple(0.5 * c for c in profile.crossbar.programming.coefficients)


def test_absolute_spreads_and_zero():
    profile = load_profile("brainscales2").scaled({"v_th": 0.5, "v_leak": 0.0})
    assert profile.parameters.v_th.components.device.sd == 0.15
    assert profile.parameters.v_leak.components.device.sd == 0.0
    assert "v_leak" not in scalable(profile)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"adaptation": 2.0}, "spread: unknown 'adaptation'"),
        ({"gain": -1.0}, "factor of gain: -1.0"),
        ({"gain": math.inf}, "factor of gain: inf"),
        ({"tau_mem": 5.0}, "looks like a percentage"),
    ],
)
def test_impossible_factors_are_refused(factors, message):
    with pytest.raises(ProfileError, match=message):
        load_profile("brainscales2").scaled(factors)


def test_the_rule_against_wide_normals_holds():
    wide = parse_profile(WIDE)
    with pytest.raises(ProfileError, match="changes signs"):
        wide.scaled({"weight": 3.0})


WIDE = """\
schema_version: "1.0"
name: wide
kind: analog_asic
description: A normal without a clip, whose spread is measured.
sources: [{key: lab, citation: a lab}]
parameters:
  weight:
    distribution: normal
    granularity: per_synapse
    components: {device: {cv: 0.1, interval: [0.08, 0.15], evidence: measured, source: lab}}
  tau_mem:
    distribution: lognormal
    granularity: per_neuron
    components: {die: {cv: 0.2, evidence: measured, source: lab}, device: {cv: 0.1, evidence: assumption}}
    clip: [0.0, 4.0]
    evidence: assumption
  bias: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.0}}, evidence: assumption}
environment: {temperature: 300.0, evidence: assumption}
"""


def test_uncertain_numbers_are_those_with_an_interval_and_the_assumed_ones():
    found = {show(u.number.path): (u.low, u.high) for u in uncertain(parse_profile(WIDE))}
    assert found == {
        "parameters.weight.components.device.cv": (0.08, 0.15),
        "parameters.tau_mem.components.device.cv": (pytest.approx(0.075), 0.125),
        "parameters.tau_mem.clip": ((0.0, 3.0), (0.0, 5.0)),
    }


def test_an_interval_explains_and_must_hold_its_number():
    profile = parse_profile(WIDE)
    without = parse_profile(WIDE.replace("interval: [0.08, 0.15], ", ""))
    assert profile.hash == without.hash
    assert "interval" not in {n.path[-1] for n in profile.numbers()}
    assert parse_profile(profile.to_yaml()) == profile
    with pytest.raises(ProfileError, match=r"interval: \[0.11, 0.15\] must hold `cv`, 0.1"):
        parse_profile(WIDE.replace("0.08", "0.11"))


@pytest.mark.parametrize("name", [summary.name for summary in list_profiles()])
def test_every_uncertain_number_of_a_shipped_profile_can_be_moved(name):
    profile = load_profile(name)
    for u in uncertain(profile):
        for end in (u.low, u.high):
            moved = with_number(profile, u.number.path, end)
            lines = moved.diff(profile)
            assert len(lines) == 1, lines
            assert lines[0].startswith(show(u.number.path))


def test_a_number_outside_its_domain_is_refused():
    profile = load_profile("dynapse1")
    with pytest.raises(ProfileError, match=r"dynapse1: parameters.tau_mem.outliers.fraction"):
        with_number(profile, ("parameters", "tau_mem", "outliers", "fraction"), 1.5)
    with pytest.raises(ProfileError, match="clip"):
        with_number(parse_profile(WIDE), ("parameters", "tau_mem", "clip"), (2.0, 3.0))
