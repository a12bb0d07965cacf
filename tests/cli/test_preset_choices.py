"""`snnrobust train --preset`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from commands import run

from snnrobust.hardware import Module
from snnrobust.snn import PaperCNN
from snnrobust.storage import read_run
from snnrobust.tasks import TaskInfo, load_task, register_task, registry
from snnrobust.training import models_of, train


@pytest.fixture
def few_clothes(monkeypatch):
    """A task "few" of some images."""
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))

    def build(*, data=None, seed=0):
        whole = load_task("fashion_mnist", data=data)
        parts = {name: part.take(range(60 if name == "train" else 20)) for name, part in whole.parts().items()}
        return replace(whole, name="few", **parts)

    register_task(TaskInfo("few", "some clothes", 28, 28, 1e-3, 10, build, source="fashion_mnist"))
    return load_task("few")


def test_the_papers_cnn_trains_and_deploys(few_clothes, tmp_path):
    path = tmp_path / "cnn.h5"
    result = run("train", "--preset", "paper_cnn", "--task", "few", "--epochs", 1, "--objective", "dropout", "-o", path)
    assert result.exit_code == 0, result.output
    (model,) = models_of(read_run(path))
    assert isinstance(model.net, Module)
    assert isinstance(model.net.module, PaperCNN)
    assert (model.config["settings"]["learning_rate"], model.config["settings"]["schedule"]) == (1e-4, "step")
    assert model.config["settings"]["clip_norm"] is None
    result = run("benchmark", path, "--levels", "0,0.3", "--chips", 2, "-o", tmp_path / "run.h5")
    assert result.exit_code == 0, result.output
    page = tmp_path / "page.html"
    assert run("report", tmp_path / "run.h5", "-o", page).exit_code == 0
    assert "module PaperCNN" in page.read_text()


def test_the_papers_lsnn_and_what_the_user_says_instead(tmp_path):
    path = tmp_path / "lsnn.h5"
    result = run("train", "--preset", "paper_lsnn", "--epochs", 1, "--learning-rate", 0.01, "-o", path)
    assert result.exit_code == 0, result.output
    (model,) = models_of(read_run(path))
    assert model.net.spiking["layer0"].neurons == 256
    assert model.config["firing_rate"] == {"weight": 1e-3, "target": 1e-2}
    assert (model.config["settings"]["learning_rate"], model.config["settings"]["batch_size"]) == (0.01, 100)
    assert not model.net.get_parameter("layer0.recurrent_weight").diagonal().any()


def test_no_penalty_where_the_user_says_so(tmp_path):
    path = tmp_path / "lsnn.h5"
    words = ("train", "--preset", "paper_lsnn", "--epochs", 1, "--firing-rate-penalty", 0, "-o", path)
    assert run(*words).exit_code == 0
    assert models_of(read_run(path))[0].config["firing_rate"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "paper_lsn"), "error: preset: unknown 'paper_lsn' (did you mean 'paper_lsnn'?)"),
        (
            ("--preset", "paper_lsnn", "--hidden", "10"),
            "error: preset: paper_lsnn fixes the network; leave --hidden out",
        ),
        (
            ("--preset", "paper_cnn", "--tau-mem", "1"),
            "error: preset: paper_cnn fixes the network; leave --tau-mem out",
        ),
        (("--preset", "paper_cnn"), "error: preset: paper_cnn takes images of 28 x 28; task vowels has 29 steps of 12"),
    ],
)
def test_mistakes_are_one_line(tmp_path, words, message):
    result = run("train", *words, "-o", tmp_path / "a.h5")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)


def test_a_users_module_is_not_for_the_command_line(few_clothes, tmp_path):
    from torch import nn

    class Mine(nn.Sequential):
        def forward(self, x):
            return super().forward(x.mean(0))

    path = tmp_path / "mine.h5"
    train(Module(Mine(nn.Linear(28, 10))), few_clothes, run=path, epochs=1, show_progress=False)
    result = run("benchmark", path, "--chips", 2, "-o", tmp_path / "run.h5")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "mine.h5: holds a module of the user's own" in line
    assert not (tmp_path / "run.h5").exists()
