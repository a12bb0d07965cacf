"""Fetch a data set from its publisher and make the arrays that the tasks read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snnrobust.errors import TaskError
from snnrobust.tasks import sources
from snnrobust.tasks.convert import Arrays
from snnrobust.tasks.dataset import first_line
from snnrobust.tasks.sources import Source

CHECKSUMS = "SHA256SUMS.txt"  # PhysioNet's list of the hashes of a database's files
Progress = Callable[[str, int, int], None]


def download(
    name: str, *, data: str | Path | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Path:
    """Make a source's file available, by fetching it if it is not found.

    Args:
        name: A source or a task that is made from one.
        data: Folder to search and to write to; None for the search order of ``sources`` and the user's cache.
        overwrite: Whether to fetch even if a file is found.
        progress: Called with (file name, bytes so far, bytes in all or 0 if unknown).

    Returns:
        Path of the file.

    Raises:
        TaskError: If the name is unknown, the network fails, or what arrives has another size or hash.
    """
    source = sources.get(name)
    folder = sources.cache_folder() if data is None else Path(data)
    found = sources.find(source, folder if folder.is_dir() else None)
    if source.url is None or (found is not None and not overwrite):
        if found is None and source.publisher is not None:
            raise TaskError(f"data: {source.path} is not downloaded; {source.remedy}")
        if found is None:
            raise TaskError(f"data: {source.path} is shipped with the package and missing; reinstall snnrobust")
        return found
    target = folder / source.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        arrays = _converted(source, Path(work), progress)
        check_arrays(source, arrays)
        made = Path(work) / target.name
        np.savez_compressed(made, **arrays)  # type: ignore[arg-type]  # numpy types ** as its flag as well
        sources.read_arrays(made, source)
        os.replace(made, target)
    return target


def fetch(url: str, target: Path, *, size: int | None, sha256: str | None, progress: Progress | None) -> None:
    """Download a file and check it.

    Args:
        url: Where from.
        target: Where to.
        size: Bytes it must have, or None if not known.
        sha256: Hash it must have, or None if not known.
        progress: As for ``download``.

    Raises:
        TaskError: If the network fails, or the file has another size or hash.
    """
    import pooch
    import requests

    bar: Any = _Bar(target.name, progress) if progress is not None else False
    try:
        pooch.HTTPDownloader(progressbar=bar, timeout=60)(url, str(target), None)
    except (requests.RequestException, OSError) as error:
        raise TaskError(f"data: cannot download {url} ({first_line(error)})") from error
    if size is not None and target.stat().st_size != size:
        raise TaskError(f"data: {url} has {target.stat().st_size} bytes; must be {size}; try again later")
    if sha256 is not None:
        found = pooch.file_hash(str(target), alg="sha256")
        if found != sha256:
            raise TaskError(f"data: {url} has sha256 {found}; must be {sha256}")


def arrays_hash(arrays: Arrays) -> str:
    """SHA-256 over the names, types, shapes and little-endian bytes of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_arrays(source: Source, arrays: Arrays) -> None:
    """Check the hash of what was made, where it is known.

    Raises:
        TaskError: If it differs.
    """
    found = arrays_hash(arrays)
    if source.arrays_sha256 is not None and found != source.arrays_sha256:
        raise TaskError(f"data: the arrays made from {source.url} have hash {found}; must be {source.arrays_sha256}")


def _converted(source: Source, work: Path, progress: Progress | None) -> Arrays:
    """Fetch what the publisher distributes into ``work`` and convert it."""
    if source.url is None or source.convert is None:
        raise TaskError(f"data: {source.name} cannot be downloaded; put {source.path} into a data folder")
    if not source.files:
        archive = work / source.url.rsplit("/", 1)[-1]
        fetch(source.url, archive, size=source.size, sha256=source.sha256, progress=progress)
        return source.convert(archive)
    fetch(f"{source.url}/{CHECKSUMS}", work / CHECKSUMS, size=None, sha256=source.sha256, progress=progress)
    hashes = _read_checksums(work / CHECKSUMS)
    for name in source.files:
        if name not in hashes:
            raise TaskError(f"data: {source.url}/{CHECKSUMS} has no line for {name}")
        fetch(f"{source.url}/{name}", work / name, size=None, sha256=hashes[name], progress=progress)
    return source.convert(work)


def _read_checksums(path: Path) -> dict[str, str]:
    """File name to hash from lines of the form "HASH NAME"."""
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())
    return {parts[1].strip(): parts[0] for parts in lines if len(parts) == 2}


class _Bar:
    """The interface that pooch expects of a progress bar, on top of a plain function."""

    def __init__(self, name: str, report: Progress) -> None:
        self.name, self.report, self.total, self.done = name, report, 0, 0

    def update(self, count: int) -> None:
        self.done += count
        self.report(self.name, self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
