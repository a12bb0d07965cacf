"""Exact backpropagation through time for the fused engine; one job is one instance and a chunk of samples.

For step t, with v' the potential before the reset, r = (v' - threshold) / scale and f the surrogate:

    go = dL/do_t                (from above, from u of step t + 1 through the recurrent weights, from b, v of t + 1)
    gv' = gv (1 - o) or gv,  + go f(r) dr/dv';        gi = gi (1 - a_syn) + gv' a_mem
    du_t = gi;   dW += x_t du_t;   dW_rec += o_(t-1) du_t;   gv <- gv' (1 - a_mem)

where gv, gi are those of v and i after step t. All samples of a chunk go through a step together, so that a weight row
is read once for all of them. A chunk has its own sums; the number of chunks depends on the batch alone.
"""

from __future__ import annotations

import math

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.layout import (
    A_ADAPT,
    A_MEM,
    A_SYN,
    ADAPTATION,
    ADAPTIVE,
    ATTACHED,
    BIAS,
    MAX,
    MEAN,
    NEURONS,
    READOUT,
    REFRACTS,
    RELATIVE,
    SOFT,
    SURROGATE,
    V_LEAK,
    V_RESET,
    V_TH,
)
from snnrobust.snn.engines.rows import add_outer, add_product, add_scaled_to_rows, add_to_rows, scatter, scratch

# Rows of a sample's gradients and scratch [rows, width].
GV, GB, CARRY, R, F, THRESHOLD, NOW, BEFORE, EARLIER, ADAPTED_BEFORE = range(10)
ROWS = 10


@kernel
def derivative(shape, slope, dampening, g, s, n):
    """The row `F`, dampening f(slope r), from the row `R` of sample s."""
    zero, one = g.dtype.type(0), g.dtype.type(1)  # an integer would make double precision of single
    if shape == 0:
        for h in range(n):
            x = one + abs(slope * g[s, R, h])
            g[s, F, h] = dampening / (x * x)
    elif shape == 1:
        for h in range(n):
            g[s, F, h] = dampening * max(one - abs(slope * g[s, R, h]), zero)
    elif shape == 2:
        half_pi = g.dtype.type(math.pi / 2)
        for h in range(n):
            x = slope * g[s, R, h] * half_pi
            g[s, F, h] = dampening / (one + x * x)
    else:
        half = g.dtype.type(0.5)
        for h in range(n):
            x = slope * g[s, R, h]
            g[s, F, h] = dampening * math.exp(-half * (x * x))


@kernel
def through_hard_spikes(g, gi, go, count, c, n, v, k, first, t, flags, numbers, gc):
    """One step back through neurons that reset hard, with nothing else: only weights and bias are wanted."""
    zero = g.dtype.type(0)
    for s in range(count):
        b = first + s
        for h in range(n):
            g[s, R, h] = v[k, b, t, h] - c[V_TH, h]
        derivative(flags[SURROGATE], numbers[0], numbers[1], g, s, n)
        if flags[ATTACHED]:
            for h in range(n):
                go[s, h] += g[s, GV, h] * (c[V_RESET, h] - v[k, b, t, h])
        for h in range(n):
            kept = zero if g[s, R, h] > zero else g[s, GV, h]
            gv = kept + go[s, h] * g[s, F, h]
            gi[s, h] = (gi[s, h] - c[A_SYN, h] * gi[s, h]) + gv * c[A_MEM, h]
            g[s, GV, h] = gv - c[A_MEM, h] * gv
        for h in range(n):
            gc[BIAS, h] += gi[s, h]


