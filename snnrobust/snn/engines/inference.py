"""A whole stack without gradients: threads take some samples of a few chips through all layers, and keep results only.

Spikes live in lists that the thread writes over for its next samples, weights by source in arrays that it writes over
for its next chip: memory does not grow with the number of chips, samples or steps beyond the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnrobust.compiled import get_threads, run_jobs
from snnrobust.snn.engines.fused import GROUP, Kind, Ready, Run, Tape, alone, by_source, forward
from snnrobust.snn.engines.inputs import Inputs, Spikes
from snnrobust.snn.engines.memory import Lease, Values

if TYPE_CHECKING:
    from snnrobust.snn.reads import Reads

Arrays = Mapping[str, Values]
"""A layer's weight, recurrent, gain and constants by name, as in `stack.Part`."""
_LIST_BYTES = 32_000_000
"""What the lists of spikes of one thread may take; little of it is touched where spikes are sparse."""
_MOST_CHIPS = 4
"""Chips that a thread takes through the layers at once: what one call costs is shared by them."""


@dataclass(frozen=True)
class Request:
    """What is to be run, and what is wanted of it.

    Attributes:
        kinds: What each layer is.
        names: Names of each layer's arrays.
        lengths: Valid steps [B], or None.
        rates: Whether rates are wanted.
        spikes: Whether spikes are wanted.
        final: Whether the final state of the last spiking layer is wanted.
        reads: How each layer's crossbar is read.
    """

    kinds: tuple[Kind, ...]
    names: tuple[tuple[str, ...], ...]
    lengths: Values | None
    rates: bool
    spikes: bool
    final: bool
    reads: tuple[Reads | None, ...]


def through_layers(
    request: Request,
    layers: Sequence[Ready],
    inputs: Inputs,
    memories: Sequence[Lease],
    *,
    instances: int = 1,
    initial: Values | None = None,
    lengths: Values | None = None,
    constant_gradients: Sequence[bool] | None = None,
    run: Run = run_jobs,
) -> tuple[list[Values], list[Tape]]:
    """All layers one after the other: logits of a readout, then rates, spikes and final state; and their tapes.

    Args:
        request: What is wanted.
        layers: The layers.
        inputs: Of the first one.
        memories: What each layer's lists and tape lie in.
        instances: At least this many.
        initial: State of the first layer before the first step.
        lengths: Valid steps [B].
        constant_gradients: Whether gradients of a layer's constants other than the bias are wanted; None for no tapes.
        run: Who runs the jobs.
    """
    below: Inputs | Spikes = inputs
    logits, rates, spikes, finals, tapes = [], [], [], [], []
    wanted = ("rates",) * request.rates + ("spikes",) * request.spikes + ("final",) * request.final
    for n, (layer, memory) in enumerate(zip(layers, memories, strict=True)):
        spiking = layer.kind.readout is None
        found, below, tape = forward(
            layer, below, memory, instances=instances, initial=initial if spiking else None, lengths=lengths,
            want=frozenset(wanted if spiking else ()), tape=constant_gradients is not None,
            constant_gradients=constant_gradients is not None and constant_gradients[n], run=run,
        )  # fmt: skip
        if spiking:
            rates += [found["rates"]] * request.rates
            spikes += [found["spikes"]] * request.spikes
            finals = [found["final"]] * request.final
        else:
            logits = [found["logits"][..., : layer.kind.neurons].copy()]  # the tape needs its own
        if tape is not None:
            tapes.append(tape)
    return [*logits, *rates, *spikes, *finals], tapes


