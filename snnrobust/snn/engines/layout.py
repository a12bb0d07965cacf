"""Where the fused engine's kernels find things: rows of constants, of state, and the integers that describe a layer.

Every row of neurons has a width (a multiple of 8, what loops run over) and a capacity (a multiple of 64, for `fired`);
what is beyond the neurons is 0, and the largest number in a threshold, so that no spike comes from there. These
numbers are compiled into every `@kernel`.
"""

from __future__ import annotations

# Rows of a layer's constants [rows, capacity]; the first eight can have gradients.
A_MEM, V_LEAK, A_SYN, V_TH, V_RESET, BIAS, A_ADAPT, ADAPTATION, REFRACTORY, ZERO = range(10)
CONSTANTS = ("a_mem", "v_leak", "a_syn", "v_th", "v_reset", "bias", "a_adapt", "adaptation", "refractory")

# Rows of a sample's state [rows, capacity]; row 0 of a state that is handed in or out is the synaptic current.
SYNAPTIC, POTENTIAL, ADAPTED, SPIKES, WAIT, THRESHOLD = range(6)
STATE_ROWS = 6

# What a layer is.
NEURONS, SOFT, ATTACHED, ADAPTIVE, REFRACTS, SURROGATE, RELATIVE, READOUT = range(8)
FLAGS = 8
SPIKING, MEAN, MAX, LAST = range(4)  # values of READOUT: none, or how it is decoded
TRIANGLE = 1  # the surrogate with compact support
SHAPES = {"superspike": 0, "fast_sigmoid": 0, "triangle": TRIANGLE, "arctan": 2, "gaussian": 3}  # values of SURROGATE

# How a crossbar is read: rows of columns' numbers [rows, capacity] (variances, step, bound, ...), and integers.
NOISE, WEIGHT_NOISE, STEP, BOUND, OFFSET, DROP, RECURRENT_DROP = range(7)
READ_ROWS = 7
READS, NOISY, QUANTISED, DROPS, TILE_ROWS, CLOCKED, FIRST_SAMPLE = range(7)
READ_FLAGS = 7
RECURRENT = 1 << 16  # number of the first read of a step that is of recurrent weights


def width(neurons: int) -> int:
    """What loops over neurons run over."""
    return -(-neurons // 8) * 8


def capacity(neurons: int) -> int:
    """What a row of neurons takes."""
    return -(-neurons // 64) * 64
