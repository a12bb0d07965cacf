"""The tolerance study: the same network trained with several objectives, deployed on the same chips, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from snnrobust.errors import RunFileError
from snnrobust.evaluation.montecarlo import benchmark
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.hardware.profile import Profile, load_profile
from snnrobust.snn.network import Network
from snnrobust.storage import open_run
from snnrobust.tasks import Task
from snnrobust.training import Objective, TrainedModel, models_of, train


def network_for(
    task: Task,
    hidden: int,
    *,
    neuron: str = "lif",
    readout: str = "li",
    tau_mem: float | None = None,
    tau_syn: float | None = None,
    fan_in: int | None = None,
    seed: int = 0,
) -> Network:
    """A recurrent network that fits a task: time constants of a few of its steps where none are given.

    Args:
        task: Gives inputs, classes and dt.
        hidden: Hidden neurons.
        neuron: Name of the neuron.
        readout: "li" or "rate".
        tau_mem: Membrane time constant of the hidden neurons in s, 10 dt by default; that of the readout is 5 dt.
        tau_syn: Synaptic time constant in s; 5 dt by default.
        fan_in: Connections that each hidden neuron keeps; None keeps all.
        seed: Seed of the initial weights.
    """
    return Network.recurrent(
        task.inputs,
        hidden,
        len(task.classes),
        neuron=neuron,
        readout=readout,
        dt=task.dt,
        tau_mem=10 * task.dt if tau_mem is None else tau_mem,
        tau_syn=5 * task.dt if tau_syn is None else tau_syn,
        tau_out=5 * task.dt,
        fan_in=fan_in,
        seed=seed,
    )


def tolerance_study(
    task: Task,
    objectives: Mapping[str, Objective],
    folder: Path,
    *,
    network: Callable[[], Network],
    epochs: int,
    seed: int,
    chips: int,
    profiles: Iterable[str],
    levels: Iterable[float],
    learning_rate: float = 1e-2,
    overwrite: bool = False,
) -> Tolerance:
    """Train one network per objective and test all on the same chips.

    Args:
        task: Data.
        objectives: Objectives by the name that tables show.
        folder: Each training is kept in `<name>.h5`, the results in `run.h5`; an interrupted study goes on from there.
        network: Makes the network, the same for every objective.
        epochs: Passes over the training data.
        seed: Seed of the trainings; the chips have the next one.
        chips: Number of test chips.
        profiles: Names of profiles.
        levels: Relative mismatch levels, fractions.
        learning_rate: Adam's, at the start.
        overwrite: Replace files of another experiment.

    Returns:
        Accuracies by objective, condition and chip.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFileError(f"{folder}: cannot be made a folder for results ({error.strerror or error})") from error
    trained: dict[str, TrainedModel] = {}
    for name, objective in objectives.items():
        path = folder / f"{name}.h5"
        train(
            network(),
            task,
            objective,
            run=path,
            label=name,
            overwrite=overwrite,
            epochs=epochs,
            seed=seed,
            learning_rate=learning_rate,
        )
        trained[name] = models_of(open_run(path))[0]
    conditions: list[Profile | float] = [*levels, *(load_profile(name) for name in profiles)]
    return benchmark(
        trained, conditions, task, instances=chips, seed=seed + 1, run=folder / "run.h5", overwrite=overwrite
    )
