"""Networks: structure, storage, the pure form, gradients, function transforms, side effects."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware.limits import exceeded
from snnrobust.hardware.profile import load_profile
from snnrobust.snn import ALIF, LI, LIF, MeanRate, Network, Surrogate
from snnrobust.snn.readouts import valid_steps


def lively(net):
    """The network with a second layer that spikes on the sparse spikes of the first."""
    net.get_parameter("layer1.weight").data.mul_(8)
    return net


BUILDS = {
    "lif": lambda: Network.recurrent(3, 8, 2, seed=1),
    "alif, synapse": lambda: Network.recurrent(3, 8, 2, neuron="alif", tau_syn=5e-3, refractory=2e-3, seed=1),
    "two layers, rate": lambda: lively(Network.recurrent(3, (8, 5), 2, readout="rate", reset="soft", seed=1)),
    "fan-in": lambda: Network.recurrent(3, 8, 2, fan_in=4, decode="max", seed=1),
    "a stack": lambda: lively(
        Network(
            [
                LIF(3, 6, integrator="euler", tau_mem=1e-2, surrogate=Surrogate(shape="arctan", slope=3.0), seed=1),
                ALIF(6, 7, True, dt=2e-3, detach_reset=False, reset="soft", fan_in=20, seed=2),
                LI(7, 4, tau_syn=3e-3, v_leak=0.1, decode="last", on_chip=False, seed=3),
            ]
        )
    ),
}
ALL = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def inputs(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chips(net, names, instances, seed=0):
    """Parameters of which the named ones have an instance axis."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, p in net.nominal().items():
        z = torch.randn(instances, *p.shape, dtype=p.dtype, generator=generator)
        result[name] = p.detach() * (1 + 0.1 * z) if name in names else p.detach()
    return result


# --- structure -------------------------------------------------------------------------------------------------------


@ALL
def test_stored_networks_come_back(build):
    net = build()
    structure = json.loads(json.dumps(net.to_dict()))
    restored = Network.from_dict(structure, {name: p.detach().clone() for name, p in net.nominal().items()})
    x = inputs(30, 4, 3)
    assert restored.to_dict() == net.to_dict()
    assert restored.hash() == net.hash()
    assert restored.parameter_specs() == net.parameter_specs()
    assert torch.equal(restored(x), net(x))
    assert [type(m) for m in restored.modules()] == [type(m) for m in net.modules()]


@ALL
def test_float64_networks_come_back_as_they_are(build):
    net = build().double()
    with torch.no_grad():
        for p in net.parameters():
            p += 1e-12 * torch.rand(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1))
    restored = Network.from_dict(net.to_dict(), net.nominal())
    assert restored.hash() == net.hash()


@ALL
def test_hash_changes_with_any_bit_of_any_parameter(build):
    net = build()
    seen = {net.hash()}
    count = 0
    for p in net.parameters():
        bits = p.data.view(-1).view(torch.int32)
        for element in {0, bits.numel() - 1}:
            for bit in (0, 11, 31):
                bits[element] ^= 1 << bit if bit < 31 else -(1 << 31)
                seen.add(net.hash())
                bits[element] ^= 1 << bit if bit < 31 else -(1 << 31)
                count += 1
    assert len(seen) == count + 1


def test_hash_changes_with_structure():
    base = {"neuron": "lif", "seed": 1}
    variants = [
        {},
        {"fan_in": 6},
        {"fan_in": 5},
        {"surrogate": Surrogate(slope=7.0)},
        {"decode": "max"},
        {"reset": "soft"},
        {"integrator": "euler"},
        {"detach_reset": False},
    ]
    assert len({Network.recurrent(3, 8, 2, **{**base, **v}).hash() for v in variants}) == len(variants)
    assert Network.recurrent(3, 8, 2, seed=1).hash() == Network.recurrent(3, 8, 2, seed=1).hash()


def test_layers_of_one_network_have_different_weights():
    net = Network.recurrent(6, (6, 6), 6, seed=2)
    weights = [net.nominal()[f"{layer}.weight"] for layer in ("layer0", "layer1", "readout")]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_parameter_specs():
    specs = Network.recurrent(3, 8, 2, neuron="alif", tau_syn=5e-3, refractory=2e-3, fan_in=4, seed=1).parameter_specs()
    rows = {n: (s.role, s.shape, s.unit, s.positive, s.on_chip, s.layer, s.fan_in) for n, s in specs.items()}
    one = ((8,), "1", False, True, "layer0", None)
    tau = ((8,), "s", True, True, "layer0", None)
    assert rows == {
        "layer0.weight": ("weight", (8, 3), "1", False, True, "layer0", 4),
        "layer0.recurrent_weight": ("recurrent_weight", (8, 8), "1", False, True, "layer0", 4),
        "layer0.bias": ("bias", *one),
        "layer0.gain": ("gain", *one),
        "layer0.tau_mem": ("tau_mem", *tau),
        "layer0.tau_syn": ("tau_syn", *tau),
        "layer0.v_th": ("v_th", *one),
        "layer0.v_leak": ("v_leak", *one),
        "layer0.v_reset": ("v_reset", *one),
        "layer0.refractory": ("refractory", (8,), "s", False, True, "layer0", None),
        "layer0.tau_adapt": ("tau_adapt", *tau),
        "layer0.adaptation": ("adaptation", *one),
        "readout.weight": ("weight", (2, 8), "1", False, True, "readout", None),
        "readout.bias": ("bias", (2,), "1", False, True, "readout", None),
        "readout.gain": ("gain", (2,), "1", False, True, "readout", None),
        "readout.tau_mem": ("tau_mem", (2,), "s", True, True, "readout", None),
        "readout.v_leak": ("v_leak", (2,), "1", False, True, "readout", None),
    }
    off_chip = Network([LIF(3, 4), LI(4, 2, on_chip=False)]).parameter_specs()
    assert {n for n, s in off_chip.items() if not s.on_chip} == {n for n in off_chip if n.startswith("readout.")}


