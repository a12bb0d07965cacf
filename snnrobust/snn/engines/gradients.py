"""The fused engine for the CPU, backward: the gradients of one layer as a plain function on arrays."""

from __future__ import annotations

import numpy as np

from snnrobust.compiled import run_jobs
from snnrobust.snn.engines import layout
from snnrobust.snn.engines.fused import Tape
from snnrobust.snn.engines.kernels import backward as kernels
from snnrobust.snn.engines.kernels.rows import sum_chunks
from snnrobust.snn.engines.memory import Values, zeros

ACTIVE = 0.3
"""Share of neurons that pass a gradient from which on products are worked out for all of them."""


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
        above: Gradient of the currents of the layer above [K, T, B, width], and its weights by source
            [1 or K, N, width].
        logits: Gradient of a readout's logits [K, B, O].
        rates: Gradient of the mean rates [K, B, N].
        spikes: Gradient of the spikes [K, T, B, N].
        final: Gradient of the final state [K, 5, B, N].
        weights: Whether gradients of the weights are wanted.
        current: Whether that of the current is wanted.
        state: Whether that of the initial state is wanted.

    Returns:
        By name: weight [K, N, I] and recurrent [K, N, N] (to, from), the constants [K, N] by name, current
        [K, T, B, width], state [K, 5, B, N].
    """
    layer, memory = tape.layer, tape.memory
    kind, dtype, count = layer.kind, layer.weights.dtype, tape.instances
    n = layout.width(kind.neurons)
    batch, steps = tape.arrays[0].shape[1:3]
    chunks = chunks_of(batch)
    listed, below = tape.inputs.arrays(dtype)
    rows = layer.weights.shape[1] if weights else 0, layer.recurrents.shape[1] if weights else 0
    sums = (
        memory.empty("weight sums", (count, chunks, rows[0], n), dtype),
        memory.empty("recurrent sums", (count, chunks, rows[1], n), dtype),
        memory.empty("constant sums", (count, chunks, 8, n), dtype),
    )
    gu = memory.empty("gu", (count if current else 0, steps, batch, n), dtype)
    gstate = np.zeros((count if state else 0, 5, batch, kind.neurons), dtype)
    over = (np.empty((0, steps, batch, 8), dtype), np.empty((1, 0, 8), dtype)) if above is None else above
    given = (
        np.zeros((0, batch, n), dtype) if logits is None else _wide(logits, n),
        tape.logits,
        np.zeros((0, batch, kind.neurons), dtype) if rates is None else rates / tape.lengths[:, None].astype(dtype),
        np.zeros((0, steps, batch, kind.neurons), dtype) if spikes is None else spikes,
        np.zeros((0, 5, batch, kind.neurons), dtype) if final is None else final,
    )
    numbers = np.array([kind.slope, kind.dampening, 1e-12], dtype)
    run_jobs(
        kernels.backward, count * chunks, chunks, layer.flags, tape.simple, numbers, ACTIVE,
        (layer.recurrents, layer.constants), listed, below, (tape.own.source, tape.own.start), over, given, tape.arrays,
        tape.initial, tape.lengths, sums, gu, gstate,
    )  # fmt: skip
    weight, recurrent, constants = (total(s, kind.neurons) for s in sums)
    result = {"weight": weight, "recurrent": recurrent, "current": gu, "state": gstate}
    for row, name in enumerate(layout.CONSTANTS[:8]):
        result[name] = constants[:, :, row]
    return result


def chunks_of(batch: int) -> int:
    """Chunks of a batch, each with its own sums: a power of two that depends on the batch alone."""
    return 1 << max(0, min(4, (batch // 8).bit_length() - 1))


def total(sums: Values, neurons: int) -> Values:
    """The sums [K, chunks, J, width] over chunks, pairwise in a fixed order, as [K, neurons, J]; overwrites them."""
    count, _, rows, _ = sums.shape
    result = np.empty((count, neurons, rows), sums.dtype)
    run_jobs(sum_chunks, count * (-(-rows // 8)), sums, result)
    return result


def _wide(values: Values, n: int) -> Values:
    result = zeros((*values.shape[:-1], n), values.dtype)
    result[..., : values.shape[-1]] = values
    return result
