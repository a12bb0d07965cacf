"""The fused time loop: one job is one instance and a group of samples, whose state stays in the cache.

A spike adds one row of recurrent weights, so a step costs what the network fires. Where most sources are active,
rows are read once for the whole group instead; both ways add the same terms in the same order. Equations and their
order of operations are those of `snnrobust.snn.neurons`, but that the synaptic current takes the bias, the inputs and
the spikes one by one.
"""

from __future__ import annotations

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.currents import add_crowd, add_inputs, add_spikes, crowded
from snnrobust.snn.engines.kernels.neuron_vectors import MASK, fired
from snnrobust.snn.engines.kernels.plain import plain_steps
from snnrobust.snn.engines.kernels.reading import read_inputs, read_spikes
from snnrobust.snn.engines.kernels.rows import append, scatter, scratch
from snnrobust.snn.engines.layout import (
    A_ADAPT,
    A_MEM,
    A_SYN,
    ADAPTATION,
    ADAPTED,
    ADAPTIVE,
    BIAS,
    MAX,
    MEAN,
    NEURONS,
    POTENTIAL,
    READOUT,
    READS,
    RECURRENT,
    REFRACTORY,
    REFRACTS,
    SOFT,
    SPIKES,
    STATE_ROWS,
    THRESHOLD,
    V_LEAK,
    V_RESET,
    V_TH,
    WAIT,
    ZERO,
)


@kernel
def membrane(current, state, count, c, n, bias):
    """Synapse and membrane without spikes; a layer without a synapse has a_syn = 1. The next bias is added at once."""
    for g in range(count):
        for h in range(n):
            i, v = current[g, h], state[POTENTIAL, g, h]
            state[POTENTIAL, g, h] = v + c[A_MEM, h] * ((c[V_LEAK, h] - v) + i)
            current[g, h] = (i - c[A_SYN, h] * i) + c[bias, h]


@kernel
def adapt(state, count, c, n):
    """b <- b + a (o - b); the row `THRESHOLD` is v_th + adaptation b."""
    for g in range(count):
        for h in range(n):
            b = state[ADAPTED, g, h]
            b = b + c[A_ADAPT, h] * (state[SPIKES, g, h] - b)
            state[ADAPTED, g, h] = b
            state[THRESHOLD, g, h] = c[V_TH, h] + c[ADAPTATION, h] * b


@kernel
def spikes_of_rows(state, count, c, n, refracts):
    """The row `SPIKES`, [v > threshold] and 0 while refractory."""
    zero, one = state.dtype.type(0), state.dtype.type(1)  # an integer would make double precision of single
    for g in range(count):
        for h in range(n):
            state[SPIKES, g, h] = one if state[POTENTIAL, g, h] > state[THRESHOLD, g, h] else zero
        if refracts:
            for h in range(n):
                o = state[SPIKES, g, h] if state[WAIT, g, h] <= zero else zero
                state[WAIT, g, h] = c[REFRACTORY, h] if o > zero else state[WAIT, g, h] - one
                state[SPIKES, g, h] = o


@kernel
def collect(state, count, c, hard, k, first, t, source, start):
    """Append the neurons whose row `SPIKES` is not 0; a hard reset sets v there."""
    places = c.shape[1]
    for g in range(count):
        sample = first + g
        begin = e = start[k, sample, t + 1]
        for h0 in range(0, places, MASK):
            word = fired(state, (SPIKES * state.shape[1] + g) * places + h0, c, ZERO * places + h0)
            e = append(source, k, sample, e, word, h0)
        if hard:
            for spike in range(begin, e):
                h = source[k, sample, spike]
                state[POTENTIAL, g, h] = c[V_RESET, h]
        start[k, sample, t + 2] = e


@kernel
def begin(current, state, count, c, k, first, initial, source, start):
    """State before the first step: at rest, or `initial` [K, 5, B, N] if it is not empty."""
    for g in range(count):
        sample = first + g
        state[:, g] = 0
        state[THRESHOLD, g] = c[V_TH]
        state[POTENTIAL, g] = c[V_LEAK]
        current[g] = c[BIAS]
        e = 0
        if initial.shape[0] > 0:
            given = initial[k % initial.shape[0]]
            for h in range(given.shape[2]):
                current[g, h] = given[0, sample, h] + c[BIAS, h]
                for r in (POTENTIAL, ADAPTED, SPIKES, WAIT):
                    state[r, g, h] = given[r, sample, h]
                if given[SPIKES, sample, h] != 0:
                    source[k, sample, e] = h
                    e += 1
        start[k, sample, 0], start[k, sample, 1] = 0, e


