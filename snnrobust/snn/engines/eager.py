"""The time loop in plain torch: readable, any device, gradients by autograd; the definition of every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor, Any], Any]
"""(u [.., B, N], state) -> state with the spikes in `.o`."""
Feedback = Callable[[Tensor, int], Tensor]
"""(spikes of the last step [.., B, N], step) -> current of the recurrent weights."""


def input_current(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x_t + bias for all steps at once.

    Args:
        x: [T, B, I], or [K, T, B, I] from a layer whose instances differ.
        weight: [N, I] or [K, N, I].
        bias: [N] or [K, N].

    Returns:
        [T, B, N], or [K, T, B, N] where an argument has an instance axis.
    """
    if weight.ndim == 2:
        u = torch.nn.functional.linear(x, weight)
    else:
        u = torch.matmul(x.flatten(-3, -2), weight.mT)
        u = u.view(*u.shape[:-2], *x.shape[-3:-1], u.shape[-1])
    if bias is None:
        return u
    return u + (bias if bias.ndim == 1 else bias[:, None, None, :])


def run_spiking(step: Step, drive: Tensor, feedback: Feedback | None, state: Any) -> tuple[Tensor, Any]:  # noqa: ANN401 (a neuron's own state)
    """Run a spiking layer over time.

    Args:
        step: One step of the neuron's equations.
        drive: Current from the layer's inputs and bias, [T, B, N] or [K, T, B, N].
        feedback: What the recurrent weights give, or None for a feed-forward layer.
        state: State before the first step, with the last spikes in `.o`.

    Returns:
        Spikes in the shape of `drive` (with the instance axis if any parameter has one), and the last state.
    """
    spikes = []
    for t, u in enumerate(drive.unbind(-3)):
        if feedback is not None:
            u = u + feedback(state.o, t)
        state = step(u, state)
        spikes.append(state.o)
    return torch.stack(spikes, dim=-3), state
