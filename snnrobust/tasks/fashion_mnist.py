"""Fashion-MNIST: tell ten kinds of clothes apart, a row of pixels a step. The official test images are shipped.

H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747. A spiking network reads an image in 28 steps of 28 pixels; a
convolutional network takes the same array [28, B, 28] as images (`snnrobust.snn.PaperCNN`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnrobust.errors import TaskError
from snnrobust.tasks.convert import Arrays
from snnrobust.tasks.dataset import Split, Task, TaskInfo
from snnrobust.tasks.sources import load_arrays

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TRAIN, VALIDATION, TEST = 7_000, 1_000, 2_000
HELD_OUT = 12  # one of so many training images of the full set validates
WHITE = 255.0


def build(*, data: Path | None = None, seed: int = 0) -> Task:
    """The 10,000 official test images alone, split in their order; x is the pixel over 255.

    Args:
        data: Folder to look in first.
        seed: Not used; the split is fixed.

    Returns:
        Task with x [B, 28, 28], 7,000 / 1,000 / 2,000 samples.
    """
    arrays = load_arrays("fashion_mnist", data)
    ends = (TRAIN, TRAIN + VALIDATION, TRAIN + VALIDATION + TEST)
    if len(arrays["y"]) != ends[-1]:
        raise TaskError(f"data: {len(arrays['y'])} images of the official test part found, must be {ends[-1]}")
    return _task(
        INFO,
        arrays,
        ends,
        f"made from the official test images alone: the first {TRAIN:,} train, the next {VALIDATION:,} validate, the "
        f"last {TEST:,} test; accuracies do not compare with published ones",
    )


def build_full(*, data: Path | None = None, seed: int = 0) -> Task:
    """The official split, the last twelfth of the training images held out to validate; x is the pixel over 255.

    Args:
        data: Folder to look in first; it holds the publisher's four files in `fashion_mnist`.
        seed: Not used; the split is fixed.

    Returns:
        Task with x [B, 28, 28], 55,000 / 5,000 / 10,000 samples.
    """
    arrays = load_arrays("fashion_mnist_full", data)
    count, train = len(arrays["y"]), int((arrays["split"] == 0).sum())
    held_out = train // HELD_OUT
    return _task(
        FULL,
        arrays,
        (train - held_out, train, count),
        f"official train and test parts; the last {held_out:,} training images held out for validation",
    )


def _task(info: TaskInfo, arrays: Arrays, ends: tuple[int, ...], split: str) -> Task:
    y = arrays["y"].astype(np.int64)
    x = (arrays["x"].astype(np.float32) / np.float32(WHITE)).astype(np.float32)
    whole = Split(x, y, np.full(len(y), x.shape[1], dtype=np.int64), np.arange(len(y), dtype=np.int64))
    train, validation, test = (
        whole.take(np.arange(start, stop)) for start, stop in zip((0, *ends), ends, strict=False)
    )
    return Task(
        name=info.name,
        train=train,
        validation=validation,
        test=test,
        classes=CLASSES,
        dt=info.dt,
        citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
        "Learning Algorithms, arXiv:1708.07747",
        licence="MIT (Zalando SE 2017)",
        split=split,
    )


INFO = TaskInfo(
    name="fashion_mnist",
    title="ten kinds of clothes from 28 rows of pixels (the 10,000 official test images)",
    inputs=28,
    steps=28,
    dt=1e-3,
    classes=len(CLASSES),
    build=build,
    source="fashion_mnist",
)
FULL = TaskInfo(
    name="fashion_mnist_full",
    title="ten kinds of clothes from 28 rows of pixels (all 70,000 images, official split)",
    inputs=28,
    steps=28,
    dt=1e-3,
    classes=len(CLASSES),
    build=build_full,
    source="fashion_mnist_full",
)
