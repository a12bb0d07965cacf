"""Chips one by one by hand against blocks, networks, levels and profiles at once."""

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError, ProfileError, RunFileError
from snnrobust.evaluation import benchmark, evaluate, montecarlo
from snnrobust.evaluation.results import read_tolerance
from snnrobust.hardware import Chip, Profile, load_profile
from snnrobust.hardware.profile import parse_profile
from snnrobust.training import Tuning, finetune

LEVELS = (0.0, 0.2, 0.5)


def by_hand(net, profile, split, chips, seed=1, purpose="test"):
    """Accuracy and mean recall of each chip, one at a time, from its exported parameters."""
    deployment = Chip(profile).deploy(net, instances=chips, seed=seed, purpose=purpose)
    accuracy, balanced = [], []
    for k in range(chips):
        params = deployment.export(k)
        right = []
        for b in range(len(split)):
            x = torch.from_numpy(split.x[b : b + 1].swapaxes(0, 1).copy())
            with torch.no_grad():
                right.append(int(net.run(params, x)[0].argmax()) == split.y[b])
        right = np.array(right)
        accuracy.append(right.mean())
        balanced.append(np.mean([right[split.y == c].mean() for c in range(3)]))
    return np.array(accuracy), np.array(balanced)


def quietly(*arguments, **options):
    return benchmark(*arguments, show_progress=False, **options)


def test_accuracies_are_those_of_each_chip_alone(linear, task):
    net = linear()
    result = quietly({"net": net}, LEVELS, task, instances=7, seed=3)
    assert result.models == ("net",)
    assert result.conditions == ("relative_0", "relative_0.2", "relative_0.5")
    assert result.levels == LEVELS
    assert result.accuracy.shape == (1, 3, 7)
    for c, level in enumerate(LEVELS):
        accuracy, balanced = by_hand(net, Profile.relative(level), task.test, 7, seed=3)
        np.testing.assert_allclose(result.measures["accuracy"][0, c], accuracy, rtol=1e-12)
        np.testing.assert_allclose(result.measures["balanced_accuracy"][0, c], balanced, rtol=1e-12)
    assert not result.measures["nonfinite"].any()
    assert len(set(result.accuracy[0, 0])) == 1
    assert len(set(result.accuracy[0, 2])) > 2
    assert not np.allclose(result.measures["accuracy"], result.measures["balanced_accuracy"])


def test_the_tasks_metric_counts(linear, task_of):
    plain = quietly({"net": linear()}, [0.5], task_of(), instances=5)
    balanced = quietly({"net": linear()}, [0.5], task_of(metric="balanced accuracy"), instances=5)
    assert np.array_equal(plain.accuracy, plain.measures["accuracy"])
    assert np.array_equal(balanced.accuracy, plain.measures["balanced_accuracy"])


@pytest.mark.parametrize("bytes_of_a_block", [1, 4 * 5 * 24 * 3 * 4, 10**9])
def test_the_size_of_blocks_changes_nothing(linear, task, monkeypatch, bytes_of_a_block):
    expected = quietly({"net": linear()}, LEVELS, task, instances=9)
    monkeypatch.setattr(montecarlo, "BLOCK_BYTES", bytes_of_a_block)
    assert montecarlo.block_size(linear(), task.test) == {1: 1, 10**9: 694444}.get(bytes_of_a_block, 4)
    found = quietly({"net": linear()}, LEVELS, task, instances=9)
    for name, values in expected.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)


def test_the_size_of_batches_changes_nothing(linear, task, monkeypatch):
    expected = quietly({"net": linear()}, LEVELS, task, instances=4)
    monkeypatch.setattr(montecarlo, "BATCH", 5)
    found = quietly({"net": linear()}, LEVELS, task, instances=4)
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)


def test_a_spiking_network_in_blocks(network, task, monkeypatch):
    """In float32 a tie may part a sample: at most one of 24, on at most one chip in ten."""
    conditions = [0.3, load_profile("dynapse1"), load_profile("pcm_ibm")]
    expected = quietly({"net": network()}, conditions, task, instances=10)
    monkeypatch.setattr(montecarlo, "BLOCK_BYTES", 1)
    found = quietly({"net": network()}, conditions, task, instances=10)
    apart = np.abs(found.measures["accuracy"] - expected.measures["accuracy"])
    assert apart.max() <= 1 / 24 + 1e-9
    assert (apart > 0).mean() <= 0.1
    assert expected.measures["accuracy"].std(-1).min() > 0


