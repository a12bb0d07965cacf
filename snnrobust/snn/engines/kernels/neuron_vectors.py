"""Vector code, compiled into every `@kernel`, that takes neurons a step forward or back and finds a word's bits."""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnrobust.snn.engines.kernels.llvm import (
    BIT,
    INT,
    LANES,
    REGISTER,
    WORD,
    Emitter,
    add_listed,
    in_blocks,
    list_fired,
)
from snnrobust.snn.engines.layout import A_MEM, A_SYN, V_LEAK, V_RESET, V_TH

MASK = 64
"""Neurons whose spikes are one word."""
WIDE = 16
"""Neurons of a vector: a register where those have 64 bytes, two elsewhere."""
BLOCK = 2 * REGISTER
"""Neurons whose sums of rows stay in registers."""


def _neurons(keeps):
    """The intrinsic that takes neurons that reset hard, with nothing else, one step on."""

    @intrinsic
    def step(
        context, current, at_i, state, at_v, constants, at_c, places, bias, kept, at_kept, rows, count, n, zero, source,
        end,
    ):  # fmt: skip
        """Currents, synapse, membrane and reset; the neurons that fire go to `source` from `end` on, which moves on.

            i <- i + sum_e row_e;  v <- v + a_mem ((v_leak - v) + i);  i <- (i - a_syn i) + bias
            o = [v > v_th];  v <- v_reset where o

        There are n neurons, a multiple of 8; `count` weight rows lie at the addresses `rows`, rows of constants
        `places` apart; v before the reset goes to `kept`, if the intrinsic keeps it. Where v_leak, v_reset and bias are
        0, `zero` may be 1, which saves reading them: 7 % of inference. The next bias is added at once. The list needs
        16 places after its last. Returns its end.
        """

        def generate(target, builder, signature, arguments):
            ends = cgutils.alloca_once_value(builder, arguments[15])

            def block(lanes, h):
                emit = Emitter(target, builder, signature, arguments, min(lanes, WIDE))
                i_data, v_data, constants, kept_data = (
                    builder.gep(emit.data(m), [builder.add(arguments[m + 1], h)]) for m in (0, 2, 4, 8)
                )
                addresses, (places, bias), width = emit.data(10), arguments[6:8], emit.vector.count

                def row(e):
                    address = builder.load(builder.gep(addresses, [e]))
                    return builder.gep(builder.inttoptr(address, emit.element.as_pointer()), [h])

                sums = [emit.load(i_data, WORD(first)) for first in range(0, lanes, width)]
                sums = add_listed(emit, sums, row, WORD(0), arguments[11])
                numbers = {row: WORD(row) for row in (A_MEM, A_SYN, V_LEAK, V_RESET, V_TH)} | {"bias": bias}
                rows = {row: builder.gep(constants, [builder.mul(number, places)]) for row, number in numbers.items()}

                def update(known):
                    found = []
                    for i, first in zip(sums, range(0, lanes, width), strict=True):
                        offset = WORD(first)
                        c = known | {row: emit.load(data, offset) for row, data in rows.items() if row not in known}
                        v = emit.load(v_data, offset)
                        v = v + c[A_MEM] * ((c[V_LEAK] - v) + i)
                        above = v > c[V_TH]
                        emit.store((i - c[A_SYN] * i) + c["bias"], i_data, offset)
                        emit.store(c[V_RESET].where(above, v), v_data, offset)
                        if keeps:
                            emit.store(v, kept_data, offset)
                        found.append(above)
                    list_fired(builder, emit.data(14), ends, found, h)

                with builder.if_else(builder.icmp_signed("!=", arguments[13], WORD(0))) as (rest, otherwise):
                    with rest:
                        zero = emit.everywhere(emit.element(0.0))
                        update({V_LEAK: zero, V_RESET: zero, "bias": zero})
                    with otherwise:
                        update({})

            in_blocks(builder, arguments[12], block, most=BLOCK)
            return builder.load(ends)

        index = types.int64
        neurons = (current, index, state, index, constants, index, index, index, kept, index)
        return types.int64(*neurons, rows, index, index, index, source, index), generate

    return step


# Both kinds: to store v where nobody wants it would take 8 % longer.
neurons, kept_neurons = _neurons(False), _neurons(True)


