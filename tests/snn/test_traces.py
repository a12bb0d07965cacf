"""Potentials and running answers: against hand-computed numbers, an eager run, and runs of shorter samples."""

import itertools

import pytest
import torch

from snnrobust.hardware.events import Draws
from snnrobust.hardware.routes import routes_of
from snnrobust.hardware.schema.digital import Events
from snnrobust.snn import ALIF, LI, LIF, MeanRate, Network
from snnrobust.snn.reads import Reads
from snnrobust.snn.traces import of_layer, potentials, running_logits, tonic, trace

KINDS = {
    "hard": {"reset": "hard", "v_reset": -0.1, "tau_syn": 3e-3},
    "soft": {"reset": "soft"},
    "refractory": {"refractory": 3e-3, "v_reset": 0.9},
    "adaptive": {"adaptation": 0.3, "tau_adapt": 5e-3, "tau_syn": 2e-3},
}
INSTANCES, STEPS, BATCH = 3, 30, 4


def network(kind, *, readout="li", decode="mean", neurons=LIF):
    make = ALIF if kind == "adaptive" else neurons
    stack = [make(i, 6, True, tau_mem=4e-3, v_leak=0.05, seed=n, **KINDS[kind]) for n, i in enumerate((3, 6))]
    last = LI(6, 2, tau_mem=4e-3, decode=decode, seed=9) if readout == "li" else MeanRate(6, 2, seed=9)
    return Network([*stack, last])


