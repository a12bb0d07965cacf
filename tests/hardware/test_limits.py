"""What does not fit: every limit at its edge, with both numbers."""

from __future__ import annotations

import pytest
import torch
from chip_builder import profile
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.errors import ProfileError
from snnrobust.hardware import Chip, Model
from snnrobust.hardware.limits import exceeded, foreign_inputs, remarks
from snnrobust.snn import LI, LIF, Network


def report(limits: str, net) -> list[str]:
    kinds = net.layer_kinds() if isinstance(net, Network) else {}
    return exceeded(profile(f"limits: {{{limits}}}"), net.parameter_specs(), net.nominal(), kinds)


@pytest.fixture
def net() -> Network:
    net = Network.recurrent(4, 6, 3)
    with torch.no_grad():
        net.get_parameter("layer0.weight")[0, :3] = 0  # neuron 0 has 7 synapses, the others 10
        net.get_parameter("layer0.weight")[:, 3] = 0  # and input 3 none: 6 and 9
        net.get_parameter("layer0.recurrent_weight")[2:, 1] = 0  # a target less for neuron 1, and more
        net.get_parameter("readout.weight")[:2, 0] = 0
    return net


def test_fan_in_counts_synapses_that_are_not_zero(net):
    # Neuron 0: inputs 0 of 4, recurrent 6. Neuron 1: 3 + 6. Others: 3 + 5. Outputs: 5, 5, 6.
    assert report("fan_in: 8", net) == ["layer0: fan-in 9 of at most 8, in 1 of 6 neurons"]
    assert report("fan_in: 7", net) == ["layer0: fan-in 9 of at most 7, in 5 of 6 neurons"]
    assert report("fan_in: 5", net) == [
        "layer0: fan-in 9 of at most 5, in 6 of 6 neurons",
        "readout: fan-in 6 of at most 5, in 1 of 3 neurons",
    ]
    assert report("fan_in: 9", net) == []
    assert exceeded(profile("limits: {fan_in: 9}"), net.parameter_specs()) == ["layer0: fan-in 10 of at most 9"]


def test_fan_out_counts_the_targets_of_a_source(net):
    # Neuron 0: 6 recurrent and 1 output; neuron 1: 2 and 3; others: 6 and 3. Inputs 0, 1, 2: 5; input 3: 0.
    assert report("fan_out: 8", net) == ["layer0: fan-out 9 of at most 8, of 4 of 6 sources"]
    assert report("fan_out: 4", net) == [
        "inputs: fan-out 5 of at most 4, of 3 of 4 sources",
        "layer0: fan-out 9 of at most 4, of 6 of 6 sources",
    ]
    assert report("fan_out: 9", net) == []


def test_neurons_and_cores(net):
    assert report("neurons: 8", net) == ["neurons: 9 of at most 8"]
    assert report("neurons: 9", net) == []
    assert report("neurons: 10, neurons_per_core: 5", net) == []  # a layer is split over cores
    assert report("neurons: 11, neurons_per_core: 4", net) == ["cores of 4 neurons: 3 of at most 2"]


def test_a_readout_off_the_chip_does_not_count():
    net = Network([LIF(4, 6), LI(6, 30, on_chip=False)])
    assert report("neurons: 6, fan_in: 4, fan_out: 6, neuron_kinds: [lif]", net) == []


def test_rows_have_one_sign(net):
    with torch.no_grad():
        for name in ("layer0.weight", "layer0.recurrent_weight", "readout.weight"):
            net.get_parameter(name).abs_()
        net.get_parameter("layer0.recurrent_weight")[0, 2] *= -1
    # layer0: 3 inputs that are used, 6 neurons, of which one has both signs
    assert report("fan_in: 9, signed_by: row", net) == ["layer0: 10 rows of at most 9"]
    assert report("fan_in: 10, signed_by: row", net) == []
    chip = profile("limits: {fan_in: 10, signed_by: row}")
    assert remarks(chip, net.parameter_specs(), net.nominal()) == [
        "layer0: 1 sources have weights of both signs and take two rows each"
    ]
    assert remarks(profile("limits: {signed_by: type}"), net.parameter_specs(), net.nominal()) == []


