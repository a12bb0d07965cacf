"""Interval bound propagation through spiking networks: the logits of all parameters in a box at once.

Membrane, current and adaptation are intervals; a spike is 0, 1 or unknown, [0, 1]. After a step in which the spike is
unknown, the membrane has two branches: fired, which is reset, and quiet, which did not reach the threshold; the next
step takes the hull of both. First applied to spiking networks by Büchel, Faber and Muir (ICLR 2022, arXiv:2106.05009),
after Gehr et al. 2018 (doi:10.1109/SP.2018.00058) and Mirman et al. 2018.

The bounds hold for every value of each parameter at every step on its own: that a parameter is the same at all steps is
not used, so they are sound and wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.evaluation.certificates.intervals import Interval, Rounding, chosen, point
from snnrobust.snn.layers import ALIF, LIF, Layer
from snnrobust.snn.network import Network
from snnrobust.snn.neurons import Dynamics
from snnrobust.snn.readouts import LI, MeanRate, decoded, valid_steps

Box = Mapping[str, Interval]


class Branches(NamedTuple):
    """What a spiking layer carries from step to step, as intervals [B, N]; unused variables are None.

    Attributes:
        quiet: Membrane potential if the last spike was 0.
        fired: Membrane potential if it was 1.
        i: Synaptic current.
        b: Adaptation.
        o: Spikes of the last step.
        wait: Steps until the refractory time is over.
    """

    quiet: Interval
    fired: Interval
    i: Interval | None
    b: Interval | None
    o: Interval
    wait: Interval | None


class Bounds(NamedTuple):
    """What holds for every device in a box.

    Attributes:
        logits: Bounds of the logits [B, O].
        certain: Share of the spikes, over valid steps, neurons and samples, that are the same on all devices.
    """

    logits: Interval
    certain: float


def check_supported(net: object) -> Network:
    """The network; ConfigError where a layer's equations have no interval form here."""
    if not isinstance(net, Network):
        raise ConfigError(f"net: {type(net).__name__} must be a Network; bounds need its equations")
    for name, layer in net.spiking.items():
        if type(layer) not in (LIF, ALIF):
            raise ConfigError(f"{name}: {type(layer).__name__} must be LIF or ALIF; bounds need its equations")
    if type(net.readout) not in (LI, MeanRate):
        raise ConfigError(f"readout: {type(net.readout).__name__} must be LI or MeanRate")
    return net


def network_bounds(net: Network, box: Box, x: Tensor, lengths: Tensor | None, *, unit: float) -> Bounds:
    """Bounds of the logits over all parameters in a box.

    Args:
        net: A network of `check_supported`.
        box: Every parameter by name, as intervals in float64.
        x: Inputs [T, B, I], float64.
        lengths: Valid steps of each sample [B], or None.
        unit: Unit roundoff of the precision in which the network runs.
    """
    signal, certain, count = point(x), 0.0, 0.0
    valid = torch.ones(x.shape[:2], dtype=torch.bool) if lengths is None else valid_steps(lengths, len(x))
    for name, layer in net.spiking.items():
        own, rounding = _layer(box, name), _rounding(layer, unit)
        current = _drive(layer, own, signal, rounding)
        signal = _spikes(layer, layer.dynamics, own, current, rounding)  # type: ignore[arg-type]  # checked to be LIF
        certain += float(((signal.low == signal.high) & valid.unsqueeze(-1)).sum())
        count += float(valid.sum()) * layer.neurons
    logits = _read_out(net.readout, _layer(box, "readout"), signal, lengths, _rounding(net.readout, unit))
    return Bounds(logits, certain / count)


def _rounding(layer: Layer, unit: float) -> Rounding:
    """Any order of the sum over inputs and recurrent spikes, with gain, bias and the synapse's current."""
    recurrent = isinstance(layer, LIF) and layer.recurrent
    return Rounding(unit, layer.inputs + layer.neurons * recurrent + 8)


def _layer(box: Box, name: str) -> dict[str, Interval]:
    return {key.rpartition(".")[2]: value for key, value in box.items() if key.rpartition(".")[0] == name}


def _effective(layer: Layer, box: Box, name: str, rounding: Rounding) -> Interval:
    """Weights as the current sees them, see `Layer.effective`."""
    weight = Interval(*(layer.connecting({name: end}, name) for end in box[name]))
    gain = box.get("gain")
    if gain is None:
        return weight
    return rounding.product(Interval(gain.low.unsqueeze(-1), gain.high.unsqueeze(-1)), weight)


def _drive(layer: Layer, box: Box, x: Interval, rounding: Rounding) -> Interval:
    """Current without recurrence [T, B, N]; x is a point, or not negative."""
    weight = _effective(layer, box, "weight", rounding)
    exact = x.low is x.high
    u = rounding.weighted_point(x.low, weight) if exact else rounding.weighted(x, weight)
    return rounding.total(u, box["bias"])


def _spikes(layer: LIF, dynamics: Dynamics, box: Box, current: Interval, rounding: Rounding) -> Interval:
    """Spikes [T, B, N] of a layer."""
    c = _constants(box, dynamics, rounding)
    recurrent = _effective(layer, box, "recurrent_weight", rounding) if layer.recurrent else None
    state, found = _start(c, torch.zeros_like(current.low[0])), []
    for t in range(len(current.low)):
        u = Interval(current.low[t], current.high[t])
        if recurrent is not None:
            u = rounding.total(u, rounding.weighted(state.o, recurrent))
        state = spiking_step(u, state, c, soft=dynamics.reset == "soft", rounding=rounding)
        found.append(state.o)
    return Interval(torch.stack([o.low for o in found]), torch.stack([o.high for o in found]))


