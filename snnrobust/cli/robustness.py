"""Commands about the worst device: attacks, the loss around a network, certificates. Heavy modules load only inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnrobust.cli.app import Data, Overwrite, Result, Seed, Threads, app
from snnrobust.cli.inputs import check_output, check_result, split, trained_models
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
    harmful: Annotated[
        Path | None, typer.Option("--chip", help="HDF5 file for the most harmful chip, as chips are exported.")
    ] = None,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Attack a trained network's parameters, beside random mismatch of the same size."""
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.evaluation.worst_case import WorstCase, worst_case, write_harmful
    from snnrobust.report.robustness import worst_case_table
    from snnrobust.report.text import console

    check_result(output)
    check_output(harmful, [run] if output is None else [run, output])
    models, task = trained_models([run], data)
    usual = "0.05,0.1,0.2,0.3" if profile is None else "0.5,1,2,3"
    sizes = numbers("radii", usual if radii is None else radii)
    out, chosen = console(), chip(profile)
    if len(models) > 1 and harmful is not None:
        raise ConfigError(f"chip: {run} has {len(models)} networks; one file holds the worst chip of one network")
    options: dict[str, Any] = {"calibration": calibration, "losses": split(losses), "steps": steps, "seed": seed}
    options |= {"restarts": restarts, "chips": chips, "samples": samples, "attack_on": attack_on}
    for label, model in models.items():
        config = keyed_by(model.net, chosen, task, task.test, radii=sizes, **options)
        kept = Kept(output, "worst_case", label, model, named(chosen, calibration), config, overwrite=overwrite)
        same = {"profile": chosen, **options}
        found = once(kept, WorstCase, worst_case, model.net, task, sizes, **same)
        out.print(worst_case_table(label, found))
        for line in (*found.notes, found.statement):
            out.print(line, style="dim")
        if harmful is not None:
            write_harmful(harmful, kept.stored if kept.stored is not None else found.to_group())
            out.print(f"{harmful}: the most harmful chip", style="dim")


@app.command()
def landscape(
    run: Run,
    profile: ChipOrLevel = None,
    calibration: Calibration = "none",
    directions: Annotated[int, typer.Option(help="Random directions.", min=1)] = 5,
    reach: Annotated[float, typer.Option(help="Lines and slice go from -reach to reach times a direction.")] = 2.0,
    points: Annotated[int, typer.Option(help="Points on a line, odd.")] = 41,
    across: Annotated[int, typer.Option(help="Points on a side of the 2-D slice, odd; 0 for no slice.")] = 15,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Size of a direction: standard deviations of the profile, 1 by default, or a fraction, 0.2.",
            show_default=False,
        ),
    ] = None,
    radii: Annotated[
        str | None,
        typer.Option(
            help="Half-widths of boxes for the sharpness, with commas: standard deviations of the profile, or "
            "fractions.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Ascent steps of each attack.", min=1)] = 20,
    restarts: Annotated[int, typer.Option(help="Starts of the attacks that give the sharpness.", min=1)] = 3,
    samples: Annotated[int, typer.Option(help="Most test samples.", min=1)] = 300,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """The loss around a trained network: random and adversarial directions, their slope, a slice, sharpness."""
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.evaluation.landscape_study import RADII, SCALES, LossLandscape
    from snnrobust.evaluation.landscape_study import landscape as look_around
    from snnrobust.report.robustness import landscape_table
    from snnrobust.report.text import console

    check_result(output)
    models, task = trained_models([run], data)
    out, chosen = console(), chip(profile)
    boxes = list(RADII[chosen is not None]) if radii is None else numbers("radii", radii)
    options: dict[str, Any] = {"calibration": calibration, "directions": directions, "reach": reach, "points": points}
    options |= {"across": across, "scale": SCALES[chosen is not None] if scale is None else scale, "radii": boxes}
    options |= {"steps": steps, "restarts": restarts, "samples": samples, "seed": seed}
    for label, model in models.items():
        config = keyed_by(model.net, chosen, task, task.test, **options)
        kept = Kept(output, "landscape", label, model, named(chosen, calibration), config, overwrite=overwrite)
        same = {"profile": chosen, **options}
        found = once(kept, LossLandscape, look_around, model.net, task, **same)
        out.print(landscape_table(label, found))
        for line in (*found.notes, found.population):
            out.print(line, style="dim")
        out.print(found.statement)


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
    output: Result = None,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Certify samples for every device in a box; the largest box in which that still says something."""
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.evaluation.certificates.certificate import STATEMENT, Certified, certify_boxes, spread_samples
    from snnrobust.report.robustness import certificate_table
    from snnrobust.report.text import console

    check_result(output)
    models, task = trained_models([run], data)
    sizes, chosen, scored = numbers("boxes", boxes), chip(profile), spread_samples(task.test, samples)
    out = console()
    options: dict[str, Any] = {"calibration": calibration, "depth": depth}
    for label, model in models.items():
        config = keyed_by(model.net, chosen, task, scored, boxes=sizes, **options)
        kept = Kept(output, "certificate", label, model, named(chosen, calibration), config, overwrite=overwrite)
        same = {"profile": chosen, **options}
        found = once(kept, Certified, certify_boxes, model.net, scored, sizes, **same)
        out.print(certificate_table(label, found.boxes))
        least = f"largest box with a certified sample: k = {found.largest:.3g}"
        out.print(f"{least}; with more than half of them: k = {found.half:.3g}")
        excluded = f"; the box leaves out: {', '.join(found.boxes[0].excluded)}" if found.boxes[0].excluded else ""
        out.print(f"k in {found.unit}; {found.samples} test samples, {STATEMENT}{excluded}", style="dim")


def named(profile: Profile | None, calibration: str) -> str:
    """The chip of an analysis, with what a lab did to it."""
    from snnrobust.evaluation.analyses import LEVELS

    name = LEVELS if profile is None else profile.name
    return name if calibration == "none" else f"{name} ({calibration})"


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
