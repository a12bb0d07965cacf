"""The neuron equations: traces by hand, and gradients against an explicit forward recursion.

All traces have a decay of exactly one half a step, which is dt/tau = 1/2 for Euler and tau = dt/ln 2 for the
exponential integrator, so that every number is a short binary fraction.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.snn import ALIF, LI, LIF, Dynamics, Surrogate

HALF = {"euler": 2.0, "exponential": 1 / math.log(2)}
INTEGRATORS = pytest.mark.parametrize("integrator", HALF)


def neuron(kind, integrator="euler", *, weight=1.0, recurrent_weight=None, bias=0.0, gain=1.0, **values):
    """One neuron with a decay of 1/2 everywhere and dt = 1, float64."""
    for name in ("tau_mem", "tau_syn", "tau_adapt"):
        if values.get(name) == "half":
            values[name] = HALF[integrator]
    if recurrent_weight is not None:
        values["recurrent"] = True
    layer = kind(1, 1, dt=1.0, tau_mem=HALF[integrator], integrator=integrator, **values).double()
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
        layer.gain.fill_(gain)
        if recurrent_weight is not None:
            layer.recurrent_weight.fill_(recurrent_weight)
        for name, p in layer.named_parameters():
            if name.startswith("tau_"):
                p.fill_(HALF[integrator])  # in float64
    return layer


def trace(layer, inputs, *variables):
    """The named state variables after each step, as lists of numbers."""
    state, rows = None, []
    for value in inputs:
        _, state = layer(torch.full((1, 1, 1), value, dtype=torch.float64), state)
        rows.append([getattr(state, name).item() for name in variables])
    return [pytest.approx(column, abs=1e-14) for column in zip(*rows, strict=True)]


U = [1.5, 1.5, 0.0, 3.0, 1.0, 0.0]


@INTEGRATORS
def test_hard_reset(integrator):
    layer = neuron(LIF, integrator, v_leak=0.25, v_reset=-0.5)
    v, o = trace(layer, U, "v", "o")
    # Step 1 ends exactly at the threshold, which is no spike; step 2 reaches 1.375, step 4 1.5625.
    assert v == [1.0, -0.5, -0.125, -0.5, 0.375, 0.3125]
    assert o == [0, 1, 0, 1, 0, 0]


@INTEGRATORS
def test_soft_reset_takes_the_threshold_off_one_step_later(integrator):
    v, o = trace(neuron(LIF, integrator, reset="soft"), U, "v", "o")
    assert v == [0.75, 1.125, -0.4375, 1.28125, 0.140625, 0.0703125]
    assert o == [0, 1, 0, 1, 0, 0]


@INTEGRATORS
def test_synapse(integrator):
    layer = neuron(LIF, integrator, tau_syn="half")
    v, i, o = trace(layer, [1.0, 1.0, 0.0, 0.0, 2.0, 0.0], "v", "i", "o")
    assert i == [0.5, 0.75, 0.375, 0.1875, 1.09375, 0.546875]
    assert v == [0.5, 1.0, 0.875, 0.625, 0.0, 0.546875]
    assert o == [0, 0, 0, 0, 1, 0]


def test_no_synapse_has_no_current():
    _, state = neuron(LIF)(torch.ones(1, 1, 1, dtype=torch.float64))
    assert (state.i, state.b, state.wait) == (None, None, None)


@pytest.mark.parametrize(
    ("refractory", "v", "o"),
    [
        (0.0, [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]),
        (0.4, [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]),
        (1.0, [0, 2, 0, 2, 0, 2], [1, 0, 1, 0, 1, 0]),
        (1.4, [0, 2, 0, 2, 0, 2], [1, 0, 1, 0, 1, 0]),
        (1.6, [0, 2, 3, 0, 2, 3], [1, 0, 0, 1, 0, 0]),
        (2.0, [0, 2, 3, 0, 2, 3], [1, 0, 0, 1, 0, 0]),
    ],
)
@INTEGRATORS
def test_refractory_neurons_integrate_without_spiking(integrator, refractory, v, o):
    found_v, found_o = trace(neuron(LIF, integrator, refractory=refractory), [4.0] * 6, "v", "o")
    assert found_v == v
    assert found_o == o


def test_refractory_without_a_spike_never_counts_down_to_a_block():
    _, o = trace(neuron(LIF, refractory=2.0), [0.0, 0.0, 4.0, 4.0, 4.0, 4.0], "o", "o")
    assert o == [0, 0, 1, 0, 0, 1]


@INTEGRATORS
def test_adaptation_with_hard_reset(integrator):
    layer = neuron(ALIF, integrator, tau_adapt="half", adaptation=2.0)
    v, b, o = trace(layer, [4.0, 4.0, 4.0, 4.0, 4.0, 0.0], "v", "b", "o")
    # Thresholds 1, 2 (v = 2 is no spike), 1.5, 2.25, 1.625, 2.3125.
    assert b == [0.0, 0.5, 0.25, 0.625, 0.3125, 0.65625]
    assert v == [0, 2, 0, 2, 0, 0]
    assert o == [1, 0, 1, 0, 1, 0]


@INTEGRATORS
def test_adaptation_with_soft_reset_takes_the_jumped_threshold_off(integrator):
    layer = neuron(ALIF, integrator, tau_adapt="half", adaptation=2.0, reset="soft")
    v, b, o = trace(layer, [4.0, 4.0, 4.0, 4.0, 4.0, 0.0], "v", "b", "o")
    assert b == [0.0, 0.5, 0.25, 0.625, 0.3125, 0.65625]
    assert v == [2.0, 1.0, 2.5, 1.0, 2.5, -1.0625]
    assert o == [1, 0, 1, 0, 1, 0]


@INTEGRATORS
def test_gain_multiplies_both_currents_and_not_the_bias(integrator):
    layer = neuron(LIF, integrator, weight=2.0, recurrent_weight=3.0, bias=0.25, gain=0.5)
    v, o = trace(layer, [3.5, 0.0, 0.0, 1.0, 2.0, 0.0], "v", "o")
    # u = 3.75, 1.75 (the neuron excites itself), 0.25, 1.25, 2.25, 1.75.
    assert v == [0, 0.875, 0.5625, 0.90625, 0, 0.875]
    assert o == [1, 0, 0, 0, 1, 0]


@INTEGRATORS
def test_readout_integrates_without_spikes(integrator):
    v, i = trace(neuron(LI, integrator, tau_syn="half", v_leak=0.5), [1.0, 1.0, 0.0, 0.0, 6.0, 0.0], "v", "i")
    assert i == [0.5, 0.75, 0.375, 0.1875, 3.09375, 1.546875]
    assert v == [1.0, 1.5, 1.375, 1.125, 3.90625, 3.75]


def test_integrators_differ_where_the_step_is_long():
    # tau = 3 steps, u = 3 at v = 0: dt/tau = 1/3, and 1 - exp(-1/3).
    for integrator, v in (("euler", 1.0), ("exponential", 3 * (1 - math.exp(-1 / 3)))):
        layer = LIF(1, 1, dt=1.0, tau_mem=3.0, v_th=9.0, integrator=integrator).double()
        layer.weight.data.fill_(1.0)
        layer.tau_mem.data.fill_(3.0)
        assert trace(layer, [3.0], "v") == [[v]]


def test_start_is_the_leak_of_the_instance_and_detached():
    layer = neuron(LIF, v_leak=0.25)
    params = {**layer.nominal(), "v_leak": torch.tensor([[0.25], [-0.5]], dtype=torch.float64, requires_grad=True)}
    _, state = layer.run(params, torch.zeros(1, 1, 1, dtype=torch.float64))
    assert state.v.flatten().tolist() == [0.25, -0.5]
    # v = v0 + a (v_leak - v0) with v0 held: the derivative is a, not 1.
    (g,) = torch.autograd.grad(state.v.sum(), params["v_leak"])
    assert g.flatten().tolist() == [0.5, 0.5]


def test_decay_is_finite_and_positive_for_any_time_constant():
    for integrator in HALF:
        dynamics = Dynamics(dt=1e-3, integrator=integrator)
        tau = torch.tensor([0.0, -2e-3, 1e-9, 2e-3, 1e9], requires_grad=True)
        a = dynamics.decay(tau)
        assert bool(((a > 0) & (a <= 1)).all())
        assert a[1].item() == a[3].item()
        assert bool(torch.autograd.grad(a.sum(), tau)[0].isfinite().all())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"integrator": "Euler"}, "integrator: unknown 'Euler' (did you mean 'euler'?); allowed: euler, exponential"),
        ({"reset": "none"}, "reset: unknown 'none'"),
        ({"dt": 0.0}, "dt: 0.0 must be a positive number of seconds"),
        ({"dt": math.nan}, "dt: nan must be a positive number of seconds"),
    ],
)
def test_errors(values, message):
    with pytest.raises(ConfigError) as error:
        Dynamics(**values)
    assert message in str(error.value)


# --- gradients -------------------------------------------------------------------------------------------------------

START = {
    "weight": 0.9,
    "recurrent_weight": -0.7,
    "bias": 0.2,
    "gain": 1.1,
    "v_th": 0.5,
    "v_leak": 0.05,
    "v_reset": -0.1,
    "tau_mem": 4.0,
    "tau_syn": 3.0,
    "tau_adapt": 6.0,
    "adaptation": 0.8,
}


def tangent(values, moved, inputs, cotangent, *, reset, detach, slope):
    """d sum(cotangent o) / d `moved` of one neuron, carried forward step by step in plain numbers."""
    p, d = values, {name: float(name == moved) for name in values}
    a, da = {}, {}
    for name in ("mem", "syn", "adapt"):
        tau = p[f"tau_{name}"]
        a[name] = 1 - math.exp(-1 / tau)
        da[name] = -math.exp(-1 / tau) / tau**2 * d[f"tau_{name}"]
    v, i, b, o = p["v_leak"], 0.0, 0.0, 0.0
    dv = di = db = do = total = 0.0
    spikes = []
    for x, c in zip(inputs, cotangent, strict=True):
        s = p["weight"] * x + p["recurrent_weight"] * o
        ds = d["weight"] * x + d["recurrent_weight"] * o + p["recurrent_weight"] * do
        u, du = p["gain"] * s + p["bias"], d["gain"] * s + p["gain"] * ds + d["bias"]
        b, db = b + a["adapt"] * (o - b), db + da["adapt"] * (o - b) + a["adapt"] * (do - db)
        th = p["v_th"] + p["adaptation"] * b
        dth = d["v_th"] + d["adaptation"] * b + p["adaptation"] * db
        i, di = i + u, di + du
        force = p["v_leak"] - v + i
        v, dv = v + a["mem"] * force, dv + da["mem"] * force + a["mem"] * (d["v_leak"] - dv + di)
        if reset == "soft":
            v, dv = v - th * o, dv - dth * o - (0.0 if detach else th * do)
        i, di = (1 - a["syn"]) * i, (1 - a["syn"]) * di - da["syn"] * i
        o = float(v > th)
        do = (dv - dth) / (1 + slope * abs(v - th)) ** 2
        if reset == "hard":
            through = 0.0 if detach else (p["v_reset"] - v) * do
            v, dv = (p["v_reset"], d["v_reset"] + through) if o else (v, dv + through)
        spikes.append(o)
        total += c * do
    return spikes, total


@pytest.mark.parametrize(("reset", "detach"), list(itertools.product(["hard", "soft"], [True, False])))
def test_gradients_equal_the_explicit_recursion(reset, detach):
    generator = torch.Generator().manual_seed(4)
    x = 2 * torch.rand(40, 1, 1, dtype=torch.float64, generator=generator)
    cotangent = torch.randn(40, 1, 1, dtype=torch.float64, generator=generator)
    layer = ALIF(
        1,
        1,
        True,
        dt=1.0,
        tau_syn=1.0,
        reset=reset,
        detach_reset=detach,
        surrogate=Surrogate(shape="superspike", slope=2.0),
    ).double()
    names = [name for name, _ in layer.named_parameters()]
    leaves = {n: torch.full_like(layer.nominal()[n], START[n]).requires_grad_() for n in names}
    spikes, _ = layer.run(leaves, x)
    found = dict(zip(names, torch.autograd.grad((spikes * cotangent).sum(), list(leaves.values())), strict=True))
    numbers = [t.flatten().tolist() for t in (x, cotangent)]
    assert 5 < spikes.sum().item() < 35
    for name in names:
        events, expected = tangent(START, name, *numbers, reset=reset, detach=detach, slope=2.0)
        assert spikes.flatten().tolist() == events
        assert expected != 0
        assert float(found[name]) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_detaching_the_reset_changes_gradients_and_keeps_those_of_its_potentials():
    found = {}
    for reset, detach in itertools.product(["hard", "soft"], [True, False]):
        layer = neuron(LIF, reset=reset, detach_reset=detach, recurrent_weight=0.5)
        for p in layer.parameters():
            p.requires_grad_()
        spikes, _ = layer(torch.tensor(U, dtype=torch.float64).view(-1, 1, 1))
        spikes.sum().backward()
        found[reset, detach] = layer
    for (reset, detach), layer in found.items():
        assert float(layer.v_th.grad) < 0
        assert reset == "soft" or float(layer.v_reset.grad) > 0
        assert detach or float(layer.weight.grad) != float(found[reset, True].weight.grad)
