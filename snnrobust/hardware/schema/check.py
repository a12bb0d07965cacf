"""Every error of a profile's text, one line each, with the file and the line number.

Single fields are judged first (schema.py), then the rules between fields (rules.py). So that one mistyped
value does not hide the others, values that failed are taken out before the rules are run on what is left.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from snnrobust.errors import unknown
from snnrobust.hardware.schema import rules
from snnrobust.hardware.schema.base import Frozen
from snnrobust.hardware.schema.bounds import Problem
from snnrobust.hardware.schema.document import Document
from snnrobust.hardware.schema.yaml_lines import Path, Tree, read, short, show

D = TypeVar("D", bound=Document)

# Names that other texts use for these roles.
_RENAMED = {"threshold": "v_th", "leak": "v_leak", "reset": "v_reset"}

# Valid values that stand in for required ones that failed, chosen so that no rule objects to them.
_PLACEHOLDERS: dict[str, object] = {
    "schema_version": "1.0",
    "name": "unnamed",
    "kind": "analog_asic",
    "description": "",
    "distribution": "normal",
    "granularity": "per_neuron",
    "kernel": "exponential",
    "redraw": "trial",
    "technology": "unknown",
    "g_min": 0.0,
    "g_max": 1e9,
    "mapping": {"scheme": "differential_one_sided"},
}
_MAX_ROUNDS = 20

_WORDING = {
    "missing": "is missing",
    "float_type": "{input} is not a number",
    "int_type": "{input} is not a whole number",
    "bool_type": "{input} must be true or false",
    "string_type": "{input} is not text; put it in quotes",
    "tuple_type": "{input} is not a list",
    "model_type": "{input} is not a mapping of keys to values",
    "finite_number": "{input} is not finite",
    "greater_than": "{input} must be > {gt:g}",
    "greater_than_equal": "{input} must be >= {ge:g}",
    "less_than_equal": "{input} must be <= {le:g}",
    "too_short": "needs at least {min_length} entries",
    "too_long": "has more than {max_length} entries",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "{input} must start with a letter or digit; letters, digits and . _ + - may follow",
}


def parse(content: bytes | str, file: str, model: type[D]) -> tuple[D | None, list[str]]:
    """Read a profile's text.

    Args:
        content: YAML text.
        file: Name that error lines begin with.
        model: The class to build.

    Returns:
        The profile and no lines, or None and one line for every error, in the order of the text.
    """
    tree = read(content)
    found = [(line, message) for line, message in tree.errors]
    document: D | None = None
    if tree.complete:
        document, problems = _validate(tree, model)
        found += [(tree.line(path), f"{show(path)}: {text}" if path else text) for path, text in problems]
    lines = [f"{file}:{line}: {message}" for line, message in sorted(found, key=lambda item: item[0])]
    return (None if lines else document), list(dict.fromkeys(lines))


def _validate(tree: Tree, model: type[D]) -> tuple[D | None, list[Problem]]:
    if not isinstance(tree.data, dict):
        return None, [((), "a profile is a mapping of keys to values (name: ..., kind: ..., ...)")]
    data = copy.deepcopy(tree.data)
    problems: list[Problem] = []
    removed: set[Path] = set()
    document: D | None = None
    for _ in range(_MAX_ROUNDS):
        try:
            document = model.model_validate(data)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
            if not removed:
                problems = [_problem(detail) for detail in details]
            removed |= {_remove(data, detail) for detail in details}
    if document is not None:
        problems += [found for found in rules.problems(document) if not _is_consequence(found[0], removed)]
    return document, problems


def _problem(detail: ErrorDetails) -> Problem:
    """One line for one of pydantic's errors."""
    path, kind, value = detail["loc"], detail["type"], detail["input"]
    context = detail.get("ctx", {})
    given = short(repr(value))
    if kind == "extra_forbidden":
        return path, _unknown_key(path)
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        if isinstance(value, str):
            return path, unknown("", short(value), allowed).removeprefix(": ")
        return path, f"{given} must be one of {', '.join(map(repr, allowed))}"
    text = _WORDING.get(kind)
    return path, text.format(input=given, **context) if text else f"{given}: {detail['msg']}"


def _unknown_key(path: Path) -> str:
    key = short(str(path[-1]))
    if path[-1] in _RENAMED and path[-2:-1] in (("parameters",), ("residual",)):
        return f"the key is {_RENAMED[str(path[-1])]}, not {key}"
    return unknown("", key, _fields_at(path[:-1])).replace(": unknown", "unknown key", 1)


def _fields_at(path: Path) -> list[str]:
    """Keys that the schema allows at `path`."""
    model: type[Frozen] = Document
    for name in path:
        if isinstance(name, str):
            model = next(_models(model.model_fields[name].annotation))
    return list(model.model_fields)


def _models(annotation: object) -> Iterator[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _remove(data: dict[str, object], detail: ErrorDetails) -> Path:
    """Take the value that an error is about out of the data; returns its path.

    Required values are replaced by placeholders where there is one; else a missing value takes its block
    along, and a list entry its list. An evidence that cannot be read becomes an assumption, so that nothing
    else is reported for it.
    """
    target = detail["loc"]
    if detail["type"] == "missing" and target[-1] not in _PLACEHOLDERS:
        target = target[:-1]
    first_index = next((i for i, part in enumerate(target) if isinstance(part, int)), len(target))
    target = target[:first_index]
    block = data
    for name in target[:-1]:
        inner = block.get(str(name))
        if not isinstance(inner, dict):
            return target
        block = inner
    key = str(target[-1])
    block.pop(key, None)
    if key in _PLACEHOLDERS and detail["type"] != "extra_forbidden":
        block[key] = copy.deepcopy(_PLACEHOLDERS[key])
    elif key in ("evidence", "source"):
        block["evidence"] = "assumption"
    return target


def _is_consequence(path: Path, removed: set[Path]) -> bool:
    """Whether a problem at `path` may only be there because values below it were taken out."""
    sources = any(target[0] == "sources" for target in removed)
    return (sources and path[-1:] == ("source",)) or any(target[: len(path)] == path for target in removed)
