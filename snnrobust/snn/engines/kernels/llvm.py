"""A vocabulary for vector code, in terms of LLVM, in which the innermost loops of the fused engine are written.

A loop that numba compiles keeps no sums of many rows in registers, gives no comparison as the bits of a word, and often
is not vectorised when it reads and writes many arrays: each was measured to cost a factor of 1.5 to 6. Arrays are
contiguous and addressed by flat places; nothing here checks a bound. Compiled into every `@kernel`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
"""Values that are worked on at once where registers are no concern."""
WORD, INT, BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)


class Vector:
    """A value of LLVM's that adds, subtracts, multiplies and compares lane by lane."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    def __add__(self, other):
        return Vector(self.builder, self.builder.fadd(self.value, other.value))

    def __sub__(self, other):
        return Vector(self.builder, self.builder.fsub(self.value, other.value))

    def __mul__(self, other):
        return Vector(self.builder, self.builder.fmul(self.value, other.value))

    def __truediv__(self, other):
        return Vector(self.builder, self.builder.fdiv(self.value, other.value))

    def __gt__(self, other):
        return self.builder.fcmp_ordered(">", self.value, other.value)

    def where(self, condition, other):
        """This where the condition holds, else the other."""
        return Vector(self.builder, self.builder.select(condition, self.value, other.value))

    def size(self):
        """Absolute values."""
        zero = Vector(self.builder, ir.Constant(self.value.type, None))
        return (zero - self).where(zero > self, self)


class Emitter:
    """Emits loads and stores of vectors at flat places of arrays."""

    def __init__(self, target, builder, signature, arguments, lanes):
        self.target, self.builder, self.signature, self.arguments = target, builder, signature, arguments
        self.element = target.get_value_type(signature.args[0].dtype)
        self.vector = ir.VectorType(self.element, lanes)

    def data(self, n):
        """Pointer to the elements of the array that is argument n."""
        return self.target.make_array(self.signature.args[n])(self.target, self.builder, self.arguments[n]).data

    def at(self, data, place):
        """Pointer to the vector from a place on."""
        return self.builder.bitcast(self.builder.gep(data, [place]), self.vector.as_pointer())

    def load(self, data, place):
        """The vector from a place on."""
        align = self.target.get_abi_sizeof(self.element)
        return Vector(self.builder, self.builder.load(self.at(data, place), align=align))

    def store(self, vector, data, place):
        """Put a vector from a place on."""
        self.builder.store(vector.value, self.at(data, place), align=self.target.get_abi_sizeof(self.element))

    def everywhere(self, value):
        """A vector of one value, which need not be an element."""
        nothing = ir.Constant(ir.VectorType(value.type, self.vector.count), ir.Undefined)
        first = self.builder.insert_element(nothing, value, INT(0))
        zeros = ir.Constant(ir.VectorType(INT, self.vector.count), [0] * self.vector.count)
        return Vector(self.builder, self.builder.shuffle_vector(first, nothing, zeros))


def in_blocks(builder, n, body):
    """Emit body(lanes, h) for blocks of 64, 32, 16 and 8 values that make up n, which is a multiple of 8."""
    whole = builder.and_(n, WORD(-64))
    with cgutils.for_range_slice(builder, WORD(0), whole, WORD(64)) as (h, _):
        body(64, h)
    for lanes in (32, 16, 8):
        with builder.if_then(builder.icmp_signed("!=", builder.and_(n, WORD(lanes)), WORD(0))):
            body(lanes, builder.and_(n, WORD(-2 * lanes)))


def while_listed(builder, start, stop, body, carried=()):
    """Emit `carried = body(e, carried)` for e in start .. stop - 1; what is carried, vectors, stays in registers."""
    entry, loop, done = builder.block, builder.append_basic_block("listed"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, done)
    builder.position_at_end(loop)
    e, own = builder.phi(WORD), [builder.phi(c.value.type) for c in carried]
    after, following = body(e, [Vector(builder, phi) for phi in own]), builder.add(e, WORD(1))
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, done)
    builder.position_at_end(done)
    e.add_incoming(start, entry)
    e.add_incoming(following, loop)
    results = [builder.phi(c.value.type) for c in carried]
    for phis in (own, results):
        for phi, before, later in zip(phis, carried, after or (), strict=True):
            phi.add_incoming(before.value, entry)
            phi.add_incoming(later.value, loop)
    return [Vector(builder, result) for result in results]


def add_listed(emit, sums, row_of, start, stop, factor=None, *, sizes=False):
    """Emit sums[p] += factor[e] row[p lanes ..], row = row_of(e), for e in start .. stop - 1; the sums.

    Without factors they are 1. With `sizes`, factor^2 |row| is added.
    """
    builder = emit.builder

    def add(e, sums):
        row, lanes = row_of(e), emit.vector.count
        values = [emit.load(row, WORD(p * lanes)) for p in range(len(sums))]
        values = [value.size() for value in values] if sizes else values
        if factor is not None:
            scale = emit.everywhere(builder.load(builder.gep(factor, [e])))
            scale = scale * scale if sizes else scale
            values = [scale * value for value in values]
        return [own + value for own, value in zip(sums, values, strict=True)]

    return while_listed(builder, start, stop, add, sums)


def place_of(builder, source, e, n):
    """Place of the row that an entry of a list names."""
    return builder.mul(builder.sext(builder.load(builder.gep(source, [e])), WORD), n)


@intrinsic
def _wide_product(context, x, y):
    def generate(target, builder, signature, arguments):
        whole = ir.IntType(128)
        product = builder.mul(*(builder.zext(factor, whole) for factor in arguments))
        words = [builder.trunc(builder.lshr(product, whole(64)), WORD), builder.trunc(product, WORD)]
        return target.make_tuple(builder, signature.return_type, words)

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate


wide_product: Any = _wide_product
"""High and low 64 bits of a product of 64-bit integers: one instruction, for which numba has no name."""
