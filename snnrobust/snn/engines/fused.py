"""The fused engine for the CPU, forward: one layer as a plain function on arrays; `gradients` goes back through it.

It sees per-step constants only: time constants and integrator are chained outside by torch. Everything that a graph
needs is in its `Tape`, which keeps its memory to itself for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.compiled import run_jobs
from snnrobust.snn.engines import layout
from snnrobust.snn.engines.inputs import Inputs, Spikes
from snnrobust.snn.engines.kernels import forward as kernels
from snnrobust.snn.engines.kernels.rows import SLACK, transpose
from snnrobust.snn.engines.memory import Lease, Values, zeros
from snnrobust.snn.engines.readings import Reading

if TYPE_CHECKING:
    from snnrobust.snn.reads import Reads

CACHED_BYTES = 400_000
"""Weights up to this size stay in a core's cache, where a row is cheap wherever it lies."""
GROUP = 8
"""Samples that a forward job runs side by side: a weight row read for one may serve all."""
Run = Callable[..., None]
"""`run_jobs`, or `alone`."""


def alone(kernel: Callable[..., None], jobs: int, *args: Any) -> None:  # noqa: ANN401 (whatever the kernel takes)
    """All jobs on the calling thread, which is one of several."""
    kernel(0, jobs, *args)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a layer is, for the kernels.

    Attributes:
        neurons: Number of neurons N.
        soft: Soft reset, else hard.
        attached: The reset passes a gradient through the spike.
        surrogate: Its name.
        slope: Its slope.
        dampening: Its dampening.
        relative: Its distance is in units of the threshold.
        readout: None for spiking neurons, else how a readout is decoded: mean, max, last.
    """

    neurons: int
    soft: bool = False
    attached: bool = False
    surrogate: str = "superspike"
    slope: float = 1.0
    dampening: float = 1.0
    relative: bool = False
    readout: str | None = None

    def flags(self, *, adaptive: bool, refracts: bool) -> NDArray[np.int64]:
        """The integers that the kernels read."""
        flags = np.zeros(layout.FLAGS, np.int64)
        flags[layout.NEURONS], flags[layout.SOFT], flags[layout.ATTACHED] = self.neurons, self.soft, self.attached
        flags[layout.ADAPTIVE], flags[layout.REFRACTS] = adaptive, refracts
        flags[layout.SURROGATE], flags[layout.RELATIVE] = layout.SHAPES[self.surrogate], self.relative
        flags[layout.READOUT] = ("mean", "max", "last").index(self.readout) + 1 if self.readout else 0
        return flags


@dataclass(frozen=True)
class Ready:
    """A layer's parameters as the kernels want them; an array of one instance serves all.

    Attributes:
        kind: What it is.
        flags: The same in integers.
        weights: By source [1 or K, I, width].
        recurrents: By source [1 or K, N or 0, width].
        constants: Rows [1 or K, rows, capacity].
        reading: How its crossbar is read.
    """

    kind: Kind
    flags: Values
    weights: Values
    recurrents: Values
    constants: Values
    reading: Reading

    @classmethod
    def of(
        cls, kind: Kind, weight: Values, recurrent: Values | None, constants: Mapping[str, Values], memory: Lease,
        *, gain: Values | None = None, reads: Reads | None = None, run: Run = run_jobs,
    ) -> Ready:  # fmt: skip
        """From weights (to, from) [N, I] or [K, N, I], constants [N] or [K, N] by name, and a gain on the weights."""
        n = layout.width(kind.neurons)
        weights = by_source(weight, memory, "weight", gain=gain, run=run)
        if recurrent is None:
            recurrents = np.empty((1, 0, n), weight.dtype)
        else:
            recurrents = by_source(recurrent, memory, "recurrent", gain=gain, run=run)
        rows = constant_rows(constants, kind.neurons, weight.dtype)
        flags = kind.flags(adaptive="a_adapt" in constants, refracts="refractory" in constants)
        return cls(kind, flags, weights, recurrents, rows, Reading.of(reads, kind.neurons, weight.dtype))

    @property
    def instances(self) -> int:
        """K, 1 where one serves all."""
        return max(len(self.weights), len(self.recurrents), len(self.constants), self.reading.instances)

    @property
    def simple(self) -> bool:
        """Whether it spikes and resets hard, with nothing else."""
        f, kind = self.flags, self.kind
        return not (kind.readout or kind.soft or kind.relative or f[layout.ADAPTIVE] or f[layout.REFRACTS])


@dataclass(frozen=True)
class Tape:
    """What the backward pass needs of a forward pass.

    Attributes:
        layer: The layer.
        instances: K.
        inputs: What drove it.
        own: Its spikes.
        arrays: v before the reset, i, b, refractory steps left [K, B, T, width] each; empty where they are not needed.
        initial: State before the first step.
        lengths: Valid steps [B].
        logits: Of a readout [K, B, width].
        simple: Whether only gradients of the weights and the bias of simple neurons are wanted.
        memory: What lends the arrays.
    """

    layer: Ready
    instances: int
    inputs: Inputs | Spikes
    own: Spikes
    arrays: tuple[Values, Values, Values, Values]
    initial: Values
    lengths: Values
    logits: Values
    simple: bool
    memory: Lease = field(repr=False)


def by_source(weight: Values, memory: Lease, name: str, *, gain: Values | None = None, run: Run = run_jobs) -> Values:
    """Weights (to, from) [N, I] or [K, N, I] times gain [N] or [K, N] as rows of sources [1 or K, I, width]."""
    matrices = np.ascontiguousarray(weight if weight.ndim == 3 else weight[None])
    count, neurons, inputs = matrices.shape
    factors = np.ones((1, neurons), weight.dtype) if gain is None else np.atleast_2d(gain)
    if len(factors) > count:
        matrices = np.broadcast_to(matrices, (len(factors), neurons, inputs)).copy()
        count = len(factors)
    result = memory.empty(name, (count, inputs, layout.width(neurons)), weight.dtype)
    run(transpose, count * (-(-inputs // 8)), matrices, factors, result)
    return result


def constant_rows(values: Mapping[str, Values], neurons: int, dtype: Any) -> Values:  # noqa: ANN401 (a dtype)
    """Constants [N] or [K, N] by name as rows [1 or K, rows, capacity]."""
    count = max([len(v) for v in values.values() if v.ndim == 2], default=1)
    rows = zeros((count, layout.ZERO + 1, layout.capacity(neurons)), dtype)
    rows[:, layout.V_TH] = np.finfo(dtype).max
    rows[:, layout.A_SYN, :neurons] = 1  # no synapse: nothing of the current is left
    for name, value in values.items():
        rows[:, layout.CONSTANTS.index(name), :neurons] = value
    return rows


def forward(
    layer: Ready,
    inputs: Inputs | Spikes,
    memory: Lease,
    *,
    instances: int = 1,
    initial: Values | None = None,
    lengths: Values | None = None,
    want: frozenset[str] = frozenset(),
    tape: bool = False,
    constant_gradients: bool = True,
    run: Run = run_jobs,
) -> tuple[dict[str, Values], Spikes, Tape | None]:
    """Run one layer over all steps.

    Args:
        layer: Its parameters.
        inputs: Inputs, or the spikes of the layer below.
        memory: Lends what the spikes and the tape keep.
        instances: At least this many, also where no array has an instance axis.
        initial: State before the first step [1 or K, 5, B, N]: i, v, b, spikes, refractory steps left.
        lengths: Valid steps [B] for logits and rates.
        want: Which results: rates [K, B, N], spikes [K, T, B, N], final [K, 5, B, N].
        tape: Keep what `gradients.backward` needs.
        constant_gradients: Keep what the gradients of constants other than the bias need.
        run: Who runs the jobs.

    Returns:
        Results by name (logits of a readout), the spikes, the tape.
    """
    dtype, neurons, steps, batch = layer.weights.dtype, layer.kind.neurons, inputs.steps, inputs.batch
    n, spiking = layout.width(neurons), layer.kind.readout is None
    count = max(instances, layer.instances, inputs.instances, 0 if initial is None else len(initial))
    state = initial if initial is not None else np.empty((0, 5, batch, neurons), dtype)
    own = Spikes(
        memory.empty("own", (count, batch, (steps + 1) * neurons + SLACK if spiking else 1), np.int32),
        memory.empty("starts", (count, batch, steps + 2), np.int32),
        memory,
    )
    simple = layer.simple and not constant_gradients

    def kept(name: str, wanted: bool) -> Values:
        return memory.empty(name, (count if wanted else 0, batch, steps, n), dtype)

    arrays = (
        kept("potential", tape),
        kept("current", tape and not simple),
        kept("adapted", tape and bool(layer.flags[layout.ADAPTIVE])),
        kept("wait", tape and bool(layer.flags[layout.REFRACTS])),
    )
    valid = np.full(batch, steps, np.int64) if lengths is None else lengths.astype(np.int64)
    results = {
        "logits": zeros((0 if spiking else count, batch, n), dtype),
        "rates": np.zeros((count if "rates" in want else 0, batch, neurons), dtype),
        "spikes": np.zeros((count if "spikes" in want else 0, steps, batch, neurons), dtype),
        "final": np.zeros((count if "final" in want else 0, 5, batch, neurons), dtype),
    }
    listed, below = inputs.arrays(dtype)
    limits = np.array([_dense_from(layer.weights), _dense_from(layer.recurrents)])
    run(
        kernels.forward, count * -(-batch // GROUP), GROUP, layer.flags,
        (layer.weights, layer.recurrents, layer.constants), layer.reading.arrays(), listed, below,
        (own.source, own.start), tuple(results.values()), arrays, state, valid, limits,
    )  # fmt: skip
    if not tape:
        return results, own, None
    logits = results["logits"]
    return results, own, Tape(layer, count, inputs, own, arrays, state, valid, logits, simple, memory)


def _dense_from(weights: Values) -> float:
    """Share of active sources from which on rows are read for all samples at once."""
    return 0.7 if weights[0].nbytes <= CACHED_BYTES else 0.25
