"""Choices of an objective as a user types them, `draws=4`, and the list of what there is to choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, get_type_hints

from snnrobust.errors import ConfigError, unknown
from snnrobust.training.objectives import NAMED, OBJECTIVES, Choices, ForwardNoise


def named_objective(name: str) -> Choices:
    """The objective of this name, with its own choices.

    Raises:
        ConfigError: If there is none.
    """
    if name in NAMED:
        return NAMED[name]
    if name not in OBJECTIVES:
        raise ConfigError(unknown("objective", name, {**OBJECTIVES, **NAMED}))
    return OBJECTIVES[name]()


def with_choices(objective: Choices, texts: Iterable[str]) -> Choices:
    """The objective with other choices.

    Args:
        objective: Whose other choices stay.
        texts: "field=value"; roles with commas; "none"; "forward_noise.draws=2" for a choice of the noise inside.

    Raises:
        ConfigError: If a text has another form, a field is unknown, or a value outside its domain.
    """
    values: dict[str, Any] = {}
    inner: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        outer, dot, rest = name.partition(".")
        if not equals or not name:
            raise ConfigError(f"set: {text!r} must be a choice and its value, such as draws=4")
        if outer not in _types(objective):
            raise ConfigError(unknown(f"set: objective {objective.name}", outer, _types(objective)))
        if dot:
            inner.setdefault(outer, []).append(f"{rest}={value}")
        else:
            values[outer] = _parsed(outer, value, _types(objective)[outer])
    for outer, own in inner.items():
        noise = values.get(outer, getattr(objective, outer))
        if outer != "forward_noise" or not isinstance(noise, ForwardNoise | float):
            raise ConfigError(f"set: {outer} of objective {objective.name} has no choices of its own")
        values[outer] = with_choices(ForwardNoise(level=noise) if isinstance(noise, float) else noise, own)
    return replace(objective, **values)


def rows() -> list[tuple[str, str, str, str]]:
    """Name, passes an update, what it is, and its choices, of every objective and of the choices with a name."""
    found = []
    for name, kind in OBJECTIVES.items():
        own = kind()
        what = (kind.__doc__ or "").strip().split("\n")[0].removesuffix(".")
        found.append((name, str(own.passes), what, _text(own, {})))
    for name, own in NAMED.items():
        published = name.endswith("_as_published")
        what = f"{own.name} {'as the code of the paper runs it' if published else 'with other choices'}"
        found.append((name, str(own.passes), what, _text(own, type(own)().to_dict())))
    return found


def _text(objective: Choices, known: Mapping[str, Any]) -> str:
    """The choices that differ from known ones."""
    plain = {key: value for key, value in objective.to_dict().items() if key != "name" and not key.endswith("_hash")}
    texts = []
    for key, value in plain.items():
        if key in known and known[key] == value:
            continue
        shown = value["name"] if isinstance(value, Mapping) else ",".join(value) if isinstance(value, list) else value
        texts.append(f"{key}={'none' if shown is None else shown}")
    return " ".join(texts)


def _types(objective: Choices) -> dict[str, Any]:
    hints = get_type_hints(type(objective))
    return {field.name: hints[field.name] for field in fields(objective)}


def _parsed(name: str, text: str, kind: Any) -> Any:  # noqa: ANN401 (a type, and a value of it)
    """A text as a value of a field's type."""
    from pydantic import TypeAdapter, ValidationError

    value: Any = None if text.lower() == "none" else text
    if kind == tuple[str, ...]:
        value = tuple(part.strip() for part in text.split(",") if part.strip())
    allowed = float if kind == float | ForwardNoise else kind
    try:
        return TypeAdapter(allowed).validate_python(value)
    except ValidationError:
        shown = getattr(allowed, "__name__", str(allowed))
        raise ConfigError(f"set: {name}={text} must be {shown.replace('None', 'none')}") from None
