"""Products of rates with a readout's weights, and their gradients; sums run in an order that the sizes alone give."""

from __future__ import annotations

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.rows import add_dots, add_product


@kernel
def products(start, stop, together, rates, weights, bias, result):
    """result[k, b, :O] = weights[k] rates[k, b] + bias[k]; job = some samples of one k.

    Args:
        start: First job.
        stop: After the last job.
        together: Samples of a job.
        rates: [1 or K, B, N], N a multiple of 8.
        weights: [1 or K, O, N].
        bias: [1 or K, O].
        result: [K, B, at least O, a multiple of 4].
    """
    batch, n, outputs, wide = rates.shape[1], rates.shape[2], weights.shape[1], result.shape[2]
    groups = (batch + together - 1) // together
    for job in range(start, stop):
        k, first = job // groups, job % groups * together
        count = min(together, batch - first)
        totals = result[k, first : first + count]
        added = bias[k % bias.shape[0]]
        for s in range(count):
            for c in range(wide):
                totals[s, c] = added[c] if c < outputs else 0
        place = (k % rates.shape[0] * batch + first) * n
        add_dots(totals, count, wide, rates, place, n, weights, k % weights.shape[0] * outputs * n, outputs, n)


@kernel
def row_gradients(start, stop, together, gradient, weights, result):
    """result[k, b] = sum_o gradient[k, b, o] weights[k, o]; job = some samples of one k."""
    batch, outputs, n = result.shape[1], weights.shape[1], weights.shape[2]
    groups = (batch + together - 1) // together
    for job in range(start, stop):
        k, first = job // groups, job % groups * together
        count = min(together, batch - first)
        totals = result[k, first : first + count]
        totals[:] = 0
        add_product(totals, count, weights[k % weights.shape[0]], n, gradient[k, first : first + count], outputs)


@kernel
def matrix_gradients(start, stop, gradient, rates, result):
    """result[k, o] = sum_b gradient[k, o, b] rates[k, b]; job = one k."""
    outputs, batch, n = gradient.shape[1], gradient.shape[2], rates.shape[2]
    for k in range(start, stop):
        result[k] = 0
        add_product(result[k], outputs, rates[k % rates.shape[0]], n, gradient[k], batch)
