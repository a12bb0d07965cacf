"""Events of neurons' spikes: hand-made traces, their laws, what they are keyed by, and networks of chips with them.

Statistical tests have fixed seeds and an error rate of 1e-4 at most.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_builder import profile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.hardware import Chip, Module, deployment
from snnrobust.hardware.events import Draws, received
from snnrobust.hardware.randomness import key
from snnrobust.hardware.routes import EventRoute, routed
from snnrobust.hardware.schema.digital import Events
from snnrobust.snn import LI, LIF, MeanRate, Network
from snnrobust.snn.routes import along

STEP = 1e-3
WEIGHTS = "layer1.weight"
ALL = Events(loss=0.2, jitter_std=1.5e-3, delay_std=1e-3, background_rate=30.0)
QUICK = settings(max_examples=25, deadline=None, derandomize=True)  # the first example compiles


def route(events: Events, chips=(0,), *, seed=1, trial=0, target=WEIGHTS, step=STEP, first=0) -> EventRoute:
    return EventRoute(events, Draws(seed, "test", chips, trial, target), step, first)


def spikes(*shape: int, rate: float = 0.2) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < rate).double()


# --- by hand -------------------------------------------------------------------------------------------


class Fabric:
    """Lines to weights of one name on one chip, spike by spike, from numpy's generator and scipy's quantiles."""

    def __init__(self, events: Events, target: str, chip: int, *, neurons: int, sample: int, seed=1, trial=0) -> None:
        self.events, self.neurons, self.sample = events, neurons, sample
        self.keys = {
            event: key(seed, "test", target, event, "per_spike", chip, trial)
            for event in ("loss", "jitter", "background")
        }
        line = key(seed, "test", target, "delay", "per_line", chip)
        self.delays = [stats.norm.ppf(self._word(line, 0, j)) for j in range(neurons)]

    def _word(self, own: int, sample: int, element: int) -> float:
        counter = (sample << 32) + element // 4
        before = np.random.Philox(key=own, counter=(counter - 1) % 2**256)  # numpy increments before each block
        return (int(before.random_raw(4)[element % 4] >> np.uint64(12)) + 0.5) * 2.0**-52

    def arrival(self, j: int, t: int) -> int | None:
        """When the spike of neuron j that is due in step t arrives; None if it is lost."""
        u = {event: self._word(own, self.sample, t * self.neurons + j) for event, own in self.keys.items()}
        if u["loss"] < self.events.loss:
            return None
        late = self.events.delay_std * self.delays[j] + self.events.jitter_std * stats.norm.ppf(u["jitter"])
        return t + max(0, round(late / STEP))

    def made_up(self, j: int, t: int) -> bool:
        u = self._word(self.keys["background"], self.sample, t * self.neurons + j)
        return bool(u < -np.expm1(-self.events.background_rate * STEP))


def ring(neurons: int = 3) -> Network:
    """Neurons without memory, o_t = [u_t > 1], of which each excites the next one, and the first is an input's."""
    layer = LIF(neurons, neurons, True, dt=STEP, tau_mem=STEP, integrator="euler")
    readout = LI(neurons, neurons, dt=STEP, tau_mem=STEP, integrator="euler", decode="last")
    with torch.no_grad():
        layer.weight.copy_(2 * torch.eye(neurons))
        layer.recurrent_weight.copy_(2 * torch.roll(torch.eye(neurons), 1, 0))
        readout.weight.copy_(torch.eye(neurons))
    return Network([layer, readout]).double()


