"""Observed chips: planted neurons, against the plain deployment, in blocks of any size, and what they cost."""

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.evaluation import evaluate
from snnrobust.evaluation.observation.behaviour import CHIP_MEASURES, LAYER_MEASURES
from snnrobust.evaluation.observation.chips import chips_at_once, decisions, observe
from snnrobust.hardware import Chip, Profile, load_profile
from snnrobust.hardware.profile import parse_profile
from snnrobust.snn import LIF, MeanRate, Network
from snnrobust.tasks.dataset import Split

EXACT = ("accuracy", "balanced_accuracy", "nonfinite", "agreement", "latency", "spikes", "silent", "saturated", "tonic")
ENERGY = """\
schema_version: "1.0"
name: costed
kind: analog_asic
description: A chip whose energies are known.
evidence: assumption
parameters: {}
energy: {static_w: 1.0e-3, pj_per_spike: 100, pj_per_event: 10, pj_per_conversion: 1}
"""


def deployed(net, profile=None, chips=6, **how):
    return Chip(profile or Profile.relative(0.4)).deploy(net, chips, **how)


def seen(deployment, data, block=None, **how):
    return observe(deployment, data, block or deployment.chips, decisions(deployment.net, data), **how)


@pytest.mark.parametrize("name", ["relative", "dynapse1", "pcm_ibm"])
def test_accuracies_are_those_of_the_plain_deployment(network, task, name):
    chips = deployed(network(), Profile.relative(0.4) if name == "relative" else load_profile(name))
    found, plain = seen(chips, task.test), evaluate(chips, task.test)
    assert set(found) == {*CHIP_MEASURES, *LAYER_MEASURES}
    assert len(set(found["accuracy"])) > 1
    for measure, values in plain.measures.items():
        assert np.array_equal(found[measure], values[0, 0])


@pytest.mark.parametrize("name", ["dynapse1", "pcm_ibm"])
def test_blocks_and_batches_change_nothing(network, task, name):
    chips = deployed(network(), load_profile(name))
    whole = seen(chips, task.test)
    for size in (1, 5, 24):
        parts = [seen(chips, task.test, block, batch_size=size) for block in chips.blocks(size)]
        for measure, values in whole.items():
            found = np.concatenate([part[measure] for part in parts])
            if measure in EXACT:
                assert np.array_equal(found, values), measure
            else:
                np.testing.assert_allclose(found, values, rtol=1e-12)
    assert chips_at_once(chips.net, task.test) == 16


def test_planted_neurons_are_found(untouched_generators):
    """Neuron 0 gets nothing, 1 and 2 are driven by their biases at every step, 3 by inputs at every second one."""
    net = Network([LIF(1, 4, tau_mem=1e-3, dt=1e-3, integrator="euler", v_th=0.5), MeanRate(4, 2)])
    with torch.no_grad():
        net.get_parameter("layer0.weight").copy_(torch.tensor([[0.0], [0.0], [0.0], [1.0]]))
        net.get_parameter("layer0.bias").copy_(torch.tensor([0.0, 2.0, 0.6, 0.0]))
    x = np.zeros((5, 6, 1), dtype=np.float32)
    x[:, ::2] = 1
    data = Split(x, np.array([0, 1, 0, 1, 0]), np.array([6, 6, 6, 6, 4]), np.arange(5))
    found = seen(deployed(net, Profile.relative(0.0), 1), data)
    assert found["silent"].tolist() == [[1]]
    assert found["saturated"].tolist() == [[2]]
    assert found["tonic"].tolist() == [[2]]
    each = 2 * (6 * 4 + 4) + 3 * 4 + 2  # neurons 1 and 2 at all steps, 3 at every second
    assert found["spikes"].tolist() == [[each / 5]]
    np.testing.assert_allclose(found["rate"], each / 4 / 28e-3)
    assert found["agreement"].tolist() == [1]
    # v = u: distances 0.5, 1.5, 0.1 and 0.5 at every step, in units of 0.5; the third one is not near
    np.testing.assert_allclose(found["distance"], [[(0.5 + 1.5 + 0.1 + 0.5) / 4 / 0.5]], rtol=1e-6)
    assert found["near"].tolist() == [[0]]


