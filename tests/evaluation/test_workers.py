"""Benchmarks in worker processes: the same bits, verdicts by the complete prefix, and nothing lost by a kill."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from snnrobust.cli import app
from snnrobust.errors import ConfigError
from snnrobust.evaluation import Stopping, benchmark, breaking, montecarlo
from snnrobust.evaluation.results import read_tolerance
from snnrobust.executor import Processes, Serial
from snnrobust.hardware import Module, load_profile
from snnrobust.storage import journal_path, read_journal
from snnrobust.training import Tuning

RULE = Stopping(until="yield>0.5", specification=0.6)


def quietly(*arguments, **options):
    return benchmark(*arguments, show_progress=False, **options)


class Sums(torch.nn.Module):
    """A module, which no fused engine runs."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(3))

    def forward(self, x):
        return self.linear(x.sum(0))


@pytest.fixture
def blocks_of(monkeypatch):
    return lambda size: monkeypatch.setattr(montecarlo, "block_size", lambda net, data: size)


@pytest.mark.slow
def test_breaking_levels_are_the_same_bits_whatever_the_workers(network, task, tmp_path, monkeypatch):
    """And pieces that an earlier call finished are not run again."""
    monkeypatch.setattr(breaking, "block_size", lambda net, data: 3)
    options = {"specification": 0.3, "grid": (0.0, 0.3, 1.0), "instances": 7, "show_progress": False}
    alone = breaking.breaking_levels({"net": network()}, task, **options)["net"]
    path = tmp_path / "run.h5"

    class Interrupted(Serial):
        def run(self, job, units, prepare=None):
            yield from islice(super().run(job, units, prepare), 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaking.breaking_levels({"net": network()}, task, run=path, executor=Interrupted(), **options)
    shared = breaking.breaking_levels({"net": network()}, task, run=path, executor=Processes(2), **options)["net"]
    for name in ("passed", "levels", "broken"):
        np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))


@pytest.mark.slow
def test_results_are_the_same_bits_whatever_the_workers_and_blocks(network, task, blocks_of):
    nets = {"net": network(), "module": Module(Sums(), {"linear.weight": "weight", "linear.bias": "bias"})}
    conditions = [0.3, load_profile("pcm_ibm")]
    options = {
        "instances": 7,
        "keep_samples": True,
        "calibration": ("none", "in_the_loop"),
        "tuning": Tuning(epochs=1, knobs=("bias",)),
    }
    blocks_of(3)
    expected = quietly(nets, conditions, task, **options)
    assert expected.accuracy.std(-1).max() > 0
    blocks_of(2)
    found = quietly(nets, conditions, task, executor=Processes(3), **options)
    for name, values in expected.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)
    np.testing.assert_array_equal(found.right.hits, expected.right.hits)
    np.testing.assert_array_equal(found.nominal, expected.nominal)


def test_a_network_that_cannot_be_sent(linear, task, tmp_path):
    with pytest.raises(ConfigError, match="workers: the network cannot be sent to another process"):
        quietly({"net": linear()}, [0.3], task, instances=2, executor=Processes(2), run=tmp_path / "r.h5")
    assert not journal_path(tmp_path / "r.h5").exists()


# Blocks that end out of order


class WorstFirst:
    """Of the blocks that run at once, that with the worst chips ends first, as where silent chips are fast."""

    workers = 5

    def __init__(self, at_most=None):
        self.at_most, self.ended = at_most, []

    def run(self, job, units, prepare=None):
        units, running = iter(units), []
        while True:
            running += [(unit, job(unit)) for unit in islice(units, self.workers - len(running))]
            if not running:
                return
            worst = min(running, key=lambda pair: (pair[1]["accuracy"].mean(), -pair[0].block.start))
            running.remove(worst)
            if len(self.ended) == self.at_most:
                raise KeyboardInterrupt
            self.ended.append(worst[0])
            yield worst


