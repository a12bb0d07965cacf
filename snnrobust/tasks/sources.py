"""Where the data of the tasks is found.

Searched in this order: the folder given as ``data``, the folder that SNNROBUST_DATA names, the user's
cache, the file shipped in the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snnrobust.errors import TaskError, unknown
from snnrobust.tasks import convert
from snnrobust.tasks.convert import DAMAGED, Arrays
from snnrobust.tasks.dataset import first_line
from snnrobust.tasks.idx import read_images, read_parts

ENVIRONMENT = "SNNROBUST_DATA"


@dataclass(frozen=True)
class Source:
    """A data file that tasks are made from.

    Attributes:
        name: Name to download it by.
        tasks: The tasks made from it.
        path: Where the file lies below a data folder.
        arrays: The arrays the file must hold: name to (kinds of dtype, number of dimensions).
        unaligned: Arrays that have no row for each sample.
        shipped: The copy in the package, or None.
        url: The publisher's archive, or the folder of ``files``; None if it cannot be downloaded.
        files: Names of files below ``url``, each checked against the publisher's SHA256SUMS.txt there.
        size: Bytes of the archive, or None if not known.
        sha256: Hash of the archive (of SHA256SUMS.txt where there are ``files``), or None if not known.
        arrays_sha256: ``download.arrays_hash`` of the arrays made from it, or None if not known. Archives that
            GitHub packs on demand have no lasting hash of their own; this one takes its place.
        convert: From the archive, or the folder of the files, to the arrays.
        read: From the file to the arrays, where it is no ``.npz`` file; other files may stand beside it.
        publisher: Files that the user has to get, and where, for a source that is neither shipped nor downloaded.
    """

    name: str
    tasks: tuple[str, ...]
    path: str
    arrays: Mapping[str, tuple[str, int]]
    unaligned: frozenset[str] = frozenset({"classes", "scale"})
    shipped: Path | None = None
    url: str | None = None
    files: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    arrays_sha256: str | None = None
    convert: Callable[[Path], Arrays] | None = None
    read: Callable[[Path], Arrays] | None = None
    publisher: str | None = None

    @property
    def remedy(self) -> str:
        """What to do where the file is not found."""
        if self.publisher is not None:
            return f"put {self.publisher} into the folder {Path(self.path).parent} of a data folder"
        return f"get it with `snnrobust data download {self.name}`"


class Location(NamedTuple):
    """Where a source was found (None: nowhere), and the command that gets it."""

    source: Source
    path: Path | None
    command: str

    def __str__(self) -> str:
        """One line: the source, where it is or how to get it, and the tasks made from it."""
        place = self.path if self.path is not None else f"not found; {self.source.remedy}"
        return f"{self.source.name + ':':<10} {place} (tasks: {', '.join(self.source.tasks)})"


_PACKAGED = Path(__file__).parent / "data"
_GITHUB = "https://github.com"

VOWELS = Source(
    name="vowels",
    tasks=("vowels",),
    path="vowels/japanese_vowels.npz",
    arrays={"x": ("f", 3), "y": ("u", 1), "length": ("u", 1), "split": ("u", 1)},
    shipped=_PACKAGED / "japanese_vowels.npz",
)
# The publisher states no hash. This one is given by several independent users of the archive.
KEYWORDS = Source(
    name="keywords",
    tasks=("keywords",),
    path="speech/gsc_v2_testset_logmel32.npz",
    arrays={"x": ("u", 3), "y": ("u", 1), "classes": ("U", 1), "speaker": ("U", 1), "split": ("u", 1)},
    url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
    size=112_563_277,
    sha256="cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
    convert=convert.speech_commands,
)
DIGITS = Source(
    name="digits",
    tasks=("digits",),
    path="speech/fsdd_logmel20.npz",
    arrays={
        "x": ("u", 3),
        "y": ("u", 1),
        "split": ("u", 1),
        "speaker": ("U", 1),
        "index": ("u", 1),
        "length": ("u", 1),
    },
    url=f"{_GITHUB}/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip",
    arrays_sha256="95eb32b379c5fac67e75a0ea2648a2defbc551c5b04209e527c8d9a9267a8d69",
    convert=convert.spoken_digits,
)
GESTURES = Source(
    name="gestures",
    tasks=("gestures",),
    path="har/spsw_har_50hz.npz",
    arrays={
        "x": ("i", 3),
        "scale": ("f", 1),
        "y": ("u", 1),
        "split": ("u", 1),
        "subject": ("U", 1),
        "device": ("U", 1),
        "classes": ("U", 1),
    },
    url=f"{_GITHUB}/GeoTecINIT/sp-sw-har-dataset/archive/1408d85a512a53861de7bc4729dee283fff2ea9d.zip",
    arrays_sha256="99f5732a204c0d30a6f56e12bfee3eb76951136d58d299ca55db3368a72f81c2",
    convert=convert.activities,
)
MITBIH = Source(
    name="mitbih",
    tasks=("ecg4", "ecg4_patients", "ecg6", "ecg_nv"),
    path="ecg/mitbih_beats_180hz.npz",
    arrays={
        "x": ("i", 2),
        "symbol": ("U", 1),
        "aami": ("U", 1),
        "record": ("i", 1),
        "sample": ("i", 1),
        "ds": ("u", 1),
    },
    url="https://physionet.org/files/mitdb/1.0.0",
    files=tuple(f"{record}.{kind}" for record in convert.RECORDS for kind in ("hea", "dat", "atr")),
    convert=convert.heart_beats,
)
FASHION_MNIST = Source(
    name="fashion_mnist",
    tasks=("fashion_mnist",),
    path="fashion_mnist/t10k-images-idx3-ubyte.gz",
    arrays={"x": ("u", 3), "y": ("u", 1)},
    shipped=_PACKAGED / "fashion_mnist" / "t10k-images-idx3-ubyte.gz",
    read=lambda path: read_images(path.parent, "t10k"),
)
FASHION_MNIST_FULL = Source(
    name="fashion_mnist_full",
    tasks=("fashion_mnist_full",),
    path="fashion_mnist/train-images-idx3-ubyte.gz",
    arrays={"x": ("u", 3), "y": ("u", 1), "split": ("u", 1)},
    read=lambda path: read_parts(path.parent),
    publisher=f"the four .gz files of {_GITHUB}/zalandoresearch/fashion-mnist",
)

_ALL = (VOWELS, KEYWORDS, DIGITS, GESTURES, MITBIH, FASHION_MNIST, FASHION_MNIST_FULL)
SOURCES = {source.name: source for source in _ALL}


def get(name: str) -> Source:
    """The source of this name, or the one that the task of this name is made from.

    Raises:
        TaskError: If there is none; the message says the nearest.
    """
    for source in SOURCES.values():
        if name == source.name or name in source.tasks:
            return source
    raise TaskError(unknown("data source", name, SOURCES))


def where(data: Path | None = None) -> list[Location]:
    """For every source the file that would be read now, and the command that gets it.

    Args:
        data: Folder to look in first.
    """
    return [
        Location(source, find(source, data), f"snnrobust data download {source.name}") for source in SOURCES.values()
    ]


def cache_folder() -> Path:
    """The user's cache folder for data sets, by the custom of the platform."""
    import pooch

    return Path(pooch.os_cache("snnrobust"))


