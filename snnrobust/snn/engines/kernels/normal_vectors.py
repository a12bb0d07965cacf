"""Standard normals as vector code, compiled into every `@kernel` that reads a crossbar: fast, keyed, the same anywhere.

Philox4x32-10 (Salmon et al., SC 2011, DOI 10.1145/2063384.2063405) gives words of 32 bits from a counter (block, step,
sample, read) and a key of 64 bits. Word w is the normal of size z with P(Z > z) = (w mod 2^31 + 1/2) / 2^32 and the
sign of bit 31: sqrt(2) erfinv, by the polynomials of Giles (GPU Computing Gems, 2012, chapter 10) on a logarithm of our
own, in float32. Absolute error below 2e-6 (tested), sizes up to 6.2. Chips are drawn with `hardware.normals` instead,
which takes ten times as long and is exact.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnrobust.snn.engines.kernels.llvm import INT, LANES, REGISTER, WORD, Vector

NORMALS = 4 * LANES
"""Normals of one block of counters: word m of lane l is value 8 m + l of the block."""
CHUNK = 256
_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
    1.00167406, 2.83297682,
)  # fmt: skip
# log(1 + x) / x for sqrt(1/2) - 1 < x < sqrt(2) - 1, the Chebyshev interpolation of degree 8
_LOGARITHM = (
    0.0853331305, -0.142692582, 0.149774013, -0.165779929, 0.199559334, -0.250013522, 0.333341933, -0.499999964,
    0.999999974,
)  # fmt: skip
COUNTERS, WIDE = REGISTER // 8, REGISTER // 4
"""Counters, and words, that are worked on at once: a register. No value depends on it."""
INTS, FLOATS = ir.VectorType(INT, WIDE), ir.VectorType(ir.FloatType(), WIDE)
LONGS = ir.VectorType(WORD, COUNTERS)


def _ints(value):
    return ir.Constant(INTS, [value] * WIDE)


def _floats(builder, value):
    return Vector(builder, ir.Constant(FLOATS, [value] * WIDE))


def _everywhere(builder, value):
    """A vector of one integer of 64 bits."""
    nothing = ir.Constant(LONGS, ir.Undefined)
    first = builder.insert_element(nothing, value, INT(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(INT, COUNTERS), [0] * COUNTERS))


def _philox(builder, counter, key):
    """The four words for each counter in 64 bits, of which the upper half is not looked at."""
    low = ir.Constant(LONGS, [0xFFFFFFFF] * COUNTERS)
    upper = ir.Constant(LONGS, [32] * COUNTERS)
    for _ in range(10):
        products = []
        for n, multiplier in ((0, 0xD2511F53), (2, 0xCD9E8D57)):
            factor = ir.Constant(LONGS, [multiplier] * COUNTERS)
            products.append(builder.mul(builder.and_(counter[n], low), factor))
        high = [builder.lshr(product, upper) for product in products]
        mixed = [builder.xor(builder.xor(high[1 - n], counter[2 * n + 1]), key[n]) for n in (0, 1)]
        counter = [mixed[0], products[1], mixed[1], products[0]]
        bumps = [ir.Constant(LONGS, [bump] * COUNTERS) for bump in (0x9E3779B9, 0xBB67AE85)]
        key = [builder.add(k, bump) for k, bump in zip(key, bumps, strict=True)]
    return counter


def _polynomial(builder, coefficients, x):
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{WIDE}f32")
    total = _floats(builder, coefficients[0])
    for c in coefficients[1:]:
        total = Vector(builder, builder.call(fma, [total.value, x.value, _floats(builder, c).value]))
    return total


def _logarithm(builder, y):
    """log(y) of positive numbers that are not subnormal: y = 2^e m with m from sqrt(1/2) to sqrt(2)."""
    bits = builder.sub(builder.bitcast(y.value, INTS), _ints(0x3F3504F3))  # sqrt(1/2)
    exponent = builder.ashr(bits, _ints(23))
    bits = builder.add(builder.and_(bits, _ints(0x7FFFFF)), _ints(0x3F3504F3))
    x = Vector(builder, builder.bitcast(bits, FLOATS)) - _floats(builder, 1.0)
    e = Vector(builder, builder.sitofp(exponent, FLOATS))
    return x * _polynomial(builder, _LOGARITHM, x) + e * _floats(builder, math.log(2))


def _normal(builder, words):
    """Normals of words."""
    one, two, root = (_floats(builder, c) for c in (1.0, 2.0, math.sqrt(2)))
    size = Vector(builder, builder.uitofp(builder.and_(words, _ints(0x7FFFFFFF)), FLOATS))
    v = size * _floats(builder, 2.0**-31) + _floats(builder, 2.0**-32)  # 1 - |erf|
    w = _floats(builder, 0.0) - _logarithm(builder, v * (two - v))
    kind = ir.FunctionType(FLOATS, [FLOATS])
    sqrt = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{WIDE}f32")
    five = _floats(builder, 5.0)
    far = w > five
    z = _polynomial(builder, _CENTRE, w - _floats(builder, 2.5))
    result = cgutils.alloca_once_value(builder, z.value)
    some = builder.icmp_unsigned("!=", builder.bitcast(far, ir.IntType(WIDE)), ir.IntType(WIDE)(0))
    with builder.if_then(some, likely=False):  # one size in 300 is above 2.9
        tail = _polynomial(builder, _TAIL, Vector(builder, builder.call(sqrt, [w.value])) - _floats(builder, 3.0))
        builder.store(tail.where(far, z).value, result)
    z = Vector(builder, builder.load(result)) * (one - v) * root
    sign = builder.and_(words, _ints(-0x80000000))
    return builder.bitcast(builder.or_(builder.bitcast(z.value, INTS), sign), FLOATS)


@intrinsic
def normals(context, result, to, n, step, sample, read, key):
    """result[to + h], h < n rounded up to 32, = the standard normals of this step, sample and read under a key."""

    def generate(target, builder, signature, arguments):
        data = target.make_array(signature.args[0])(target, builder, arguments[0]).data
        element = target.get_value_type(signature.args[0].dtype)
        to, n, step, sample, read, key = arguments[1:]
        step, sample, read = (_everywhere(builder, number) for number in (step, sample, read))
        keys = [_everywhere(builder, half) for half in (key, builder.lshr(key, WORD(32)))]
        # Words of many values first: both halves of the work at once would not fit the registers.
        words = cgutils.alloca_once(builder, ir.ArrayType(INT, CHUNK))
        words.align = REGISTER
        words = builder.bitcast(words, INT.as_pointer())
        vector, drawn = ir.VectorType(element, WIDE), ir.VectorType(INT, COUNTERS)

        def at(pointer, place, kind):
            return builder.bitcast(builder.gep(pointer, [place]), kind.as_pointer())

        with cgutils.for_range_slice(builder, WORD(0), n, WORD(CHUNK)) as (first, _):
            left = builder.sub(n, first)
            left = builder.select(builder.icmp_signed("<", left, WORD(CHUNK)), left, WORD(CHUNK))
            with cgutils.for_range_slice(builder, WORD(0), left, WORD(NORMALS)) as (h, _):
                block = _everywhere(builder, builder.lshr(builder.add(first, h), WORD(2)))
                for lane in range(0, LANES, COUNTERS):
                    counters = builder.add(block, ir.Constant(LONGS, list(range(lane, lane + COUNTERS))))
                    for m, own in enumerate(_philox(builder, [counters, step, sample, read], keys)):
                        place = builder.add(h, WORD(m * LANES + lane))
                        builder.store(builder.trunc(own, drawn), at(words, place, drawn), align=4)
            with cgutils.for_range_slice(builder, WORD(0), left, WORD(NORMALS)) as (h, _):
                for m in range(0, NORMALS, WIDE):
                    place = builder.add(h, WORD(m))
                    z = _normal(builder, builder.load(at(words, place, INTS), align=4))
                    z = z if vector == FLOATS else builder.fpext(z, vector)
                    place = builder.add(builder.add(to, builder.add(first, h)), WORD(m))
                    builder.store(z, at(data, place, vector), align=target.get_abi_sizeof(element))
        return target.get_dummy_value()

    index = types.int64
    return types.void(result, index, index, index, index, index, types.uint64), generate