@pytest.mark.parametrize(
    "events",
    [
        Events(loss=0.3),
        Events(jitter_std=2e-3),
        Events(delay_std=2e-3),
        Events(background_rate=40.0),
        Events(loss=0.2, jitter_std=1e-3, delay_std=2e-3, background_rate=20.0),
    ],
)
def test_spikes_go_round_a_ring_as_the_equations_say(events):
    """A transcription of the docstring, spike by spike, in place of the time loop."""
    net, steps, chips, first = ring(), 40, [0, 3], 5
    x = torch.zeros(steps, 2, 3, dtype=torch.float64)
    x[0, 0, 0] = x[2, 1, 1] = x[20, 1, 0] = 1
    ways = {name: route(events, chips, target=name, first=first) for name in net.routed_weights()}
    found = net.record(net.nominal(), x, routes=ways)
    seen = 0
    for k, chip in enumerate(chips):
        for b in range(2):
            own = {name: Fabric(events, name, chip, neurons=3, sample=first + b) for name in net.routed_weights()}
            arrives = {name: np.zeros((steps + 99, 3), dtype=bool) for name in own}
            for t in range(steps):
                now = arrives["layer0.recurrent_weight"][t] | [
                    own["layer0.recurrent_weight"].made_up(j, t) for j in range(3)
                ]
                expected = x[t, b].bool().numpy() | np.roll(now, 1)
                assert np.array_equal(found.spikes["layer0"][k, t, b].bool().numpy(), expected)
                for j in np.flatnonzero(expected):
                    for name, due in (("layer0.recurrent_weight", t + 1), ("readout.weight", t)):
                        at = own[name].arrival(int(j), due)
                        if at is not None:
                            arrives[name][min(at, steps + 98), j] = True
                seen += expected.sum()
            out = arrives["readout.weight"][steps - 1] | [own["readout.weight"].made_up(j, steps - 1) for j in range(3)]
            assert np.allclose(found.logits[k, b].detach(), out, rtol=0, atol=1e-6)
    assert seen > 12  # more than twice as many as the input's six


def test_a_late_spike_makes_the_next_neuron_late():
    """One spike, one line whose delay is known: neuron 1 spikes as many steps after neuron 0 as the line takes."""
    events = Events(delay_std=3e-3)
    net = ring(2)
    with torch.no_grad():
        net.get_parameter("layer0.recurrent_weight").copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    x = torch.zeros(30, 1, 2, dtype=torch.float64)
    x[4, 0, 0] = 1
    own = route(events, range(200), target="layer0.recurrent_weight")
    given = net.record(net.nominal(), x, routes={"layer0.recurrent_weight": own}).spikes["layer0"]
    delay = (3 * own.draws.delays(2)[:, 0]).round().clamp_min(0)
    assert torch.equal(given[..., 0, 1].argmax(1), 5 + delay.long())
    assert bool((given[..., 0].sum(1) == torch.tensor([1, 1])).all())
    assert 0.4 < (delay == 0).double().mean() < 0.75  # Phi(1/6) = 0.57 are on time


def test_losing_everything_is_a_network_without_these_weights():
    net = Network.recurrent(4, [6, 5], 3, dt=STEP, seed=3).double()
    with torch.no_grad():
        for name in ("layer0.weight", "layer1.weight"):
            net.get_parameter(name).mul_(4)
    x, theta = spikes(25, 6, 4, rate=0.4), net.nominal()
    assert net.routed_weights() == (
        "layer0.recurrent_weight",
        "layer1.weight",
        "layer1.recurrent_weight",
        "readout.weight",
    )
    for name in net.routed_weights():
        found = net.record(theta, x, routes={name: route(Events(loss=1.0), target=name)})
        without = net.record({**theta, name: torch.zeros_like(theta[name])}, x)
        assert torch.allclose(found.logits[0], without.logits, rtol=0, atol=1e-12)
        for layer, own in found.spikes.items():  # without an instance axis before the first route
            assert torch.equal(own[0] if own.ndim == 4 else own, without.spikes[layer])
        assert not torch.equal(found.logits[0], net(x))


# --- laws ----------------------------------------------------------------------------------------------


def binomial(count: float, n: int, p: float) -> None:
    assert stats.binomtest(int(count), n, p).pvalue > 1e-4


@pytest.mark.parametrize("loss", [0.01, 0.3])
def test_spikes_are_lost_with_their_probability_everywhere(loss):
    x = spikes(20, 15, 8)
    lost = x - along(route(Events(loss=loss), range(300)), x)
    assert bool((lost >= 0).all())
    assert bool((lost <= x).all())
    binomial(lost.sum(), 300 * int(x.sum()), loss)
    for axis, size in enumerate(x.shape):  # no step, sample or line loses more than others
        counts = lost.sum(0).sum([a for a in range(3) if a != axis])
        trials = 300 * x.sum([a for a in range(3) if a != axis])
        chi2 = ((counts - trials * loss) ** 2 / (trials * loss * (1 - loss))).sum()
        assert stats.chi2.sf(float(chi2), size) > 1e-4


