"""What the trainer does around an update: weights without outliers, several limits, a running mean of the weights."""

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.snn.specs import spec_of
from snnrobust.storage import Group, read_run, write_run
from snnrobust.training import FanInLimit, Standard, WeightClip, checkpoint, train, trainer
from snnrobust.training.checkpoint import State
from snnrobust.training.limits import within


def weights(net):
    return {name: p.detach().clone() for name, p in net.nominal().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_outliers_are_clipped_at_their_tensors_deviation():
    w = torch.tensor([[1.0, -1.0, 0.0], [2.0, -6.0, 0.0]])
    params = {"l.weight": w, "l.bias": torch.tensor([1.0, 100.0]), "m.weight": torch.tensor([[1.0, -1.0]])}
    specs = {n: spec_of(n[2:], tuple(p.shape), layer=n[0]) for n, p in params.items()}
    bound = 1.5 * float(np.std([1.0, -1.0, 2.0, -6.0]))  # of the synapses that exist
    found = WeightClip(deviations=1.5).project(params, specs)
    assert set(found) == {"l.weight"}
    torch.testing.assert_close(found["l.weight"], w.clamp(-bound, bound))
    assert float(found["l.weight"][1, 1]) == pytest.approx(-bound)
    assert WeightClip(deviations=50.0).project(params, specs) == {}
    off = {"l.weight": spec_of("weight", (2, 3), on_chip=False)}
    assert WeightClip(deviations=1.5).project(params, off) == {}


def test_the_deviations_of_a_clip_are_positive():
    with pytest.raises(ConfigError, match=r"deviations: 0\.0 must be positive"):
        WeightClip(deviations=0.0)


def test_limits_apply_one_after_the_other():
    params = {"l.weight": torch.tensor([[8.0, 1.0, -1.0, 1.0]])}
    specs = {"l.weight": spec_of("weight", (1, 4), layer="l")}
    clip, few = WeightClip(deviations=1.0), FanInLimit(fan_in=2)
    first = clip.project(params, specs)
    expected = few.project(first, specs)["l.weight"]
    assert torch.equal(within([clip, few], params, specs)["l.weight"], expected)
    assert expected.tolist() != within([few, clip], params, specs)["l.weight"].tolist()
    assert within([], params, specs) == {}


@pytest.mark.parametrize("select", ["last", "average"])
def test_a_training_ends_within_its_limits(network, task, select):
    net, free = network(), network()
    options = {"epochs": 4, "select": select, "show_progress": False, "learning_rate": 0.05}
    limits = [FanInLimit(fan_in=5), WeightClip(deviations=1.2)]
    result = train(net, task, limit=limits, **options)
    assert result.config["limit"] == [{"fan_in": 5}, {"deviations": 1.2}]
    assert train(network(), task, limit=limits[1], **options).config["limit"] == {"deviations": 1.2}
    train(free, task, **options)

    def largest(net):
        w = net.nominal()["layer0.recurrent_weight"].detach()
        return float(w.abs().max() / w[w != 0].std(correction=0))

    assert largest(free) > 1.5
    # What is clipped narrows the deviation that the clip refers to, so that the ratio may end above 1.2.
    assert largest(net) < largest(free)
    sources = torch.cat([net.nominal()[f"layer0.{name}"] != 0 for name in ("weight", "recurrent_weight")], dim=1)
    assert int(sources.sum(1).max()) <= 5


class Noted(Standard):
    """The standard objective, which notes the weights that every step begins with."""

    def bind(self, problem):
        inner = super().bind(problem)

        def loss_and_grad(params, batch, key):
            self.seen.append({name: p.detach().clone() for name, p in params.items()})
            return inner(params, batch, key)

        return loss_and_grad


def noted():
    objective = Noted()
    object.__setattr__(objective, "seen", [])
    return objective


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_the_running_mean_by_hand(network, task, decay):
    objective, net, plain = noted(), network(), network()
    options = {"batch_size": 4, "select": "last", "show_progress": False, "epochs": 3, "learning_rate": 0.05}
    result = train(net, task, objective, ema=decay, **options)
    train(plain, task, **options)
    assert result.config["settings"]["ema"] == decay
    after = [*objective.seen[1:], weights(plain)]  # the mean does not change the descent
    expected = after[0]
    for n, now in enumerate(after):
        d = min(decay, (1 + n) / (10 + n))
        expected = {name: d * p + (1 - d) * now[name] for name, p in expected.items()}
    for name, p in weights(net).items():
        torch.testing.assert_close(p, expected[name], rtol=1e-5, atol=1e-6)
    assert equal(weights(net), weights(plain)) == (decay == 0)


def test_validation_sees_the_running_mean(network, task, monkeypatch):
    seen = []

    def score(problem, params, split, task):
        seen.append({name: p.clone() for name, p in params.items()})
        return 0.5

    monkeypatch.setattr(trainer, "score", score)
    net = network()
    train(net, task, ema=0.9, batch_size=4, epochs=3, select="last", show_progress=False)
    assert len(seen) == 3
    assert equal(seen[-1], weights(net))
    assert not equal(seen[0], seen[1])


class Stops(Standard):
    """The standard objective, interrupted at the eighth update."""

    def bind(self, problem):
        inner = super().bind(problem)

        def loss_and_grad(params, batch, key):
            if key.step == 7:
                raise KeyboardInterrupt
            return inner(params, batch, key)

        return loss_and_grad


def test_an_interrupted_running_mean_goes_on(network, task, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_WRITES", 0.0)
    options = {"batch_size": 4, "epochs": 4, "ema": 0.8, "show_progress": False}
    whole, net, path = network(), network(), tmp_path / "a.h5"
    train(whole, task, **options)
    with pytest.raises(KeyboardInterrupt):
        train(net, task, Stops(), run=path, **options)
    assert "layer0.weight" in read_run(path)["checkpoint"]["averaged"]
    train(net, task, run=path, **options)
    assert equal(weights(net), weights(whole))


def test_a_checkpoint_without_a_running_mean_is_read(tmp_path):
    state = State({"a": torch.ones(2, requires_grad=True)}, {})
    group = state.to_group()
    older = Group({name: item for name, item in group.items.items() if name != "averaged"}, group.attrs)
    write_run(tmp_path / "a.h5", Group({"checkpoint": older}))
    assert State.from_group(read_run(tmp_path / "a.h5").group("checkpoint"), state.params).averaged == {}


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_its_domain_is_an_error(network, task, decay):
    with pytest.raises(ConfigError, match=f"ema: {decay} must be from 0 to below 1"):
        train(network(), task, ema=decay, show_progress=False)
