"""A tiny task, a tiny spiking network and a smooth model, for all tests of training."""

import numpy as np
import pytest
import torch

from snnrobust.hardware import Model
from snnrobust.snn import Network
from snnrobust.tasks import Task
from snnrobust.training import Batch


def make_task(samples=36, steps=6, inputs=3, classes=3, seed=0, *, validation=True, lengths=False, **options):
    rng = np.random.default_rng(seed)
    y = np.arange(samples) % classes
    x = rng.normal(size=(samples, steps, inputs)) + 1.5 * np.eye(classes, inputs)[y][:, None]
    split = np.arange(samples) // classes % 3
    if not validation:
        split = np.where(split == 1, 0, split)
    true_lengths = rng.integers(2, steps + 1, samples) if lengths else None
    return Task.from_arrays(x, y, split, dt=1e-3, lengths=true_lengths, **options)


@pytest.fixture
def task_of():
    return make_task


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def network():
    def make(seed=0, **options):
        return Network.recurrent(3, 8, 3, tau_mem=5e-3, tau_syn=2e-3, tau_out=5e-3, seed=seed, **options)

    return make


def tanh_net(params, x):
    hidden = torch.tanh(x.mean(0) @ params["w"].T + params["b"])
    return hidden @ params["v"].T + params["c"]


@pytest.fixture
def smooth():
    """A tanh network in float64, without a kink anywhere: logits [B, 3] of inputs [T, B, 3]."""

    def make(seed=0):
        rng = np.random.default_rng(seed)
        shapes = {"w": (5, 3), "b": (5,), "v": (3, 5), "c": (3,)}
        params = {name: torch.tensor(rng.normal(size=shape), requires_grad=True) for name, shape in shapes.items()}
        return Model(tanh_net, params, {"w": "weight", "b": "bias", "v": "weight", "c": "bias"})

    return make


@pytest.fixture
def batch():
    rng = np.random.default_rng(5)
    return Batch(torch.tensor(rng.normal(size=(4, 7, 3))), torch.tensor(rng.integers(0, 3, 7)))


class Recorder:
    """A network that notes the parameters of every pass."""

    def __init__(self, net):
        self.net, self.passes = net, []

    def nominal(self):
        return self.net.nominal()

    def parameter_specs(self):
        return self.net.parameter_specs()

    def run(self, params, x, lengths=None):
        self.passes.append({name: p.detach().clone() for name, p in params.items()})
        return self.net.run(params, x, lengths)


@pytest.fixture
def recorded():
    return Recorder


@pytest.fixture
def untouched_generators():
    """The test fails if it moves a global generator."""

    def states():
        return torch.random.get_rng_state().numpy(), *np.random.get_state()[1:3]  # noqa: NPY002 (what must not move)

    before = states()
    yield
    assert all(np.array_equal(a, b) for a, b in zip(states(), before, strict=True))
