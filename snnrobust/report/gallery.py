"""Every figure by its name, from the contents of a run file, with what it shows and how it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.text import Text

from snnrobust.errors import ConfigError, RunFileError, unknown
from snnrobust.evaluation import BreakingLevels
from snnrobust.evaluation.analyses import chip_of, network_of, readable
from snnrobust.report import analysis_figures, curves, figures, landscape_figure, robustness_figures
from snnrobust.report.contents import Contents
from snnrobust.report.text import percent
from snnrobust.storage.files import check_place, replace_file

FORMATS = ("pdf", "svg", "eps", "png")
MM = 1 / 25.4  # inches


class Drawn(NamedTuple):
    """A figure of a run file.

    Attributes:
        name: Its name.
        of: Which analysis it shows, "network on chip"; "" of figures of all chips.
        title: What it shows, the caption's first sentence.
        caption: How to read it.
        figure: The figure.
    """

    name: str
    of: str
    title: str
    caption: str
    figure: Figure


class _Entry(NamedTuple):
    """How a figure comes about: from the chips' results, or from an analysis."""

    title: str
    caption: str
    draw: Callable[..., Figure | None]
    kind: str = ""
    missing: str = ""


def times_of(contents: Contents) -> dict[str, float]:
    """Time since programming in s of each condition whose profile states one."""
    stated = {p.name: p.profile.environment.time_since_programming for p in contents.profiles if p.profile}
    result = contents.tolerance()
    found = {name: stated.get(name, stated.get(name.partition(" (")[0])) for name in result.conditions}
    return {name: time for name, time in found.items() if time is not None}


def _level(contents: Contents, specification: float) -> Figure | None:
    return figures.accuracy_against_level(contents.tolerance(), specification=specification)


def _yield(contents: Contents, specification: float) -> Figure | None:
    return curves.yield_against_level(contents.tolerance(), specification=specification)


def _chips(contents: Contents, specification: float) -> Figure | None:
    return figures.chips_strip(contents.tolerance(), specification=specification)


def _distribution(contents: Contents, specification: float) -> Figure | None:
    return curves.distribution(contents.tolerance(), specification=specification)


def _drift(contents: Contents, specification: float) -> Figure | None:
    return curves.drift(contents.tolerance(), times_of(contents))


def _training(contents: Contents, specification: float) -> Figure | None:
    result = contents.result
    metric, names = ("accuracy", ()) if result is None else (result.metric, result.models)
    return figures.training_curves(contents.models, metric=metric, networks=names)


def _breaking(network: str, found: BreakingLevels) -> Figure | None:
    return curves.breaking({network: found})


def _alone(draw: Callable[[Any], Figure]) -> Callable[[str, Any], Figure]:
    """A figure that does not name its network."""
    return lambda network, found: draw(found)


