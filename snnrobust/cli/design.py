"""Commands for whoever designs the chip: what to calibrate first, what to specify. Heavy modules load only inside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnrobust.cli.app import Data, Overwrite, Result, Seed, Threads, Trials, app
from snnrobust.cli.inputs import check_result, split, trained_models
from snnrobust.errors import ConfigError

if TYPE_CHECKING:
    from snnrobust.evaluation.requirement import Requirement
    from snnrobust.hardware import Profile

Run = Annotated[Path, typer.Argument(help="Run file of a trained network.", show_default=False)]
OneProfile = Annotated[str | None, typer.Option("--profile", help="Profile: a name, or a YAML file.")]
Level = Annotated[
    float | None, typer.Option(help="Instead of a profile, a relative mismatch level, a fraction.", min=0)
]
Share = Annotated[float, typer.Option("--yield", help="Share of chips that is asked for, a fraction.")]
Accuracy = Annotated[float, typer.Option(help="Accuracy that a good chip reaches, a fraction.")]
Confidence = Annotated[float, typer.Option(help="Of each one-sided bound of a yield.")]
Only = Annotated[str | None, typer.Option(help="mismatch: without quantisation, limits, faults and converters.")]


@app.command()
def sensitivity(
    run: Run,
    profile: OneProfile = None,
    level: Level = None,
    by: Annotated[str, typer.Option(help="What is told apart: role, layer or component.")] = "role",
    tornado: Annotated[
        bool, typer.Option("--tornado", help="Also move every uncertain number of the profile to its ends.")
    ] = False,
    chips: Annotated[int, typer.Option(help="Number of simulated chips.", min=2)] = 300,
    accuracy: Accuracy = 0.9,
    share: Share = 0.95,
    confidence: Confidence = 0.95,
    only: Only = None,
    trials: Trials = 1,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Which role, layer or component costs the yield, and what to calibrate first."""
    from snnrobust.evaluation import Sensitivity, Tornado, sensitivity_map
    from snnrobust.evaluation import sensitivity as score_parts
    from snnrobust.evaluation import tornado as move_numbers
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.report.design import map_line, map_table, sensitivity_table, tornado_table
    from snnrobust.report.text import console

    check_result(output)
    chosen, asked = one_profile(profile, level), requirement(accuracy, share, confidence)
    models, task = trained_models([run], data)
    out = console()
    options: dict[str, Any] = {"chips": chips, "seed": seed, "trials": trials, "only": only}
    same: dict[str, Any] = {"requirement": asked, "show_progress": True, **options}

    def kept(kind: str, label: str, chip: str, **own: Any) -> Kept:  # noqa: ANN401 (whatever JSON has)
        config = keyed_by(models[label].net, chosen, task, task.test, **asked.to_attrs(), **options, **own)
        return Kept(output, kind, label, models[label], chip, config, overwrite=overwrite)

    for label, model in models.items():
        name = chosen.name if by == "role" else f"{chosen.name} by {by}"
        own = kept("sensitivity", label, name, by=by)
        found = once(own, Sensitivity, score_parts, model.net, chosen, task, by=by, **same)
        out.print(sensitivity_table(label, found))
        of_devices = sensitivity_map(model.net, task.train, chosen, only=only)
        if of_devices.devices:
            out.print(map_table(of_devices))
        of_map = keyed_by(model.net, chosen, task, task.train, only=only)
        with Kept(output, "map", label, model, chosen.name, of_map, overwrite=overwrite) as place:
            if place.stored is None:
                place.finish(of_devices.to_group())
        lines = [map_line(of_devices), *found.notes, found.population]
        if tornado:
            of = kept("tornado", label, chosen.name)
            moved = once(of, Tornado, move_numbers, model.net, chosen, task, **same)
            out.print(tornado_table(label, moved))
            lines += [f"could not be moved: {line}" for line in moved.fixed]
            lines += [f"moves nothing that the network has: {', '.join(moved.idle)}"] if moved.idle else []
        for line in lines:
            out.print(line, style="dim")
        out.print(found.statement)
        if tornado:
            out.print(moved.statement)


