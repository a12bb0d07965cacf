"""One step of backpropagation through neurons and readouts; see `backward` for the equations."""

from __future__ import annotations

import math

import numpy as np

from snnrobust.compiled import kernel
from snnrobust.snn.engines.kernels.neuron_vectors import (
    MASK,
    arctan,
    attached_neurons_back,
    fired,
    inverse_square,
    neurons_back,
    triangle,
)
from snnrobust.snn.engines.kernels.rows import append, scatter
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
    REFRACTS,
    RELATIVE,
    SOFT,
    SURROGATE,
    TRIANGLE,
    V_LEAK,
    V_RESET,
    V_TH,
    ZERO,
)

# Rows of a sample's gradients and scratch [rows, width].
GV, GB, CARRY, R, F, THRESHOLD, NOW, BEFORE, EARLIER, ADAPTED_BEFORE = range(10)
ROWS = 10


@kernel
def derivative(shape, v, at_v, threshold, at_threshold, result, to, n, numbers):
    """result[to + h] = dampening f(slope (v[at_v + h] - threshold[at_threshold + h])) for h < n, on flat places."""
    if shape == 0:
        inverse_square(v, at_v, threshold, at_threshold, result, to, n, numbers)
    elif shape == TRIANGLE:
        triangle(v, at_v, threshold, at_threshold, result, to, n, numbers)
    elif shape == 2:
        arctan(v, at_v, threshold, at_threshold, result, to, n, numbers)
    else:
        half = numbers.dtype.type(0.5)
        distances, thresholds, values = v.ravel(), threshold.ravel(), result.ravel()
        for h in range(n):
            x = numbers[0] * (distances[at_v + h] - thresholds[at_threshold + h])
            values[to + h] = numbers[1] * math.exp(-half * (x * x))


@kernel
def distances(g, count, c, n, v, b, k, first, t, flags, numbers):
    """The rows `THRESHOLD`, `R` and `F` of all samples."""
    places = g.shape[2]
    for s in range(count):
        for h in range(n):
            g[s, THRESHOLD, h] = c[V_TH, h]
        if flags[ADAPTIVE]:
            for h in range(n):
                g[s, THRESHOLD, h] += c[ADAPTATION, h] * b[k, first + s, t, h]
        for h in range(n):
            g[s, R, h] = v[k, first + s, t, h] - g[s, THRESHOLD, h]
        if flags[RELATIVE]:
            for h in range(n):
                g[s, R, h] /= max(abs(g[s, THRESHOLD, h]), numbers[2])
        at = s * ROWS * places
        derivative(flags[SURROGATE], g, at + R * places, c, ZERO * places, g, at + F * places, n, numbers)


@kernel
def list_active(g, count, neurons, c, listed, found):
    """List the neurons whose row `F` is not 0; how many there are in all samples."""
    places, total = g.shape[2], 0
    for s in range(count):
        e = 0
        for h0 in range(0, neurons, MASK):
            word = fired(g, (s * ROWS + F) * places + h0, c, ZERO * places + h0)
            e = append(listed, 0, s, e, word, h0)
        while e > 0 and listed[0, s, e - 1] >= neurons:  # beyond the last neuron F is not always 0
            e -= 1
        found[s] = e
        total += e
    return total


@kernel
def from_outside(go, g, count, n, t, k, first, lengths, gcounts, gspikes):
    """go: what the row `CARRY` has, and the gradients of spike counts and spikes."""
    zero = go.dtype.type(0)
    for s in range(count):
        sample = first + s
        for h in range(n):
            go[s, h] = g[s, CARRY, h]
            g[s, CARRY, h] = zero
        if gcounts.shape[0] > 0 and t < lengths[sample]:
            for h in range(gcounts.shape[2]):
                go[s, h] += gcounts[k, sample, h]
        if gspikes.shape[0] > 0:
            for h in range(gspikes.shape[3]):
                go[s, h] += gspikes[k, t, sample, h]


@kernel
def through_hard_spikes(g, gi, go, count, n, v, at_v, apart, constants, at_c, kept, to, attached, gc):
    """One step back through neurons that reset hard, with nothing else: only weights and bias are wanted."""
    places = g.shape[2]
    for s in range(count):
        at, h = s * ROWS * places, n * s
        v_s, gv, f, sums = at_v + apart * s, at + GV * places, at + F * places, BIAS * n
        if attached:
            attached_neurons_back(
                v, v_s, constants, at_c, places, g, gv, g, f, go, h, gi, h, kept, to + h, gc, sums, n
            )  # fmt: skip
        else:
            neurons_back(v, v_s, constants, at_c, places, g, gv, g, f, go, h, gi, h, kept, to + h, gc, sums, n)


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
    """One step of one sample back through any spiking neurons, given the rows of `distances`."""
    potentials, currents, adapted, quiet = tape
    g = gs[s]
    v, start, source = potentials[k, sample], own[1][k, sample], own[0][k, sample]
    b = adapted[k, sample, t] if adapted.shape[0] > 0 else zeros
    scatter(g[NOW], n, source, start[t + 1], start[t + 2])
    scatter(g[BEFORE], n, source, start[t], start[t + 1])
    potential_before(g, c, n, t, v, not flags[SOFT], initial, k, sample)
    if adapted.shape[0] > 0:
        adaptation_before(g, n, t, adapted[k, sample], initial, k, sample)
    wait = quiet[k, sample, t] if quiet.shape[0] > 0 else zeros
    through_spikes(g, gi, go, c, n, flags, v[t], currents[k, sample, t], b, wait, numbers[2], gc)
