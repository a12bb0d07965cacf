"""The command line: the same words as the library. Heavy modules load only in the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from snnrobust.errors import ConfigError, RunFileError, SnnRobustError

if TYPE_CHECKING:
    from snnrobust.evaluation import Tolerance
    from snnrobust.hardware import Profile
    from snnrobust.tasks import Task
    from snnrobust.training import TrainedModel
    from snnrobust.training.objectives import Objective

LEVELS = "0,0.1,0.2,0.3,0.5,0.7"
DEMO_PROFILES = ("dynapse1_conservative", "generic_subthreshold_180nm_20", "pcm_ibm")


class Commands(TyperGroup):
    """The commands, with one line an error that input can cause, and exit code 2; 130 after Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer has a context of its own, or click's, by version)
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SnnRobustError as error:
            raise typer.Exit(_fail(str(error))) from None
        except KeyboardInterrupt:
            print("interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands, help="Spiking networks that survive analog hardware.", no_args_is_help=True, add_completion=False
)
profiles_app = typer.Typer(help="Hardware profiles: list, show, validate.", no_args_is_help=True)
tasks_app = typer.Typer(help="Tasks: list, show.", no_args_is_help=True)
data_app = typer.Typer(help="Data sets: where they are, download.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles")
app.add_typer(tasks_app, name="tasks")
app.add_typer(data_app, name="data")

Runs = Annotated[list[Path], typer.Argument(help="Run files of trained networks.", show_default=False)]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with data sets.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Seed.")]
Chips = Annotated[int, typer.Option(help="Number of simulated chips.", min=1)]
Specification = Annotated[float, typer.Option(help="Accuracy that a good chip reaches, a fraction.", min=0, max=1)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file of another experiment.")]
Trials = Annotated[int, typer.Option(help="Passes over the data, for noise that changes between passes.", min=1)]


def main() -> None:
    """Run the command line."""
    app()


def _fail(message: str) -> int:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 2


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("demo"),
    chips: Chips = 200,
    epochs: Annotated[int, typer.Option(help="Passes over the training data.", min=1)] = 80,
    specification: Specification = 0.9,
    seed: Seed = 0,
    data: Data = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a network twice on real speech data, deploy both on simulated chips, and report what mismatch costs."""
    from snnrobust.evaluation.study import tolerance_study
    from snnrobust.report.html import write_report
    from snnrobust.tasks import load_task
    from snnrobust.training.objectives import Adversarial, Standard

    objectives: dict[str, Objective] = {"standard": Standard(), "adversarial": Adversarial(steps=5)}
    result = tolerance_study(
        load_task("vowels", data=data),
        objectives,
        folder,
        hidden=100,
        epochs=epochs,
        seed=seed,
        chips=chips,
        profiles=DEMO_PROFILES,
        levels=_numbers("levels", LEVELS),
        overwrite=overwrite,
    )
    _print_result(result, specification)
    write_report(folder / "run.h5", folder / "report.html", specification=specification)
    print(f"\nresults: {folder / 'run.h5'}\nreport:  {folder / 'report.html'}")


@app.command()
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Run file.", show_default=False)],
    task: Annotated[str, typer.Option(help="Task; see `snnrobust tasks list`.")] = "vowels",
    objective: Annotated[str, typer.Option(help="standard, forward_noise or adversarial.")] = "standard",
    neuron: Annotated[str, typer.Option(help="lif or alif.")] = "lif",
    hidden: Annotated[int, typer.Option(help="Hidden neurons.", min=1)] = 100,
    readout: Annotated[str, typer.Option(help="li (leaky integrators) or rate (mean spike rate).")] = "li",
    tau_mem: Annotated[float | None, typer.Option(help="Membrane time constant in s; 10 steps by default.")] = None,
    tau_syn: Annotated[float | None, typer.Option(help="Synaptic time constant in s; 5 steps by default.")] = None,
    encoding: Annotated[str, typer.Option(help="analog, delta, latency or rate.")] = "analog",
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 30,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples an update; 100, or a tenth of the training data, by default.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Adam's step size at the start.")] = 5e-3,
    schedule: Annotated[str, typer.Option(help="constant, cosine or step.")] = "cosine",
    clip_norm: Annotated[float, typer.Option(help="Largest gradient norm.")] = 1.0,
    select: Annotated[str, typer.Option(help="Weights kept: auto, validation, average or last.")] = "auto",
    firing_rate_penalty: Annotated[float, typer.Option(help="Weight of the firing-rate penalty.", min=0)] = 0.0,
    firing_rate: Annotated[float, typer.Option(help="Firing rate that the penalty aims at, spikes a step.")] = 0.01,
    level: Annotated[float, typer.Option(help="Forward noise: relative std, a fraction (0.3).", min=0)] = 0.3,
    attack_radius: Annotated[float, typer.Option(help="Attack: half-width of the box as a fraction.", min=0)] = 0.1,
    attack_steps: Annotated[int, typer.Option(help="Attack: ascent steps.")] = 10,
    beta: Annotated[float, typer.Option(help="Attack: weight of the divergence.", min=0)] = 0.1,
    profile: Annotated[
        str | None, typer.Option(help="Attack or draw devices of this profile; the radius is then in its sigmas.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the network in tables.")] = None,
    seed: Seed = 0,
    data: Data = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a recurrent spiking network; the same command goes on after an interruption."""
    from snnrobust.evaluation.study import network_for
    from snnrobust.tasks import load_task
    from snnrobust.training import FiringRate
    from snnrobust.training import train as train_network

    loaded = load_task(task, data=data, encoding=encoding)
    net = network_for(loaded, hidden, neuron=neuron, readout=readout, tau_mem=tau_mem, tau_syn=tau_syn, seed=seed)
    chosen = _objective(objective, level, attack_radius, attack_steps, beta, profile)
    result = train_network(
        net,
        loaded,
        chosen,
        run=output,
        label=label,
        overwrite=overwrite,
        firing_rate=FiringRate(weight=firing_rate_penalty, target=firing_rate) if firing_rate_penalty else None,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        clip_norm=clip_norm,
        select=select,
        seed=seed,
    )
    kept = "average of the last epochs" if result.selected_epoch < 0 else f"epoch {result.selected_epoch + 1}"
    validation = result.history.get("validation")
    of = " of the last epoch" if result.selected_epoch < 0 else ""
    score = f", validation {loaded.metric}{of} {100 * validation[result.selected_epoch]:.1f} %" if validation else ""
    print(f"{output}: {chosen.name} on {loaded.name}, {epochs} epochs, weights: {kept}{score}")


@app.command()
def deploy(
    run: Annotated[Path, typer.Argument(help="Run file of a trained network.", show_default=False)],
    profile: Annotated[str, typer.Option(help="Profile: a name, or a YAML file.", show_default=False)],
    chips: Chips = 1000,
    specification: Specification = 0.9,
    limits: Annotated[str, typer.Option(help="What does not fit: report or enforce.")] = "report",
    unlisted: Annotated[str, typer.Option(help="Roles without a model: ideal or error.")] = "ideal",
    only: Annotated[str | None, typer.Option(help="mismatch: without quantisation, limits and faults.")] = None,
    trials: Trials = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run file for the results.")] = None,
    seed: Seed = 1,
    data: Data = None,
    overwrite: Overwrite = False,
) -> None:
    """Deploy one trained network on simulated chips of a profile."""
    from snnrobust.evaluation import benchmark as run_benchmark
    from snnrobust.hardware import load_profile

    _check_output(output, [run])
    models, task = _models([run], data)
    result = run_benchmark(
        models,
        [load_profile(profile)],
        task,
        instances=chips,
        seed=seed,
        trials=trials,
        run=output,
        overwrite=overwrite,
        limits=limits,
        unlisted=unlisted,
        only=only,
    )
    _print_result(result, specification)


@app.command()
def benchmark(
    runs: Runs,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run file for the results.", show_default=False)],
    levels: Annotated[
        str, typer.Option(help="Relative mismatch levels, fractions, with commas; '' for none.")
    ] = LEVELS,
    profiles: Annotated[str, typer.Option(help="Profiles, names or YAML files, with commas.")] = "",
    chips: Chips = 100,
    specification: Specification = 0.9,
    purpose: Annotated[str, typer.Option(help="test, or validation for choosing models.")] = "test",
    trials: Trials = 1,
    seed: Seed = 1,
    data: Data = None,
    overwrite: Overwrite = False,
) -> None:
    """Test trained networks over mismatch levels and profiles, on the same simulated chips."""
    from snnrobust.evaluation import benchmark as run_benchmark
    from snnrobust.hardware import load_profile

    _check_output(output, runs)
    models, task = _models(runs, data)
    conditions: list[Profile | float] = [
        *_numbers("levels", levels),
        *(load_profile(name) for name in _split(profiles)),
    ]
    result = run_benchmark(
        models,
        conditions,
        task,
        instances=chips,
        seed=seed,
        purpose=purpose,
        trials=trials,
        run=output,
        overwrite=overwrite,
    )
    _print_result(result, specification)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run file of a benchmark.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    specification: Specification = 0.9,
) -> None:
    """Write one self-contained HTML page about a benchmark."""
    from snnrobust.report.html import write_report

    write_report(run, output, specification=specification)
    print(output)


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
        raise typer.Exit(_fail("\n".join(errors)))
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
) -> None:
    """Download a data set from its publisher into the cache, or into --data."""
    from snnrobust.tasks.download import download

    print(download(name, data=data, progress=_show_bytes))


