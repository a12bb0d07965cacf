"""Commands about the worst device: attacks on trained networks, and certificates. Heavy modules load only inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnrobust.cli.app import Data, Seed, Threads, app
from snnrobust.cli.inputs import check_output, split, trained_models
from snnrobust.errors import ConfigError

if TYPE_CHECKING:
    from snnrobust.hardware import Profile

Run = Annotated[Path, typer.Argument(help="Run file of a trained network.", show_default=False)]
ChipOrLevel = Annotated[
    str | None,
    typer.Option("--profile", help="Profile; without one, sizes are fractions of weights and biases."),
]


Calibration = Annotated[
    str, typer.Option(help="What a lab did to the chip: none, core_mean, trim, residual, column_affine, or profile.")
]


@app.command()
def worst(
    run: Run,
    profile: ChipOrLevel = None,
    calibration: Calibration = "none",
    radii: Annotated[
        str | None,
        typer.Option(help="Half-widths of the box, with commas: standard deviations of the profile, or fractions."),
    ] = None,
    losses: Annotated[str, typer.Option(help="What is attacked, with commas: task, kl.")] = "task,kl",
    steps: Annotated[int, typer.Option(help="Ascent steps.", min=1)] = 20,
    restarts: Annotated[int, typer.Option(help="Starts of each attack.", min=1)] = 5,
    chips: Annotated[int, typer.Option(help="Random devices of each kind.", min=1)] = 20,
    samples: Annotated[int, typer.Option(help="Most samples that are attacked.", min=1)] = 300,
    attack_on: Annotated[str, typer.Option(help="Data that is attacked: train or validation.")] = "train",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HDF5 file for curves and the most harmful chip.")
    ] = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
) -> None:
    """Attack a trained network's parameters, beside random mismatch of the same size."""
    from snnrobust.evaluation.worst_case import worst_case, write_harmful
    from snnrobust.report.robustness import worst_case_table
    from snnrobust.report.text import console

    check_output(output, [run])
    models, task = trained_models([run], data)
    sizes = numbers("radii", radii or ("0.05,0.1,0.2,0.3" if profile is None else "0.5,1,2,3"))
    out = console()
    if len(models) > 1 and output is not None:
        raise ConfigError(f"output: {run} has {len(models)} networks; one file holds the worst chip of one network")
    for label, model in models.items():
        found = worst_case(
            model.net,
            task,
            sizes,
            profile=chip(profile),
            calibration=calibration,
            losses=split(losses),
            steps=steps,
            restarts=restarts,
            chips=chips,
            samples=samples,
            attack_on=attack_on,
            seed=seed,
        )
        out.print(worst_case_table(label, found))
        for line in (*found.notes, found.statement):
            out.print(line, style="dim")
        if output is not None:
            write_harmful(output, found)
            out.print(f"{output}: curves, and the most harmful chip", style="dim")


@app.command()
def certify(
    run: Run,
    profile: ChipOrLevel = None,
    calibration: Calibration = "none",
    boxes: Annotated[
        str, typer.Option(help="Half-widths of the box, with commas: standard deviations, or fractions.")
    ] = "0,0.0001,0.0003,0.001,0.003,0.01",
    depth: Annotated[int, typer.Option(help="Halvings of factors that all neurons share.", min=0)] = 0,
    samples: Annotated[int, typer.Option(help="Most test samples.", min=1)] = 500,
    data: Data = None,
    threads: Threads = None,
) -> None:
    """Certify samples for every device in a box; the largest box in which that still says something."""
    from snnrobust.evaluation.certificate import STATEMENT, largest_k, spread_samples
    from snnrobust.evaluation.certificate import certify as certificate
    from snnrobust.report.robustness import certificate_table
    from snnrobust.report.text import console

    models, task = trained_models([run], data)
    sizes, chosen, scored = numbers("boxes", boxes), chip(profile), spread_samples(task.test, samples)
    out = console()
    for label, model in models.items():
        found = [certificate(model.net, scored, k, profile=chosen, calibration=calibration, depth=depth) for k in sizes]
        out.print(certificate_table(label, found))
        one, half = (
            largest_k(model.net, scored, profile=chosen, calibration=calibration, share=s, depth=depth)
            for s in (0.0, 0.5)
        )
        out.print(f"largest box with a certified sample: k = {one:.3g}; with more than half of them: k = {half:.3g}")
        excluded = f"; the box leaves out: {', '.join(found[0].excluded)}" if found[0].excluded else ""
        unit = "fractions of weights and biases" if chosen is None else f"standard deviations of {chosen.name}"
        out.print(f"k in {unit}; {len(scored)} test samples, {STATEMENT}{excluded}", style="dim")


def numbers(option: str, text: str) -> list[float]:
    """Sizes of boxes, with commas."""
    try:
        return [float(part) for part in split(text)]
    except ValueError:
        raise ConfigError(f"{option}: {text!r} must be numbers with commas, such as 0.1,0.2") from None


def chip(profile: str | None) -> Profile | None:
    """The profile of a name or file, if there is one."""
    from snnrobust.hardware import load_profile

    return None if profile is None else load_profile(profile)
