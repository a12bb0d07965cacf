"""Layers: shapes, chunks, instances, fan-in, initial weights, errors, and a neuron of one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.snn import ALIF, LI, LIF, NEURONS, Layer, MeanRate, Network, State
from snnrobust.testing import check_neuron

VARIANTS = {
    "lif": (LIF, {}),
    "lif, synapse, refractory": (LIF, {"tau_syn": 5e-3, "refractory": 3e-3}),
    "lif, euler, soft, attached": (LIF, {"integrator": "euler", "reset": "soft", "detach_reset": False}),
    "alif": (ALIF, {}),
    "alif, soft, everything": (ALIF, {"tau_syn": 4e-3, "refractory": 2e-3, "reset": "soft", "fan_in": 4}),
    "lif, fan-in 2": (LIF, {"fan_in": 2}),
}
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


class QuadraticLIF(LIF):
    """Quadratic integrate-and-fire: v moves by a_mem ((v - v_leak)^2 + u) from v_leak on."""

    kind = "qif"

    def step(self, u, state, c):
        v = state.v + c["a_mem"] * ((state.v - c["v_leak"]) ** 2 + u)
        o = self.dynamics.surrogate.spike(v, c["v_th"])
        return State(torch.where(o > 0, c["v_reset"], v), None, None, o, None)


# --- the shared suite ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_shared_suite(name):
    layer_class, values = VARIANTS[name]
    check_neuron(layer_class, **values)


def test_shared_suite_on_a_neuron_of_ones_own(monkeypatch):
    monkeypatch.setitem(NEURONS, "qif", QuadraticLIF)
    check_neuron(QuadraticLIF, v_reset=-1.0)


class Forgetful(LIF):
    """Loses its state between chunks."""

    def run(self, params, x, state=None):
        return super().run(params, x)


class Mixed(LIF):
    """Gives every instance the threshold of the first."""

    def run(self, params, x, state=None):
        v_th = params["v_th"]
        return super().run({**params, "v_th": v_th[:1].expand_as(v_th) if v_th.ndim == 2 else v_th}, x, state)


class Noisy(LIF):
    """Draws from the global generator."""

    def run(self, params, x, state=None):
        return super().run(params, x + 0 * torch.rand(()), state)


class Graded(LIF):
    """Gives values other than 0 and 1."""

    def run(self, params, x, state=None):
        spikes, state = super().run(params, x, state)
        return 0.5 * spikes, state._replace(o=0.5 * state.o)


class Unstable(LIF):
    """Has a gradient of 0 / 0 where its current is 0."""

    def run(self, params, x, state=None):
        return super().run({**params, "bias": params["bias"].square().sqrt()}, x, state)


class Unsown(LIF):
    """Ignores its seed."""

    def __init__(self, *args, seed=0, **values):
        super().__init__(*args, seed=int(torch.randint(1 << 30, ())), **values)


class Untrainable(LIF):
    """Cuts the gradient."""

    def run(self, params, x, state=None):
        return super().run(params, x.detach(), state)


@pytest.mark.parametrize(
    ("layer_class", "message"),
    [
        (Forgetful, "chunks of 1 steps"),
        (Mixed, "must equal one by one"),
        (Noisy, "torch's generator"),
        (Graded, "every value must be 0 or 1"),
        (Unstable, "gradient of bias: must be finite"),
        (Unsown, "the same seed must give the same parameters"),
        (Untrainable, "gradient of x: is zero everywhere"),
    ],
)
def test_shared_suite_finds(layer_class, message):
    with pytest.raises(AssertionError, match=message):
        check_neuron(layer_class)


def test_a_neuron_of_ones_own_trains_and_is_stored(monkeypatch):
    monkeypatch.setitem(NEURONS, "qif", QuadraticLIF)
    net = Network.recurrent(3, 12, 2, neuron="qif", v_reset=-1.0, seed=1)
    x = 3 * torch.randn(30, 16, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, :, 0].mean(0) > 0).long()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimiser.step()
    assert torch.nn.functional.cross_entropy(net(x), y).item() < float(loss.detach())
    restored = Network.from_dict(net.to_dict(), net.nominal())
    assert isinstance(restored.spiking["layer0"], QuadraticLIF)
    assert torch.equal(restored(x), net(x))


# --- time and instances ----------------------------------------------------------------------------------------------


@QUICK
@given(
    kind=st.sampled_from([LIF, ALIF]),
    cuts=st.lists(st.integers(1, 29), max_size=4),
    reset=st.sampled_from(["hard", "soft"]),
    tau_syn=st.sampled_from([None, 6e-3]),
    refractory=st.sampled_from([0.0, 2e-3]),
    instances=st.sampled_from([None, 3]),
)
def test_chunked_in_time_equals_the_whole(kind, cuts, reset, tau_syn, refractory, instances):
    layer = kind(4, 7, True, reset=reset, tau_syn=tau_syn, refractory=refractory, seed=3).double()
    x = 2 * torch.randn(30, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    params = {name: p.detach() for name, p in layer.nominal().items()}
    if instances:
        params["v_th"] = params["v_th"] * torch.linspace(0.5, 1.5, instances, dtype=torch.float64).unsqueeze(-1)
    whole, last = layer.run(params, x)
    state, parts = None, []
    for chunk in np.split(np.arange(30), sorted(set(cuts))):
        spikes, state = layer.run(params, x[chunk], state)
        parts.append(spikes)
    assert bool(whole.any())
    assert torch.equal(torch.cat(parts, -3), whole)
    for a, b in zip(state, last, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def varied(layer, names, instances, seed):
    """Parameters of which the named ones have an instance axis."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, p in layer.nominal().items():
        z = torch.randn(instances, *p.shape, dtype=p.dtype, generator=generator)
        size = 0.0 if name.startswith("tau_") or name == "refractory" else 0.1
        result[name] = p.detach() * (1 + 0.1 * z) + size * z if name in names else p.detach()
    return result


