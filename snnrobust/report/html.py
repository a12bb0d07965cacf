"""One self-contained HTML page about a benchmark: verdict first, then the table, figures, and what they rest on.

The page needs no script, no network and no other file. Names and texts of a run file are untrusted: the template
escapes everything but the figures, whose text matplotlib escapes.
"""

from __future__ import annotations

import io
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.figure import Figure

from snnrobust.errors import ConfigError, ProfileError, RunFileError
from snnrobust.evaluation import Summary, Tolerance, read_tolerance
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.report import figures
from snnrobust.report.text import percent
from snnrobust.storage import Group, journal_path
from snnrobust.storage.files import one_line, replace_file
from snnrobust.training.record import TrainedModel

_ORDER = {
    name: i
    for i, name in enumerate(
        ("network", "parameters", "step", "task", "encoding", "task_split", "objective", "firing_rate", "settings")
    )
}
"""Order of what is said about a training; the rest follows."""
_VERSIONS = ("snnrobust", "torch", "numpy", "h5py", "hdf5")


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
    config = _json(stored.attrs.get("config"))
    models, unreadable = _trained(result, stored)
    profiles = _profiles(stored)
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
        hashes={p.name: p.hash for p in profiles}
        | {c: p.hash for c in result.conditions for p in profiles if c.startswith(f"{p.name} (")},
        has_level_zero=0.0 in result.levels,
        run_chips=int((~np.isnan(result.accuracy)).sum()),
        figures=list(_figures(result, models, specification)),
        notes=_notes(result),
        chip_profiles=[p for p in profiles if p.kind != "relative"],
        level_profiles=[p for p in profiles if p.kind == "relative"],
        training=_training(models),
        trained=[model.label for model in models],
        unreadable=unreadable,
        provenance=_provenance(stored, config),
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


class ProfileOnPage(NamedTuple):
    """A stored profile.

    Attributes:
        name: Its name.
        kind: Its kind, as stored.
        hash: SHA-256 as stored with the results.
        text: The stored YAML.
        profile: The parsed text, or None.
        problem: Why it could not be parsed, or what does not fit; empty if all is well.
    """

    name: str
    kind: str
    hash: str
    text: str
    profile: Profile | None
    problem: str

    @property
    def evidence(self) -> str:
        """Counts of numbers by how they are known, such as "12 measured, 3 assumption"."""
        counts = self.profile.evidence_summary().counts if self.profile else {}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no numbers"

    @property
    def assumed(self) -> list[str]:
        """The assumed numbers, as "path = value"."""
        found = self.profile.evidence_summary().assumed if self.profile else []
        return [f"{'.'.join(map(str, n.path))} = {_text(n.value)}" for n in found]


class Row(NamedTuple):
    """One property of all networks.

    Attributes:
        name: The property.
        cells: Its value for each network.
        differs: Whether the values differ.
    """

    name: str
    cells: list[str]
    differs: bool


def _verdict(result: Tolerance, specification: float) -> dict[str, list[Summary]]:
    """Summaries of the profiles, or of the levels where there are none, by condition."""
    chips = {name for name, level in zip(result.conditions, result.levels, strict=True) if math.isnan(level)}
    rows = result.summary(specification)
    return _by_condition([s for s in rows if s.condition in chips] or rows)


def _by_condition(rows: list[Summary]) -> dict[str, list[Summary]]:
    return {name: [s for s in rows if s.condition == name] for name in dict.fromkeys(s.condition for s in rows)}


def _figures(result: Tolerance, models: list[TrainedModel], specification: float) -> Iterator[FigureOnPage]:
    drawn = {
        "level": figures.accuracy_against_level(result, specification=specification),
        "chips": figures.chips_strip(result, specification=specification),
        "training": figures.training_curves(models, metric=result.metric, networks=result.models),
    }
    for name, figure in drawn.items():
        if figure is not None:
            title, caption = _CAPTIONS[name]
            values = {"metric": result.metric, "specification": percent(specification), "chips": result.chips}
            title = title.format(**values)
            yield FigureOnPage(title, caption.format(**values), inline_svg(figure, name=name, label=title))


_CAPTIONS = {
    "level": (
        "{metric} against the mismatch level.",
        "Line: mean over up to {chips} chips; band: from the 5 % to the 95 % quantile of the chips; cross: the worst "
        "chip; dashed: the specification, {specification} %. A network that tolerates mismatch stays high and keeps "
        "its band narrow as the level grows.",
    ),
    "chips": (
        "Every chip.",
        "Each dot is one simulated chip, dots of nearly equal {metric} lie side by side; bar: mean; dashed: the "
        "specification, {specification} %. The number at the right is the yield, the share of dots at or to the right "
        "of the dashed line.",
    ),
    "training": (
        "Training.",
        "Loss that was minimised and validation {metric} of the network without mismatch, by epoch; a dot marks the "
        "epoch whose weights were kept, if it was a single one. Losses of different objectives have different terms: "
        "compare their shape, not their height.",
    ),
}


