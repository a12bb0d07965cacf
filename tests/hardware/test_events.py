"""Events of input spikes: their laws, what they are keyed by, and what a deployment makes of them.

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

from snnrobust.errors import ShapeError
from snnrobust.evaluation import montecarlo
from snnrobust.hardware import Chip, Model, deployment
from snnrobust.hardware.events import Draws, happens, received, remarks, simulated, spikes_only
from snnrobust.hardware.randomness import key
from snnrobust.hardware.schema.digital import Events
from snnrobust.hardware.schema.operation import TimeScale
from snnrobust.hardware.time_scale import step_on_chip
from snnrobust.snn import LI, LIF, Network
from snnrobust.tasks import Split

STEP = 1e-3
ALL = Events(loss=0.2, jitter_std=1.5e-3, delay_std=1e-3, background_rate=30.0)
QUICK = settings(max_examples=25, deadline=None, derandomize=True)  # the first example compiles


def draws(chips=(0,), *, seed=1, trial=0) -> Draws:
    return Draws(seed, "test", chips, trial)


def spikes(*shape: int, rate: float = 0.2) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < rate).float()


def binomial_counts(counts: np.ndarray, n: int, p: float) -> None:
    """Counts of one binomial distribution: their mean n p and variance n p (1 - p)."""
    z = (counts.mean() - n * p) / np.sqrt(n * p * (1 - p) / len(counts))
    assert abs(z) < stats.norm.isf(0.5e-4)
    ratio = counts.var(ddof=1) * (len(counts) - 1) / (n * p * (1 - p))
    assert stats.chi2.isf(1 - 0.5e-4, len(counts) - 1) < ratio < stats.chi2.isf(0.5e-4, len(counts) - 1)


def follows(counts: np.ndarray, chances: np.ndarray) -> None:
    """Counts of a multinomial distribution with these chances, rare values together."""
    expected = counts.sum() * chances
    rare = expected < 10
    pooled = [np.append(v[~rare], v[rare].sum()) for v in (counts, expected)]
    assert stats.chisquare(*pooled).pvalue > 1e-4


# --- loss and background -------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.01, 0.3])
def test_loss_thins_with_the_mean_and_variance_of_a_binomial(loss):
    x = spikes(20, 15, 8)
    arrived = received(x, Events(loss=loss), draws(range(500)))
    assert arrived.shape == (500, 20, 15, 8)
    assert bool((arrived <= x).all())
    binomial_counts((x - arrived).sum((1, 2, 3)).numpy(), int(x.sum()), loss)
    per_spike = (x - arrived).sum(0)[x > 0].numpy()  # no step, sample or line loses more than others
    assert abs(stats.zscore(per_spike)).max() < 6
    binomial_counts(per_spike, 500, loss)


def test_a_loss_of_one_leaves_nothing():
    assert not received(spikes(9, 3, 2), Events(loss=1.0), draws([0, 1])).any()


@pytest.mark.parametrize("rate", [5.0, 700.0])
def test_background_is_poisson(rate):
    silence = torch.zeros(20, 15, 8)
    arrived = received(silence, Events(background_rate=rate), draws(range(300)), step=STEP)
    chance = 1 - np.exp(-rate * STEP)
    binomial_counts(arrived.sum((1, 2, 3)).numpy(), silence.numel(), chance)
    for axes in ((0, 2, 3), (0, 1, 3), (0, 1, 2)):  # the same in every step, sample, line
        counts = arrived.sum(axes).numpy()
        binomial_counts(counts, arrived.numel() // len(counts), chance)


def test_background_joins_the_spikes_that_are_there_and_is_not_lost():
    x = spikes(20, 5, 6)
    alone = received(torch.zeros_like(x), Events(background_rate=50.0), draws([3]), step=STEP)
    both = received(x, Events(background_rate=50.0, loss=0.5), draws([3]), step=STEP)
    kept = received(x, Events(loss=0.5), draws([3]))
    assert torch.equal(both, torch.maximum(alone, kept))


# --- delay and jitter ----------------------------------------------------------------------------------


def shifts_of(arrived: torch.Tensor, start: int) -> np.ndarray:
    """By how much single spikes at step `start` were moved."""
    assert bool((arrived.sum(1) == 1).all())
    return (arrived.argmax(1) - start).numpy()


@pytest.mark.parametrize(("sigma", "step"), [(1e-3, 1e-3), (0.3e-3, 1e-3), (4e-3, 1e-3)])
def test_jitter_is_a_normal_rounded_to_steps(sigma, step):
    x = torch.zeros(61, 40, 25)
    x[30] = 1
    moved = shifts_of(received(x, Events(jitter_std=sigma), draws(range(10)), step=step), 30)
    values = np.arange(-30, 31)
    chances = np.diff(stats.norm.cdf((np.append(values - 0.5, 30.5)) * step / sigma))
    follows(np.array([(moved == v).sum() for v in values]), chances)


def test_delays_are_frozen_for_a_line_and_a_chip():
    x = torch.zeros(61, 3, 400)
    x[30] = 1
    events = Events(delay_std=3e-3)
    first, second = (shifts_of(received(x, events, draws(range(20), trial=t), step=STEP), 30) for t in (0, 1))
    assert np.array_equal(first, second)
    assert np.array_equal(first, np.broadcast_to(first[:, :1], first.shape))  # in every sample
    values = np.arange(-30, 31)
    chances = np.diff(stats.norm.cdf(np.append(values - 0.5, 30.5) / 3))
    follows(np.array([(first[:, 0] == v).sum() for v in values]), chances)
    assert len({tuple(row) for row in first[:, 0].tolist()}) == 20


def test_delay_and_jitter_are_rounded_together():
    x = torch.zeros(61, 40, 25)
    x[30] = 1
    events = Events(jitter_std=0.4e-3, delay_std=0.3e-3)
    moved = shifts_of(received(x, events, draws(range(40)), step=STEP), 30)
    assert (moved**2).mean() == pytest.approx(2 * stats.norm.sf(1.0) + 6 * stats.norm.sf(3.0), rel=0.25)  # sd step / 2


@pytest.mark.parametrize("std", [1e-2, 1e300])
def test_spikes_that_leave_the_window_are_dropped_and_meeting_ones_merge(std):
    x = torch.ones(30, 6, 4)
    arrived = received(x, Events(jitter_std=std), draws(range(5)), step=STEP)
    assert set(arrived.unique().tolist()) <= {0.0, 1.0}
    assert arrived.sum() < 0.9 * 5 * x.sum()
    middle = x.clone()
    middle[:14] = middle[15:] = 0
    single = received(middle, Events(jitter_std=std), draws(range(5)), step=STEP)
    assert bool((single.sum(1) <= 1).all())
    assert (single.sum(1) == 0).any()


def test_a_shift_below_half_a_step_is_none():
    x = spikes(20, 5, 6)
    assert torch.equal(received(x, Events(jitter_std=5e-5), draws([0]), step=STEP)[0], x)


# --- what draws depend on ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_events_change_no_bit(dtype):
    x = spikes(12, 5, 3).to(dtype)
    arrived = received(x, Events(), draws([4, 9]), step=STEP)
    assert arrived.dtype == dtype
    assert all(torch.equal(own, x) for own in arrived)


def test_a_loss_is_the_word_of_its_chip_trial_sample_and_element():
    x = torch.ones(4, 3, 5)
    arrived = received(x, Events(loss=0.4), draws([17], seed=8, trial=2), first_sample=100)
    own = key(8, "test", "inputs", "loss", "per_spike", 17, 2)
    for t, b, i in np.ndindex(4, 3, 5):
        block, word = divmod(5 * t + i, 4)
        counter = ((100 + b) << 32) + block
        before = np.random.Philox(key=own, counter=(counter - 1) % 2**256)  # numpy increments before each block
        u = (int(before.random_raw(4)[word] >> np.uint64(12)) + 0.5) * 2.0**-52
        assert arrived[0, t, b, i] == float(u >= 0.4)


@given(split=st.integers(0, 9), chips=st.lists(st.integers(0, 50), min_size=1, max_size=4), padding=st.integers(0, 5))
@QUICK
def test_events_depend_on_no_batch_block_or_padding(split, chips, padding):
    x, lengths = spikes(12, 9, 5), torch.arange(4, 13)
    x *= (torch.arange(12)[:, None] < lengths)[:, :, None]
    many = received(x, ALL, draws(range(51)), step=STEP, lengths=lengths, first_sample=7)
    padded = torch.cat([x, torch.zeros(padding, 9, 5)])
    halves = [
        received(padded[:, own], ALL, draws(chips), step=STEP, lengths=lengths[own], first_sample=7 + (own.start or 0))
        for own in (slice(None, split), slice(split, None))
    ]
    found = torch.cat(halves, dim=2)
    assert torch.equal(found[:, :12], many[chips])
    assert not found[:, 12:].any()
    assert not (found[:, :12] * (torch.arange(12)[:, None] >= lengths)[:, :, None]).any()


def test_nothing_comes_back_from_behind_the_end():
    x = torch.ones(20, 3, 4)
    lengths = torch.tensor([20, 8, 1])
    clean = x * (torch.arange(20)[:, None] < lengths)[:, :, None]
    late = Events(jitter_std=3e-3)
    arrived = received(x, late, draws(range(9)), step=STEP, lengths=lengths)
    assert torch.equal(arrived, received(clean, late, draws(range(9)), step=STEP, lengths=lengths))
    assert arrived[:, :, 2].sum() <= 9 * 4


def test_chips_trials_samples_seeds_and_purposes_differ():
    x = torch.ones(20, 1, 10)
    found = [received(x, Events(loss=0.5), draws([0, 1])), received(x, Events(loss=0.5), draws([0], trial=1))]
    found += [
        received(x, Events(loss=0.5), draws([0], seed=2)),
        received(x, Events(loss=0.5), draws([0]), first_sample=1),
    ]
    found += [received(x, Events(loss=0.5), Draws(1, "validation", [0]))]
    rows = torch.cat(found).flatten(1).tolist()
    assert len({tuple(row) for row in rows}) == 6


@given(low=st.floats(0, 1), high=st.floats(0, 1))
@QUICK
def test_higher_rates_keep_the_events_of_lower_ones(low, high):
    low, high = min(low, high), max(low, high)
    x, silence = spikes(10, 4, 3), torch.zeros(10, 4, 3)
    lost = [x - received(x, Events(loss=loss), draws([0]))[0] for loss in (low, high)]
    assert bool((lost[0] <= lost[1]).all())
    noise = [received(silence, Events(background_rate=900 * r), draws([0]), step=STEP)[0] for r in (low, high)]
    assert bool((noise[0] <= noise[1]).all())


def test_without_a_step_spikes_are_only_lost():
    x = spikes(12, 5, 3)
    assert torch.equal(received(x, ALL, draws([0])), received(x, Events(loss=ALL.loss), draws([0])))
    assert simulated(ALL, STEP) == ALL
    assert not happens(simulated(Events(jitter_std=1.0, delay_std=1.0, background_rate=1.0), None))
    assert all(happens(Events(**{name: 0.5})) for name in ("loss", "jitter_std", "delay_std", "background_rate"))


def test_a_step_of_an_accelerated_chip_is_shorter():
    assert step_on_chip(1e-3, None) == 1e-3
    assert step_on_chip(1e-3, TimeScale(value=1000.0)) == pytest.approx(1e-6)
    x = torch.zeros(61, 40, 25)
    x[30] = 1
    fast = received(x, Events(jitter_std=2e-6), draws([0]), step=step_on_chip(1e-3, TimeScale(value=1000.0)))
    assert torch.equal(fast, received(x, Events(jitter_std=2e-3), draws([0]), step=1e-3))


def test_inputs_have_three_axes():
    with pytest.raises(ShapeError, match=r"x: shape \(2, 3, 4, 5\); must be \[T, B, I\]"):
        received(torch.zeros(2, 3, 4, 5), ALL, draws([0]), step=STEP)


# --- deployment ----------------------------------------------------------------------------------------

WEIGHTS = "parameters: {weight: {distribution: lognormal, granularity: per_synapse, components: {device: {cv: 0.1}}}}\n"
EVENTS = "events: {loss: 0.2, jitter_std: 1.5e-3, delay_std: 1.0e-3, background_rate: 30.0}"


@pytest.fixture
def net() -> Network:
    net = Network.recurrent(4, 6, 3, dt=STEP)
    with torch.no_grad():
        net.get_parameter("layer0.weight").mul_(4)
    return net.double()


@pytest.fixture
def forward() -> Network:
    """A network no spike of which stays on the chip: events are those of inputs alone, and any engine runs it."""
    layers = [LIF(4, 6, dt=STEP, seed=1), LI(6, 3, dt=STEP, on_chip=False)]
    net = Network(layers)
    with torch.no_grad():
        net.get_parameter("layer0.weight").mul_(4)
    return net.double()


@pytest.fixture
def x() -> torch.Tensor:
    return spikes(25, 6, 4, rate=0.4).double()


def deployed(net, body: str = WEIGHTS + EVENTS, instances: int = 5, **options):
    return Chip(profile(body)).deploy(net, instances, **options)


@pytest.mark.parametrize("engine", ["numba", "eager"])
def test_each_chip_runs_on_the_spikes_that_reach_it(forward, x, engine):
    net = forward
    net.engine = engine
    chips = deployed(net)
    logits = chips.run(x, trial=2, first_sample=11)
    arrived = received(x, ALL, Draws(1, "test", range(5), 2), step=STEP, first_sample=11)
    assert len({tuple(own.flatten().tolist()) for own in arrived}) == 5
    for k in range(5):
        assert torch.allclose(logits[k], net.run(chips.export(k), arrived[k]), rtol=0, atol=1e-12)
    assert not torch.equal(logits, chips.run(x, trial=3, first_sample=11))
    assert not torch.equal(logits, chips.run(x, trial=2, first_sample=12))


@pytest.mark.parametrize("body", [EVENTS, WEIGHTS + EVENTS])
def test_answers_depend_on_no_batch_block_or_memory(forward, x, body, monkeypatch):
    net = forward
    net.engine = "numba"
    chips = deployed(net, body)
    logits = chips.run(x)
    assert logits.shape == (5, 6, 3)
    assert torch.equal(torch.cat([chips.run(x[:, :2]), chips.run(x[:, 2:], first_sample=2)], dim=1), logits)
    assert torch.equal(chips.run(x, [4, 1]), logits[[4, 1]])
    for memory in (1, 2 * x.numel() * 8):  # one chip at a time, two
        monkeypatch.setattr(deployment, "INPUT_BYTES", memory)
        assert torch.equal(chips.run(x), logits)
        assert torch.equal(chips.run(x, [4, 1, 0], params=chips.parameters([4, 1, 0])), logits[[4, 1, 0]])


def test_an_evaluation_depends_on_no_batch(monkeypatch):
    net = Network.recurrent(4, 6, 3, dt=STEP, seed=2).double()  # one that gives two classes
    net.engine = "eager"
    x = spikes(12, 40, 4, rate=0.1)
    y = net(x.double()).argmax(-1).numpy()
    data = Split(np.ascontiguousarray(x.transpose(0, 1).numpy()), y, np.full(40, 12), np.arange(40))
    chips = deployed(net, instances=12)
    found = montecarlo.evaluate(chips, data, trials=2).accuracy
    monkeypatch.setattr(montecarlo, "BATCH", 7)
    monkeypatch.setattr(deployment, "INPUT_BYTES", 1)
    assert np.array_equal(found, montecarlo.evaluate(chips, data, trials=2).accuracy)
    assert not np.array_equal(found, montecarlo.evaluate(deployed(net, WEIGHTS, 12), data, trials=2).accuracy)


def test_lengths_hide_what_comes_after(net, x):
    lengths = torch.tensor([25, 20, 15, 10, 5, 1])
    x = x * (torch.arange(25)[:, None] < lengths)[:, :, None]
    chips = deployed(net)
    assert torch.equal(chips.run(x, lengths=lengths), chips.run(torch.cat([x, torch.zeros_like(x)]), lengths=lengths))


def test_losing_everything_is_silence(net, x):
    assert torch.equal(deployed(net, WEIGHTS + "events: {loss: 1.0}").run(x), deployed(net, WEIGHTS).run(0 * x))


@pytest.mark.parametrize("kind", ["forward", "net"])
def test_nothing_happens_to_currents_without_rates_or_for_mismatch_only(kind, x, request):
    net = request.getfixturevalue(kind)
    plain = deployed(net, WEIGHTS)
    for own, inputs in (
        (deployed(net, WEIGHTS + "events: {loss: 0.0, background_rate: 0.0}"), x),
        (deployed(net, only="mismatch"), x),
        (deployed(net), 2 * x),
        (deployed(net), 0.3 + x),
    ):
        assert own.received(inputs, range(5)) is inputs
        # currents have no events, but the spikes that a recurrent network makes of them do
        assert torch.equal(own.run(inputs), plain.run(inputs)) != bool(own.routes(range(5)))
    assert spikes_only(x).all()
    assert not spikes_only(2 * x).any()


def test_currents_in_a_batch_change_nothing_for_the_spikes_beside_them(net, x):
    x[3, 1, 2] = 0.5  # sample 1 is one of currents
    chips = deployed(net)
    arrived = chips.received(x, range(5))
    assert torch.equal(spikes_only(x), torch.tensor([True, False, True, True, True, True]))
    for b in range(6):
        alone = chips.received(x[:, b : b + 1], range(5), first_sample=b)
        assert torch.equal(arrived[:, :, b : b + 1], alone.expand(5, 25, 1, 4))
    assert torch.equal(arrived[:, :, 1], x[:, 1].expand(5, 25, 4))


def test_converters_take_what_reaches_each_chip(net, x):
    x[3, 1, 2] = 0.5
    array = """
        crossbar:
          technology: any
          g_min: 0.0
          g_max: 25.0
          mapping: {scheme: differential_one_sided}
          dac: {bits: 4, bound: 1.0}
        events: {loss: 0.2}
        """
    chips = Chip(profile(array, "crossbar")).deploy(net, 3)
    arrived = chips.received(x, range(3))
    assert arrived.shape == (3, 25, 6, 4)
    each = torch.stack([chips.converted(own) for own in arrived])
    assert torch.equal(chips.converted(arrived), each)
    assert not torch.equal(each, arrived)


def test_an_accelerated_chip_counts_events_in_its_own_time(net, x):
    fast = deployed(net, WEIGHTS + "events: {jitter_std: 1.5e-6, background_rate: 3e4}\ntime_scale: {value: 1000}")
    slow = deployed(net, WEIGHTS + "events: {jitter_std: 1.5e-3, background_rate: 30}")
    assert (fast.step, slow.step) == (pytest.approx(1e-6), STEP)
    assert torch.equal(fast.run(x), slow.run(x))
    assert not torch.equal(slow.run(x), deployed(net, WEIGHTS).run(x))


def test_a_model_of_ones_own_gets_each_chips_spikes(x):
    weight = torch.ones(3, 4, dtype=torch.float64)
    model = Model(lambda params, own: (own @ params["weight"].T).sum(0), {"weight": weight}, {"weight": "weight"})
    for body in (EVENTS, WEIGHTS + EVENTS):
        chips = deployed(model, body)
        arrived = received(x, Events(loss=0.2), Draws(1, "test", range(5)))
        expected = torch.stack([(own @ chips.export(k)["weight"].T).sum(0) for k, own in enumerate(arrived)])
        assert torch.allclose(chips.run(x), expected, rtol=1e-12)
    assert remarks(ALL, None) == [
        "events of input spikes only, in samples of 0 and 1: loss",
        "not simulated: loss of recurrent spikes, and of those between layers",
        "no events, which need a time step that the model does not state: jitter_std, delay_std, background_rate",
    ]


def test_notes_say_what_events_act_on(net, forward):
    own = deployed(net, "events: {loss: 0.1, jitter_std: 0.001}").notes
    lines = "layer0.recurrent_weight, readout.weight"
    assert own[-2:] == (
        "events of input spikes, in samples of 0 and 1: loss, jitter_std",
        f"events of neurons' spikes, on the eager engine, on the way to {lines}: loss, jitter_std",
    )
    own = deployed(forward, "events: {loss: 0.1, jitter_std: 0.001}").notes
    assert own[-1] == "events of input spikes only, in samples of 0 and 1: loss, jitter_std"
    assert remarks(Events(), STEP) == remarks(Events(), None) == []
    assert deployed(net, EVENTS, only="mismatch").notes == deployed(net, "", only="mismatch").notes
    assert profile(EVENTS).not_simulated() == []