@pytest.mark.parametrize(("jitter", "delay"), [(1e-3, 0.0), (0.0, 1.5e-3), (0.6e-3, 0.8e-3)])
def test_spikes_are_late_by_half_a_normal_rounded_to_steps(jitter, delay):
    x = torch.zeros(60, 1 if delay else 40, 25)
    x[7] = 1
    chips = 4000 if delay else 10  # a delay is a line's own
    arrived = along(route(Events(jitter_std=jitter, delay_std=delay), range(chips)), x)
    assert bool((arrived.sum(1) == 1).all())
    late = (arrived.argmax(1) - 7).numpy()
    assert late.min() == 0
    sigma, values = np.hypot(jitter, delay) / STEP, np.arange(1, 30)
    chances = np.diff(stats.norm.cdf(np.append(values - 0.5, 29.5) / sigma))
    chances = np.append(stats.norm.cdf(0.5 / sigma), chances)
    counts, expected = np.bincount(late.ravel(), minlength=30), late.size * chances
    rare = expected < 10
    pooled = [np.append(v[~rare], v[rare].sum()) for v in (counts, expected)]
    pooled[1] *= pooled[0].sum() / pooled[1].sum()  # the tail that no table has
    assert stats.chisquare(*pooled).pvalue > 1e-4


def test_background_comes_from_nowhere_and_is_not_lost():
    silence = torch.zeros(20, 15, 8)
    arrived = along(route(Events(background_rate=60.0), range(200)), silence)
    binomial(arrived.sum(), arrived.numel(), -np.expm1(-0.06))
    x = spikes(20, 15, 8).float()
    both = along(route(Events(background_rate=60.0, loss=0.5), range(200)), x)
    assert torch.equal(both, torch.maximum(arrived, along(route(Events(loss=0.5), range(200)), x)))


# --- what events depend on -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_events_change_no_bit(dtype):
    x = spikes(12, 5, 3).to(dtype)
    for events in (Events(), Events(jitter_std=1e-12, delay_std=1e-12, loss=1e-300, background_rate=1e-300)):
        arrived = along(route(events, [4, 9]), x)
        assert arrived.dtype == dtype
        assert all(torch.equal(own, x) for own in arrived)


@given(split=st.integers(0, 9), chips=st.lists(st.integers(0, 50), min_size=1, max_size=4), padding=st.integers(0, 5))
@QUICK
def test_events_depend_on_no_batch_block_or_padding(split, chips, padding):
    x = spikes(12, 9, 5)
    many = along(route(ALL, range(51), first=7), x)
    padded = torch.cat([x, torch.zeros(padding, 9, 5)])
    parts = [
        along(route(ALL, chips, first=7 + start), padded[:, start:stop])
        for start, stop in ((0, split), (split, 9))
        if stop > start
    ]
    assert torch.equal(torch.cat(parts, dim=2)[:, :12], many[chips])


def test_a_pass_leaves_nothing_behind():
    own, x = route(ALL, [0, 1]), spikes(12, 9, 5)
    assert torch.equal(along(own, x), along(own, x))
    assert torch.equal(along(own, x), along(own, x.expand(2, 12, 9, 5)))
    own.start(12, 9, 5)(x[0], 0)  # one that is not taken to its end
    assert torch.equal(along(own, x), along(route(ALL, [0, 1]), x))


def test_chips_trials_samples_seeds_and_weights_differ():
    x, events = torch.ones(20, 1, 10), Events(loss=0.5)
    found = [route(events, [0, 1]), route(events, trial=1), route(events, seed=2), route(events, first=1)]
    found += [route(events, target="layer1.recurrent_weight"), route(events, target="inputs")]
    rows = [tuple(row) for own in found for row in along(own, x).flatten(1).tolist()]
    assert len(set(rows)) == 7
    assert rows[-1] == tuple(received(x, events, Draws(1, "test", [0])).flatten().tolist())  # one law of loss


