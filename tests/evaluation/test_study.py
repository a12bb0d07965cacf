"""The tolerance study that the demo is."""

import numpy as np
import pytest

from snnrobust.errors import RunFileError
from snnrobust.evaluation import read_tolerance
from snnrobust.evaluation.study import network_for, tolerance_study
from snnrobust.storage import read_run
from snnrobust.training import Adversarial, Standard, models_of

SMALL = {"epochs": 1, "seed": 0, "chips": 2, "profiles": ["dynapse1"], "levels": [0.0, 0.2]}


def test_a_study_from_training_to_table(task, tmp_path):
    folder = tmp_path / "new" / "study"
    objectives = {"plain": Standard(), "hardened": Adversarial(steps=1)}
    result = tolerance_study(task, objectives, folder, network=lambda: network_for(task, 6), **SMALL)
    assert result.models == ("plain", "hardened")
    assert result.conditions == ("relative_0", "relative_0.2", "dynapse1")
    assert not np.isnan(result.accuracy).any()
    assert sorted(p.name for p in folder.iterdir()) == ["hardened.h5", "plain.h5", "run.h5"]
    stored, run = read_tolerance(folder / "run.h5")
    np.testing.assert_array_equal(stored.accuracy, result.accuracy)
    assert {m.label: m.config["objective"]["name"] for m in models_of(run)} == {
        "plain": "standard",
        "hardened": "adversarial",
    }
    starts = {models_of(read_run(folder / f"{n}.h5"))[0].config["initial_parameters"] for n in objectives}
    assert len(starts) == 1


def test_a_folder_that_cannot_be_made(task, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(RunFileError, match="cannot be made a folder"):
            tolerance_study(task, {"plain": Standard()}, folder, network=lambda: network_for(task, 6), **SMALL)


def test_the_network_has_time_constants_of_the_tasks_steps(task):
    net = network_for(task, 5)
    assert net.inputs == 3
    assert all(task.dt < tau <= 20 * task.dt for tau in [*net.layer0.tau_mem.tolist(), *net.layer0.tau_syn.tolist()])
    assert net.readout.neurons == 3
    given = network_for(task, 5, neuron="alif", readout="rate", tau_mem=0.02, tau_syn=0.004, seed=1)
    assert given.layer0.tau_mem.tolist() == pytest.approx([0.02] * 5)
    assert given.layer0.tau_syn.tolist() == pytest.approx([0.004] * 5)
    assert given.layer0.kind == "alif"
