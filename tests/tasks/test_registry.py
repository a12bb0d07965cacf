import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snnrobust.errors import TaskError
from snnrobust.tasks import Task, TaskInfo, list_tasks, load_task, register_task, registry

NAMES = ["vowels", "temporal_xor", "keywords", "digits", "gestures", "ecg4", "ecg4_patients", "ecg6", "ecg_nv"]
NAMES += ["fashion_mnist", "fashion_mnist_full"]
SHIPPED = ["vowels", "temporal_xor", "fashion_mnist"]


def toy(*, data=None, seed=0, steps=3) -> Task:
    x = np.full((4, steps, 1), seed, dtype=np.float32)
    return Task.from_arrays(x, [0, 1, 0, 1], [0, 0, 2, 2], dt=1e-3, name="toy")


INFO = TaskInfo(name="toy", title="a toy", inputs=1, steps=3, dt=1e-3, classes=2, build=toy)


@pytest.fixture
def clean(monkeypatch):
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))


def test_every_task_is_listed_without_data(nowhere):
    rows = {row.name: row for row in list_tasks()}
    assert list(rows) == NAMES
    assert [name for name, row in rows.items() if row.shipped] == SHIPPED
    assert [name for name, row in rows.items() if row.available] == SHIPPED
    assert rows["ecg4"].source == "mitbih"
    assert rows["temporal_xor"].source == "generated"


def test_listing_reads_no_file(nowhere):
    path = nowhere / "environment" / "har" / "spsw_har_50hz.npz"
    path.parent.mkdir()
    path.write_bytes(b"not an archive")
    assert {row.name for row in list_tasks() if row.available} == {*SHIPPED, "gestures"}


@pytest.mark.parametrize("name", NAMES)
def test_listing_says_what_loading_gives(name, needs_data):
    row = next(row for row in list_tasks() if row.name == name)
    if not row.shipped:
        needs_data(row.source)
    task = load_task(name)
    assert (task.name, task.inputs, task.steps, task.dt) == (name, row.inputs, row.steps, row.dt)
    assert len(task.classes) == row.classes
    assert all(text for text in (task.citation, task.licence, task.split))
    assert 0.2 < task.train.x.std() < 5


def test_unknown_name_says_the_nearest():
    with pytest.raises(TaskError, match=r"task: unknown 'vowel' \(did you mean 'vowels'\?\)"):
        load_task("vowel")


def test_unknown_option_is_one_line():
    with pytest.raises(TaskError, match=r"option: unknown 'noize'.*noise"):
        load_task("temporal_xor", noize=0.3)
    with pytest.raises(TaskError, match="vowels takes no options, got 'noise'"):
        load_task("vowels", noise=0.3)


def test_a_task_from_outside(clean):
    register_task(INFO)
    task = load_task("toy", seed=2, steps=5)
    assert task.train.x.shape == (2, 5, 1)
    assert task.train.x.max() == 2
    assert load_task("toy", encoding="delta", seed=2).inputs == 2
    assert list_tasks()[-1].name == "toy"
    with pytest.raises(TaskError, match="name: task 'toy' exists already"):
        register_task(INFO)
    register_task(INFO, replace=True)


def test_a_task_of_an_unknown_source_is_refused(clean):
    with pytest.raises(TaskError, match="data source: unknown 'digit'"):
        register_task(TaskInfo("t", "t", 1, 1, 1.0, 2, toy, source="digit"))


def test_importing_tasks_needs_neither_torch_nor_network_packages():
    # The package itself may import torch, so it is stood in for by an empty one.
    code = """
import sys, types
package = types.ModuleType("snnrobust")
package.__path__ = [sys.argv[1]]
sys.modules["snnrobust"] = package
import snnrobust.tasks
print([name for name in ("torch", "numba", "pooch", "scipy", "wfdb", "norse") if name in sys.modules])
"""
    command = [sys.executable, "-c", code, str(Path(registry.__file__).parents[1])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