def test_verdicts_are_those_of_the_complete_prefix(linear, task, blocks_of):
    levels, options = [0.2, 0.5, 5.0], {"instances": 150, "until": RULE}
    everything = quietly({"net": linear()}, levels, task, instances=150)
    blocks_of(2)
    executor = WorstFirst()
    found = quietly({"net": linear()}, levels, task, executor=executor, **options)
    starts = [unit.block.start for unit in executor.ended if unit.condition == 1]
    assert starts != sorted(starts)
    for c, row in enumerate(found.summary()):
        assert (row.verdict, row.chips_passed) == RULE.decide(everything.accuracy[0, c])
    assert found.summary() == quietly({"net": linear()}, levels, task, **options).summary()


@pytest.mark.parametrize("at", [1, 4, 11])
def test_holes_that_an_interruption_leaves_do_not_count(linear, task, blocks_of, tmp_path, at):
    blocks_of(2)
    path, options = tmp_path / "r.h5", {"instances": 60, "until": RULE}
    expected = quietly({"net": linear()}, [0.5, 0.2], task, **options)
    with pytest.raises(KeyboardInterrupt):
        quietly({"net": linear()}, [0.5, 0.2], task, run=path, executor=WorstFirst(at), **options)
    half, _ = read_tolerance(path)
    assert int((~np.isnan(half.accuracy)).sum()) == 2 * at
    known = [int(np.isnan(row).argmax()) for row in half.accuracy[0]]  # before the first hole
    assert all(row.chips <= known[c] for c, row in enumerate(half.summary()))
    found = quietly({"net": linear()}, [0.5, 0.2], task, run=path, executor=Serial(), **options)
    assert found.summary() == expected.summary()


# Interruptions

CHIPS = 1200
LINE = "interrupted; finished work is kept, the same command goes on from there"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("workers") / "net.h5"
    done = CliRunner().invoke(app, ["train", "--hidden", "8", "--epochs", "2", "-o", str(path)])
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "r.h5"
    assert CliRunner().invoke(app, words(trained, path)).exit_code == 0
    return read_tolerance(path)[0]


def words(trained, path):
    return ["benchmark", str(trained), "-o", str(path), "--levels", "0.1,0.3", "--chips", str(CHIPS)]


def workers_of(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop_worker(process):
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)


def press_ctrl_c(process):
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all processes


def kill(process):
    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "code"), [(stop_worker, 2), (press_ctrl_c, 130), (kill, -signal.SIGKILL)])
def test_what_was_finished_is_kept_and_the_same_command_goes_on(trained, whole, tmp_path, monkeypatch, stop, code):
    path = tmp_path / "r.h5"
    start = "import sys; from snnrobust.cli import main; sys.argv = ['snnrobust', *sys.argv[1:]]; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", start, *words(trained, path), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and len(read_journal(journal_path(path))) < 5:
        time.sleep(0.01)
    assert process.poll() is None, "finished before it was stopped: the test tells nothing"
    workers, seen = workers_of(process.pid), len(read_journal(journal_path(path)))
    assert len(workers) == 2
    stop(process)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    lines = [line for line in err.splitlines() if not line.startswith(("chips: ", "compiling kernels"))]
    if stop is stop_worker:
        assert len(lines) == 1
        assert lines[0].startswith("error: workers: a worker process was killed by SIGKILL")
    else:
        assert lines == ([LINE] if stop is press_ctrl_c else [])
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.02)
    kept = int((~np.isnan(read_tolerance(path)[0].accuracy)).sum())
    assert (seen - 1) * montecarlo.MOST_CHIPS < kept < 2 * CHIPS
    run, calls = montecarlo.run_block, []
    monkeypatch.setattr(
        montecarlo, "run_block", lambda *given, **options: calls.append(given[2]) or run(*given, **options)
    )
    assert CliRunner().invoke(app, words(trained, path)).exit_code == 0
    assert sum(len(block) for block in calls) == 2 * CHIPS - kept
    found, _ = read_tolerance(path)
    for name, values in whole.measures.items():
        np.testing.assert_array_equal(found.measures[name], values)