_LEVELS = "`snnrobust benchmark NET.h5 --levels 0,0.1,0.2,0.3 -o RUN.h5` makes them"
FIGURES: dict[str, _Entry] = {
    "level": _Entry(
        "{metric} against the mismatch level.",
        "Line: mean over up to {chips} chips; band: from the 5 % to the 95 % quantile of the chips; cross: the worst "
        "chip; dashed: the specification, {specification} %. A network that tolerates mismatch stays high and keeps "
        "its band narrow as the level grows.",
        _level,
        missing=f"two levels of relative mismatch; {_LEVELS}",
    ),
    "yield": _Entry(
        "Yield against the mismatch level.",
        "Line: share of chips with at least {specification} % {metric}; band: its {interval} at each level.",
        _yield,
        missing=f"two levels of relative mismatch; {_LEVELS}",
    ),
    "chips": _Entry(
        "Every chip.",
        "Each dot is one simulated chip, dots of nearly equal {metric} lie side by side; bar: mean; dashed: the "
        "specification, {specification} %. The number at the right is the yield, the share of dots at or to the right "
        "of the dashed line.",
        _chips,
        missing="chips of a profile; `snnrobust deploy NET.h5 --profile P -o RUN.h5` makes them",
    ),
    "distribution": _Entry(
        "Yield at any specification.",
        "Line: share of chips that reach the {metric} below it, one minus the empirical distribution function; band: "
        "95 % for all specifications at once, so that one may be chosen after looking; dashed: {specification} %.",
        _distribution,
        missing="chips that were run; the command that made the file goes on from there",
    ),
    "drift": _Entry(
        "{metric} over the time since programming.",
        "The same chips at each time. Line: mean; band: from the 5 % to the 95 % quantile of the chips; cross: the "
        "worst chip.",
        _drift,
        missing="one profile at two times; `snnrobust deploy NET.h5 --profile pcm_ibm --time 1h,1d,1y -o RUN.h5` "
        "makes them",
    ),
    "training": _Entry(
        "Training.",
        "Loss that was minimised and validation {metric} of the network without mismatch, by epoch; a dot marks the "
        "epoch whose weights were kept, if it was a single one. Losses of different objectives have different terms: "
        "compare their shape, not their height.",
        _training,
        missing="a training history; `snnrobust train` keeps one",
    ),
    "sensitivity": _Entry(
        "What to calibrate first.",
        "Left: the yield that would be gained if this part of the variation were perfect and all else stayed, with its "
        "95 % interval, paired by chip. Right: its share of the variance of the margin over chips; a share may be "
        "negative where parts interact.",
        _alone(analysis_figures.ranking),
        "sensitivity",
    ),
    "tornado": _Entry(
        "What the verdict rests on.",
        "The yield with each uncertain number of the profile at its low and its high end, on the same chips. Solid: "
        "the yield with the profile's own numbers; dashed: the yield that is asked for. Bold: numbers that move it "
        "beyond its interval or flip the verdict.",
        _alone(analysis_figures.tornado_bars),
        "tornado",
    ),
    "specification": _Entry(
        "How large each spread may be.",
        "Triangle: the largest spread if all others were zero (pointing right: the search ended there, it may be "
        "larger); dot: the cheapest allocation that meets the requirement together, in numbers at the right; dashed: "
        "the profile.",
        _alone(analysis_figures.specification_limits),
        "specification",
    ),
    "bits": _Entry(
        "How many bits suffice.",
        "Yield over the bits of a weight, a line for each number of ADC bits where the chip has any, on the same "
        "chips; bar: its interval; dashed: the yield that is asked for; ring: the smallest choice whose lower bound "
        "reaches it, as do those of all finer ones.",
        _alone(analysis_figures.yield_over_bits),
        "bits",
    ),
    "tolerance": _Entry(
        "Breaking levels.",
        "Share of chips that are still good at each level, each chip scaled along its own deviations. The tolerance at "
        "a yield is where the line falls below it; dashed: 99 %.",
        _breaking,
        "tolerance",
    ),
    "rare": _Entry(
        "How rare bad chips are.",
        "Share of chips below the specification, with its 95 % interval (arrow: down to zero), under the profile's "
        "assumed tail. Plain Monte Carlo simulates chips as they come; where it resolves the share, the two intervals "
        "must overlap.",
        _alone(robustness_figures.rare_failures),
        "rare",
    ),
    "worst_case": _Entry(
        "The worst case beside chance.",
        "{metric} of the device that an attack finds in a box, beside random devices of the same size: Gaussian with "
        "the box's half-width as standard deviation, and random corners of the box (line: mean; band: from the worst "
        "to the best). Not a yield statement: a corner of the box is hardly ever a chip.",
        _alone(robustness_figures.worst_case_curves),
        "worst_case",
    ),
    "landscape": _Entry(
        "The loss around the network.",
        "Top: mean cross-entropy of the test samples as the network's devices move along a direction; thin: single "
        "random directions, which are what mismatch draws; dashed: towards the worst device that an attack finds; "
        "dotted: the loss of a guess, ln(classes). A robust network has a flat valley. Bottom: the plane of a random "
        "and the adversarial direction, seen from above; cross: the network without variation.",
        _alone(landscape_figure.loss_landscape),
        "landscape",
    ),
    "certificate": _Entry(
        "What is certain in a box.",
        "Share of the test samples that every device in the box classifies correctly, and of the spikes that no device "
        "in it changes, by interval bounds; vertical lines: the largest boxes in which that holds of one sample and of "
        "half of them. A statement about a box, never a share of chips.",
        _alone(robustness_figures.certified_over_box),
        "certificate",
    ),
    "behaviour": _Entry(
        "Accuracy and agreement under each condition.",
        "The same chips under all conditions. Dot: mean; line: from the worst to the best chip. Agreement is the share "
        "of samples that a chip answers as the network on no chip does, right or wrong.",
        _alone(analysis_figures.behaviour_by_condition),
        "behaviour",
    ),
}
"""Figures by name, in the order of a page."""


