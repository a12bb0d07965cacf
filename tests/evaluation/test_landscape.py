"""Landscapes: lines, slices and sharpness of losses that are known in closed form."""

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.evaluation.landscape import Landscape, slope
from snnrobust.hardware import Model
from snnrobust.tasks.dataset import Split


def two_classes():
    """Logits (a, b) whatever the input; one sample of class 0, so L = log(1 + exp(b - a))."""
    net = Model(
        lambda p, x: torch.stack([p["a"], p["b"]]).reshape(1, 2).expand(x.shape[1], 2),
        {"a": torch.tensor([2.0]).double(), "b": torch.tensor([1.0]).double()},
        {"a": "weight", "b": "bias"},
    )
    data = Split(np.zeros((1, 2, 1), np.float32), np.array([0]), np.array([2]), np.array([0]))
    return Landscape.of(net, data)


def loss(za, zb):
    return np.log1p(np.exp(1.0 * (1 + zb) - 2.0 * (1 + za)))


A = {"a/device": torch.tensor([1.0]), "b/device": torch.tensor([0.0])}
B = {"a/device": torch.tensor([0.0]), "b/device": torch.tensor([1.0])}


def test_lines_and_slices_are_the_closed_form():
    alphas, betas = [-1.0, 0.0, 0.5, 2.0], [-2.0, 0.25, 1.0]
    found = two_classes().along([A, B], alphas)
    np.testing.assert_allclose(found, [[loss(a, 0) for a in alphas], [loss(0, a) for a in alphas]], rtol=1e-6)
    found = two_classes().slice(A, B, alphas, betas)
    np.testing.assert_allclose(found, [[loss(a, b) for b in betas] for a in alphas], rtol=1e-6)


def test_sharpness_is_the_worst_corner():
    """The loss falls in a and grows in b: the worst corner of the box is (-r, r)."""
    assert two_classes().sharpness(0.3, steps=10) == pytest.approx(loss(-0.3, 0.3) - loss(0, 0), rel=1e-5)
    assert two_classes().sharpness(0.0) == pytest.approx(0, abs=1e-12)


def test_directions():
    found = two_classes()
    worst = found.adversarial_direction(0.1, scale=0.2, steps=10)
    assert float(worst["a/device"]) == pytest.approx(-0.2, rel=1e-5)
    assert float(worst["b/device"]) == pytest.approx(0.2, rel=1e-5)
    drawn = found.random_directions(400, scale=0.2)
    values = torch.stack([d["a/device"] for d in drawn])
    assert float(values.std()) == pytest.approx(0.2, abs=5 * 0.2 / np.sqrt(800))  # 5 standard errors: 6e-7
    along = found.along([worst, *drawn[:5]], [0.0, 1.0])
    assert (along[:, 0] == along[0, 0]).all()


def test_the_slope_of_a_line():
    assert slope(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 4.0]]), [0.0, 0.5, 2.5]) == pytest.approx((2 + 0.5 + 0 + 2) / 4)
    with pytest.raises(ConfigError, match="alphas"):
        slope(np.zeros((1, 2)), [1.0, 1.0])
    with pytest.raises(ConfigError, match="radius"):
        two_classes().adversarial_direction(0.0)


def test_a_spiking_network_has_a_landscape(network, task):
    found = Landscape.of(network(), task.test)
    directions = found.random_directions(3)
    losses = found.along(directions, np.linspace(-2, 2, 5).tolist())
    assert losses.shape == (3, 5)
    assert np.isfinite(losses).all()
    assert len(set(losses[:, 2])) == 1
    assert slope(losses, np.linspace(-2, 2, 5).tolist()) > 0