def test_fan_in_is_what_a_chip_counts():
    profile = load_profile("dynapse1")  # 64 inputs a neuron
    assert profile.limits.fan_in == 64
    full, limited = (Network.recurrent(12, 100, 9, fan_in=f).parameter_specs() for f in (None, 64))
    assert [line for line in exceeded(profile, full) if "fan-in" in line] == [
        "layer0: fan-in 112 of at most 64",
        "readout: fan-in 100 of at most 64",
    ]
    assert [line for line in exceeded(profile, limited) if "layer0" in line] == []


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Network([]),
            ConfigError,
            "layers: a network needs at least one spiking layer and ends in one readout",
        ),
        (lambda: Network([LI(3, 2)]), ConfigError, "ends in one readout (LI, MeanRate)"),
        (lambda: Network([LIF(3, 4), LIF(4, 2)]), ConfigError, "ends in one readout"),
        (lambda: Network([LI(3, 4), LI(4, 2)]), ConfigError, "layers[0]: LI must be a spiking layer"),
        (
            lambda: Network([LIF(3, 4), LIF(5, 6), MeanRate(6, 2)]),
            ShapeError,
            "layers[1].inputs: 5 must be 4, the number of neurons before it",
        ),
        (lambda: Network([LIF(3, 4), LI(3, 2)]), ShapeError, "layers[1].inputs: 3 must be 4"),
        (
            lambda: Network.recurrent(3, 4, 2, neuron="aliff"),
            ConfigError,
            "neuron: unknown 'aliff' (did you mean 'alif'?); allowed: alif, lif",
        ),
        (lambda: Network.recurrent(3, 4, 2, readout="mean"), ConfigError, "readout: unknown 'mean'; allowed: li, rate"),
        (lambda: Network.recurrent(3, [], 2), ConfigError, "hidden: [] must be"),
        (lambda: Network.recurrent(3, 4, 2, fan_in=0), ConfigError, "fan_in: 0 must be at least 1"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error) as found:
        make()
    assert message in str(found.value)


def test_stored_structures_that_do_not_fit_are_refused():
    net = BUILDS["lif"]()
    with pytest.raises(ShapeError, match=r"they do not belong to the structure; they differ in layer0.weight"):
        Network.from_dict(net.to_dict(), {**net.nominal(), "layer0.weight": torch.zeros(8, 4)})
    with pytest.raises(ShapeError, match=r"they differ in readout.bias"):
        Network.from_dict(net.to_dict(), {n: p for n, p in net.nominal().items() if n != "readout.bias"})
    structure = net.to_dict()
    structure["layers"][0]["kind"] = "izhikevich"
    with pytest.raises(ConfigError, match=r"layer kind: unknown 'izhikevich'; allowed: alif, li, lif, rate"):
        Network.from_dict(structure, net.nominal())


@pytest.mark.parametrize("name", ["layer0.wieght", "layer7.weight", "weight"])
def test_unknown_parameters_are_refused(name):
    net = BUILDS["lif"]()
    with pytest.raises(ConfigError, match=rf"params: unknown '{name}'"):
        net.run({**net.nominal(), name: torch.zeros(1)}, inputs(5, 2, 3))


def test_missing_parameters_are_refused():
    net = BUILDS["lif"]()
    params = {n: p for n, p in net.nominal().items() if n != "layer0.bias"}
    with pytest.raises(ConfigError, match=r"params: layer0.bias is missing"):
        net.run(params, inputs(5, 2, 3))


# --- the pure form ---------------------------------------------------------------------------------------------------


@ALL
def test_run_on_nominal_parameters_is_the_module(build):
    net, x = build(), inputs(30, 4, 3)
    logits = net(x)
    assert logits.shape == (4, net.readout.neurons)
    assert torch.equal(net.run(net.nominal(), x), logits)
    recording = net.record(net.nominal(), x)
    assert torch.equal(recording.logits, logits)
    assert {n: s.shape for n, s in recording.spikes.items()} == {
        n: (30, 4, layer.neurons) for n, layer in net.spiking.items()
    }
    assert all(0 < float(s.detach().mean()) < 1 for s in recording.spikes.values())


