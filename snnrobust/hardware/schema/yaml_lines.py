"""Read YAML as plain data, and remember the line of every value.

The subset that profiles use: mappings, lists and scalars. Anchors, aliases, tags, duplicate keys and several
documents are errors, as are files beyond the bounds below, so that no input makes reading slow. Plain scalars
follow YAML 1.2: `1e-3` is a number, `no` and `on` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

Path = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
MAX_DEPTH = 16

_INT = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for name, value in (("true", True), ("false", False)) for word in (name, name.title(), name.upper())
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Tree:
    """A document as plain data, with the line (from 1) of every path and the errors found on the way.

    `complete` is False where reading stopped before the end, so that the data says little.
    """

    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    errors: list[tuple[int, str]] = field(default_factory=list)
    complete: bool = False

    def line(self, path: Path) -> int:
        """Line of `path`, or of the nearest enclosing value that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


@dataclass
class _Open:
    """A mapping or list that is being filled; `key` is the mapping's key that waits for its value."""

    path: Path
    items: dict[str, object] | list[object]
    key: str | None = None


class _StopReading(Exception):  # noqa: N818 (control flow inside this module, not an error)
    """Reading further makes no sense; the error is already noted."""


def read(content: bytes | str) -> Tree:
    """Parse YAML text; never raises for bad text, `Tree.errors` says what is wrong.

    Returns:
        The tree; when errors are present its data may be incomplete.
    """
    tree = Tree()
    if len(content) > MAX_BYTES:
        tree.errors.append((1, f"{len(content)} bytes; a profile has at most {MAX_BYTES}"))
        return tree
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        _build(tree, text)
        tree.complete = True
    except UnicodeError as error:
        tree.errors.append((1, f"not UTF-8 text: {error.reason if hasattr(error, 'reason') else error}"))
    except yaml.YAMLError as error:
        tree.errors.append(_syntax_error(error))
    except _StopReading:
        pass
    return tree


def _syntax_error(error: yaml.YAMLError) -> tuple[int, str]:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    if "nesting depth" in str(problem):  # a parser with a limit of its own sees thousands of levels before we see any
        return 1, f"nested deeper than {MAX_DEPTH}"
    return (mark.line + 1 if mark else 1), f"not valid YAML: {' '.join(str(problem).split())}"


def _build(tree: Tree, text: str) -> None:
    """Fill the tree from the parser's events; a stack of our own, so that nesting cannot exhaust Python's."""
    stack: list[_Open] = []
    documents = values = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                tree.errors.append((line, "a second document (---); a profile is one document"))
                raise _StopReading
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            if values > MAX_VALUES or len(stack) > MAX_DEPTH:
                too = f"more than {MAX_VALUES} values" if values > MAX_VALUES else f"nested deeper than {MAX_DEPTH}"
                tree.errors.append((line, too))
                raise _StopReading
            _check_plain(tree, event, line)
            _add(tree, stack, event, line)


def _check_plain(tree: Tree, event: yaml.NodeEvent, line: int) -> None:
    if event.anchor is not None:
        tree.errors.append((line, f"anchors and aliases are not allowed: {short(event.anchor)}"))
    elif (tag := getattr(event, "tag", None)) is not None:
        tree.errors.append((line, f"tags are not allowed: {short(tag)}"))


def _add(tree: Tree, stack: list[_Open], event: yaml.NodeEvent, line: int) -> None:
    """Put one event's value where it belongs: the root, a list's end, a mapping's key or its value."""
    parent = stack[-1] if stack else None
    if parent is not None and isinstance(parent.items, dict) and parent.key is None:
        parent.key = _key(tree, parent, event, line)
        return
    value = _value(event)
    if parent is None:
        path: Path = ()
        tree.data = value
    elif isinstance(parent.items, list):
        path = (*parent.path, len(parent.items))
        parent.items.append(value)
    else:
        key, parent.key = str(parent.key), None
        path = (*parent.path, key)
        parent.items.setdefault(key, value)
    tree.lines.setdefault(path, line)
    if isinstance(value, dict | list):
        stack.append(_Open(path, value))


def _key(tree: Tree, parent: _Open, event: yaml.NodeEvent, line: int) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        tree.errors.append((line, "a key must be a word"))
        raise _StopReading
    key = event.value
    path = (*parent.path, key)
    if key in parent.items:
        tree.errors.append((line, f"{show(path)}: duplicate key, first given in line {tree.line(path)}"))
    tree.lines.setdefault(path, line)
    return str(key)


def _value(event: yaml.NodeEvent) -> object:
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    return _scalar(event) if isinstance(event, yaml.ScalarEvent) else None


def _scalar(event: yaml.ScalarEvent) -> object:
    text = event.value
    if not event.implicit[0]:  # quoted
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text) and len(text) < 400:
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def short(text: str) -> str:
    """Text made fit for one error line: at most 60 characters, all of them printable."""
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def show(path: Path) -> str:
    """A path as one line of text: parameters.weight.clip[0]."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{short(part)}" for part in path)
    return "".join(parts).removeprefix(".")
