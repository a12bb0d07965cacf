"""The task loss and its parts against hand-computed values."""

import math

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.training import FiringRate, Problem
from snnrobust.training.data import to_batch
from snnrobust.training.problem import gradients, kl_divergence


def test_kl_divergence_of_two_coins():
    p, q = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(kl_divergence(p.log(), q.log() + 3)) == pytest.approx(first / 2, rel=1e-6)


def test_kl_divergence_is_finite_for_sure_networks():
    p = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.0, 1000.0]], requires_grad=True)
    value = kl_divergence(p, q)
    value.backward()
    assert value.item() == pytest.approx(1000.0)
    assert bool(p.grad.isfinite().all())
    assert bool(q.grad.isfinite().all())


def test_cross_entropy_with_class_weights(network):
    problem = Problem(network(), torch.tensor([1.0, 3.0, 1.0]))
    logits = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1]]).log()
    expected = -(1.0 * math.log(0.2) + 3.0 * math.log(0.8)) / 4.0
    assert float(problem.cross_entropy(logits, torch.tensor([0, 1]))) == pytest.approx(expected, rel=1e-6)


def test_firing_rate_penalty_is_the_squared_distance_to_the_target(network, task_of):
    net = network()
    batch = to_batch(task_of(lengths=True).train, slice(None))
    assert batch.lengths is not None
    plain, logits = Problem(net).task(net.nominal(), batch)
    loss, same_logits = Problem(net, None, FiringRate(weight=0.02, target=0.1)).task(net.nominal(), batch)
    spikes = net.record(net.nominal(), batch.x, batch.lengths).spikes["layer0"].detach().numpy()
    expected = 0.0
    for b, length in enumerate(batch.lengths.tolist()):
        rate = spikes[:length, b].sum(0) / length
        expected += 0.02 * np.sum((rate - 0.1) ** 2)
    assert expected > 0.01
    assert (loss - plain).item() == pytest.approx(expected, rel=1e-4)
    assert torch.equal(logits, same_logits)


def test_gradient_is_zero_where_nothing_depends_on_a_parameter():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = gradients((used * 2).sum(), {"used": used, "unused": unused, "fixed": torch.ones(1)})
    assert {name: g.tolist() for name, g in found.items()} == {"used": [2, 2], "unused": [0, 0, 0]}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"weight": -1.0}, "firing_rate weight: -1.0"),
        ({"weight": math.nan}, "firing_rate weight: nan"),
        ({"target": -0.1}, "firing_rate target: -0.1"),
        ({"target": 1.5}, "firing_rate target: 1.5"),
    ],
)
def test_a_firing_rate_penalty_outside_its_domain_is_an_error(values, line):
    with pytest.raises(ConfigError, match=line):
        FiringRate(**values)
