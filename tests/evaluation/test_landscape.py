"""Landscapes: lines, slices and sharpness of losses that are known in closed form."""

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.evaluation.landscape import Landscape, slope
from snnrobust.evaluation.landscape_study import LossLandscape, landscape
from snnrobust.hardware import Model, load_profile
from snnrobust.tasks import Task
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


def task_of_one_class():
    """Samples whose features do not matter to the logits (a, b); of class 0 in the test part."""
    return Task.from_arrays(np.zeros((6, 2, 1), np.float32), [0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 2, 2], dt=1e-3)


def test_the_study_is_the_closed_form():
    """The loss falls in a and grows in b: towards the adversarial corner it is L(-0.2 alpha, 0.2 alpha)."""
    net, options = two_classes().net, {"points": 5, "across": 3, "directions": 2, "steps": 10, "radii": [0.3, 0.1]}
    found = landscape(net, task_of_one_class(), **options)
    alphas = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert found.alphas.tolist() == alphas.tolist()
    np.testing.assert_allclose(found.adversarial, loss(-0.2 * alphas, 0.2 * alphas), rtol=1e-5)
    assert found.adversarial_slope == pytest.approx(np.abs(np.diff(loss(-0.2 * alphas, 0.2 * alphas))).mean(), rel=1e-5)
    assert found.radii == (0.1, 0.3)
    np.testing.assert_allclose(found.sharpness, [loss(-0.1, 0.1) - loss(0, 0), loss(-0.3, 0.3) - loss(0, 0)], rtol=1e-5)
    assert found.nominal == pytest.approx(loss(0, 0))
    drawn = two_classes().random_directions(2, scale=0.2)
    np.testing.assert_allclose(found.random, two_classes().along(drawn, alphas.tolist()))
    v = [float(drawn[0][key]) for key in ("a/device", "b/device")]
    corner = loss(2 * v[0] + 2 * 0.2, 2 * v[1] - 2 * 0.2)  # alpha = 2 along v, -2 towards the corner
    assert found.slice[2, 0] == pytest.approx(corner, rel=1e-5)
    assert found.classes == 2
    assert f"by {found.adversarial_slope:.3g} along the adversarial one" in found.statement


def test_the_study_goes_on_from_its_pieces_and_reads_as_it_was_written():
    net, kept, asked = two_classes().net, {}, []

    def piece(name, work):
        asked.append(name)
        if name not in kept:
            if len(kept) == 4:
                raise KeyboardInterrupt
            kept[name] = work()
        return kept[name]

    options = {"points": 3, "across": 3, "directions": 2, "steps": 2}
    with pytest.raises(KeyboardInterrupt):
        landscape(net, task_of_one_class(), piece=piece, **options)
    assert asked == ["random 0", "random 1", "adversarial", "slice -2.0", "slice 0.0"]
    whole = landscape(net, task_of_one_class(), **options)
    kept |= {name: {"loss": whole.slice[n]} for n, name in ((1, "slice 0.0"), (2, "slice 2.0"))}
    kept |= {f"sharpness {r!r}": {"rise": np.array(s)} for r, s in zip(whole.radii, whole.sharpness, strict=True)}
    again = landscape(net, task_of_one_class(), piece=piece, **options)
    for one in (again, LossLandscape.from_group(whole.to_group())):
        np.testing.assert_array_equal(one.slice, whole.slice)
        np.testing.assert_array_equal(one.random, whole.random)
        assert one.statement == whole.statement
    assert landscape(net, task_of_one_class(), **(options | {"across": 0})).slice.size == 0


def test_a_profile_is_the_unit_and_what_is_left_out_is_said(network, task):
    found = landscape(network(), task, profile=load_profile("dynapse1"), points=3, across=0, directions=1, steps=1)
    assert found.scale == 1.0
    assert found.unit == "σ of dynapse1"
    assert (np.diff(found.sharpness) >= 0).all()
    assert "lines and slice leave out outliers and faults, what every trial draws" in found.notes
    assert "a random direction" in found.statement


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 40}, "points: 40 must be odd"),
        ({"points": 1}, "points: 1 must be odd and at least 3"),
        ({"across": 4}, "across: 4 must be odd and at least 3 .or 0."),
        ({"directions": 0}, "directions: 0 must be at least 1"),
        ({"reach": float("inf")}, "reach: inf must be finite"),
        ({"scale": 0.0}, "scale: 0.0 must be"),
        ({"radii": []}, "radii: at least one"),
        ({"radii": [-1.0]}, "radius: -1.0"),
        ({"samples": 0}, "samples: 0"),
    ],
)
def test_mistakes_of_a_study(options, message):
    with pytest.raises(ConfigError, match=message):
        landscape(two_classes().net, task_of_one_class(), **options)
