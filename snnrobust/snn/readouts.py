"""Readouts: from spikes over time to logits, with padded steps masked."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.snn import neurons
from snnrobust.snn.initial import scale_to_fluctuate
from snnrobust.snn.layers import Layer, Params, check_integrator, present
from snnrobust.snn.neurons import Dynamics, State
from snnrobust.snn.reads import Reads

DECODERS = ("mean", "max", "last")


class LI(Layer):
    """Leaky integrators without spikes, read out as the mean, maximum or last value of v over the valid steps.

    Args:
        inputs: Number of inputs I.
        neurons: Number of outputs O.
        dt: Time step in s.
        tau_mem: Membrane time constant in s; 20 dt by default.
        tau_syn: Synaptic time constant in s, or None.
        v_leak: Resting potential.
        integrator: "exponential" or "euler".
        decode: "mean", "max" or "last".
        on_chip: False where the readout is computed off the chip.
        seed: Seed of the initial weights.
    """

    kind: ClassVar[str] = "li"

    def __init__(
        self,
        inputs: int,
        neurons: int,
        *,
        dt: float = 1e-3,
        tau_mem: float | Tensor | None = None,
        tau_syn: float | Tensor | None = None,
        v_leak: float | Tensor = 0.0,
        integrator: str = "exponential",
        decode: str = "mean",
        on_chip: bool = True,
        seed: int = 0,
    ) -> None:
        if decode not in DECODERS:
            raise ConfigError(unknown("decode", decode, DECODERS))
        tau = 20 * dt if tau_mem is None else tau_mem
        values = present(gain=1.0, tau_mem=tau, tau_syn=tau_syn, v_leak=v_leak)
        super().__init__(inputs, neurons, values, on_chip=on_chip, seed=seed)
        self.dynamics, self.decode = Dynamics(dt=dt, integrator=integrator), decode
        check_integrator(self, self.dynamics)
        scale_to_fluctuate(self, self.dynamics)

    def trace(
        self, params: Params, x: Tensor, state: State | None = None, *, reads: Reads | None = None
    ) -> tuple[Tensor, State]:
        """The membrane potential over time, [T, B, O] or [K, T, B, O], and the last state."""
        u = self.drive(params, x, reads)
        c = neurons.constants({n: params[n] for n in ("tau_mem", "tau_syn", "v_leak") if n in params}, self.dynamics)
        v, i, _, o, _ = neurons.initial_state(c, u[..., 0, :, :]) if state is None else state
        potentials = []
        for current in u.unbind(-3):
            v, i = neurons.leak(current, v, i, c)
            potentials.append(v)
        return torch.stack(potentials, dim=-3), State(v, i, None, o, None)

    def run(self, params: Params, x: Tensor, lengths: Tensor | None = None, *, reads: Reads | None = None) -> Tensor:
        """Logits [B, O] or [K, B, O]; steps at or after a sample's length do not count."""
        v, _ = self.trace(params, x, reads=reads)
        return decoded(v, lengths, self.decode)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The potential over time of the nominal parameters."""
        return self.trace(self.nominal(), x, state)

    def to_dict(self) -> dict[str, Any]:
        """The structure, as plain values."""
        return {
            "kind": self.kind,
            "inputs": self.inputs,
            "neurons": self.neurons,
            "parameters": [n for n, _ in self.named_parameters(recurse=False)],
            "dynamics": self.dynamics.to_dict(),
            "decode": self.decode,
            "on_chip": self.on_chip,
        }


class MeanRate(Layer):
    """The paper's readout: logits = W mean_t(o_t) + bias, over the valid steps (Büchel et al. 2022, supplement).

    Args:
        inputs: Number of inputs I.
        neurons: Number of outputs O.
        on_chip: False where the readout is computed off the chip.
        seed: Seed of the initial weights.
    """

    kind: ClassVar[str] = "rate"

    def __init__(self, inputs: int, neurons: int, *, on_chip: bool = True, seed: int = 0) -> None:
        super().__init__(inputs, neurons, {}, on_chip=on_chip, seed=seed)

    def run(self, params: Params, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [B, O] or [K, B, O] of spikes x."""
        return self.of_rate(params, decoded(x, lengths, "mean"))

    def of_rate(self, params: Params, rate: Tensor) -> Tensor:
        """Logits of mean rates [B, I] or [K, B, I]."""
        return self.drive(params, rate.unsqueeze(-3)).squeeze(-3)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of the nominal parameters."""
        return self.run(self.nominal(), x, lengths)

    def to_dict(self) -> dict[str, Any]:
        """The structure, as plain values."""
        return {
            "kind": self.kind,
            "inputs": self.inputs,
            "neurons": self.neurons,
            "parameters": [n for n, _ in self.named_parameters(recurse=False)],
            "on_chip": self.on_chip,
        }


READOUTS: dict[str, type[LI] | type[MeanRate]] = {"li": LI, "rate": MeanRate}
"""Readouts by name."""


def valid_steps(lengths: Tensor, steps: int) -> Tensor:
    """[T, B], true where the step is before the sample's length."""
    return torch.arange(steps, device=lengths.device).unsqueeze(-1) < lengths


def check_lengths(lengths: Tensor, steps: int, batch: int) -> None:
    """Raise ShapeError unless these are valid steps of a batch."""
    if lengths.shape != (batch,):
        raise ShapeError(f"lengths: shape {tuple(lengths.shape)} must be ({batch},)")
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 1 or longest > steps:
        raise ShapeError(f"lengths: {shortest} .. {longest} must be 1 .. {steps}, the number of steps")


def decoded(v: Tensor, lengths: Tensor | None, how: str) -> Tensor:
    """The mean, max or last value over the valid steps of v [.., T, B, O]: [.., B, O]."""
    if lengths is None:
        return v.mean(-3) if how == "mean" else v.amax(-3) if how == "max" else v[..., -1, :, :]
    check_lengths(lengths, v.shape[-3], v.shape[-2])
    valid = valid_steps(lengths, v.shape[-3]).unsqueeze(-1)
    if how == "mean":
        return v.masked_fill(~valid, 0).sum(-3) / lengths.unsqueeze(-1)
    if how == "max":
        return v.masked_fill(~valid, -torch.inf).amax(-3)
    index = (lengths - 1).reshape(*(1,) * (v.ndim - 2), -1, 1).expand(*v.shape[:-3], 1, *v.shape[-2:])
    return v.gather(-3, index).squeeze(-3)
