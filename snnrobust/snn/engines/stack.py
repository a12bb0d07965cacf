"""Layers of a network on the fused engine, as one differentiable torch function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnrobust.snn.engines.fused import Kind, Ready
from snnrobust.snn.engines.gradients import backward
from snnrobust.snn.engines.inference import Request, constants_of, infer, instances_of, through_layers
from snnrobust.snn.engines.inputs import Inputs
from snnrobust.snn.engines.memory import Lease
from snnrobust.snn.reads import Reads


class Part(NamedTuple):
    """One layer's place in a stack: what it is, and its tensors.

    Attributes:
        kind: What it is.
        weight: Weights (to, from) [N, I] or [K, N, I], 0 where there is no connection.
        recurrent: Recurrent weights [N, N] or [K, N, N], or None.
        gain: Factor of a neuron's weights [N] or [K, N].
        constants: Per-step constants [N] or [K, N] by name, see `layout.CONSTANTS`.
        reads: How its crossbar is read; only without gradients.
    """

    kind: Kind
    weight: Tensor
    recurrent: Tensor | None
    gain: Tensor | None
    constants: Mapping[str, Tensor]
    reads: Reads | None = None


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
    given = [_own(part) for part in parts]
    tensors = [t for own in given for t in own.values()]
    request = Request(
        tuple(part.kind for part in parts),
        tuple(tuple(own) for own in given),
        None if lengths is None else lengths.numpy(),
        rates,
        spikes,
        final,
        tuple(part.reads for part in parts),
    )
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, initial, *tensors)):
        found: tuple[Tensor, ...] = _Stack.apply(request, x, initial, *tensors)
    else:
        start = None if initial is None else _state(initial)
        arrays = [{name: _array(t) for name, t in own.items()} for own in given]
        found = tuple(torch.from_numpy(a) for a in infer(request, Inputs.of(_array(x)), start, arrays))
    axes = _instance_axes(parts, given, x, initial)
    inner = [axis for axis, part in zip(axes, parts, strict=True) if part.kind.readout is None]
    left = iter(found)

    def take(has_instances: bool) -> Tensor:
        result = next(left)
        return result if has_instances else result[0]

    logits = take(axes[-1]) if parts[-1].kind.readout else None
    return Results(
        logits,
        [take(axis) for axis in inner] if rates else [],
        [take(axis) for axis in inner] if spikes else [],
        take(inner[-1]) if final else None,
    )


def _instance_axes(
    parts: Sequence[Part], given: Sequence[Mapping[str, Tensor]], x: Tensor, initial: Tensor | None
) -> list[bool]:
    """Whether each layer's results differ between instances: it or anything before it has an instance axis."""
    axes, before = [], x.ndim == 4 or (initial is not None and initial.ndim == 4)
    for part, own in zip(parts, given, strict=True):
        before = before or any(t.ndim > _axes(name) for name, t in own.items())
        before = before or (part.reads is not None and part.reads.instances > 1)
        axes.append(before)
    return axes


def _own(part: Part) -> dict[str, Tensor]:
    """A part's tensors by name."""
    named = {"weight": part.weight, "recurrent": part.recurrent, "gain": part.gain, **part.constants}
    return {name: t for name, t in named.items() if t is not None}


def _axes(name: str) -> int:
    """Axes of a tensor without an instance axis."""
    return 2 if name in ("weight", "recurrent") else 1


def _array(t: Tensor) -> Any:  # noqa: ANN401 (an array)
    return t.detach().contiguous().numpy()


def _state(initial: Tensor) -> Any:  # noqa: ANN401
    state = _array(initial)
    return state if state.ndim == 4 else state[None]


class _Stack(torch.autograd.Function):
    """(request, x, initial, tensors of every layer) -> logits, rates.., spikes.., final, each [K, ...]."""

    @staticmethod
    def forward(ctx: Any, request: Request, x: Tensor, initial: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        ctx.request, ctx.shapes = request, [t.ndim for t in tensors]
        ctx.x_axes, ctx.initial_axes = x.ndim, None if initial is None else initial.ndim
        wanted, left = iter(ctx.needs_input_grad[3:]), iter(tensors)
        needed = [{name: next(wanted) for name in names} for names in request.names]
        layers = [{name: _array(next(left)) for name in names} for names in request.names]
        inputs, start = Inputs.of(_array(x)), None if initial is None else _state(initial)
        memories = [Lease() for _ in layers]
        ready = [
            Ready.of(kind, own["weight"], own.get("recurrent"), constants_of(own), memory, gain=own.get("gain"))
            for kind, own, memory in zip(request.kinds, layers, memories, strict=True)
        ]
        ctx.factors = [_factors(own, wants.get("gain", False)) for own, wants in zip(layers, needed, strict=True)]
        found, ctx.tapes = through_layers(
            request, ready, inputs, memories, instances=instances_of(inputs, start, layers), initial=start,
            lengths=request.lengths,
            constant_gradients=[any(v for n, v in own.items() if n not in (*_WEIGHTS, "bias")) for own in needed],
        )  # fmt: skip
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
            names = request.names[n]
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
                weights=any(needed.get(name, False) for name in _WEIGHTS),
                current=n > 0 or ctx.needs_input_grad[1],
                state=ctx.needs_input_grad[2],
            )
            _through_gain(g, ctx.factors[n])
            axes = dict(zip(names, ctx.shapes[place - 3 : place - 3 + len(names)], strict=True))
            own = [_gradient(g[name], name, axes[name]) if needed[name] else None for name in names]
            found = own + found
            above = g["current"], ctx.tapes[n].layer.weights
            if n == 0 and ctx.needs_input_grad[1]:
                gx = torch.from_numpy(g["current"]) @ torch.from_numpy(ctx.tapes[0].layer.weights[:, None]).mT
                gx = gx if ctx.x_axes == 4 else gx.sum(0)
            if ctx.needs_input_grad[2]:
                gstate = torch.from_numpy(g["state"])
                gstate = gstate if ctx.initial_axes == 4 else gstate.sum(0)
        return (None, gx, gstate, *found)


_WEIGHTS = ("weight", "recurrent", "gain")


def _factors(own: Mapping[str, Any], gain_too: bool) -> dict[str, Any]:
    """What `_through_gain` needs of a layer's arrays: copies, since a caller may change the parameters."""
    return {n: own[n].copy() for n in (_WEIGHTS if gain_too else ("gain",)) if n in own}


def _through_gain(g: dict[str, Any], factors: Mapping[str, Any]) -> None:
    """From the gradients of gain W to those of W and, if there are weights among the factors, of the gain."""
    if "gain" not in factors:
        return
    weights = [n for n in _WEIGHTS[:2] if n in g]
    if len(factors) > 1:
        g["gain"] = sum((g[n] * factors[n]).sum(-1) for n in weights if n in factors)
    g.update({n: factors["gain"][..., None] * g[n] for n in weights})


def _gradient(g: Any, name: str, axes: int) -> Tensor:  # noqa: ANN401
    """With the axes of the tensor: one that all instances share gets the sum."""
    own = torch.from_numpy(g)
    return own if axes > _axes(name) else own.sum(0) if len(own) > 1 else own[0]
