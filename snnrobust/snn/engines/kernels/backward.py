"""Exact backpropagation through time for the fused engine; one job is one instance and a chunk of samples.

For step t, with v' the potential before the reset, r = (v' - threshold) / scale and f the surrogate:

    go = dL/do_t                (from above, from u of step t + 1 through the recurrent weights, from b, v of t + 1)
    gv' = gv (1 - o) or gv,  + go f(r) dr/dv';        gi = gi (1 - a_syn) + gv' a_mem
    du_t = gi;   dW += x_t du_t;   dW_rec += o_(t-1) du_t;   gv <- gv' (1 - a_mem)

where gv, gi are those of v and i after step t. All samples of a chunk go through a step together, so that a weight row
is read once for all of them; where f has compact support and is mostly 0, go is worked out for the other neurons alone,
to the same bits. A chunk has its own sums; the number of chunks depends on the batch alone.
"""

from __future__ import annotations

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.back_steps import (
    CARRY,
    GB,
    GV,
    ROWS,
    F,
    decoded_back,
    derivative,
    distances,
    from_outside,
    list_active,
    potential_before,
    step_back,
    through_hard_spikes,
    through_membrane,
)
from snnrobust.snn.engines.kernels.neuron_vectors import fetch
from snnrobust.snn.engines.kernels.row_vectors import spread, spread_scaled
from snnrobust.snn.engines.kernels.rows import SLACK, add_dots, add_listed_dots, add_product, scratch
from snnrobust.snn.engines.layout import (
    ATTACHED,
    NEURONS,
    READOUT,
    SURROGATE,
    TRIANGLE,
    V_TH,
)

SPAN = 16
"""Steps after which weight gradients are taken, at once: they and the weights do not fit the cache together."""


@kernel
def take_weights(low, high, k, first, count, n, batch, inputs, below, own, kept, place, pitch, gw, gr):
    """Add to the gradients of weights what steps high - 1 .. low give; gi of step t lies at place + pitch (t - low)."""
    x, source, factor, row_start = inputs
    below_source, below_start = below
    own_source, own_start = own
    for t in range(high - 1, low - 1, -1):
        for s in range(count):
            b, gi = first + s, place + pitch * (t - low) + n * s
            if below_start.shape[0] > 0:
                at = (k * batch + b) * below_source.shape[2]
                begin, end = at + below_start[k, b, t + 1], at + below_start[k, b, t + 2]
                spread(gw, 0, n, below_source, kept, begin, end, kept, gi)
            elif x.shape[2] == 0:
                row = b * (own_start.shape[2] - 2) + t
                spread_scaled(gw, 0, n, source, factor, row_start[row], row_start[row + 1], kept, gi)
            if gr.shape[0] > 0:
                at = (k * batch + b) * own_source.shape[2]
                spread(gr, 0, n, own_source, kept, at + own_start[k, b, t], at + own_start[k, b, t + 1], kept, gi)
        if below_start.shape[0] == 0 and x.shape[2] > 0:
            gi = place + pitch * (t - low)
            values = kept[gi : gi + n * count].reshape((count, n))
            add_product(gw, gw.shape[0], values, n, x[k % x.shape[0], first : first + count, t].T, count)


@kernel
def products(go, count, n, few, listed, found, values, place, apart, matrices, matrix, length, neurons, out):
    """Add to go the products of values with the rows of a matrix, for the listed neurons alone if they are few."""
    first = matrix * neurons * length
    if few:
        add_listed_dots(go, count, listed, found, values, place, apart, matrices, first, length, out)
    else:
        add_dots(go, count, n, values, place, apart, matrices, first, neurons, length)


@kernel
def back_through_step(g, gi, go, out, n, t, k, first, count, flags, simple, numbers, recurrents, constants, own, above,
                      given, tape, initial, lengths, listed, found, zeros, gc, kept, to, limit):  # fmt: skip
    """One step of a chunk back through its spiking neurons."""
    gu_above, weights_above = above
    neurons, steps, batch, places = flags[NEURONS], tape[0].shape[2], lengths.shape[0], g.shape[2]
    instance = k % constants.shape[0]
    c, at_c = constants[instance], instance * constants.shape[1] * places
    at_v, apart = ((k * batch + first) * steps + t) * n, steps * n
    if simple and given[2].shape[0] + given[3].shape[0] + given[4].shape[0] == 0:
        for s in range(count):
            for h in range(n):
                go[s, h] = 0
    else:
        from_outside(go, g, count, n, t, k, first, lengths, given[2], given[3])
    if simple:
        for s in range(count):
            at, v = (s * ROWS + F) * places, at_v + apart * s
            fetch(tape[0], max(v - n, 0), n)  # of the step before: 6 % of the pass
            derivative(flags[SURROGATE], tape[0], v, constants, at_c + V_TH * places, g, at, n, numbers)
    else:
        distances(g, count, c, n, tape[0], tape[2], k, first, t, flags, numbers)
    few = False
    if flags[SURROGATE] == TRIANGLE:
        few = list_active(g, count, neurons, c, listed, found) < limit * count * neurons
    if gu_above.shape[0] > 0:
        length = gu_above.shape[3]
        place, matrix = ((k * steps + t) * batch + first) * length, k % weights_above.shape[0]
        products(go, count, n, few, listed, found, gu_above, place, length, weights_above, matrix, length, neurons, out)
    if recurrents.shape[1] > 0 and t < steps - 1:
        matrix = k % recurrents.shape[0]
        products(go, count, n, few, listed, found, gi, 0, n, recurrents, matrix, n, neurons, out)
    if simple:
        through_hard_spikes(
            g, gi, go, count, n, tape[0], at_v, apart, constants, at_c, kept, to, flags[ATTACHED], gc
        )  # fmt: skip
        return
    for s in range(count):
        step_back(g, s, gi[s], go[s], c, n, t, k, first + s, flags, numbers, own, tape, initial, zeros, gc)


