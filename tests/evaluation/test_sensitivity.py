"""Sensitivities against closed forms, and the planted cases: one role, or only an interaction, fails the chips."""

import math

import numpy as np
import pytest
import torch
from planted import ROLES, gaussian, interacting, norms, one_sample, yield_of

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation import Requirement, evaluate, sensitivity, sensitivity_map
from snnrobust.evaluation.sensitivity import variance_shares, yields_apart
from snnrobust.hardware import Chip, Model, Profile, load_profile
from snnrobust.storage import read_run, write_run
from snnrobust.training.data import to_batch

LEVEL = 0.3
EVERY = ("weight", "bias", "gain")


@pytest.fixture(scope="module")
def planted():
    """2,000 chips of the Gaussian model, whose margin has a standard deviation of 0.9 at a mean of 1."""
    asked = Requirement(accuracy=1.0, share=0.95)
    return sensitivity(gaussian(), Profile.relative(LEVEL, EVERY), one_sample(), requirement=asked, chips=2000)


def test_the_fragile_role_is_ranked_first(planted):
    ranking = planted.ranking()
    assert [part.name for part in ranking] == ["gain", "weight", "bias"]
    assert not any(part.tied for part in ranking[1:])
    assert "calibrate gain first: yield +" in planted.statement
    assert ranking[0].gain.low > 0.05


def test_yields_are_those_of_the_closed_form(planted):
    """Each within the two one-sided 99.9 % bounds."""
    strict = Requirement(accuracy=1.0, confidence=0.999)
    for varied in planted.scores:
        spreads = {role: LEVEL if role in varied else 1e-9 for role in EVERY}
        found = strict.observed(int(planted.passes(varied).sum()), planted.chips)
        assert found.low <= yield_of(spreads) <= found.high, varied


def test_shares_of_variance_are_those_of_the_closed_form(planted):
    """Share |theta_r|^2 / sum |theta|^2; with 2,000 chips its standard error is below 2.5 points."""
    shares, interaction = planted.shares()
    total = sum(size**2 for size in norms().values())
    for role, share in zip(planted.parts, shares, strict=True):
        assert share == pytest.approx(norms()[role] ** 2 / total, abs=0.05)
    assert interaction == pytest.approx(0, abs=1e-6)  # the margin is a sum
    for part in planted.ranking():
        value, low, high = part.share
        assert low < value < high < low + 0.15
        assert low - 0.02 < norms()[part.name] ** 2 / total < high + 0.02
    assert sum(planted.shares("accuracy")[0]) + planted.shares("accuracy")[1] == pytest.approx(1)


def test_failures_that_only_an_interaction_causes():
    found = sensitivity(interacting(), Profile.relative(1.0, EVERY), one_sample(), chips=400)
    failing, together, cures = found.only_together()
    assert failing == together > 40  # P(2 z z' > 1) = 14 %
    assert cures == ("weight", "bias")
    assert all(found.yield_of(frozenset({part})).share == 1 for part in EVERY)
    shares, interaction = found.shares()
    assert interaction == pytest.approx(1, abs=0.02)
    assert np.abs(shares).max() < 0.02
    first, second, last = found.ranking()
    assert {first.name, second.name} == {"weight", "bias"}
    assert second.tied
    assert not last.tied
    assert f"{failing} of {failing} failing chips pass with each role alone" in found.statement
    assert "by an interaction of weight and bias" in found.statement
    assert "(tied on 400 chips)" in found.statement


def test_where_nothing_fails_nothing_is_first():
    found = sensitivity(gaussian(margin=100.0), Profile.relative(0.1, EVERY), one_sample(), chips=50)
    assert "no single role is known to raise the yield" in found.statement
    assert all(part.tied for part in found.ranking())


@pytest.mark.filterwarnings("ignore:relative spread")
def test_the_chips_are_those_of_an_ordinary_evaluation(network, task, untouched_generators):
    net, profile = network(), load_profile("dynapse1")
    found = sensitivity(net, profile, task, chips=6, seed=4)
    deployment = Chip(profile).deploy(net, 6, 4)
    ordinary = evaluate(deployment, task.test).accuracy[0, 0]
    np.testing.assert_array_equal(found.scores[found.everything].accuracy, ordinary)
    batch = to_batch(task.test, slice(None))
    logits = deployment.run(batch.x, lengths=batch.lengths)
    own = logits.gather(-1, batch.y.expand(6, -1).unsqueeze(-1)).squeeze(-1)
    other = torch.stack([logits[..., [c for c in range(3) if c != y]].amax(-1)[:, n] for n, y in enumerate(batch.y)], 1)
    np.testing.assert_allclose(found.scores[found.everything].margin, (own - other).mean(1), rtol=1e-5)
    assert found.parts == ("weight", "recurrent_weight", "bias", "tau_mem", "tau_syn", "v_th")
    assert len(found.scores) == 2 * len(found.parts) + 2
    assert np.ptp(found.scores[frozenset()].accuracy) == 0


def test_layers_and_components(network, task):
    for by, parts in (("layer", ("layer0", "readout")), ("component", ("die", "device"))):
        found = sensitivity(network(), load_profile("generic_subthreshold_180nm_20"), task, by=by, chips=3)
        assert found.parts == parts
        assert len(found.scores) == 4  # all but one of two is the other alone
        assert len(found.ranking()) == 2


