"""Currents of a group of samples: weight rows of inputs and spikes, by list or, where most are active, densely."""

from __future__ import annotations

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.row_vectors import add_all_rows, add_rows, add_scaled_rows
from snnrobust.snn.engines.kernels.rows import add_product, scatter


@kernel
def crowded(count, sources, start, k, first, t, limit):
    """Whether more than a share of the sources is in segment t of a group's lists, so that the dense path is faster."""
    total = 0
    for g in range(count):
        total += start[k, first + g, t + 1] - start[k, first + g, t]
    return count > 1 and total > limit * count * sources


@kernel
def add_crowd(current, count, weights, instance, source, start, k, first, t, dense):
    """Add the weight rows of the spikes in segment t of each sample's list, reading every row once for all samples."""
    sources = weights.shape[1]
    for g in range(count):
        own = start[k, first + g]
        scatter(dense[g], sources, source[k, first + g], own[t], own[t + 1])
    add_product(current, count, weights[instance], weights.shape[2], dense, sources)


@kernel
def add_spikes(current, count, weights, instance, source, start, k, first, t):
    """Add the weight rows of the spikes in segment t of each sample's list."""
    sources, n, places, most = weights.shape[1], weights.shape[2], current.shape[1], source.shape[2]
    for g in range(count):
        sample = first + g
        at = (k * start.shape[1] + sample) * most
        add_rows(
            current, g * places, weights, instance * sources * n, n, source, current,
            at + start[k, sample, t], at + start[k, sample, t + 1],
        )  # fmt: skip


@kernel
def add_inputs(current, count, weights, instance, x, source, factor, row_start, k, first, t, steps):
    """Add the weight rows of the inputs, all of them or those that are listed."""
    places, n, at_w = current.shape[1], weights.shape[2], instance * weights.shape[1] * weights.shape[2]
    for g in range(count):
        if x.shape[2] > 0:
            at = ((k % x.shape[0] * x.shape[1] + first + g) * steps + t) * x.shape[3]
            add_all_rows(current, g * places, weights, at_w, n, source, x, at, at + x.shape[3])
        else:
            row = (first + g) * steps + t
            add_scaled_rows(current, g * places, weights, at_w, n, source, factor, row_start[row], row_start[row + 1])