@app.command()
def spec(
    run: Run,
    profile: OneProfile = None,
    level: Level = None,
    share: Share = 0.99,
    accuracy: Accuracy = 0.9,
    confidence: Confidence = 0.95,
    chips: Annotated[int, typer.Option(help="Design chips, and as many fresh ones.", min=1)] = 1000,
    cost: Annotated[
        list[str] | None,
        typer.Option(help="Cost of 1/sigma^2 of a role, such as weight=2; by default its number of devices."),
    ] = None,
    only: Only = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run file for the numbers, or .yaml for the specified chip.")
    ] = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """The largest spreads with which a share of the chips reaches an accuracy, alone and together."""
    from snnrobust.evaluation import Specification, specify
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.report.design import specification_lines, specification_table
    from snnrobust.report.text import console
    from snnrobust.storage.files import replace_file

    as_profile = output is not None and output.suffix in (".yaml", ".yml")
    check_result(output, new=as_profile and not overwrite)
    chosen, asked, prices = one_profile(profile, level), requirement(accuracy, share, confidence), costs(cost or ())
    models, task = trained_models([run], data)
    one_model(output, run, models)
    out = console()
    options: dict[str, Any] = {"chips": chips, "costs": prices, "seed": seed, "only": only}
    for label, model in models.items():
        config = keyed_by(model.net, chosen, task, task.test, **asked.to_attrs(), **options)
        place = None if as_profile else output
        kept = Kept(place, "specification", label, model, chosen.name, config, overwrite=overwrite)
        same = {"show_progress": True, **options}
        found = once(kept, Specification, specify, model.net, chosen, task, asked, **same)
        out.print(specification_table(label, found))
        for line in specification_lines(found):
            out.print(line, style=None if line == found.statement else "dim")
    if output is not None and as_profile:
        replace_file(output, found.profile.to_yaml().encode())
        print(output)


@app.command()
def bits(
    run: Run,
    profile: OneProfile = None,
    level: Level = None,
    share: Share = 0.99,
    accuracy: Accuracy = 0.9,
    confidence: Confidence = 0.95,
    weight_bits: Annotated[str, typer.Option(help="Bits of a weight, with commas.")] = "2,3,4,5,6,8",
    adc_bits: Annotated[str, typer.Option(help="Bits of an ADC, with commas; where the profile has one.")] = "4,6,8",
    scales: Annotated[str, typer.Option(help="Multiples of the profile's spreads, with commas.")] = "0.5,1",
    chips: Annotated[int, typer.Option(help="Number of simulated chips.", min=1)] = 300,
    output: Result = None,
    seed: Seed = 1,
    data: Data = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Yield over the bits of weights and ADCs and the size of the mismatch; the fewest that suffice."""
    from snnrobust.evaluation import Bits, bits_needed
    from snnrobust.evaluation.analyses import Kept, keyed_by, once
    from snnrobust.report.design import bits_table
    from snnrobust.report.text import console

    check_result(output)
    chosen, asked = one_profile(profile, level), requirement(accuracy, share, confidence)
    weights, converters = whole("weight-bits", weight_bits), whole("adc-bits", adc_bits)
    sizes = listed("scales", scales, float)
    models, task = trained_models([run], data)
    out = console()
    options: dict[str, Any] = {"weight_bits": weights, "adc_bits": converters, "scales": sizes}
    options |= {"chips": chips, "seed": seed}
    for label, model in models.items():
        config = keyed_by(model.net, chosen, task, task.test, **asked.to_attrs(), **options)
        kept = Kept(output, "bits", label, model, chosen.name, config, overwrite=overwrite)
        same = {"show_progress": True, **options}
        found = once(kept, Bits, bits_needed, model.net, chosen, task, asked, **same)
        out.print(bits_table(label, found))
        for line in (*found.notes, found.population):
            out.print(line, style="dim")
        out.print(found.statement)


def one_profile(name: str | None, level: float | None) -> Profile:
    """The profile of a name or file, or that of a relative level."""
    from snnrobust.hardware import Profile, load_profile

    if name is not None and level is None:
        return load_profile(name)
    if level is not None and name is None:
        return Profile.relative(level)
    raise ConfigError("profile: give either --profile or --level")


def requirement(accuracy: float, share: float, confidence: float) -> Requirement:
    """What is asked of the chips."""
    from snnrobust.evaluation import Requirement

    return Requirement(accuracy=accuracy, share=share, confidence=confidence)


def costs(texts: Iterable[str]) -> dict[str, float]:
    """Costs by role, from texts such as weight=2."""
    found = {}
    for text in texts:
        role, _, value = text.partition("=")
        try:
            found[role.strip()] = float(value)
        except ValueError:
            raise ConfigError(f"cost: {text!r} must be a role and a number, such as weight=2") from None
    return found


def listed(option: str, text: str, kind: type[float] | type[int]) -> list[float]:
    """Numbers with commas."""
    try:
        return [kind(part) for part in split(text)]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(f"{option}: {text!r} must be {what} with commas") from None


def whole(option: str, text: str) -> list[int]:
    """Whole numbers with commas."""
    return [int(value) for value in listed(option, text, int)]


def one_model(output: Path | None, run: Path, models: dict[str, Any]) -> None:
    """Refuse a profile as output where there are several networks."""
    if output is not None and output.suffix in (".yaml", ".yml") and len(models) > 1:
        raise ConfigError(f"output: {run} has {len(models)} networks; a YAML file holds the chip of one")
