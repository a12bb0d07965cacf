"""In-the-loop calibration: defects that knobs can undo are undone, and nothing but answers of a chip is used."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.evaluation import evaluate
from snnrobust.hardware import Chip, Model, Profile, load_profile
from snnrobust.hardware.chosen import choose
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.profile import parse_profile
from snnrobust.snn import Network
from snnrobust.snn.network import Recording
from snnrobust.tasks import load_task
from snnrobust.training import Batch, Tuning, finetune, train
from snnrobust.training.bench import Bench

pytestmark = pytest.mark.filterwarnings("ignore:relative spread")

OFFSETS = """\
schema_version: "1.0"
name: offsets
kind: analog_asic
description: Gains and biases vary, and nothing else.
evidence: assumption
parameters:
  gain: {distribution: normal, granularity: per_neuron, components: {device: {cv: 0.5}}, clip: [0.2, 1.8]}
  bias: {distribution: normal, mode: absolute, unit: v_th_range, granularity: per_neuron, components: {device: {sd: 1}}}
"""


@pytest.fixture
def chip():
    return Chip(load_profile("brainscales2"))


def quietly(deployment, task, **choices):
    return finetune(deployment, task, show_progress=False, **choices)


def same(a, b):
    return a.parameters.keys() == b.parameters.keys() and all(
        torch.equal(p, b.parameters[name]) for name, p in a.parameters.items()
    )


# --- defects that knobs can undo -----------------------------------------------------------------------


def test_an_offset_of_each_output_is_found_and_undone(task_of):
    """A linear readout whose biases are off: the loss is convex, and its minimum is the nominal chip's."""
    task = task_of(samples=90)
    true = torch.tensor([[2.0, -1, -1], [-1, 2.0, -1], [-1, -1, 2.0]], dtype=torch.float64)
    net = Model(
        lambda p, x: x.mean(0).double() @ p["o.weight"].T + p["o.bias"],
        {"o.weight": true, "o.bias": torch.zeros(3, dtype=torch.float64)},
        {"o.weight": "weight", "o.bias": "bias"},
    )
    deployment = Chip(parse_profile(OFFSETS)).deploy(net, 4)
    off = deployment.parameters()["o.bias"]
    centred = off - off.mean(1, keepdim=True)  # a softmax does not see the mean
    assert float(centred.abs().amax(1).min()) > 0.5
    train_it = {"knobs": ("bias",), "epochs": 60, "learning_rate": 0.1, "batch_size": 100, "clip_norm": None}
    found = quietly(deployment, replace(task, validation=None), **train_it)
    ideal = quietly(Chip(Profile.relative(0.0)).deploy(net, 1), replace(task, validation=None), **train_it)
    goal = ideal.parameters["o.bias"] - ideal.parameters["o.bias"].mean()
    left = found.deployment.parameters()["o.bias"]
    left = left - left.mean(1, keepdim=True) - goal
    assert float(left.abs().max()) < 0.05 * float(centred.abs().max())


def test_gains_and_offsets_of_spiking_neurons_are_mended(task, network):
    """A network that is right on every sample loses some to the offsets, and gets them back."""
    net = network()
    train(net, task, epochs=40, seed=0, show_progress=False)
    deployment = Chip(parse_profile(OFFSETS)).deploy(net, 12)
    nominal = evaluate(Chip(Profile.relative(0.0)).deploy(net, 1), task.train).accuracy[0, 0, 0]
    before = evaluate(deployment, task.train).accuracy[0, 0]
    found = quietly(deployment, task, epochs=40, knobs=("scale", "bias"), learning_rate=0.05)
    after = evaluate(found.deployment, task.train).accuracy[0, 0]
    assert before.mean() < nominal - 0.1
    assert after.mean() > nominal - 0.2 * (nominal - before.mean())


def test_without_knobs_nothing_changes(task, network, chip):
    deployment = chip.deploy(network(), 3)
    found = quietly(deployment, task, knobs=())
    assert found.deployment is deployment
    assert (found.parameters, found.writes, found.cost.answers) == ({}, 0, 0)


# --- what a lab can measure ----------------------------------------------------------------------------