ROLES = [name for name, _ in ALIF(2, 3, True, tau_syn=1.0, refractory=1.0).named_parameters()]


@QUICK
@given(
    names=st.sets(st.sampled_from(ROLES), min_size=1),
    instances=st.integers(1, 5),
    batch=st.integers(1, 4),
    recurrent=st.booleans(),
    input_instances=st.booleans(),
    fan_in=st.sampled_from([None, 3]),
    seed=st.integers(0, 1000),
)
def test_instances_at_once_equal_one_by_one(names, instances, batch, recurrent, input_instances, fan_in, seed):
    layer = ALIF(4, 6, recurrent, tau_syn=5e-3, refractory=1e-3, fan_in=fan_in, seed=seed).double()
    params = varied(layer, names, instances, seed)
    if layer.instances(params) is None:  # only the recurrent weight was to vary, and there is none
        return
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(instances, 20, batch, 4, dtype=torch.float64, generator=generator)
    x = x if input_instances else x[0]
    together, state = layer.run(params, x)
    assert together.shape == (instances, 20, batch, 6)
    for k in range(instances):
        one = {name: p[k] if p.ndim > layer.nominal()[name].ndim else p for name, p in params.items()}
        spikes, last = layer.run(one, x[k] if input_instances else x)
        assert torch.equal(together[k], spikes)
        torch.testing.assert_close(state.v[k], last.v, rtol=1e-12, atol=1e-12)