def find(source: Source, data: Path | None = None) -> Path | None:
    """The file of a source, or None if it is nowhere.

    Args:
        source: The source.
        data: Folder to look in first.

    Raises:
        TaskError: If ``data`` is given and is not a folder.
    """
    if data is not None and not data.is_dir():
        raise TaskError(f"data: {str(data)!r} is not a folder")
    environment = os.environ.get(ENVIRONMENT)
    folders = [data, Path(environment) if environment else None, cache_folder()]
    candidates = [folder / source.path for folder in folders if folder is not None]
    if source.shipped is not None:
        candidates.append(source.shipped)
    return next((path for path in candidates if path.is_file()), None)


def load_arrays(name: str, data: Path | None = None) -> Arrays:
    """The arrays of a source.

    Args:
        name: Name of the source.
        data: Folder to look in first.

    Raises:
        TaskError: If the file is missing, damaged, or does not hold the arrays it should.
    """
    source = get(name)
    path = find(source, data)
    if path is None:
        raise TaskError(
            f"data: {source.path} not found; {source.remedy}, or set {ENVIRONMENT} to the folder that holds it"
        )
    return read_arrays(path, source)


def read_arrays(path: Path, source: Source) -> Arrays:
    """The arrays of a source's file, checked against what the source states; pickles are refused."""
    arrays = read_npz(path, source) if source.read is None else source.read(path)
    for name, (kinds, ndim) in source.arrays.items():
        if name not in arrays:
            raise TaskError(f"data: {path} has no array {name!r}; it must hold {', '.join(source.arrays)}")
        if arrays[name].dtype.kind not in kinds or arrays[name].ndim != ndim:
            found = f"{arrays[name].ndim} dimensions of {arrays[name].dtype}"
            raise TaskError(f"data: array {name!r} in {path} has {found}; must be {ndim} of kind {kinds}")
    samples = len(arrays["x"])
    for name in source.arrays.keys() - source.unaligned:
        if len(arrays[name]) != samples:
            raise TaskError(f"data: array {name!r} in {path} has {len(arrays[name])} rows; must be {samples}")
    return arrays


def read_npz(path: Path, source: Source) -> Arrays:
    """The arrays of a ``.npz`` file that a source names."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in source.arrays if name in archive}
    except DAMAGED as error:
        raise TaskError(f"data: {path} is damaged or not a .npz file ({first_line(error)})") from error