def test_the_derivative_is_that_of_the_nominal_network_at_what_was_seen(task, network):
    net = network()
    batch = Batch(torch.from_numpy(task.train.x[:9].swapaxes(0, 1).copy()), torch.from_numpy(task.train.y[:9]))
    generator = torch.Generator().manual_seed(1)
    spikes = (torch.rand(2, 6, 9, 8, generator=generator) < 0.3).float()
    seen = Recording(torch.randn(2, 9, 3, generator=generator), {"layer0": spikes})
    params = {n: p.detach().expand(2, *p.shape).clone().requires_grad_() for n, p in net.nominal().items()}
    logits = net.follow(params, batch.x, seen)
    assert torch.equal(logits, seen.logits)
    weight = torch.randn(logits.shape, generator=generator)
    found = torch.autograd.grad((logits * weight).sum(), list(params.values()))
    # By hand: the readout's own derivative at the spikes that were seen, and the layer's own below it.
    own = {n: p.detach().clone().requires_grad_() for n, p in params.items()}
    x = spikes.clone().requires_grad_()
    (
        net.readout.run({n.removeprefix("readout."): p for n, p in own.items() if n[0] == "r"}, x) * weight
    ).sum().backward()
    below, _ = net.spiking["layer0"].run({n.removeprefix("layer0."): p for n, p in own.items() if n[0] == "l"}, batch.x)
    below.backward(x.grad)
    for (name, p), g in zip(own.items(), found, strict=True):
        expected = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(g, expected, rtol=1e-4, atol=1e-6 * max(1.0, float(expected.abs().max())), msg=name)


def test_measured_parameters_give_the_chips_own_derivative(task, network, chip):
    deployment = chip.deploy(network(), 2)
    bench = Bench(deployment, range(2), ("readout.weight", "layer0.gain"))
    values = {name: p.clone().requires_grad_() for name, p in bench.start.items()}
    written = bench.write(values, 1)
    nominal, measured = (bench.model(written, measured=way) for way in (False, True))
    actual = deployment.parameters()
    for name, p in measured.items():
        torch.testing.assert_close(p.detach().expand_as(actual[name]), actual[name], rtol=0, atol=0)
    for name, p in nominal.items():
        assert torch.equal(p.detach().expand_as(actual[name]), deployment.stored[name].expand_as(actual[name]))
    slope = {}
    for way, model in (("nominal", nominal), ("measured", measured)):
        slope[way] = torch.autograd.grad(model["layer0.gain"].sum(), values["layer0.gain"])[0]
    assert torch.equal(slope["nominal"], torch.ones(2, 8))
    torch.testing.assert_close(slope["measured"], actual["layer0.gain"])  # the gain is relative, and 1


@dataclass(frozen=True)
class BlackBox(Deployment):
    """Chips that answer for others: what they are themselves is not looked at."""

    behind: Deployment | None = None
    trials: list = field(default_factory=list)

    def run(self, x, block=None, *, params=None, **how):
        return self.record(x, block, **how).logits

    def record(self, x, block=None, *, params=None, **how):
        self.trials.append((how["trial"], how["first_sample"], x.shape[1]))
        own = {name: self.theta[name] for name, p in self.net.nominal().items() if self.theta[name].ndim > p.ndim}
        hidden = self.behind.written(own, writes=self.writes, first=self.first)
        return hidden.record(x, block, **how)


def black_box(shown, hidden):
    same = {f.name: getattr(shown, f.name) for f in fields(Deployment)}
    return BlackBox(**same, behind=hidden)


def test_only_answers_of_the_chip_are_used(task, network, chip):
    """Deviations of the chips that are handed in do not matter where others answer for them."""
    net = network()
    hidden = chip.deploy(net, 3, seed=7)
    shown = [black_box(chip.deploy(net, 3, seed=seed), hidden) for seed in (1, 2)]
    first, second = (quietly(box, task, epochs=2) for box in shown)
    assert same(first, second)
    assert same(first, quietly(hidden, task, epochs=2))
    assert not same(first, quietly(chip.deploy(net, 3, seed=1), task, epochs=2))
    measured = [quietly(box, task, epochs=2, backward="measured") for box in shown]
    assert not same(*measured)


def test_every_pass_is_a_trial_of_its_own_before_the_first(task, network, chip):
    deployment = chip.deploy(network(), 2)
    box = black_box(deployment, deployment)
    quietly(box, task, epochs=2, batch_size=5)
    trials = list(dict.fromkeys(trial for trial, *_ in box.trials))
    assert trials == [-1, -2, -3, -4, -5]  # checked, trained, checked, trained, checked
    for trial in trials:
        places = [(first, count) for own, first, count in box.trials if own == trial]
        assert [first for first, _ in places] == np.cumsum([0, *(count for _, count in places)])[:-1].tolist()