def _show_bytes(file: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        size = f" of {total / 1e6:.1f}" if total else ""
        print(f"\r{file}: {done / 1e6:.1f}{size} MB", end="" if done < total else "\n", file=sys.stderr)


def _check_output(output: Path | None, inputs: Iterable[Path]) -> None:
    if output is not None and any(output.resolve() == path.resolve() for path in inputs):
        raise ConfigError(f"output: {output} is also an input; inputs are read only, choose another path")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(option: str, text: str) -> list[float]:
    values = []
    for part in _split(text):
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


def _objective(name: str, level: float, radius: float, steps: int, beta: float, profile: str | None) -> Objective:
    from snnrobust.errors import unknown
    from snnrobust.training.objectives import OBJECTIVES, Adversarial, ForwardNoise, Standard

    if name not in OBJECTIVES:
        raise ConfigError(unknown("objective", name, OBJECTIVES))
    if name == "standard":
        return Standard()
    if name == "forward_noise":
        return ForwardNoise(level=level, profile=profile)
    return Adversarial(radius=radius, steps=steps, beta=beta, forward_noise=level, profile=profile)


def _models(paths: Iterable[Path], data: Path | None) -> tuple[dict[str, TrainedModel], Task]:
    """The trained networks of run files by name, and the one task that all were trained on."""
    from snnrobust.storage import open_run
    from snnrobust.tasks import load_task
    from snnrobust.training import models_of

    found: dict[str, TrainedModel] = {}
    tasks: dict[tuple[str, str], Path] = {}
    for path in paths:
        models = models_of(open_run(path))
        if not models:
            raise RunFileError(
                f"{path}: holds no trained network; was its training interrupted? run it again to finish"
            )
        for model in models:
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


def _print_result(result: Tolerance, specification: float) -> None:
    from snnrobust.report.text import console, notes, tolerance_table

    out = console()
    out.print(tolerance_table(result, specification))
    for line in notes(result):
        out.print(line, style="dim")
