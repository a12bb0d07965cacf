"""A small task, a linear model and a small network, for all tests of evaluation."""

import numpy as np
import pytest
import torch

from snnrobust.hardware import Model
from snnrobust.snn import Network
from snnrobust.tasks import Task


def make_task(*, validation=True, **options):
    """60 samples of 3 classes, of which class 2 is rare; [B, 5, 3]."""
    rng = np.random.default_rng(0)
    y = np.array([0, 0, 0, 1, 1, 2] * 10)
    x = rng.normal(size=(60, 5, 3)) + 0.6 * np.eye(3)[y][:, None]
    split = np.repeat([0, 1 if validation else 0, 2], [18, 18, 24])
    return Task.from_arrays(x, y, split, dt=1e-3, **options)


@pytest.fixture
def task_of():
    return make_task


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def linear():
    """Logits (sum over steps of x) W^T in float64: blocks cannot change a bit that matters."""

    def make(fn=None, weight=None):
        def logits(params, x):
            return x.sum(0).double() @ params["w"].T

        w = torch.eye(3, dtype=torch.float64) + 0.3 if weight is None else weight
        return Model(fn or logits, {"w": w}, {"w": "weight"})

    return make


@pytest.fixture
def network():
    def make(seed=0):
        return Network.recurrent(3, 8, 3, tau_mem=5e-3, tau_syn=2e-3, tau_out=5e-3, seed=seed)

    return make


class Recorder:
    """A model that notes the parameters and inputs of every pass."""

    def __init__(self, net):
        self.net, self.passes = net, []

    def nominal(self):
        return self.net.nominal()

    def parameter_specs(self):
        return self.net.parameter_specs()

    def run(self, params, x, lengths=None):
        self.passes.append(({name: p.detach().clone() for name, p in params.items()}, x))
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
