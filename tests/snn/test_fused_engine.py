"""The fused engine against the eager one: every equation, any shape; and what it promises on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from agreement import Pool, assert_equal, of_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnrobust import compiled
from snnrobust.errors import ConfigError, ShapeError
from snnrobust.snn import ALIF, LI, LIF, MeanRate, Network, SpikingLayer, State, Surrogate
from snnrobust.snn.engines import fused, inference
from snnrobust.snn.engines import gradients as engine
from snnrobust.snn.engines import inputs as drives
from snnrobust.snn.engines.fused import by_source
from snnrobust.snn.engines.gradients import chunks_of, total
from snnrobust.snn.engines.inputs import Inputs
from snnrobust.snn.engines.memory import Lease

MANY = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


numba = of_engine("numba")
# Gradients of these alone: the engine keeps and does less for them.
numba_weights_only = of_engine("numba", trained=("weight", "recurrent_weight", "bias"))


@dataclass(frozen=True)
class Example:
    """A layer's arguments; hypothesis prints them when an example fails."""

    inputs: int
    neurons: int
    steps: int
    batch: int
    recurrent: bool
    adaptive: bool
    synapse: bool
    integrator: str
    reset: str
    detach: bool
    refractory: int
    surrogate: Surrogate
    gain: float
    analog: bool
    seed: int

    def build(self, dtype: torch.dtype) -> tuple[SpikingLayer, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)

        def near(value: float) -> Tensor:
            return value * (1 + 0.3 * torch.rand(self.neurons, generator=generator))

        values = {
            "tau_mem": near(10e-3),
            "tau_syn": near(4e-3) if self.synapse else None,
            "v_leak": near(0.1) - 0.1,
            "v_th": near(1.0),
            "refractory": self.refractory * 1e-3,
            "integrator": self.integrator,
            "reset": self.reset,
            "detach_reset": self.detach,
            "surrogate": self.surrogate,
            "seed": self.seed,
        }
        if self.reset == "hard":
            values["v_reset"] = near(0.1) - 0.15
        if self.adaptive:
            values |= {"tau_adapt": near(50e-3), "adaptation": near(0.5)}
        layer = (ALIF if self.adaptive else LIF)(self.inputs, self.neurons, self.recurrent, dt=1e-3, **values).to(dtype)
        with torch.no_grad():
            layer.weight.mul_(self.gain)
            layer.bias.add_(0.05 * torch.randn(self.neurons, generator=generator))
            layer.gain.mul_(near(1.0))
        shape = (self.steps, self.batch, self.inputs)
        x = torch.randn(shape, generator=generator) if self.analog else (torch.rand(shape, generator=generator) < 0.2)
        return layer, x.to(dtype), torch.randn(self.steps, self.batch, self.neurons, generator=generator).to(dtype)


SIZES = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 31, 63, 64, 65, 70])
SURROGATES = st.builds(
    Surrogate,
    shape=st.sampled_from(["superspike", "triangle", "fast_sigmoid", "arctan", "gaussian"]),
    slope=st.sampled_from([1.0, 5.0]),
    dampening=st.sampled_from([0.3, 1.0]),
    scale=st.sampled_from(["one", "threshold"]),
)
EXAMPLES = st.builds(
    Example,
    inputs=SIZES,
    neurons=SIZES,
    steps=st.sampled_from([1, 2, 3, 10, 25]),
    batch=st.sampled_from([1, 2, 7, 8, 9, 17]),
    recurrent=st.booleans(),
    adaptive=st.booleans(),
    synapse=st.booleans(),
    integrator=st.sampled_from(["euler", "exponential"]),
    reset=st.sampled_from(["hard", "soft"]),
    detach=st.booleans(),
    refractory=st.sampled_from([0, 0, 3]),
    surrogate=SURROGATES,
    gain=st.sampled_from([0.0, 1.0, 3.0, 100.0]),  # silent, sparse, dense, nearly every neuron
    analog=st.booleans(),
    seed=st.integers(0, 1000),
)


@MANY
@given(EXAMPLES)
def test_float64_spikes_are_equal_and_gradients_agree(example):
    layer, x, cotangent = example.build(torch.float64)
    assert_equal(layer, x, cotangent, numba)
    assert_equal(layer, x, cotangent, numba_weights_only)


def test_float32_parts_only_at_ties():
    pool = Pool()

    @MANY
    @given(EXAMPLES.filter(lambda e: e.gain < 100))
    def compare(example):
        pool.add(*example.build(torch.float32), numba)

    compare()
    assert pool.parted <= max(2, 0.005 * pool.neuron_steps / 25_600)
    assert pool.skipped < pool.examples / 10
    assert pool.worst <= 1e-5
    assert pool.spikes > 1000


