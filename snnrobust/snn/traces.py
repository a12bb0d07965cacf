"""What goes on inside a network over time: potentials before every step's decision to spike, and running answers.

The engine gives the spikes; potentials are worked out after it, in plain torch and float64, by the same equations at
the spikes that were seen. So recording changes no spike, and a rounding difference does not grow from step to step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.snn import neurons
from snnrobust.snn.engines import eager
from snnrobust.snn.engines.layout import RECURRENT
from snnrobust.snn.layers import SpikingLayer
from snnrobust.snn.network import Network
from snnrobust.snn.neurons import State
from snnrobust.snn.readouts import LI, MeanRate
from snnrobust.snn.reads import Reads
from snnrobust.snn.routes import Route, along
from snnrobust.snn.specs import WEIGHTS

Params = Mapping[str, Tensor]


class Trace(NamedTuple):
    """What a run gives when everything is recorded; K instances have an axis of their own in front.

    Attributes:
        logits: As `run` gives them, [B, O] or [K, B, O].
        spikes: Spikes of each spiking layer by name, [T, B, N] or [K, T, B, N].
        margins: v - threshold of each layer before it spikes and is reset, float64, in the shape of its spikes; layers
            whose neurons have equations of their own are absent.
        arrived: What each matrix of weights gets at every step, by its name ("layer0.recurrent_weight"): inputs, or the
            spikes that arrive, [T, B, I] or [K, T, B, I].
        running: Logits that the readout would give if the sample ended with this step, float64, [T, B, O] or
            [K, T, B, O].
    """

    logits: Tensor
    spikes: dict[str, Tensor]
    margins: dict[str, Tensor]
    arrived: dict[str, Tensor]
    running: Tensor


def trace(
    net: Network,
    params: Params,
    x: Tensor,
    lengths: Tensor | None = None,
    *,
    reads: Mapping[str, Reads] | None = None,
    routes: Mapping[str, Route] | None = None,
) -> Trace:
    """Run a network and record everything.

    Args:
        net: The network.
        params: Parameters by name, as for `Network.run`.
        x: Inputs [T, B, I], or [K, T, B, I].
        lengths: Valid steps of each sample [B].
        reads: How the crossbar of a layer is read, by layer name.
        routes: The way of neurons' spikes to weights, by their name.
    """
    how, ways = reads or {}, routes or {}
    with torch.no_grad():
        seen = net.record(params, x, lengths, reads=reads, routes=routes)
        before, arrived, margins = x, {}, {}
        for name, layer in net.spiking.items():
            spikes = seen.spikes[name]
            own = arrived[f"{name}.weight"] = along(ways.get(f"{name}.weight"), before)
            back = None
            if layer.recurrent:
                last = torch.cat([torch.zeros_like(spikes[..., :1, :, :]), spikes[..., :-1, :, :]], dim=-3)
                back = arrived[f"{name}.recurrent_weight"] = along(ways.get(f"{name}.recurrent_weight"), last)
            if knows_equations(layer):
                margins[name] = potentials(layer, of_layer(params, name), own, spikes, back, how.get(name))
            before = spikes
        last = arrived["readout.weight"] = along(ways.get("readout.weight"), before)
        running = running_logits(net.readout, of_layer(params, "readout"), last.double(), how.get("readout"))
    return Trace(seen.logits, seen.spikes, margins, arrived, running)


def potentials(
    layer: SpikingLayer,
    params: Params,
    x: Tensor,
    spikes: Tensor,
    fed_back: Tensor | None = None,
    reads: Reads | None = None,
) -> Tensor:
    """v - threshold of neurons that spiked so, before each step's spike and reset, in the shape of their spikes.

    Args:
        layer: A layer with the equations of `neurons`.
        params: Its parameters in float64.
        x: Its inputs.
        spikes: Its spikes [T, B, N] or [K, T, B, N], which drive adaptation and reset.
        fed_back: What arrives of them at the recurrent weights in each step, if there are any.
        reads: How its crossbar is read.
    """
    u, spikes = layer.drive(params, x.double(), reads), spikes.double()
    if fed_back is not None:
        weight, o = layer.effective(params, "recurrent_weight"), fed_back.double()
        u = u + (eager.input_current(o, weight) if reads is None else reads.read(o, weight, first=RECURRENT, step=0))
    u = u.expand(*spikes.shape[:-3], *u.shape[-3:]) if u.ndim < spikes.ndim else u
    c = constants_of(layer, params)
    state, found = layer.start(c, u[..., 0, :, :]), []
    for now, o in zip(u.unbind(-3), spikes.unbind(-3), strict=True):
        v, threshold, i, b = neurons.charge(now, state, c, layer.dynamics)
        found.append(v - threshold)
        v = torch.where(o > 0, c["v_reset"], v) if layer.dynamics.reset == "hard" else v
        state = State(v, i, b, o, None)
    return torch.stack(found, dim=-3)


def running_logits(readout: LI | MeanRate, params: Params, spikes: Tensor, reads: Reads | None = None) -> Tensor:
    """Logits of the spikes so far, after every step: [T, B, O] or [K, T, B, O].

    Args:
        readout: The readout.
        params: Its parameters, in the precision of the spikes.
        spikes: Spikes of the last layer.
        reads: How its crossbar is read.
    """
    steps = torch.arange(1, spikes.shape[-3] + 1, dtype=spikes.dtype, device=spikes.device)[:, None, None]
    if isinstance(readout, MeanRate):
        return readout.drive(params, spikes.cumsum(-3) / steps)
    v, _ = readout.trace(params, spikes, reads=reads)
    if readout.decode == "mean":
        return v.cumsum(-3) / steps
    return v.cummax(-3).values if readout.decode == "max" else v


def tonic(layer: SpikingLayer, params: Params, steps: int) -> Tensor:
    """Which neurons spike although nothing arrives, [N] or [K, N] of bool.

    Inputs and recurrent currents are 0, the bias stays; a neuron starts at rest or, where it has the equations of
    `neurons`, just after a spike of its own, and has so many steps to spike in.

    Args:
        layer: A spiking layer.
        params: Its parameters.
        steps: Number of steps T.
    """
    with torch.no_grad():
        quiet = {name: torch.zeros_like(p) if name in WEIGHTS else p for name, p in params.items()}
        x = torch.zeros(steps, 2, layer.inputs, dtype=params["weight"].dtype, device=params["weight"].device)
        if not knows_equations(layer):
            spikes, _ = layer.run(quiet, x, engine="eager")
            return spikes.any(-2).any(-2)
        u, c = layer.drive(quiet, x), constants_of(layer, quiet)
        state = layer.start(c, u[..., 0, :, :].contiguous())
        after = torch.tensor([False, True], device=x.device)[:, None]  # the second sample comes from a spike
        v = torch.where(after, c["v_reset" if layer.dynamics.reset == "hard" else "v_th"], state.v)
        wait = None if state.wait is None else torch.where(after, c["refractory"], state.wait)
        state = state._replace(v=v, o=state.o + after, wait=wait)
        spikes, _ = eager.run_spiking(lambda now, s: layer.step(now, s, c), u, None, state)
        return spikes.any(-2).any(-2)


def knows_equations(layer: SpikingLayer) -> bool:
    """Whether the neurons of a layer have the equations of `neurons`, and not a step or a start of their own."""
    own = type(layer)
    return all(getattr(own, name) is getattr(SpikingLayer, name) for name in ("step", "start", "run"))


def of_layer(params: Params, name: str) -> dict[str, Tensor]:
    """A layer's own parameters in float64, by role."""
    first = name + "."
    return {key.removeprefix(first): p.detach().double() for key, p in params.items() if key.startswith(first)}


def constants_of(layer: SpikingLayer, params: Params) -> dict[str, Tensor]:
    """The constants of a layer's neurons (`neurons.constants`), without what enters the current."""
    current = (*WEIGHTS, "bias", "gain")
    return neurons.constants({name: p for name, p in params.items() if name not in current}, layer.dynamics)
