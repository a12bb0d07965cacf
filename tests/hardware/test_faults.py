"""Dead neurons and synapses. Counts are binomial, tested at 1e-4 with fixed seeds."""

from __future__ import annotations

import pytest
import torch
from chip_builder import devices, placed, profile
from scipy import stats

from snnrobust.hardware.chip import Chip
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.snn import ALIF, LI, LIF, Network

DEAD_NEURON = profile("faults: {dead_neuron: 0.3}")


@pytest.mark.parametrize("probability", [0.02, 0.3, 0.9])
def test_number_of_dead_synapses(probability):
    theta = {"l.weight": torch.ones(200, 500)}
    found = devices(profile(f"faults: {{dead_synapse: {probability}}}"), theta, None)["l.weight"]
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert stats.binomtest(int((found == 0).sum()), found.numel(), probability).pvalue > 1e-4


def test_every_synapse_dead():
    found = devices(profile("faults: {dead_synapse: 1.0}"), {"l.weight": torch.ones(20, 20)}, range(3))["l.weight"]
    assert not found.any()


def test_dead_synapses_have_draws_of_their_own_in_weight_and_recurrent_weight():
    theta = {"l.weight": torch.ones(30, 30), "l.recurrent_weight": torch.ones(30, 30)}
    found = devices(profile("faults: {dead_synapse: 0.5}"), theta, range(2))
    assert not torch.equal(found["l.weight"], found["l.recurrent_weight"])
    assert not torch.equal(found["l.weight"][0], found["l.weight"][1])


def test_number_of_dead_neurons_and_the_draw_that_gain_and_bias_share():
    n = 50_000
    theta = {"l.gain": torch.ones(n), "l.bias": torch.ones(n), "m.gain": torch.ones(n)}
    found = devices(DEAD_NEURON, theta, None)
    assert torch.equal(found["l.gain"], found["l.bias"])
    assert not torch.equal(found["l.gain"], found["m.gain"])
    assert stats.binomtest(int((found["l.gain"] == 0).sum()), n, 0.3).pvalue > 1e-4


def test_a_neuron_without_gain_cannot_be_dead():
    theta = {"l.bias": torch.ones(5)}
    assert not placed(DEAD_NEURON, theta).stages


@pytest.mark.parametrize("layer", [LIF, ALIF])
def test_a_dead_neuron_never_spikes_whatever_the_input(layer):
    net = Network([layer(5, 40, recurrent=True, v_th=0.1), LI(40, 3)])
    with torch.no_grad():
        net.get_parameter("layer0.bias").fill_(10.0)
        for name in ("layer0.weight", "layer0.recurrent_weight"):
            net.get_parameter(name).abs_()  # every living neuron is driven to spike
    deployment = Chip(DEAD_NEURON).deploy(net, 6)
    params = deployment.parameters()
    dead = params["layer0.gain"] == 0
    assert 0.1 < float(dead.float().mean()) < 0.5
    for scale in (1.0, -1e3, 1e6):
        x = scale * torch.rand(20, 2, 5, generator=torch.Generator().manual_seed(0))
        spikes = net.record(params, x).spikes["layer0"]
        counts = spikes.sum((1, 2))
        assert not counts[dead].any()
        if scale > 0:
            assert float(counts[~dead].min()) > 0


def test_faults_are_held_at_their_draw():
    theta = {"l.weight": torch.rand(4, 4) + 1, "l.gain": torch.ones(4)}
    placement = placed(profile("faults: {dead_synapse: 0.5, dead_neuron: 0.5}"), theta)
    assert {c.kind for c in placement.coordinates.values()} == {"fixed"}
    assert not draw(placement, seed=1, purpose="attack", instances=None, kinds=("continuous",))
    z = draw(placement, seed=1, purpose="test", instances=None)
    slopes = {key: value.requires_grad_() for key, value in z.items()}
    assert not any(p.requires_grad for p in realise(placement, theta, slopes).values())


def test_mismatch_alone_has_no_faults():
    theta = {"l.weight": torch.ones(4, 4), "l.gain": torch.ones(4)}
    assert not placed(profile("faults: {dead_synapse: 0.5, dead_neuron: 0.5}"), theta, only_mismatch=True).stages


def test_a_dead_synapse_of_a_crossbar_contributes_nothing():
    chip = profile(
        """
        crossbar:
          technology: pcm
          g_min: 0.0
          g_max: 25.0
          mapping: {scheme: differential_one_sided}
          programming: {model: polynomial, variable: g_rel, coefficients: [0.26], g_max_ref: 25.0}
        faults: {dead_synapse: 0.5}
        """
    )
    found = devices(chip, {"l.weight": torch.ones(100, 100)}, range(2))["l.weight"]
    assert stats.binomtest(int((found == 0).sum()), found.numel(), 0.5).pvalue > 1e-4
