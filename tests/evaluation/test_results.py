"""Results in run files: nothing finished is lost or done twice, another experiment is refused, xarray reads them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import benchmark, montecarlo, open_results, read_tolerance, results
from snnrobust.hardware import load_profile
from snnrobust.snn import Network
from snnrobust.storage import Group, Journal, journal_path, read_journal, read_run, write_run
from snnrobust.training import models_of, train

LEVELS = (0.0, 0.4)


@pytest.fixture
def one_chip_blocks(monkeypatch):
    monkeypatch.setattr(montecarlo, "BLOCK_BYTES", 1)


class Stops:
    """A model that Ctrl-C stops at one of its passes, and that counts them."""

    def __init__(self, net, at=None):
        self.net, self.at, self.passes = net, at, 0

    def nominal(self):
        return self.net.nominal()

    def parameter_specs(self):
        return self.net.parameter_specs()

    def run(self, params, x, lengths=None):
        if self.passes == self.at:
            raise KeyboardInterrupt
        self.passes += 1
        return self.net.run(params, x, lengths)


def quietly(net, task, path=None, *, levels=LEVELS, instances=5, **options):
    return benchmark({"net": net}, levels, task, instances=instances, run=path, show_progress=False, **options)


@pytest.mark.parametrize("at", [0, 1, 7, 9])
def test_interrupted_and_finished(linear, task, tmp_path, one_chip_blocks, at):
    path = tmp_path / "r.h5"
    expected = quietly(linear(), task)
    with pytest.raises(KeyboardInterrupt):
        quietly(Stops(linear(), at), task, path)
    assert not journal_path(path).exists()
    half, _ = read_tolerance(path)
    assert int((~np.isnan(half.accuracy)).sum()) == at
    rest = Stops(linear())
    found = quietly(rest, task, path)
    assert rest.passes == 10 - at
    stored, _ = read_tolerance(path)
    for name, values in expected.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)
        np.testing.assert_array_equal(stored.measures[name], values)
    again = Stops(linear())
    quietly(again, task, path)
    assert again.passes == 0


def test_a_table_comes_back_whole(network, task, tmp_path):
    path = tmp_path / "r.h5"
    conditions = [0.2, load_profile("dynapse1")]
    result = quietly(network(), task, path, levels=conditions)
    found, stored = read_tolerance(path)
    assert (found.models, found.conditions, found.metric) == (result.models, result.conditions, result.metric)
    assert (found.notes, found.population) == (result.notes, result.population)
    np.testing.assert_array_equal(found.levels, result.levels)
    np.testing.assert_array_equal(found.accuracy, result.accuracy)
    assert stored.group("profiles/dynapse1").attrs["hash"] == load_profile("dynapse1").hash
    assert str(stored["profiles/dynapse1/text"].values) == load_profile("dynapse1").to_yaml()
    assert [m.net.hash() for m in models_of(stored)] == [network().hash()]


def test_a_running_benchmark_can_be_read(linear, task, tmp_path, one_chip_blocks):
    """From the first block on: before the first fold, finished blocks are in the journal only."""
    path, seen = tmp_path / "r.h5", []

    class Reads(Stops):
        def run(self, params, x, lengths=None):
            found, _ = read_tolerance(path)
            seen.append(int((~np.isnan(found.accuracy)).sum()))
            return super().run(params, x, lengths)

    quietly(Reads(linear()), task, path, instances=2)
    assert seen == [0, 1, 2, 3]


def test_folding_in_between_loses_nothing(linear, task, tmp_path, monkeypatch, one_chip_blocks):
    path, folds = tmp_path / "r.h5", []
    monkeypatch.setattr(results, "SECONDS_BETWEEN_FOLDS", -1.0)
    write = results.write_run
    monkeypatch.setattr(results, "write_run", lambda *given: folds.append(write(*given)))
    expected = quietly(linear(), task)
    quietly(linear(), task, path)
    assert len(folds) == 1 + 10 + 1
    np.testing.assert_array_equal(read_tolerance(path)[0].accuracy, expected.accuracy)


def test_what_is_in_the_journal_only_is_not_run_again(linear, task, tmp_path, one_chip_blocks):
    """As after SIGKILL: the file of the start, and a journal."""
    path = tmp_path / "r.h5"
    copies = []

    class Copies(Stops):
        def run(self, params, x, lengths=None):
            if self.passes == 6:
                copies.append((path.read_bytes(), journal_path(path).read_bytes()))
            return super().run(params, x, lengths)

    expected = quietly(Copies(linear()), task, path)
    path.write_bytes(copies[0][0])
    journal_path(path).write_bytes(copies[0][1][:-3])  # the last record is cut short
    assert len(read_journal(journal_path(path))) == 5
    rest = Stops(linear())
    found = quietly(rest, task, path)
    assert rest.passes == 5
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)
    path.unlink()
    journal_path(path).write_bytes(copies[0][1])  # killed before the file was made
    rest = Stops(linear())
    quietly(rest, task, path)
    assert rest.passes == 4


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"instances": 6}, "chips.instances: 5 there, 6 here"),
        ({"seed": 2}, "chips.seed: 1 there, 2 here"),
        ({"purpose": "validation"}, "chips.purpose"),
        ({"trials": 2}, "chips.trials"),
        ({"levels": (0.0,)}, "profiles"),
        ({"only": "mismatch"}, "deploy"),
        ({"net": True}, "models.net"),
        ({"task": "other"}, "task"),
    ],
)
def test_another_benchmark_on_the_same_path_is_refused(linear, task, task_of, tmp_path, change, field):
    path, net = tmp_path / "r.h5", linear()
    quietly(net, task, path)
    before = path.read_bytes()
    options = dict(change)
    if options.pop("net", False):
        net = linear(weight=net.nominal()["w"] * 2)
    data = task_of(name=options.pop("task", "user"))
    with pytest.raises(RunFileError, match=f"holds another benchmark .{field}.*overwrite") as caught:
        quietly(net, data, path, **options)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert not journal_path(path).exists()
    quietly(net, data, path, overwrite=True, **options)
    assert read_tolerance(path)[0].chips == options.get("instances", 5)


def test_a_journal_of_another_benchmark_is_refused(linear, task, tmp_path, one_chip_blocks):
    path = tmp_path / "r.h5"

    class Copies(Stops):
        def run(self, params, x, lengths=None):
            self.copy = journal_path(path).read_bytes()
            return super().run(params, x, lengths)

    net = Copies(linear())
    quietly(net, task, path)
    path.unlink()
    journal_path(path).write_bytes(net.copy)
    with pytest.raises(RunFileError, match="belongs to another experiment"):
        quietly(linear(), task, path, seed=2)
    assert not path.exists()


@pytest.mark.parametrize(
    "attrs", [{}, {"kind": "training"}, {"kind": "benchmark"}, {"kind": "benchmark", "config": "{"}]
)
def test_the_file_of_something_else_is_refused(linear, task, tmp_path, attrs):
    path = tmp_path / "r.h5"
    write_run(path, Group({}, attrs))
    with pytest.raises(RunFileError, match="not the file of a benchmark"):
        quietly(linear(), task, path)


def test_two_writers_of_one_file(linear, task, tmp_path):
    path = tmp_path / "r.h5"

    class Second(Stops):
        def run(self, params, x, lengths=None):
            with pytest.raises(RunFileError, match="another process is writing"):
                quietly(linear(), task, path)
            return super().run(params, x, lengths)

    result = quietly(Second(linear()), task, path)
    np.testing.assert_array_equal(read_tolerance(path)[0].accuracy, result.accuracy)


@pytest.mark.parametrize("name", ["a/b", "", ".."])
def test_names_that_no_run_file_can_hold(linear, task, tmp_path, name):
    with pytest.raises(ConfigError, match="label: "):
        benchmark({name: linear()}, [0.1], task, instances=1, run=tmp_path / "r.h5", show_progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_paths_that_cannot_be_written(linear, task, tmp_path, overwrite):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing" / "r.h5", tmp_path / "file" / "r.h5"):
        with pytest.raises(RunFileError) as caught:
            quietly(Stops(linear(), at=0), task, path, overwrite=overwrite)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_xarray_reads_the_results(linear, task, tmp_path):
    xarray = pytest.importorskip("xarray")
    path = tmp_path / "r.h5"
    result = quietly(linear(), task, path)
    found = open_results(path)
    assert found["accuracy"].dims == ("model", "condition", "instance")
    assert dict(found.sizes) == {"model": 1, "condition": 2, "instance": 5}
    assert found["level"].dims == ("condition",)
    picked = found["accuracy"].sel(model="net", condition="relative_0.4").values
    np.testing.assert_array_equal(picked, result.accuracy[0, 1])
    assert found["instance"].values.tolist() == [0, 1, 2, 3, 4]
    assert found.attrs["metric"] == "accuracy"
    with xarray.open_dataset(path, engine="h5netcdf", group="tolerance") as plain:
        np.testing.assert_array_equal(plain["accuracy"].values, result.accuracy)
        assert plain["accuracy"].dims == ("model", "condition", "instance")


def test_open_results_reads_what_is_not_finished(linear, task, tmp_path, one_chip_blocks):
    pytest.importorskip("xarray")
    path = tmp_path / "r.h5"
    with pytest.raises(KeyboardInterrupt):
        quietly(Stops(linear(), at=3), task, path)
    assert int(open_results(path)["accuracy"].notnull().sum()) == 3


def test_files_without_results(tmp_path):
    write_run(tmp_path / "r.h5", Group({}, {"kind": "training"}))
    with pytest.raises(RunFileError, match=r"holds no results of a benchmark \(kind: training\)"):
        read_tolerance(tmp_path / "r.h5")
    write_run(tmp_path / "r.h5", Group({"tolerance": Group({}, {"metric": "accuracy"})}, {"kind": "benchmark"}))
    with pytest.raises(RunFileError, match="tolerance: not a table of results"):
        read_tolerance(tmp_path / "r.h5")
    with pytest.raises(RunFileError, match=r"none\.h5"):
        read_tolerance(tmp_path / "none.h5")


BENCHMARK = """
import sys, time
from snnrobust.evaluation import montecarlo
montecarlo.BLOCK_BYTES = 1
run_block, log = montecarlo.run_block, open(sys.argv.pop(1), "a", buffering=1)
def slowly(deployment, data, block, **options):
    found = run_block(deployment, data, block, **options)
    time.sleep(0.02)
    log.write(f"{deployment.profile.name}/{block.start}\\n")
    return found