def networks():
    make = {"dt": 1e-3, "tau_syn": 4e-3}
    return {
        "mean": Network([LIF(3, 20, True, **make), LI(20, 4, tau_syn=3e-3, decode="mean")]),
        "max": Network([LIF(3, 20, True, **make), LI(20, 4, decode="max")]),
        "last": Network([ALIF(3, 20, **make), LI(20, 4, decode="last")]),
        "rate": Network([LIF(3, 20, True, reset="soft", **make), MeanRate(20, 4)]),
        "stack": Network([LIF(3, 20, True, **make), ALIF(20, 9, **make), LIF(9, 17, **make), LI(17, 4)]),
    }


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("chips", [None, 3])
def test_networks_with_lengths_agree(name, chips):
    net = networks()[name].double()
    generator = torch.Generator().manual_seed(3)
    x = 2 * torch.randn(30, 11, 3, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, 31, (11,), generator=generator)
    results = {}
    for chosen in ("eager", "numba"):
        net.engine = chosen
        params = {n: p.detach().clone() for n, p in net.nominal().items()}
        if chips:
            for n in list(params)[::2]:  # some have an instance axis, others are shared
                noise = torch.randn(chips, *params[n].shape, generator=torch.Generator().manual_seed(1)).double()
                params[n] = params[n] * (1 + 0.1 * noise)
        leaves = {n: p.requires_grad_() for n, p in params.items()}
        inputs = x.clone().requires_grad_()
        logits, rates = net.rates(leaves, inputs, lengths)
        loss = logits.square().sum() + sum((rate**2).sum() for rate in rates.values())
        grads = torch.autograd.grad(loss, [*leaves.values(), inputs], materialize_grads=True)
        with torch.no_grad():
            recorded = net.record(leaves, inputs, lengths)
        assert torch.equal(recorded.logits, logits) or chosen == "eager"
        results[chosen] = (logits.detach(), recorded.spikes, dict(zip([*leaves, "x"], grads, strict=True)))
    eager, numba = results["eager"], results["numba"]
    torch.testing.assert_close(numba[0], eager[0], rtol=1e-12, atol=1e-12)
    assert all(torch.equal(numba[1][n], eager[1][n]) for n in eager[1])
    assert any(bool(s.any()) for s in eager[1].values())
    for n, g in eager[2].items():
        assert (numba[2][n] - g).abs().max() <= 1e-9 * g.abs().max().clamp_min(1e-300), n


@pytest.mark.parametrize("neurons", [8, 64, 70])
def test_every_neuron_spikes_before_and_at_every_step(neurons):
    layer = LIF(3, neurons, True, dt=1e-3, tau_syn=4e-3, v_th=-1.0, v_leak=0.5, v_reset=0.5).double()
    with torch.no_grad():
        layer.recurrent_weight.mul_(0.01)
        rest = torch.full((7, neurons), 0.5, dtype=torch.float64)
        state = State(rest, torch.zeros_like(rest), None, torch.ones_like(rest), None)
        x = torch.zeros(5, 7, 3, dtype=torch.float64)
        (eager, last), (numba, other) = (layer.run(layer.nominal(), x, state, engine=e) for e in ("eager", "numba"))
    assert bool(eager.all())
    assert torch.equal(eager, numba)
    torch.testing.assert_close(other.i, last.i, rtol=1e-12, atol=1e-12)


def test_spikes_before_the_first_step_have_room():
    layer = LIF(3, 64, True, dt=1e-3, tau_syn=4e-3, v_th=-1.0, v_leak=0.5, v_reset=0.5).double()
    rest = torch.full((8, 64), 0.5, dtype=torch.float64)
    before = (torch.rand(8, 64, generator=torch.Generator().manual_seed(0)) < 0.5).double()
    state = State(rest, torch.zeros_like(rest), None, before, None)
    with torch.no_grad():
        x = torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = [layer.run(layer.nominal(), x, state, engine=e)[1].i for e in ("eager", "numba")]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_layers_below_the_first_with_instances_have_none():
    net = Network([LIF(3, 6, True, dt=1e-3, v_th=0.3), LIF(6, 5, dt=1e-3, v_th=0.1), LI(5, 2)]).double()
    x = 3 * torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for net.engine in ("eager", "numba"):
        leaves = {n: p.detach().clone().requires_grad_() for n, p in net.nominal().items()}
        several = torch.stack([leaves["layer1.weight"] * (1 + 0.1 * k) for k in range(3)])
        logits, rates = net.rates({**leaves, "layer1.weight": several}, x)
        loss = logits.square().sum() + sum(rate.square().sum() for rate in rates.values())
        shapes = [tuple(rate.shape) for rate in rates.values()]
        found.append((shapes, loss, torch.autograd.grad(loss, [leaves["layer0.weight"], leaves["layer1.weight"]])))
    (shapes, loss, grads), (others, other, theirs) = found
    assert shapes == others == [(4, 6), (3, 4, 5)]
    torch.testing.assert_close((loss, *grads), (other, *theirs), rtol=1e-9, atol=1e-12)
    assert bool(grads[0].any())


