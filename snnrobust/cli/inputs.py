"""From what a user typed to objects of the library, with errors that name the option."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrobust.errors import ConfigError, RunFileError

if TYPE_CHECKING:
    from snnrobust.evaluation.statistics.sequences import Stopping
    from snnrobust.hardware import Module, Profile
    from snnrobust.snn import Network
    from snnrobust.tasks import Task
    from snnrobust.training import TrainedModel
    from snnrobust.training.objectives import Choices


MOST_CHIPS = 10_000
"""Chips after which a rule that asks for more gives up, unless the user says otherwise."""


def check_output(output: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse an output that is one of the inputs, under whatever name."""
    if output is not None and any(output.resolve() == path.resolve() for path in inputs):
        raise ConfigError(f"output: {output} is also an input; inputs are read only, choose another path")


def check_result(output: Path | None, *, new: bool = False) -> None:
    """Refuse a place where no result can be kept: before the work, not after it.

    Args:
        output: A run file, which results are put beside, or a file that is not there yet.
        new: Whether it must not be there yet.
    """
    from snnrobust.storage import open_run
    from snnrobust.storage.files import check_place

    if output is None:
        return
    check_place(output)
    if new and output.exists():
        raise ConfigError(f"output: {output} exists; give --overwrite, or choose another path")
    if output.exists() and output.suffix not in (".yaml", ".yml"):
        open_run(output)


def split(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "y": 365.0 * 86400.0}
"""What the units of a time are, in s; a year has 365 days."""


def seconds(option: str, text: str) -> float:
    """A time in s: a number, which may have a unit (s, m, h, d or y)."""
    unit = text[-1:] if text[-1:] in SECONDS else ""
    try:
        value = float(text.removesuffix(unit))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigError(
            f"{option}: {text!r} is not a time; give seconds, or a number with s, m, h, d or y, such as 1d"
        )
    return value * SECONDS.get(unit, 1.0)


def at_times(profile: Profile, times: str | None) -> list[Profile]:
    """The profile at times since programming, with commas; where there are several, each has its time in its name."""
    if times is None:
        return [profile]
    words = split(times) or [times]
    if len(words) == 1:
        return [profile.under(time=seconds("time", words[0]))]
    aged = [(profile.under(time=seconds("time", word)), word) for word in words]
    return [chip.model_copy(update={"name": f"{profile.name}_at_{word}"}) for chip, word in aged]


def fractions(option: str, text: str) -> list[float]:
    """Mismatch levels: fractions with commas."""
    values = []
    for part in split(text):
        try:
            value = float(part)
        except ValueError:
            raise ConfigError(
                f"{option}: {part!r} is not a number; give fractions with commas, such as 0,0.1,0.2"
            ) from None
        if not 0 <= value <= 2:
            raise ConfigError(f"{option}: {part} is not a fraction from 0 to 2 (0.2 means 20 %)")
        values.append(value)
    return values


def calibration_of(modes: str, epochs: int | None, knobs: str | None) -> dict[str, Any]:
    """Modes of calibration, and how chips are calibrated in the loop: keywords of `benchmark`."""
    from snnrobust.hardware.calibration import IN_THE_LOOP
    from snnrobust.training import Tuning

    wanted = split(modes) + [IN_THE_LOOP] * (epochs is not None)
    if knobs is not None and IN_THE_LOOP not in wanted:
        raise ConfigError(f"knobs: nothing is written unless --calibration names {IN_THE_LOOP}")
    given: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    given |= {} if knobs is None else {"knobs": tuple(split(knobs))}
    return {"calibration": wanted, "tuning": Tuning(**given) if IN_THE_LOOP in wanted else None}


def objective_of(
    name: str,
    level: float | None,
    radius: float | None,
    steps: int | None,
    beta: float | None,
    profile: str | None,
    choices: Iterable[str] = (),
) -> Choices:
    """The objective of this name with those of the options that are given and are fields of it, then with choices."""
    from snnrobust.cli.choices import named_objective, with_choices

    objective = named_objective(name)
    taken = {field.name for field in fields(objective)}
    if profile is not None and "profile" not in taken:
        raise ConfigError(f"profile: {profile} is not for objective {name}, which sees no devices")
    options: dict[str, Any] = {"level": level, "forward_noise": level, "profile": profile}
    options |= {"radius": radius, "steps": steps, "beta": beta}
    given = {option: value for option, value in options.items() if option in taken and value is not None}
    return with_choices(replace(objective, **given), choices)


NETWORK_OPTIONS = ("neuron", "hidden", "readout", "tau_mem", "tau_syn", "fan_in")


def preset_of(
    name: str, typed: Collection[str], task: Task, seed: int
) -> tuple[Network | Module, dict[str, Any], float]:
    """The network of a preset, its settings but for those that the user typed, and the weight of its rate penalty."""
    from snnrobust.training.recipes import recipe_of

    recipe = recipe_of(name)
    for option in NETWORK_OPTIONS:
        if option in typed:
            raise ConfigError(f"preset: {name} fixes the network; leave --{option.replace('_', '-')} out")
    settings = {key: value for key, value in recipe.settings.items() if key not in typed}
    return recipe.network(task, seed), settings, 0.0 if "firing_rate_penalty" in typed else recipe.rate_penalty


def chips_or_rule(
    chips: int, until: str | None, max_chips: int | None, specification: float
) -> tuple[int, Stopping | None]:
    """The largest number of chips, and when fewer are enough."""
    from snnrobust.evaluation.statistics.sequences import Stopping

    if until is None:
        if max_chips is not None:
            raise ConfigError(f"max-chips: {max_chips} is for --until; --chips is a fixed number")
        return chips, None
    return MOST_CHIPS if max_chips is None else max_chips, Stopping(until=until, specification=specification)


def trained_models(paths: Iterable[Path], data: Path | None) -> tuple[dict[str, TrainedModel], Task]:
    """The trained networks of run files by name, and the one task that all were trained on."""
    from snnrobust.storage import open_run
    from snnrobust.tasks import load_task
    from snnrobust.training import StoredModule, models_of

    found: dict[str, TrainedModel] = {}
    tasks: dict[tuple[str, str], Path] = {}
    for path in paths:
        models = models_of(open_run(path))
        if not models:
            raise RunFileError(
                f"{path}: holds no trained network; was its training interrupted? run it again to finish"
            )
        for model in models:
            if isinstance(model.net, StoredModule):
                kind = model.net.structure["module"]
                raise RunFileError(f"{path}: holds a module of the user's own ({kind}); load and deploy it from Python")
            name = model.label if model.label not in found else f"{model.label} ({path.stem})"
            if name in found:
                raise RunFileError(f"{path}: a network named {name!r} is given twice")
            found[name] = model
            tasks[str(model.config["task"]), str(model.config["encoding"])] = path
    if len(tasks) > 1:
        names = "; ".join(f"{path}: {task} ({encoding})" for (task, encoding), path in tasks.items())
        raise RunFileError(f"networks of different tasks cannot be compared: {names}")
    task, encoding = next(iter(tasks))
    return found, load_task(task, data=data, encoding=encoding)
