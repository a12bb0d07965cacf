"""Commands that show what there is: profiles, tasks, objectives, data sets. Only figures and objectives load torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from snnrobust.cli.app import Data, app, fail

profiles_app = typer.Typer(help="Hardware profiles: list, show, validate, compare.", no_args_is_help=True)
tasks_app = typer.Typer(help="Tasks: list, show.", no_args_is_help=True)
objectives_app = typer.Typer(help="How networks are trained: list.", no_args_is_help=True)
data_app = typer.Typer(help="Data sets: where they are, download.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles")
app.add_typer(tasks_app, name="tasks")
app.add_typer(objectives_app, name="objectives")
app.add_typer(data_app, name="data")


Profile = Annotated[str, typer.Argument(help="Name, or a YAML file.", show_default=False)]


@profiles_app.command("list")
def profiles_list() -> None:
    """The profiles that ship with the package, and how much of each is assumed."""
    from snnrobust.hardware.profile import list_profiles, load_profile
    from snnrobust.report.profiles import profiles_table
    from snnrobust.report.text import console

    console().print(profiles_table(load_profile(summary.name) for summary in list_profiles()))


@profiles_app.command("show")
def profiles_show(
    name: Profile,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw its spreads and devices into this file, e.g. chip.png.", show_default=False),
    ] = None,
) -> None:
    """A profile with every number, its evidence and source, and what is not simulated yet."""
    from snnrobust.hardware.profile import load_profile
    from snnrobust.report.profiles import profile_page

    profile = load_profile(name)
    if plot is not None:
        from snnrobust.report.profile_figure import save_profile_figure

        save_profile_figure(profile, plot)
    profile_page(profile)


@profiles_app.command("diff")
def profiles_diff(first: Profile, second: Profile) -> None:
    """Every value in which two profiles differ, and how each is known."""
    from snnrobust.hardware.profile import load_profile
    from snnrobust.hardware.schema.comparison import differences
    from snnrobust.report.profiles import difference_table
    from snnrobust.report.text import console

    here, there = load_profile(first), load_profile(second)
    rows = differences(here, there)
    console().print(difference_table(here, there, rows) if rows else "no difference")


@profiles_app.command("schema")
def profiles_schema() -> None:
    """JSON Schema of a profile, for editors that complete and check YAML."""
    import json

    from snnrobust.hardware.schema.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@profiles_app.command("validate")
def profiles_validate(file: Annotated[Path, typer.Argument(help="YAML file.", show_default=False)]) -> None:
    """Check a profile: every error at once, one line each; exit code 2 if there is any."""
    from snnrobust.hardware.profile import check_profile

    errors = check_profile(file)
    if errors:
        raise typer.Exit(fail("\n".join(errors)))
    print(f"{file}: valid")


@tasks_app.command("list")
def tasks_list(data: Data = None) -> None:
    """All tasks, and whether their data is here."""
    from snnrobust.report.text import console, table
    from snnrobust.tasks import list_tasks

    rows = [
        (
            t.name,
            t.title,
            str(t.inputs),
            str(t.steps),
            f"{1e3 * t.dt:.3g}",
            str(t.classes),
            "yes" if t.available else "no",
        )
        for t in list_tasks(data=data)
    ]
    numbers = dict.fromkeys(("inputs", "steps", "dt (ms)", "classes"), "number")
    console().print(table("", {"task": "name", "what": "text", **numbers, "data here": "name"}, rows))


@tasks_app.command("show")
def tasks_show(
    name: Annotated[str, typer.Argument(help="Name of the task.", show_default=False)], data: Data = None
) -> None:
    """One task: its sizes, split, citation and licence."""
    from snnrobust.tasks import load_task

    task = load_task(name, data=data)
    sizes = ", ".join(f"{part} {len(samples)}" for part, samples in task.parts().items())
    print(
        f"{task.name}: {task.inputs} inputs, {task.steps} steps of {1e3 * task.dt:.3g} ms, {len(task.classes)} classes"
    )
    for label, text in (
        ("samples", sizes),
        ("classes", ", ".join(task.classes)),
        ("reported", task.metric),
        ("split", task.split),
        ("citation", task.citation),
        ("licence", task.licence),
    ):
        print(f"  {label + ':':<10} {text}")


@objectives_app.command("list")
def objectives_list() -> None:
    """All objectives: what a step costs, what they minimise, and their choices, which `train --set` changes."""
    from snnrobust.cli.choices import rows
    from snnrobust.report.text import console, table

    columns = {"objective": "name", "passes": "number", "what": "text", "choices": "text"}
    console().print(table("", columns, rows()))


@data_app.command("where")
def data_where(data: Data = None) -> None:
    """Where each data set was found, or the command that gets it."""
    from snnrobust.tasks import sources

    for line in sources.where(data):
        print(line)


@data_app.command("download")
def data_download(
    name: Annotated[str, typer.Argument(help="Data set; see `snnrobust data where`.", show_default=False)],
    data: Data = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fetch it even if a file is found.")] = False,
) -> None:
    """Download a data set from its publisher into the cache, or into --data."""
    from snnrobust.tasks.download import download

    print(download(name, data=data, overwrite=overwrite, progress=_show_bytes))


def _show_bytes(file: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        size = f" of {total / 1e6:.1f}" if total else ""
        print(f"\r{file}: {done / 1e6:.1f}{size} MB", end="" if done < total else "\n", file=sys.stderr)
