"""Neuron equations, one step of time at a time: the definition that every engine agrees with.

o are spikes; per step the summed current is u = gain (W x_t + W_rec o_prev) + bias, and then

    b <- b + a_adapt (o_prev - b);  threshold = v_th + adaptation b
    i <- i + u                                   (without a synapse: i = u)
    v <- v + a_mem (v_leak - v + i)              (soft reset: ... - threshold o_prev)
    i <- (1 - a_syn) i
    o = [v > threshold], and 0 while refractory
    hard reset: v <- v_reset where o

with a = 1 - exp(-dt / tau) or, for the Euler integrator, dt / tau. A sample starts at v = v_leak (detached),
i = b = o = 0, not refractory. All functions are pure; tensors are [B, N], or [K, B, N] with an instance axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.snn.surrogates import Surrogate

INTEGRATORS = ("exponential", "euler")
RESETS = ("hard", "soft")


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """How a layer's equations are integrated in time.

    Attributes:
        dt: Time step in s.
        integrator: "exponential", a = 1 - exp(-dt/tau), or "euler", a = dt/tau.
        reset: "hard", v <- v_reset where o, or "soft", v loses threshold o_prev.
        detach_reset: No gradient through o in the reset line; v_reset and the threshold keep theirs.
        surrogate: Derivative of the spike.

    Raises:
        ConfigError: For an unknown integrator or reset, or a dt that is not positive.
    """

    dt: float = 1e-3
    integrator: str = "exponential"
    reset: str = "hard"
    detach_reset: bool = True
    surrogate: Surrogate = field(default_factory=Surrogate)

    def __post_init__(self) -> None:
        if self.integrator not in INTEGRATORS:
            raise ConfigError(unknown("integrator", self.integrator, INTEGRATORS))
        if self.reset not in RESETS:
            raise ConfigError(unknown("reset", self.reset, RESETS))
        if not (0 < self.dt < math.inf):
            raise ConfigError(f"dt: {self.dt} must be a positive number of seconds")

    def to_dict(self) -> dict[str, Any]:
        """The fields, as plain values."""
        return {
            "dt": self.dt,
            "integrator": self.integrator,
            "reset": self.reset,
            "detach_reset": self.detach_reset,
            "surrogate": self.surrogate.to_dict(),
        }

    def decay(self, tau: Tensor) -> Tensor:
        """The share a of the distance to its target that a variable covers in one step; tau in s, sign ignored."""
        ratio = self.dt / tau.abs().clamp_min(1e-3 * self.dt)  # a drawn tau near 0 follows its target at once
        return -torch.expm1(-ratio) if self.integrator == "exponential" else ratio.clamp_max(1.0)


class State(NamedTuple):
    """What a spiking layer carries from step to step; unused variables are None.

    Attributes:
        v: Membrane potential.
        i: Synaptic current.
        b: Adaptation.
        o: Spikes of the last step.
        wait: Steps until the refractory time is over.
    """

    v: Tensor
    i: Tensor | None
    b: Tensor | None
    o: Tensor
    wait: Tensor | None


def per_neuron(p: Tensor) -> Tensor:
    """A per-neuron parameter [N] or [K, N], made to broadcast against [B, N] or [K, B, N]."""
    return p if p.ndim == 1 else p.unsqueeze(-2)


def constants(params: Mapping[str, Tensor], dynamics: Dynamics) -> dict[str, Tensor]:
    """The per-step constants of a neuron: time constants as decays, refractory time in steps, axes to broadcast."""
    result: dict[str, Tensor] = {}
    for name, value in params.items():
        if name.startswith("tau_"):
            result["a_" + name.removeprefix("tau_")] = per_neuron(dynamics.decay(value))
        elif name == "refractory":
            result["refractory"] = per_neuron(torch.round(value.detach() / dynamics.dt).clamp_min(0))
        else:
            result[name] = per_neuron(value)
    return result


def initial_state(c: Mapping[str, Tensor], like: Tensor) -> State:
    """The state at the start of a sample, in the shape of the current `like` [B, N] or [K, B, N]."""
    zero = torch.zeros_like(like)
    return State(
        v=zero + c["v_leak"].detach(),
        i=zero if "a_syn" in c else None,
        b=zero if "a_adapt" in c else None,
        o=zero,
        wait=zero if "refractory" in c else None,
    )


def leak(u: Tensor, v: Tensor, i: Tensor | None, c: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """One step of synapse and membrane without spikes: (v, i)."""
    if i is None:
        return v + c["a_mem"] * (c["v_leak"] - v + u), None
    i = i + u
    v = v + c["a_mem"] * (c["v_leak"] - v + i)
    return v, i - c["a_syn"] * i


class Charged(NamedTuple):
    """A neuron in a step, before it spikes or not: potential and threshold, and what it carries on."""

    v: Tensor
    threshold: Tensor
    i: Tensor | None
    b: Tensor | None


def charge(u: Tensor, state: State, c: Mapping[str, Tensor], dynamics: Dynamics) -> Charged:
    """The part of a step of LIF or, where the constants hold a_adapt, ALIF, that comes before the spike."""
    threshold, b = c["v_th"], state.b
    if b is not None:
        b = b + c["a_adapt"] * (state.o - b)
        threshold = threshold + c["adaptation"] * b
    v, i = leak(u, state.v, state.i, c)
    if dynamics.reset == "soft":
        v = v - threshold * (state.o.detach() if dynamics.detach_reset else state.o)
    return Charged(v, threshold, i, b)


def spiking_step(u: Tensor, state: State, c: Mapping[str, Tensor], dynamics: Dynamics) -> State:
    """One step of LIF or, where the constants hold a_adapt, ALIF; the spikes are `.o` of the result."""
    v, threshold, i, b = charge(u, state, c, dynamics)
    o, wait = dynamics.surrogate.spike(v, threshold), state.wait
    if wait is not None:
        o = o * (wait <= 0)
        wait = torch.where(o > 0, c["refractory"], wait - 1)
    if dynamics.reset == "hard":
        v = torch.where(o > 0, c["v_reset"], v) if dynamics.detach_reset else (1 - o) * v + o * c["v_reset"]
    return State(v, i, b, o, wait)
