"""Which engine runs a network, and how layers are handed to the fused one.

"eager" is plain torch and the definition of every engine. "numba" is the fused engine for the CPU; "auto" takes it
where it can and eager elsewhere: on other devices, for neurons with a step of their own, where neurons' spikes are lost
or late on their way, under torch's function transforms. numba itself is loaded at the first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.snn import neurons
from snnrobust.snn.neurons import State
from snnrobust.snn.specs import WEIGHTS

if TYPE_CHECKING:
    from snnrobust.snn.engines.stack import Part
    from snnrobust.snn.layers import Layer, SpikingLayer
    from snnrobust.snn.readouts import LI, MeanRate
    from snnrobust.snn.reads import Reads

ENGINES = ("auto", "numba", "eager")
Params = Mapping[str, Tensor]


def checked(engine: str) -> str:
    """The engine's name.

    Raises:
        ConfigError: If there is no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(unknown("engine", engine, ENGINES))
    return engine


def fused(
    engine: str,
    layers: Sequence[Any],
    params: Iterable[Tensor],
    x: Tensor,
    state: Any = None,  # noqa: ANN401
    *,
    reads: bool = False,
    routes: bool = False,
) -> bool:
    """Whether the fused engine runs these layers on these tensors, with reads of crossbars, and routes of spikes.

    Raises:
        ConfigError: If the engine is "numba" and cannot.
    """
    if checked(engine) == "eager":
        return False
    why = "has no events of spikes between neurons" if routes else _obstacle(layers, [*params, x], state, reads)
    if why and engine == "numba":
        raise ConfigError(f"engine: numba {why}; allowed here: eager, auto")
    return not why


def _obstacle(layers: Sequence[Any], tensors: Sequence[Tensor], state: Any, reads: bool) -> str | None:  # noqa: ANN401
    for layer in layers:
        if _has_its_own(layer):
            return f"does not know the neurons of {type(layer).__name__}, which have equations of their own"
    kinds = {(t.device.type, t.dtype) for t in tensors}
    if len(kinds) > 1 or not kinds <= {("cpu", torch.float32), ("cpu", torch.float64)}:
        return f"runs on the CPU in float32 or float64, not on {sorted(f'{d} {t}' for d, t in kinds)}"
    if torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling():
        return "cannot be transformed by torch.func or compiled"
    if forward_ad._current_level >= 0:
        return "has no forward-mode derivatives"
    parts = [] if state is None else [part for part in state if isinstance(part, Tensor)]
    if reads and torch.is_grad_enabled() and any(t.requires_grad for t in [*tensors, *parts]):
        return "reads crossbars without gradients only (torch.no_grad)"
    if state is not None and not (isinstance(state, State) and bool(((state.o == 0) | (state.o == 1)).all())):
        return "goes on only from a `State` whose spikes are 0 or 1"
    if tensors[-1].ndim < 3:
        return None  # no input of a layer, which says so
    shape, dtype = (tensors[-1].shape[-2], layers[0].neurons), tensors[-1].dtype
    if any(part.dtype != dtype or tuple(part.shape[-2:]) != shape or part.ndim > 3 for part in parts):
        return f"goes on only from a state of shape {list(shape)}, or one for each instance, in {dtype}"
    return None


def _has_its_own(layer: Layer) -> bool:
    """Whether a layer's class replaces any of what the fused engine does instead."""
    from snnrobust.snn.layers import SpikingLayer
    from snnrobust.snn.readouts import LI, MeanRate

    base = next(kind for kind in (SpikingLayer, LI, MeanRate) if isinstance(layer, kind))
    names = ("step", "start", "run", "trace", "drive", "effective", "connecting", "of_rate")
    return any(getattr(type(layer), name, None) is not getattr(base, name, None) for name in names)


def part_of(layer: Layer, params: Params, reads: Reads | None = None) -> Part:
    """A layer's tensors and kind for the fused engine; everything in it is differentiable in params."""
    from snnrobust.snn.engines.fused import Kind
    from snnrobust.snn.engines.stack import Part

    dynamics: Any = layer.dynamics
    current = (*WEIGHTS, "bias", "gain")
    shaped = neurons.constants({n: p for n, p in params.items() if n not in current}, dynamics)
    constants = {n: c if c.ndim == 1 else c.squeeze(-2) for n, c in shaped.items()}
    constants["bias"] = params["bias"]
    surrogate = dynamics.surrogate
    kind = Kind(
        neurons=layer.neurons,
        soft=dynamics.reset == "soft",
        attached=not dynamics.detach_reset,
        surrogate=surrogate.shape,
        slope=surrogate.slope,
        dampening=surrogate.dampening,
        relative=surrogate.scale == "threshold",
        readout=getattr(layer, "decode", None),
    )
    for name in WEIGHTS:
        if reads is not None and name in params:
            reads.check(params[name].shape[-1])
    recurrent = layer.connecting(params, "recurrent_weight") if "recurrent_weight" in params else None
    return Part(kind, layer.connecting(params, "weight"), recurrent, params.get("gain"), constants, reads)


def run_layer(
    layer: SpikingLayer, params: Params, x: Tensor, state: State | None, reads: Reads | None = None
) -> tuple[Tensor, State]:
    """Spikes and last state of one layer."""
    from snnrobust.snn.engines.stack import run_stack

    part = part_of(layer, params, reads)
    initial = None if state is None else _rows(state)
    counts = {layer.instances(params), *(len(t) for t in (x, initial) if t is not None and t.ndim == 4)} - {None}
    if reads is not None and reads.instances > 1:
        counts.add(reads.instances)
    if len(counts) > 1:
        raise ShapeError(f"instances: parameters, input, state and reads disagree on their number: {counts}")
    found = run_stack([part], x, initial=initial, spikes=True, final=True)
    assert found.final is not None
    i, v, b, o, wait = found.final.unbind(-3)
    has = part.constants
    return found.spikes[0], State(
        v, i if "a_syn" in has else None, b if "a_adapt" in has else None, o, wait if "refractory" in has else None
    )


def run_network(
    spiking: Mapping[str, SpikingLayer],
    readout: LI | MeanRate,
    params: Mapping[str, Params],
    x: Tensor,
    lengths: Tensor | None,
    *,
    rates: bool = False,
    spikes: bool = False,
    reads: Mapping[str, Reads] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the mean rates or spikes of every layer by name."""
    from snnrobust.snn.engines.stack import run_stack
    from snnrobust.snn.readouts import LI

    how = reads or {}
    parts = [part_of(layer, params[name], how.get(name)) for name, layer in spiking.items()]
    if isinstance(readout, LI):
        parts.append(part_of(readout, params["readout"], how.get("readout")))
        found = run_stack(parts, x, lengths=lengths, rates=rates, spikes=spikes)
        assert found.logits is not None
        logits = found.logits
    else:
        found = run_stack(parts, x, lengths=lengths, rates=True, spikes=spikes)
        logits = readout.of_rate(params["readout"], found.rates[-1])
    return logits, dict(zip(spiking, found.spikes if spikes else found.rates if rates else (), strict=False))


def _rows(state: State) -> Tensor:
    """A state as rows [5, B, N] or [K, 5, B, N]."""
    zero = torch.zeros_like(state.v)
    rows = (state.i, state.v, state.b, state.o, state.wait)
    return torch.stack([zero if row is None else row.expand_as(zero) for row in rows], dim=-3)
