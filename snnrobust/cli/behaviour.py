"""The command that records what chips do. Heavy modules load only inside it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnrobust.cli.app import (
    Calibration,
    Chips,
    Data,
    Finetune,
    Knobs,
    Overwrite,
    Result,
    Seed,
    Specification,
    Threads,
    app,
)
from snnrobust.cli.inputs import SECONDS, calibration_of, check_result, seconds, split, trained_models
from snnrobust.cli.robustness import numbers

if TYPE_CHECKING:
    from snnrobust.hardware import Profile


@app.command()
def behaviour(
    run: Annotated[Path, typer.Argument(help="Run file of a trained network.", show_default=False)],
    profile: Annotated[str, typer.Option(help="Profile: a name, or a YAML file.", show_default=False)],
    chips: Chips = 20,
    samples: Annotated[int, typer.Option(help="Most test samples that are recorded.", min=1)] = 200,
    specification: Specification = 0.9,
    time: Annotated[
        str | None, typer.Option(help="Times since programming, with commas, such as 1s,1h,1d,1y (crossbars).")
    ] = None,
    temperature: Annotated[
        str | None, typer.Option(help="Temperatures of operation in K, with commas, such as 280,300,320.")
    ] = None,
    calibration: Calibration = "none",
    finetune: Finetune = None,
    knobs: Knobs = None,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """What chips do beside being right: agreement, latency, rates, neurons that fail; over time and temperature."""
    from snnrobust.evaluation.observation.study import behaviour as observed
    from snnrobust.report.behaviour import behaviour_notes, chips_table, layers_table
    from snnrobust.report.text import console

    check_result(output)
    conditions = environments(profile, time, temperature)
    models, task = trained_models([run], data)
    found = observed(
        models,
        conditions,
        task,
        instances=chips,
        samples=samples,
        seed=seed,
        **calibration_of(calibration, finetune, knobs),
        run=output,
        overwrite=overwrite,
    )
    out = console()
    out.print(chips_table(found, specification))
    out.print()
    out.print(layers_table(found))
    for line in behaviour_notes(found):
        out.print(line, style="dim")


def environments(name: str, times: str | None, temperatures: str | None) -> dict[str, Profile]:
    """The profile at each time and temperature that is given, by what is said of it."""
    from snnrobust.hardware import load_profile

    base = load_profile(name)
    at = [None] if times is None else split(times)
    warm = [None] if temperatures is None else numbers("temperature", temperatures)
    found = {}
    for time, kelvin in itertools.product(at, warm):
        profile = base.under(time=None if time is None else seconds("time", time), temperature=kelvin)
        said = [] if time is None else [time if time[-1:] in SECONDS else f"{time} s"]
        said += [] if kelvin is None else [f"{kelvin:g} K"]
        found[" ".join([base.name, *said])] = profile
    return found
