"""The application that the commands enter themselves into, and the options that they share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from snnrobust import __version__
from snnrobust.errors import SnnRobustError


class Commands(TyperGroup):
    """The commands, with one line an error that input can cause, and exit code 2; 130 after Ctrl-C."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (typer's interface)
        """Run the application; a mistyped option is one line as well."""
        if not options.get("standalone_mode", True):
            return super().main(*args, **options)
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except Exception as error:
            message = getattr(error, "format_message", None)  # typer's usage errors, of click or its own copy
            if message is None:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                print(message())
                sys.exit(2)
            code = fail(" ".join(message().split()))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer has a context of its own, or click's, by version)
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SnnRobustError as error:
            raise typer.Exit(fail(str(error))) from None
        except KeyboardInterrupt:
            print("interrupted; finished work is kept, the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None


def fail(message: str) -> int:
    """Print every line of an error on the standard error stream; returns the exit code, 2."""
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 2


def typed_options(ctx: typer.Context) -> set[str]:
    """Names of the options that the user typed; all others have their defaults."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False)


def _set_threads(threads: int | None) -> int | None:
    import torch

    torch.set_num_threads(1)  # what is left to it is small; and so results depend on no number of threads
    if threads is not None:
        from snnrobust.compiled import set_threads

        set_threads(threads)
    return threads


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"snnrobust {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Spiking networks that survive analog hardware."""


Runs = Annotated[list[Path], typer.Argument(help="Run files of trained networks.", show_default=False)]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with data sets.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Seed.")]
Chips = Annotated[int, typer.Option(help="Number of simulated chips.", min=1)]
Specification = Annotated[float, typer.Option(help="Accuracy that a good chip reaches, a fraction.", min=0, max=1)]
Until = Annotated[
    str | None,
    typer.Option(
        help="Simulate chips until yield_width=0.02 (the interval's width) or yield>0.95 (a verdict); see --max-chips.",
        show_default=False,
    ),
]
MaxChips = Annotated[int | None, typer.Option(help="Most chips with --until; 10,000 by default.", min=1)]
Drop = Annotated[
    float,
    typer.Option(help="What a chip may lose of the nominal accuracy in the second yield, a fraction.", min=0, max=1),
]
Simultaneous = Annotated[
    bool,
    typer.Option(
        "--simultaneous",
        help="Intervals of yields that hold at all specifications at once, so that one may be chosen after looking.",
    ),
]
KeepSamples = Annotated[
    bool,
    typer.Option(
        "--keep-samples", help="Keep which samples each chip gets right, for an interval that resamples them."
    ),
]
Result = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Run file for the result, beside what it holds; may be the one given."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file of another experiment.")]
Trials = Annotated[int, typer.Option(help="Passes over the data, for noise that changes between passes.", min=1)]
Calibration = Annotated[
    str,
    typer.Option(
        help="What a lab did to the chips, with commas: none, core_mean, trim, residual, column_affine, profile, "
        "in_the_loop."
    ),
]
Finetune = Annotated[
    int | None,
    typer.Option(help="Passes over the training data of calibration in_the_loop, which is then a mode.", min=1),
]
Knobs = Annotated[
    str | None,
    typer.Option(help="What is written in the loop, with commas: scale, bias, readout, weights, roles, parameters."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="Threads; every core by default. Results do not depend on it.",
        min=1,
        callback=_set_threads,
        show_default=False,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        help="Processes that share the blocks of chips, and the threads; meant for chips that run on the eager engine. "
        "Results do not depend on it.",
        min=1,
    ),
]
