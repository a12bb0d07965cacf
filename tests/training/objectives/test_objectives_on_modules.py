"""Every objective on a torch.nn.Module: the shared suite."""

import pytest
import torch
from test_every_objective import ALL
from torch import nn

from snnrobust.errors import ConfigError
from snnrobust.hardware import Module
from snnrobust.testing import check_objective
from snnrobust.training import Dropout


class Small(nn.Module):
    """Two linear layers, a norm layer and a counter, in training mode with dropout."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 2)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, lengths=None):
        self.calls += 1
        valid = x.mean(0) if lengths is None else x.sum(0) / lengths[:, None]
        return self.two(self.drop(torch.tanh(self.norm(self.one(valid)))))


@pytest.fixture(scope="module")
def small():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Small()
    module.norm.bias.requires_grad_(False)
    return module.train()


@pytest.mark.parametrize("vmap", [False, True], ids=["loop", "vmap"])
@pytest.mark.parametrize("objective", ALL.values(), ids=ALL)
def test_the_shared_suite(small, objective, vmap):
    check_objective(objective, Module(small, sources={"two.weight": "one"}, vmap=vmap))


def test_dropout_needs_to_know_what_a_weight_receives(small):
    with pytest.raises(ConfigError, match="dropout: no weight of this model says which layer is its source"):
        check_objective(Dropout(), Module(small))
