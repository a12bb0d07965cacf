"""Attacks at inference: against the closed form of a linear model, and what the curves and the file say."""

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.evaluation.attack import attack, cross_entropies, divergences
from snnrobust.evaluation.worst_case import worst_case, write_harmful
from snnrobust.hardware import Chip, Profile, load_profile
from snnrobust.hardware.chosen import choose
from snnrobust.hardware.mismatch import place, realise
from snnrobust.storage import read_run
from snnrobust.training.data import to_batch
from snnrobust.training.problem import kl_divergence


@pytest.mark.parametrize("restarts", [1, 4])
def test_the_worst_linear_device_is_the_corner_against_the_margin(linear, restarts):
    """One sample of class 0: the loss is convex in w, and grows as class 0's row falls and the others' rise."""
    x, y, radius = torch.tensor([[[1.0, -2.0, 3.0]]]), torch.tensor([0]), 0.25
    net = linear()
    found = attack(net, x, y, radius=radius, steps=10, restarts=restarts)
    sign = torch.sign(x[0].double() * net.nominal()["w"].detach())
    worst = sign * torch.tensor([[-1.0], [1.0], [1.0]])
    corner = net.nominal()["w"].detach() * (1 + radius * worst)
    np.testing.assert_allclose(found.params["w"][0], corner, rtol=1e-6)
    assert found.loss[0] > found.nominal
    assert (found.loss[:-1] >= found.loss[1:]).all()
    assert len(found.loss) == 2 * restarts  # and the vertices nearest to where they end


def test_attacked_devices_stay_in_the_box_and_are_what_their_coordinates_say(network, task):
    batch = to_batch(task.train, slice(None))
    net, profile = network(), load_profile("dynapse1")
    found = attack(net, batch.x, batch.y, radius=0.5, profile=profile, steps=4, restarts=3)
    placement = place(profile, net.parameter_specs())
    for key, c in placement.coordinates.items():
        if c.kind == "continuous":
            assert found.z[key].abs().max() <= 0.5 * (1 + 1e-6)
    again = realise(placement, net.nominal(), found.z)
    assert all(torch.equal(again[name], p) for name, p in found.params.items())


def test_attacks_search_what_a_calibration_leaves(network, task):
    """Of the coordinates before it only those of what is not calibrated matter, and the loss is no larger."""
    batch, profile, net = to_batch(task.train, slice(None)), load_profile("brainscales2"), network()
    found = {}
    for mode in ("none", "residual"):
        found[mode] = attack(net, batch.x, batch.y, radius=1.0, profile=profile, calibration=mode, steps=4, restarts=2)
    placement = place(profile, net.parameter_specs(), calibration="residual")
    moved = {**found["residual"].z, "layer0.tau_mem/device": 0 * found["residual"].z["layer0.tau_mem/device"]}
    assert torch.equal(
        realise(placement, net.nominal(), moved)["layer0.tau_mem"], found["residual"].params["layer0.tau_mem"]
    )
    assert found["residual"].z["layer0.tau_mem/residual"].abs().max() == 1.0
    assert found["residual"].loss[0] < found["none"].loss[0]
    worst = worst_case(net, task, [1.0], profile=profile, calibration="residual", steps=2, restarts=1, chips=2)
    assert any("calibration residual of" in note for note in worst.notes)


def test_losses_of_devices_are_those_of_training():
    generator = torch.Generator().manual_seed(0)
    logits, clean = torch.randn(3, 5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    y, weights = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([0.5, 1.0, 2.0, 3.0])
    for k in range(3):
        for w in (None, weights):
            expected = torch.nn.functional.cross_entropy(logits[k], y, weight=w)
            torch.testing.assert_close(cross_entropies(logits, y, w)[k], expected)
        torch.testing.assert_close(divergences(clean, logits)[k], kl_divergence(clean, logits[k]))


def test_the_curve(linear, task, tmp_path, untouched_generators):
    net = linear()
    found = worst_case(net, task, [0.4, 0.0, 0.2], steps=8, restarts=2, chips=6)
    assert found.radii == (0.0, 0.2, 0.4)
    assert found.attacked["task"][0] == found.gaussian[0].max() == found.vertices[0].min() == found.nominal
    for loss in ("task", "kl"):
        assert (np.diff(found.losses[loss]) > 0).all()
        assert found.attacked[loss].shape == (3,)
    assert found.gaussian.shape == found.vertices.shape == (3, 6)
    # On what was attacked the found device is worse than every random one; the model is smooth.
    batch = to_batch(task.train, slice(None), torch.float64)
    box = Chip(Profile.relative(1.0)).deploy(net, 1, 1, "attack")
    assert found.harmful.instances == 1
    worst = cross_entropies(found.harmful.run(batch.x), batch.y)
    signs = torch.randint(0, 2, (200, 3, 3), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    random = cross_entropies(choose(box, {"w/device": 0.4 * signs}).run(batch.x), batch.y)
    assert worst[0] > random.max()
    assert "a worst case, not a yield statement" in found.statement
    assert "(train)" in found.statement
    assert "(test)" in found.statement


def test_the_file_of_the_most_harmful_chip(linear, task, tmp_path):
    net = linear()
    found = worst_case(net, task, [0.3], losses=["task"], steps=4, restarts=1, chips=2)
    write_harmful(tmp_path / "worst.h5", found)
    tree = read_run(tmp_path / "worst.h5")
    z = tree.array("z/w/device").values
    w = net.nominal()["w"].detach().numpy()
    np.testing.assert_allclose(tree.array("parameters/w").values, w * (1 + z.astype(np.float64)), rtol=1e-6)
    assert np.abs(z).max() <= 0.3 + 1e-6
    assert "a worst case, not a yield statement" in str(tree.attrs["statement"])
    assert tree.attrs["chip_format"] == "snnrobust chip"
    np.testing.assert_array_equal(tree.array("worst_case/attacked_task").values, found.attacked["task"])


def test_one_seed_is_one_result(network, task):
    first, second = (worst_case(network(), task, [0.2], steps=3, restarts=2, chips=3) for _ in range(2))
    assert np.array_equal(first.gaussian, second.gaussian)
    assert np.array_equal(first.losses["kl"], second.losses["kl"])


def test_without_variation_it_is_the_nominal_network(network, task):
    net, batch = network(), to_batch(task.test, slice(None))
    found = worst_case(net, task, [0.1], losses=["kl"], steps=1, restarts=1, chips=1)
    assert found.nominal == (net(batch.x, batch.lengths).argmax(-1) == batch.y).double().mean()
    ideal = worst_case(net, task, [0.1, 3.0], profile=load_profile("ideal"), steps=1, restarts=1, chips=2)
    assert (ideal.attacked["task"] == found.nominal).all()
    assert (ideal.gaussian == found.nominal).all()


def test_mistakes_are_refused(linear, task):
    net = linear()
    for options, message in (
        ({"radii": []}, "at least one radius"),
        ({"radii": [-1.0]}, "radius: -1.0"),
        ({"losses": ["ce"]}, "loss: unknown 'ce'"),
        ({"steps": 0}, "steps: 0"),
        ({"score_on": "train"}, "score_on"),
        ({"attack_on": "all"}, "no part 'all'"),
    ):
        with pytest.raises(ConfigError, match=message):
            worst_case(net, task, **{"radii": [0.1], **options})
    base = Chip(Profile.relative(1.0)).deploy(net, 1)
    with pytest.raises(ConfigError, match=r"z: w/die"):
        choose(base, {"w/die": torch.zeros(1, 3, 3)})
