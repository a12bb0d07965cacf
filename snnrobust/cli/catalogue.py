"""Commands that show what there is: profiles, tasks, data sets. None of them loads torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from snnrobust.cli.app import Data, app, fail

profiles_app = typer.Typer(help="Hardware profiles: list, show, validate.", no_args_is_help=True)
tasks_app = typer.Typer(help="Tasks: list, show.", no_args_is_help=True)
data_app = typer.Typer(help="Data sets: where they are, download.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles")
app.add_typer(tasks_app, name="tasks")
app.add_typer(data_app, name="data")


@profiles_app.command("list")
def profiles_list() -> None:
    """The profiles that ship with the package."""
    from snnrobust.hardware.profile import list_profiles
    from snnrobust.report.text import console, table

    rows = [(p.name, p.kind, " ".join(p.description.split())) for p in list_profiles()]
    console().print(table("", {"profile": "name", "kind": "name", "description": "text"}, rows))


@profiles_app.command("show")
def profiles_show(name: Annotated[str, typer.Argument(help="Name, or a YAML file.", show_default=False)]) -> None:
    """A profile with every number, its evidence and source, and what is not simulated yet."""
    from snnrobust.hardware.profile import load_profile
    from snnrobust.report.text import profile_page

    profile_page(load_profile(name))


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