def test_test_data_is_not_used_and_validation_data_chooses(task_of, network, chip):
    task = task_of(samples=60)
    deployment = chip.deploy(network(), 3)
    found = quietly(deployment, task, epochs=4)
    noise = replace(task.test, x=task.test.x[::-1].copy(), y=task.test.y[::-1].copy())
    assert same(found, quietly(deployment, replace(task, test=noise), epochs=4))
    scores = found.history["validation"]
    assert scores.shape == (5, 3)
    assert found.history["loss"].shape == (4, 3)
    assert torch.equal(scores.gather(0, found.kept[None])[0], scores.amax(0))
    again = evaluate(found.deployment, task.validation).accuracy[0, 0]  # no temporal noise on this chip
    np.testing.assert_allclose(again, scores.amax(0).numpy(), atol=1e-6)
    last = quietly(deployment, replace(task, validation=None), epochs=4)
    assert last.kept.tolist() == [4, 4, 4]
    assert last.cost.checks == 0


# --- writes --------------------------------------------------------------------------------------------


def test_what_is_written_is_stored_in_the_chips_precision(task, network, chip):
    found = quietly(chip.deploy(network(), 3), task, epochs=2)
    assert float((found.parameters["readout.weight"] - found.deployment.theta["readout.weight"]).abs().max()) == 0
    for k, stored in enumerate(found.deployment.stored["readout.weight"]):
        step = float(found.parameters["readout.weight"][k].abs().max()) / 63
        codes = stored / step
        assert float((codes - codes.round()).abs().max()) < 1e-4
        assert float(codes.abs().max()) == pytest.approx(63)


def test_an_array_is_programmed_anew_at_every_write(task, network):
    deployment = Chip(load_profile("pcm_ibm")).deploy(network(), 2)
    bench = Bench(deployment, range(2), ("readout.weight",))
    here = bench.part(-1, 0)
    batch = Batch(torch.from_numpy(task.train.x[:9].swapaxes(0, 1).copy()), torch.from_numpy(task.train.y[:9]))
    answers = [bench.answer(bench.write(bench.start, n), batch, here, 0) for n in (0, 1, 2, 2)]
    plain = deployment.run(batch.x, trial=-1)
    assert torch.equal(answers[0].logits, plain)
    assert not torch.equal(answers[1].logits, plain)
    assert not torch.equal(answers[1].logits, answers[2].logits)
    assert torch.equal(answers[2].logits, answers[3].logits)
    assert all(torch.equal(a.spikes["layer0"], answers[0].spikes["layer0"]) for a in answers)  # the rest stays


@pytest.mark.parametrize("name", ["brainscales2", "dynapse1", "pcm_ibm"])
def test_deploying_what_was_written_is_the_calibrated_chip(task, network, name):
    net, chip = network(), Chip(load_profile(name))
    found = quietly(chip.deploy(net, 3), task, epochs=1)
    assert found.writes == found.cost.writes == 7  # six updates, and what is kept is written once more
    again = chip.deploy(net, 3, parameters=found.parameters, writes=found.writes)
    x = torch.from_numpy(task.test.x.swapaxes(0, 1).copy())
    assert torch.equal(found.deployment.run(x), again.run(x))
    assert all(torch.equal(p, again.export(2)[key]) for key, p in found.deployment.export(2).items())
    more = quietly(found.deployment, task, epochs=1, knobs=("readout",))
    assert more.writes == 14
    assert more.parameters.keys() == found.parameters.keys()


# --- the same result whatever the block ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["brainscales2", "pcm_ibm"])
def test_any_block_gives_the_same_bits(task, network, name, monkeypatch):
    deployment = Chip(load_profile(name)).deploy(network(), 5)
    choices = {"epochs": 2, "batch_size": 7, "samples": 9, "seed": 3}
    whole = quietly(deployment, task, **choices)
    part = quietly(deployment, task, chips=range(3, 5), **choices)
    for key, p in part.parameters.items():
        assert torch.equal(p, whole.parameters[key][3:])
    assert torch.equal(part.history["validation"], whole.history["validation"][:, 3:])
    x = torch.from_numpy(task.test.x.swapaxes(0, 1).copy())
    assert torch.equal(part.deployment.run(x), whole.deployment.run(x, [3, 4]))
    monkeypatch.setattr(sys.modules["snnrobust.training.finetune"], "BLOCK_BYTES", 1)
    assert same(quietly(deployment, task, **choices), whole)
    assert not same(quietly(deployment, task, **{**choices, "seed": 4}), whole)


