"""Images and labels in the idx files of MNIST and its relatives (Y. LeCun, C. Cortes, C. Burges).

A file is compressed with gzip; it starts with two zero bytes, the code of unsigned bytes (8), the number of axes, and
the size of each axis as a big-endian 32-bit number. The values follow, the last axis fastest.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import TaskError
from snnrobust.tasks.convert import DAMAGED, Arrays
from snnrobust.tasks.dataset import first_line

UNSIGNED = 8
MOST_BYTES = 1_000_000_000


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of a compressed idx file of unsigned bytes.

    Args:
        path: The file.
        axes: Number of axes that it must have.

    Raises:
        TaskError: If the file is missing, damaged, or holds something else.
    """
    try:
        with gzip.open(path) as file:
            head = file.read(4 + 4 * axes)
            if head[:4] != bytes((0, 0, UNSIGNED, axes)) or len(head) < 4 + 4 * axes:
                raise TaskError(f"data: {path} is no idx file of unsigned bytes with {axes} axes")
            shape = tuple(int(n) for n in np.frombuffer(head[4:], dtype=">u4"))
            size = math.prod(shape)
            values = file.read(size + 1) if size <= MOST_BYTES else b""
    except DAMAGED as error:
        raise TaskError(f"data: {path} cannot be read as an idx file ({first_line(error)})") from error
    if len(values) != size:
        raise TaskError(f"data: {path} does not hold the {size} values that its shape {shape} needs")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def read_images(folder: Path, part: str) -> Arrays:
    """Images x [B, rows, columns] and labels y [B] of a part ("train" or "t10k") of an image data set."""
    x = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
    y = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
    return {"x": x, "y": y}


def read_parts(folder: Path) -> Arrays:
    """Training and test images of all four files, one after the other, and split [B], 0 for train and 2 for test."""
    train, test = (read_images(folder, part) for part in ("train", "t10k"))
    if train["x"].shape[1:] != test["x"].shape[1:]:
        raise TaskError(f"data: images in {folder} have sizes {train['x'].shape[1:]} and {test['x'].shape[1:]}")
    both = {name: np.concatenate([train[name], test[name]]) for name in train}
    return {**both, "split": np.repeat(np.array([0, 2], np.uint8), [len(train["y"]), len(test["y"])])}