def test_a_known_latency():
    """Class 1 has a bias of 0.5, class 0 gets 1.2 times the mean spikes of the first t steps."""
    net = Network([LIF(1, 1, tau_mem=1e-3, dt=1e-3, integrator="euler", v_th=0.5), MeanRate(1, 2)])
    with torch.no_grad():
        net.get_parameter("layer0.weight").fill_(1.0)
        net.get_parameter("readout.weight").copy_(torch.tensor([[1.2], [0.0]]))
        net.get_parameter("readout.bias").copy_(torch.tensor([0.0, 0.5]))
    x = np.zeros((2, 8, 1), dtype=np.float32)
    x[0, 1:7] = 1  # t/T: 0, 1/2, 2/3, ...: 0.6 > 0.5 from the second step on
    x[1, 0], x[1, 4:] = 1, 1  # 1.2, 0.6, 0.4, 0.3, 0.48, 0.6: right at first, and for good from the sixth step on
    data = Split(x, np.array([0, 0]), np.array([8, 8]), np.arange(2))
    found = seen(deployed(net, Profile.relative(0.0), 1), data)
    assert found["accuracy"].tolist() == [1]
    np.testing.assert_allclose(found["latency"], [(2 + 6) / 2 * 1e-3])


def test_outputs_that_are_not_finite(network, task):
    net = network()
    chips = deployed(net)
    values = net.get_parameter("readout.bias").detach().expand(6, -1).clone()
    values[2, 1] = float("nan")
    broken = chips.written({"readout.bias": values})
    found, whole = seen(broken, task.test), seen(chips, task.test)
    assert found["nonfinite"].tolist() == [0, 0, 24, 0, 0, 0]
    assert found["accuracy"][2] == found["agreement"][2] == 0
    assert np.isnan(found["latency"][2])
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(found["accuracy"][others], whole["accuracy"][others])
    assert np.array_equal(found["spikes"], whole["spikes"])


def test_energy_by_hand():
    """Per sample 4 steps; input spikes 2, to 2 synapses; neuron 0 spikes twice, its weight to itself is 0."""
    net = Network([LIF(1, 2, True, tau_mem=1e-3, dt=1e-3, integrator="euler", v_th=0.5), MeanRate(2, 3)])
    with torch.no_grad():
        net.get_parameter("layer0.weight").copy_(torch.tensor([[1.0], [0.1]]))
        net.get_parameter("layer0.recurrent_weight").copy_(torch.tensor([[0.0, 1.0], [-1.0, 1.0]]))
    x = np.zeros((2, 4, 1), dtype=np.float32)
    x[:, [0, 3]] = 1
    data = Split(x, np.array([0, 1]), np.array([4, 4]), np.arange(2))
    found = seen(deployed(net, parse_profile(ENERGY), 2), data)
    assert found["spikes"].tolist() == [[2], [2]]
    # events: 2 x 2 of inputs, 1 x 1 recurrent (the last step's spike arrives after the sample), 2 x 3 to the readout
    np.testing.assert_allclose(found["energy"], [4e-3 * 1e-3 + 1e-12 * (2 * 100 + (4 + 1 + 6) * 10)] * 2)
    currents = Split(0.9 * x, data.y, data.lengths, data.indices)
    less = seen(deployed(net, parse_profile(ENERGY), 2), currents)
    np.testing.assert_allclose(found["energy"] - less["energy"], 4 * 10e-12)
    assert np.isnan(seen(deployed(net), data)["energy"]).all()


def test_conversions_of_arrays(task, network):
    """5 steps; 3 inputs in one tile, 8 recurrent ones and 8 of the readout in two: 8 + 16 + 6 conversions a step."""
    alone = "{static_w: 0, pj_per_spike: 0, pj_per_event: 0, pj_per_conversion: 1}"
    array = "crossbar: {technology: rram, g_min: 0.1, g_max: 10, mapping: {scheme: offset}, adc: {bits: 8}, "
    array += "tile: [4, 64], read: "
    chip = ENERGY[: ENERGY.index("energy:")] + f"energy: {alone}\n"
    of = {
        read: seen(deployed(network(), parse_profile(chip + array + read + "}\n"), 2), task.test)["energy"]
        for read in ("clocked", "event")
    }
    np.testing.assert_allclose(of["clocked"], [5 * 30e-12] * 2)
    assert (of["event"] < of["clocked"]).all()
    assert (of["event"] > 5 * 8e-12).all()  # input currents are never 0
    assert seen(deployed(network(), parse_profile(chip), 1), task.test)["energy"].tolist() == [0]


def test_only_networks_have_spikes(linear, task):
    chips = Chip(Profile.relative(0.1)).deploy(linear(), 2)
    with pytest.raises(ConfigError, match="a Model has no spikes that could be recorded"):
        observe(chips, task.test, range(2), np.zeros(24, dtype=np.int64))
