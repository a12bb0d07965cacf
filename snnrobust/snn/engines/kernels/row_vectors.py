"""Vector code, compiled into every `@kernel`, that adds rows of weights, adds to them, and multiplies them."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnrobust.snn.engines.kernels.llvm import (
    INT,
    LANES,
    REGISTER,
    WORD,
    Emitter,
    Vector,
    add_listed,
    in_blocks,
    place_of,
    while_listed,
)


def _adder(scaled, listed=True, sizes=False):
    """The intrinsic that adds listed rows, or those of the sources 0, 1, .."""

    @intrinsic
    def add(context, totals, place, rows, first, n, source, factor, start, stop):
        """totals[place + h] += factor[e] rows[first + n source[e] + h] for h < n, e in start .. stop - 1, in order.

        The factor is 1 without a scale, and `factor` not looked at; without a list, source[e] is e - start.
        Of sizes, factor[e]^2 |row| is added instead.
        """

        def generate(target, builder, signature, arguments):
            place, first, n, start, stop = (arguments[m] for m in (1, 3, 4, 7, 8))

            def block(lanes, h):
                emit = Emitter(target, builder, signature, arguments, lanes)
                totals, rows, sources, factors = (emit.data(m) for m in (0, 2, 5, 6))
                origin, here = builder.gep(rows, [builder.add(first, h)]), builder.add(place, h)

                def row(e):
                    where = place_of(builder, sources, e, n) if listed else builder.mul(builder.sub(e, start), n)
                    return builder.gep(origin, [where])

                factor, total = factors if scaled else None, emit.load(totals, here)
                (total,) = add_listed(emit, [total], row, start, stop, factor, sizes=sizes)
                emit.store(total, totals, here)

            in_blocks(builder, n, block)
            return target.get_dummy_value()

        index = types.int64
        return types.void(totals, index, rows, index, index, source, factor, index, index), generate

    return add


def _spreader(scaled):
    """The intrinsic that adds values to listed rows."""

    @intrinsic
    def spread(context, rows, first, n, source, factor, start, stop, values, place):
        """rows[first + n source[e] + h] += factor[e] values[place + h] for h < n, e in start .. stop - 1, in order.

        The factor is 1 without a scale, and `factor` not looked at.
        """

        def generate(target, builder, signature, arguments):
            first, n, start, stop, place = (arguments[m] for m in (1, 2, 5, 6, 8))

            def block(lanes, h):
                emit = Emitter(target, builder, signature, arguments, lanes)
                rows, sources, factors, values = (emit.data(m) for m in (0, 3, 4, 7))
                origin, added = builder.gep(rows, [builder.add(first, h)]), emit.load(values, builder.add(place, h))

                def row(e, _):
                    where, own = place_of(builder, sources, e, n), added
                    if scaled:
                        own = emit.everywhere(builder.load(builder.gep(factors, [e]))) * added
                    emit.store(emit.load(origin, where) + own, origin, where)

                while_listed(builder, start, stop, row)

            in_blocks(builder, n, block)
            return target.get_dummy_value()

        index = types.int64
        return types.void(rows, index, index, source, factor, index, index, values, index), generate

    return spread


add_rows, add_scaled_rows, add_all_rows = _adder(False), _adder(True), _adder(True, listed=False)
add_sizes, add_scaled_sizes = _adder(False, sizes=True), _adder(True, sizes=True)
spread, spread_scaled = _spreader(False), _spreader(True)


AT_ONCE = 16
"""Addresses that `find_rows` writes at once, and so places that a list needs after its last."""


@intrinsic
def find_rows(context, rows, first, n, source, start, stop, addresses, to):
    """addresses[to + e - start] = where rows[first + n source[e]] lies, for e in start .. stop - 1.

    Writes AT_ONCE at least, whatever there is to write: that so many are enough can be predicted, how many are wanted
    not.
    """

    def generate(target, builder, signature, arguments):
        emit = Emitter(target, builder, signature, arguments, AT_ONCE)
        rows, source, addresses = (emit.data(m) for m in (0, 3, 6))
        first, n, start, stop, to = (arguments[m] for m in (1, 2, 4, 5, 7))
        sources, places = (ir.VectorType(kind, AT_ONCE).as_pointer() for kind in (INT, WORD))
        origin = emit.everywhere(builder.ptrtoint(builder.gep(rows, [first]), WORD)).value
        apart = emit.everywhere(builder.trunc(builder.mul(n, WORD(target.get_abi_sizeof(emit.element))), INT)).value
        apart = builder.zext(apart, origin.type)  # of 32 bits: their product, which has 64, is one instruction
        with cgutils.for_range_slice(builder, start, stop, WORD(AT_ONCE)) as (e, _):
            found = builder.load(builder.bitcast(builder.gep(source, [e]), sources), align=4)
            found = builder.add(origin, builder.mul(builder.zext(found, apart.type), apart))
            place = builder.gep(addresses, [builder.add(to, builder.sub(e, start))])
            builder.store(found, builder.bitcast(place, places), align=8)
        return target.get_dummy_value()

    index = types.int64
    return types.void(rows, index, index, source, index, index, addresses, index), generate


def _dots(samples):
    """The intrinsic for the products of `samples` rows of values with four rows of a matrix."""

    @intrinsic
    def dots(context, values, place, apart, rows, r0, r1, r2, r3, n, totals, to, wide):
        """totals[to + wide s + c] += sum over j < n of values[place + apart s + j] rows[r_c + j] for c < 4.

        Each is the sum, pairwise, of as many sums as a register has lanes, which fused multiply-add makes. n is a
        multiple of 8; what is missing to a whole register counts as 0.
        """

        def generate(target, builder, signature, arguments):
            lanes = REGISTER // target.get_abi_sizeof(target.get_value_type(signature.args[0].dtype))
            emit = Emitter(target, builder, signature, arguments, lanes)
            left, right, out = (emit.data(n) for n in (0, 3, 9))
            place, apart, n, to, wide = (arguments[m] for m in (1, 2, 8, 10, 11))
            values = [builder.gep(left, [builder.add(place, builder.mul(WORD(s), apart))]) for s in range(samples)]
            rows = [builder.gep(right, [arguments[4 + c]]) for c in range(4)]
            sums = _products(emit, values, rows, n)
            result = Emitter(target, builder, signature, arguments, 4)
            for s in range(samples):
                here = builder.add(to, builder.mul(WORD(s), wide))
                result.store(result.load(out, here) + _total(builder, sums[s]), out, here)
            return target.get_dummy_value()

        index = types.int64
        arguments = (values, index, index, rows, index, index, index, index, index, totals, index, index)
        return types.void(*arguments), generate

    return dots


def _products(emit, values, rows, n):
    """The partial sums of each row of values with each row of a matrix, over n values."""
    builder, lanes = emit.builder, emit.vector.count
    name = f"llvm.fma.v{lanes}{emit.element.intrinsic_name}"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(emit.vector, [emit.vector] * 3), name)
    zero = ir.Constant(emit.vector, [emit.element(0.0)] * lanes)

    def added(load):
        def add(j, sums):
            lines, after = [load(line, j) for line in values], []
            for c, row in enumerate(rows):  # one column at a time: sums, values and a column fill the registers
                column = load(row, j)
                own = sums[c * len(values) : (c + 1) * len(values)]
                after += [
                    Vector(builder, builder.call(fma, [line, column, one.value]))
                    for line, one in zip(lines, own, strict=True)
                ]
            return after

        return add

    sums, whole = [Vector(builder, zero)] * (len(values) * len(rows)), builder.and_(n, WORD(-lanes))
    sums = while_listed(builder, WORD(0), whole, added(lambda data, j: emit.load(data, j).value), sums, step=lanes)
    if lanes > LANES:
        sums = while_listed(builder, whole, n, added(emit.load_half), sums, step=lanes)
    return [[sums[c * len(values) + s].value for c in range(len(rows))] for s in range(len(values))]


def _total(builder, vectors):
    """A vector with the sum of each of four vectors: the halves of every sum are added until one value is left."""
    block = vectors[0].type.count
    while block > 1:
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True)) if len(vectors) > 1 else [2 * tuple(vectors)]
        places = range(vectors[0].type.count * (2 if len(vectors) > 1 else 1))
        sides = []
        for side in (0, 1):
            chosen = [p for p in places if p % block // (block // 2) == side]
            sides.append(ir.Constant(ir.VectorType(INT, len(chosen)), chosen))
        vectors = [builder.fadd(*(builder.shuffle_vector(a, b, side) for side in sides)) for a, b in pairs]
        block //= 2
    return Vector(builder, vectors[0])


dots_1, dots_2, dots_3 = (_dots(samples) for samples in (1, 2, 3))


@intrinsic
def transpose_8(context, matrix, place, stride, gain, at, result, to, wide):
    """result[to + wide c + r] = gain[at + r] matrix[place + stride r + c] for r, c < 8."""

    def generate(target, builder, signature, arguments):
        emit = Emitter(target, builder, signature, arguments, 8)
        matrix, gain, result = (emit.data(m) for m in (0, 3, 5))
        place, stride, at, to, wide = (arguments[m] for m in (1, 2, 4, 6, 7))
        rows = []
        for r in range(8):
            factor = emit.everywhere(builder.load(builder.gep(gain, [builder.add(at, WORD(r))])))
            rows.append((factor * emit.load(matrix, builder.add(place, builder.mul(stride, WORD(r))))).value)
        for step in (1, 2, 4):  # each swaps the blocks of so many values beside the diagonal of twice as many
            for a in range(8):
                if a & step:
                    continue
                b = a + step
                for_a = [lane if not lane & step else lane - step + 8 for lane in range(8)]
                for_b = [lane + step if not lane & step else lane + 8 for lane in range(8)]
                masks = [ir.Constant(ir.VectorType(INT, 8), places) for places in (for_a, for_b)]
                rows[a], rows[b] = (builder.shuffle_vector(rows[a], rows[b], mask) for mask in masks)
        for c in range(8):
            emit.store(Vector(builder, rows[c]), result, builder.add(to, builder.mul(wide, WORD(c))))
        return target.get_dummy_value()

    index = types.int64
    return types.void(matrix, index, index, gain, index, result, index, index), generate
