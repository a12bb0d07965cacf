"""Training within a fan-in, and on what a chip stores."""

import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.hardware import Chip, load_profile, place, realise
from snnrobust.hardware.limits import exceeded
from snnrobust.snn.specs import spec_of
from snnrobust.training import FanInLimit, Problem, QuantizationAware, Standard, StepKey, train
from snnrobust.training.data import to_batch


def counts(net):
    own = net.nominal()
    return torch.cat([own["layer0.weight"] != 0, own["layer0.recurrent_weight"] != 0], dim=1).sum(1)


def test_the_largest_weights_are_kept_by_hand():
    params = {
        "l.weight": torch.tensor([[3.0, -1.0, 0.5], [0.0, 0.0, 2.0]]),
        "l.recurrent_weight": torch.tensor([[0.7, -4.0], [1.0, 0.0]]),
        "m.weight": torch.tensor([[1.0, 1.0, 1.0]]),
        "l.bias": torch.tensor([9.0, 9.0]),
    }
    specs = {n: spec_of(n[2:], tuple(p.shape), layer=n[0]) for n, p in params.items()}
    found = FanInLimit(fan_in=2).project(params, specs)
    assert found["l.weight"].tolist() == [[3, 0, 0], [0, 0, 2]]
    assert found["l.recurrent_weight"].tolist() == [[0, -4], [1, 0]]
    assert found["m.weight"].tolist() == [[1, 1, 0]]  # of equal ones the first
    assert "l.bias" not in found
    assert FanInLimit(fan_in=5).project(params, specs) == {}
    with pytest.raises(ConfigError, match="fan_in: 0 must be at least 1"):
        FanInLimit(fan_in=0)


@pytest.mark.parametrize("select", ["last", "average"])
def test_a_training_ends_within_the_limit_and_moves_its_synapses(network, task, select):
    net, free = network(seed=1), network(seed=1)
    options = {"epochs": 12, "select": select, "show_progress": False, "learning_rate": 0.05}
    limited = train(net, task, limit=FanInLimit(fan_in=4), **options)
    assert int(counts(net).max()) <= 4
    assert limited.config["limit"] == {"fan_in": 4}
    assert "limit" not in train(free, task, **options).config
    assert int(counts(free).min()) > 4
    start = network(seed=1).nominal()
    first = FanInLimit(fan_in=4).project(start, net.parameter_specs())
    moved = (first["layer0.weight"] != 0) != (net.nominal()["layer0.weight"] != 0)
    assert moved.any()


def test_an_interrupted_training_goes_on_to_the_same_bits(network, task, tmp_path):
    def run(net, epochs, path):
        return train(
            net, task, limit=FanInLimit(fan_in=4), epochs=epochs, run=path, select="last", show_progress=False,
            schedule="constant",
        )  # fmt: skip

    whole, again = network(seed=2), network(seed=2)
    run(whole, 4, tmp_path / "a.h5")
    run(again, 4, tmp_path / "b.h5")
    assert all(torch.equal(p, again.nominal()[n]) for n, p in whole.nominal().items())
    read = network(seed=2)
    run(read, 4, tmp_path / "a.h5")  # finished: read back
    assert int(counts(read).max()) <= 4


def test_quantisation_aware_loss_is_that_of_the_stored_network(network, task):
    net, batch = network(), to_batch(task.train, slice(None))
    problem = Problem(net)
    result = QuantizationAware(profile="dynapse1").bind(problem)(net.nominal(), batch, StepKey(0, 0))
    stored = realise(place(load_profile("dynapse1"), net.parameter_specs()), net.nominal(), {})
    leaves = {n: p.detach().requires_grad_(net.nominal()[n].requires_grad) for n, p in stored.items()}
    loss, _ = problem.task(leaves, batch)
    assert result.loss == loss.item()
    wanted = {n: p for n, p in leaves.items() if p.requires_grad}
    for (name, _), g in zip(wanted.items(), torch.autograd.grad(loss, list(wanted.values())), strict=True):
        assert torch.equal(result.grads[name], g)
    plain = Standard().bind(problem)(net.nominal(), batch, StepKey(0, 0))
    assert result.loss != plain.loss
    with pytest.raises(ConfigError, match="profile: None"):
        QuantizationAware(profile=None)


def test_a_network_that_fits_can_be_trained(network, task):
    net = network(seed=3)
    options = {"epochs": 40, "show_progress": False, "learning_rate": 0.02, "select": "last"}
    result = train(net, task, QuantizationAware(profile="dynapse1"), limit=FanInLimit(fan_in=6), **options)
    losses = result.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    specs = net.parameter_specs()
    chip = load_profile("dynapse1")
    assert exceeded(chip, specs, net.nominal(), net.layer_kinds()) == []
    Chip(chip).deploy(net, 1, limits="enforce")