def test_derivatives_and_methods_of_its_own_take_the_eager_engine():
    from torch.autograd import forward_ad

    class Halved(LIF):
        def drive(self, params, x, reads=None):
            return 0.5 * super().drive(params, x, reads)

    net = Network([Halved(2, 3, dt=1e-3), LI(3, 2)], engine="numba")
    with pytest.raises(ConfigError, match="Halved"):
        net(torch.zeros(4, 1, 2))
    net = Network([LIF(2, 3, dt=1e-3, v_th=0.1), LI(3, 2)])
    params = {n: p.detach() for n, p in net.nominal().items()}
    x = torch.ones(9, 1, 2)
    with forward_ad.dual_level():
        dual = {**params, "readout.weight": forward_ad.make_dual(params["readout.weight"], torch.ones(2, 3))}
        assert bool(forward_ad.unpack_dual(net.run(dual, x)).tangent.any())


def test_states_that_do_not_fit_are_not_read():
    layer = LIF(3, 5, True, dt=1e-3, tau_syn=4e-3)
    x = torch.zeros(4, 6, 3)
    for batch, dtype in ((1, torch.float32), (4, torch.float32), (9, torch.float32), (6, torch.float64)):
        rest = torch.zeros(batch, 5, dtype=dtype)
        with pytest.raises(ConfigError, match=r"state of shape \[6, 5\]"):
            layer.run(layer.nominal(), x, State(rest, rest, None, rest, None), engine="numba")
    rest = torch.zeros(3, 6, 5)
    params = {n: p.detach().expand(2, *p.shape) for n, p in layer.nominal().items()}
    with pytest.raises(ShapeError, match="instances"):
        layer.run(params, x, State(rest, rest, None, rest, None), engine="numba")


def test_a_tape_keeps_what_its_caller_changes():
    net = Network([LIF(3, 9, True, dt=1e-3, v_th=0.1), LI(9, 8, decode="max")], engine="numba")
    x = 5 * torch.randn(20, 1, 3, generator=torch.Generator().manual_seed(0))
    wanted = [net.layer0.weight, net.readout.weight]
    expected = torch.autograd.grad(net(x).sum(), wanted)
    logits = net(x)
    loss = logits.sum()
    with torch.no_grad():
        logits.mul_(0.5)
        x.zero_()
    found = torch.autograd.grad(loss, wanted)
    assert all(bool(g.any()) for g in expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_states_are_handed_on_with_their_gradients():
    layer = ALIF(3, 10, True, dt=1e-3, tau_syn=4e-3, refractory=2e-3).double()
    x = 3 * torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for chosen in ("eager", "numba"):
        leaves = {n: p.detach().clone().requires_grad_() for n, p in layer.nominal().items()}
        first, state = layer.run(leaves, x[:9], engine=chosen)
        second, state = layer.run(leaves, x[9:], state, engine=chosen)
        whole, _ = layer.run(leaves, x, engine=chosen)
        assert torch.equal(torch.cat([first, second]), whole)
        loss = (second * torch.arange(10)).sum() + state.v.sum() + state.i.sum() + state.b.sum()
        found.append(torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True))
    assert whole.any()
    for eager, numba in zip(*found, strict=True):
        assert (numba - eager).abs().max() <= 1e-9 * eager.abs().max().clamp_min(1e-300)


@pytest.mark.parametrize("name", ["mean", "max", "last"])
def test_broken_chips_are_seen(name):
    net = networks()[name]
    params = {n: p.detach().clone() for n, p in net.nominal().items()}
    readout = params["readout.weight"]
    params["readout.weight"] = torch.stack([readout, torch.full_like(readout, torch.nan)])
    x = 3 * torch.randn(30, 5, 3, generator=torch.Generator().manual_seed(0))
    for net.engine in ("eager", "numba"):
        logits = net.run(params, x)
        assert logits[0].isfinite().all()
        assert logits[1].isnan().all()


