"""Reads of a crossbar, one for each tile and step: noise and an ADC between the weighted sum and the current."""

from __future__ import annotations

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.normal_vectors import normals
from snnrobust.snn.engines.kernels.row_vectors import add_rows, add_scaled_rows, add_scaled_sizes, add_sizes
from snnrobust.snn.engines.layout import (
    BOUND,
    CLOCKED,
    DROP,
    DROPS,
    FIRST_SAMPLE,
    NOISE,
    NOISY,
    OFFSET,
    QUANTISED,
    RECURRENT,
    RECURRENT_DROP,
    STEP,
    TILE_ROWS,
    WEIGHT_NOISE,
)


@kernel
def fill_normals(start, stop, keys, read, first_step, first_sample, result):
    """Job = one instance and one step."""
    steps, batch, n = result.shape[1], result.shape[2], result.shape[3]
    for job in range(start, stop):
        k, t = job // steps, job % steps
        for b in range(batch):
            normals(result, (job * batch + b) * n, n, first_step + t, first_sample + b, read, keys[k])


@kernel
def lose(weights, at, n, source, factor, scaled, start, stop, low, sources, c, row, rows, spare):
    """Take what bit lines lose from the sums `rows[0]` of a tile, whose sources count from `low`."""
    places = rows.shape[1]
    listed, far, root = spare
    for e in range(start, stop):
        x = factor[e] if scaled else rows.dtype.type(1)
        near = 1 - (source[e] - low) / sources
        listed[e - start], far[e - start], root[e - start] = source[e], x * (1 - near * near), np.sqrt(abs(x))
    for h in range(n):
        rows[1, h], rows[2, h] = 0, 0
    add_scaled_sizes(rows, places, weights, at, n, listed, root, 0, stop - start)
    add_scaled_rows(rows, 2 * places, weights, at, n, listed, far, 0, stop - start)
    for h in range(n):
        a = c[row, h] * sources * rows[1, h]
        rows[0, h] -= a * (a * (0.05 * a - 0.2) + 0.5) * rows[2, h]


@kernel
def read_list(current, g, weights, matrix, source, factor, scaled, start, stop, first, t, sample, key, c, flags, rows,
              spare):  # fmt: skip
    """Read the tiles of one matrix for one sample, and add what they give to its current.

    The list goes from place `start` to `stop`, in ascending order; its factors count if `scaled`. `first` is the number
    of the first read, `c` are the numbers of the columns. `rows` is scratch: sums, sizes and normals [3, capacity];
    `spare`, too: a list of a tile's sources, and two of values.
    """
    n, sources, places = weights.shape[2], weights.shape[1], rows.shape[1]
    height = flags[TILE_ROWS] if flags[TILE_ROWS] > 0 else sources
    at, e, flat = matrix * sources * n, start, source.reshape(source.size)
    for tile in range((sources + height - 1) // height):
        end = stop if height >= sources else e
        while end < stop and flat[end] < (tile + 1) * height:
            end += 1
        if end == e and not flags[CLOCKED]:
            continue
        for h in range(n):
            rows[0, h] = 0
        if scaled:
            add_scaled_rows(rows, 0, weights, at, n, source, factor, e, end)
        else:
            add_rows(rows, 0, weights, at, n, source, factor, e, end)
        if flags[DROPS]:
            row, low = DROP if first < RECURRENT else RECURRENT_DROP, tile * height
            lose(
                weights, at, n, flat, factor, scaled, e, end, low, min(height, sources - low), c, row, rows, spare
            )  # fmt: skip
        for h in range(n):
            rows[0, h] += c[OFFSET, h]
        if flags[NOISY]:
            for h in range(n):
                rows[1, h] = 0
            if scaled:
                add_scaled_sizes(rows, places, weights, at, n, source, factor, e, end)
            else:
                add_sizes(rows, places, weights, at, n, source, factor, e, end)
            normals(rows, 2 * places, n, t, sample, first + tile, key)
            for h in range(n):
                rows[0, h] += np.sqrt(c[NOISE, h] + c[WEIGHT_NOISE, h] * rows[1, h]) * rows[2, h]
        if flags[QUANTISED]:
            for h in range(n):
                y = min(max(c[STEP, h] * np.rint(rows[0, h] / c[STEP, h]), -c[BOUND, h]), c[BOUND, h])
                rows[0, h] = y if c[STEP, h] > 0 else rows[0, h]
        for h in range(n):
            current[g, h] += rows[0, h]
        e = end


@kernel
def read_inputs(current, count, weights, matrix, x, source, factor, row_start, k, first, t, steps, key, c, flags, rows,
                own_source, own_factor, spare):  # fmt: skip
    """Read inputs, dense or listed, of a group; `own_source`, `own_factor` are scratch for the list of dense ones."""
    for g in range(count):
        sample = flags[FIRST_SAMPLE] + first + g
        if x.shape[2] == 0:
            row = (first + g) * steps + t
            read_list(
                current, g, weights, matrix, source, factor, True, row_start[row], row_start[row + 1], 0, t, sample,
                key, c, flags, rows, spare,
            )  # fmt: skip
            continue
        e = 0
        for j in range(x.shape[3]):
            value = x[k % x.shape[0], first + g, t, j]
            own_source[e], own_factor[e] = j, value
            e += value != 0
        read_list(
            current, g, weights, matrix, own_source, own_factor, True, 0, e, 0, t, sample, key, c, flags, rows, spare
        )  # fmt: skip


@kernel
def read_spikes(current, count, weights, matrix, source, start, k, first, segment, read, t, key, c, flags, rows, spare):
    """Read the spikes in a segment of each sample's list of a group."""
    for g in range(count):
        at = (k * start.shape[1] + first + g) * source.shape[2]
        begin, end = at + start[k, first + g, segment], at + start[k, first + g, segment + 1]
        sample = flags[FIRST_SAMPLE] + first + g
        read_list(
            current, g, weights, matrix, source, spare[1], False, begin, end, read, t, sample, key, c, flags, rows,
            spare,
        )  # fmt: skip
