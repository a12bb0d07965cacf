"""Commands that run something: demo, train, deploy, benchmark, report. Heavy modules load only inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnrobust.cli.app import (
    Calibration,
    Chips,
    Data,
    Drop,
    Finetune,
    KeepSamples,
    Knobs,
    MaxChips,
    Overwrite,
    Runs,
    Seed,
    Simultaneous,
    Specification,
    Threads,
    Trials,
    Until,
    Workers,
    app,
    typed_options,
)
from snnrobust.cli.inputs import (
    at_times,
    calibration_of,
    check_output,
    chips_or_rule,
    fractions,
    objective_of,
    preset_of,
    split,
    trained_models,
)
from snnrobust.errors import ConfigError

if TYPE_CHECKING:
    from snnrobust.evaluation import Tolerance
    from snnrobust.hardware import Module, Profile
    from snnrobust.snn import Network
    from snnrobust.training.objectives import Objective

LEVELS = "0,0.1,0.2,0.3,0.5,0.7"
DEMO_PROFILES = ("dynapse1_conservative", "generic_subthreshold_180nm_20", "pcm_ibm")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("demo"),
    chips: Chips = 200,
    epochs: Annotated[int, typer.Option(help="Passes over the training data.", min=1)] = 60,
    specification: Specification = 0.9,
    seed: Seed = 0,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a network twice on real speech data, deploy both on simulated chips, and report what mismatch costs."""
    from snnrobust.evaluation.study import network_for, tolerance_study
    from snnrobust.report.html import write_report
    from snnrobust.tasks import load_task
    from snnrobust.training.objectives import Adversarial, Standard

    objectives: dict[str, Objective] = {"standard": Standard(), "adversarial": Adversarial(steps=5)}
    task = load_task("vowels", data=data)
    result = tolerance_study(
        task,
        objectives,
        folder,
        network=lambda: network_for(task, 32, tau_mem=5 * task.dt, tau_syn=2 * task.dt, seed=seed),
        epochs=epochs,
        seed=seed,
        chips=chips,
        profiles=DEMO_PROFILES,
        levels=fractions("levels", LEVELS),
        overwrite=overwrite,
    )
    print_result(result, specification)
    write_report(folder / "run.h5", folder / "report.html", specification=specification)
    print(f"\nresults: {folder / 'run.h5'}\nreport:  {folder / 'report.html'}")