def test_balanced_accuracy_has_a_balanced_margin(network, task_of):
    balanced = sensitivity(network(), Profile.relative(0.3), task_of(metric="balanced accuracy"), chips=3)
    plain = sensitivity(network(), Profile.relative(0.3), task_of(), chips=3)
    every = balanced.everything
    assert not np.allclose(balanced.scores[every].margin, plain.scores[every].margin)


def test_the_paired_interval_is_bonett_and_prices():
    """Their example: 4 and 26 discordant of 48, as in the R package statpsych."""
    before = np.repeat([True, False, False, True], [4, 26, 12, 6])
    after = np.repeat([False, True, False, True], [4, 26, 12, 6])
    found = yields_apart(before, after)
    assert found == (22 / 48, pytest.approx(0.2548067, abs=1e-6), pytest.approx(0.6251933, abs=1e-6), 26, 4)
    with pytest.raises(ConfigError, match="cannot be paired"):
        yields_apart(before, after[1:])


def test_shares_sum_to_one_with_the_interaction():
    effects = np.random.default_rng(0).normal(size=(3, 50))
    rest = np.random.default_rng(1).normal(size=50)
    total = effects.sum(0) + rest
    shares = variance_shares(effects, total)
    of_rest = variance_shares(rest[None], total)
    assert shares.sum() + of_rest.sum() == pytest.approx(1)
    assert np.isnan(variance_shares(effects, np.full(50, 3.0))).all()


def test_the_map_is_the_squared_derivative(untouched_generators):
    """p = softmax of (margin, 0), y = 0: dL/dz_i = -(1 - p) theta_i s."""
    found = sensitivity_map(gaussian(), one_sample().test, Profile.relative(LEVEL, EVERY))
    missing = 1 - 1 / (1 + math.exp(-1.0))
    for role, values in ROLES.items():
        expected = (missing * LEVEL * np.array(values)) ** 2
        np.testing.assert_allclose(found.devices[f"{role}/device"].reshape(-1), expected, rtol=1e-5)
    by_neuron = found.neurons()["network"]
    np.testing.assert_allclose(by_neuron["weight"], [(missing * LEVEL) ** 2 * 2], rtol=1e-5)  # both synapses
    assert by_neuron["bias"].shape == (2,)
    assert found.concentration() == pytest.approx(2 / 6)  # the gains have 6.25 of 8.75, that of -2 has 4
    assert found.samples == 1


def test_the_map_of_a_network_averages_over_samples(network, task):
    net, profile = network(), load_profile("dynapse1")
    one, two = (sensitivity_map(net, task.train.take([n]), profile).devices for n in (0, 5))
    both = sensitivity_map(net, task.train.take([0, 5]), profile)
    for key, values in both.devices.items():
        np.testing.assert_allclose(values, (one[key] + two[key]) / 2, rtol=1e-6, atol=1e-300)
    assert both.devices["layer0.weight/device"].shape == (8, 2)  # one a neuron and type
    assert set(both.neurons()) == {"layer0", "readout"}
    assert both.devices["weight/die"].shape == ()
    assert sensitivity_map(net, task.train, load_profile("pcm_ibm"), samples=2).devices["layer0.weight/g_plus"].any()


def test_a_run_file_holds_the_scores(planted, tmp_path):
    write_run(tmp_path / "s.h5", planted.to_group())
    tree = read_run(tmp_path / "s.h5")
    assert tree.array("varied").values[0] == "nothing"
    assert "all but gain" in tree.array("varied").values
    assert tree.array("accuracy").values.shape == (8, 2000)
    assert tree.attrs["statement"] == planted.statement


def test_mistakes_are_refused(network, task):
    with pytest.raises(ProfileError, match="ideal: nothing varies"):
        sensitivity(network(), load_profile("ideal"), task)
    with pytest.raises(ConfigError, match="by: unknown"):
        sensitivity(network(), load_profile("dynapse1"), task, by="neuron")


def test_chips_that_are_not_finite_fail_and_are_named():
    """The logit of the wrong class is -inf where the gain came out low: the answer is right, the chip is not."""
    net = gaussian(margin=100.0)

    def logits(params, x):
        found = net.run(params, x)
        return torch.where(params["gain"][0] < 1.2, torch.tensor([0.0, -torch.inf], dtype=torch.float64), found)

    model = Model(logits, net.nominal(), {role: role for role in EVERY})
    found = sensitivity(model, Profile.relative(0.2, EVERY), one_sample(), chips=100)
    low = len(found.not_finite)
    assert 5 < low < 40  # P(z < -1) is 16 %
    assert found.yield_of(found.everything).passed == 100 - low
    best = found.ranking()[0]
    assert (best.name, best.gain.better) == ("gain", low)
    assert "gave outputs that are not finite, and failed" in found.statement


def test_where_no_chip_is_finite_it_says_so_without_a_warning(recwarn):
    one = torch.ones(1, dtype=torch.float64)

    def logits(params, x):
        return torch.full((x.shape[1], 2), torch.nan, dtype=torch.float64)

    model = Model(logits, {"bias": one, "gain": one.clone()}, {"bias": "bias", "gain": "gain"})
    found = sensitivity(model, Profile.relative(0.2, ("bias", "gain")), one_sample(), chips=5)
    assert found.yield_of(found.everything).passed == 0
    assert found.statement.endswith("; chips 0, 1, 2, 3, 4 gave outputs that are not finite, and failed")
    assert np.isnan(found.shares()[0]).all()
    assert not recwarn.list


def test_deviations_that_add_up_are_no_interaction(planted):
    assert planted.only_together()[1] > 0
    assert "fail only where several add up" in planted.statement
