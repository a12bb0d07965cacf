"""Breaking levels that are planted: a linear Gaussian readout, whose yield at every level has a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import benchmark, breaking_levels, read_breaking_levels, read_tolerance
from snnrobust.evaluation.breaking import BreakingLevels, Search
from snnrobust.hardware import Chip, Model, Profile, load_profile
from snnrobust.hardware.chosen import scale
from snnrobust.hardware.profile import parse_profile
from snnrobust.report.yields import breaking_notes
from snnrobust.storage import journal_path
from snnrobust.tasks import Task

WEIGHTS = torch.tensor([[1.0, 0.5, 0.25]], dtype=torch.float64)
MEAN, SPREAD = float(WEIGHTS.sum()), float((WEIGHTS**2).sum().sqrt())


def one_sample():
    """Every sample is (1, 1, 1), but for one of class 1 that training needs."""
    x = np.ones((6, 1, 3))
    return Task.from_arrays(x, [0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 2, 2], dt=1e-3)


def gaussian_readout(fn=None):
    """Logits (w x, 0): right where the sum of the weights is positive, MEAN + level SPREAD zeta with zeta ~ N(0, 1)."""

    def logits(params, x):
        score = x.sum(0).double() @ params["w"].T
        return torch.cat([score if fn is None else fn(score), torch.zeros_like(score)], 1)

    return Model(logits, {"w": WEIGHTS}, {"w": "weight"})


def planted(chips):
    """The level at which each chip breaks: -MEAN / (SPREAD zeta) where zeta is negative, else never."""
    deployment = Chip(Profile.relative(1.0)).deploy(gaussian_readout(), instances=chips)
    (z,) = deployment.coordinates(range(chips)).values()
    slope = (z.double() * WEIGHTS).sum((1, 2)).numpy()
    return np.where(slope < 0, -MEAN / np.minimum(slope, -1e-30), math.inf)


def found_on(chips, **options):
    return breaking_levels({"net": gaussian_readout()}, one_sample(), instances=chips, show_progress=False, **options)[
        "net"
    ]


GRID = (0.0, 0.5, 1.0, 2.0, 4.0)


def test_planted_levels_are_found_from_below():
    levels = planted(300)
    found = found_on(300, grid=GRID, resolution=0.01)
    inside = levels < 4
    assert 50 < inside.sum() < 250
    below = levels[inside] - found.levels[inside]
    assert below.min() > -1e-6
    assert below.max() <= 0.01
    assert np.isinf(found.levels[~inside]).all()
    np.testing.assert_array_equal(found.passed, np.array(GRID) < levels[:, None])
    assert not found.reentrant.any()


def test_the_tolerance_covers_the_closed_form():
    """2,000 repetitions of 150 planted chips: P(good at level L) = Phi(MEAN / (L SPREAD)) is 90 % at the truth."""
    truth = MEAN / (SPREAD * stats.norm.ppf(0.9))
    zeta = np.random.default_rng(0).normal(size=(2000, 150))
    levels = np.where(zeta < 0, -MEAN / (SPREAD * np.minimum(zeta, -1e-30)), math.inf)
    found = [made(row).at_yield(0.9) for row in levels]
    covered = np.mean([t.low <= truth <= t.high for t in found])
    assert 0.94 < covered < 0.985
    assert abs(np.median([t.level for t in found]) - truth) < 0.1 * truth


def made(levels, passed=None):
    passed = np.ones((len(levels), 2), bool) if passed is None else np.asarray(passed)
    return BreakingLevels("relative level", (0.0, 1.0), passed, np.asarray(levels, float), 0.01, 0.9, "accuracy", "")


def test_the_tolerance_is_the_largest_level_that_enough_chips_withstand():
    levels = np.arange(1.0, 1001.0)
    for share in (0.99, 0.95, 0.5):
        at = made(levels).at_yield(share)
        assert (levels >= at.level).mean() >= share > (levels >= at.level + 1).mean()
        assert at.low < at.level < at.high
        assert at.resolved


def test_few_chips_do_not_resolve_a_high_yield():
    assert not made(np.arange(367.0)).at_yield(0.99).resolved
    assert made(np.arange(368.0)).at_yield(0.99).resolved
    assert made([1.0]).at_yield(0.99) == (1.0, -math.inf, 1.0, False, 1, 0.95)


def test_the_grid_agrees_with_a_benchmark_at_its_levels(linear, task):
    """The same chips at the same levels, whether they are scaled or deployed at that level."""
    levels = (0.0, 0.2, 0.5, 0.9)
    found = breaking_levels(
        {"net": linear()}, task, specification=0.7, grid=levels, instances=40, seed=3, show_progress=False
    )["net"]
    table = benchmark({"net": linear()}, levels, task, instances=40, seed=3, show_progress=False)
    np.testing.assert_array_equal(found.passed, table.accuracy[0].T >= 0.7 - 1e-9)
    assert 0 < found.passed[:, 2].sum() < 40


def test_a_spiking_network_agrees_as_well(network, task):
    found = breaking_levels(
        {"net": network()}, task, specification=0.3, grid=(0.0, 0.3, 1.0), instances=12, show_progress=False
    )["net"]
    table = benchmark({"net": network()}, (0.0, 0.3, 1.0), task, instances=12, show_progress=False)
    assert (found.passed != (table.accuracy[0].T >= 0.3 - 1e-9)).sum() <= 1  # a tie in float32


def test_reentrant_chips_are_counted():
    """Bad where the score has moved by 0.5 to 1, good again beyond: on a grid of 0, 0.25, ... 2 that can be planted."""

    def window(score):
        moved = (score - MEAN).abs()
        return torch.where((moved > 0.5) & (moved < 1), -1.0, 1.0)

    grid = tuple(np.arange(0, 2.01, 0.25))
    found = breaking_levels(
        {"net": gaussian_readout(window)}, one_sample(), grid=grid, instances=200, show_progress=False
    )["net"]
    deployment = Chip(Profile.relative(1.0)).deploy(gaussian_readout(), instances=200)
    (z,) = deployment.coordinates(range(200)).values()
    moved = (z.double() * WEIGHTS).sum((1, 2)).abs().numpy()[:, None] * np.array(grid)
    bad = (moved > 0.5) & (moved < 1)
    again = np.array([row.any() and not row[row.argmax() :].all() for row in bad])
    assert 20 < again.sum() < 200
    np.testing.assert_array_equal(found.reentrant, again)
    first = np.where(bad.any(1), bad.argmax(1), len(grid) - 1)
    broken = bad.any(1)
    assert (found.levels[broken] <= np.array(grid)[first][broken]).all()  # the first failure counts


def test_chips_that_are_bad_without_variation():
    never = gaussian_readout(lambda score: -score.abs() - 1)
    found = breaking_levels({"net": never}, one_sample(), instances=5, show_progress=False)["net"]
    assert not found.passed.any()
    assert (found.levels == 0).all()


def test_blocks_change_nothing(monkeypatch):
    whole = found_on(23, grid=GRID)
    monkeypatch.setattr("snnrobust.evaluation.breaking.block_size", lambda net, data: 5)
    parts = found_on(23, grid=GRID)
    np.testing.assert_array_equal(whole.levels, parts.levels)
    np.testing.assert_array_equal(whole.passed, parts.passed)


FAULTY = """
schema_version: "1.0"
name: faulty
kind: analog_asic
description: Lognormal weights, and dead synapses.
evidence: assumption
parameters:
  weight:
    distribution: lognormal
    granularity: per_synapse
    components: {device: {cv: 0.3}, temporal: {cv: 0.1, redraw: trial}}
