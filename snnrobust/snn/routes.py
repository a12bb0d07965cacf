"""The way of spikes from neurons to the synapses of a layer, where not every spike arrives, nor at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Arrivals = Callable[[Tensor, int], Tensor]
"""(spikes that are due in a step [B, N] or [K, B, N], step) -> spikes that arrive in it [K, B, N].

It is asked for every step once, from step 0 on, and remembers what is on its way until then.
"""


class Route(Protocol):
    """The lines from N neurons to one weight matrix, on K chips; it keeps nothing between passes."""

    @property
    def instances(self) -> int:
        """Number of chips K."""
        ...

    def start(self, steps: int, samples: int, neurons: int) -> Arrivals:
        """A pass of so many steps, samples B and neurons N, with nothing on its way yet."""
        ...


def along(route: Route | None, spikes: Tensor) -> Tensor:
    """What arrives [K, T, B, N] of the spikes of all steps [T, B, N] or [K, T, B, N], due in the step of each.

    Without a route all arrive, and the spikes are returned as they are.
    """
    if route is None:
        return spikes
    arrive = route.start(*spikes.shape[-3:])
    return torch.stack([arrive(o, t) for t, o in enumerate(spikes.unbind(-3))], dim=-3)
