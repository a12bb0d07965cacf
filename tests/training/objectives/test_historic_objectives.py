"""ABCD and Entropy-SGD against their published loops, written out."""

import math

import pytest
import torch
from equations import KEY, close, detached, loss_and_slope, step

from snnrobust.training import ABCD, EntropySGD, Standard, StepKey, train
from snnrobust.training.problem import StepResult


def masks_of(result):
    return {name: value != 0 for name, value in result.shift.items()}


@pytest.mark.parametrize("radius", [None, 0.02])
def test_abcd_climbs_with_one_part_and_descends_with_the_other(smooth, batch, radius):
    net, rate = smooth(), 0.5
    theta = detached(net)
    loss, g = loss_and_slope(net, theta, batch)
    result = step(ABCD(rate=rate, radius=radius), net, batch)
    climbing = masks_of(result)
    ascent = {name: rate * value for name, value in g.items()}
    if radius is not None:
        ascent = {
            n: torch.clamp(value, -radius * theta[n].abs(), radius * theta[n].abs()) for n, value in ascent.items()
        }
        assert any(bool((ascent[n] != rate * g[n]).any()) for n in g)
    shift = {name: climbing[name] * value for name, value in ascent.items()}
    close(dict(result.shift), shift)
    after, slope = loss_and_slope(net, {name: p + shift[name] for name, p in theta.items()}, batch)
    assert result.loss == pytest.approx(float(loss), rel=1e-12)
    assert result.metrics["climbed"] == pytest.approx(float(after), rel=1e-12)
    close(result.grads, {name: value * ~climbing[name] for name, value in slope.items()})


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_that_climbs(network, task, share):
    from snnrobust.training.data import to_batch

    net, batch = network(), to_batch(task.train, slice(None))
    climbing, count = 0, 0
    for n in range(60):
        result = step(ABCD(share=share), net, batch, StepKey(1, n))
        descends = result.grads["layer0.weight"] != 0
        climbs = result.shift["layer0.weight"] != 0
        assert not bool((descends & climbs).any())
        climbing, count = climbing + int(climbs.sum()), count + int((descends | climbs).sum())
    # four standard errors, 6e-5 for the fixed seed
    assert climbing / count == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / count))


def test_the_trainer_shifts_before_it_descends(network, task):
    class Shifts(Standard):
        def bind(self, problem):
            def loss_and_grad(params, batch, key):
                grads = {name: torch.zeros_like(p) for name, p in params.items() if p.requires_grad}
                return StepResult(0.0, grads, {}, {"layer0.bias": torch.full_like(params["layer0.bias"], 0.25)})

            return loss_and_grad

    net = network()
    before = {name: p.detach().clone() for name, p in net.nominal().items()}
    train(net, task, Shifts(), epochs=2, batch_size=12, select="last", show_progress=False)
    steps = 2 * math.ceil(len(task.train) / 12)
    for name, p in net.nominal().items():
        moved = 0.25 * steps if name == "layer0.bias" else 0.0
        torch.testing.assert_close(p.detach(), before[name] + moved)


def entropy_by_hand(net, batch, *, steps, rate, averaging, gamma):
    theta = detached(net)
    x, mu = dict(theta), dict(theta)
    for _ in range(steps):
        _, g = loss_and_slope(net, x, batch)
        x = {name: p - rate * (g[name] + gamma * (p - theta[name])) for name, p in x.items()}
        mu = {name: (1 - averaging) * mu[name] + averaging * x[name] for name in mu}
    return {name: gamma * (p - mu[name]) for name, p in theta.items()}


@pytest.mark.parametrize("steps", [1, 5])
def test_entropy_sgd_is_its_loop(smooth, batch, steps):
    net, key = smooth(), StepKey(7, 40)
    gamma = 0.3 * 1.01**40
    expected = entropy_by_hand(net, batch, steps=steps, rate=0.2, averaging=0.6, gamma=gamma)
    objective = EntropySGD(steps=steps, rate=0.2, averaging=0.6, gamma=0.3, growth=0.01, noise=0.0)
    result = step(objective, net, batch, key)
    close(result.grads, expected)
    loss, slope = loss_and_slope(net, detached(net), batch)
    assert result.loss == pytest.approx(float(loss), rel=1e-12)
    if steps == 1:  # along the gradient
        close(result.grads, {name: gamma * 0.6 * 0.2 * g for name, g in slope.items()})


def test_langevin_noise_has_its_size(smooth, batch):
    """One step: what noise adds to gamma (theta - mu) is -gamma averaging sqrt(rate) noise N(0, 1)."""
    net, found = smooth(), []
    options = {"steps": 1, "rate": 0.04, "averaging": 0.5, "gamma": 2.0, "growth": 0.0}
    still = step(EntropySGD(noise=0.0, **options), net, batch)
    for n in range(40):
        noisy = step(EntropySGD(noise=3.0, **options), net, batch, StepKey(7, n))
        found += [(noisy.grads[name] - g).flatten() for name, g in still.grads.items()]
    values = torch.cat(found) / (2.0 * 0.5 * 0.2 * 3.0)
    # four standard errors each, 6e-5 for the fixed seed
    assert float(values.mean()) == pytest.approx(0, abs=4 / math.sqrt(len(values)))
    assert float(values.std()) == pytest.approx(1, abs=4 / math.sqrt(2 * len(values)))


def test_the_inner_steps_draw_anew(smooth, batch):
    net = smooth()
    a = step(EntropySGD(steps=1, rate=0.04, averaging=1.0, noise=3.0), net, batch, KEY)
    b = step(EntropySGD(steps=2, rate=0.04, averaging=1.0, noise=3.0), net, batch, KEY)
    ratio = torch.cat([(b.grads[n] / a.grads[n]).flatten() for n in a.grads])
    assert float((ratio - 2).abs().median()) > 0.1  # the same draw twice would double the way