@given(low=st.floats(0, 1), high=st.floats(0, 1))
@QUICK
def test_a_higher_loss_keeps_the_losses_of_a_lower_one(low, high):
    x, (low, high) = spikes(10, 4, 3), sorted((low, high))
    assert bool((along(route(Events(loss=high)), x) <= along(route(Events(loss=low)), x)).all())


# --- networks ------------------------------------------------------------------------------------------

MISMATCH = (
    "parameters: {weight: {distribution: lognormal, granularity: per_synapse, components: {device: {cv: 0.1}}}}\n"
)
EVENTS = "events: {loss: 0.2, jitter_std: 1.5e-3, delay_std: 1.0e-3, background_rate: 30.0}"
STACK = "layer0.recurrent_weight, layer1.weight, layer1.recurrent_weight, readout.weight"


@pytest.fixture
def net() -> Network:
    net = Network.recurrent(4, [6, 5], 3, dt=STEP, tau_syn=2e-3, refractory=2e-3, seed=3)
    with torch.no_grad():
        for name in ("layer0.weight", "layer1.weight"):
            net.get_parameter(name).mul_(4)
    return net.double()


@pytest.fixture
def x() -> torch.Tensor:
    return spikes(25, 6, 4, rate=0.4)


def deployed(net, body: str = MISMATCH + EVENTS, instances: int = 5, **options):
    return Chip(profile(body)).deploy(net, instances, **options)


@pytest.mark.parametrize("body", [EVENTS, MISMATCH + EVENTS])
@pytest.mark.parametrize("currents", [False, True])
def test_each_chip_is_one_that_stands_alone(net, x, body, currents):
    x = 0.7 * x if currents else x
    chips = deployed(net, body)
    logits = chips.run(x, trial=2, first_sample=11)
    assert logits.shape == (5, 6, 3)
    arrived = x.expand(5, *x.shape)
    if not currents:
        arrived = received(x, ALL, Draws(1, "test", range(5), 2), step=STEP, first_sample=11)
    for k in range(5):
        ways = {name: route(ALL, [k], trial=2, target=name, first=11) for name in net.routed_weights()}
        alone = net.run(chips.export(k), arrived[k], routes=ways)
        assert torch.allclose(logits[k], alone[0], rtol=0, atol=1e-12)
    assert len({tuple(own.flatten().tolist()) for own in logits}) == 5
    assert not torch.equal(logits, chips.run(x, trial=3, first_sample=11))
    assert not torch.equal(logits, chips.run(x, trial=2, first_sample=12))


@pytest.mark.parametrize("body", [EVENTS, MISMATCH + EVENTS])
def test_answers_depend_on_no_batch_block_or_memory(net, x, body, monkeypatch):
    chips = deployed(net, body)
    logits, seen = chips.run(x), chips.record(x)
    same = {"rtol": 0, "atol": 1e-12}  # eager products are those of BLAS, whose last bits may depend on the block
    assert torch.allclose(torch.cat([chips.run(x[:, :2]), chips.run(x[:, 2:], first_sample=2)], dim=1), logits, **same)
    assert torch.allclose(chips.run(x, [4, 1]), logits[[4, 1]], **same)
    assert torch.allclose(seen.logits, logits, **same)
    assert all(own.shape == (5, 25, 6, size) for own, size in zip(seen.spikes.values(), (6, 5), strict=True))
    for memory in (1, 2 * 25 * 6 * 6 * 8):  # one chip at a time, two
        monkeypatch.setattr(deployment, "INPUT_BYTES", memory)
        assert torch.allclose(chips.run(x), logits, **same)
        assert all(torch.equal(own, seen.spikes[name]) for name, own in chips.record(x).spikes.items())