def sample_problem(instances=5, batch=37, neurons=70):
    generator = torch.Generator().manual_seed(2)
    net = Network.recurrent(11, neurons, 3, dt=1e-3, tau_syn=4e-3, engine="numba")
    params = {}
    for name, p in net.nominal().items():
        noise = torch.randn(instances, *p.shape, generator=generator)
        params[name] = (p.detach() * (1 + 0.2 * noise)).requires_grad_(p.requires_grad)
    return net, params, 2 * torch.randn(40, batch, 11, generator=generator)


def gradients(net, params, x):
    wanted = [p for p in params.values() if p.requires_grad]
    return torch.autograd.grad(net.run(params, x).square().sum(), wanted)


@pytest.fixture
def threads():
    before = compiled.get_threads()
    yield compiled.set_threads
    compiled.set_threads(before)


def test_same_bits_for_any_threads_and_split(threads):
    net, params, x = sample_problem()
    threads(1)
    logits, grads = net.run(params, x).detach(), gradients(net, params, x)
    with torch.no_grad():
        assert torch.equal(net.run(params, x), logits)  # without a tape
        for count in (2, 3, 8):
            threads(count)
            assert torch.equal(net.run(params, x), logits)
            assert torch.equal(net.run(params, x[:, 5:6]), logits[:, 5:6])
            assert torch.equal(net.run(params, x[:, 3:20]), logits[:, 3:20])
            one = {n: p[2:4] for n, p in params.items()}
            assert torch.equal(net.run(one, x), logits[2:4])
    threads(3)
    assert all(torch.equal(a, b) for a, b in zip(gradients(net, params, x), grads, strict=True))
    part = {n: p[1:3].detach().requires_grad_(p.requires_grad) for n, p in params.items()}
    assert all(torch.equal(a, b[1:3]) for a, b in zip(gradients(net, part, x), grads, strict=True))