def infer(request: Request, inputs: Inputs, initial: Values | None, layers: Sequence[Arrays]) -> list[Values]:
    """The results of `through_layers` for all chips [K, ...]."""
    chips = [_Chips.of(*layer) for layer in zip(request.kinds, layers, request.reads, strict=True)]
    count = max([instances_of(inputs, initial, layers), *(chip.ready.reading.instances for chip in chips)])
    some = max(1, min(_MOST_CHIPS, count // (2 * get_threads())))
    size = _samples_at_once(request, inputs, count, some)
    parts = -(-inputs.batch // size)
    results = _empty_results(request, inputs, count, chips[0].ready.weights.dtype)
    axes = [2 if r.ndim == 4 else 1 for r in results]  # where samples are

    def work(first: int, last: int) -> None:
        memories, at, ready = [Lease() for _ in chips], -1, []
        for unit in range(first, last):
            block, part = divmod(unit, parts)
            which = slice(block * some, min((block + 1) * some, count))
            samples = slice(part * size, min((part + 1) * size, inputs.batch))
            if block != at:
                at, ready = block, [chip.block(which, memory) for chip, memory in zip(chips, memories, strict=True)]
            state = None if initial is None else np.ascontiguousarray(_block(initial, which)[:, :, samples])
            own = [replace(one, reading=one.reading.part(slice(None), samples.start)) for one in ready]
            found, _ = through_layers(
                request, own, inputs.part(which, samples), memories, instances=which.stop - which.start,
                initial=state, lengths=None if request.lengths is None else request.lengths[samples], run=alone,
            )  # fmt: skip
            for result, axis, values in zip(results, axes, found, strict=True):
                result[(which, *(slice(None),) * (axis - 1), samples)] = values

    run_jobs(work, -(-count // some) * parts)
    return results


def _block(values: Values, which: slice) -> Values:
    """Some instances of an array whose first axis has all of them, or one that serves all."""
    return values if len(values) == 1 else values[which]


@dataclass(frozen=True)
class _Chips:
    """One layer of all chips: its arrays, and ready but for the weights where chips differ in them."""

    own: Arrays
    ready: Ready
    shared: bool
    memory: Lease

    @classmethod
    def of(cls, kind: Kind, own: Arrays, reads: Reads | None) -> _Chips:
        shared = all(own[name].ndim == axes for name, axes in _WEIGHTS.items() if name in own)
        memory, first = Lease(), own
        if not shared:  # weights come with each block
            first = {name: _of_chips(name, v, slice(0, 1))[..., :0] for name, v in own.items() if name in _WEIGHTS}
            first.pop("gain", None)
        ready = Ready.of(
            kind, first["weight"], first.get("recurrent"), constants_of(own), memory, gain=first.get("gain"),
            reads=reads,
        )  # fmt: skip
        return cls(own, ready, shared, memory)

    def block(self, which: slice, memory: Lease) -> Ready:
        """Some chips'; their weights lie in `memory`."""
        ready, weights, recurrents = self.ready, self.ready.weights, self.ready.recurrents
        if not self.shared:
            own = {name: _of_chips(name, v, which) for name, v in self.own.items() if name in _WEIGHTS}
            weights = by_source(own["weight"], memory, "weight", gain=own.get("gain"), run=alone)
            if "recurrent" in own:
                recurrents = by_source(own["recurrent"], memory, "recurrent", gain=own.get("gain"), run=alone)
        constants, reading = _block(ready.constants, which), ready.reading.part(which, 0)
        return Ready(ready.kind, ready.flags, weights, recurrents, constants, reading)


_WEIGHTS = {"weight": 2, "recurrent": 2, "gain": 1}


def _of_chips(name: str, values: Values, which: slice) -> Values:
    chosen: Values = values[which] if values.ndim > _WEIGHTS[name] else values
    return chosen


def constants_of(own: Arrays) -> dict[str, Values]:
    """The per-step constants among a layer's arrays."""
    return {name: v for name, v in own.items() if name not in _WEIGHTS}


def instances_of(inputs: Inputs, initial: Values | None, layers: Sequence[Arrays]) -> int:
    """Instances K of a stack, 1 if nothing has an instance axis."""
    found = [len(v) for own in layers for name, v in own.items() if v.ndim > _WEIGHTS.get(name, 1)]
    return max([1, inputs.instances, 0 if initial is None else len(initial), *found])


def _samples_at_once(request: Request, inputs: Inputs, count: int, some: int) -> int:
    """Samples that a thread takes through all layers at once: few enough for its lists and to give all threads work."""
    lists = some * sum(4 * inputs.steps * kind.neurons for kind in request.kinds if kind.readout is None)
    wanted = -(-2 * get_threads() * some // count)  # parts of the batch, so that no thread waits long for the last
    most = min(_LIST_BYTES // max(1, lists), -(-inputs.batch // wanted))
    return max(1, -(-most // GROUP)) * GROUP


def _empty_results(request: Request, inputs: Inputs, count: int, dtype: Any) -> list[Values]:  # noqa: ANN401
    batch, spiking = inputs.batch, [kind.neurons for kind in request.kinds if kind.readout is None]
    shapes = [(count, batch, kind.neurons) for kind in request.kinds if kind.readout is not None]
    shapes += [(count, batch, n) for n in spiking if request.rates]
    four = [(count, inputs.steps, batch, n) for n in spiking if request.spikes]
    four += [(count, 5, batch, spiking[-1])] if request.final else []
    return [np.empty(shape, dtype) for shape in [*shapes, *four]]