@kernel
def backward(first_job, last_job, chunks, flags, simple, numbers, limit, parameters, inputs, below, own, above, given,
             tape, initial, lengths, sums, gu, ginitial):  # fmt: skip
    """Gradients of one layer; job = one instance and one chunk of samples. Empty arrays are absent or not wanted.

    Args:
        first_job: First job.
        last_job: After the last job.
        chunks: Chunks of the batch, each with its own sums.
        flags: What the layer is, see `layout`.
        simple: Whether `through_hard_spikes` is enough.
        numbers: Slope and dampening of the surrogate, and the smallest scale.
        limit: Share of neurons that pass a gradient from which on products are worked out for all of them.
        parameters: recurrent weights by source [K, N or 0, width], constants [K, rows, capacity].
        inputs: As in `forward`.
        below: Spikes of the layer below, as in `forward`.
        own: This layer's spikes.
        above: Gradients of the currents of the layer above [K, T, B, P], and its weights by source [K, N, P].
        given: Gradients of logits [K, B, width] (with the logits), counts [K, B, N], spikes [K, T, B, N], final state.
        tape: As in `forward`.
        initial: State [K, 5, B, N].
        lengths: Valid steps [B].
        sums: Gradients of weight [K, chunks, I, width], recurrent weight, constants [K, chunks, 8, width].
        gu: Gradient of the current [K, T, B, width].
        ginitial: Gradient of the initial state [K, 5, B, N].
    """
    recurrents, constants = parameters
    glogits, logits, _, _, gfinal = given
    n, steps, batch = tape[0].shape[3], tape[0].shape[2], lengths.shape[0]
    most, neurons, places = (batch + chunks - 1) // chunks, flags[NEURONS], constants.shape[2]
    g = scratch(most * ROWS, places, constants).reshape((most, ROWS, places))
    gi, go, out = scratch(most, n, constants), scratch(most, n, constants), scratch(1, 8, constants)
    history = scratch(min(steps, SPAN) * most, n, constants)
    kept = history.reshape(history.size) if gu.shape[0] == 0 else gu.reshape(gu.size)
    listed, found = np.empty((1, most, places + SLACK), np.int32), np.empty(most, np.int64)
    zeros = np.zeros(n, tape[0].dtype)
    for job in range(first_job, last_job):
        k, chunk = job // chunks, job % chunks
        first, count = batch * chunk // chunks, batch * (chunk + 1) // chunks - batch * chunk // chunks
        c = constants[k % constants.shape[0]]
        g[:], gi[:] = 0, 0
        if gfinal.shape[0] > 0:
            for s in range(count):
                for h in range(neurons):
                    gi[s, h] = gfinal[k, 0, first + s, h]
                    for r in range(3):
                        g[s, r, h] = gfinal[k, r + 1, first + s, h]
        gw, gr, gc = sums[0][k, chunk], sums[1][k, chunk], sums[2][k, chunk]
        gw[:], gr[:], gc[:] = 0, 0, 0
        high = steps
        for t in range(steps - 1, -1, -1):
            low = t // SPAN * SPAN
            pitch = batch * n if gu.shape[0] > 0 else count * n
            place = ((k * steps + low) * batch + first) * n if gu.shape[0] > 0 else 0
            to = place + pitch * (t - low)
            if flags[READOUT]:
                for s in range(count):
                    v = tape[0][k, first + s]
                    decoded_back(
                        g[s], n, t, lengths[first + s], flags[READOUT], k, first + s, glogits, logits, v
                    )  # fmt: skip
                    potential_before(g[s], c, n, t, v, False, initial, k, first + s)
                    through_membrane(g[s], gi[s], c, n, tape[1][k, first + s, t], gc)
            else:
                back_through_step(
                    g, gi, go, out, n, t, k, first, count, flags, simple, numbers, recurrents, constants, own, above,
                    given, tape, initial, lengths, listed, found, zeros, gc, kept, to, limit,
                )  # fmt: skip
            if not simple:
                for s in range(count):
                    for h in range(n):
                        kept[to + n * s + h] = gi[s, h]
            if t == low and gw.shape[0] > 0:
                take_weights(low, high, k, first, count, n, batch, inputs, below, own, kept, place, pitch, gw, gr)
            high = low if t == low else high
        if ginitial.shape[0] > 0:
            for s in range(count):
                for h in range(n):
                    go[s, h] = g[s, CARRY, h]
            if recurrents.shape[1] > 0:
                rows = k % recurrents.shape[0] * neurons * n
                add_dots(go, count, n, gi, 0, n, recurrents, rows, neurons, n)
            for s in range(count):
                for h in range(neurons):
                    ginitial[k, 0, first + s, h] = gi[s, h]
                    ginitial[k, 1, first + s, h] = g[s, GV, h]
                    ginitial[k, 2, first + s, h] = g[s, GB, h]
                    ginitial[k, 3, first + s, h] = go[s, h]
