"""Run files: one experiment in one HDF5 file, written atomically, readable by xarray.

Groups and arrays follow the netCDF-4 conventions (dimension scales; bool as int8 with attribute ``dtype``; text
as fixed UTF-8 with attribute ``_Encoding``), so ``xarray.open_dataset(path, engine="h5netcdf", group=...)`` opens
any group. NaN means not run yet.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.storage import reader
from snnrobust.storage.files import one_line, replace_file
from snnrobust.storage.tree import Array, Group, Scalar

COMPRESS_FROM = 4096  # bytes; below, a chunk index costs more than gzip saves


def write_run(path: str | os.PathLike[str], tree: Group) -> None:
    """Write a run file so that at any moment ``path`` is the old file or the whole new one.

    The root gets format, format_version, the versions of snnrobust, h5py, HDF5 and numpy, and the time of creation
    (UTC, ISO 8601), which stays when a tree that was read is written again.

    Raises:
        RunFileError: the file cannot be written (folder missing or read-only, disk full, ...); the old file is intact.
        ConfigError: an array has an attribute whose name the netCDF conventions use, such as ``dtype``.
    """
    replace_file(path, _to_hdf5(Group(tree.items, {**tree.attrs, **_header(tree)})))


def read_run(path: str | os.PathLike[str], *, limits: reader.Limits | None = None) -> Group:
    """Read a whole run file of our own; use ``open_run`` for a file from elsewhere.

    Raises:
        RunFileError: missing, not a run file, of a newer format, damaged or over a limit.
    """
    try:
        return _to_tree(reader.load(path, limits or reader.Limits()))
    except (reader.RefusedError, ConfigError) as error:
        raise RunFileError(f"{one_line(path)}: {error}") from None


def command_line() -> str:
    """How this process was started, without the folder of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _header(tree: Group) -> dict[str, Scalar]:
    try:
        version = importlib.metadata.version("snnrobust")
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        version = "unknown"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "format": reader.FORMAT,
        "format_version": reader.FORMAT_VERSION,
        "snnrobust_version": version,
        "h5py_version": h5py.version.version,
        "hdf5_version": h5py.version.hdf5_version,
        "numpy_version": np.__version__,
        "created": tree.attrs.get("created", now),
    }


def _to_hdf5(tree: Group) -> bytes:
    """The bytes of the HDF5 file, made in memory: a full disk is then a plain error of the plain write."""
    _check_conventions(tree)
    name = f"run-{secrets.token_hex(8)}"  # HDF5 tells open files in memory apart by name
    with h5py.File(name, "w", driver="core", backing_store=False, libver="v108", track_order=True) as file:
        _write_group(file, tree, itertools.count())
        file.flush()
        return bytes(file.id.get_file_image())


def _write_group(target: h5py.Group, group: Group, dim_ids: Iterator[int]) -> None:
    _write_attrs(target, group.attrs)
    for name, node in group.items.items():
        if isinstance(node, Group):
            _write_group(target.create_group(name, track_order=True), node, dim_ids)
        else:
            _write_array(target, name, node)
    for dim, size in group.dim_sizes().items():
        _make_scale(target, dim, size, next(dim_ids))
    for name, array in group.arrays():
        for axis, dim in enumerate(array.dims):
            if name != dim:
                target[name].dims[axis].attach_scale(target[dim])


def _make_scale(target: h5py.Group, dim: str, size: int, dim_id: int) -> None:
    """Make a dimension of its coordinate array, or of a placeholder that only has the size."""
    if dim in target:
        target[dim].make_scale(dim)
    else:
        target.create_dataset(dim, shape=(size,), dtype=">f4").make_scale(f"{reader.BARE_DIMENSION}{size:10d}")
    target[dim].attrs["_Netcdf4Dimid"] = np.int32(dim_id)


def _write_array(target: h5py.Group, name: str, array: Array) -> None:
    values, convention = array.values, {}
    if values.dtype.kind == "U":
        values, convention = _utf8(values), {"_Encoding": "utf-8"}
    elif values.dtype.kind == "b":
        values, convention = values.astype(np.int8), {"dtype": "bool"}
    compress = values.ndim > 0 and values.nbytes >= COMPRESS_FROM
    options = {"compression": "gzip", "shuffle": True} if compress else {}
    data = target.create_dataset(name, data=values, **options)
    _write_attrs(data, {**array.attrs, **convention})


def _write_attrs(target: h5py.Group | h5py.Dataset, attrs: Mapping[str, Scalar]) -> None:
    for name, value in attrs.items():
        # h5netcdf takes a text of length 1 for a character and gives bytes.
        target.attrs[name] = _utf8(np.array(value), shortest=2) if isinstance(value, str) else value


def _utf8(values: NDArray[Any], shortest: int = 1) -> NDArray[Any]:
    """Text of fixed length in UTF-8, marked as such for h5py."""
    encoded = np.char.encode(values, "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(shortest, encoded.dtype.itemsize)))


def _check_conventions(group: Group) -> None:
    """Refuse array attributes that HDF5 and the netCDF conventions give a meaning of their own."""
    for name, array in group.arrays():
        for taken in reader.HOUSEKEEPING & array.attrs.keys():
            raise ConfigError(f"{name}: attribute {taken!r}; reserved: {', '.join(sorted(reader.HOUSEKEEPING))}")
    for _, child in group.groups():
        _check_conventions(child)


def _to_tree(raw: reader.RawGroup) -> Group:
    items: dict[str, Array | Group] = {}
    for name, node in raw.items.items():
        items[name] = _to_tree(node) if isinstance(node, reader.RawGroup) else Array(*node)
    return Group(items, raw.attrs)
