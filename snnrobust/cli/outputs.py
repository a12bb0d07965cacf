"""Commands that read a run file and change nothing in it: check, figure, export, cite. Heavy imports are inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnrobust.cli.app import Simultaneous, Specification, app
from snnrobust.cli.inputs import check_output
from snnrobust.errors import ConfigError

if TYPE_CHECKING:
    from snnrobust.evaluation.claims import Judgement

Run = Annotated[Path, typer.Argument(help="Run file with results.", show_default=False)]
Of = Annotated[
    str | None, typer.Option(help="Which analysis, 'network on chip', where the file has several.", show_default=False)
]
FAIL, UNDECIDED = 1, 3
"""Exit codes; 2 is that of bad input."""


@app.command()
def check(
    run: Run,
    require: Annotated[
        list[str],
        typer.Option(
            help="What must hold, such as 'yield(dynapse1, accuracy>=.95) > .97', 'quantile(dynapse1, .05) >= .9', "
            "'mean(dynapse1) > .9' or 'nominal() >= .95'; may be repeated.",
            show_default=False,
        ),
    ],
) -> None:
    """Whether results show what is required: exit code 0 pass, 1 fail, 3 undecided, 2 bad input.

    Undecided: the 95 % interval of the quantity holds the number that it is compared with. Each requirement is judged
    on its own, for every network unless it names one: yield(dynapse1, accuracy>=.95, network=robust) > .97.
    """
    from snnrobust.evaluation.claims import judge, parse_claim
    from snnrobust.evaluation.results import hashes_of, read_tolerance

    claims = [parse_claim(text) for text in require]
    result, stored = read_tolerance(run)
    found = [judgement for claim in claims for judgement in judge(claim, result, hashes_of(result, stored))]
    for judgement in found:
        print(line_of(judgement, named=len(result.models) > 1))
    verdicts = {judgement.verdict for judgement in found}
    raise typer.Exit(FAIL if "fail" in verdicts else UNDECIDED if "undecided" in verdicts else 0)


@app.command()
def figure(
    name: Annotated[str | None, typer.Argument(help="Figure; see --list.", show_default=False)] = None,
    run: Annotated[Path | None, typer.Argument(help="Run file with results.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File: .pdf, .svg, .eps or .png.", show_default=False)
    ] = None,
    width: Annotated[
        str | None, typer.Option(help="Width, such as 85mm or 3.3in; 117mm by default.", show_default=False)
    ] = None,
    of: Of = None,
    specification: Specification = 0.9,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
) -> None:
    """Draw one figure of a run file, as vectors; its caption is printed."""
    from snnrobust.report.contents import read_contents
    from snnrobust.report.gallery import FIGURES, caption_of, draw, write_figure
    from snnrobust.report.text import console, table

    if listed:
        words = {"metric": "accuracy", "specification": f"{100 * specification:g}", "chips": "", "interval": ""}
        rows = [(key, entry.title.format(**words).removesuffix(".")) for key, entry in FIGURES.items()]
        console().print(table("", {"figure": "name", "what": "text"}, rows))
        return
    if name is None or run is None or output is None:
        raise ConfigError("figure: give a name, a run file and -o FILE; `snnrobust figure --list` names the figures")
    check_output(output, [run])
    size = None if width is None else millimetres(width)
    drawn = draw(name, read_contents(run), specification=specification, of=of)
    write_figure(drawn, output, width=size)
    print(f"{output}: {caption_of(drawn)}")


@app.command()
def export(
    run: Run,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help=".csv: a row a chip (table yield) or a number (others); .tex: a table for booktabs.",
            show_default=False,
        ),
    ],
    table: Annotated[
        str,
        typer.Option(
            help="yield, distribution (.csv: the yield at every specification, with its simultaneous band), "
            "sensitivity, tornado, specification, bits, tolerance, rare, worst_case, landscape, "
            "certificate or behaviour."
        ),
    ] = "yield",
    of: Of = None,
    specification: Specification = 0.9,
    simultaneous: Simultaneous = False,
) -> None:
    """Write results as tidy CSV, or a table of them as LaTeX."""
    from snnrobust.report.contents import read_contents
    from snnrobust.report.tables import latex, table_of, tidy_analyses, tidy_csv, tidy_distribution
    from snnrobust.storage.files import replace_file

    check_output(output, [run])
    if output.suffix not in (".csv", ".tex"):
        raise ConfigError(f"output: {output} must end in .csv (tidy rows) or .tex (a table)")
    contents = read_contents(run)
    if output.suffix == ".csv" and table == "yield":
        text = tidy_csv(contents.tolerance(), contents.hashes)
    elif output.suffix == ".csv" and table == "distribution":
        text = tidy_distribution(contents.tolerance(), contents.hashes)
    elif output.suffix == ".csv":
        text = tidy_analyses(table, contents, of=of)
    else:
        found = table_of(table, contents, specification=specification, of=of, simultaneous=simultaneous)
        text = latex(found, label=f"tab:{table}")
    replace_file(output, text.encode())
    print(output)


@app.command()
def cite(run: Run, specification: Specification = 0.9) -> None:
    """Print a paragraph of methods about a run file, and BibTeX of what it rests on."""
    from snnrobust.report.cite import cite as citation
    from snnrobust.report.contents import read_contents

    print(citation(read_contents(run), specification=specification), end="")


def line_of(found: Judgement, *, named: bool) -> str:
    """A judgement in one line."""
    network = f" [{found.network}]" if named else ""
    ends = f" {percent(found.low)}-{percent(found.high)}" if found.low < found.high else ""
    value = f"{percent(found.value)} %, " if found.value == found.value else ""  # NaN where no chip was run
    return f"{found.verdict}: {found.claim.text}{network}: {value}{found.about}{ends}"


def percent(value: float) -> str:
    """A fraction in percent with two decimals: a gate may stand close to 100 %."""
    return f"{100 * value:.2f}"


def millimetres(text: str) -> float:
    """A width in mm, from texts such as 85mm, 8.5cm and 3.3in."""
    units = {"mm": 1.0, "cm": 10.0, "in": 25.4}
    unit = text.strip()[-2:]
    try:
        return float(text.strip().removesuffix(unit)) * units[unit]
    except (KeyError, ValueError):
        raise ConfigError(f"width: {text!r} must be a number with mm, cm or in, such as 85mm") from None
