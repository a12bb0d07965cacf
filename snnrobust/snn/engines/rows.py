"""Sums of weight rows, the inner loops of the fused engine: event-driven, dense, and their transposes.

A row of a weight matrix [sources, neurons] belongs to one source. Every accumulator takes its terms one by one in
ascending order of the source, in all functions here, so that it is the same to the last bit whether zeros are skipped
or added. Four rows at a time share one read and one write of the accumulator, which leaves the order as it is.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snnrobust.compiled import kernel

MASK = 64
"""Neurons whose spikes `fired` tells at once; rows it reads have a multiple of this capacity."""


@intrinsic
def fired(context, v, place, threshold, other):
    """Bits h of a 64-bit word: v > threshold at the flat places `place` + h of v and `other` + h of threshold.

    Both are contiguous arrays of one type. One vector comparison: a loop that looks for spikes costs more than the
    whole update of the neurons, because no branch predictor knows where they are.
    """

    def generate(target, builder, signature, arguments):
        vector = ir.VectorType(target.get_value_type(signature.args[0].dtype), MASK)

        def load(n):
            data = target.make_array(signature.args[n])(target, builder, arguments[n]).data
            address = builder.bitcast(builder.gep(data, [arguments[n + 1]]), vector.as_pointer())
            return builder.load(address, align=4)

        return builder.bitcast(builder.fcmp_ordered(">", load(0), load(2)), ir.IntType(MASK))

    return types.uint64(v, types.int64, threshold, types.int64), generate


@intrinsic
def lowest_bit(context, word):
    """Position of the lowest bit that is set in a word that is not 0."""

    def generate(target, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@kernel
def scratch(rows, width, like):
    """An array [rows, width] of like's type that starts at a cache line, with the values that happen to be there."""
    memory = np.empty(rows * width + 16, like.dtype)
    first = -memory.ctypes.data % 64 // like.itemsize
    return memory[first : first + rows * width].reshape((rows, width))


# Rows are indexed, never taken out as views: counting a view's references costs as much as adding a row.


@kernel
def add_rows(totals, g, rows, n, source, k, sample, start, stop):
    """totals[g, :n] += rows[source[k, sample, e], :n] for e in start .. stop - 1."""
    e = start
    while e + 4 <= stop:
        a, b = source[k, sample, e], source[k, sample, e + 1]
        c, d = source[k, sample, e + 2], source[k, sample, e + 3]
        for h in range(n):
            totals[g, h] = (((totals[g, h] + rows[a, h]) + rows[b, h]) + rows[c, h]) + rows[d, h]
        e += 4
    while e < stop:
        a = source[k, sample, e]
        for h in range(n):
            totals[g, h] += rows[a, h]
        e += 1


@kernel
def add_scaled_rows(totals, g, rows, n, source, factor, start, stop):
    """totals[g, :n] += factor[e] rows[source[e], :n] for e in start .. stop - 1."""
    e = start
    while e + 4 <= stop:
        a, b, c, d = source[e], source[e + 1], source[e + 2], source[e + 3]
        p, q, r, s = factor[e], factor[e + 1], factor[e + 2], factor[e + 3]
        for h in range(n):
            totals[g, h] = (((totals[g, h] + p * rows[a, h]) + q * rows[b, h]) + r * rows[c, h]) + s * rows[d, h]
        e += 4
    while e < stop:
        a, p = source[e], factor[e]
        for h in range(n):
            totals[g, h] += p * rows[a, h]
        e += 1


@kernel
def add_product(totals, count, rows, n, factors, sources):
    """totals[s, :n] += sum_j factors[s, j] rows[j, :n] for s < count, j < sources: a row is read once for all s."""
    j = 0
    while j + 4 <= sources:
        for s in range(count):
            p, q, r, t = factors[s, j], factors[s, j + 1], factors[s, j + 2], factors[s, j + 3]
            for h in range(n):
                total = ((totals[s, h] + p * rows[j, h]) + q * rows[j + 1, h]) + r * rows[j + 2, h]
                totals[s, h] = total + t * rows[j + 3, h]
        j += 4
    while j < sources:
        for s in range(count):
            p = factors[s, j]
            for h in range(n):
                totals[s, h] += p * rows[j, h]
        j += 1


@kernel
def add_outer(totals, sources, values, count, n, factors):
    """totals[j, :n] += sum_s factors[s, j] values[s, :n] for j < sources, s < count."""
    s = 0
    while s + 4 <= count:
        for j in range(sources):
            p, q, r, t = factors[s, j], factors[s + 1, j], factors[s + 2, j], factors[s + 3, j]
            for h in range(n):
                total = ((totals[j, h] + p * values[s, h]) + q * values[s + 1, h]) + r * values[s + 2, h]
                totals[j, h] = total + t * values[s + 3, h]
        s += 4
    while s < count:
        for j in range(sources):
            p = factors[s, j]
            for h in range(n):
                totals[j, h] += p * values[s, h]
        s += 1


@kernel
def add_to_rows(totals, source, k, sample, start, stop, values, g, n):
    """totals[source[k, sample, e], :n] += values[g, :n] for e in start .. stop - 1."""
    for e in range(start, stop):
        j = source[k, sample, e]
        for h in range(n):
            totals[j, h] += values[g, h]


@kernel
def add_scaled_to_rows(totals, source, factor, start, stop, values, g, n):
    """totals[source[e], :n] += factor[e] values[g, :n] for e in start .. stop - 1."""
    for e in range(start, stop):
        j, p = source[e], factor[e]
        for h in range(n):
            totals[j, h] += p * values[g, h]


@kernel
def scatter(row, n, source, start, stop):
    """row[:n] = 1 at the sources of start .. stop - 1, and 0 elsewhere."""
    for h in range(n):
        row[h] = 0
    for e in range(start, stop):
        row[source[e]] = 1


@kernel
def nonzeros(start, stop, values, source, factor, first):
    """Of rows start .. stop - 1 of values [rows, n]: where they are not 0, and their values, from first[row] on."""
    for r in range(start, stop):
        e = first[r]
        for j in range(values.shape[1]):
            if values[r, j] != 0:
                source[e], factor[e] = j, values[r, j]
                e += 1


@kernel
def transpose(start, stop, matrices, result):
    """result[k, j, :n] = matrices[k, :n, j] and 0 from n on; job = 32 rows j of one k, in blocks that fit the cache."""
    n, sources = matrices.shape[1], matrices.shape[2]
    blocks = (sources + 31) // 32
    for job in range(start, stop):
        k, first = job // blocks, job % blocks * 32
        last = min(first + 32, sources)
        for h0 in range(0, n, 32):
            for h in range(h0, min(h0 + 32, n)):
                for j in range(first, last):
                    result[k, j, h] = matrices[k, h, j]
        for j in range(first, last):
            result[k, j, n:] = np.float32(0)
