"""Benchmarks that stop by themselves, keep samples, and know what the network does on no chip."""

import math

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import Stopping, Tolerance, benchmark, chip_yield, evaluate, montecarlo
from snnrobust.evaluation.results import read_tolerance
from snnrobust.evaluation.statistics.resampling import two_way_interval
from snnrobust.hardware import Chip, Profile
from snnrobust.report.text import console, notes, tolerance_table

RULE = Stopping(until="yield>0.5", specification=0.6)


def quietly(*arguments, **options):
    return benchmark(*arguments, show_progress=False, **options)


def blocks_of(size, monkeypatch):
    monkeypatch.setattr(montecarlo, "block_size", lambda net, data: size)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_result_does_not_depend_on_blocks(linear, task, monkeypatch, size):
    """The verdict falls at the first chip at which it can; what a block ran beyond does not count."""
    everything = quietly({"net": linear()}, [0.2, 0.5, 5.0], task, instances=150)
    blocks_of(size, monkeypatch)
    found = quietly({"net": linear()}, [0.2, 0.5, 5.0], task, instances=150, until=RULE)
    for c, row in enumerate(found.summary()):
        decision = RULE.decide(everything.accuracy[0, c])
        assert (row.verdict, row.chips_passed) == decision
        assert row.chips == decision.reached.chips
        assert row.mean == pytest.approx(everything.accuracy[0, c, : row.chips].mean())
        run = int((~np.isnan(found.accuracy[0, c])).sum())
        assert row.chips <= run < row.chips + size or run == 150
    assert {row.verdict for row in found.summary()} >= {"pass", "fail"}
    assert found.population.startswith("at most 150 simulated")


def test_each_cell_stops_on_its_own(linear, task, monkeypatch):
    blocks_of(4, monkeypatch)
    other = linear(weight=-torch.eye(3, dtype=torch.float64))
    found = quietly({"good": linear(), "bad": other}, [0.1], task, instances=200, until=RULE)
    alone = quietly({"bad": other}, [0.1], task, instances=200, until=RULE)
    good, bad = found.summary()
    assert (good.verdict, bad.verdict) == ("pass", "fail")
    assert bad == alone.summary()[0]
    assert np.isnan(found.accuracy[..., -1]).all()


def test_at_another_specification_no_interval_holds(linear, task, monkeypatch):
    blocks_of(4, monkeypatch)
    found = quietly({"net": linear()}, [0.2], task, instances=100, until=RULE)
    (row,) = found.summary(0.7)
    assert (row.chips_passed.low, row.chips_passed.high, row.verdict) == (0.0, 1.0, "")
    assert row.chips_near_nominal.interval == "no interval"
    assert row.chips_passed.share == chip_yield(found.accuracy[0, 0, : row.chips], 0.7).share


def test_an_interrupted_sequence_goes_on_and_ends_the_same(linear, task, monkeypatch, tmp_path):
    blocks_of(5, monkeypatch)
    expected = quietly({"net": linear()}, [0.5, 0.2], task, instances=300, until=RULE)
    path, whole, calls = tmp_path / "r.h5", montecarlo.run_block, []

    def stopped(*arguments, **options):
        calls.append(arguments[2].start)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(montecarlo, "run_block", stopped)
    with pytest.raises(KeyboardInterrupt):
        quietly({"net": linear()}, [0.5, 0.2], task, instances=300, until=RULE, run=path)
    found = quietly({"net": linear()}, [0.5, 0.2], task, instances=300, until=RULE, run=path)
    assert found.summary() == expected.summary()
    number = len(calls)
    again = quietly({"net": linear()}, [0.5, 0.2], task, instances=300, until=RULE, run=path)
    assert len(calls) == number
    assert again.summary() == read_tolerance(path)[0].summary() == expected.summary()
    assert read_tolerance(path)[0].stopping == RULE
    with pytest.raises(RunFileError, match=r"holds another benchmark .until"):
        quietly({"net": linear()}, [0.5, 0.2], task, instances=300, run=path)


def test_the_table_of_a_sequence(linear, task, monkeypatch):
    blocks_of(8, monkeypatch)
    found = quietly({"net": linear()}, [0.2], task, instances=100, until=RULE)
    (row,) = found.summary()
    shown = rendered(tolerance_table(found, 0.6))
    assert "95 % confidence sequence" in shown
    assert "pass" in shown.splitlines()[-1].split()
    assert any("until yield>0.5; their interval holds at every number of chips" in line for line in notes(found))
    assert shown.splitlines()[-1].split()[-1] == str(row.chips)


def rendered(table):
    out = console()
    with out.capture() as captured:
        out.print(table)
    return captured.get().rstrip()


# Samples