def test_the_same_chips_for_every_model_and_level(linear, task, recorded):
    first, second = recorded(linear()), recorded(linear(weight=torch.eye(3, dtype=torch.float64) * 2 + 1))
    quietly({"a": first, "b": second}, [0.2, 0.5], task, instances=6)
    z = [
        (params["w"] / net.nominal()["w"] - 1) / level
        for net in (first, second)
        for level, (params, _) in zip((0.2, 0.5), net.passes[:2], strict=True)  # the third is on no chip
    ]
    assert z[0].shape == (6, 3, 3)
    assert float(z[0].std()) > 0.5
    for other in z[1:]:
        torch.testing.assert_close(other, z[0], rtol=1e-6, atol=1e-6)


def test_a_model_alone_has_the_result_it_has_beside_others(linear, task):
    other = linear(weight=torch.eye(3, dtype=torch.float64))
    both = quietly({"a": linear(), "b": other}, LEVELS, task, instances=5)
    alone = quietly({"b": other}, (0.5,), task, instances=8)
    np.testing.assert_array_equal(both.accuracy[1, 2], alone.accuracy[0, 0, :5])


def test_evaluate_is_a_benchmark_of_one_cell(linear, task):
    profile = Profile.relative(0.4)
    deployment = Chip(profile).deploy(linear(), instances=8, seed=5)
    found = evaluate(deployment, task.test, label="net")
    expected = quietly({"net": linear()}, [profile], task, instances=8, seed=5)
    assert (found.models, found.conditions, found.levels) == (expected.models, expected.conditions, expected.levels)
    for name, values in expected.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)


def test_validation_has_other_chips_and_other_data(linear, task, recorded):
    nets = {purpose: recorded(linear()) for purpose in ("test", "validation")}
    results = {p: quietly({"net": net}, [0.4], task, instances=5, purpose=p) for p, net in nets.items()}
    for purpose, split in (("test", task.test), ("validation", task.validation)):
        accuracy, _ = by_hand(linear(), Profile.relative(0.4), split, 5, purpose=purpose)
        np.testing.assert_allclose(results[purpose].accuracy[0, 0], accuracy, rtol=1e-12)
        assert purpose in results[purpose].population
    (test_chips, _), (validation_chips, _) = nets["test"].passes[0], nets["validation"].passes[0]
    assert not bool((test_chips["w"] == validation_chips["w"]).any())


def test_another_seed_has_other_chips(linear, task):
    one, two = (quietly({"n": linear()}, [0.5], task, instances=20, seed=s).accuracy for s in (1, 2))
    assert not np.array_equal(one, two)


def test_nonfinite_outputs_are_reported_and_wrong(linear, task):
    """A chip whose first weight came out large gives NaN for every sample whose input is positive."""

    def fn(params, x):
        logits = x.sum(0).double() @ params["w"].T
        broken = (params["w"][0, 0] > 1.3) & (x[0, :, 0] > 0)
        return torch.where(broken[:, None] & torch.tensor([False, False, True]), torch.nan, logits)

    net = linear(fn)
    result = quietly({"net": net}, [0.3], task, instances=30)
    healthy = quietly({"net": linear()}, [0.3], task, instances=30)
    chips = Chip(Profile.relative(0.3)).deploy(net, instances=30)
    broken = np.array([float(chips.export(k)["w"][0, 0]) > 1.3 for k in range(30)])
    assert 0 < broken.sum() < 30
    affected = task.test.x[:, 0, 0] > 0
    np.testing.assert_array_equal(result.measures["nonfinite"][0, 0], broken * affected.sum())
    np.testing.assert_array_equal(result.accuracy[0, 0, ~broken], healthy.accuracy[0, 0, ~broken])
    (summary,) = result.summary(0.5)
    assert summary.nonfinite == broken.sum()
    for k in np.flatnonzero(broken):
        x = torch.from_numpy(task.test.x.swapaxes(0, 1).copy())
        logits = x.sum(0).double() @ chips.export(int(k))["w"].T
        right = (logits.argmax(-1).numpy() == task.test.y) & ~affected
        assert result.accuracy[0, 0, k] == pytest.approx(right.mean())


