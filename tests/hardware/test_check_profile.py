"""The shared suite for profiles: ours pass it, and it notices stages that are wrong."""

from __future__ import annotations

import pytest
import torch
from chip_builder import EVERYTHING, profile, spread

from snnrobust.hardware.profile import Profile, list_profiles, load_profile
from snnrobust.hardware.stages import Variation
from snnrobust.testing import check_profile

CHIPS = {summary.name: load_profile(summary.name) for summary in list_profiles()}
CHIPS |= {"everything": profile(EVERYTHING, kind="hybrid"), "level": Profile.relative(0.5), "none": Profile.relative(0)}


@pytest.mark.parametrize("name", CHIPS)
def test_profiles_pass(name):
    check_profile(CHIPS[name])


TAU = spread("tau_mem", "distribution: normal, granularity: per_neuron, components: {device: {cv: 0.1}}")


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        (
            "apply",
            lambda self, theta, z, context: theta / 0 * self._read("device", z, theta),
            "tau_mem: must be finite",
        ),
        (
            "apply",
            lambda self, theta, z, context: theta + self._read("device", z, theta).mean(),
            "chip 17 must be the same in any block",
        ),
        ("project", lambda self, z, k: {}, "must lie in the box"),
        ("apply", lambda self, theta, z, context: theta + self._read("device", z, theta).abs().sqrt(), "gradient of"),
    ],
)
def test_wrong_stages_are_noticed(monkeypatch, method, wrong, message):
    monkeypatch.setattr(Variation, method, wrong)
    with pytest.raises(AssertionError, match=message):
        check_profile(TAU)


def test_a_stage_that_writes_into_the_network_is_noticed(monkeypatch):
    def apply(self, theta, z, context):
        torch.rand(1)
        return theta * (1 + self._read("device", z, theta))

    monkeypatch.setattr(Variation, "apply", apply)
    with pytest.raises(AssertionError, match="a deployment changes"):
        check_profile(TAU)
