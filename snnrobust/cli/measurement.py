"""Commands about measurements of real chips. None of them loads torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snnrobust.cli.catalogue import profiles_app
from snnrobust.cli.inputs import check_output


@profiles_app.command("fit")
def profiles_fit(
    file: Annotated[Path, typer.Argument(help="CSV file, one measured value a row.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The profile.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the profile; that of the CSV file by default.")] = None,
    source_key: Annotated[str, typer.Option(help="Key of the source that every number cites.")] = "measurement",
    citation: Annotated[str | None, typer.Option(help="What to cite as the source.")] = None,
) -> None:
    """Fit a profile to measurements: spreads by component with intervals, shapes, anomalous devices, noise apart."""
    from snnrobust.hardware.measurement import fit_measurements, read_measurements, report, to_profile
    from snnrobust.storage.files import check_place, replace_file

    check_output(output, [file])
    check_place(output)
    fit = fit_measurements(read_measurements(file))
    profile = to_profile(fit, name=name, source_key=source_key, citation=citation)
    replace_file(output, profile.to_yaml().encode())
    print(f"{report(fit)}\n\n{output}")
