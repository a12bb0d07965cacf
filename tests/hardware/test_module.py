"""Any torch.nn.Module as a pure function of its parameters: roles, chips, instances, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_builder import EVERYTHING, profile
from torch import nn

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware import Chip, Module, Profile, load_profile
from snnrobust.snn import LI, LIF, Network

LEVEL = Profile.relative(0.3)


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Mean(nn.Module):
    """The mean over time of x [T, B, I], for layers in a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(0)


class Restless(nn.Module):
    """Does in forward whatever a pass could leave behind."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1), persistent=False)
        self.norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
        self.norm.num_batches_tracked.fill_(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = self.calls + 1
        noise = 0.1 * torch.randn(x.shape[1], 4)
        return self.out(self.drop(self.norm(self.linear(x.mean(0)))) + noise) * self.calls


@pytest.fixture
def restless() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Restless().train()


@pytest.fixture
def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(Mean(), nn.Linear(6, 3))


@pytest.fixture
def x() -> torch.Tensor:
    return random(7, 5, 6)


class Zoo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2)
        self.conv = nn.Conv1d(2, 4, 3)
        self.batch = nn.BatchNorm1d(4, track_running_stats=False)
        self.group = nn.GroupNorm(2, 4)
        self.layer = nn.LayerNorm(4)
        self.lstm = nn.LSTM(4, 5)
        self.cell = nn.GRUCell(5, 5)
        self.spiking = LIF(5, 4, True, tau_syn=5e-3)
        self.readout = LI(4, 2, on_chip=False)
        self.alpha = nn.Parameter(torch.ones(2))


ROLES = {
    "table.weight": "none",
    "conv.weight": "weight",
    "conv.bias": "bias",
    **{f"{norm}.{name}": "none" for norm in ("batch", "group", "layer") for name in ("weight", "bias")},
    "lstm.weight_ih_l0": "weight",
    "lstm.weight_hh_l0": "recurrent_weight",
    "lstm.bias_hh_l0": "bias",
    "cell.weight_hh": "recurrent_weight",
    "spiking.tau_syn": "tau_syn",
    "spiking.v_th": "v_th",
    "readout.weight": "weight",
    "alpha": "none",
}


def test_roles_by_the_type_of_the_layer():
    specs = Module(Zoo()).parameter_specs()
    assert {name: specs[name].role for name in ROLES} == ROLES
    assert (specs["spiking.tau_syn"].unit, specs["spiking.tau_syn"].positive) == ("s", True)
    assert specs["spiking.tau_syn"].layer == "spiking"
    assert (specs["readout.weight"].on_chip, specs["spiking.weight"].on_chip) == (False, True)
    assert specs["conv.weight"].shape == (4, 2, 3)


def test_roles_that_are_all_given_are_the_same():
    zoo = Zoo()
    specs = Module(zoo).parameter_specs()
    assert Module(zoo, {name: spec.role for name, spec in specs.items()}).parameter_specs() == specs


def test_a_recurrent_layer_of_torch(x):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(6, 4)

        def forward(self, x):
            return self.lstm(x)[0][-1]

    module = Last()
    net = Module(module)
    moved = {name: 2 * p.detach() for name, p in net.nominal().items()}
    logits = net.run(moved, x)
    assert not torch.allclose(logits, module(x))
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(moved[name])
    torch.testing.assert_close(logits, module(x))
    assert Chip(LEVEL).deploy(net, 2).run(x).shape == (2, 5, 4)


def test_roles_by_pattern_and_the_last_that_fits_counts():
    given = {"alpha": "tau_mem", "*.bias": "none", "conv.*": "weight", "table.*": "weight"}
    specs = Module(Zoo(), given, sources={"conv.weight": "table"}).parameter_specs()
    found = {
        name: specs[name].role for name in ("alpha", "lstm.bias_hh_l0", "conv.bias", "readout.bias", "table.weight")
    }
    assert list(found.values()) == ["tau_mem", "bias", "weight", "none", "weight"]
    assert (specs["alpha"].unit, specs["conv.weight"].source) == ("s", "table")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Module(Zoo(), {"konv.weight": "weight"}),
            r"roles: unknown 'konv.weight' \(did you mean 'conv.weight'",
        ),
        (lambda: Module(Zoo(), {"conv.*": "weights"}), r"roles\[conv\.\*\]: unknown 'weights' \(did you mean 'weight'"),
        (lambda: Module(Zoo(), {"conv.*": "v_th"}), "roles: layer 'conv' has two v_th"),
        (lambda: Module(Zoo(), sources={"con.weight": "a"}), "sources: unknown 'con.weight'"),
        (lambda: Module(nn.LazyLinear(3)), "module: weight has no shape yet; run the module once"),
        (lambda: Module(lambda x: x), "module: function must be a torch.nn.Module"),
        (lambda: Chip(LEVEL).deploy(nn.Linear(2, 2)), r"net: Linear: give it as Module\(Linear\(...\)\)"),
        (lambda: Chip(LEVEL).deploy({"w": 1}), "net: dict: must be a Network, Module or Model"),
    ],
)
def test_errors_are_one_line(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_linear_map_on_chips_is_the_product_with_their_weights(linear, x):
    deployment = Chip(LEVEL).deploy(Module(linear), 4)
    p = deployment.parameters()
    expected = torch.einsum("bi,koi->kbo", x.mean(0), p["1.weight"]) + p["1.bias"][:, None]
    torch.testing.assert_close(deployment.run(x), expected, rtol=1e-5, atol=1e-6)
    nominal = linear[1].weight.detach()
    assert 0.2 < float((p["1.weight"] / nominal - 1).std()) < 0.4


@pytest.mark.parametrize("chip", [load_profile("ideal"), LEVEL, load_profile("dynapse1")])
def test_a_network_as_a_module_is_the_network(x, chip):
    net = Network.recurrent(6, 8, 3, tau_syn=5e-3, seed=2)
    lengths = torch.tensor([7, 3, 1, 7, 5])
    own, module = (Chip(chip).deploy(n, 3) for n in (net, Module(net)))
    assert torch.equal(own.run(20 * x, lengths=lengths), module.run(20 * x, lengths=lengths))
    assert not torch.equal(own.run(20 * x, lengths=lengths), own.run(20 * x))  # they do reach the readout


@pytest.mark.parametrize(
    "chip", [LEVEL, load_profile("dynapse1"), load_profile("pcm_ibm"), profile(EVERYTHING, "hybrid")]
)
def test_chips_are_one_by_one(restless, x, chip):
    net = Module(restless)
    deployment = Chip(chip).deploy(net, 3)
    logits = deployment.run(x)
    for k in range(3):
        own = deployment.export(k)
        assert torch.equal(net.run(own, deployment.converted(x)), logits[k])
        assert torch.equal(own["norm.weight"], net.nominal()["norm.weight"])
    assert torch.equal(deployment.run(x, [2])[0], logits[2])
    assert len({tuple(row.flatten().tolist()) for row in logits}) == 3
    assert "of no role, the same on every chip: norm.weight, norm.bias" in deployment.notes


@pytest.mark.parametrize("vmap", [False, True])
def test_instances_of_parameters_and_inputs(linear, x, vmap):
    net = Module(linear, vmap=vmap)
    nominal = {name: p.detach() for name, p in net.nominal().items()}
    chips = {name: random(3, *p.shape, seed=2) for name, p in nominal.items()}
    several = random(3, 7, 5, 6, seed=3)
    for varied in (set(chips), {"1.weight"}, set()):
        params = {name: chips[name] if name in varied else p for name, p in nominal.items()}
        for inputs in (x, several):
            logits = net.run(params, inputs)
            if not varied and inputs is x:
                assert logits.shape == (5, 3)
                continue
            for k in range(3):
                own = {name: p[k] if name in varied else p for name, p in params.items()}
                one = net.run(own, inputs[k] if inputs is several else inputs)
                torch.testing.assert_close(logits[k], one, rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"instances: parameters and inputs disagree on their number: \[2, 3\]"):
        net.run({**nominal, "1.weight": chips["1.weight"][:2]}, several)


def test_vmap_gives_the_loops_gradients(linear, x):
    nominal = Module(linear).nominal()
    found = []
    for vmap in (False, True):
        leaves = {name: random(3, *p.shape, seed=2).requires_grad_() for name, p in nominal.items()}
        loss = Module(linear, vmap=vmap).run(leaves, x).square().sum()
        found.append(torch.autograd.grad(loss, list(leaves.values())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_module(linear, x):
    net = Module(linear)
    found = torch.autograd.grad(net.run(net.nominal(), x).square().sum(), list(linear.parameters()))
    expected = torch.autograd.grad(linear(x).square().sum(), list(linear.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("chips", [None, 2])
def test_a_pass_leaves_nothing_behind(restless, x, chips):
    net = Module(restless)
    restless.drop.eval()  # modes of its parts may differ

    def state():
        tensors = [t.detach().clone() for t in (*restless.parameters(), *restless.buffers())]
        flags = [p.requires_grad for p in restless.parameters()] + [m.training for m in restless.modules()]
        return tensors, flags, [p.grad for p in restless.parameters()], torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002

    before = state()
    logits = [Chip(LEVEL).deploy(net, chips).run(x) if chips else net.run(net.nominal(), x) for _ in range(2)]
    after = state()
    assert torch.equal(*logits)  # a pure function, although forward counts its calls and draws numbers
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert np.array_equal(before[4], after[4])


def test_an_error_inside_forward_leaves_nothing_behind(linear):
    linear.train()
    rng = torch.get_rng_state()
    with pytest.raises(RuntimeError):
        Module(linear).run(Module(linear).nominal(), torch.zeros(7, 5, 4))
    assert linear.training
    assert torch.equal(torch.get_rng_state(), rng)


def test_it_runs_in_eval_mode_on_the_statistics_it_has(restless, x):
    net = Module(restless)
    h = restless.linear(x.mean(0))
    for vmap in (False, True):
        torch.manual_seed(0)
        noise = 0.1 * torch.randn(5, 4)
        normed = (h - restless.norm.running_mean) / (1 + 1e-5) ** 0.5
        expected = restless.out(normed + noise) * 1.0
        torch.testing.assert_close(Module(restless, vmap=vmap).run(net.nominal(), x), expected)


def test_statistics_that_no_data_has_set_are_said():
    with pytest.warns(UserWarning, match=r"running statistics that no data has set: 1; .*track_running_stats=False"):
        Module(nn.Sequential(Mean(), nn.BatchNorm1d(6)))


def test_tied_parameters_are_one(x):
    first = nn.Linear(6, 6, bias=False)
    second = nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    net = Module(nn.Sequential(Mean(), first, second))
    assert list(net.nominal()) == ["1.weight"]
    w = random(6, 6, seed=4)
    torch.testing.assert_close(net.run({"1.weight": w}, x), x.mean(0) @ w.T @ w.T)


def test_parameters_must_be_its_own(linear, x):
    net = Module(linear)
    with pytest.raises(ConfigError, match=r"params: unknown '1.wait' .did you mean '1.weight'"):
        net.run({**net.nominal(), "1.wait": torch.ones(2)}, x)
    with pytest.raises(ConfigError, match=r"params: 1.bias is missing"):
        net.run({"1.weight": net.nominal()["1.weight"]}, x)
    with pytest.raises(ShapeError, match=r"Identity: gave shape \(7, 5, 6\), must be logits \[B, O\] with B = 5"):
        Module(nn.Identity()).run({}, x)


def test_the_hash_is_of_values_roles_class_and_buffers(linear, restless):
    nets = [Module(linear), Module(linear, {"1.bias": "none"}), Module(nn.Sequential(Mean(), nn.Linear(6, 3)))]
    nets.append(Module(restless))
    assert len({net.hash() for net in nets}) == 4
    assert Module(linear).hash() == nets[0].hash()
    before = nets[3].hash()
    with torch.no_grad():
        restless.norm.running_mean.add_(1)
    assert nets[3].hash() != before
