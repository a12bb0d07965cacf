"""The paper's networks: initial values against their stated statistics, dynamics against the transcription."""

from __future__ import annotations

import math

import pytest
import torch
from test_lsnn_paper import paper_lsnn as transcription
from torch.nn.functional import conv2d, max_pool2d

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware import Chip, Profile
from snnrobust.snn import LIF, Network, PaperCNN, paper_lsnn
from snnrobust.testing import check_neuron

HIDDEN = 256


def rows(net, name):
    return net.get_parameter(name).detach().double()


@pytest.mark.parametrize("inputs", [2, 40])
def test_initial_weights_have_the_stated_statistics(inputs):
    """Standard deviations within 5 standard errors, sd / sqrt(2 n) of a normal (that of a truncated one is less)."""
    net = paper_lsnn(inputs, 8, seed=3)
    off = ~torch.eye(HIDDEN, dtype=torch.bool)
    found = {
        math.sqrt(2 / (inputs + HIDDEN)): rows(net, "layer0.weight").flatten(),
        math.sqrt(1 / HIDDEN): rows(net, "layer0.recurrent_weight")[off],
        0.01 * 0.8796: rows(net, "readout.weight").flatten(),
    }
    for deviation, values in found.items():
        n = values.numel()
        assert float(values.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))
        assert abs(float(values.mean())) < 5 * deviation / math.sqrt(n)
        assert 1.8 * deviation < float(values.abs().max()) <= 2 / 0.8796 * deviation * (1 + 1e-4)  # cut off
    assert not rows(net, "layer0.recurrent_weight").diagonal().any()
    assert not rows(net, "layer0.bias").any()
    assert not rows(net, "readout.bias").any()


def test_the_count_of_the_papers_parameters():
    trained = {n: p.numel() for n, p in paper_lsnn(40, 8).named_parameters() if p.requires_grad}
    assert set(trained) == {"layer0.weight", "layer0.recurrent_weight", "readout.weight", "readout.bias"}
    assert sum(trained.values()) == 40 * 256 + 256 * 256 + 256 * 8 + 8 == 77_832


def test_seeds_and_generators():
    rng = torch.get_rng_state()
    nets = [paper_lsnn(2, 4, seed=seed) for seed in (0, 0, 1)]
    cnns = [PaperCNN(seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), rng)
    assert nets[0].hash() == nets[1].hash() != nets[2].hash()
    weights = [cnn.dense3.weight.detach() for cnn in cnns]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("dt", [1.0, 5.56e-3])
def test_the_lsnn_spikes_as_the_transcription(dt):
    net = paper_lsnn(2, 4, hidden=32, dt=dt, seed=1).double()
    with torch.no_grad():
        net.get_parameter("layer0.v_th").fill_(0.01)  # in float64
        for name, value in {"tau_mem": 20, "tau_adapt": 98}.items():
            net.get_parameter(f"layer0.{name}").fill_(value * dt)
    x = 2 * torch.randn(60, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    names = ("layer0.weight", "layer0.recurrent_weight", "readout.weight", "readout.bias")
    W = [net.nominal()[name] for name in names]
    spikes, logits = transcription(x, W[0].T, W[1].T, W[2].T, W[3])
    recording = net.record(net.nominal(), x)
    assert 0.02 < spikes.mean().item() < 0.5
    assert torch.equal(recording.spikes["layer0"], spikes)
    torch.testing.assert_close(recording.logits, logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ["numba", "eager"])
def test_no_neuron_is_its_own_source(engine):
    net = Network(
        [LIF(3, 6, True, self_connections=False, seed=1), *[paper_lsnn(6, 2, hidden=6).readout]], engine=engine
    )
    x = 3 * torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(2))
    params = {name: p.detach().clone() for name, p in net.nominal().items()}
    assert not params["layer0.recurrent_weight"].diagonal().any()
    logits = net.run(params, x)
    params["layer0.recurrent_weight"].fill_diagonal_(9.0)  # reaches no current
    assert torch.equal(net.run(params, x), logits)
    weight = params["layer0.recurrent_weight"].requires_grad_()
    (gradient,) = torch.autograd.grad(net.run(params, x).square().sum(), weight)
    assert gradient.any()
    assert not gradient.diagonal().any()
    with_own = LIF(3, 6, True, seed=1).recurrent_weight.detach()
    assert torch.equal(net.get_parameter("layer0.recurrent_weight").detach(), with_own * (1 - torch.eye(6)))


