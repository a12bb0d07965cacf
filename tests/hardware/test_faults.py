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


@pytest.mark.parametrize("probability", [0.05, 0.3])
def test_clustered_dead_synapses_are_as_many_but_come_together(probability):
    """Pairs in a block of 8 x 8 have selectors of correlation 0.8, pairs of two blocks are independent."""
    theta = {"l.weight": torch.ones(80, 80)}
    text = "faults: {dead_synapse: %g, clustered: %s}"
    chips = [devices(profile(text % (probability, flag)), theta, range(100)) for flag in ("false", "true")]
    apart, together = ((own["l.weight"] == 0).double() for own in chips)
    blocks = together.reshape(100, 10, 8, 10, 8)
    counts = blocks.sum((2, 4)).flatten()  # of 10,000 blocks
    spread = counts.std() / len(counts) ** 0.5
    assert abs(counts.mean() - 64 * probability) < stats.norm.isf(0.5e-4) * spread
    joint = multivariate_normal_tail(probability, 0.8)
    pairs = (counts * (counts - 1) / (64 * 63)).numpy()
    assert abs(pairs.mean() - joint) < stats.norm.isf(0.5e-4) * pairs.std() / len(pairs) ** 0.5
    assert joint > 1.5 * probability**2
    own = apart.reshape(100, 10, 8, 10, 8).sum((2, 4)).flatten()
    assert own.var() == pytest.approx(64 * probability * (1 - probability), rel=0.08)  # 5.6 standard errors
    neighbours = blocks.sum((2, 4))  # [chip, 10, 10]: the next block has nothing in common
    r = torch.corrcoef(torch.stack([neighbours[:, :, :-1].flatten(), neighbours[:, :, 1:].flatten()]))[0, 1]
    assert abs(r) < stats.norm.isf(0.5e-4) / 9000**0.5


def multivariate_normal_tail(p: float, r: float) -> float:
    """The probability that two standard normals of correlation r both exceed the quantile of p."""
    edge = stats.norm.isf(p)
    return float(stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([-edge, -edge]))


def test_clustering_moves_no_other_draw_and_reaches_every_shape():
    theta = {"l.weight": torch.ones(9, 5, 3), "l.gain": torch.ones(9)}
    rates = "faults: {dead_synapse: 0.3, dead_neuron: 0.3, clustered: "
    plain, clustered = (placed(profile(f"{rates}{flag}}}"), theta) for flag in ("false", "true"))
    z = [draw(p, seed=1, purpose="test", instances=[3]) for p in (plain, clustered)]
    assert z[1].keys() - z[0].keys() == {"l.weight/dead_synapse.cluster"}
    assert z[1]["l.weight/dead_synapse.cluster"].shape == (1, 2, 2)
    assert all(torch.equal(value, z[1][key]) for key, value in z[0].items())
    found = [realise(p, theta, own) for p, own in zip((plain, clustered), z, strict=True)]
    assert not torch.equal(found[0]["l.weight"], found[1]["l.weight"])
    assert torch.equal(found[0]["l.gain"], found[1]["l.gain"])
    assert [bool(part.any()) for part in found[1]["l.weight"].split(1)] == [True]


def test_a_map_of_clustered_faults_is_what_the_chip_has():
    net = Network([LIF(20, 30, recurrent=True), LI(30, 3)])
    chips = Chip(profile("faults: {dead_synapse: 0.2, clustered: true, known: true}")).deploy(net, 4)
    broken, params = chips.fault_map(), chips.parameters()
    for name, where in broken.items():
        assert torch.equal(where, params[name] == 0)
        assert bool(where.any())


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