montecarlo.run_block = slowly
from snnrobust.cli import main
sys.argv = ["snnrobust", *sys.argv[1:]]
main()
"""
CHIPS = 25


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run file of a network trained for one epoch on the shipped data."""
    from snnrobust.tasks import load_task

    path = tmp_path_factory.mktemp("trained") / "net.h5"
    task = load_task("vowels")
    net = Network.recurrent(task.inputs, 10, len(task.classes), dt=task.dt, tau_mem=10 * task.dt)
    train(net, task, run=path, epochs=1, show_progress=False)
    return path


def start(trained, path, log):
    """A process of this benchmark; each block it ran is a line of the log."""
    words = f"benchmark {trained} -o {path} --levels 0.1,0.3 --chips {CHIPS}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", BENCHMARK, str(log), *words.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for_records(process, path, more_than):
    while process.poll() is None and len(read_journal(journal_path(path))) <= more_than:
        time.sleep(0.01)
    assert process.poll() is None, "finished before it was stopped: the test tells nothing"


@pytest.mark.slow
def test_killed_at_random_moments(trained, tmp_path):
    """SIGKILL several times: the table of one whole run, and no finished block is run again."""
    path, log, moments, kills = tmp_path / "r.h5", tmp_path / "log", random.Random(3), 3
    done = set()
    for _ in range(kills):
        process = start(trained, path, log)
        wait_for_records(process, path, len(done))
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        units = set(read_journal(journal_path(path)))
        assert units > done
        done = units
        partial, _ = read_tolerance(path)
        assert int((~np.isnan(partial.accuracy)).sum()) == len(units)
    process = start(trained, path, log)
    process.communicate()
    assert process.returncode == 0
    runs = Counter(log.read_text().split())
    assert len(runs) == 2 * CHIPS
    # A block is run again only if its process was killed between its end and its record, once a kill at most.
    assert sum(runs.values()) <= 2 * CHIPS + kills
    models = {m.label: m for m in models_of(read_run(trained))}
    from snnrobust.tasks import load_task

    whole = benchmark(models, [0.1, 0.3], load_task("vowels"), instances=CHIPS, show_progress=False)
    found, _ = read_tolerance(path)
    samples = len(load_task("vowels").test)
    # One block or forty: in float32 a sample may part at a tie.
    assert np.abs(found.accuracy - whole.accuracy).max() <= 1 / samples + 1e-9
    assert (found.accuracy != whole.accuracy).mean() <= 0.05