def test_infinite_logits_are_not_a_hit(linear, task):
    def fn(params, x):
        return torch.full((x.shape[1], 3), torch.inf, dtype=torch.float64)

    result = quietly({"net": linear(fn)}, [0.3], task, instances=2)
    assert not result.accuracy.any()
    assert (result.measures["nonfinite"] == len(task.test)).all()


TEMPORAL = """
schema_version: "1.0"
name: flicker
kind: analog_asic
description: Every pass over the data has weights of its own.
evidence: assumption
parameters:
  weight:
    distribution: lognormal
    granularity: per_synapse
    components: {temporal: {cv: 0.8, redraw: trial}}
"""


def test_trials_are_averaged(linear, task):
    profile = parse_profile(TEMPORAL)
    net = linear()
    result = quietly({"net": net}, [profile], task, instances=4, trials=3)
    chips = Chip(profile).deploy(net, instances=4)
    x = torch.from_numpy(task.test.x.swapaxes(0, 1).copy())
    passes = []
    for trial in range(3):
        with torch.no_grad():
            passes.append((chips.run(x, trial=trial).argmax(-1).numpy() == task.test.y).mean(1))
    assert not np.array_equal(passes[0], passes[1])
    np.testing.assert_allclose(result.accuracy[0, 0], np.mean(passes, axis=0), rtol=1e-12)
    assert "mean of 3 trials" in result.population
    once = quietly({"net": net}, [profile], task, instances=4)
    np.testing.assert_allclose(once.accuracy[0, 0], passes[0], rtol=1e-12)


def test_notes_stand_beside_their_condition(network, task):
    result = quietly({"net": network()}, [0.2, load_profile("dynapse1")], task, instances=1)
    assert set(result.notes) == {"relative_0.2", "dynapse1"}
    assert "not calibrated, although the profile states calibration core_mean" in result.notes["dynapse1"]
    assert result.population.startswith("1 simulated test chips (seed 1) on 24 samples of user")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nets": {}}, "at least one network and one condition"),
        ({"conditions": []}, "at least one network and one condition"),
        ({"conditions": [0.1, 0.1]}, "each may be given once"),
        ({"conditions": ["dynapse1"]}, "conditions: 'dynapse1' must be a profile or a level"),
        ({"trials": 0}, "trials: 0 must be at least 1"),
        ({"instances": 0}, "instances: 0 must be at least 1"),
        ({"purpose": "tests"}, "purpose: unknown 'tests' .did you mean 'test'"),
        ({"limits": "ignore"}, "limits: unknown 'ignore'"),
    ],
)
def test_errors_come_before_any_file(linear, task, tmp_path, change, message):
    options = {"nets": {"net": linear()}, "conditions": [0.1], "instances": 2, **change}
    with pytest.raises(ConfigError, match=message):
        quietly(options.pop("nets"), options.pop("conditions"), task, run=tmp_path / "a.h5", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"metric": "f1"}, "metric: unknown 'f1'"), ({"trials": 0}, "trials: 0 must be at least 1")],
)
def test_evaluate_checks_its_arguments(network, task, options, message):
    chips = Chip(Profile.relative(0.1)).deploy(network(), instances=2)
    with pytest.raises(ConfigError, match=message):
        evaluate(chips, task.test, **options)


def test_a_network_in_float64(network, task):
    chips = Chip(Profile.relative(0.2)).deploy(network().double(), instances=3)
    single = Chip(Profile.relative(0.2)).deploy(network(), instances=3)
    np.testing.assert_allclose(evaluate(chips, task.test).accuracy, evaluate(single, task.test).accuracy, atol=0.05)
    assert chips.parameters()["layer0.weight"].dtype == torch.float64


def test_validation_chips_need_validation_data(linear, task_of):
    with pytest.raises(ConfigError, match="purpose: task user has no validation data"):
        quietly({"net": linear()}, [0.1], task_of(validation=False), purpose="validation")


def test_an_evaluation_leaves_no_trace(network, task, untouched_generators):
    net = network()
    before = {name: p.detach().clone() for name, p in net.nominal().items()}
    wanted = {name: p.requires_grad for name, p in net.nominal().items()}
    quietly({"net": net}, [0.3, load_profile("dynapse1")], task, instances=3)
    assert net.training
    assert {name: p.requires_grad for name, p in net.nominal().items()} == wanted
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in net.nominal().items())