@app.command()
def train(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run file.", show_default=False)],
    task: Annotated[str, typer.Option(help="Task; see `snnrobust tasks list`.")] = "vowels",
    objective: Annotated[str, typer.Option(help="How it is trained; see `snnrobust objectives list`.")] = "standard",
    preset: Annotated[
        str | None,
        typer.Option(help="paper_lsnn or paper_cnn: network and settings of the paper, unless other ones are given."),
    ] = None,
    neuron: Annotated[str, typer.Option(help="lif or alif.")] = "lif",
    hidden: Annotated[int, typer.Option(help="Hidden neurons.", min=1)] = 100,
    readout: Annotated[str, typer.Option(help="li (leaky integrators) or rate (mean spike rate).")] = "li",
    tau_mem: Annotated[float | None, typer.Option(help="Membrane time constant in s; 10 steps by default.")] = None,
    tau_syn: Annotated[float | None, typer.Option(help="Synaptic time constant in s; 5 steps by default.")] = None,
    fan_in: Annotated[
        int | None, typer.Option(help="Connections that each hidden neuron keeps; all by default.", min=1)
    ] = None,
    encoding: Annotated[str, typer.Option(help="analog, delta, latency or rate.")] = "analog",
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 30,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples an update; 100, or a tenth of the training data, by default.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Adam's step size at the start.")] = 1e-2,
    schedule: Annotated[str, typer.Option(help="constant, cosine or step.")] = "cosine",
    clip_norm: Annotated[float, typer.Option(help="Largest gradient norm.")] = 1.0,
    select: Annotated[str, typer.Option(help="Weights kept: auto, validation, average or last.")] = "auto",
    ema: Annotated[
        float | None, typer.Option(help="Keep a running mean of the weights with this decay an update, such as 0.99.")
    ] = None,
    clip_weights: Annotated[
        float | None, typer.Option(help="Largest weight, in standard deviations of its tensor, such as 2.5.")
    ] = None,
    firing_rate_penalty: Annotated[float, typer.Option(help="Weight of the firing-rate penalty.", min=0)] = 0.0,
    firing_rate: Annotated[
        float, typer.Option(help="Firing rate that the penalty aims at, spikes a step.", min=0, max=1)
    ] = 0.01,
    level: Annotated[
        float | None, typer.Option(help="Forward noise: relative std, a fraction; 0.3 by default.", min=0)
    ] = None,
    attack_radius: Annotated[
        float | None,
        typer.Option(help="Attack: half-width of the box as a fraction; the objective's own by default.", min=0),
    ] = None,
    attack_steps: Annotated[
        int | None, typer.Option(help="Attack: ascent steps; the objective's own by default.")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Attack: weight of the divergence; 0.1 by default.", min=0)] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another choice of the objective, such as draws=4; may be repeated."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Attack or draw devices of this profile; the radius is then in its sigmas.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the network in tables.")] = None,
    seed: Seed = 0,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a recurrent spiking network or a preset; the same command goes on after an interruption."""
    from snnrobust.evaluation.study import network_for
    from snnrobust.tasks import load_task
    from snnrobust.training import FiringRate, WeightClip
    from snnrobust.training import train as train_network

    loaded = load_task(task, data=data, encoding=encoding)
    settings: dict[str, Any] = {"batch_size": batch_size, "learning_rate": learning_rate}
    settings |= {"schedule": schedule, "clip_norm": clip_norm}
    net: Network | Module
    if preset is not None:
        net, published, weight = preset_of(preset, typed_options(ctx), loaded, seed)
        settings |= published
        firing_rate_penalty = firing_rate_penalty or weight
    else:
        net = network_for(
            loaded,
            hidden,
            neuron=neuron,
            readout=readout,
            tau_mem=tau_mem,
            tau_syn=tau_syn,
            fan_in=fan_in,
            seed=seed,
        )
    chosen = objective_of(objective, level, attack_radius, attack_steps, beta, profile, choices or ())
    result = train_network(
        net,
        loaded,
        chosen,
        run=output,
        label=label,
        overwrite=overwrite,
        firing_rate=FiringRate(weight=firing_rate_penalty, target=firing_rate) if firing_rate_penalty else None,
        epochs=epochs,
        select=select,
        ema=ema,
        limit=None if clip_weights is None else WeightClip(deviations=clip_weights),
        seed=seed,
        **settings,
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
    drop: Drop = 0.02,
    until: Until = None,
    max_chips: MaxChips = None,
    keep_samples: KeepSamples = False,
    simultaneous: Simultaneous = False,
    limits: Annotated[str, typer.Option(help="What does not fit: report or enforce.")] = "report",
    unlisted: Annotated[str, typer.Option(help="Roles without a model: ideal or error.")] = "ideal",
    only: Annotated[
        str | None, typer.Option(help="mismatch: without quantisation, limits, faults and converters.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Time since programming, such as 3600 or 1h,1d,1y (crossbars).")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of operation in K, 200 to 450.")] = None,
    calibration: Calibration = "none",
    finetune: Finetune = None,
    knobs: Knobs = None,
    trials: Trials = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run file for the results.")] = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    workers: Workers = 1,
    overwrite: Overwrite = False,
) -> None:
    """Deploy one trained network on simulated chips of a profile."""
    from snnrobust.evaluation import benchmark as run_benchmark
    from snnrobust.executor import executor_of
    from snnrobust.hardware import load_profile

    check_output(output, [run])
    conditions = at_times(load_profile(profile).under(temperature=temperature), time)
    most, stopping = chips_or_rule(chips, until, max_chips, specification)
    check_simultaneous(simultaneous, until)
    models, task = trained_models([run], data)
    result = run_benchmark(
        models,
        conditions,
        task,
        instances=most,
        seed=seed,
        trials=trials,
        **calibration_of(calibration, finetune, knobs),
        until=stopping,
        keep_samples=keep_samples,
        run=output,
        overwrite=overwrite,
        executor=executor_of(workers),
        limits=limits,
        unlisted=unlisted,
        only=only,
    )
    print_result(result, specification, drop, simultaneous=simultaneous)


@app.command()
def benchmark(
    runs: Runs,
    output: Annotated[Path, typer.Option("--output", "-o", help="Run file for the results.", show_default=False)],
    levels: Annotated[
        str, typer.Option(help="Relative mismatch levels, fractions, with commas; '' for none.")
    ] = LEVELS,
    profiles: Annotated[str, typer.Option(help="Profiles, names or YAML files, with commas.")] = "",
    calibration: Calibration = "none",
    finetune: Finetune = None,
    knobs: Knobs = None,
    chips: Chips = 100,
    specification: Specification = 0.9,
    drop: Drop = 0.02,
    until: Until = None,
    max_chips: MaxChips = None,
    keep_samples: KeepSamples = False,
    simultaneous: Simultaneous = False,
    purpose: Annotated[str, typer.Option(help="test, or validation for choosing models.")] = "test",
    trials: Trials = 1,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    workers: Workers = 1,
    overwrite: Overwrite = False,
) -> None:
    """Test trained networks over mismatch levels and profiles, on the same simulated chips."""
    from snnrobust.evaluation import benchmark as run_benchmark
    from snnrobust.executor import executor_of
    from snnrobust.hardware import load_profile

    check_output(output, runs)
    most, stopping = chips_or_rule(chips, until, max_chips, specification)
    check_simultaneous(simultaneous, until)
    models, task = trained_models(runs, data)
    conditions: list[Profile | float] = [
        *fractions("levels", levels),
        *(load_profile(name) for name in split(profiles)),
    ]
    result = run_benchmark(
        models,
        conditions,
        task,
        instances=most,
        seed=seed,
        purpose=purpose,
        trials=trials,
        **calibration_of(calibration, finetune, knobs),
        until=stopping,
        keep_samples=keep_samples,
        run=output,
        overwrite=overwrite,
        executor=executor_of(workers),
    )
    print_result(result, specification, drop, simultaneous=simultaneous)


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


def check_simultaneous(wanted: bool, until: str | None) -> None:
    """Refuse intervals at all specifications where chips are simulated until a verdict at one; before the work."""
    if wanted and until is not None:
        raise ConfigError("simultaneous: not with --until, which asks for a verdict at one specification")


def print_result(result: Tolerance, specification: float, drop: float = 0.02, *, simultaneous: bool = False) -> None:
    """Print the table, and below it what has to be said of each condition."""
    from snnrobust.report.text import console, notes, tolerance_table

    out = console()
    out.print(tolerance_table(result, specification, drop, simultaneous=simultaneous))
    for line in notes(result):
        out.print(line, style="dim")
