"""Read a run file with limits, object by object; the same code vets a file in a process of its own.

This module imports nothing of the package, so that a fresh interpreter that runs it by path starts fast
(``safe.py``). It touches a file in one way only: what passes here in the vetting process is what a reader does
with the file afterwards.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

if __name__ == "__main__":  # the vetting process has no site-packages: safe.py says where h5py and numpy are
    sys.path.extend(json.loads(sys.argv[1])["sys_path"])

import h5py
import numpy as np
from numpy.typing import NDArray

FORMAT = "snnrobust-run"
FORMAT_VERSION = 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"
BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable."
# Attributes of arrays that dimension scales and the conventions of netCDF and xarray use for themselves.
HOUSEKEEPING = frozenset(
    {"CLASS", "NAME", "DIMENSION_LIST", "DIMENSION_LABELS", "REFERENCE_LIST", "_Netcdf4Dimid"}
    | {"_Netcdf4Coordinates", "_Encoding", "_FillValue", "dtype"}
)
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}

Scalar: TypeAlias = str | int | float | bool


class RefusedError(Exception):
    """Why a file is not read, on one line without its path."""

    def __init__(self, reason: str) -> None:
        plain = " ".join(reason.split())[:300]
        super().__init__(plain if plain.isprintable() else ascii(plain))


@dataclass(frozen=True)
class Limits:
    """What a run file may ask for.

    Attributes:
        depth: Groups within groups.
        objects: Arrays and groups in all.
        total_bytes: Bytes of all arrays, uncompressed (shape x item size, known before anything is read).
        attribute_bytes: Bytes of one attribute.
        seconds: Time that vetting one file may take.
    """

    depth: int = 32
    objects: int = 100_000
    total_bytes: int = 2 * 1024**3
    attribute_bytes: int = 1024**2
    seconds: float = 60.0


class RawArray(NamedTuple):
    """The parts of an ``Array``, unchecked."""

    values: NDArray[Any]
    dims: tuple[str, ...]
    attrs: dict[str, Scalar]


class RawGroup(NamedTuple):
    """The parts of a ``Group``, unchecked."""

    items: dict[str, RawArray | RawGroup]
    attrs: dict[str, Scalar]


def load(path: str | os.PathLike[str], limits: Limits) -> RawGroup:
    """Read a whole run file.

    Raises:
        RefusedError: not a run file, of a newer format, damaged, over a limit, or with something in it that a run
            file never has (links other than hard ones, external or virtual storage, unknown types or filters).
    """
    check_signature(path)
    try:
        # A run file is only ever replaced, never changed, so readers need no lock (and some mounts have none).
        with h5py.File(path, "r", locking=False) as file:
            check_format(file, limits)
            return _Walk(limits).group(file, depth=0)
    except RefusedError:
        raise
    except MemoryError:
        raise RefusedError("needs more memory than there is") from None
    except Exception as error:  # h5py raises nearly every built-in error on damaged files
        raise RefusedError(f"damaged ({str(error) or type(error).__name__})") from None


def check_signature(path: str | os.PathLike[str]) -> None:
    """Refuse what is missing, a folder, empty or not HDF5, without opening it as HDF5."""
    try:
        if not Path(path).exists():
            raise RefusedError("no such file")
        if not Path(path).is_file():
            raise RefusedError(f"is {'a folder' if Path(path).is_dir() else 'not a regular file'}; needed: a run file")
        with open(path, "rb") as file:
            head = file.read(len(SIGNATURE))
    except (OSError, ValueError) as error:
        raise RefusedError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not head:
        raise RefusedError("is empty; needed: a run file")
    if head != SIGNATURE:
        raise RefusedError("is not an HDF5 file; needed: a run file")


def check_format(file: h5py.File, limits: Limits) -> None:
    """Refuse another format and a newer version of ours."""
    walk = _Walk(limits)
    name, version = (walk.attribute(file, key) if key in file.attrs else None for key in ("format", "format_version"))
    if name != FORMAT:
        raise RefusedError(f"format is {name!r}; needed: {FORMAT!r}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RefusedError(f"format_version is {version!r}; needed: 1 to {FORMAT_VERSION}")
    if version > FORMAT_VERSION:
        raise RefusedError(f"format_version {version} is newer than this snnrobust reads (1 to {FORMAT_VERSION})")


class _Walk:
    """One pass over a file that counts what it meets."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes = 0
        self.seen: set[int] = set()

    def group(self, group: h5py.Group, depth: int) -> RawGroup:
        if depth > self.limits.depth:
            raise RefusedError(f"groups are nested deeper than {self.limits.depth}")
        self.enter(group)
        if len(self.seen) + len(group) > self.limits.objects:
            raise RefusedError(f"holds more than {self.limits.objects} objects")
        children = {name: self.child(group, name) for name in group}
        scales = {_address(node): name for name, node in children.items() if _is_scale(node)}
        items: dict[str, RawArray | RawGroup] = {}
        for name, node in children.items():
            if isinstance(node, h5py.Group):
                items[name] = self.group(node, depth + 1)
            else:
                self.enter(node)
                if not _is_bare_dimension(node):
                    items[name] = self.array(node, scales)
        return RawGroup(items, self.attributes(group))

    def enter(self, node: h5py.Group | h5py.Dataset) -> None:
        """Remember an object; each is reached by one path only, so there are no cycles."""
        address = _address(node)
        if address in self.seen:
            raise RefusedError(f"{node.name}: a second link to one object")
        self.seen.add(address)

    def child(self, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise RefusedError(f"{name!r} is a soft or external link")
        node = group[name]
        if not isinstance(node, h5py.Group | h5py.Dataset):
            raise RefusedError(f"{name!r} is neither an array nor a group")
        return node

    def array(self, data: h5py.Dataset, scales: dict[int, str]) -> RawArray:
        self.check_storage(data)
        values = np.asarray(data[()], dtype=data.dtype)
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        elif values.dtype == np.int8 and "dtype" in data.attrs and self.attribute(data, "dtype") == "bool":
            values = values.astype(bool)
        return RawArray(values, _dims(data, scales), self.attributes(data, skip=HOUSEKEEPING))

    def check_storage(self, data: h5py.Dataset) -> None:
        """Refuse unknown types and storage, and count bytes, before anything is read."""
        name = data.name
        if data.shape is None:
            raise RefusedError(f"{name}: has no values")
        properties = data.id.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
            raise RefusedError(f"{name}: keeps its values in another file")
        for number in range(properties.get_nfilters()):
            if properties.get_filter(number)[0] not in FILTERS:
                raise RefusedError(f"{name}: unknown filter")
        kind, size = _type(data.id.get_type())
        if kind not in ("integer", "float", "text"):
            raise RefusedError(f"{name}: type is not integer, float or fixed text")
        chunk = math.prod(data.chunks or ())
        self.bytes += max(math.prod(data.shape), chunk) * size
        if self.bytes > self.limits.total_bytes:
            raise RefusedError(f"{name}: more than {self.limits.total_bytes} bytes in all")

    def attributes(self, node: h5py.Group | h5py.Dataset, skip: frozenset[str] = frozenset()) -> dict[str, Scalar]:
        """The scalar attributes of an object."""
        return {name: self.attribute(node, name) for name in node.attrs if name not in skip}

    def attribute(self, node: h5py.Group | h5py.Dataset, name: str) -> Scalar:
        """One attribute, checked before it is read; text of varying length says its length only afterwards."""
        attribute, most = node.attrs.get_id(name), self.limits.attribute_bytes
        kind, size = _type(attribute.get_type())
        if attribute.shape not in ((), (1,)) or kind is None or size > most:
            raise RefusedError(f"attribute {name}: not a scalar of at most {most} bytes")
        value = node.attrs[name]
        scalar = value.item() if isinstance(value, np.generic | np.ndarray) else value  # netCDF writes shape (1,)
        if isinstance(scalar, bytes):
            scalar = scalar.decode()
        if not isinstance(scalar, str | int | float | bool) or (isinstance(scalar, str) and len(scalar) > most):
            raise RefusedError(f"attribute {name}: not a scalar of at most {most} bytes")
        return scalar


def _type(kind: h5py.h5t.TypeID) -> tuple[str | None, int]:
    """What values of an HDF5 type are, and their size in bytes."""
    size = int(kind.get_size())
    if isinstance(kind, h5py.h5t.TypeIntegerID) and size <= 8:
        return "integer", size
    if isinstance(kind, h5py.h5t.TypeFloatID) and size in (2, 4, 8):
        return "float", size
    if isinstance(kind, h5py.h5t.TypeStringID):
        return ("varying text" if kind.is_variable_str() else "text"), size
    if isinstance(kind, h5py.h5t.TypeEnumID) and kind.dtype == np.dtype(bool):
        return "bool", size
    return None, size


def _address(node: h5py.Group | h5py.Dataset) -> int:
    return int(h5py.h5o.get_info(node.id).addr)


def _is_scale(node: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(node, h5py.Dataset) and bool(h5py.h5ds.is_scale(node.id))


def _is_bare_dimension(data: h5py.Dataset) -> bool:
    return _is_scale(data) and h5py.h5ds.get_scale_name(data.id).startswith(BARE_DIMENSION.encode())


def _dims(data: h5py.Dataset, scales: dict[int, str]) -> tuple[str, ...]:
    """Names of the axes from the scales of the same group; none where an axis has no such scale."""
    own = scales.get(_address(data))
    if own is not None:
        return (own,) if data.ndim == 1 else ()
    found = []
    for axis in range(data.ndim):
        attached = [scales.get(_address(scale)) for scale in data.dims[axis].values()]
        if len(attached) != 1 or attached[0] is None:
            return ()
        found.append(attached[0])
    return tuple(found)


def settings(limits: Limits, sys_path: list[str]) -> str:
    """The argument of the vetting process."""
    return json.dumps({"limits": asdict(limits), "sys_path": sys_path})


def serve(argument: str) -> None:
    """Vet the files named on stdin; one JSON text a line: null at the start, then null or why not for each file.

    The process limits itself, so that nobody has to watch it: a file that takes too long ends it with SIGALRM.
    """
    limits = Limits(**json.loads(argument)["limits"])
    memory = 3 * limits.total_bytes + 1024**3  # the largest allowed array, its copies and the interpreter
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    print(json.dumps(None), flush=True)
    for line in sys.stdin:
        answer = None
        signal.setitimer(signal.ITIMER_REAL, limits.seconds)
        try:
            load(json.loads(line), limits)
        except RefusedError as error:
            answer = str(error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