def test_a_stored_network_has_no_self_connections_either():
    net = paper_lsnn(3, 2, hidden=10)
    found = Network.from_dict(net.to_dict(), net.nominal())
    assert found.hash() == net.hash()
    assert torch.equal(found.spiking["layer0"].connected, net.spiking["layer0"].connected)
    assert "self_connections" not in LIF(3, 6, True).to_dict()  # as before
    assert "self_connections" not in LIF(3, 6, False, self_connections=False).to_dict()


def test_together_with_a_limited_fan_in():
    layer = LIF(3, 20, True, fan_in=5, self_connections=False, seed=2)
    own = layer.connected[:, 3:].diagonal()
    assert not own.any()
    counts = layer.connected.sum(1)
    assert set(counts.tolist()) == {4, 5}  # without its own connection, where it was chosen
    check_neuron(LIF, self_connections=False)


def test_chips_leave_the_missing_connections_out():
    net = paper_lsnn(3, 2, hidden=10)
    with pytest.warns(UserWarning, match=r"tensors of zeros: layer0.bias, readout.bias"):
        found = Chip(Profile.relative(0.5)).deploy(net, 2).parameters()["layer0.recurrent_weight"]
    assert not found.diagonal(dim1=1, dim2=2).any()


def test_the_cnn_has_the_papers_layers():
    net = PaperCNN()
    sizes = {name: p.numel() for name, p in net.named_parameters()}
    assert sum(sizes.values()) == 493_642
    assert sizes["conv2.weight"] == 4 * 4 * 64 * 64
    assert sizes["dense1.weight"] == 1600 * 256
    for layer, fan in (("conv1", 16 + 16 * 64), ("conv2", 2 * 16 * 64), ("dense1", 1600 + 256), ("dense2", 256 + 64)):
        w = net.get_parameter(f"{layer}.weight").detach()
        assert float(w.std()) == pytest.approx(math.sqrt(2 / fan), rel=5 / math.sqrt(2 * w.numel()))  # 5 errors
        assert not net.get_parameter(f"{layer}.bias").any()


def test_the_cnn_is_its_equations():
    net, x = PaperCNN(seed=1), torch.rand(28, 3, 28, generator=torch.Generator().manual_seed(0))
    image = x.transpose(0, 1)[:, None]
    # "Same" of a kernel of 4: two rows before, one after.
    padded = torch.zeros(3, 1, 31, 31)
    padded[:, :, 2:30, 2:30] = image
    h = max_pool2d(conv2d(padded, net.conv1.weight, net.conv1.bias).relu(), 2)
    h = max_pool2d(conv2d(h, net.conv2.weight, net.conv2.bias).relu(), 2)
    assert h.shape == (3, 64, 5, 5)
    h = (h.flatten(1) @ net.dense1.weight.T + net.dense1.bias).relu()
    h = (h @ net.dense2.weight.T + net.dense2.bias).relu()
    torch.testing.assert_close(net(x), h @ net.dense3.weight.T + net.dense3.bias)


def test_batch_statistics_take_out_what_all_samples_share():
    net, x = PaperCNN(seed=1, batch_statistics=True), torch.rand(28, 9, 28, generator=torch.Generator().manual_seed(0))
    logits = net(x)
    torch.testing.assert_close(net(3 * x + 5), logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(logits.mean(0), net.dense3.bias.detach(), rtol=0, atol=1e-5)  # the mean of h is 0
    assert not torch.allclose(net(x[:, :4]), logits[:4], atol=1e-3)  # an answer depends on the others
    plain = PaperCNN(seed=1)
    torch.testing.assert_close(plain(x[:, :4]), plain(x)[:4], rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_one_line():
    with pytest.raises(ShapeError, match=r"x: shape \(29, 2, 12\) must be \[28, B, 28\]"):
        PaperCNN()(torch.zeros(29, 2, 12))
    with pytest.raises(ConfigError, match="classes: 1 must be 2 to 10,000"):
        PaperCNN(1)
