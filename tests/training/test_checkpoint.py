"""An interrupted training goes on to the same bits, wherever it was interrupted."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from snnrobust.errors import RunFileError
from snnrobust.storage import Group, read_run, write_run
from snnrobust.training import Adversarial, Standard, checkpoint, models_of, train
from snnrobust.training.checkpoint import State


def weights(net):
    return {name: p.detach().clone() for name, p in net.nominal().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def some_state():
    generator = torch.Generator().manual_seed(0)
    params = {"w": torch.randn(2, 3, generator=generator).requires_grad_(), "tau": torch.tensor([1e-3])}
    moments = {"w": (torch.randn(2, 3, generator=generator), torch.rand(2, 3, generator=generator) * 1e-12)}
    kept = {name: p.detach() * 2 for name, p in params.items()}
    return State(params, moments, 3, 17, {"loss": [0.1, 1 / 3, float("nan")]}, kept, 0.75, -1, 2)


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state = some_state()
    write_run(tmp_path / "a.h5", Group({"checkpoint": state.to_group()}))
    found = State.from_group(read_run(tmp_path / "a.h5").group("checkpoint"), state.params)
    assert equal(found.params, state.params)
    assert equal(found.kept, state.kept)
    assert {n: p.requires_grad for n, p in found.params.items()} == {"w": True, "tau": False}
    assert all(p.is_leaf for p in found.params.values())
    assert torch.equal(found.moments["w"][0], state.moments["w"][0])
    assert torch.equal(found.moments["w"][1], state.moments["w"][1])
    assert (found.epoch, found.step, found.kept_score, found.kept_epoch, found.kept_count) == (3, 17, 0.75, -1, 2)
    assert found.history["loss"][:2] == state.history["loss"][:2]
    assert len(found.history["loss"]) == 3


def test_a_state_before_the_first_epoch(tmp_path):
    state = State(some_state().params, {})
    write_run(tmp_path / "a.h5", Group({"checkpoint": state.to_group()}))
    found = State.from_group(read_run(tmp_path / "a.h5").group("checkpoint"), state.params)
    assert (found.moments, found.history, found.kept, found.kept_score) == ({}, {}, {}, float("-inf"))


class StopsAt(Adversarial):
    """The adversarial objective, interrupted by Ctrl-C at one update."""

    def bind(self, problem):
        inner = super().bind(problem)

        def loss_and_grad(params, batch, key):
            if key.step == stop:
                raise KeyboardInterrupt
            return inner(params, batch, key)

        stop = self.stop
        return loss_and_grad


def stopping(step):
    objective = StopsAt(steps=1)
    object.__setattr__(objective, "stop", step)
    return objective


@pytest.mark.parametrize(
    ("select", "stop"),
    [("average", 0), ("average", 14), ("validation", 1), ("validation", 9), ("last", 4), ("last", 15)],
)
def test_interrupted_at_any_update(network, task, tmp_path, monkeypatch, select, stop):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_WRITES", 0.0)
    options = {"epochs": 4, "batch_size": 3, "select": select, "show_progress": False}
    whole, net, path = network(), network(), tmp_path / "a.h5"
    expected = train(whole, task, Adversarial(steps=1), **options)
    before = weights(net)
    with pytest.raises(KeyboardInterrupt):
        train(net, task, stopping(stop), run=path, **options)
    assert equal(weights(net), before)
    assert int(read_run(path)["checkpoint"].attrs["step"]) == stop // 4 * 4
    assert models_of(read_run(path)) == []
    result = train(net, task, Adversarial(steps=1), run=path, **options)
    assert equal(weights(net), weights(whole))
    assert result.selected_epoch == expected.selected_epoch
    timeless = {name: column for name, column in result.history.items() if name != "seconds"}
    assert timeless == {name: column for name, column in expected.history.items() if name != "seconds"}
    stored = read_run(path)
    assert "checkpoint" not in stored
    assert equal(weights(models_of(stored)[0].net), weights(whole))


def test_interrupted_twice_and_finished_by_another_label(network, task, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_WRITES", 0.0)
    options = {"epochs": 4, "batch_size": 3, "show_progress": False}
    whole, net, path = network(), network(), tmp_path / "a.h5"
    train(whole, task, Adversarial(steps=1), **options)
    for stop in (6, 11):
        with pytest.raises(KeyboardInterrupt):
            train(net, task, stopping(stop), run=path, **options)
    train(net, task, Adversarial(steps=1), run=path, label="late", **options)
    assert equal(weights(net), weights(whole))
    assert [model.label for model in models_of(read_run(path))] == ["late"]


def test_a_checkpoint_of_another_training_is_refused(network, task, tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        train(network(), task, stopping(9), run=path, epochs=4, batch_size=3, show_progress=False)
    with pytest.raises(RunFileError, match="holds another training"):
        train(network(), task, Adversarial(steps=1), run=path, epochs=5, batch_size=3, show_progress=False)


def test_a_damaged_checkpoint_says_so(network, task, tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        train(network(), task, stopping(9), run=path, epochs=4, batch_size=3, show_progress=False)
    stored = read_run(path)
    damaged = Group({"checkpoint": Group(stored.group("checkpoint").items, {"epoch": 1})}, stored.attrs)
    write_run(path, damaged)
    with pytest.raises(RunFileError, match="checkpoint is not complete") as caught:
        train(network(), task, Adversarial(steps=1), run=path, epochs=4, batch_size=3, show_progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "attrs", [{"kind": "benchmark"}, {}, {"kind": "training"}, {"kind": "training", "config": "x"}]
)
def test_the_file_of_something_else_is_refused(network, task, tmp_path, attrs):
    path = tmp_path / "a.h5"
    write_run(path, Group({}, attrs))
    with pytest.raises(RunFileError) as caught:
        train(network(), task, Standard(), run=path, epochs=1, show_progress=False)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


TRAIN = """
import sys
from snnrobust.training import checkpoint
checkpoint.SECONDS_BETWEEN_WRITES = 0.0
from snnrobust.cli import main
sys.argv = ["snnrobust", *sys.argv[1:]]
main()
"""


def command(path):
    words = "train --hidden 6 --epochs 80 --batch-size 110 --objective adversarial --attack-steps 1 --seed 3 -o"
    return [sys.executable, "-c", TRAIN, *words.split(), str(path)]


def finished_updates(path):
    return int(read_run(path)["checkpoint"].attrs["step"])


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """SIGKILL at random moments after the first checkpoint, until a process lives to the end: the same bits."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, path = tmp_path / "whole.h5", tmp_path / "killed.h5"
    subprocess.run(command(whole), check=True, capture_output=True, env=environment)
    moments, reached = random.Random(5), 0
    for _ in range(3):
        process = subprocess.Popen(command(path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        while process.poll() is None and (not path.exists() or finished_updates(path) <= reached):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "finished before it was killed: the test tells nothing"
        assert finished_updates(path) > reached, "it did not go on from where the one before was killed"
        reached = finished_updates(path)
    subprocess.run(command(path), check=True, capture_output=True, env=environment)
    (expected,), (found,) = models_of(read_run(whole)), models_of(read_run(path))
    assert equal(weights(found.net), weights(expected.net))
    assert found.history["loss"] == expected.history["loss"]