def _notes(result: Tolerance) -> list[tuple[str, tuple[str, ...]]]:
    """What has to be said beside the conditions; conditions that share their lines are named together."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for condition, lines in result.notes.items():
        if lines:
            shared.setdefault(tuple(lines), []).append(condition)
    return [(", ".join(conditions), lines) for lines, conditions in shared.items()]


def _profiles(stored: Group) -> list[ProfileOnPage]:
    return [_profile(name, group) for name, group in _groups(stored, "profiles")]


def _profile(name: str, group: Group) -> ProfileOnPage:
    text = str(group.array("text").values) if "text" in group else ""
    stated = str(group.attrs.get("hash", ""))
    kind = str(group.attrs.get("kind", ""))
    try:
        profile = parse_profile(text, file=name)
    except ProfileError as error:
        return ProfileOnPage(name, kind, stated, text, None, f"cannot be read by this version: {error}")
    problem = "" if profile.hash == stated else f"the stored text has another hash, {profile.hash}"
    return ProfileOnPage(name, kind, stated, text, profile, problem)


def _trained(result: Tolerance, stored: Group) -> tuple[list[TrainedModel], list[str]]:
    """The stored networks, and a line for each that cannot be shown."""
    groups, models, lines = dict(_groups(stored, "models")), [], []
    for name in result.models:
        try:
            models.append(TrainedModel.from_group(name, groups[name]))
        except KeyError:
            lines.append(f"{name}: the run file does not hold this network")
        except RunFileError as error:
            lines.append(str(error))
    return models, lines


def _training(models: list[TrainedModel]) -> list[Row]:
    """How the networks were made, a row a property."""
    columns = [_made(model) for model in models]
    found = dict.fromkeys(name for column in columns for name in column)
    names = sorted(found, key=lambda name: _ORDER.get(name.split(".")[0], len(_ORDER)))
    rows = [(name, [column.get(name, "–") for column in columns]) for name in names]
    return [Row(name, cells, len(set(cells)) > 1) for name, cells in rows]


def _made(model: TrainedModel) -> dict[str, str]:
    size = sum(p.numel() for p in model.net.nominal().values())
    made = {**_structure(model.net.to_dict()), "parameters": f"{size:,}"}
    config = model.config if isinstance(model.config, Mapping) else {}
    if not config:
        return {**made, "training": "not recorded"}
    hidden = ("structure", "initial_parameters")
    made |= dict(_flat({name: value for name, value in config.items() if name not in hidden}))
    epoch = model.selected_epoch
    made["weights kept"] = "average of the last epochs" if epoch < 0 else f"of epoch {epoch + 1}"
    if seconds := sum(s for s in model.history.get("seconds", []) if math.isfinite(s)):
        made["training time"] = f"{seconds:.0f} s"
    return made


def _structure(structure: Mapping[str, Any]) -> dict[str, str]:
    if "module" in structure:
        return {"network": f"module {structure['module']}"}
    layers = [*structure["layers"], structure["readout"]]
    kinds = (
        f"{layer['kind']} {layer['inputs']} → {layer['neurons']}{' recurrent' if layer.get('recurrent') else ''}"
        for layer in layers
    )
    return {"network": "; ".join(kinds), "step": f"{1e3 * layers[0]['dynamics']['dt']:g} ms"}


def _provenance(stored: Group, config: Mapping[str, Any]) -> dict[str, str]:
    chips = config.get("chips")
    chips = chips if isinstance(chips, Mapping) else {}
    versions = [f"{name} {stored.attrs[f'{name}_version']}" for name in _VERSIONS if f"{name}_version" in stored.attrs]
    lines = {
        "created": stored.attrs.get("created"),
        "versions": ", ".join(versions),
        "engine": stored.attrs.get("engine"),
        "threads": stored.attrs.get("threads"),
        "chips": chips.get("instances"),
        "seed of the chips": chips.get("seed"),
        "purpose of the chips": chips.get("purpose"),
        "trials": chips.get("trials"),
    }
    return {name: str(value) for name, value in lines.items() if value not in (None, "")}


def _task(config: Mapping[str, Any]) -> str:
    task = config.get("task")
    return str(task[0]) if isinstance(task, list) and task else ""


def _data(result: Tolerance, config: Mapping[str, Any]) -> str:
    """What the chips were tested on, for sentences: "370 test samples of vowels"; empty if it is not known."""
    chips, task = config.get("chips"), _task(config)
    purpose = f"{chips.get('purpose', '')} " if isinstance(chips, Mapping) else ""
    return f"{result.samples} {purpose}samples of {task}" if result.samples and task else ""


def _groups(stored: Group, name: str) -> Iterator[tuple[str, Group]]:
    return stored.group(name).groups() if name in stored else iter(())


def _json(text: object) -> dict[str, Any]:
    try:
        value = json.loads(str(text))
    except (ValueError, RecursionError):  # not JSON, or nested too deep for the parser
        return {}
    return value if isinstance(value, dict) else {}


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested settings as text, by "objective.radius"; None is left out."""
    for key, item in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(item, Mapping):
            yield from _flat(item, name)
        elif item is not None:
            yield name, _text(item)


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
