"""How a layer's crossbar is read, as arrays for the kernels; and the normals of a read for the eager engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from snnrobust.compiled import run_jobs
from snnrobust.snn.engines import layout
from snnrobust.snn.engines.kernels.reading import fill_normals
from snnrobust.snn.engines.memory import Values, zeros
from snnrobust.snn.reads import NUMBERS

if TYPE_CHECKING:
    from snnrobust.snn.reads import Reads


def normals_of(
    keys: NDArray[np.uint64], read: int, steps: range, first_sample: int, batch: int, neurons: int
) -> NDArray[np.float32]:
    """Standard normals of one read [K, T, B, N]."""
    padded = -(-neurons // 32) * 32
    result = np.empty((len(keys), len(steps), batch, padded), np.float32)
    run_jobs(fill_normals, len(keys) * len(steps), keys, read, steps.start, first_sample, result)
    return result[..., :neurons]


@dataclass(frozen=True)
class Reading:
    """A layer's `Reads` as the kernels want them.

    Attributes:
        flags: Integers, see `layout`.
        rows: Variances, steps, bounds and so on of columns [1 or K, rows, capacity].
        keys: [1 or K].
    """

    flags: NDArray[np.int64]
    rows: Values
    keys: NDArray[np.uint64]

    @classmethod
    def of(cls, reads: Reads | None, neurons: int, dtype: Any) -> Reading:  # noqa: ANN401 (a dtype)
        """From the policy; None is no reads."""
        flags = np.zeros(layout.READ_FLAGS, np.int64)
        if reads is None:
            return cls(flags, np.empty((1, 0, 0), dtype), np.zeros(1, np.uint64))
        like = torch.empty(0, dtype=torch.float64 if dtype == np.float64 else torch.float32)
        columns = [reads.column(name, neurons, like).detach().numpy() for name in NUMBERS]
        rows = zeros((max(len(np.atleast_2d(c)) for c in columns), layout.READ_ROWS, layout.capacity(neurons)), dtype)
        for row, values in enumerate(columns):
            rows[:, row, :neurons] = values**2 if row in (layout.NOISE, layout.WEIGHT_NOISE) else values
        flags[layout.READS], flags[layout.CLOCKED] = 1, reads.clocked
        flags[layout.NOISY] = bool((rows[:, : layout.STEP] > 0).any())
        flags[layout.QUANTISED] = bool((rows[:, layout.STEP] > 0).any())
        flags[layout.DROPS] = bool((rows[:, layout.DROP :] > 0).any())
        flags[layout.TILE_ROWS], flags[layout.FIRST_SAMPLE] = reads.rows or 0, reads.first_sample
        return cls(flags, rows, np.array(reads.keys, np.uint64))

    def part(self, instances: slice, first: int) -> Reading:
        """Those of some instances, for samples from `first` on."""
        flags = self.flags.copy()
        flags[layout.FIRST_SAMPLE] += first
        rows = self.rows if len(self.rows) == 1 else self.rows[instances]
        return Reading(flags, rows, self.keys if len(self.keys) == 1 else self.keys[instances])

    def arrays(self) -> tuple[NDArray[np.int64], Values, NDArray[np.uint64]]:
        """For the kernels."""
        return self.flags, self.rows, self.keys

    @property
    def instances(self) -> int:
        """K, 1 where one serves all."""
        return max(len(self.rows), len(self.keys))