def draw(name: str, contents: Contents, *, specification: float = 0.9, of: str | None = None) -> Drawn:
    """One figure of a run file.

    Args:
        name: One of `FIGURES`.
        contents: The run file.
        specification: The accuracy that a good chip reaches, a fraction.
        of: Which analysis, "network on chip", where the file has several.

    Raises:
        ConfigError: If there is no such figure.
        RunFileError: If the file has no results for it; the line says which command makes them.
    """
    if name not in FIGURES:
        raise ConfigError(unknown("figure", name, FIGURES))
    entry = FIGURES[name]
    if entry.kind:
        label, found = contents.analysis(entry.kind, of)
        with readable(f"{entry.kind} of {label}"):
            figure = entry.draw(network_of(label), found)
    else:
        label, figure = "", entry.draw(contents, specification)
    if figure is None:
        raise RunFileError(f"{contents.source or 'RUN.h5'}: figure {name} needs {entry.missing}")
    words = _words(contents, specification)
    title, caption = (
        text[:1].upper() + text[1:] for text in (entry.title.format(**words), entry.caption.format(**words))
    )
    return Drawn(name, label, title, caption, figure)


def draw_all(contents: Contents, *, specification: float = 0.9) -> Iterator[Drawn]:
    """Every figure for which a run file has results."""
    for name, entry in FIGURES.items():
        for of in contents.analyses.get(entry.kind, {}) if entry.kind else (None,):
            try:
                yield draw(name, contents, specification=specification, of=of)
            except RunFileError:
                continue


def write_figure(drawn: Drawn, path: str | Path, *, width: float | None = None) -> None:
    """Write a figure, as vectors but for .png; the file appears whole or not at all.

    Args:
        drawn: The figure.
        path: The file: .pdf, .svg, .eps or .png.
        width: Width in mm, 20 to 400; its own by default. The text of figures narrower than 100 mm is smaller.

    Raises:
        ConfigError: For another ending, or a width outside its domain.
        RunFileError: If the file cannot be written.
    """
    import io

    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise ConfigError(unknown(f"output: ending of {Path(path).name}", suffix, FORMATS))
    check_place(path)
    if width is not None:
        fit_width(drawn.figure, width)
    options: dict[str, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": drawn.name}
    date = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix, {})
    buffer = io.BytesIO()
    with style.context([*figures.STYLE, options, {"savefig.facecolor": "white", "savefig.dpi": 300}]):
        drawn.figure.savefig(buffer, format=suffix, metadata=date or None)
    replace_file(path, buffer.getvalue())


def fit_width(figure: Figure, width: float) -> None:
    """Give a figure this width in mm, in its proportions, with text of 80 to 100 % of its size.

    Raises:
        ConfigError: If the width is not 20 to 400 mm.
    """
    if not 20 <= width <= 400:
        raise ConfigError(f"width: {width:g} mm must be from 20 to 400 mm")
    old, height = figure.get_size_inches()
    ratio = width * MM / old
    figure.set_size_inches(width * MM, height * math.sqrt(ratio) if ratio < 1 else height * ratio)
    text = min(1.0, max(0.8, ratio))
    for item in figure.findobj(Text):
        item.set_fontsize(item.get_fontsize() * text)
    for ax in figure.axes:
        ax.tick_params(labelsize=figures.FONT_SIZE * text)


def caption_of(drawn: Drawn) -> str:
    """Title and caption as one text, with the network and chip of an analysis."""
    about = f" {network_of(drawn.of)} on {chip_of(drawn.of)}." if drawn.of else ""
    return f"{drawn.title}{about} {drawn.caption}"


def _words(contents: Contents, specification: float) -> dict[str, object]:
    result = contents.result
    if result is None:
        return {"metric": "accuracy", "chips": 0, "specification": percent(specification), "interval": "interval"}
    intervals = dict.fromkeys(s.chips_passed.interval for s in result.summary(specification))
    return {
        "metric": result.metric,
        "chips": f"{result.chips:,}",
        "specification": percent(specification),
        "interval": " or ".join(intervals),
    }
