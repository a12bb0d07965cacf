"""Layers of a network on the fused engine, as one differentiable torch function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnrobust.snn.engines.fused import Inputs, Kind, Spikes, Tape, backward, forward
from snnrobust.snn.engines.layout import CONSTANTS

_BLOCK_BYTES = 20_000_000
"""What the spike lists of a block of instances may take where no gradient is wanted."""


class Part(NamedTuple):
    """One layer's place in a stack: what it is, and its tensors.

    Attributes:
        kind: What it is.
        weight: Effective weights (to, from) [N, I] or [K, N, I].
        recurrent: Effective recurrent weights [N, N] or [K, N, N], or None.
        constants: Per-step constants [N] or [K, N] by name, see `layout.CONSTANTS`.
    """

    kind: Kind
    weight: Tensor
    recurrent: Tensor | None
    constants: Mapping[str, Tensor]


@dataclass(frozen=True)
class Results:
    """What a stack gives.

    Attributes:
        logits: Of the readout [B, O] or [K, B, O], or None.
        rates: Mean rates over the valid steps of each spiking layer [B, N] or [K, B, N], if wanted.
        spikes: Spikes of each spiking layer [T, B, N] or [K, T, B, N], if wanted.
        final: State rows (i, v, b, spikes, refractory steps left) of the last spiking layer after the last step,
            [5, B, N] or [K, 5, B, N], if wanted.
    """

    logits: Tensor | None
    rates: list[Tensor]
    spikes: list[Tensor]
    final: Tensor | None


@dataclass(frozen=True)
class _Request:
    """What is not a tensor."""

    kinds: tuple[Kind, ...]
    names: tuple[tuple[str, ...], ...]
    lengths: Any
    rates: bool
    spikes: bool
    final: bool


def run_stack(
    parts: Sequence[Part],
    x: Tensor,
    *,
    lengths: Tensor | None = None,
    initial: Tensor | None = None,
    rates: bool = False,
    spikes: bool = False,
    final: bool = False,
) -> Results:
    """Run layers one after the other over all steps.

    Args:
        parts: The layers; a readout may only be the last.
        x: Inputs [T, B, I] or [K, T, B, I].
        lengths: Valid steps [B], for logits and rates.
        initial: State rows of a single spiking layer [5, B, N] or [K, 5, B, N].
        rates: Whether rates are wanted.
        spikes: Whether spikes are wanted.
        final: Whether the final state is wanted.
    """
    names = tuple(tuple(n for n in ("recurrent", *CONSTANTS) if _tensor(part, n) is not None) for part in parts)
    request = _Request(
        tuple(part.kind for part in parts),
        names,
        None if lengths is None else lengths.numpy(),
        rates,
        spikes,
        final,
    )
    tensors: list[Tensor] = []
    for part, own in zip(parts, names, strict=True):
        tensors += [part.weight, *(t for t in (_tensor(part, name) for name in own) if t is not None)]
    axes = [(part.weight.ndim > 2) or any(c.ndim > 1 for c in part.constants.values()) for part in parts]
    axes += [part.recurrent is not None and part.recurrent.ndim > 2 for part in parts]
    instances = any(axes) or x.ndim == 4 or (initial is not None and initial.ndim == 4)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, initial, *tensors)):
        found = _Stack.apply(request, x, initial, *tensors)
    else:
        found = _without_gradients(request, x, initial, tensors)
    results: tuple[Tensor, ...] = tuple(t if instances else t.squeeze(0) for t in found)
    spiking = sum(part.kind.readout is None for part in parts)
    logits = results[0] if parts[-1].kind.readout else None
    rest = results[1:] if logits is not None else results
    return Results(
        logits,
        list(rest[:spiking]) if rates else [],
        list(rest[spiking * rates : spiking * (rates + spikes)]) if spikes else [],
        rest[-1] if final else None,
    )


def _tensor(part: Part, name: str) -> Tensor | None:
    return part.recurrent if name == "recurrent" else part.constants.get(name)


def _array(t: Tensor) -> Any:  # noqa: ANN401 (an array)
    return t.detach().contiguous().numpy()


def _split(request: _Request, tensors: Sequence[Tensor]) -> list[tuple[Any, Any, dict[str, Any]]]:
    """Weight, recurrent weight and constants of each layer as arrays."""
    result, left = [], iter(tensors)
    for names in request.names:
        weight = _array(next(left))
        own = {name: _array(next(left)) for name in names}
        result.append((weight, own.pop("recurrent", None), own))
    return result


def _run(
    request: _Request, x: Inputs, initial: Any, layers: Sequence[tuple[Any, Any, dict[str, Any]]],  # noqa: ANN401
    *, instances: int, constant_gradients: Sequence[bool] | None,
) -> tuple[list[Any], list[Tape]]:  # fmt: skip
    """All layers: results in the order of `_Stack`, and the tapes."""
    tape = constant_gradients is not None
    below: Inputs | Spikes = x
    logits, rates, spikes, finals, tapes = [], [], [], [], []
    for n, (kind, (weight, recurrent, constants)) in enumerate(zip(request.kinds, layers, strict=True)):
        spiking = kind.readout is None
        wanted = ("rates",) * request.rates + ("spikes",) * request.spikes + ("final",) * request.final
        found, below, record = forward(
            kind, weight, recurrent, constants, below, instances=instances, initial=initial if spiking else None,
            lengths=request.lengths, want=frozenset(wanted if spiking else ()), tape=tape,
            constant_gradients=constant_gradients is not None and constant_gradients[n],
        )  # fmt: skip
        if spiking:
            rates += [found["rates"]] * request.rates
            spikes += [found["spikes"]] * request.spikes
            finals = [found["final"]] * request.final
        else:
            logits = [np.ascontiguousarray(found["logits"][..., : kind.neurons])]
        if record is not None:
            tapes.append(record)
    return [*logits, *rates, *spikes, *finals], tapes


def _without_gradients(
    request: _Request, x: Tensor, initial: Tensor | None, tensors: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """In blocks of instances, so that spike lists stay small."""
    layers, inputs = _split(request, tensors), Inputs.of(_array(x))
    start = None if initial is None else _state(initial)
    count = _instances(inputs.x, start, layers)
    most = max(4 * inputs.steps * inputs.batch * kind.neurons for kind in request.kinds)
    size = max(2, _BLOCK_BYTES // most)
    if count <= size:
        return tuple(
            torch.from_numpy(a)
            for a in _run(request, inputs, start, layers, instances=count, constant_gradients=None)[0]
        )
    rows: list[list[Any]] = []
    for first in range(0, count, size):
        block = slice(first, first + size)
        own = [
            (_cut(w, 2, block), _cut(r, 2, block), {name: _cut(v, 1, block) for name, v in c.items()})
            for w, r, c in layers
        ]
        part = inputs if len(inputs.x) == 1 else inputs.block(block)
        begin = start if start is None or len(start) == 1 else start[block]
        rows.append(_run(request, part, begin, own, instances=min(size, count - first), constant_gradients=None)[0])
    return tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True))


def _instances(x: Any, start: Any, layers: Sequence[tuple[Any, Any, dict[str, Any]]]) -> int:  # noqa: ANN401
    """Instances K of a stack, 1 if nothing has an instance axis."""
    arrays = [(a, n) for w, r, c in layers for a, n in ((w, 2), (r, 2), *((v, 1) for v in c.values()))]
    return max([1, len(x), 0 if start is None else len(start), *(len(a) for a, n in arrays if _has(a, n))])


def _has(a: Any, nominal: int) -> bool:  # noqa: ANN401
    return a is not None and a.ndim > nominal


def _cut(a: Any, nominal: int, block: slice) -> Any:  # noqa: ANN401
    return a[block] if _has(a, nominal) else a


def _state(initial: Tensor) -> Any:  # noqa: ANN401
    state = _array(initial)
    return state if state.ndim == 4 else state[None]


class _Stack(torch.autograd.Function):
    """(request, x, initial, tensors of every layer) -> logits, rates.., spikes.., final, each [K, ...]."""

    @staticmethod
    def forward(ctx: Any, request: _Request, x: Tensor, initial: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        ctx.request, ctx.shapes = request, [t.ndim for t in tensors]
        ctx.x_axes, ctx.initial_axes = x.ndim, None if initial is None else initial.ndim
        needed, place = ctx.needs_input_grad[3:], 0
        constants = []
        for names in request.names:
            own = dict(zip(("weight", *names), needed[place : place + 1 + len(names)], strict=True))
            constants.append(any(v for n, v in own.items() if n not in ("weight", "recurrent", "bias")))
            place += 1 + len(names)
        ctx.layers = _split(request, tensors)
        start = None if initial is None else _state(initial)
        inputs = Inputs.of(_array(x))
        count = _instances(inputs.x, start, ctx.layers)
        found, ctx.tapes = _run(request, inputs, start, ctx.layers, instances=count, constant_gradients=constants)
        return tuple(torch.from_numpy(a) for a in found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        request, left = ctx.request, [_array(g) for g in grads]
        spiking = sum(kind.readout is None for kind in request.kinds)
        logits = left.pop(0) if request.kinds[-1].readout else None
        rates = [left.pop(0) for _ in range(spiking * request.rates)]
        spikes = [left.pop(0) for _ in range(spiking * request.spikes)]
        final = left.pop(0) if request.final else None
        found: list[Tensor | None] = []
        above, gx, gstate = None, None, None
        place = 3 + len(ctx.shapes)
        for n in reversed(range(len(request.kinds))):
            names = ("weight", *request.names[n])
            place -= len(names)
            needed = dict(zip(names, ctx.needs_input_grad[place : place + len(names)], strict=True))
            inner = request.kinds[n].readout is None
            g = backward(
                ctx.tapes[n],
                above=above,
                logits=None if inner else logits,
                rates=rates[n] if inner and rates else None,
                spikes=spikes[n] if inner and spikes else None,
                final=final if inner and n == spiking - 1 else None,
                weights=needed["weight"] or needed.get("recurrent", False),
                current=n > 0 or ctx.needs_input_grad[1],
                state=ctx.needs_input_grad[2],
            )
            axes = dict(zip(names, ctx.shapes[place - 3 : place - 3 + len(names)], strict=True))
            own = [_gradient(g[name], name, axes[name]) if needed[name] else None for name in names]
            found = own + found
            above = g["current"], ctx.tapes[n].weights
            if n == 0 and ctx.needs_input_grad[1]:
                weight = torch.from_numpy(ctx.layers[0][0])
                current = torch.from_numpy(g["current"][..., : request.kinds[0].neurons])
                gx = current @ (weight if weight.ndim == 2 else weight[:, None])
                gx = gx if ctx.x_axes == 4 else gx.sum(0)
            if ctx.needs_input_grad[2]:
                gstate = torch.from_numpy(g["state"])
                gstate = gstate if ctx.initial_axes == 4 else gstate.sum(0)
        return (None, gx, gstate, *found)


def _gradient(g: Any, name: str, axes: int) -> Tensor:  # noqa: ANN401
    """In the layout and with the axes of the tensor: one that all instances share gets the sum."""
    nominal = 2 if name in ("weight", "recurrent") else 1
    own = torch.from_numpy(np.ascontiguousarray(g.swapaxes(1, 2) if nominal == 2 else g))
    return own if axes > nominal else own.sum(0) if len(own) > 1 else own[0]