def chips(net):
    """Parameters of some instances, each element moved by up to 20 %."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: p.detach() * (1 + 0.4 * (torch.rand(INSTANCES, *p.shape, generator=generator) - 0.5))
        for name, p in net.named_parameters()
    }


def inputs(seed=0):
    return 4 * torch.rand(STEPS, BATCH, 3, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_potentials_are_those_that_make_the_spikes(kind):
    net, x = network(kind), inputs()
    seen = trace(net, chips(net), x)
    for name, margins in seen.margins.items():
        spikes = seen.spikes[name]
        assert margins.shape == spikes.shape == (INSTANCES, STEPS, BATCH, 6)
        assert spikes.any()
        assert not spikes.all()
        over = margins > 0
        if kind == "refractory":  # above the threshold, and not allowed
            assert (over >= spikes.bool()).all()
            assert (over & ~spikes.bool()).any()
        else:
            assert torch.equal(over, spikes.bool())


@pytest.mark.parametrize("kind", KINDS)
def test_recording_changes_no_answer_and_no_spike(kind):
    net, x = network(kind), inputs()
    params, lengths = chips(net), torch.tensor([30, 7, 20, 1])
    seen = trace(net, params, x, lengths)
    assert torch.equal(seen.logits, net.run(params, x, lengths))
    assert all(torch.equal(s, seen.spikes[n]) for n, s in net.spikes(params, x).items())
    plain = trace(net, net.nominal(), x)
    assert plain.logits.shape == (BATCH, 2)
    assert plain.running.shape == (STEPS, BATCH, 2)


def test_a_potential_by_hand():
    """a_mem = 0.5, no synapse, v from 0: u = 1, 1, 1, 0 with threshold 0.7, and a hard reset to 0.1."""
    layer = LIF(1, 1, tau_mem=2e-3, dt=1e-3, integrator="euler", v_th=0.7, v_reset=0.1)
    values = {"weight": torch.ones(1, 1), "v_th": torch.tensor([0.7]), "v_reset": torch.tensor([0.1])}
    params = {name: values.get(name, p.detach()).double() for name, p in layer.nominal().items()}
    x = torch.tensor([1.0, 1.0, 1.0, 0.0]).double().reshape(4, 1, 1)
    spikes, _ = layer.run(params, x)
    assert spikes.flatten().tolist() == [0, 1, 0, 0]  # v = 0.5, 0.75 -> 0.1, 0.55, 0.275
    found = potentials(layer, params, x, spikes).flatten()
    torch.testing.assert_close(found, torch.tensor([0.5, 0.75, 0.55, 0.275]).double() - 0.7)


@pytest.mark.parametrize(("readout", "decode"), [("li", "mean"), ("li", "max"), ("li", "last"), ("rate", "")])
def test_running_answers_are_those_of_samples_that_end_there(readout, decode):
    net, x = network("hard", readout=readout, decode=decode or "mean"), inputs()
    params = chips(net)
    seen = trace(net, params, x)
    for t in (1, 7, STEPS):
        ended = net.run(params, x, torch.full((BATCH,), t))
        torch.testing.assert_close(seen.running[:, t - 1].float(), ended, rtol=1e-5, atol=1e-6)


def test_a_running_mean_by_hand():
    readout = MeanRate(1, 1)
    params = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([0.5])}
    spikes = torch.tensor([0.0, 1.0, 1.0, 0.0]).reshape(4, 1, 1)
    found = running_logits(readout, params, spikes).flatten()
    torch.testing.assert_close(found, 0.5 + 2 * torch.tensor([0, 1 / 2, 2 / 3, 1 / 2]))


def test_reads_of_arrays_enter_potentials():
    net, x = network("hard"), (inputs() > 1).float()
    how = {
        name: Reads(keys=(5, 6, 7), noise=0.1, step=0.05, bound=4.0, rows=4) for name in ("layer0", "layer1", "readout")
    }
    seen = trace(net, chips(net), x, reads=how)
    quiet = trace(net, chips(net), x)
    assert not torch.equal(seen.spikes["layer0"], quiet.spikes["layer0"])
    for name, margins in seen.margins.items():
        assert torch.equal(margins > 0, seen.spikes[name].bool())
    last = net.run(chips(net), x, reads=how)
    torch.testing.assert_close(seen.running[:, -1].float(), last, rtol=1e-5, atol=1e-5)


def test_spikes_that_are_lost_or_late_enter_potentials():
    net, x = network("hard"), inputs()
    draws = Draws(3, "test", range(INSTANCES))
    ways = routes_of(net, Events(loss=0.2, jitter_std=1e-3, evidence="assumption"), draws, step=1e-3)
    seen = trace(net, chips(net), x, routes=ways)
    for name, margins in seen.margins.items():
        assert torch.equal(margins > 0, seen.spikes[name].bool())
        last = torch.cat([torch.zeros_like(seen.spikes[name][:, :1]), seen.spikes[name][:, :-1]], 1)
        assert not torch.equal(seen.arrived[f"{name}.recurrent_weight"], last)
    assert torch.equal(seen.logits, net.run(chips(net), x, routes=ways))
    torch.testing.assert_close(seen.running[:, -1].float(), seen.logits, rtol=1e-5, atol=1e-5)


class Odd(LIF):
    """Neurons that spike at every second step, whatever they get."""

    kind = "odd"

    def start(self, c, like):
        return super().start(c, like)._replace(wait=torch.zeros_like(like))

    def step(self, u, state, c):
        return state._replace(o=1 - state.o)


def test_neurons_of_ones_own_have_spikes_and_no_potentials():
    net = network("hard", neurons=Odd)
    seen = trace(net, net.nominal(), inputs())
    assert seen.margins == {}
    assert seen.spikes["layer0"].mean() == 0.5
    assert tonic(net.spiking["layer0"], of_layer(net.nominal(), "layer0"), 4).all()


@pytest.mark.parametrize("instances", [False, True])
def test_tonic_neurons_by_hand(instances):
    """No synapse: rest v = v_leak + bias; above the threshold there a neuron spikes on its own.

    Neuron 0 rests below; 1 is driven by its bias, 2 by its leak, 3 by a reset above its threshold, 4 gets there late.
    """
    layer = LIF(2, 5, True, tau_mem=5e-3, dt=1e-3, v_th=1.0)
    values = {
        "bias": torch.tensor([0.9, 1.5, 0.0, 0.0, 1.01]),
        "v_leak": torch.tensor([0.0, 0.0, 1.2, 0.0, 0.0]),
        "v_reset": torch.tensor([0.0, 0.0, 0.0, 1.5, 0.0]),
    }
    params = {name: p.detach().double() for name, p in layer.nominal().items()} | values
    params = {name: p.double() for name, p in params.items()}
    if instances:
        params |= {name: torch.stack([p.double(), p.double()]) for name, p in values.items()}
    steps = 10  # 1.01 (1 - exp(-10 / 5)) = 0.87 < 1
    found = tonic(layer, params, steps)
    assert found.tolist() == ([[False, True, True, True, False]] * 2 if instances else [False, True, True, True, False])
    assert tonic(layer, params, 40)[..., 4].all()


def test_dead_time_keeps_a_neuron_that_is_reset_high_quiet():
    """v = 1.5 exp(-n/5) is below 1 from the third step on: a dead time of 3 steps outlasts it, one of 1 does not."""
    for dead, expected in ((3e-3, False), (1e-3, True)):
        layer = LIF(1, 1, tau_mem=5e-3, dt=1e-3, v_th=1.0, v_reset=1.5, refractory=dead)
        assert tonic(layer, of_layer({"l." + n: p for n, p in layer.nominal().items()}, "l"), 20).tolist() == [expected]


def test_soft_resets_alone_make_no_neuron_tonic():
    layer = LIF(1, 2, tau_mem=5e-3, dt=1e-3, v_th=1.0, reset="soft")
    params = {name: p.detach().double() for name, p in layer.nominal().items()}
    params["v_th"] = torch.tensor([1.0, -0.5]).double()
    assert tonic(layer, params, 20).tolist() == [False, True]


def test_recorded_spikes_do_not_depend_on_how_chips_are_split():
    net, x = network("hard"), inputs()
    params = chips(net)
    whole = trace(net, params, x)
    for k, b in itertools.product(range(INSTANCES), range(BATCH)):
        one = trace(net, {n: p[k : k + 1] for n, p in params.items()}, x[:, b : b + 1])
        assert torch.equal(one.spikes["layer1"][0, :, 0], whole.spikes["layer1"][k, :, b])
        torch.testing.assert_close(one.margins["layer1"][0, :, 0], whole.margins["layer1"][k, :, b])
