"""snnrobust: train spiking networks that survive analog hardware, and know what mismatch will cost.

    import snnrobust as sr

    task = sr.load_task("vowels")
    net = sr.Network.recurrent(task.inputs, 100, len(task.classes), dt=task.dt)
    sr.train(net, task, objective=sr.objectives.Adversarial(), epochs=40, seed=0)
    deployment = sr.Chip(sr.load_profile("dynapse1")).deploy(net, instances=200)
    print(sr.evaluate(deployment, task.test).summary())

The names load on first use, so that reading a profile or a task list needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnrobust import snn as snn
    from snnrobust.errors import SnnRobustError as SnnRobustError
    from snnrobust.evaluation import (
        Tolerance as Tolerance,
    )
    from snnrobust.evaluation import (
        benchmark as benchmark,
    )
    from snnrobust.evaluation import (
        evaluate as evaluate,
    )
    from snnrobust.evaluation import (
        open_results as open_results,
    )
    from snnrobust.hardware import (
        Chip as Chip,
    )
    from snnrobust.hardware import (
        Deployment as Deployment,
    )
    from snnrobust.hardware import (
        Model as Model,
    )
    from snnrobust.hardware import (
        Module as Module,
    )
    from snnrobust.hardware import (
        Profile as Profile,
    )
    from snnrobust.hardware import (
        load_profile as load_profile,
    )
    from snnrobust.snn import Network as Network
    from snnrobust.tasks import Task as Task
    from snnrobust.tasks import load_task as load_task
    from snnrobust.training import TrainResult as TrainResult
    from snnrobust.training import finetune as finetune
    from snnrobust.training import objectives as objectives
    from snnrobust.training import train as train

__version__ = "0.1.0"

_HOME = {
    "Chip": "hardware",
    "Deployment": "hardware",
    "Model": "hardware",
    "Module": "hardware",
    "Network": "snn",
    "Profile": "hardware",
    "SnnRobustError": "errors",
    "Task": "tasks",
    "Tolerance": "evaluation",
    "TrainResult": "training",
    "benchmark": "evaluation",
    "evaluate": "evaluation",
    "finetune": "training",
    "load_profile": "hardware",
    "load_task": "tasks",
    "objectives": "training",
    "open_results": "evaluation",
    "train": "training",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public object)
    if name == "snn":
        return import_module("snnrobust.snn")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
