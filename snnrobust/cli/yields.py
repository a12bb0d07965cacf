"""Commands about what chips withstand and how results differ. Heavy modules load only inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from snnrobust.cli.app import Chips, Data, Overwrite, Result, Seed, Specification, Threads, Trials, Workers, app
from snnrobust.cli.inputs import check_result, trained_models
from snnrobust.cli.robustness import chip, numbers
from snnrobust.errors import ConfigError

Share = Annotated[float, typer.Option("--yield", help="Share of chips that are to be good, a fraction.")]


@app.command()
def tolerance(
    run: Annotated[Path, typer.Argument(help="Run file of a trained network.", show_default=False)],
    share: Share = 0.99,
    accuracy: Annotated[float, typer.Option(help="Accuracy that a good chip reaches, a fraction.", min=0, max=1)] = 0.9,
    profile: Annotated[
        str | None, typer.Option(help="Profile whose spreads are scaled; without one, relative levels.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Levels that every chip is tested at, ascending from 0, with commas.")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="To what a level is bisected; 1 % of the grid's end by default.")
    ] = None,
    chips: Chips = 500,
    trials: Trials = 1,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    workers: Workers = 1,
    overwrite: Overwrite = False,
) -> None:
    """How much variation a share of the chips withstands: every chip's breaking level, by bisection."""
    from snnrobust.evaluation.breaking import breaking_levels, check_yield
    from snnrobust.executor import executor_of
    from snnrobust.report.text import console
    from snnrobust.report.yields import breaking_notes, breaking_table

    check_yield(share)
    check_result(output)
    models, task = trained_models([run], data)
    found = breaking_levels(
        models,
        task,
        profile=chip(profile),
        specification=accuracy,
        grid=None if grid is None else numbers("grid", grid),
        resolution=resolution,
        instances=chips,
        seed=seed,
        trials=trials,
        run=output,
        overwrite=overwrite,
        executor=executor_of(workers),
    )
    out = console()
    out.print(breaking_table(found, share))
    for line in breaking_notes(found, share):
        out.print(line, style="dim")


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(help="Run file of a benchmark.", show_default=False)],
    specification: Specification = 0.9,
    against: Annotated[
        str | None, typer.Option(help="Condition that the others are compared with; the first by default.")
    ] = None,
) -> None:
    """Compare the results of a benchmark: conditions chip by chip, training methods over training seeds.

    Networks whose trainings differ in nothing but their seed are one method.
    """
    from snnrobust.evaluation.comparison import compare_conditions
    from snnrobust.evaluation.methods import compare_all_methods, methods_of
    from snnrobust.evaluation.results import read_tolerance
    from snnrobust.report.text import console, notes
    from snnrobust.report.yields import conditions_table, methods_table

    result, stored = read_tolerance(run)
    base = result.conditions[0] if against is None else against
    others = [name for name in result.conditions if name != base]
    out = console()
    found = [
        compare_conditions(result, model, base, other, specification) for other in others for model in result.models
    ]
    if found:
        out.print(conditions_table(found))
    methods = compare_all_methods(result, methods_of(result, stored))
    if methods:
        out.print(methods_table(methods))
    if not found and not methods:
        raise ConfigError(f"{run}: one condition and one method; there is nothing to compare")
    for line in notes(result):
        out.print(line, style="dim")


@app.command()
def rare(
    run: Annotated[Path, typer.Argument(help="Run file of a trained network.", show_default=False)],
    profile: Annotated[str, typer.Option(help="Profile: a name, or a YAML file.", show_default=False)],
    accuracy: Annotated[float, typer.Option(help="Accuracy that a good chip reaches, a fraction.", min=0, max=1)] = 0.9,
    method: Annotated[str, typer.Option(help="subset (all coordinates) or importance (common factors).")] = "subset",
    chips: Annotated[int, typer.Option(help="Chips in each level of a run (subset), or weighted (importance).")] = 500,
    runs: Annotated[int, typer.Option(help="Independent runs of subset simulation, at least 10.")] = 10,
    plain: Annotated[int, typer.Option(help="Chips of plain Monte Carlo, as a check.", min=1)] = 1000,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Yields from 99.9 % on: the share of bad chips, beside plain Monte Carlo, under the profile's assumed tail."""
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.evaluation.rare_chips import Checked, compare_with_plain
    from snnrobust.hardware import load_profile
    from snnrobust.report.text import console
    from snnrobust.report.yields import rare_notes, rare_table

    check_result(output)
    models, task = trained_models([run], data)
    out, described = console(), load_profile(profile)
    options: dict[str, Any] = {"method": method, "chips": chips, "runs": runs, "plain": plain, "seed": seed}
    for label, model in models.items():
        config = keyed_by(model.net, described, task, task.test, accuracy=accuracy, **options)
        kept = Kept(output, "rare", label, model, described.name, config, overwrite=overwrite)
        same = {**options}
        found = once(kept, Checked, compare_with_plain, model.net, task, described, accuracy, **same)
        out.print(rare_table(label, found, accuracy))
        for line in rare_notes(found):
            out.print(line, style="dim")
