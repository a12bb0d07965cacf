"""From a task's arrays to batches, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from snnrobust.hardware import randomness
from snnrobust.tasks import Split, Task
from snnrobust.training.problem import Batch


def to_batch(split: Split, rows: np.ndarray | slice, dtype: torch.dtype = torch.float32) -> Batch:
    """Samples of a split, x turned to [T, B, I]; lengths only where some sample is shorter than T."""
    lengths = split.lengths[rows]
    padded = bool((lengths < split.x.shape[1]).any())
    x = torch.from_numpy(np.ascontiguousarray(split.x[rows].swapaxes(0, 1))).to(dtype)
    return Batch(x, torch.from_numpy(split.y[rows]), torch.from_numpy(lengths) if padded else None)


def precision(params: Mapping[str, Tensor]) -> torch.dtype:
    """The dtype that inputs need to meet these parameters: float64 where all real ones have it, else float32."""
    real = {p.dtype for p in params.values() if p.is_floating_point()}
    return torch.float64 if real == {torch.float64} else torch.float32


def batches(split: Split, size: int, *, seed: int, epoch: int, dtype: torch.dtype = torch.float32) -> Iterator[Batch]:
    """All samples once, shuffled by (seed, epoch), in batches of nearly equal size, at most `size`."""
    order = randomness.permutation(randomness.key(seed, "train", "data", "order", "sample", 0, epoch), len(split))
    for rows in np.array_split(order, batch_count(split, size)):
        yield to_batch(split, rows, dtype)


def batch_count(split: Split, size: int) -> int:
    """Number of batches of an epoch."""
    return -(-len(split) // size)


def data_hash(*parts: Split | None) -> str:
    """SHA-256 of the samples of some splits: a task's name does not say whose arrays it holds."""
    digest = hashlib.sha256()
    for part in parts:
        for array in () if part is None else (part.x, part.y, part.lengths, part.indices):
            digest.update(f"{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def class_weights(task: Task) -> Tensor | None:
    """Inverse class frequencies, with mean 1 over samples, where balanced accuracy is what counts; else None."""
    if task.metric != "balanced accuracy":
        return None
    counts = np.bincount(task.train.y, minlength=len(task.classes))
    return torch.from_numpy((len(task.train) / (len(counts) * counts)).astype(np.float32))
