"""The tasks by name: load one, list all, add one from outside."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from snnrobust.errors import TaskError, unknown
from snnrobust.tasks import digits, ecg, fashion_mnist, gestures, keywords, sources, temporal_xor, vowels
from snnrobust.tasks.dataset import Task, TaskInfo
from snnrobust.tasks.encoders import encode

_TASKS: dict[str, TaskInfo] = {}


class TaskListing(NamedTuple):
    """A row of the list of tasks; as ``TaskInfo``, and whether the data is shipped and found now."""

    name: str
    title: str
    inputs: int
    steps: int
    dt: float
    classes: int
    source: str
    shipped: bool
    available: bool


def register_task(info: TaskInfo, *, replace: bool = False) -> None:
    """Make a task loadable by its name.

    Args:
        info: The task's description and builder. ``info.source`` is None or the name of a known data source.
        replace: Whether a task of the same name may be replaced.

    Raises:
        TaskError: If the name is taken and ``replace`` is False, or if the source is unknown.
    """
    if info.name in _TASKS and not replace:
        raise TaskError(f"name: task {info.name!r} exists already; choose another name or pass replace=True")
    if info.source is not None:
        sources.get(info.source)
    _TASKS[info.name] = info


def load_task(
    name: str,
    *,
    data: str | Path | None = None,
    encoding: str = "analog",
    seed: int = 0,
    **options: object,
) -> Task:
    """Load a task.

    Args:
        name: One of ``list_tasks()``.
        data: Folder to look in first; then come SNNROBUST_DATA, the user's cache and the package.
        encoding: "analog" (currents), or spikes by "delta", "latency" or "rate"; ``tasks.encoders.encode``
            takes their options.
        seed: Key of everything random in the data: subsets, generated samples, encoder draws. It is not the
            seed of training, so that all networks see the same data.
        **options: What the task's builder takes beyond that, e.g. ``noise`` for "temporal_xor".

    Returns:
        The task.

    Raises:
        TaskError: If the name is unknown, or the data is missing or damaged.
    """
    if name not in _TASKS:
        raise TaskError(unknown("task", name, _TASKS))
    folder = None if data is None else Path(data)
    build = _TASKS[name].build
    _check_options(name, options, build)
    return encode(build(data=folder, seed=seed, **options), encoding, seed=seed)


def _check_options(name: str, options: Mapping[str, object], build: Callable[..., Task]) -> None:
    allowed = inspect.signature(build).parameters.keys() - {"data", "seed"}
    for option in options.keys() - allowed:
        if not allowed:
            raise TaskError(f"option: task {name} takes no options, got {option!r}")
        raise TaskError(unknown("option", option, allowed))


def list_tasks(*, data: str | Path | None = None) -> list[TaskListing]:
    """All tasks in the order of their registration, without loading data.

    Args:
        data: Folder to look for the data in first.
    """
    folder = None if data is None else Path(data)
    return [_listing(info, folder) for info in _TASKS.values()]


def _listing(info: TaskInfo, data: Path | None) -> TaskListing:
    shared = (info.name, info.title, info.inputs, info.steps, info.dt, info.classes)
    if info.source is None:
        return TaskListing(*shared, source="generated", shipped=True, available=True)
    source = sources.get(info.source)
    return TaskListing(
        *shared,
        source=source.name,
        shipped=source.shipped is not None,
        available=sources.find(source, data) is not None,
    )


for _info in (
    vowels.INFO,
    temporal_xor.INFO,
    keywords.INFO,
    digits.INFO,
    gestures.INFO,
    ecg.ECG4,
    ecg.ECG4_PATIENTS,
    ecg.ECG6,
    ecg.ECG_NV,
    fashion_mnist.INFO,
    fashion_mnist.FULL,
):
    register_task(_info)
