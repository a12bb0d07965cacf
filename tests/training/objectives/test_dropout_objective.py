"""Dropout: masks on the weights that a neuron's spikes reach are masks on its spikes."""

import math

import pytest
import torch
from equations import KEY, step

from snnrobust.errors import ConfigError
from snnrobust.snn import LI, LIF, Network
from snnrobust.training import Dropout, StepKey
from snnrobust.training.data import to_batch
from snnrobust.training.objectives.dropout import masks, sources


def test_the_masks_have_the_rate():
    kept = masks({"layer0": 20000, "layer1": 7}, 0.3, KEY)
    assert kept["layer1"].shape == (7,)
    # four standard errors, 6e-5 for the fixed seed
    assert float(kept["layer0"].double().mean()) == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / 20000))
    again = masks({"layer0": 20000}, 0.3, KEY)
    assert torch.equal(kept["layer0"], again["layer0"])
    assert not torch.equal(kept["layer0"], masks({"layer0": 20000}, 0.3, StepKey(7, 5))["layer0"])


def test_which_neurons_send_spikes(network):
    deep = Network.recurrent(3, (5, 4), 2, seed=1)
    assert sources(deep.parameter_specs()) == {"layer0": 5, "layer1": 4}
    assert sources(network().parameter_specs()) == {"layer0": 8}


@pytest.mark.parametrize("inverted", [True, False])
def test_a_silent_neuron_sends_nothing_and_the_others_more(network, task, inverted):
    """Autograd of the written equation: the columns of what a layer's spikes reach, times m / (1 - rate)."""
    net, batch = network(), to_batch(task.train, slice(None))
    kept = masks({"layer0": 8}, 0.3, KEY)["layer0"]
    assert 0 < int(kept.sum()) < 8
    factor = kept.float() * (1 / 0.7 if inverted else 1.0)
    reached = ("layer0.recurrent_weight", "readout.weight")
    params = {name: p * factor if name in reached else p for name, p in net.nominal().items()}
    loss = torch.nn.functional.cross_entropy(net.run(params, batch.x), batch.y)
    wanted = {name: p for name, p in net.nominal().items() if p.requires_grad}
    expected = dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values()), materialize_grads=True), strict=True))
    result = step(Dropout(rate=0.3, inverted=inverted), net, batch)
    assert result.loss == pytest.approx(loss.item(), rel=1e-7)
    for name, g in expected.items():
        torch.testing.assert_close(result.grads[name], g, rtol=1e-6, atol=1e-8)
        if name in reached:
            assert not result.grads[name][:, ~kept].any()


def test_the_mask_on_weights_is_one_on_spikes():
    """Feed-forward: the readout of masked spikes."""
    net = Network([LIF(3, 6, tau_mem=5e-3, seed=1), LI(6, 2, tau_mem=5e-3, seed=2)], engine="eager").double()
    x = 3 * torch.randn(20, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([1.0, 0, 1, 0, 1, 1], dtype=torch.float64)
    params = {name: p * kept if name == "readout.weight" else p for name, p in net.nominal().items()}
    spikes, _ = net.spiking["layer0"].run(net.spiking["layer0"].nominal(), x, engine="eager")
    assert float(spikes.detach().sum()) > 10
    readout = {name.removeprefix("readout."): p for name, p in net.nominal().items() if name.startswith("readout.")}
    torch.testing.assert_close(net.run(params, x), net.readout.run(readout, spikes * kept, None))


def test_a_model_that_does_not_say_what_its_weights_receive(smooth, batch):
    with pytest.raises(ConfigError, match="dropout: no weight of this model says which layer is its source"):
        step(Dropout(), smooth(), batch)
    step(Dropout(rate=0.0), smooth(), batch)
