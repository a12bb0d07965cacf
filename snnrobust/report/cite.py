"""A paragraph of methods about a run file, and BibTeX of what it rests on: software, training, profiles, data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from snnrobust.errors import SnnRobustError
from snnrobust.hardware.schema.document import Source
from snnrobust.report.contents import Contents
from snnrobust.report.text import percent
from snnrobust.training.record import TrainedModel


class Reference(NamedTuple):
    """Something to cite.

    Attributes:
        key: Of BibTeX.
        text: Authors, title, where and when, as one text.
        doi: The DOI; "" if it has none.
        arxiv: The number at arXiv; "" if it has none.
        url: Where it is; "" if nowhere else.
        year: The year; "" if it is not known.
        fields: What is known apart, by the names of BibTeX, instead of the text.
        kind: Kind of the entry.
    """

    key: str
    text: str
    doi: str = ""
    arxiv: str = ""
    url: str = ""
    year: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    kind: str = "misc"

    def bibtex(self) -> str:
        """The entry; the text is its note where the parts are not known apart."""
        fields = dict(self.fields) or {"note": _braced(self.text)}
        fields |= {"doi": self.doi, "eprint": self.arxiv, "url": self.url, "year": self.year}
        fields |= {"archiveprefix": "arXiv" if self.arxiv else ""}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        key = re.sub(r"[^A-Za-z0-9:._-]", "_", self.key)
        return "\n".join([f"@{self.kind}{{{key},", *lines, "}"])


SOFTWARE = Reference("snnrobust", "snnrobust: spiking networks that survive analog hardware")
ATTACK = Reference(
    "buechel2022network",
    "Büchel, Faber and Muir 2022",
    arxiv="2106.05009",
    year="2022",
    fields=(
        ("author", 'B{\\"u}chel, Julian and Faber, Fynn and Muir, Dylan R.'),
        ("title", "Network Insensitivity to Parameter Noise via Parameter Attack During Training"),
        ("booktitle", "International Conference on Learning Representations"),
    ),
    kind="inproceedings",
)
_DOI = re.compile(r"doi:\s?(\S+?)[;,.)]*(?=\s|$)")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_YEAR = re.compile(r"\b((?:19|20)\d\d)\b")


def methods(contents: Contents, *, specification: float = 0.9) -> str:
    """The paragraph: networks, training, chips with seeds and hashes, data, and how yields are estimated.

    Args:
        contents: A run file with results of chips.
        specification: The accuracy that a good chip reaches, a fraction.

    Raises:
        RunFileError: If the file has no results of chips.
    """
    result = contents.tolerance()
    chips = contents.config.get("chips")
    seed = chips.get("seed") if isinstance(chips, dict) else None
    version = contents.stored.attrs.get("snnrobust_version", "unknown")
    conditions = [
        f"{name} (sha256 {contents.hashes[name][:12]})" if name in contents.hashes else name
        for name in result.conditions
    ]
    intervals = dict.fromkeys(s.chips_passed.interval for s in result.summary(specification))
    most = "at most " if result.stopping is not None else ""
    sentences = [
        *(_trained(model) for model in contents.models),
        f"{'Each network' if len(result.models) > 1 else 'The network'} was evaluated on {most}{result.chips:,} "
        f"simulated chips{'' if seed is None else f' (seed {seed})'} under {_listed(conditions)}"
        f"{', the same chips in each' if len(conditions) > 1 else ''}, with snnrobust {version}.",
        f"Population: {result.population}." if result.population else "",
        f"The yield is the share of chips that reach at least {percent(specification)} % {result.metric}, with its "
        f"{_listed(list(intervals))}.",
        f"Chips were simulated until {result.stopping.until}." if result.stopping is not None else "",
        *_analysed(contents),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def references(contents: Contents) -> list[Reference]:
    """What to cite, once each: this software, training methods, sources of profiles, the data."""
    found = [SOFTWARE._replace(text=f"{SOFTWARE.text}, version {contents.stored.attrs.get('snnrobust_version', '')}")]
    for model in contents.models:
        found += _of_training(model)
    for profile in contents.profiles:
        found += [_of_source(source) for source in (profile.profile.sources if profile.profile else ())]
    found += _of_task(contents)
    return list({reference.key: reference for reference in found}.values())


def cite(contents: Contents, *, specification: float = 0.9) -> str:
    """The paragraph, and below it the BibTeX."""
    entries = [reference.bibtex() for reference in references(contents)]
    return "\n\n".join([methods(contents, specification=specification), *entries]) + "\n"


def _trained(model: TrainedModel) -> str:
    """How a network was trained, as a sentence."""
    config = model.config
    if not config:
        return f"How network {model.label} was trained is not recorded (parameters sha256 {model.net.hash()[:12]})."
    objective, settings = config.get("objective"), config.get("settings")
    objective = objective if isinstance(objective, dict) else {}
    settings = settings if isinstance(settings, dict) else {}
    choices = ", ".join(
        f"{name} {value}"
        for name, value in objective.items()
        if name != "name" and isinstance(value, int | float | str)
    )
    facts = [f"{settings['epochs']} epochs" if "epochs" in settings else ""]
    facts += [f"learning rate {settings['learning_rate']}" if "learning_rate" in settings else ""]
    facts += [
        f"seed {settings['seed']}" if "seed" in settings else f"seed {config['seed']}" if "seed" in config else ""
    ]
    size = sum(p.numel() for p in model.net.nominal().values())
    return (
        f"Network {model.label} ({size:,} parameters, sha256 {model.net.hash()[:12]}) was trained on "
        f"{config.get('task', 'its task')} with objective {objective.get('name', 'unknown')}"
        f"{f' ({choices})' if choices else ''}, {_listed([fact for fact in facts if fact])}."
    )


def _analysed(contents: Contents) -> list[str]:
    """What analyses found, in their own sentences."""
    lines = []
    for found in contents.analyses.values():
        for entry, result in found.items():
            statement = getattr(result, "statement", "")
            lines.append(f"{entry}: {statement}." if statement else "")
    return lines


def _of_training(model: TrainedModel) -> list[Reference]:
    """The papers that an objective's documentation names, and that of the attack."""
    from snnrobust.training.objectives import OBJECTIVES

    objective = model.config.get("objective") if model.config else None
    name = str(objective.get("name", "")) if isinstance(objective, dict) else ""
    if name == "adversarial":
        return [ATTACK]
    head = (OBJECTIVES[name].__doc__ or "").split("\n\n")[0] if name in OBJECTIVES else ""
    return [_of_text(f"objective_{name}", " ".join(head.split()))] if _DOI.search(head) or _ARXIV.search(head) else []