def test_kinds_resets_and_roles(net):
    soft = Network.recurrent(4, 6, 3, neuron="alif", reset="soft")
    assert report("neuron_kinds: [lif, li]", soft) == ["layer0: kind alif; the chip has lif, li"]
    assert report("neuron_kinds: [lif]", net) == ["readout: kind li; the chip has lif"]
    assert report("resets: [hard]", soft) == ["layer0: reset soft; the chip has hard"]
    assert report("resets: [hard]", net) == []
    assert report("resets: [hard, soft]", soft) == []
    roles = "weight, recurrent_weight, bias, gain, tau_mem, v_th, v_leak"
    assert report(f"roles: [{roles}]", net) == [f"v_reset: no such parameter; the chip has {roles}"]
    assert report(f"roles: [{roles}, v_reset]", net) == []


def test_a_model_of_any_function_is_judged_by_its_parameters():
    params = {"a.w": torch.ones(5, 3), "b.w": torch.ones(2, 5)}
    model = Model(lambda p, x: x, params, {"a.w": "weight", "b.w": "weight"})
    limits = "fan_in: 3, fan_out: 4, neurons: 6, neuron_kinds: [lif], resets: [hard], roles: [bias]"
    assert report(limits, model) == [
        "b: fan-in 5 of at most 3, in 2 of 2 neurons",
        "a.w: fan-out 5 of at most 4, of 3 of 3 sources",
        "neurons: 7 of at most 6",
        "weight: no such parameter; the chip has bias",
    ]


@given(limit=st.integers(1, 12), seed=st.integers(0, 99))
def test_fan_in_of_a_limited_network_fits_exactly(limit, seed):
    net = Network.recurrent(4, 8, 2, fan_in=limit, seed=seed)
    lines = [line for line in report(f"fan_in: {limit}", net) if line.startswith("layer0")]
    assert lines == []
    if limit > 1:
        (line,) = (line for line in report(f"fan_in: {limit - 1}", net) if line.startswith("layer0"))
        assert line == f"layer0: fan-in {min(limit, 12)} of at most {limit - 1}, in 8 of 8 neurons"


def test_inputs():
    spikes, currents = profile("limits: {inputs: [spikes]}"), profile("limits: {inputs: [spikes, currents]}")
    whole, half = torch.tensor([[[0.0, 1.0, 2.0]]]), torch.tensor([[[0.0, 0.5, -1.5]]])
    assert foreign_inputs(spikes, whole) is None
    assert foreign_inputs(currents, half) is foreign_inputs(profile(), half) is None
    assert foreign_inputs(spikes, half) == "inputs: -1.5 .. 0.5 are currents; the chip takes spikes"
    net = Network.recurrent(3, 4, 2)
    x = half.expand(5, 2, 3)
    assert Chip(spikes).deploy(net, 2).run(x).shape == (2, 2, 2)
    enforced = Chip(spikes).deploy(net, 2, limits="enforce")
    with pytest.raises(ProfileError, match=r"mine: inputs: -1\.5 \.\. 0\.5 are currents; the chip takes spikes"):
        enforced.run(x)
    assert enforced.run(whole.expand(5, 2, 3)).shape == (2, 2, 2)
    assert Chip(spikes).deploy(net, 2, limits="enforce", only="mismatch").run(x).shape == (2, 2, 2)


def test_weights_that_the_entries_do_not_reach_are_noted():
    chip = profile("quantization: {weight: {scheme: per_type, n_types: 4, per: core}}\nlimits: {fan_in: 12}")
    net = Network.recurrent(4, 8, 2)
    notes = Chip(chip).deploy(net, 1).notes
    assert not any("does not fit" in note for note in notes)  # 12 sources, 12 entries
    (line,) = [note for note in notes if note.startswith("layer0: weights coarsened or dropped to keep 12 entries")]
    assert "of 8 neurons" in line
    Chip(chip).deploy(net, 1, limits="enforce")  # it is stored within the limits
