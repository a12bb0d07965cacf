"""The fused engine for the CPU: `forward` and `backward` of one layer, as two plain functions on arrays.

It sees per-step constants only: time constants, integrator and gain are chained outside by torch. Everything that a
graph needs is in its `Tape`, which keeps its memory to itself for as long as it lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.compiled import run_jobs
from snnrobust.snn.engines import backward as backward_kernels
from snnrobust.snn.engines import forward as forward_kernels
from snnrobust.snn.engines import layout
from snnrobust.snn.engines.memory import Lease, Values, zeros
from snnrobust.snn.engines.rows import SLACK, nonzeros, transpose

SPARSE = 0.3
"""Share of non-zero inputs below which they are listed."""
CACHED_BYTES = 400_000
"""Weights up to this size stay in a core's cache, where a row is cheap wherever it lies."""
GROUP = 8
"""Samples that a forward job runs side by side: a weight row read for one may serve all."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a layer is, for the kernels.

    Attributes:
        neurons: Number of neurons N.
        soft: Soft reset, else hard.
        attached: The reset passes a gradient through the spike.
        surrogate: Its name.
        slope: Its slope.
        dampening: Its dampening.
        relative: Its distance is in units of the threshold.
        readout: None for spiking neurons, else how a readout is decoded: mean, max, last.
    """

    neurons: int
    soft: bool = False
    attached: bool = False
    surrogate: str = "superspike"
    slope: float = 1.0
    dampening: float = 1.0
    relative: bool = False
    readout: str | None = None

    def flags(self, *, adaptive: bool, refracts: bool) -> NDArray[np.int64]:
        """The integers that the kernels read."""
        flags = np.zeros(layout.FLAGS, np.int64)
        flags[layout.NEURONS], flags[layout.SOFT], flags[layout.ATTACHED] = self.neurons, self.soft, self.attached
        flags[layout.ADAPTIVE], flags[layout.REFRACTS] = adaptive, refracts
        flags[layout.SURROGATE], flags[layout.RELATIVE] = layout.SHAPES[self.surrogate], self.relative
        flags[layout.READOUT] = ("mean", "max", "last").index(self.readout) + 1 if self.readout else 0
        return flags


@dataclass(frozen=True)
class Spikes:
    """Spikes as lists: of instance k and sample b, segment t + 1 of `source[k, b]` are the neurons that fire at t.

    Attributes:
        source: Indices [K, B, T N], int32.
        start: First index of each segment [K, B, T + 2]; segment 0 are the spikes before the first step.
        memory: What lends the arrays.
    """

    source: Values
    start: Values
    memory: Lease = field(repr=False)


@dataclass(frozen=True)
class Inputs:
    """Inputs [1 or K, T, B, I] as the kernels want them: dense, or the list of what is not zero."""

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
        nothing = np.zeros(0, np.int64)
        if x.ndim == 3:
            rows = x.reshape(steps * batch, inputs)
            counts = np.count_nonzero(rows, axis=1)
            total = int(counts.sum())
            if total < SPARSE * rows.size:
                start = np.zeros(len(rows) + 1, np.int64)
                np.cumsum(counts, out=start[1:])
                source, factor = np.empty(total, np.int32), np.empty(total, x.dtype)
                run_jobs(nonzeros, len(rows), rows, source, factor, start)
                return cls(np.empty((1, 0, batch, inputs), x.dtype), source, factor, start, steps, batch)
        dense = np.ascontiguousarray(x if x.ndim == 4 else x[None])
        return cls(dense, np.zeros(0, np.int32), np.zeros(0, x.dtype), nothing, steps, batch)

    def block(self, instances: slice) -> Inputs:
        """Those of some instances."""
        return replace(self, x=self.x[instances])

    def arrays(self) -> tuple[Values, Values, Values, Values]:
        """For the kernels."""
        return self.x, self.source, self.factor, self.start


@dataclass(frozen=True)
class Tape:
    """What the backward pass needs of a forward pass."""

    kind: Kind
    flags: Values
    instances: int
    weights: Values
    recurrents: Values
    constants: Values
    inputs: Inputs | Spikes
    own: Spikes
    arrays: tuple[Values, Values, Values, Values]
    initial: Values
    lengths: Values
    logits: Values
    simple: bool
    memory: Lease = field(repr=False)