def test_same_bits_whichever_path_adds_the_rows(monkeypatch):
    net, params, x = sample_problem()
    x = x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.1)
    results = []
    for sparse, dense in ((1.1, 2.0), (0.0, 2.0), (1.1, -1.0), (0.0, -1.0)):
        monkeypatch.setattr(drives, "SPARSE", sparse)
        monkeypatch.setattr(fused, "_dense_from", lambda weights, limit=dense: limit)
        results.append((net.run(params, x).detach(), *gradients(net, params, x)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("slope", [1.0, 4.0])
def test_a_compact_surrogate_skips_products_to_the_same_bits(monkeypatch, slope):
    surrogate = Surrogate(shape="triangle", slope=slope)
    make = {"dt": 1e-3, "tau_syn": 4e-3, "surrogate": surrogate}
    net = Network([LIF(5, 70, True, **make), LIF(70, 37, True, **make), LI(37, 3)], engine="numba")
    x = 3 * torch.randn(40, 21, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for limit in (0.0, 2.0):
        monkeypatch.setattr(engine, "ACTIVE", limit)
        found.append(gradients(net, net.nominal(), x))
    assert all(bool(g.any()) for g in found[0][:2])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_compact_surrogate_that_padding_lies_within(monkeypatch):
    surrogate = Surrogate(shape="triangle", slope=0.5, scale="threshold")  # 0.5 for neurons beyond the last
    net = Network([LIF(4, 65, True, dt=1e-3, v_th=0.1, surrogate=surrogate), LI(65, 3)]).double()
    x = 60 * torch.randn(20, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr(engine, "ACTIVE", 2.0)
    wider = Network([LIF(4, 200, True, dt=1e-3, v_th=0.1, surrogate=surrogate), LI(200, 3)], engine="numba").double()
    gradients(wider, wider.nominal(), x)  # larger buffers, which the smaller network then gets
    found = []
    for net.engine in ("eager", "numba"):
        leaves = {n: p.detach().clone().requires_grad_() for n, p in net.nominal().items()}
        loss = net.run(leaves, x).square().sum()
        found.append(torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True))
        for buffers in Lease._free:  # what lies beyond a matrix is not to be read
            for buffer in buffers.values():
                buffer[...] = 255
    for eager, numba in zip(*found, strict=True):
        assert (numba - eager).abs().max() <= 1e-9 * eager.abs().max().clamp_min(1e-300)


def test_parts_of_the_batch_change_nothing(monkeypatch):
    net, params, x = sample_problem(instances=7)
    with torch.no_grad():
        whole = net.record(params, x)
        monkeypatch.setattr(inference, "_LIST_BYTES", 1)
        parts = net.record(params, x)
        several = net.record(params, torch.stack([x * (k + 1) for k in range(7)]))
        seventh = net.record({n: p[6] for n, p in params.items()}, x * 7)
    assert torch.equal(whole.logits, parts.logits)
    assert torch.equal(whole.spikes["layer0"], parts.spikes["layer0"])
    assert torch.equal(several.logits[6], seventh.logits)


def test_memory_is_lent_to_one_at_a_time():
    first, second = Lease(), Lease()
    a, b = (lease.empty("a", (1000,), np.float64) for lease in (first, second))
    assert not np.shares_memory(a, b)
    assert a.ctypes.data % 64 == 0
    del second
    assert np.shares_memory(Lease().empty("a", (10,), np.float32), b)
    del first, a
    stack = networks()["stack"]  # the spikes of one layer are read while the next one runs
    x = 2 * torch.randn(30, 11, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = stack(x)
        stack.engine = "eager"
        torch.testing.assert_close(stack(x), expected, rtol=1e-5, atol=1e-6)


def test_an_earlier_graph_survives_later_calls():
    net, params, x = sample_problem()
    first = net.run(params, x).square().sum()
    expected = gradients(net, params, x)
    net.run(params, -x).square().sum().backward()
    wanted = [p for p in params.values() if p.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(torch.autograd.grad(first, wanted), expected, strict=True))


def test_a_network_that_wants_numba_says_why_it_cannot():
    class Own(LIF):
        def step(self, u, state, c):
            return super().step(u, state, c)

    net = Network([Own(2, 3), LI(3, 2)], engine="numba")
    with pytest.raises(ConfigError, match="Own, which have equations of their own"):
        net(torch.zeros(4, 1, 2))
    net.engine = "auto"
    assert net(torch.zeros(4, 1, 2)).shape == (1, 2)
    with pytest.raises(ConfigError, match="engine"):
        Network([LIF(2, 3), LI(3, 2)], engine="nummba")
    with pytest.raises(ConfigError, match="float16"):
        Network([LIF(2, 3), LI(3, 2)], engine="numba")(torch.zeros(4, 1, 2).half())


def test_function_transforms_take_the_eager_engine():
    net = Network.recurrent(2, 5, 2)
    params = {n: p.detach() for n, p in net.nominal().items()}
    x = torch.randn(10, 3, 2, generator=torch.Generator().manual_seed(0))
    grads = torch.func.grad(lambda p: net.run(p, x).square().sum())(params)
    leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
    expected = torch.autograd.grad(net.run(leaves, x).square().sum(), list(leaves.values()), materialize_grads=True)
    for g, e in zip(grads.values(), expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-4, atol=1e-6)


def test_parts():
    assert [chunks_of(b) for b in (1, 7, 8, 15, 16, 100, 128, 1000)] == [1, 1, 1, 1, 2, 8, 16, 16]
    generator = np.random.default_rng(0)
    sums = generator.normal(size=(3, 8, 13, 40))
    expected = sums
    while expected.shape[1] > 1:
        expected = expected[:, 0::2] + expected[:, 1::2]
    assert np.array_equal(total(sums.copy(), 37), expected[:, 0, :, :37].swapaxes(1, 2))
    weight, gain = generator.normal(size=(3, 37, 70)), generator.normal(size=(3, 37))
    for own, factor in ((None, 1), (gain, gain[..., None]), (gain[0], gain[0][:, None])):
        rows = by_source(weight, Lease(), "w", gain=own)
        assert rows.shape == (3, 70, 40)
        assert np.array_equal(rows[:, :, :37], (factor * weight).swapaxes(1, 2))
        assert not rows[:, :, 37:].any()
    scaled = by_source(gain[..., None] * weight[0], Lease(), "v")
    assert np.array_equal(by_source(weight[0], Lease(), "w", gain=gain), scaled)
    x = np.zeros((3, 2, 4), np.float32)
    x[1, 1, 2] = 5
    listed = Inputs.of(x)
    assert (listed.source[0], listed.factor[0]) == (2, 5)
    assert listed.start.tolist() == [0, 0, 0, 0, 0, 1, 1]  # sample by sample
    second = listed.part(slice(0, 1), slice(1, 2))
    assert (second.start.tolist(), second.batch, second.steps) == ([0, 0, 1, 1], 1, 3)