def test_modes_of_calibration_side_by_side(network, task, tmp_path):
    """The same chips in every mode: a row for each, of which each is what that deployment gives alone."""
    conditions = [0.2, load_profile("brainscales2"), load_profile("dynapse1_conservative")]
    nets, file = {"net": network()}, tmp_path / "run.h5"
    options = {"calibration": ("none", "core_mean", "profile"), "instances": 6, "seed": 2}
    result = quietly(nets, conditions, task, run=file, **options)
    assert result.conditions == (
        "relative_0.2",
        "brainscales2",
        "brainscales2 (core_mean)",
        "brainscales2 (residual)",
        "dynapse1_conservative",
        "dynapse1_conservative (core_mean)",
    )
    for name, mode in (("none", "none"), ("core_mean", "core_mean"), ("residual", "profile")):
        deployment = Chip(conditions[1]).deploy(network(), 6, 2, calibration=mode)
        alone = evaluate(deployment, task.test)
        full = "brainscales2" if name == "none" else f"brainscales2 ({name})"
        assert alone.conditions == (full,)
        np.testing.assert_array_equal(alone.accuracy[0, 0], result.accuracy[0, result.conditions.index(full)])
    assert any("calibration residual of" in note for note in result.notes["brainscales2 (residual)"])
    stored = read_tolerance(file)[0]
    assert stored.conditions == result.conditions
    np.testing.assert_array_equal(stored.accuracy, result.accuracy)
    with pytest.raises(RunFileError):
        quietly(nets, conditions, task, run=file, **{**options, "calibration": "none"})
    with pytest.raises(ProfileError, match="dynapse1_conservative: calibration trim needs"):
        quietly(nets, conditions[1:], task, calibration="trim", instances=2)
    for mode, message in (((), "calibration: at least one mode"), (("none", "trims"), "calibration: unknown 'trims'")):
        with pytest.raises(ConfigError, match=message):
            quietly(nets, [0.2], task, calibration=mode, instances=2)


def test_in_the_loop_is_a_mode_beside_others(network, task, tmp_path):
    """Of the same chips, uncalibrated before, and what `finetune` and `evaluate` give; also of relative levels."""
    conditions, tuning = [0.3, load_profile("brainscales2")], Tuning(epochs=2, knobs=("bias", "readout"))
    nets, file = {"net": network()}, tmp_path / "run.h5"
    options = {"calibration": ("none", "trim", "in_the_loop"), "instances": 4, "seed": 2}
    result = quietly(nets, conditions, task, run=file, tuning=tuning, **options)
    assert result.conditions == (
        "relative_0.3", "relative_0.3 (in_the_loop)",
        "brainscales2", "brainscales2 (trim)", "brainscales2 (in_the_loop)",
    )  # fmt: skip
    plain = Chip(conditions[1]).deploy(network(), 4, 2)
    found = finetune(plain, task, show_progress=False, epochs=2, knobs=("bias", "readout")).deployment
    np.testing.assert_array_equal(evaluate(found, task.test).accuracy[0, 0], result.accuracy[0, 4])
    assert not any("not calibrated" in note for note in result.notes["brainscales2 (in_the_loop)"])
    assert any("in the loop, each chip" in note for note in result.notes["brainscales2 (in_the_loop)"])
    again = quietly(nets, conditions, task, run=file, tuning=tuning, **options)
    np.testing.assert_array_equal(again.accuracy, result.accuracy)
    with pytest.raises(RunFileError):
        quietly(nets, conditions, task, run=file, tuning=Tuning(epochs=3), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuning": Tuning()}, "tuning: no chips are calibrated in the loop; calibration must name in_the_loop"),
        ({"calibration": "in_the_loop", "purpose": "validation"}, "purpose: validation chips"),
        ({"calibration": "in_the_loop", "tuning": Tuning(knobs=("adaptation",))}, "knobs: 'adaptation'"),
    ],
)
def test_mistakes_of_calibration_in_the_loop_are_one_line(network, task, options, message):
    with pytest.raises(ConfigError, match=message) as found:
        quietly({"net": network()}, [load_profile("brainscales2")], task, instances=2, **options)
    assert "\n" not in str(found.value)