@kernel
def keep(state, count, row, n, k, first, t, rows):
    """Note a row of each sample's state in rows [K, B, T, width]."""
    for g in range(count):
        for h in range(n):
            rows[k, first + g, t, h] = state[row, g, h]


@kernel
def keep_current(current, count, n, k, first, t, rows):
    """Note each sample's synaptic current."""
    for g in range(count):
        for h in range(n):
            rows[k, first + g, t, h] = current[g, h]


@kernel
def decode(state, count, n, t, k, first, lengths, how, result):
    """Take v of step t into the mean, maximum or last value over the valid steps."""
    for g in range(count):
        sample, length = first + g, lengths[first + g]
        if t >= length:
            continue
        if how == MEAN:
            for h in range(n):
                result[k, sample, h] += state[POTENTIAL, g, h]
        elif how == MAX and t > 0:
            for h in range(n):
                v = state[POTENTIAL, g, h]
                if v > result[k, sample, h] or v != v:  # NaN stays, so that it is reported
                    result[k, sample, h] = v
        elif how == MAX or t == length - 1:
            for h in range(n):
                result[k, sample, h] = state[POTENTIAL, g, h]


@kernel
def step(current, state, count, c, n, bias, t, k, first, flags, source, start, lengths, logits, tape):
    """One step of a group's neurons, given their currents; new spikes are segment t + 1 of each sample's list."""
    potentials, currents, adapted, quiet = tape
    if currents.shape[0] > 0:
        keep_current(current, count, n, k, first, t, currents)
    if flags[ADAPTIVE]:
        adapt(state, count, c, n)
        if adapted.shape[0] > 0:
            keep(state, count, ADAPTED, n, k, first, t, adapted)
    membrane(current, state, count, c, n, bias)
    if flags[SOFT]:
        for g in range(count):
            for h in range(n):
                state[POTENTIAL, g, h] -= state[THRESHOLD, g, h] * state[SPIKES, g, h]
    if potentials.shape[0] > 0:
        keep(state, count, POTENTIAL, n, k, first, t, potentials)
    if quiet.shape[0] > 0:
        keep(state, count, WAIT, n, k, first, t, quiet)
    if flags[READOUT]:
        decode(state, count, n, t, k, first, lengths, flags[READOUT], logits)
    else:
        spikes_of_rows(state, count, c, n, flags[REFRACTS])
        collect(state, count, c, not flags[SOFT], k, first, t, source, start)


@kernel
def finish(current, state, g, flags, steps, k, sample, own, own_start, length, logits, rates, spikes, final):
    """Means, dense spikes and the last state of one sample, where they are wanted."""
    start, source, neurons = own_start[k, sample], own[k, sample], flags[NEURONS]
    if flags[READOUT] == MEAN:
        for h in range(neurons):
            logits[k, sample, h] /= length
    if rates.shape[0] > 0:
        for e in range(start[1], start[length + 1]):
            rates[k, sample, source[e]] += 1
        for h in range(neurons):
            rates[k, sample, h] /= length
    if spikes.shape[0] > 0:
        for t in range(steps):
            for e in range(start[t + 1], start[t + 2]):
                spikes[k, t, sample, source[e]] = 1
    if final.shape[0] > 0:
        if flags[READOUT] == 0:
            scatter(state[SPIKES, g], state.shape[2], source, start[steps], start[steps + 1])
        for h in range(neurons):
            final[k, 0, sample, h] = current[g, h]
            for r in (POTENTIAL, ADAPTED, SPIKES, WAIT):
                final[k, r, sample, h] = state[r, g, h]


