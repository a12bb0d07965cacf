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
from numba.core.registry import cpu_target
from numba.extending import intrinsic

LANES = 8
"""Values that are worked on at once where registers are no concern."""
REGISTER = 64 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 32
"""Bytes of a vector register of this machine. Sums of products depend on it, in their last bits; no spike does."""
APPENDED = 4
"""Spikes that are written at once."""
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

    def load_half(self, data, place):
        """Half a vector from a place on, and zeros."""
        half = ir.VectorType(self.element, self.vector.count // 2)
        address = self.builder.bitcast(self.builder.gep(data, [place]), half.as_pointer())
        found = self.builder.load(address, align=self.target.get_abi_sizeof(self.element))
        lanes = ir.Constant(ir.VectorType(INT, self.vector.count), list(range(self.vector.count)))
        return self.builder.shuffle_vector(found, ir.Constant(half, None), lanes)

    def store(self, vector, data, place):
        """Put a vector from a place on."""
        self.builder.store(vector.value, self.at(data, place), align=self.target.get_abi_sizeof(self.element))

    def everywhere(self, value):
        """A vector of one value, which need not be an element."""
        nothing = ir.Constant(ir.VectorType(value.type, self.vector.count), ir.Undefined)
        first = self.builder.insert_element(nothing, value, INT(0))
        zeros = ir.Constant(ir.VectorType(INT, self.vector.count), [0] * self.vector.count)
        return Vector(self.builder, self.builder.shuffle_vector(first, nothing, zeros))


def in_blocks(builder, n, body, most=64):
    """Emit body(lanes, h) for blocks of `most`, .. 32, 16 and 8 values that make up n, which is a multiple of 8."""
    whole = builder.and_(n, WORD(-most))
    with cgutils.for_range_slice(builder, WORD(0), whole, WORD(most)) as (h, _):
        body(most, h)
    lanes = most // 2
    while lanes >= 8:
        with builder.if_then(builder.icmp_signed("!=", builder.and_(n, WORD(lanes)), WORD(0))):
            body(lanes, builder.and_(n, WORD(-2 * lanes)))
        lanes //= 2


def while_listed(builder, start, stop, body, carried=(), step=1):
    """Emit `carried = body(e, carried)` for e in start, start + step .. below stop; it stays in registers."""
    entry, loop, done = builder.block, builder.append_basic_block("listed"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, done)
    builder.position_at_end(loop)
    e, own = builder.phi(WORD), [builder.phi(c.value.type) for c in carried]
    after, following = body(e, [Vector(builder, phi) for phi in own]), builder.add(e, WORD(step))
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


def list_fired(builder, source, ends, fired, h):
    """Append the places h .. of neurons to a list of 32-bit numbers where the vectors `fired` of bits say so, in order.

    `ends` points to the place after the list's last, and is moved on. More may be written than counts, and written over
    next: nothing predicts where neurons spike, and a branch for each spike costs more than the update of the neurons.
    """
    width = fired[0].type.count
    if width * 4 == REGISTER == 64:  # one instruction packs the chosen places of a register
        numbers, mask = ir.VectorType(INT, width), ir.VectorType(BIT, width)
        kind = ir.FunctionType(numbers, [numbers, numbers, mask])
        pack = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.mask.compress.v16i32")
        nothing, zeros = ir.Constant(numbers, None), ir.Constant(ir.VectorType(INT, width), [0] * width)
        here = builder.insert_element(nothing, builder.trunc(h, INT), INT(0))
        here = builder.shuffle_vector(here, nothing, zeros)
        end = builder.load(ends)
        for n, own in enumerate(fired):
            places = builder.add(here, ir.Constant(numbers, [n * width + lane for lane in range(width)]))
            address = builder.bitcast(builder.gep(source, [end]), numbers.as_pointer())
            builder.store(builder.call(pack, [places, nothing, own]), address, align=4)
            bits = builder.ctpop(builder.bitcast(own, ir.IntType(width)))
            end = builder.add(end, builder.zext(bits, WORD))
        builder.store(end, ends)
        return
    for first in range(0, len(fired), 64 // width):
        word = WORD(0)
        for n, own in enumerate(fired[first : first + 64 // width]):
            bits = builder.zext(builder.bitcast(own, ir.IntType(width)), WORD)
            word = builder.or_(word, builder.shl(bits, WORD(n * width)))
        _list_bits(builder, source, ends, word, builder.add(h, WORD(first * width)))


def _list_bits(builder, source, ends, word, h):
    """Append h + the bits of a word to a list."""
    begin = builder.load(ends)
    builder.store(builder.add(begin, builder.ctpop(word)), ends)

    def write(e, word):
        place = builder.trunc(builder.add(h, builder.cttz(word, BIT(0))), INT)
        builder.store(place, builder.gep(source, [e]), align=4)
        return builder.and_(word, builder.sub(word, WORD(1)))

    for n in range(APPENDED):
        word = write(builder.add(begin, WORD(n)), word)
    rest = builder.add(begin, WORD(APPENDED))
    entry, loop, done = builder.block, builder.append_basic_block("bits"), builder.append_basic_block("all")
    builder.cbranch(builder.icmp_signed("!=", word, WORD(0)), loop, done)
    builder.position_at_end(loop)
    e, left = builder.phi(WORD), builder.phi(WORD)
    after, following = write(e, left), builder.add(e, WORD(1))
    e.add_incoming(rest, entry)
    e.add_incoming(following, loop)
    left.add_incoming(word, entry)
    left.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("!=", after, WORD(0)), loop, done)
    builder.position_at_end(done)


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