faults: {dead_synapse: 0.2}
"""


def test_a_profiles_spreads_are_scaled_and_its_faults_are_not():
    """Factor f of a lognormal is exp(f s z) on the synapses that are alive; factor 1 is the profile itself."""
    deployment = Chip(parse_profile(FAULTY)).deploy(gaussian_readout(), instances=30)
    own = deployment.parameters(range(30))["w"]
    factors = torch.linspace(0.0, 3.0, 30, dtype=torch.float64)
    moved = scale(deployment, range(30), factors).parameters(range(30))["w"]
    alive = own != 0
    assert 0 < int((~alive).sum()) < own.numel()
    assert bool(((moved != 0) == alive).all())
    expected = (own / WEIGHTS).log() * factors[:, None, None]
    torch.testing.assert_close((moved / WEIGHTS).log()[alive], expected[alive], rtol=1e-5, atol=1e-6)
    same = scale(deployment, range(30), torch.ones(30)).parameters(range(30))["w"]
    torch.testing.assert_close(same, own, rtol=0, atol=0)
    some = scale(deployment, [4, 7], factors[[4, 7]]).parameters([7, 4])["w"]
    torch.testing.assert_close(some, moved[[7, 4]], rtol=0, atol=0)
    with pytest.raises(ConfigError, match=r"factors: shape .2,. must be one a chip"):
        scale(deployment, range(3), torch.ones(2))


def test_multiples_of_a_profile(network, task):
    found = breaking_levels(
        {"net": network()}, task, profile=load_profile("dynapse1"), specification=0.3, instances=6, grid=(0, 1, 2),
        show_progress=False,
    )["net"]  # fmt: skip
    table = benchmark({"net": network()}, [load_profile("dynapse1")], task, instances=6, show_progress=False)
    assert (found.passed[:, 1] != (table.accuracy[0, 0] >= 0.3 - 1e-9)).sum() <= 1
    assert found.condition == "dynapse1"
    assert any("not calibrated" in note for note in found.notes)


def test_a_run_file_keeps_the_levels_and_goes_on(tmp_path, monkeypatch):
    path, expected = tmp_path / "t.h5", found_on(20, grid=GRID)
    monkeypatch.setattr("snnrobust.evaluation.breaking.block_size", lambda net, data: 5)
    whole, calls = Search.block, []

    def stopped(self, deployment, data, block):
        calls.append(block.start)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, deployment, data, block)

    monkeypatch.setattr(Search, "block", stopped)
    with pytest.raises(KeyboardInterrupt):
        found_on(20, grid=GRID, run=path)
    assert not path.exists()
    found = found_on(20, grid=GRID, run=path)
    assert calls == [0, 5, 10, 10, 15]
    assert not journal_path(path).exists()
    np.testing.assert_array_equal(found.levels, expected.levels)
    again = found_on(20, grid=GRID, run=path)
    assert len(calls) == 5
    for other in (again, read_breaking_levels(path)["net"]):
        np.testing.assert_array_equal(other.levels, expected.levels)
        np.testing.assert_array_equal(other.passed, expected.passed)
        assert (other.grid, other.resolution, other.population) == (GRID, 0.04, expected.population)
    with pytest.raises(RunFileError, match="holds another tolerance"):
        found_on(21, grid=GRID, run=path)
    assert len(found_on(21, grid=GRID, run=path, overwrite=True).levels) == 21


def test_the_file_of_another_kind(tmp_path, linear, task):
    benchmark({"net": linear()}, [0.1], task, instances=2, run=tmp_path / "b.h5", show_progress=False)
    with pytest.raises(RunFileError, match="holds no breaking levels"):
        read_breaking_levels(tmp_path / "b.h5")
    found_on(2, run=tmp_path / "b.h5")
    assert len(read_breaking_levels(tmp_path / "b.h5")["net"].levels) == 2
    assert read_tolerance(tmp_path / "b.h5")[0].chips == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (0.1, 0.2)}, "grid: 0.1, 0.2 must be ascending levels from 0"),
        ({"grid": (0.0, 0.2, 0.2)}, "grid: 0, 0.2, 0.2 must be"),
        ({"grid": (0.0,)}, "grid: 0 must be"),
        ({"grid": (0.0, math.inf)}, "grid: 0, inf must be"),
        ({"grid": ()}, "grid:  must be ascending levels"),
        ({"resolution": 0.0}, "resolution: 0.0 must be above 0"),
        ({"resolution": 1e-20}, "resolution: 1e-20 must be above 0, and at least 1e-06"),
        ({"resolution": math.inf}, "resolution: inf must be above 0"),
        ({"specification": 1.2}, "specification: 1.2"),
        ({"trials": 0}, "at least one of each"),
        ({"purpose": "tset"}, "purpose: unknown 'tset'"),
    ],
)
def test_arguments_outside_their_domain(options, message):
    with pytest.raises(ConfigError, match=message):
        found_on(2, **options)


def test_no_yield_of_one():
    with pytest.raises(ConfigError, match=r"yield: 1\.0 must be between 0 and 1"):
        made([1.0, 2.0]).at_yield(1.0)


def test_a_chip_breaks_where_its_outputs_are_not_finite(tmp_path):
    """NaN in one logit of ten where the score has moved by 1 or more: every answer is right, and still it fails."""

    def logits(params, x):
        score = x.sum(0).double() @ params["w"].T
        other = torch.full_like(score, -1.0)
        return torch.cat([score.abs() + 1, torch.where((score - MEAN).abs() < 1, other, torch.nan)], 1)

    net = Model(logits, {"w": WEIGHTS}, {"w": "weight"})
    found = breaking_levels(
        {"net": net}, one_sample(), specification=0.0, grid=GRID, resolution=0.01, instances=60, show_progress=False,
        run=tmp_path / "run.h5",
    )["net"]  # fmt: skip
    (z,) = Chip(Profile.relative(1.0)).deploy(net, instances=60).coordinates(range(60)).values()
    levels = 1 / (z.double() * WEIGHTS).sum((1, 2)).abs().numpy()
    inside = levels < 4
    assert 30 < inside.sum() < 60
    assert ((levels - found.levels)[inside] <= 0.01 + 1e-6).all()
    np.testing.assert_array_equal(found.broken, inside)
    np.testing.assert_array_equal(read_breaking_levels(tmp_path / "run.h5")["net"].broken, inside)
    assert any("gave outputs that are not finite at a level" in line for line in breaking_notes({"net": found}, 0.9))
