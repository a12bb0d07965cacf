"""How far inference is from what this machine can do: micro-kernels, each doing one phase of the work and no other.

    python benchmarks/speed_limit.py

The limit is the sum over the phases of (work of the point) / (rate of its micro-kernel):

    rows      add weight rows, as many a step as neurons and inputs spike, of a matrix in the second-level cache
    neurons   update synapse and membrane and compare with the threshold, without any spike
    normals   draw standard normals (not part of an inference whose parameters are given)

They are written as vector code, because a limit has to be one: sums of rows stay in registers over all rows of a step,
in their order, and arrays start at cache lines. `cache` reads an array of the matrix's size, at the rate that bounds
`rows`. All cores work, each on its own arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from speed_case import Case, Data, Runner, build, network
from speed_timing import Timing, interleaved

from snnrobust.compiled import available_cores, kernel, run_jobs, set_threads
from snnrobust.hardware.normals import normals

WIDE, NARROW = 64, 8  # floats at once: eight registers of sums of rows; one, where more of them only spill
JOBS, ROWS, STEPS, NORMALS = 16, 60_000, 10_000, 1 << 16


def _vectors(builder: Any, array: Any, row: Any, first: Any, width: int) -> Any:  # noqa: ANN401 (llvmlite's types)
    """Pointer to array[row, first : first + width] as a vector."""
    offset = builder.add(builder.mul(row, builder.extract_value(array.shape, 1)), first)
    return builder.bitcast(builder.gep(array.data, [offset]), ir.VectorType(ir.FloatType(), width).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _sum_rows(context: Any, total: Any, rows: Any, source: Any, start: Any, stop: Any, first: Any) -> Any:  # noqa: ANN401
    """total[0, h] += rows[source[e], h] for e in start .. stop - 1 (not empty) and WIDE values h from first on."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        arrays = [target.make_array(signature.args[n])(target, builder, arguments[n]) for n in range(3)]
        start, stop, first = arguments[3:]
        word = ir.IntType(64)
        address = _vectors(builder, arrays[0], ir.Constant(word, 0), first, WIDE)
        before, entry = builder.load(address, align=4), builder.block
        loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        e, sums = builder.phi(word), builder.phi(before.type)
        row = builder.load(builder.gep(arrays[2].data, [e]))
        after = builder.fadd(sums, builder.load(_vectors(builder, arrays[1], row, first, WIDE), align=4))
        following = builder.add(e, ir.Constant(word, 1))
        for phi, initial, update in ((e, start, following), (sums, before, after)):
            phi.add_incoming(initial, entry)
            phi.add_incoming(update, loop)
        builder.cbranch(builder.icmp_signed("<", following, stop), loop, done)
        builder.position_at_end(done)
        builder.store(after, address, align=4)
        return target.get_dummy_value()

    return types.void(total, rows, source, types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _update(context: Any, constants: Any, state: Any, first: Any) -> Any:  # noqa: ANN401
    """A step of NARROW neurons, constants (a_mem, a_syn, v_leak, v_th) and state (i, v): the bits v > v_th."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        c, s = (target.make_array(signature.args[n])(target, builder, arguments[n]) for n in range(2))
        row = [ir.Constant(ir.IntType(64), n) for n in range(4)]
        where = [_vectors(builder, s, row[n], arguments[2], NARROW) for n in range(2)]
        a_mem, a_syn, leak, threshold = (
            builder.load(_vectors(builder, c, r, arguments[2], NARROW), align=4) for r in row
        )
        i, v = (builder.load(address, align=4) for address in where)
        v = builder.fadd(v, builder.fmul(a_mem, builder.fadd(builder.fsub(leak, v), i)))
        i = builder.fsub(i, builder.fmul(a_syn, i))
        builder.store(i, where[0], align=4)
        builder.store(v, where[1], align=4)
        above = builder.fcmp_ordered(">", v, threshold)
        return builder.zext(builder.bitcast(above, ir.IntType(NARROW)), ir.IntType(64))

    return types.uint64(constants, state, types.int64), generate


@kernel
def _rows_only(start, stop, weights, sources, per_step, totals):  # noqa: ANN001, ANN202 (compiled)
    for job in range(start, stop):
        rows, source, total = weights[job], sources[job], totals[job]
        for e in range(0, len(source) - per_step + 1, per_step):
            for first in range(0, rows.shape[1], WIDE):
                _sum_rows(total, rows, source, e, e + per_step, first)


@kernel
def _neurons_only(start, stop, constants, states, steps, fired):  # noqa: ANN001, ANN202
    for job in range(start, stop):
        c, s = constants[job], states[job]
        found = np.uint64(0)
        for _ in range(steps):
            for first in range(0, s.shape[1], NARROW):
                found |= _update(c, s, first)
        fired[job] = found


@kernel
def _read_only(start, stop, arrays, repeats, sums):  # noqa: ANN001, ANN202
    for job in range(start, stop):
        array = arrays[job]
        found = 0
        for r in range(repeats):
            total = 0
            for n in range(len(array)):
                total += array[n] ^ r
            found ^= total
        sums[job] = found


@dataclass(frozen=True)
class Phase:
    """A micro-kernel.

    Attributes:
        call: One run.
        work: Units done by a run: rows, neurons, normals.
        size: Bytes read and written for a unit.
    """

    call: Callable[[], Any]
    work: int
    size: int


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """A copy that starts at a cache line; loads that straddle two cost twice."""
    memory = np.empty(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def phases(neurons: int, per_step: int) -> dict[str, Phase]:
    """The micro-kernels for layers of a size with so many rows a step.

    Raises:
        ValueError: If neurons is not a multiple of WIDE.
    """
    if neurons % WIDE:
        raise ValueError(f"neurons: {neurons} must be a multiple of {WIDE}")
    generator = np.random.default_rng(0)
    weights = aligned(generator.standard_normal((JOBS, neurons, neurons), dtype=np.float32))
    sources = generator.integers(neurons, size=(JOBS, ROWS // per_step * per_step))
    totals = aligned(np.zeros((JOBS, 1, neurons), np.float32))
    constants = np.array([0.05, 0, 0, 1e30], np.float32)[
        :, None
    ]  # a current that stays: no tiny numbers, which are slow
    constants = aligned(np.broadcast_to(constants, (JOBS, 4, neurons)))
    states = aligned(np.full((JOBS, 2, neurons), 0.5, np.float32))
    words, found = weights.view(np.int64).reshape(JOBS, -1), np.zeros(JOBS, np.uint64)
    repeats = max(1, ROWS // neurons)
    sums = np.zeros(JOBS, np.int64)
    row = 4 * neurons
    return {
        "rows": Phase(lambda: run_jobs(_rows_only, JOBS, weights, sources, per_step, totals), sources.size, row),
        "neurons": Phase(
            lambda: run_jobs(_neurons_only, JOBS, constants, states, STEPS, found), JOBS * STEPS * neurons, 32
        ),
        "normals": Phase(lambda: normals(range(JOBS), [NORMALS] * JOBS), JOBS * NORMALS, 4),
        "cache": Phase(lambda: run_jobs(_read_only, JOBS, words, repeats, sums), JOBS * repeats * neurons, row),
    }


def runners(micro: dict[str, Phase]) -> dict[str, Runner]:
    """To be timed beside the engine whose limit they are; a unit of work is their "chip"."""
    return {f"limit: {name}": Runner(phase.call, phase.work) for name, phase in micro.items()}


def rows_of(data: Data) -> float:
    """Weight rows that one chip's inference adds: one a hidden spike before the last step, one an input not 0."""
    with torch.no_grad():
        few = {name: p[:4] if p.ndim > data.nominal[name].ndim else p for name, p in data.chips.items()}
        spikes = network(data.case, data.nominal).record(few, data.x).spikes["layer0"]
    return float(spikes[:, :-1].sum()) / len(spikes) + float((data.x != 0).sum())


def rows_per_step(data: Data) -> int:
    """The mean number of rows that a sample adds in a step, at least 1."""
    return max(1, round(rows_of(data) / (data.case.steps * data.case.batch)))


def limit(data: Data, timings: dict[str, Timing]) -> tuple[float, list[str]]:
    """Seconds that one chip's inference takes at least, and lines that say how they come about."""
    case, micro = data.case, phases(data.case.neurons, rows_per_step(data))
    work = {"rows": rows_of(data), "neurons": case.steps * case.batch * case.neurons}
    total, lines = 0.0, []
    for name, phase in micro.items():
        each = timings[f"limit: {name}"].median
        line = f"  {name:8} {phase.size / each / 1e9:6.1f} GB/s, {1e-6 / each:9.2f} million/s"
        if name in work:
            total += work[name] * each
            line += f"; {work[name]:.3g} of them a chip take {work[name] * each * 1e3:.3f} ms"
        lines.append(line)
    share = micro["rows"].size / timings["limit: rows"].median / (micro["cache"].size / timings["limit: cache"].median)
    return total, [*lines, f"  rows reach {share:.0%} of the cache's bandwidth"]


def main() -> None:
    """Print the micro-kernels' rates and the limit of the base point."""
    set_threads(available_cores())
    data = build(Case())
    timings = interleaved(runners(phases(data.case.neurons, rows_per_step(data))), 9)
    seconds, lines = limit(data, timings)
    print("\n".join([*lines, f"limit of an inference: {seconds * 1e3:.3f} ms a chip"]))


if __name__ == "__main__":
    main()