@kernel
def forward(first_job, last_job, group, flags, parameters, reading, inputs, below, own, results, tape, initial, lengths,
            limits):  # fmt: skip
    """One layer over all steps; job = one instance and one group of samples. Empty arrays are what nobody wants.

    Args:
        first_job: First job.
        last_job: After the last job.
        group: Samples that a job runs side by side.
        flags: What the layer is, see `layout`.
        parameters: weight [K, I, width], recurrent [K, N or 0, width], constants [K, rows, capacity]; an array with one
            instance serves all.
        reading: How a crossbar is read: flags, numbers of columns [K, rows, capacity], keys [K]; see `reading`.
        inputs: x [K, B, T, I] dense, or of 0 steps; then the sources, factors and first indices of `nonzeros`.
        below: Spikes of the layer below instead of inputs: lists [K, B, (T + 1) N] and starts [K, B, T + 2], or empty.
        own: This layer's, to be written.
        results: logits [K, B, width], rates [K, B, N], spikes [K, T, B, N], final state [K, 5, B, N].
        tape: v before the reset, i, b, refractory steps left, [K, B, T, width] each.
        initial: State [K, 5, B, N].
        lengths: Valid steps [B].
        limits: Shares of active sources from which on the dense path is faster: of inputs and of own spikes.
    """
    weights, recurrents, constants = parameters
    x, source, factor, row_start = inputs
    below_source, below_start = below
    own_source, own_start = own
    logits, rates, spikes, final = results
    n, batch, steps = weights.shape[2], lengths.shape[0], own_start.shape[2] - 2
    groups, places = (batch + group - 1) // group, constants.shape[2]
    current = scratch(group, places, constants)
    state = scratch(STATE_ROWS * group, places, constants).reshape((STATE_ROWS, group, places))
    dense = np.empty((group, max(weights.shape[1], n)), weights.dtype)
    how, columns, keys = reading
    read_rows, width = scratch(3, places, constants), max(weights.shape[1], n)
    own_list, own_factor = np.empty(width + 1, np.int32), np.empty(width + 1, weights.dtype)
    spare = np.empty(width + 1, np.int32), np.empty(width + 1, weights.dtype), np.empty(width + 1, weights.dtype)
    plain = not (
        how[READS] or flags[READOUT] or flags[SOFT] or flags[ADAPTIVE] or flags[REFRACTS] or tape[1].shape[0] > 0
    )
    layered, recurrent = below_start.shape[0] > 0, recurrents.shape[1] > 0
    for job in range(first_job, last_job):
        k, first = job // groups, job % groups * group
        count = min(group, batch - first)
        own_w, own_r, own_c = k % weights.shape[0], k % recurrents.shape[0], k % constants.shape[0]
        c = constants[own_c]
        begin(current, state, count, c, k, first, initial, own_source, own_start)
        if plain:
            plain_steps(
                current, state, count, k, first, constants, own_c * constants.shape[1] * places, weights, own_w, x,
                source, factor, row_start, below_source, below_start, recurrents, own_r, own_source, own_start,
                tape[0], dense, limits,
            )  # fmt: skip
        column, key = columns[k % columns.shape[0]], keys[k % keys.shape[0]]
        for t in range(0 if plain else steps):
            if how[READS] and layered:
                read_spikes(
                    current, count, weights, own_w, below_source, below_start, k, first, t + 1, 0, t, key, column, how,
                    read_rows, spare,
                )  # fmt: skip
            elif how[READS]:
                read_inputs(
                    current, count, weights, own_w, x, source, factor, row_start, k, first, t, steps, key, column, how,
                    read_rows, own_list, own_factor, spare,
                )  # fmt: skip
            elif layered and crowded(count, weights.shape[1], below_start, k, first, t + 1, limits[0]):
                add_crowd(current, count, weights, own_w, below_source, below_start, k, first, t + 1, dense)
            elif layered:
                add_spikes(current, count, weights, own_w, below_source, below_start, k, first, t + 1)
            else:
                add_inputs(current, count, weights, own_w, x, source, factor, row_start, k, first, t, steps)
            if recurrent and how[READS]:
                read_spikes(
                    current, count, recurrents, own_r, own_source, own_start, k, first, t, RECURRENT, t, key, column,
                    how, read_rows, spare,
                )  # fmt: skip
            elif recurrent and crowded(count, n, own_start, k, first, t, limits[1]):
                add_crowd(current, count, recurrents, own_r, own_source, own_start, k, first, t, dense)
            elif recurrent:
                add_spikes(current, count, recurrents, own_r, own_source, own_start, k, first, t)
            bias = ZERO if t == steps - 1 else BIAS
            step(current, state, count, c, n, bias, t, k, first, flags, own_source, own_start, lengths, logits, tape)
        for g in range(count):
            sample = first + g
            finish(
                current, state, g, flags, steps, k, sample, own_source, own_start, lengths[sample],
                logits, rates, spikes, final,
            )  # fmt: skip