@kernel
def through_spikes(g, gi, go, c, n, flags, v, i, b, wait, floor, gc):
    """One step back through any spiking neurons, with the gradients of all constants."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    hard = not flags[SOFT]
    if hard and flags[ATTACHED]:
        for h in range(n):
            go[h] += g[GV, h] * (c[V_RESET, h] - v[h])
    if flags[REFRACTS]:
        for h in range(n):
            go[h] = go[h] if wait[h] <= zero else zero
    for h in range(n):
        gr = go[h] * g[F, h]
        of_threshold = -gr
        if flags[RELATIVE]:
            size = max(abs(g[THRESHOLD, h]), floor)
            gr = gr / size
            of_threshold = -gr
            if abs(g[THRESHOLD, h]) >= floor:
                of_threshold = -gr - gr * g[R, h] * np.sign(g[THRESHOLD, h])
        gv = g[GV, h]
        if hard:
            gc[V_RESET, h] += gv * g[NOW, h]
            gv = gv * (one - g[NOW, h]) + gr
        else:
            gv = gv + gr
            of_threshold = of_threshold - gv * g[BEFORE, h]
            g[CARRY, h] = -gv * g[THRESHOLD, h] if flags[ATTACHED] else zero
        gc[V_TH, h] += of_threshold
        g[GV, h] = gv
        g[R, h] = of_threshold
    through_membrane(g, gi, c, n, i, gc)
    if flags[ADAPTIVE]:
        for h in range(n):
            gc[ADAPTATION, h] += g[R, h] * b[h]
            gb = g[GB, h] + g[R, h] * c[ADAPTATION, h]
            gc[A_ADAPT, h] += gb * (g[BEFORE, h] - g[ADAPTED_BEFORE, h])
            g[CARRY, h] += gb * c[A_ADAPT, h]
            g[GB, h] = gb - c[A_ADAPT, h] * gb


@kernel
def through_membrane(g, gi, c, n, i, gc):
    """One step back through membrane and synapse, from `GV` of v after the step to that before; v before: `EARLIER`."""
    for h in range(n):
        gv = g[GV, h]
        gc[A_MEM, h] += gv * ((c[V_LEAK, h] - g[EARLIER, h]) + i[h])
        gc[V_LEAK, h] += gv * c[A_MEM, h]
        gc[A_SYN, h] -= gi[h] * i[h]
        gi[h] = (gi[h] - c[A_SYN, h] * gi[h]) + gv * c[A_MEM, h]
        gc[BIAS, h] += gi[h]
        g[GV, h] = gv - c[A_MEM, h] * gv


@kernel
def decoded_back(g, n, t, length, how, k, sample, glogits, logits, v):
    """Add the gradient of the decoded value to that of v at step t; steps that share a maximum share its gradient."""
    if t >= length:
        return
    own = glogits[k, sample]
    if how == MEAN:
        for h in range(n):
            g[GV, h] += own[h] / length
    elif how == MAX:
        for h in range(n):
            if v[t, h] == logits[k, sample, h]:
                ties = 0
                for e in range(length):
                    ties += v[e, h] == v[t, h]
                g[GV, h] += own[h] / ties
    elif t == length - 1:
        for h in range(n):
            g[GV, h] += own[h]


@kernel
def potential_before(g, c, n, t, v, hard, initial, k, sample):
    """The row `EARLIER`: v after the reset of the step before, or that of the initial state."""
    if t > 0:
        for h in range(n):
            g[EARLIER, h] = v[t - 1, h]
        if hard:
            for h in range(n):
                g[EARLIER, h] = c[V_RESET, h] if g[BEFORE, h] > 0 else g[EARLIER, h]
    elif initial.shape[0] > 0:
        for h in range(initial.shape[3]):
            g[EARLIER, h] = initial[k % initial.shape[0], 1, sample, h]
    else:
        for h in range(n):
            g[EARLIER, h] = c[V_LEAK, h]


@kernel
def adaptation_before(g, n, t, b, initial, k, sample):
    """The row `ADAPTED_BEFORE`: b after the step before, or that of the initial state."""
    for h in range(n):
        g[ADAPTED_BEFORE, h] = b[t - 1, h] if t > 0 else 0
    if t == 0 and initial.shape[0] > 0:
        for h in range(initial.shape[3]):
            g[ADAPTED_BEFORE, h] = initial[k % initial.shape[0], 2, sample, h]


@kernel
def step_back(gs, s, gi, go, c, n, t, k, sample, flags, numbers, own, tape, initial, zeros, gc):
    """One step of one sample back through its spiking neurons."""
    potentials, currents, adapted, quiet = tape
    g = gs[s]
    v, start, source = potentials[k, sample], own[1][k, sample], own[0][k, sample]
    b = adapted[k, sample, t] if adapted.shape[0] > 0 else zeros
    for h in range(n):
        g[THRESHOLD, h] = c[V_TH, h]
    if flags[ADAPTIVE]:
        for h in range(n):
            g[THRESHOLD, h] += c[ADAPTATION, h] * b[h]
    for h in range(n):
        g[R, h] = v[t, h] - g[THRESHOLD, h]
    if flags[RELATIVE]:
        for h in range(n):
            g[R, h] /= max(abs(g[THRESHOLD, h]), numbers[2])
    derivative(flags[SURROGATE], numbers[0], numbers[1], gs, s, n)
    scatter(g[NOW], n, source, start[t + 1], start[t + 2])
    scatter(g[BEFORE], n, source, start[t], start[t + 1])
    potential_before(g, c, n, t, v, not flags[SOFT], initial, k, sample)
    if adapted.shape[0] > 0:
        adaptation_before(g, n, t, adapted[k, sample], initial, k, sample)
    wait = quiet[k, sample, t] if quiet.shape[0] > 0 else zeros
    through_spikes(g, gi, go, c, n, flags, v[t], currents[k, sample, t], b, wait, numbers[2], gc)


@kernel
def backward(first_job, last_job, chunks, flags, simple, numbers, parameters, inputs, below, own, above, given, tape,
             initial, lengths, sums, gu, ginitial):  # fmt: skip
    """Gradients of one layer; job = one instance and one chunk of samples. Empty arrays are absent or not wanted.

    Args:
        first_job: First job.
        last_job: After the last job.
        chunks: Chunks of the batch, each with its own sums.
        flags: What the layer is, see `layout`.
        simple: Whether `through_hard_spikes` is enough.
        numbers: Slope and dampening of the surrogate, and the smallest scale.
        parameters: recurrent_weight (to, from) [K, N or 0, width], constants [K, rows, capacity].
        inputs: As in `forward`.
        below: Spikes of the layer below, as in `forward`.
        own: This layer's spikes.
        above: Gradients of the currents of the layer above [K, T, B, P], and its weight (to, from) [K, P, width].
        given: Gradients of logits [K, B, width] (with the logits), rates [K, B, N], spikes [K, T, B, N], final state.
        tape: As in `forward`.
        initial: State [K, 5, B, N].
        lengths: Valid steps [B].
        sums: Gradients of weight [K, chunks, I, width], recurrent weight, constants [K, chunks, 8, width].
        gu: Gradient of the current [K, T, B, width].
        ginitial: Gradient of the initial state [K, 5, B, N].
    """
    recurrents, constants = parameters
    x, source, factor, row_start = inputs
    below_source, below_start = below
    own_source, own_start = own
    gu_above, weights_above = above
    glogits, logits, grates, gspikes, gfinal = given
    n, steps, batch = tape[0].shape[3], tape[0].shape[2], lengths.shape[0]
    most, neurons = (batch + chunks - 1) // chunks, flags[NEURONS]
    g = scratch(most * ROWS, n, constants).reshape((most, ROWS, n))
    gi, go = scratch(most, n, constants), scratch(most, n, constants)
    zeros = np.zeros(n, tape[0].dtype)
    for job in range(first_job, last_job):
        k, chunk = job // chunks, job % chunks
        first, count = batch * chunk // chunks, batch * (chunk + 1) // chunks - batch * chunk // chunks
        recurrent, c = recurrents[k % recurrents.shape[0]], constants[k % constants.shape[0]]
        weight_above = weights_above[k % weights_above.shape[0]]
        g[:], gi[:] = 0, 0
        if gfinal.shape[0] > 0:
            for s in range(count):
                for h in range(neurons):
                    gi[s, h] = gfinal[k, 0, first + s, h]
                    for r in range(3):
                        g[s, r, h] = gfinal[k, r + 1, first + s, h]
        gw, gr, gc = sums[0][k, chunk], sums[1][k, chunk], sums[2][k, chunk]
        for t in range(steps - 1, -1, -1):
            for s in range(count):
                sample = first + s
                if flags[READOUT]:
                    v = tape[0][k, sample]
                    decoded_back(g[s], n, t, lengths[sample], flags[READOUT], k, sample, glogits, logits, v)
                    potential_before(g[s], c, n, t, v, False, initial, k, sample)
                    through_membrane(g[s], gi[s], c, n, tape[1][k, sample, t], gc)
                    continue
                for h in range(n):
                    go[s, h] = g[s, CARRY, h]
                    g[s, CARRY, h] = 0
                if grates.shape[0] > 0 and t < lengths[sample]:
                    for h in range(neurons):
                        go[s, h] += grates[k, sample, h] / lengths[sample]
                if gspikes.shape[0] > 0:
                    for h in range(neurons):
                        go[s, h] += gspikes[k, t, sample, h]
            if not flags[READOUT]:
                if gu_above.shape[0] > 0:
                    add_product(
                        go, count, weight_above, n, gu_above[k, t, first : first + count], weight_above.shape[0]
                    )
                if recurrent.shape[0] > 0 and t < steps - 1:
                    add_product(go, count, recurrent, n, gi, recurrent.shape[0])
                if simple:
                    through_hard_spikes(g, gi, go, count, c, n, tape[0], k, first, t, flags, numbers, gc)
                else:
                    for s in range(count):
                        step_back(
                            g, s, gi[s], go[s], c, n, t, k, first + s, flags, numbers, own, tape, initial, zeros, gc
                        )
            if gw.shape[0] > 0 and below_start.shape[0] > 0:
                for s in range(count):
                    b = first + s
                    add_to_rows(gw, below_source, k, b, below_start[k, b, t + 1], below_start[k, b, t + 2], gi, s, n)
            elif gw.shape[0] > 0 and x.shape[1] > 0:
                add_outer(gw, gw.shape[0], gi, count, n, x[k % x.shape[0], t, first : first + count])
            elif gw.shape[0] > 0:
                for s in range(count):
                    row = t * batch + first + s
                    add_scaled_to_rows(gw, source, factor, row_start[row], row_start[row + 1], gi, s, n)
            if gr.shape[0] > 0:
                for s in range(count):
                    b = first + s
                    add_to_rows(gr, own_source, k, b, own_start[k, b, t], own_start[k, b, t + 1], gi, s, n)
            if gu.shape[0] > 0:
                for s in range(count):
                    for h in range(n):
                        gu[k, t, first + s, h] = gi[s, h]
        if ginitial.shape[0] > 0:
            for s in range(count):
                for h in range(n):
                    go[s, h] = g[s, CARRY, h]
            if recurrent.shape[0] > 0:
                add_product(go, count, recurrent, n, gi, recurrent.shape[0])
            for s in range(count):
                for h in range(neurons):
                    ginitial[k, 0, first + s, h] = gi[s, h]
                    ginitial[k, 1, first + s, h] = g[s, GV, h]
                    ginitial[k, 2, first + s, h] = g[s, GB, h]
                    ginitial[k, 3, first + s, h] = go[s, h]