def _constants(box: Box, dynamics: Dynamics, rounding: Rounding) -> dict[str, Interval]:
    """The per-step constants of a neuron: time constants as shares, refractory time in steps."""
    found = {}
    for name, value in box.items():
        if name.startswith("tau_"):
            crosses = (value.low < 0) & (value.high > 0)
            nearest = torch.minimum(value.low.abs(), value.high.abs()).masked_fill(crosses, 0.0)
            share = Interval(dynamics.decay(value.size()), dynamics.decay(nearest))
            found["a_" + name.removeprefix("tau_")] = rounding.outward(share, share.high, 8)
        elif name == "refractory":
            steps = rounding.outward(Interval(*(end / dynamics.dt for end in value)), value.size() / dynamics.dt, 4)
            found[name] = Interval(*(torch.round(end).clamp_min(0) for end in steps))
        elif name not in ("weight", "recurrent_weight", "bias", "gain"):
            found[name] = value
    return found


def _start(c: Box, zero: Tensor) -> Branches:
    """The state at the start of a sample."""
    rest = Interval(zero + c["v_leak"].low, zero + c["v_leak"].high)
    return Branches(
        quiet=rest,
        fired=rest,
        i=point(zero) if "a_syn" in c else None,
        b=point(zero) if "a_adapt" in c else None,
        o=point(zero),
        wait=point(zero) if "refractory" in c else None,
    )


def spiking_step(u: Interval, state: Branches, c: Box, *, soft: bool, rounding: Rounding) -> Branches:
    """One step of `snnrobust.snn.neurons.spiking_step` on intervals.

    Args:
        u: Current of the step, [B, N].
        state: The state before it.
        c: Constants, [N].
        soft: Whether a spike subtracts the threshold, instead of v <- v_reset.
        rounding: How the layer computes.
    """
    threshold, b = c["v_th"], state.b
    if b is not None:
        b = rounding.mixed(b, state.o, c["a_adapt"], state.o.size() + b.size())
        threshold = rounding.total(threshold, rounding.product(c["adaptation"], b), roundings=4)
    i = u if state.i is None else rounding.total(state.i, u)
    v = _membrane(state, i, threshold if soft else None, c, rounding)
    wait, free, may = state.wait, torch.ones_like(v.low, dtype=torch.bool), torch.ones_like(v.low, dtype=torch.bool)
    if wait is not None:
        free, may = wait.high <= 0, wait.low <= 0
    o = Interval(((v.low > threshold.high) & free).to(v.low.dtype), ((v.high > threshold.low) & may).to(v.low.dtype))
    # Without a spike, v is at most the threshold, except in the refractory time.
    quiet = Interval(v.low, torch.where(free, torch.minimum(v.high, threshold.high), v.high))
    fired = Interval(torch.maximum(v.low, threshold.low), v.high) if soft else c["v_reset"]
    if wait is not None:
        wait = chosen(o, Interval(wait.low - 1, wait.high - 1), c["refractory"])
    decayed = None
    if state.i is not None:
        decayed = rounding.mixed(i, point(torch.zeros_like(i.low)), c["a_syn"], i.size())
    return Branches(quiet, fired, decayed, b, o, wait)


def _membrane(state: Branches, i: Interval, subtracted: Interval | None, c: Box, rounding: Rounding) -> Interval:
    """v after a step, over both branches of the last spike; the fired one loses `subtracted`."""
    leak = c["v_leak"]
    target, size = Interval(leak.low + i.low, leak.high + i.high), leak.size() + i.size()
    quiet = rounding.mixed(state.quiet, target, c["a_mem"], size)
    fired = rounding.mixed(state.fired, target, c["a_mem"], size)
    if subtracted is not None:
        fired = rounding.total(fired, Interval(-subtracted.high, -subtracted.low), roundings=8)
    return chosen(state.o, quiet, fired)


def _read_out(layer: LI | MeanRate, box: Box, o: Interval, lengths: Tensor | None, rounding: Rounding) -> Interval:
    """Logits [B, O] of spikes [T, B, N]."""
    steps = len(o.low) + 2
    if isinstance(layer, MeanRate):
        rate = Interval(*(decoded(end, lengths, "mean") for end in o))
        rate = rounding.outward(rate, rate.size(), steps)
        return _drive(layer, box, Interval(rate.low.clamp_min(0), rate.high), rounding)
    u, c = _drive(layer, box, o, rounding), _constants(box, layer.dynamics, rounding)
    state, potentials = _start(c, torch.zeros_like(u.low[0])), []
    v, i = state.quiet, state.i
    for t in range(len(u.low)):
        now = Interval(u.low[t], u.high[t])
        now = now if i is None else rounding.total(i, now)
        size = c["v_leak"].size() + now.size()
        v = rounding.mixed(v, Interval(c["v_leak"].low + now.low, c["v_leak"].high + now.high), c["a_mem"], size)
        i = None if i is None else rounding.mixed(now, point(torch.zeros_like(now.low)), c["a_syn"], now.size())
        potentials.append(v)
    both = [torch.stack([getattr(p, end) for p in potentials]) for end in ("low", "high")]
    ends = Interval(*(decoded(end, lengths, layer.decode) for end in both))
    if layer.decode != "mean":
        return ends
    magnitude = decoded(torch.maximum(both[0].abs(), both[1].abs()), lengths, "mean")
    return rounding.outward(ends, magnitude, steps)
