"""The tornado: which numbers a verdict rests on, where the yield has a closed form."""

import pytest
from planted import gaussian, one_sample, yield_of

from snnrobust.evaluation import Requirement, tornado
from snnrobust.hardware import Profile
from snnrobust.hardware.profile import parse_profile
from snnrobust.storage import read_run, write_run

PROFILE = """\
schema_version: "1.0"
name: partly_assumed
kind: analog_asic
description: A fragile gain that nobody measured.
sources: [{key: lab, citation: a lab}]
parameters:
  weight: {distribution: normal, granularity: per_synapse, components: {device: {cv: 0.1, evidence: assumption}}}
  bias:
    distribution: normal
    granularity: per_neuron
    components: {device: {cv: 0.1, evidence: measured, source: lab}}
  gain: {distribution: normal, granularity: per_neuron, components: {device: {cv: 0.2, evidence: assumption}}}
  tau_mem: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.2, evidence: assumption}}}
faults: {dead_synapse: 0.0, evidence: assumption}
"""
GAIN = "parameters.gain.components.device.cv"


def test_the_verdict_rests_on_the_assumed_number_that_matters():
    """Yield 97.2 % at cv 0.2 of the gain, 99.4 % at 0.15 and 94.1 % at 0.25: 95 % flips within its range."""
    asked = Requirement(accuracy=1.0, share=0.95)
    found = tornado(gaussian(), parse_profile(PROFILE), one_sample(), requirement=asked, chips=2000)
    assert found.verdict == "pass"
    assert [bar.path for bar in found.bars] == [GAIN, "parameters.weight.components.device.cv"]
    gain, weight = found.bars
    strict = Requirement(accuracy=1.0, confidence=0.999)
    for cv, end in ((0.15, gain.low), (0.25, gain.high)):
        exact = yield_of({"weight": 0.1, "bias": 0.1, "gain": cv})
        around = strict.observed(end.passed, end.chips)
        assert around.low <= exact <= around.high
    assert gain.flips
    assert gain.moves
    assert not weight.flips
    assert found.rests_on() == [gain]
    assert "rests on 1 assumed number: gain.components.device.cv (flips it)" in found.statement
    assert found.idle == ("parameters.tau_mem.components.device.cv",)


def test_a_stated_interval_counts_instead_of_a_quarter():
    text = PROFILE.replace(
        "cv: 0.2, evidence: assumption}}}\n  tau", "cv: 0.2, interval: [0.2, 0.21]}}}\n  tau"
    ).replace("parameters:\n", "evidence: assumption\nparameters:\n", 1)
    found = tornado(gaussian(), parse_profile(text), one_sample(), requirement=Requirement(accuracy=1.0), chips=400)
    bar = next(bar for bar in found.bars if bar.path == GAIN)
    assert (bar.number.low, bar.number.high) == (0.2, 0.21)
    assert bar.low == found.base  # the same number on the same chips
    assert not found.rests_on()
    assert "no one of 2 uncertain numbers" in found.statement


def test_a_level_is_an_assumption(tmp_path):
    found = tornado(gaussian(), Profile.relative(0.3), one_sample(), chips=20)
    assert len(found.bars) == 2  # weight and bias; no recurrent weights
    write_run(tmp_path / "t.h5", found.to_group())
    tree = read_run(tmp_path / "t.h5")
    assert tree.array("yield_low").values.shape == (2,)
    assert tree.attrs["statement"] == found.statement


def test_numbers_that_cannot_be_moved_are_named(network, task):
    text = PROFILE.replace("cv: 0.2, evidence: assumption}}}\nfaults", "cv: 0.9, evidence: assumption}}}\nfaults")
    found = tornado(network(), parse_profile(text), task, chips=2)
    assert len(found.fixed) == 1
    assert "looks like a percentage" in found.fixed[0]


@pytest.mark.parametrize("profile", ["ideal"])
def test_nothing_uncertain(profile, network, task):
    from snnrobust.hardware import load_profile

    found = tornado(network(), load_profile(profile), task, chips=2)
    assert not found.bars
    found.to_group()