def test_probability_zero_is_no_events_to_the_bit(net, x):
    zero = deployed(net, MISMATCH + "events: {loss: 0.0, jitter_std: 0.0, delay_std: 0.0, background_rate: 0.0}")
    assert zero.routes(range(5)) == {}
    assert torch.equal(zero.run(x), deployed(net, MISMATCH).run(x))
    assert deployed(net, only="mismatch").routes(range(5)) == {}
    net.engine = "eager"  # the same engine with routes that do nothing
    ways = {name: route(Events(), [0], target=name) for name in net.routed_weights()}
    assert torch.equal(net.run(net.nominal(), x, routes=ways)[0], net(x))


def test_readouts_off_the_chip_see_every_spike(x):
    for readout in (LI(6, 3, dt=STEP, on_chip=False), MeanRate(6, 3, on_chip=False)):
        net = Network([LIF(4, 6, True, dt=STEP), readout]).double()
        assert routed(net) == ("layer0.recurrent_weight",)
        assert list(deployed(net).routes([0])) == ["layer0.recurrent_weight"]
    net = Network([LIF(4, 6, dt=STEP), MeanRate(6, 3)]).double()
    with torch.no_grad():
        net.get_parameter("layer0.weight").mul_(4)
    chips = deployed(net, "events: {loss: 1.0}")
    given = net.run(net.nominal(), x, routes=chips.routes([0]))
    assert torch.equal(given, net.get_parameter("readout.bias").expand(1, 6, 3))
    assert not torch.equal(given[0], net(x))


def test_auto_takes_the_eager_engine_and_numba_says_why_it_cannot(net, x):
    assert net.runs_fused()
    found = deployed(net).run(x)
    net.engine = "eager"
    assert torch.allclose(deployed(net).run(x), found, rtol=0, atol=1e-12)
    net.engine = "numba"
    with pytest.raises(ConfigError, match="numba has no events of spikes between neurons; allowed here: eager, auto"):
        deployed(net).run(x)
    deployed(net, MISMATCH + "events: {loss: 0.0}").run(x)
    with pytest.raises(ConfigError, match="numba has no events"):
        net.get_submodule("layer0").run(
            {n.removeprefix("layer0."): p for n, p in net.nominal().items() if n.startswith("layer0")},
            x,
            engine="numba",
            route=route(ALL),
        )


def test_gradients_pass_as_if_every_spike_were_on_time(net, x):
    net.engine = "eager"
    theta = net.nominal()
    ways = {name: route(Events(), [0], target=name) for name in net.routed_weights()}
    names = [name for name, p in theta.items() if p.requires_grad]
    plain = torch.autograd.grad(net(x).square().sum(), [theta[n] for n in names])
    own = torch.autograd.grad(net.run(theta, x, routes=ways).square().sum(), [theta[n] for n in names])
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(plain, own, strict=True))
    lossy = {name: route(ALL, [0, 1], target=name) for name in net.routed_weights()}
    found = torch.autograd.grad(net.run(theta, x, routes=lossy).square().sum(), [theta[n] for n in names])
    assert all(bool(g.isfinite().all()) for g in found)
    assert any(bool(g.any()) for g in found)


def test_unknown_weights_are_named(net, x):
    with pytest.raises(ConfigError, match=r"routes: unknown 'layer0.weight'.*layer1.weight"):
        net.run(net.nominal(), x, routes={"layer0.weight": route(ALL)})


def test_notes_name_the_lines_or_say_that_there_are_none(net):
    note = f"events of neurons' spikes, on the eager engine, on the way to {STACK}: loss"
    assert note in deployed(net, "events: {loss: 0.1}").notes
    module = Module(torch.nn.Linear(4, 3))
    notes = deployed(module, "events: {loss: 0.1}").notes
    assert "not simulated: loss of recurrent spikes, and of those between layers" in notes


def test_padded_steps_change_nothing(net, x):
    lengths = torch.tensor([25, 20, 15, 10, 5, 1])
    x = x * (torch.arange(25)[:, None] < lengths)[:, :, None]
    chips = deployed(net)
    long = chips.run(torch.cat([x, torch.zeros_like(x)]), lengths=lengths)
    assert torch.allclose(chips.run(x, lengths=lengths), long, rtol=0, atol=1e-12)