@pytest.mark.parametrize("metric", ["accuracy", "balanced accuracy"])
def test_kept_samples_give_the_accuracies_and_the_interval(linear, task_of, metric):
    groups = np.arange(60) // 2
    task = task_of(metric=metric, groups=groups)
    found = quietly({"net": linear()}, [0.3, 0.6], task, instances=30, keep_samples=True)
    plain = quietly({"net": linear()}, [0.3, 0.6], task, instances=30)
    np.testing.assert_array_equal(found.accuracy, plain.accuracy)
    bits = np.unpackbits(found.right.hits, axis=-1, count=24)
    np.testing.assert_allclose(bits.mean(-1), found.measures["accuracy"], rtol=1e-12)
    assert len(np.unique(found.right.groups)) == 12
    for c, row in enumerate(found.summary(0.6)):
        hits = found.right.hits[0, c]
        balanced = metric == "balanced accuracy"
        assert row.resampled == two_way_interval(hits, task.test.y, found.right.groups, 0.6, balanced=balanced)
        assert row.resampled[0] <= row.chips_passed.share <= row.resampled[1]
    assert "with" in rendered(tolerance_table(found, 0.6))
    assert "12 groups of samples" in notes(found)[-2]
    assert plain.summary(0.6)[0].resampled is None


def test_kept_samples_survive_the_file(linear, task, monkeypatch, tmp_path):
    blocks_of(4, monkeypatch)
    path = tmp_path / "r.h5"
    found = quietly({"net": linear()}, [0.5], task, instances=10, keep_samples=True, run=path)
    stored, _ = read_tolerance(path)
    np.testing.assert_array_equal(stored.right.hits, found.right.hits)
    again = quietly({"net": linear()}, [0.5], task, instances=10, keep_samples=True, run=path)
    np.testing.assert_array_equal(again.right.hits, found.right.hits)
    assert found.right.hits.any()
    with pytest.raises(ConfigError, match="keep_samples: needs 1 trial, not 2"):
        quietly({"net": linear()}, [0.5], task, instances=2, keep_samples=True, trials=2)


# The network on no chip


@pytest.mark.parametrize("metric", ["accuracy", "balanced accuracy"])
def test_the_nominal_accuracy_is_that_of_level_zero(linear, network, task_of, metric):
    task, nets = task_of(metric=metric), {"linear": linear(), "net": network()}
    found, at_zero = quietly(nets, [0.3], task, instances=4), quietly(nets, [0.0, 0.3], task, instances=4)
    np.testing.assert_allclose(found.nominal, at_zero.accuracy[:, 0, 0], rtol=1e-12)
    assert [found.nominal_of(m) for m in (0, 1)] == [at_zero.nominal_of(m) for m in (0, 1)]
    row = found.summary(0.9, 0.1)[0]
    assert row.nominal == found.nominal[0]
    assert row.chips_near_nominal == chip_yield(found.accuracy[0, 0], row.nominal - 0.1)
    deployment = Chip(Profile.relative(0.3)).deploy(network(), instances=2)
    assert evaluate(deployment, task.test, metric=metric).nominal[0] == found.nominal[1]


def test_the_nominal_accuracy_is_of_what_was_deployed(linear, task):
    net = linear()
    deployment = Chip(Profile.relative(0.3)).deploy(net, instances=1)
    before = evaluate(deployment, task.test)
    with torch.no_grad():
        net.nominal()["w"].mul_(-1)
    after = evaluate(deployment, task.test)
    assert before.nominal[0] == after.nominal[0] > 0.5


def test_it_is_measured_once(linear, task, recorded, tmp_path):
    net = recorded(linear())
    found = quietly({"net": net}, [0.3], task, instances=2, run=tmp_path / "r.h5")
    count = len(net.passes)
    again = quietly({"net": net}, [0.3], task, instances=2, run=tmp_path / "r.h5")
    assert len(net.passes) == count
    assert again.nominal[0] == found.nominal[0] == read_tolerance(tmp_path / "r.h5")[0].nominal[0]


def test_files_without_a_nominal_accuracy_are_read(linear, task):
    table = quietly({"net": linear()}, [0.2], task, instances=3)
    group = table.to_group()
    old = type(group)({name: item for name, item in group.items.items() if name != "nominal"}, group.attrs)
    found = type(table).from_group(old)
    assert not len(found.nominal)
    (row,) = found.summary()
    assert math.isnan(row.nominal)
    assert row.chips_near_nominal is None
    assert "nominal" not in rendered(tolerance_table(found, 0.9))


@pytest.mark.parametrize("change", ["nominal", "groups", "hits", "until"])
def test_tables_that_no_benchmark_writes(linear, task, change):
    group = quietly({"net": linear()}, [0.2], task, instances=3, keep_samples=True, until=RULE).to_group()
    array, items, attrs = type(group.array("nominal")), dict(group.items), dict(group.attrs)
    wrong = {
        "nominal": {"nominal": array(np.zeros(2))},
        "groups": {"sample_group": array(np.full(24, 24))},
        "hits": {"hits": array(np.zeros((1, 1, 3, 2), np.uint8))},
        "until": {},
    }
    attrs |= {"until": "yield<2"} if change == "until" else {}
    with pytest.raises(RunFileError, match="tolerance: "):
        Tolerance.from_group(type(group)({**items, **wrong[change]}, attrs))