def test_nothing_else_changes(task, network, chip, untouched_generators):
    net = network()
    before = {name: p.clone() for name, p in net.nominal().items()}
    deployment = chip.deploy(net, 2)
    answers = deployment.run(torch.ones(4, 2, 3))
    quietly(deployment, task, epochs=1, knobs=("weights", "v_th", "layer0.tau_mem"))
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in net.nominal().items())
    assert torch.equal(deployment.run(torch.ones(4, 2, 3)), answers)


def test_chips_that_do_not_answer_with_numbers_stand_still(task, network, chip):
    deployment = chip.deploy(network(), 2)
    z = deployment.coordinates(range(2))
    z["layer0.weight/device"][1] = torch.nan
    found = quietly(choose(deployment, z), task, epochs=1)
    for name, p in found.parameters.items():
        assert torch.equal(p[1], deployment.theta[name])
        assert bool(p.isfinite().all())
    assert not torch.equal(found.parameters["readout.weight"][0], deployment.theta["readout.weight"])


# --- knobs, cost, errors -------------------------------------------------------------------------------


def test_knobs_are_roles_groups_and_names(network):
    net = network()
    assert Tuning().names(net) == ("layer0.bias", "layer0.gain", "readout.weight", "readout.bias", "readout.gain")
    assert Tuning(knobs=("readout", "readout.bias")).names(net) == ("readout.weight", "readout.bias")
    assert Tuning(knobs=("weights",)).names(net) == ("layer0.weight", "layer0.recurrent_weight", "readout.weight")
    assert Tuning(knobs=("v_th",)).names(net) == ("layer0.v_th",)


def test_what_it_costs(task_of, network, chip):
    task = task_of(samples=60)
    sizes = len(task.train), len(task.validation)
    cost = Tuning(epochs=3, batch_size=5).cost(task, step=1e-6)
    assert cost[:3] == (3, 4, 3 * sizes[0] + 4 * sizes[1])
    assert cost.writes == 3 * -(-sizes[0] // 5) + 1
    assert cost.seconds == pytest.approx(cost.answers * 6 * 1e-6)
    few = Tuning(epochs=3, batch_size=5, samples=7)
    assert few.cost(task).answers == 3 * 7 + 4 * sizes[1]
    assert len(few.measured(task.train)) == 7
    assert set(few.measured(task.train).indices) < set(task.train.indices)
    lines = Tuning(epochs=3).remarks(task, Chip(load_profile("dynapse1")).deploy(network(), 1))
    assert lines[1].endswith("cores share them on the chip: layer0.bias, layer0.gain")
    assert len(Tuning(epochs=3).remarks(task, chip.deploy(network(), 1))) == 1


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"knobs": ("gains",)}, "knobs"),
        ({"knobs": ("adaptation",)}, "'adaptation' is nothing that this Network has"),
        ({"knobs": "bias"}, "must be a tuple"),
        ({"epochs": 0}, "epochs: 0"),
        ({"samples": 0}, "samples: 0"),
        ({"backward": "adjoint"}, "backward"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"chips": range(2, 9)}, "chips"),
    ],
)
def test_wrong_choices_are_one_line(task, network, chip, choices, message):
    with pytest.raises(ConfigError, match=message) as found:
        quietly(chip.deploy(network(), 3), task, **choices)
    assert "\n" not in str(found.value)


def test_a_network_that_does_not_fit(task, chip):
    with pytest.raises(ShapeError, match=r"net\.inputs: 5"):
        quietly(chip.deploy(Network.recurrent(5, 4, 3), 1), task)


# --- real data -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_calibration_in_the_loop_pays_on_real_data():
    """Vowels, 16 chips, paired: a mean gain above 4 standard errors, which without an effect is below 1 in 1000."""
    task = load_task("vowels")
    net = Network.recurrent(task.inputs, 24, len(task.classes), dt=task.dt, tau_mem=5 * task.dt, tau_syn=2 * task.dt,
                            tau_out=5 * task.dt, seed=0)  # fmt: skip
    train(net, task, epochs=30, seed=0, show_progress=False)
    deployment = Chip(load_profile("brainscales2")).deploy(net, 16, seed=3)
    before = evaluate(deployment, task.test).accuracy[0, 0]
    found = quietly(deployment, task, epochs=8)
    gained = evaluate(found.deployment, task.test).accuracy[0, 0] - before
    assert gained.mean() > 4 * gained.std(ddof=1) / len(gained) ** 0.5
