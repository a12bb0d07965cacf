"""Rare failures: planted linear Gaussian readouts, and plain Monte Carlo where both are possible."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation import clopper_pearson, evaluate
from snnrobust.evaluation.rare import importance_sampling, subset_simulation
from snnrobust.evaluation.rare_chips import common_factors, failures_by_common_factors, failures_by_subsets
from snnrobust.hardware import Chip, Model, Profile, load_profile
from snnrobust.hardware.profile import parse_profile
from snnrobust.tasks import Task


def linear(z, numbers=None):
    """N(0, 1), whatever the number of coordinates."""
    return z.sum(1) / math.sqrt(z.shape[1])


def two_sided(z, numbers=None):
    return -np.abs(linear(z))


@pytest.mark.parametrize(("score", "sides"), [(linear, 1), (two_sided, 2)])
@pytest.mark.parametrize("sigmas", [2.0, 3.5])
def test_importance_sampling_covers_the_planted_share(score, sides, sigmas):
    """400 repetitions of 800 weighted chips; of an approximate 95 % interval, 90 % or more is asked."""
    truth = sides * stats.norm.sf(sigmas)
    found = [importance_sampling(score, 3, -sigmas, chips=800, pilot=400, seed=seed) for seed in range(400)]
    assert np.mean([f.low <= truth <= f.high for f in found]) > 0.9
    shares = np.array([f.share for f in found])
    assert abs(shares.mean() - truth) < 4.5 * shares.std() / math.sqrt(400)  # unbiased
    assert np.median([f.effective for f in found]) > 25
    assert found[0].chips == 1200


def test_importance_sampling_narrows_what_plain_monte_carlo_cannot_see():
    found = importance_sampling(linear, 2, -4.0)
    assert found.low <= stats.norm.sf(4.0) <= found.high
    assert found.high < clopper_pearson(0, found.chips)[1] / 10


def test_where_no_chip_is_bad_there_is_an_upper_bound():
    found = importance_sampling(linear, 2, -1000.0, chips=400)
    assert (found.share, found.low, found.effective) == (0.0, 0.0, 0.0)
    assert found.high == pytest.approx(3.69 / 200, rel=1e-2)  # no bad one of 200 that are drawn from N(0, I)


@pytest.mark.parametrize("sigmas", [1.0, 3.0])
def test_subset_simulation_covers_the_planted_share_in_many_dimensions(sigmas):
    """300 times 10 runs in 40 dimensions: 88 % or more is asked of the approximate 95 % interval.

    With no more than 20 chains a level; were k of n chips a level counted as k / n, the share would be 13 % too high at
    3 sigma, which is 7 standard errors.
    """
    truth = stats.norm.sf(sigmas)
    found = [subset_simulation(linear, 40, -sigmas, chips=200, seed=seed) for seed in range(300)]
    assert np.mean([f.low <= truth <= f.high for f in found]) > 0.88
    shares = np.array([f.share for f in found])
    assert abs(shares.mean() / truth - 1) < 0.06
    assert found[0].effective == 10


def test_subset_simulation_reaches_far():
    found = subset_simulation(linear, 100, -5.0, chips=1000)
    assert 0.5 < found.share / stats.norm.sf(5.0) < 2
    assert found.low < stats.norm.sf(5.0) < found.high


def test_where_no_run_comes_down_there_is_no_interval():
    """Scores of three values have no levels in between."""
    found = subset_simulation(lambda z: np.where(z[:, 0] > -2.5, 1.0, 0.5), 5, 0.2)
    assert found.share == 0
    assert math.isnan(found.low)
    assert found.effective == 0


def test_the_same_seed_gives_the_same_and_moves_no_generator(untouched_generators):
    for method in (importance_sampling, subset_simulation):
        assert method(linear, 3, -2.0, seed=1) == method(linear, 3, -2.0, seed=1)
        assert method(linear, 3, -2.0, seed=1) != method(linear, 3, -2.0, seed=2)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (importance_sampling, {"dimensions": 0}, "dimensions: 0 must be at least 1"),
        (importance_sampling, {"dimensions": 2, "defence": 0.0}, "importance sampling: needs 0 < defence"),
        (subset_simulation, {"dimensions": 2, "runs": 9}, "runs: 9 must be at least 10"),
        (subset_simulation, {"dimensions": 2, "chips": 10}, "chips: 10 must be at least 20"),
    ],
)
def test_arguments_outside_their_domain(method, options, message):
    with pytest.raises(ConfigError, match=message):
        method(linear, threshold=-1.0, **options)


SHARED = """
schema_version: "1.0"
name: shared
kind: analog_asic
description: A die factor on all weights, and device mismatch.
evidence: assumption
parameters:
  weight:
    distribution: lognormal
    granularity: per_synapse
    components: {die: {cv: 0.25}, device: {cv: 0.1}}
"""
DISTANCES = np.linspace(0.5, 2.5, 41)


def readout():
    """Sample b is right where the sum of the weights exceeds its distance: the accuracy falls with the sum."""

    def logits(params, x):
        inputs = x.sum(0).double()
        return torch.cat([inputs[:, :3] @ params["w"].T, inputs[:, 3:]], 1)

    return Model(logits, {"w": torch.tensor([[1.0, 0.8, 0.6]], dtype=torch.float64)}, {"w": "weight"})


def graded():
    x = np.ones((2 + 41, 1, 4))
    x[2:, 0, 3] = DISTANCES
    return Task.from_arrays(x, [0, 1, *[0] * 41], [0, 0, *[2] * 41], dt=1e-3)


def test_both_methods_agree_with_plain_monte_carlo_on_chips():
    """Some 2 % of the chips are bad: 4,000 plain chips, and each method's interval, whose joint miss is below 1 %."""
    deployment, data = Chip(parse_profile(SHARED)).deploy(readout(), instances=4000), graded().test
    accuracy = evaluate(deployment, data).accuracy[0, 0]
    specification = float(np.quantile(accuracy, 0.02, method="higher"))
    bad = int((accuracy < specification - 1e-9).sum())
    assert 20 < bad < 200
    low, high = clopper_pearson(bad, 4000, 0.99)
    weighed = failures_by_common_factors(
        Chip(parse_profile(SHARED)).deploy(readout(), instances=1500, seed=2), data, specification, pilot=500
    )
    subsets = failures_by_subsets(deployment, data, specification, chips=300)
    for found in (weighed, subsets):
        assert found.low < high
        assert found.high > low
        assert found.share == pytest.approx(bad / 4000, rel=0.5)
    assert weighed.effective > 30


def test_common_factors_are_those_that_devices_share():
    placement = Chip(parse_profile(SHARED)).deploy(readout(), instances=2).placement
    assert [c.key for c in common_factors(placement)] == ["weight/die"]


def test_what_the_methods_cannot_do(network, task):
    relative = Chip(Profile.relative(0.2)).deploy(network(), instances=20)
    with pytest.raises(ProfileError, match=r"relative_0\.2: no spread of die, core or field"):
        failures_by_common_factors(relative, task.test, 0.5)
    with pytest.raises(ConfigError, match="pilot: 19 of 20 chips"):
        failures_by_common_factors(Chip(parse_profile(SHARED)).deploy(readout(), 20), graded().test, 0.5, pilot=19)
    with pytest.raises(ProfileError, match="pcm_ibm: subset simulation needs chips without"):
        failures_by_subsets(Chip(load_profile("pcm_ibm")).deploy(network(), 2), task.test, 0.5)
    with pytest.raises(ProfileError, match="ideal: nothing varies"):
        failures_by_subsets(Chip(load_profile("ideal")).deploy(network(), 2), task.test, 0.5)