def test_instances_through_the_input_alone():
    layer = LIF(3, 5, True, seed=1).double()
    x = 3 * torch.randn(4, 20, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    spikes, _ = layer(x)
    assert torch.equal(spikes, torch.stack([layer(one)[0] for one in x]))


# --- connections -----------------------------------------------------------------------------------------------------


@QUICK
@given(
    inputs=st.integers(1, 9),
    neurons=st.integers(1, 9),
    recurrent=st.booleans(),
    fan_in=st.integers(1, 20),
    seed=st.integers(-5, 2**63),
)
def test_every_neuron_keeps_fan_in_of_its_sources(inputs, neurons, recurrent, fan_in, seed):
    layer = LIF(inputs, neurons, recurrent, fan_in=fan_in, seed=seed % 2**63)
    weights = [layer.nominal()[n] for n in ("weight", "recurrent_weight") if n in layer.nominal()]
    sources = sum(w.shape[1] for w in weights)
    used = torch.cat([w != 0 for w in weights], dim=1).sum(1)
    assert used.tolist() == [min(fan_in, sources)] * neurons


def test_connections_are_a_function_of_the_seed():
    first, same, other = (LIF(10, 10, True, fan_in=8, seed=s).connected for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    # The stored network rests on these bits: they may never change.
    rows = LIF(3, 3, True, fan_in=2, seed=7).connected.int().tolist()
    assert rows == [[0, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0]]


def test_connections_are_uniform():
    # 200 layers of 10 neurons keep 5 of 20 sources: each is kept 500 times of 2000, sd sqrt(2000 .25 .75) = 19.4.
    counts = sum(LIF(10, 10, True, fan_in=5, seed=s).connected.sum(0) for s in range(200))
    assert int(counts.sum()) == 10_000
    assert int((counts - 500).abs().max()) < 5 * 19.4  # 20 sources beyond 5 sd: 1e-5 by chance


def test_missing_connections_get_no_gradient_and_stay_off_under_mismatch():
    layer = LIF(6, 8, True, fan_in=5, seed=1).double()
    x = 3 * torch.randn(30, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    here = {"weight": layer.connected[:, :6], "recurrent_weight": layer.connected[:, 6:]}
    params = {name: p.detach().clone().requires_grad_() for name, p in layer.nominal().items()}
    spikes, _ = layer.run(params, x)
    cotangent = torch.randn(spikes.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (spikes * cotangent).sum().backward()
    for name, mask in here.items():
        assert bool((params[name].grad[~mask] == 0).all())
        assert float((params[name].grad[mask] != 0).double().mean()) > 0.5  # silent sources have none
    moved = {n: torch.where(here[n], p, p + 100.0) if n in here else p for n, p in layer.nominal().items()}
    assert torch.equal(layer.run(moved, x)[0], spikes)
    chips = {n: torch.stack([moved[n], layer.nominal()[n]]) if n in here else p for n, p in moved.items()}
    assert torch.equal(layer.run(chips, x)[0], torch.stack([spikes, spikes]))


def test_specs_count_the_connections_that_exist():
    limited, full = LIF(6, 8, True, fan_in=5), LIF(6, 8, True, fan_in=14)
    assert [limited.parameter_specs()[n].fan_in for n in ("weight", "recurrent_weight", "bias")] == [5, 5, None]
    assert [full.parameter_specs()[n].fan_in for n in ("weight", "recurrent_weight", "bias")] == [None] * 3


def test_the_mask_is_no_parameter_and_no_state():
    assert set(LIF(6, 8, True, fan_in=5).state_dict()) == set(LIF(6, 8, True).state_dict())


# --- initial values --------------------------------------------------------------------------------------------------


def test_initial_weights_make_v_fluctuate_by_the_threshold():
    # Exponential, no synapse: v responds to a unit current with a (1 - a)^k, of 2-norm sqrt(a / (2 - a)).
    a = 1 - math.exp(-1 / 15)
    layer = LIF(50, 20, dt=1.0, tau_mem=15.0, v_th=0.8, v_leak=0.2, seed=5)
    raw = torch.randn(20, 50, generator=torch.Generator().manual_seed(5)) / math.sqrt(50)
    torch.testing.assert_close(layer.weight, raw * 0.6 / math.sqrt(a / (2 - a)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fan_in", [None, 60])
@pytest.mark.parametrize("tau_syn", [None, 8.0])
def test_white_input_gives_the_stated_fluctuation(tau_syn, fan_in):
    layer = LIF(200, 40, dt=1.0, tau_mem=10.0, tau_syn=tau_syn, v_th=0.5, fan_in=fan_in, seed=1)
    layer.v_th.data.fill_(math.inf)  # free of spikes, with the weights of a threshold of 0.5
    x = torch.randn(400, 50, 200, generator=torch.Generator().manual_seed(2))
    state, size = None, 0.0
    with torch.no_grad():
        for chunk in x.split(100):
            _, state = layer(chunk, state)
            size += float((state.v / 0.5).pow(2).mean()) / 4
    # 4 x 50 x 40 values of v; rows of 200 (60) normal weights: 40 chi-squared(200) vary by 0.016 (0.03) together.
    assert math.sqrt(size) == pytest.approx(1.0, abs=0.08)


def test_recurrent_weights_start_at_half_the_input_scale():
    layer = LIF(300, 300, True, seed=1)
    assert (layer.recurrent_weight.std() / layer.weight.std()).item() == pytest.approx(0.5, abs=0.01)


def test_parameters_are_those_of_the_arguments():
    names = {n: [m for m, _ in layer.named_parameters()] for n, layer in {
        "plain": LIF(2, 3),
        "soft": LIF(2, 3, True, reset="soft", tau_syn=1e-2, refractory=1e-3),
        "alif": ALIF(2, 3),
        "li": LI(2, 3, tau_syn=1e-2),
        "rate": MeanRate(2, 3),
    }.items()}  # fmt: skip
    assert names == {
        "plain": ["weight", "bias", "gain", "tau_mem", "v_th", "v_leak", "v_reset"],
        "soft": ["weight", "recurrent_weight", "bias", "gain", "tau_mem", "tau_syn", "v_th", "v_leak", "refractory"],
        "alif": ["weight", "bias", "gain", "tau_mem", "v_th", "v_leak", "v_reset", "tau_adapt", "adaptation"],
        "li": ["weight", "bias", "gain", "tau_mem", "tau_syn", "v_leak"],
        "rate": ["weight", "bias"],
    }
    layer = LIF(2, 3, True, tau_mem=torch.tensor([0.01, 0.02, 0.03]))
    assert layer.tau_mem.tolist() == pytest.approx([0.01, 0.02, 0.03])
    assert not bool(layer.bias.any())
    trained = [name for name, p in layer.named_parameters() if p.requires_grad]
    assert trained == ["weight", "recurrent_weight", "bias"]


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LIF(0, 3), ConfigError, "inputs: 0 must be at least 1"),
        (lambda: LIF(3, -1), ConfigError, "neurons: -1 must be at least 1"),
        (lambda: LIF(3, 3, fan_in=0), ConfigError, "fan_in: 0 must be at least 1"),
        (lambda: LIF(3, 3, tau_syn=0.0), ConfigError, "tau_syn: 0.0 must be positive seconds (None where it is absent"),
        (lambda: LIF(3, 3, tau_mem=-1.0), ConfigError, "tau_mem: -1.0 must be positive"),
        (lambda: LIF(3, 3, tau_mem=math.nan), ConfigError, "tau_mem: nan must be positive"),
        (lambda: ALIF(3, 3, tau_adapt=0.0), ConfigError, "tau_adapt: 0.0 must be positive"),
        (lambda: LIF(3, 3, v_th=torch.ones(2)), ShapeError, "v_th: shape (2,) must be () or (3,)"),
        (lambda: LIF(3, 3, v_th=torch.ones(1, 3)), ShapeError, "v_th: shape (1, 3) must be () or (3,)"),
        (
            lambda: LIF(3, 3, dt=1e-3, tau_mem=5e-4, integrator="euler"),
            ConfigError,
            "tau_mem: 0.0005 s is below dt = 0.001 s; euler needs dt/tau <= 1",
        ),
        (lambda: LI(3, 3, dt=1e-3, tau_syn=5e-4, integrator="euler"), ConfigError, "tau_syn: 0.0005 s is below dt"),
        (lambda: LIF(3, 3, v_th=math.nan), ConfigError, "v_th: nan must be a number, or one for each neuron"),
        (lambda: LIF(3, 3, integrator="rk4"), ConfigError, "integrator: unknown 'rk4'"),
        (lambda: LIF(3, 3, refractory=-1.0), ConfigError, "refractory: -1.0 must be 0 or positive seconds"),
        (lambda: LI(3, 3, decode="sum"), ConfigError, "decode: unknown 'sum'; allowed: last, max, mean"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error) as found:
        make()
    assert message in str(found.value)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (5, 2, 4), (0, 2, 3), (5, 0, 3), (1, 1, 5, 2, 3)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"x: shape .* must be \[T, B, 3\] or \[K, T, B, 3\]"):
        LIF(3, 4)(torch.zeros(shape))


def test_instances_must_agree():
    layer = LIF(3, 4, True)
    stack = {name: p.detach().expand(2, *p.shape) for name, p in layer.nominal().items()}
    with pytest.raises(ShapeError, match="parameters disagree on their number"):
        layer.run({**stack, "bias": torch.zeros(3, 4)}, torch.zeros(5, 2, 3))
    with pytest.raises(ShapeError, match=r"bias: shape .* must have 1 axes, or one more"):
        layer.run({**stack, "bias": torch.zeros(2, 1, 4)}, torch.zeros(5, 2, 3))
    with pytest.raises(ShapeError, match="x: 3 instances must be 2"):
        layer.run(stack, torch.zeros(3, 5, 2, 3))


def test_a_layer_is_a_module():
    assert issubclass(Layer, torch.nn.Module)
    layer = LIF(3, 4, True, fan_in=2)
    assert torch.equal(layer.to(torch.float64).connected, LIF(3, 4, True, fan_in=2).connected)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: LIF(2, 3, v_thresh=2.0), r"LIF keyword: unknown 'v_thresh' \(did you mean 'v_th'\?\)"),
        (lambda: LIF(2, 3, adaptation=1.0), "LIF keyword: unknown 'adaptation'"),
        (lambda: ALIF(2, 3, tau_adpt=0.1), r"ALIF keyword: unknown 'tau_adpt' \(did you mean 'tau_adapt'\?\)"),
        (lambda: Network.recurrent(2, 3, 2, taumem=0.1), r"unknown 'taumem' \(did you mean 'tau_mem'\?\)"),
    ],
)
def test_a_mistyped_keyword_is_an_error_and_no_parameter(make, line):
    with pytest.raises(ConfigError, match=line):
        make()
