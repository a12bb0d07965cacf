"""The application that the commands enter themselves into, and the options that they share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from snnrobust.errors import SnnRobustError


class Commands(TyperGroup):
    """The commands, with one line an error that input can cause, and exit code 2; 130 after Ctrl-C."""

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


app = typer.Typer(
    cls=Commands, help="Spiking networks that survive analog hardware.", no_args_is_help=True, add_completion=False
)

Runs = Annotated[list[Path], typer.Argument(help="Run files of trained networks.", show_default=False)]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with data sets.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Seed.")]
Chips = Annotated[int, typer.Option(help="Number of simulated chips.", min=1)]
Specification = Annotated[float, typer.Option(help="Accuracy that a good chip reaches, a fraction.", min=0, max=1)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file of another experiment.")]
Trials = Annotated[int, typer.Option(help="Passes over the data, for noise that changes between passes.", min=1)]
