"""What a run file holds, independent of HDF5: a tree of labelled arrays and scalar attributes.

The tree says nothing about what the arrays mean. Every group is a data set of its own: within one group a
dimension name has one size, and an array whose name equals its single dimension is that dimension's coordinate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, RunFileError, unknown

Scalar: TypeAlias = str | int | float | bool

DTYPES = "bool, int8 to int64, uint8 to uint64, float16, float32, float64 and str"
LONGEST_ATTRIBUTE = 250_000  # characters; an Array holds longer text


@dataclass(frozen=True, eq=False)
class Array:
    """An array with named dimensions.

    Attributes:
        values: bool, integers, floats (up to 64 bits) or fixed unicode strings, of any shape.
        dims: One name an axis; empty for an array without named dimensions.
        attrs: Scalars that describe it, such as ``units``. xarray decodes ``units`` spelled "seconds", "days", ...
            as time spans; "s" stays a number.

    Raises:
        ConfigError: a type, name or attribute that a run file cannot hold.
    """

    values: NDArray[Any]
    dims: tuple[str, ...] = ()
    attrs: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values, dims = np.asarray(self.values), tuple(self.dims)
        check_values("array", values)
        if dims and len(dims) != values.ndim:
            raise ConfigError(f"dims: {dims} for shape {values.shape}; allowed: one name an axis, or none")
        if len(set(dims)) != len(dims):
            raise ConfigError(f"dims: {dims}; allowed: different names")
        for name in dims:
            _check_name("dims", name)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "attrs", _plain_attrs(self.attrs))


@dataclass(frozen=True, eq=False)
class Group:
    """Named arrays and groups, in order.

    Attributes:
        items: Name to ``Array`` or ``Group``; a name is not empty, has no "/" and is not "." or "..".
        attrs: Scalars that describe the group.

    Raises:
        ConfigError: a bad name, or a dimension that has two sizes or the name of something else.
    """

    items: Mapping[str, Array | Group] = field(default_factory=dict)
    attrs: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, node in self.items.items():
            _check_name("name", name)
            if not isinstance(node, Array | Group):
                raise ConfigError(f"{name}: {type(node).__name__}; allowed: Array, Group")
        object.__setattr__(self, "items", dict(self.items))
        object.__setattr__(self, "attrs", _plain_attrs(self.attrs))
        self.dim_sizes()

    def dim_sizes(self) -> dict[str, int]:
        """The dimensions of this group's own arrays, in order of appearance, with their sizes."""
        sizes: dict[str, int] = {}
        for name, array in self.arrays():
            for dim, size in zip(array.dims, array.values.shape, strict=False):  # dims may be empty
                if sizes.setdefault(dim, size) != size:
                    raise ConfigError(f"{name}: dimension {dim!r} has size {size}; elsewhere in the group {sizes[dim]}")
        for dim in sizes:
            same = self.items.get(dim)
            if same is not None and not (isinstance(same, Array) and same.dims == (dim,)):
                raise ConfigError(f"{dim}: is also a dimension; allowed: an Array with dims ({dim!r},)")
        return sizes

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """This group's own arrays with their names."""
        return ((name, node) for name, node in self.items.items() if isinstance(node, Array))

    def groups(self) -> Iterator[tuple[str, Group]]:
        """This group's own groups with their names."""
        return ((name, node) for name, node in self.items.items() if isinstance(node, Group))

    def __contains__(self, path: str) -> bool:
        try:
            self[path]
        except RunFileError:
            return False
        return True

    def __getitem__(self, path: str) -> Array | Group:
        """The node at a path such as ``"models/standard/parameters"``.

        Raises:
            RunFileError: nothing is there; the message has the nearest name.
        """
        node: Array | Group = self
        for name in path.split("/"):
            items = node.items if isinstance(node, Group) else {}
            if name not in items:
                raise RunFileError(unknown(path, name, items))
            node = items[name]
        return node

    def array(self, path: str) -> Array:
        """The array at a path; RunFileError where there is none."""
        node = self[path]
        if not isinstance(node, Array):
            raise RunFileError(f"{path}: is a group; needed: an array")
        return node

    def group(self, path: str) -> Group:
        """The group at a path; RunFileError where there is none."""
        node = self[path]
        if not isinstance(node, Group):
            raise RunFileError(f"{path}: is an array; needed: a group")
        return node

    def put(self, path: str, node: Array | Group) -> Group:
        """A copy of this tree with ``node`` at a path; groups on the way are made where missing."""
        name, _, rest = path.partition("/")
        if rest:
            child = self.items.get(name, Group())
            if not isinstance(child, Group):
                raise ConfigError(f"{name}: is an array; needed on the way to {rest!r}: a group")
            node = child.put(rest, node)
        return replace(self, items={**self.items, name: node})


def parsed(text: object) -> dict[str, Any]:
    """The object that an attribute holds as JSON; empty where the text, which may be from elsewhere, is none."""
    try:
        value = json.loads(str(text))
    except (ValueError, RecursionError):  # not JSON, or nested too deep for the parser
        return {}
    return value if isinstance(value, dict) else {}


def check_values(what: str, values: NDArray[Any]) -> None:
    """Raise ConfigError unless a run file and a journal can hold the array without loss."""
    dtype = values.dtype
    if dtype.kind not in "biufU" or (dtype.kind != "U" and dtype.itemsize > 8):
        raise ConfigError(f"{what}: type {dtype}; allowed: {DTYPES}")
    if dtype.kind == "U":
        for text in values.ravel():
            check_text(what, str(text))


def check_text(what: str, text: str) -> None:
    """Raise ConfigError unless the text can be stored as UTF-8 padded with NUL."""
    lone_surrogate = any("\ud800" <= character <= "\udfff" for character in text)
    if "\0" in text or lone_surrogate:
        raise ConfigError(f"{what}: {ascii(text)[:80]}; allowed: text without NUL and lone surrogates")


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise ConfigError(f"{what}: {name!r}; allowed: a text that is not empty, '.' or '..' and has no '/'")
    check_text(what, name)


def _plain_attrs(attrs: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A copy with Python scalars, checked."""
    plain: dict[str, Scalar] = {}
    for name, value in attrs.items():
        _check_name("attribute", name)
        scalar = value.item() if isinstance(value, np.generic) else value
        if not isinstance(scalar, str | int | float | bool):
            raise ConfigError(f"attribute {name}: {type(value).__name__}; allowed: str, int, float, bool")
        if isinstance(scalar, str):
            check_text(f"attribute {name}", scalar)
            if len(scalar) > LONGEST_ATTRIBUTE:
                raise ConfigError(f"attribute {name}: {len(scalar)} characters; allowed: {LONGEST_ATTRIBUTE}")
        elif isinstance(scalar, int) and not -(2**63) <= scalar < 2**63:
            raise ConfigError(f"attribute {name}: {scalar}; allowed: 64 bits (write a larger one as text)")
        plain[name] = scalar
    return plain
