"""The time loop of neurons that reset hard, with nothing else: currents, update and spikes in one pass over neurons."""

from __future__ import annotations

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.currents import add_crowd, add_inputs, add_spikes, crowded
from snnrobust.snn.engines.kernels.neuron_vectors import kept_neurons, neurons
from snnrobust.snn.engines.kernels.row_vectors import AT_ONCE, find_rows
from snnrobust.snn.engines.layout import BIAS, POTENTIAL, V_LEAK, V_RESET, ZERO


@kernel
def rows_for(weights, n):
    """Room for the addresses of all weight rows of a sample: those of its inputs and of n neurons' spikes."""
    return np.empty(weights.shape[1] + n + 2 * AT_ONCE, np.int64)


@kernel
def all_ones(factor, start, stop):
    """Whether inputs are spikes."""
    ones = 0
    for e in range(start, stop):
        ones += factor[e] == 1
    return ones == stop - start


@kernel
def all_zero(constants, n):
    """1 if the leak, the reset and the bias of every neuron are 0, else 0."""
    others = 0
    for row in (V_LEAK, V_RESET, BIAS):
        for h in range(n):
            others += constants[row, h] != 0
    return 0 if others else 1


@kernel
def plain_steps(current, state, count, k, first, c, at_c, weights, own_w, x, input_source, factor, row_start,
                below_source, below_start, recurrents, own_r, source, start, kept, dense, limits):  # fmt: skip
    """All steps of a group of samples of one instance; arrays are those of `forward`, at_c the place of its constants.

    Inputs come before spikes, and what is added densely before what is added by list. One function, because a call with
    that many arrays costs as much as adding a few rows.
    """
    places, batch, steps, n = current.shape[1], start.shape[1], start.shape[2] - 2, weights.shape[2]
    layered, recurrent, keeps = below_start.shape[0] > 0, recurrents.shape[1] > 0, kept.shape[0] > 0
    at_w, at_r, rows = own_w * weights.shape[1] * n, own_r * recurrents.shape[1] * n, rows_for(weights, n)
    zero = all_zero(c[at_c // (c.shape[1] * places)], n)
    spiking = not layered and x.shape[2] == 0
    spiking = spiking and all_ones(factor, row_start[first * steps], row_start[(first + count) * steps])
    for t in range(steps):
        bias = ZERO if t == steps - 1 else BIAS
        crowd = layered and crowded(count, weights.shape[1], below_start, k, first, t + 1, limits[0])
        own_crowd = recurrent and crowded(count, n, start, k, first, t, limits[1])
        listed = not (crowd or own_crowd) and (layered or spiking)  # in the pass over neurons, with their own spikes
        if crowd:
            add_crowd(current, count, weights, own_w, below_source, below_start, k, first, t + 1, dense)
        elif layered and not listed:
            add_spikes(current, count, weights, own_w, below_source, below_start, k, first, t + 1)
        elif not listed:
            add_inputs(current, count, weights, own_w, x, input_source, factor, row_start, k, first, t, steps)
        if own_crowd:
            add_crowd(current, count, recurrents, own_r, source, start, k, first, t, dense)
        for g in range(count):
            sample, found = k * batch + first + g, 0
            if listed and layered:
                at = sample * below_source.shape[2]
                begin, end = at + below_start[k, first + g, t + 1], at + below_start[k, first + g, t + 2]
                find_rows(weights, at_w, n, below_source, begin, end, rows, 0)
                found = end - begin
            elif listed:
                begin, end = row_start[(first + g) * steps + t], row_start[(first + g) * steps + t + 1]
                find_rows(weights, at_w, n, input_source, begin, end, rows, 0)
                found = end - begin
            e = start[k, first + g, t + 1]
            if recurrent and not own_crowd:
                at = sample * source.shape[2]
                begin, end = at + start[k, first + g, t], at + e
                find_rows(recurrents, at_r, n, source, begin, end, rows, found)
                found += end - begin
            i, v, to = g * places, (POTENTIAL * state.shape[1] + g) * places, (sample * steps + t) * n
            end = sample * source.shape[2] + e
            if keeps:
                end = kept_neurons(
                    current, i, state, v, c, at_c, places, bias, kept, to, rows, found, n, zero, source, end
                )
            else:
                end = neurons(current, i, state, v, c, at_c, places, bias, kept, 0, rows, found, n, zero, source, end)
            start[k, first + g, t + 2] = end - sample * source.shape[2]