@pytest.mark.slow
def test_ctrl_c_keeps_results_and_says_so_in_one_line(trained, tmp_path):
    path, log = tmp_path / "r.h5", tmp_path / "log"
    process = start(trained, path, log)
    wait_for_records(process, path, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith(("chips: ", "compiling kernels"))]
    assert lines == ["interrupted; finished work is kept, the same command goes on from there"]
    assert not journal_path(path).exists()
    kept, _ = read_tolerance(path)
    count = int((~np.isnan(kept.accuracy)).sum())
    assert 3 <= count < 2 * CHIPS
    assert count >= len(log.read_text().split()) - 1
    process = start(trained, path, log)
    process.communicate()
    assert process.returncode == 0
    assert len(log.read_text().split()) <= 2 * CHIPS + 1
    assert not np.isnan(read_tolerance(path)[0].accuracy).any()


def test_the_journal_of_another_experiment_is_not_read(linear, task, tmp_path):
    path = tmp_path / "r.h5"
    quietly(linear(), task, path)
    with Journal(journal_path(path), "another experiment"), pytest.raises(RunFileError, match="another experiment"):
        read_tolerance(path)


def test_overwrite_does_not_take_the_file_from_a_running_benchmark(linear, task, tmp_path):
    path = tmp_path / "r.h5"
    with Journal(journal_path(path), "running"), pytest.raises(RunFileError, match="another process"):
        quietly(linear(), task, path, overwrite=True)