def _of_source(source: Source) -> Reference:
    year = _YEAR.search(source.citation)
    return Reference(
        source.key,
        source.citation,
        source.doi or "",
        source.arxiv or "",
        source.url or "",
        year.group(1) if year else "",
    )


def _of_task(contents: Contents) -> list[Reference]:
    """The data of the task, where it can be loaded here."""
    from snnrobust.tasks import load_task

    task = contents.config.get("task")
    try:
        citation = load_task(str(task[0])).citation if isinstance(task, list) and task else ""
    except SnnRobustError:
        return []
    return [_of_text(f"data_{task[0]}", citation)] if citation not in ("", "generated", "user data") and task else []


def _of_text(key: str, text: str) -> Reference:
    """A reference from a text that names a DOI or a number at arXiv."""
    doi, arxiv, year = _DOI.search(text), _ARXIV.search(text), _YEAR.search(text)
    return Reference(
        key,
        text,
        doi.group(1) if doi else "",
        arxiv.group(1) if arxiv else "",
        year=year.group(1) if year else "",
    )


def _listed(words: Iterable[str]) -> str:
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _braced(text: str) -> str:
    """A text as the value of a field: no brace of its own, and signs of TeX escaped."""
    plain = text.replace("{", "(").replace("}", ")")
    return re.sub(r"([%&#$_])", r"\\\1", " ".join(plain.split()))