@ALL
@QUICK
@given(data=st.data(), instances=st.integers(1, 4), batch=st.integers(1, 3))
def test_instances_at_once_equal_one_by_one(build, data, instances, batch):
    net = build().double()
    names = data.draw(st.sets(st.sampled_from(list(net.nominal())), min_size=1))
    x = inputs(20, batch, 3).double()
    lengths = torch.tensor([20, 7, 13][:batch])
    params = chips(net, names, instances)
    together = net.record(params, x, lengths)
    assert together.logits.shape == (instances, batch, net.readout.neurons)
    for k in range(instances):
        one = {n: p[k] if n in names else p for n, p in params.items()}
        alone = net.record(one, x, lengths)
        torch.testing.assert_close(together.logits[k], alone.logits, rtol=1e-12, atol=1e-13)
        for name, spikes in alone.spikes.items():
            found = together.spikes[name]
            assert torch.equal(found[k] if found.ndim == 4 else found, spikes)


@ALL
def test_padding_content_never_changes_logits(build):
    net, lengths = build(), torch.tensor([1, 9, 20, 30])
    x = inputs(30, 4, 3)
    valid = valid_steps(lengths, 30).unsqueeze(-1)
    expected = net(torch.where(valid, x, 0.0), lengths)
    for content in (-50.0, 50.0, 1e30):
        assert torch.equal(net(torch.where(valid, x, content), lengths), expected)
    for b, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(net(x[:length, b : b + 1])[0], expected[b], rtol=1e-4, atol=1e-5)


@ALL
def test_gradients_are_finite_and_reach_the_first_layer(build):
    net = build()
    params = {name: p.detach().clone().requires_grad_() for name, p in net.nominal().items()}
    x = inputs(30, 4, 3).requires_grad_()
    loss = torch.nn.functional.cross_entropy(net.run(params, x), torch.tensor([0, 1, 1, 0]))
    found = dict(zip(params, torch.autograd.grad(loss, list(params.values()), materialize_grads=True), strict=True))
    assert all(bool(g.isfinite().all()) for g in found.values())
    assert bool(found["layer0.weight"].any())
    silent = {name: torch.zeros_like(p, requires_grad=True) for name, p in net.nominal().items()}
    loss = net.run(silent, 0 * x).sum()
    found = torch.autograd.grad(loss, list(silent.values()), allow_unused=True)
    assert all(g is None or bool(g.isfinite().all()) for g in found)


@pytest.mark.parametrize("name", ["lif", "alif, synapse", "fan-in"])
def test_function_transforms(name):
    net = BUILDS[name]().double()
    x = inputs(20, 4, 3).double()
    y = torch.tensor([0, 1, 1, 0])
    params = {n: p.detach() for n, p in net.nominal().items()}

    def loss(values, x, y):
        return torch.nn.functional.cross_entropy(functional_call(net, values, (x,)), y)

    leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
    total = loss(leaves, x, y)
    expected = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), materialize_grads=True), strict=True))
    found = torch.func.grad(loss)(params, x, y)
    for n in params:
        torch.testing.assert_close(found[n], expected[n], rtol=1e-10, atol=1e-14)

    varied = chips(net, {"layer0.weight", "layer0.v_th", "readout.bias"}, 3)
    axes = {n: 0 if p.ndim > params[n].ndim else None for n, p in varied.items()}
    mapped = torch.func.vmap(lambda values: functional_call(net, values, (x,)), in_dims=(axes,))(varied)
    torch.testing.assert_close(mapped, net.run(varied, x), rtol=1e-12, atol=1e-13)

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1, 0))(params, x.unsqueeze(2), y.unsqueeze(1))
    for n in params:
        torch.testing.assert_close(per_sample[n].mean(0), expected[n], rtol=1e-9, atol=1e-13)


@ALL
def test_no_side_effects(build):
    net, x = build().eval(), inputs(20, 4, 3)
    before = {n: (p.detach().clone(), p.requires_grad) for n, p in net.nominal().items()}
    state, buffers = torch.random.get_rng_state(), copy.deepcopy(dict(net.named_buffers()))
    moved = {n: p * 1.1 for n, p in net.nominal().items()}
    x0, moved0 = x.clone(), {n: p.clone() for n, p in moved.items()}
    for params in (net.nominal(), moved, chips(net, set(net.nominal()), 2)):
        net.run(params, x, torch.tensor([20, 3, 4, 5])).sum().requires_grad_()
    net.to_dict(), net.hash(), net.parameter_specs()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(x, x0)
    assert all(torch.equal(moved[n], moved0[n]) for n in moved)
    assert not any(m.training for m in net.modules())
    for n, p in net.nominal().items():
        assert torch.equal(p, before[n][0])
        assert (p.requires_grad, p.grad) == (before[n][1], None)
    assert all(torch.equal(b, buffers[n]) for n, b in net.named_buffers())


def test_building_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    Network.recurrent(3, 8, 2, fan_in=4, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
