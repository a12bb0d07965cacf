"""The profile schema as JSON Schema, with which an editor completes and checks a YAML file while it is written.

It knows structure, types and the domain of single fields; `check_profile` also knows the rules between fields.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

from snnrobust.hardware.schema.base import Block, Frozen
from snnrobust.hardware.schema.document import Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema of a profile file; every block and field has the description of its docstring."""
    schema = Document.model_json_schema(ref_template="#/$defs/{model}")
    models = {model.__name__: model for model in _models(Document)}
    parts = {Document.__name__: schema, **schema["$defs"]}
    for name, part in parts.items():
        _describe(part, models[name])
    return {"$schema": DIALECT, **schema, "title": "snnrobust hardware profile"}


def _describe(part: dict[str, Any], model: type[Frozen]) -> None:
    text = inspect.getdoc(model) or ""
    part["description"] = _line(text.split("\nAttributes:")[0])
    fields = {**_attributes(Block), **_attributes(model)}
    for name, field in part.get("properties", {}).items():
        field.pop("title", None)  # the name again
        if not isinstance(field.get("default"), bool | int | float | str):
            field.pop("default", None)  # null, and blocks of nulls, which an editor would offer as text
        if name in fields:
            field["description"] = fields[name]


def _attributes(model: type[Frozen]) -> dict[str, str]:
    """What the docstring of a model and of those it extends says of each field."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        entries = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section, flags=re.MULTILINE)
        found |= {name: _line(text) for name, text in entries}
    return found


def _line(text: str) -> str:
    return " ".join(text.split())


def _models(model: type[Frozen], seen: frozenset[type] = frozenset()) -> Iterator[type[Frozen]]:
    """A model and all that its fields are made of."""
    yield model
    for field in model.model_fields.values():
        for inner in _in(field.annotation):
            if inner not in seen and inner is not model:
                yield from _models(inner, seen | {model})


def _in(annotation: object) -> Iterator[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for part in get_args(annotation):
        yield from _in(part)
