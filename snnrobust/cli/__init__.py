"""The command line: the same words as the library."""

from snnrobust.cli import behaviour, catalogue, design, experiments, measurement, outputs, robustness, yields
from snnrobust.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


__all__ = [
    "app",
    "behaviour",
    "catalogue",
    "design",
    "experiments",
    "main",
    "measurement",
    "outputs",
    "robustness",
    "yields",
]
