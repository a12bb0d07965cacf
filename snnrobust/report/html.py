"""One self-contained HTML page for a design review: verdict first, then figures, analyses, and what they rest on.

The page needs no script, no network and no other file. Names and texts of a run file are untrusted: the template
escapes everything but the figures, whose text matplotlib escapes.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.figure import Figure

from snnrobust.errors import ConfigError
from snnrobust.evaluation import Summary, Tolerance, read_tolerance
from snnrobust.report import figures
from snnrobust.report.contents import Contents
from snnrobust.report.gallery import Drawn, draw_all
from snnrobust.report.provenance import commands, provenance, training
from snnrobust.report.sections import sections
from snnrobust.report.text import percent
from snnrobust.storage import Group, journal_path
from snnrobust.storage.files import one_line, replace_file


def write_report(run: str | Path, output: str | Path, *, specification: float = 0.9) -> None:
    """Write the page about a benchmark; `output` is at any moment the old file or the whole new one.

    The same run file, specification and versions give the same bytes.

    Args:
        run: Run file of a benchmark, finished or not.
        output: The page.
        specification: The accuracy that a good chip reaches, a fraction.

    Raises:
        ConfigError: If the specification is not in [0, 1], or the page would replace the run file.
        RunFileError: If the run file holds no results, or the page cannot be written.
    """
    if not 0 <= specification <= 1:
        raise ConfigError(f"specification: {specification} must be a fraction from 0 to 1 (0.9 means 90 %)")
    if Path(output).resolve() in (Path(run).resolve(), journal_path(run).resolve()):
        raise ConfigError(f"output: {one_line(output)} is the run file itself; choose another path")
    result, stored = read_tolerance(run)
    page = render(result, stored, specification=specification, source=one_line(Path(run).name))
    replace_file(output, page.encode("utf-8", "replace"))


def render(result: Tolerance, stored: Group, *, specification: float = 0.9, source: str = "") -> str:
    """The page as text.

    Args:
        result: The results.
        stored: The whole run file: networks, profiles, how it came about.
        specification: The accuracy that a good chip reaches, a fraction.
        source: Name of the run file.
    """
    contents = Contents(stored, result, source)
    profiles, config = contents.profiles, contents.config
    drawn = [f for f in draw_all(contents, specification=specification) if not f.of]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snnrobust", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, breakable=_breakable)
    return environment.get_template("report.html").render(
        result=result,
        specification=specification,
        source=source,
        task=_task(config),
        data=_data(result, config),
        colours={name: figures.colour_of(m) for m, name in enumerate(result.models)},
        verdict=_verdict(result, specification),
        conditions=_by_condition(result.summary(specification)),
        hashes=contents.hashes,
        has_level_zero=0.0 in result.levels,
        run_chips=int((~np.isnan(result.accuracy)).sum()),
        figures=[on_page(f) for f in drawn if f.name not in ("training", "drift")],
        drift=[on_page(f) for f in drawn if f.name == "drift"],
        sections=list(sections(contents, specification)),
        on_page=on_page,
        notes=_notes(result),
        chip_profiles=[p for p in profiles if p.kind != "relative"],
        level_profiles=[p for p in profiles if p.kind == "relative"],
        training=training(contents.models),
        training_curves=[on_page(f) for f in drawn if f.name == "training"],
        trained=[model.label for model in contents.models],
        unreadable=contents.problems,
        provenance=provenance(contents),
        commands=commands(contents),
        config=json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False),
    )


def inline_svg(figure: Figure, *, name: str, label: str) -> Markup:
    """A figure as an SVG element for a page that has other such elements.

    Text stays text, in the page's font; the figure's ink becomes the page's text colour, in light and dark.

    Args:
        figure: A figure of `figures`.
        name: Different for each figure of a page; ids are made of it, the same each time.
        label: What the figure shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with (
        style.context([*figures.STYLE, {"svg.fonttype": "none", "svg.hashsalt": name}]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # only for measuring; the browser has more fonts
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    box = re.search(r'viewBox="[-0-9. ]+"', svg)
    head = f'<svg {box.group() if box else ""} role="img" aria-label="{escape(label)}">'
    svg = head + svg[svg.index(">") + 1 :]
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # would hold for the whole page
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # "axes_1": the same in every figure, and nothing refers to them
    return Markup(re.sub(rf"(?<=: ){figures.INK}(?=[;\"])", "currentColor", svg, flags=re.IGNORECASE))


@dataclass(frozen=True)
class FigureOnPage:
    """A figure with its caption.

    Attributes:
        title: What it shows, the caption's first sentence.
        caption: How to read it.
        svg: The figure.
    """

    title: str
    caption: str
    svg: Markup


def on_page(drawn: Drawn) -> FigureOnPage:
    """A figure of a run file with its caption."""
    label = f"{drawn.title} {drawn.of}".strip()
    return FigureOnPage(
        drawn.title, drawn.caption, inline_svg(drawn.figure, name=f"{drawn.name} {drawn.of}".strip(), label=label)
    )


def _verdict(result: Tolerance, specification: float) -> dict[str, list[Summary]]:
    """Summaries of the profiles, or of the levels where there are none, by condition."""
    chips = {name for name, level in zip(result.conditions, result.levels, strict=True) if math.isnan(level)}
    rows = result.summary(specification)
    return _by_condition([s for s in rows if s.condition in chips] or rows)


def _by_condition(rows: list[Summary]) -> dict[str, list[Summary]]:
    return {name: [s for s in rows if s.condition == name] for name in dict.fromkeys(s.condition for s in rows)}


def _notes(result: Tolerance) -> list[tuple[str, tuple[str, ...]]]:
    """What has to be said beside the conditions; conditions that share their lines are named together."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for condition, lines in result.remarks().items():
        if lines:
            shared.setdefault(tuple(lines), []).append(condition)
    return [(", ".join(conditions), lines) for lines, conditions in shared.items()]


def _task(config: Mapping[str, Any]) -> str:
    task = config.get("task")
    return str(task[0]) if isinstance(task, list) and task else ""


def _data(result: Tolerance, config: Mapping[str, Any]) -> str:
    """What the chips were tested on, "370 test samples of vowels, split ...", for sentences; empty if not known."""
    chips, task = config.get("chips"), config.get("task")
    if not (result.samples and isinstance(task, list) and task):
        return ""
    purpose = f"{chips.get('purpose', '')} " if isinstance(chips, Mapping) else ""
    split = re.split(r"[;:]", str(task[2]))[0].strip() if len(task) > 2 else ""
    return f"{result.samples:,} {purpose}samples of {task[0]}" + (f", split {split}" if split else "")


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