def _derivative(shape):
    """The intrinsic for the derivative of a surrogate: "inverse square" (SuperSpike), "triangle" or "arctan"."""

    @intrinsic
    def derivative(context, v, at_v, threshold, at_threshold, result, to, n, numbers):
        """result[to + h] = dampening f(slope (v[at_v + h] - threshold[at_threshold + h])) for h < n, a multiple of 8.

        `numbers` starts with slope and dampening.
        """

        def generate(target, builder, signature, arguments):
            emit = Emitter(target, builder, signature, arguments, LANES)
            v, threshold, result, numbers = (emit.data(m) for m in (0, 2, 4, 7))
            at_v, at_threshold, to, n = (arguments[m] for m in (1, 3, 5, 6))
            slope, dampening = (emit.everywhere(builder.load(builder.gep(numbers, [WORD(m)]))) for m in (0, 1))
            zero, one, half_pi = (emit.everywhere(emit.element(x)) for x in (0.0, 1.0, math.pi / 2))
            with cgutils.for_range_slice(builder, WORD(0), n, WORD(LANES)) as (h, _):
                distance = emit.load(v, builder.add(at_v, h)) - emit.load(threshold, builder.add(at_threshold, h))
                x = slope * distance
                if shape == "inverse square":
                    x = one + x.size()
                    f = dampening / (x * x)
                elif shape == "triangle":
                    x = one - x.size()
                    f = dampening * zero.where(zero > x, x)  # NaN stays
                else:
                    x = x * half_pi
                    f = dampening / (one + x * x)
                emit.store(f, result, builder.add(to, h))
            return target.get_dummy_value()

        index = types.int64
        return types.void(v, index, threshold, index, result, index, index, numbers), generate

    return derivative


inverse_square, triangle, arctan = (_derivative(shape) for shape in ("inverse square", "triangle", "arctan"))


def _neurons_back(attached):
    """The intrinsic that takes neurons that reset hard, with nothing else, one step back."""

    @intrinsic
    def back(
        context, v, at_v, constants, at_c, places, gv, at_gv, f, at_f, go, at_go, gi, at_gi, kept, at_kept, sums, to, n
    ):
        """Gradients of v and i before the step, from those after it and go = dL/do; v is that before the reset.

        gv' = gv (1 - o) + go f(v);  gi <- (gi - a_syn gi) + gv' a_mem;  gv <- gv' - a_mem gv'

        An attached reset adds gv (v_reset - v) to go. gi also goes to `kept`, and is added to `sums`.
        """

        def generate(target, builder, signature, arguments):
            emit = Emitter(target, builder, signature, arguments, LANES)
            places, n = arguments[4], arguments[17]
            at = dict(zip(("v", "gv", "f", "go", "gi", "kept", "sums"), (0, 5, 7, 9, 11, 13, 15), strict=True))
            constants = {
                row: builder.add(arguments[3], builder.mul(WORD(row), places)) for row in (A_MEM, A_SYN, V_RESET, V_TH)
            }
            zero = emit.everywhere(emit.element(0.0))
            with cgutils.for_range_slice(builder, WORD(0), n, WORD(LANES)) as (h, _):
                c = {row: emit.load(emit.data(2), builder.add(place, h)) for row, place in constants.items()}
                here = {name: (emit.data(m), builder.add(arguments[m + 1], h)) for name, m in at.items()}
                v, gv, f, go, gi, sums = (emit.load(*here[name]) for name in ("v", "gv", "f", "go", "gi", "sums"))
                if attached:
                    go = go + gv * (c[V_RESET] - v)
                gv = zero.where(v > c[V_TH], gv) + go * f
                gi = (gi - c[A_SYN] * gi) + gv * c[A_MEM]
                emit.store(gv - c[A_MEM] * gv, *here["gv"])
                emit.store(gi, *here["gi"])
                emit.store(gi, *here["kept"])
                emit.store(sums + gi, *here["sums"])
            return target.get_dummy_value()

        index = types.int64
        given = (
            v,
            index,
            constants,
            index,
            index,
            gv,
            index,
            f,
            index,
            go,
            index,
            gi,
            index,
            kept,
            index,
            sums,
            index,
            index,
        )
        return types.void(*given), generate

    return back


neurons_back, attached_neurons_back = _neurons_back(False), _neurons_back(True)


@intrinsic
def fired(context, v, place, threshold, other):
    """Bits h of a 64-bit word: v > threshold at the flat places `place` + h of v and `other` + h of threshold."""

    def generate(target, builder, signature, arguments):
        emit = Emitter(target, builder, signature, arguments, MASK)
        above = emit.load(emit.data(0), arguments[1]) > emit.load(emit.data(2), arguments[3])
        return builder.bitcast(above, WORD)

    return types.uint64(v, types.int64, threshold, types.int64), generate


@intrinsic
def fetch(context, values, place, n):
    """Ask for values[place : place + n] to be brought into the cache."""

    def generate(target, builder, signature, arguments):
        emit = Emitter(target, builder, signature, arguments, LANES)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), INT, INT, INT])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        line = 64 // target.get_abi_sizeof(emit.element)
        with cgutils.for_range_slice(builder, WORD(0), arguments[2], WORD(line)) as (h, _):
            address = builder.gep(emit.data(0), [builder.add(arguments[1], h)])
            address = builder.bitcast(address, ir.IntType(8).as_pointer())
            builder.call(prefetch, [address, INT(0), INT(2), INT(1)])
        return target.get_dummy_value()

    return types.void(values, types.int64, types.int64), generate


@intrinsic
def lowest_bit(context, word):
    """Position of the lowest bit that is set in a word, 64 if there is none."""

    def generate(target, builder, signature, arguments):
        return builder.cttz(arguments[0], BIT(0))

    return types.int64(types.uint64), generate


@intrinsic
def bits_of(context, word):
    """How many bits of a word are set."""

    def generate(target, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate
