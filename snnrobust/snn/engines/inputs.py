"""What drives a layer, as the fused engine's kernels want it: dense inputs, lists of them, or lists of spikes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnrobust.snn.engines.kernels.rows import SLACK, list_nonzeros
from snnrobust.snn.engines.memory import Lease, Values

SPARSE = 0.3
"""Share of non-zero inputs below which they are listed."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of all samples: dense, or the list of what is not zero.

    Attributes:
        x: [1 or K, B, T, I], of 0 steps if they are listed.
        source: Indices of the inputs that are not 0, int32; empty if they are dense.
        factor: Their values.
        start: First index of step t of sample b at b T + t, and the end.
        steps: T.
        batch: B.
    """

    x: Values
    source: Values
    factor: Values
    start: Values
    steps: int
    batch: int

    @classmethod
    def of(cls, x: Values) -> Inputs:
        """From x [T, B, I] or [K, T, B, I]; sparse ones that all instances share are listed."""
        steps, batch, inputs = x.shape[-3:]
        if x.ndim == 3 or len(x) == 1:
            values = np.ascontiguousarray(x).reshape(steps, batch, inputs)
            most = int(SPARSE * values.size) + max(inputs, SLACK)
            source, factor = np.empty(most, np.int32), np.empty(most, x.dtype)
            start = np.empty(batch * steps + 1, np.int64)
            if list_nonzeros(values, source, factor, start):
                return cls(np.empty((1, batch, 0, inputs), x.dtype), source, factor, start, steps, batch)
        dense = np.array(x.swapaxes(-3, -2), order="C").reshape(-1, batch, steps, inputs)  # a copy: a tape keeps it
        return cls(dense, *_no_list(x.dtype), steps, batch)

    def part(self, instances: slice, samples: slice) -> Inputs:
        """Those of some instances and samples."""
        x = self.x[:, samples] if len(self.x) == 1 else np.ascontiguousarray(self.x[instances, samples])
        start = self.start[samples.start * self.steps : samples.stop * self.steps + 1]
        return Inputs(x, self.source, self.factor, start, self.steps, samples.stop - samples.start)

    def arrays(self, dtype: Any) -> tuple[tuple[Values, ...], tuple[Values, ...]]:  # noqa: ANN401 (as of spikes)
        """For the kernels: inputs, and no spikes."""
        nothing = np.empty((0, 0, 0), np.int32)
        return (self.x, self.source, self.factor, self.start), (nothing, nothing)

    @property
    def instances(self) -> int:
        """How many instances have inputs of their own, or 1."""
        return len(self.x)


@dataclass(frozen=True)
class Spikes:
    """Spikes as lists: of instance k and sample b, segment t + 1 of `source[k, b]` are the neurons that fire at t.

    Attributes:
        source: Indices [K, B, at least (T + 1) N], int32.
        start: First index of each segment [K, B, T + 2]; segment 0 are the spikes before the first step.
        memory: What lends the arrays.
    """

    source: Values
    start: Values
    memory: Lease = field(repr=False)

    def arrays(self, dtype: Any) -> tuple[tuple[Values, ...], tuple[Values, ...]]:  # noqa: ANN401 (a dtype)
        """For the kernels: no inputs, and spikes."""
        return (np.empty((1, self.batch, 0, 1), dtype), *_no_list(dtype)), (self.source, self.start)

    @property
    def steps(self) -> int:
        """T."""
        return int(self.start.shape[2]) - 2

    @property
    def batch(self) -> int:
        """B."""
        return int(self.start.shape[1])

    @property
    def instances(self) -> int:
        """K."""
        return len(self.start)


def _no_list(dtype: Any) -> tuple[Values, Values, Values]:  # noqa: ANN401 (a dtype)
    return np.zeros(0, np.int32), np.zeros(0, dtype), np.zeros(0, np.int64)