def by_source(weight: Values, memory: Lease, name: str) -> Values:
    """Weights (to, from) [N, I] or [K, N, I] as rows of sources [1 or K, I, width], padded with zeros."""
    matrices = weight if weight.ndim == 3 else weight[None]
    count, neurons, inputs = matrices.shape
    result = memory.empty(name, (count, inputs, layout.width(neurons)), weight.dtype)
    run_jobs(transpose, count * (-(-inputs // 32)), np.ascontiguousarray(matrices), result)
    return result


def constant_rows(values: dict[str, Values], neurons: int, dtype: Any) -> Values:  # noqa: ANN401 (a dtype)
    """Constants [N] or [K, N] by name as rows [1 or K, rows, capacity]."""
    count = max([len(v) for v in values.values() if v.ndim == 2], default=1)
    rows = zeros((count, layout.ZERO + 1, layout.capacity(neurons)), dtype)
    rows[:, layout.V_TH] = np.finfo(dtype).max
    rows[:, layout.A_SYN, :neurons] = 1  # no synapse: nothing of the current is left
    for name, value in values.items():
        rows[:, layout.CONSTANTS.index(name), :neurons] = value
    return rows


def forward(
    kind: Kind,
    weight: Values,
    recurrent: Values | None,
    constants: dict[str, Values],
    inputs: Inputs | Spikes,
    *,
    instances: int = 1,
    initial: Values | None = None,
    lengths: Values | None = None,
    want: frozenset[str] = frozenset(),
    tape: bool = False,
    constant_gradients: bool = True,
) -> tuple[dict[str, Values], Spikes, Tape | None]:
    """Run one layer over all steps.

    Args:
        kind: What it is.
        weight: (to, from) [N, I] or [K, N, I].
        recurrent: (to, from) [N, N] or [K, N, N].
        constants: [N] or [K, N] by name, see `layout.CONSTANTS`.
        inputs: Inputs, or the spikes of the layer below.
        instances: At least this many, also where no array has an instance axis.
        initial: State before the first step [1 or K, 5, B, N]: i, v, b, spikes, refractory steps left.
        lengths: Valid steps [B] for logits and rates.
        want: Which results: rates [K, B, N], spikes [K, T, B, N], final [K, 5, B, N].
        tape: Keep what `backward` needs.
        constant_gradients: Keep what the gradients of constants other than the bias need.

    Returns:
        Results by name (logits of a readout), the spikes, the tape.
    """
    memory = Lease()
    dtype, neurons = weight.dtype, kind.neurons
    rows = constant_rows(constants, neurons, dtype)
    n = layout.width(neurons)
    weights = by_source(weight, memory, "weight")
    recurrents = by_source(recurrent, memory, "recurrent") if recurrent is not None else np.empty((1, 0, n), dtype)
    flags = kind.flags(adaptive="a_adapt" in constants, refracts="refractory" in constants)
    if isinstance(inputs, Spikes):
        steps, batch, given = inputs.start.shape[2] - 2, inputs.start.shape[1], len(inputs.source)
        below = inputs.source, inputs.start
        listed = Inputs(np.empty((1, 0, batch, 1), dtype), *_no_list(dtype), steps, batch)
    else:
        steps, batch, given = inputs.steps, inputs.batch, len(inputs.x)
        below = np.empty((0, 0, 0), np.int32), np.empty((0, 0, 0), np.int32)
        listed = inputs
    count = max(instances, len(weights), len(recurrents), len(rows), given, 0 if initial is None else len(initial))
    state = initial if initial is not None else np.empty((0, 5, batch, neurons), dtype)
    spiking = kind.readout is None
    own = Spikes(
        memory.empty("own", (count, batch, steps * neurons + SLACK if spiking else 1), np.int32),
        memory.empty("starts", (count, batch, steps + 2), np.int32),
        memory,
    )
    simple = spiking and not (kind.soft or kind.relative or flags[layout.ADAPTIVE] or flags[layout.REFRACTS])
    simple = simple and not constant_gradients

    def kept(name: str, wanted: bool) -> Values:
        return memory.empty(name, (count if wanted else 0, batch, steps, n), dtype)

    arrays = (
        kept("potential", tape),
        kept("current", tape and not simple),
        kept("adapted", tape and bool(flags[layout.ADAPTIVE])),
        kept("wait", tape and bool(flags[layout.REFRACTS])),
    )
    valid = np.full(batch, steps, np.int64) if lengths is None else lengths.astype(np.int64)
    results = {
        "logits": zeros((0 if spiking else count, batch, n), dtype),
        "rates": np.zeros((count if "rates" in want else 0, batch, neurons), dtype),
        "spikes": np.zeros((count if "spikes" in want else 0, steps, batch, neurons), dtype),
        "final": np.zeros((count if "final" in want else 0, 5, batch, neurons), dtype),
    }
    limits = np.array([_dense_from(weights), _dense_from(recurrents)])
    run_jobs(
        forward_kernels.forward,
        count * -(-batch // GROUP),
        GROUP,
        flags,
        (weights, recurrents, rows),
        listed.arrays(),
        below,
        (own.source, own.start),
        tuple(results.values()),
        arrays,
        state,
        valid,
        limits,
    )
    record = None
    if tape:
        record = Tape(
            kind, flags, count, weights, recurrents, rows, inputs, own, arrays,
            state, valid, results["logits"], simple, memory,
        )  # fmt: skip
    return results, own, record


def _no_list(dtype: Any) -> tuple[Values, Values, Values]:  # noqa: ANN401 (a dtype)
    return np.zeros(0, np.int32), np.zeros(0, dtype), np.zeros(0, np.int64)


def _dense_from(weights: Values) -> float:
    """Share of active sources from which on rows are read for all samples at once."""
    return 0.7 if weights[0].nbytes <= CACHED_BYTES else 0.25


def backward(
    tape: Tape,
    *,
    above: tuple[Values, Values] | None = None,
    logits: Values | None = None,
    rates: Values | None = None,
    spikes: Values | None = None,
    final: Values | None = None,
    weights: bool = True,
    current: bool = False,
    state: bool = False,
) -> dict[str, Values]:
    """Gradients of one layer, per instance.

    Args:
        tape: Of the forward pass.
        above: Gradient of the currents of the layer above [K, T, B, width], and its weights by
            source [1 or K, N, width].
        logits: Gradient of a readout's logits [K, B, O].
        rates: Gradient of the mean rates [K, B, N].
        spikes: Gradient of the spikes [K, T, B, N].
        final: Gradient of the final state [K, 5, B, N].
        weights: Whether gradients of the weights are wanted.
        current: Whether that of the current is wanted.
        state: Whether that of the initial state is wanted.

    Returns:
        By name: weight [K, I, N] and recurrent [K, N, N] (from, to), the constants [K, N] by name, current
        [K, T, B, width], state [K, 5, B, N].
    """
    kind, memory, dtype = tape.kind, tape.memory, tape.weights.dtype
    n, count = layout.width(kind.neurons), tape.instances
    potentials = tape.arrays[0]
    batch, steps = potentials.shape[1:3]
    chunks = chunks_of(batch)
    inputs = tape.inputs
    if isinstance(inputs, Spikes):
        below, listed = (inputs.source, inputs.start), (np.empty((1, 0, batch, 1), dtype), *_no_list(dtype))
    else:
        below, listed = (np.empty((0, 0, 0), np.int32), np.empty((0, 0, 0), np.int32)), inputs.arrays()
    sums = (
        zeros((count, chunks, tape.weights.shape[1] if weights else 0, n), dtype),
        zeros((count, chunks, tape.recurrents.shape[1] if weights else 0, n), dtype),
        zeros((count, chunks, 8, n), dtype),
    )
    gu = memory.empty("gu", (count if current else 0, steps, batch, n), dtype)
    gstate = np.zeros((count if state else 0, 5, batch, kind.neurons), dtype)
    over = (np.empty((0, steps, batch, 8), dtype), np.empty((1, 0, 8), dtype)) if above is None else above
    given = (
        np.zeros((0, batch, n), dtype) if logits is None else _wide(logits, n),
        tape.logits,
        np.zeros((0, batch, kind.neurons), dtype) if rates is None else rates,
        np.zeros((0, steps, batch, kind.neurons), dtype) if spikes is None else spikes,
        np.zeros((0, 5, batch, kind.neurons), dtype) if final is None else final,
    )
    numbers = np.array([kind.slope, kind.dampening, 1e-12], dtype)
    run_jobs(
        backward_kernels.backward, count * chunks, chunks, tape.flags, tape.simple, numbers,
        (tape.recurrents, tape.constants), listed, below, (tape.own.source, tape.own.start), over, given, tape.arrays,
        tape.initial, tape.lengths, sums, gu, gstate,
    )  # fmt: skip
    weight, recurrent_sum, constants = (tree_sum(s) for s in sums)
    result = {"weight": weight[..., : kind.neurons], "recurrent": recurrent_sum[..., : kind.neurons]}
    for row, name in enumerate(layout.CONSTANTS[:8]):
        result[name] = constants[:, row, : kind.neurons]
    return {**result, "current": gu, "state": gstate}


def chunks_of(batch: int) -> int:
    """Chunks of a batch, each with its own sums: a power of two that depends on the batch alone."""
    return 1 << max(0, min(4, (batch // 8).bit_length() - 1))


def tree_sum(sums: Values) -> Values:
    """The sum over axis 1, pairwise in a fixed order; its length is a power of two."""
    while sums.shape[1] > 1:
        sums = sums[:, 0::2] + sums[:, 1::2]
    return sums[:, 0]


def _wide(values: Values, n: int) -> Values:
    result = np.zeros((*values.shape[:-1], n), values.dtype)
    result[..., : values.shape[-1]] = values
    return result
