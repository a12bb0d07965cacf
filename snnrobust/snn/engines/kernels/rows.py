"""Products with weight rows, lists of spikes and of inputs, and other layouts of matrices.

A row of a weight matrix [sources, neurons] belongs to one source. `add_product` adds its terms one by one in ascending
order of the source, as `row_vectors.add_rows` does, so that a sum is the same to the last bit whether zeros are skipped
or added; four rows at a time share one read and one write of it, which leaves the order as it is. `add_dots` and
`add_listed_dots` share the order of `row_vectors.dots_1`.
"""

from __future__ import annotations

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.llvm import APPENDED
from snnrobust.snn.engines.kernels.neuron_vectors import bits_of, lowest_bit
from snnrobust.snn.engines.kernels.row_vectors import AT_ONCE, dots_1, dots_2, dots_3, transpose_8

SLACK = AT_ONCE
"""Places that a list needs after its last: `find_rows` reads so many at once."""


@kernel
def scratch(rows, width, like):
    """An array [rows, width] of like's type that starts at a cache line, with the values that happen to be there."""
    memory = np.empty(rows * width + 16, like.dtype)
    first = -memory.ctypes.data % 64 // like.itemsize
    return memory[first : first + rows * width].reshape((rows, width))


@kernel
def append(source, k, sample, e, word, h0):
    """Write h0 + the bits of a word to a sample's list from place e on, in order; the place after them.

    Four are written at once, however many there are: nothing predicts where neurons spike, and a branch for each spike
    costs more than the update of the neurons.
    """
    one, end = np.uint64(1), e + bits_of(word)
    for n in range(APPENDED):
        source[k, sample, e + n] = h0 + lowest_bit(word)
        word &= word - one
    e += APPENDED
    while word != 0:
        source[k, sample, e] = h0 + lowest_bit(word)
        word &= word - one
        e += 1
    return end


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
def add_dots(totals, count, n, values, place, apart, rows, first, columns, length):
    """totals[s, c] += sum_j values[place + apart s + j] rows[first + length c + j], for s < count, c < columns <= n."""
    for c in range(0, columns, 4):
        r0, r1 = first + length * c, first + length * min(c + 1, columns - 1)
        r2, r3 = first + length * min(c + 2, columns - 1), first + length * min(c + 3, columns - 1)
        s = 0
        while s < count:
            at, to = place + apart * s, n * s + c
            if count - s == 1:
                dots_1(values, at, apart, rows, r0, r1, r2, r3, length, totals, to, n)
                s += 1
            elif count - s == 2 or count - s == 4:
                dots_2(values, at, apart, rows, r0, r1, r2, r3, length, totals, to, n)
                s += 2
            else:
                dots_3(values, at, apart, rows, r0, r1, r2, r3, length, totals, to, n)
                s += 3


@kernel
def add_listed_dots(totals, count, listed, found, values, place, apart, rows, first, length, products):
    """As `add_dots`, to the same bits, of the columns listed[0, s, :found[s]] alone."""
    for s in range(count):
        for e in range(0, found[s], 4):
            last = found[s] - 1
            c0, c1 = listed[0, s, e], listed[0, s, min(e + 1, last)]
            c2, c3 = listed[0, s, min(e + 2, last)], listed[0, s, min(e + 3, last)]
            r0, r1, r2, r3 = first + length * c0, first + length * c1, first + length * c2, first + length * c3
            for q in range(4):
                products[0, q] = totals[s, listed[0, s, min(e + q, last)]]
            dots_1(values, place + apart * s, apart, rows, r0, r1, r2, r3, length, products, 0, 0)
            for q in range(min(4, found[s] - e)):
                totals[s, listed[0, s, e + q]] = products[0, q]


@kernel
def scatter(row, n, source, start, stop):
    """row[:n] = 1 at the sources of start .. stop - 1, and 0 elsewhere."""
    for h in range(n):
        row[h] = 0
    for e in range(start, stop):
        row[source[e]] = 1


@kernel
def list_nonzeros(values, source, factor, first):
    """Of step t of sample b of values [T, B, n]: where they are not 0, and their values, from first[b T + t] on.

    Stops, and returns False, where the lists are too short; they need n or SLACK places after their last.
    """
    e, (steps, batch, n) = 0, values.shape
    room = len(source) - max(n, SLACK)
    for b in range(batch):
        for t in range(steps):
            first[b * steps + t] = e
            if e > room:
                return False
            at = e
            for j in range(n):  # counted apart, so that the next step does not wait for this one's places
                e += values[t, b, j] != 0
            for j in range(n):  # written in any case: a branch costs more where inputs are random
                source[at], factor[at] = j, values[t, b, j]
                at += values[t, b, j] != 0
    first[batch * steps] = e
    return True


@kernel
def transpose(start, stop, matrices, gain, result):
    """result[k, j, :n] = gain[k, :n] matrices[k, :n, j] and 0 from n on; job = 8 rows j of one k."""
    n, sources, width = matrices.shape[1], matrices.shape[2], result.shape[2]
    blocks = (sources + 7) // 8
    for job in range(start, stop):
        k, first = job // blocks, job % blocks * 8
        own = k % gain.shape[0]
        whole = n // 8 * 8 if first + 8 <= sources else 0
        for h in range(0, whole, 8):
            place, to = (k * n + h) * sources + first, (k * sources + first) * width + h
            transpose_8(matrices, place, sources, gain, own * n + h, result, to, width)
        for j in range(first, min(first + 8, sources)):
            for h in range(whole, n):
                result[k, j, h] = gain[own, h] * matrices[k, h, j]
            result[k, j, n:] = np.float32(0)


@kernel
def sum_chunks(start, stop, sums, result):
    """result[k, h, j] = sum_c sums[k, c, j, h], pairwise over chunks, a power of two; job = 8 rows j.

    Overwrites sums.
    """
    count, sources, n = sums.shape[1], sums.shape[2], result.shape[1]
    blocks = (sources + 7) // 8
    for job in range(start, stop):
        k, first = job // blocks, job % blocks * 8
        last = min(first + 8, sources)
        apart = 1
        while apart < count:
            for c in range(0, count, 2 * apart):
                for j in range(first, last):
                    for h in range(sums.shape[3]):
                        sums[k, c, j, h] += sums[k, c + apart, j, h]
            apart *= 2
        for h in range(n):
            for j in range(first, last):
                result[k, h, j] = sums[k, 0, j, h]
