"""What spikes, potentials and running answers say of neurons and chips: each criterion, once, as a pure function.

silent       no spike in any step of any sample
saturated    at least 90 % of the spikes that its refractory time leaves room for, over all steps of all samples
tonic        spikes although nothing arrives (`snn.traces.tonic`)
distance     mean |v - threshold| over neurons and steps, before spike and reset, in units of the layer's nominal
             threshold above rest; near: the share of neurons and steps where it is below 0.1
latency      until the answer of the steps so far is that of the whole sample, and stays

Shapes: K chips, T steps, B samples, N neurons, O outputs; only steps before a sample's length count.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.snn.readouts import valid_steps

SATURATED = 0.9
"""Share of the largest number of spikes from which a neuron is saturated."""
NEAR = 0.1
"""Distance below which a potential is near the threshold."""


class Distance(NamedTuple):
    """Distances of a layer's potentials to their thresholds in each sample [K, B], means over neurons and steps.

    Attributes:
        mean: Of the distance.
        near: Of whether it is below `NEAR`.
    """

    mean: Tensor
    near: Tensor


def spike_counts(spikes: Tensor, lengths: Tensor) -> Tensor:
    """Spikes of each neuron over all samples [K, N], float64, of spikes [K, T, B, N]."""
    valid = valid_steps(lengths, spikes.shape[1])
    return torch.einsum("ktbn,tb->kn", spikes.double(), valid.double())


def most_spikes(lengths: Tensor, dead_steps: Tensor) -> Tensor:
    """The largest number of spikes of each neuron over all samples: sum_b ceil(length_b / (1 + dead steps)).

    Args:
        lengths: Steps of each sample [B].
        dead_steps: Steps after a spike in which each neuron cannot spike [N] or [K, N].
    """
    each = torch.ceil(lengths.double().reshape(-1, *(1,) * dead_steps.ndim) / (1 + dead_steps.double()))
    return each.sum(0)


def silent(counts: Tensor) -> Tensor:
    """Which neurons are silent, of their spikes [K, N]."""
    return counts == 0


def saturated(counts: Tensor, most: Tensor) -> Tensor:
    """Which neurons are saturated, of their spikes [K, N] and the largest number of them."""
    return counts >= SATURATED * most


def distances(margins: Tensor, lengths: Tensor, unit: float) -> Distance:
    """Distances to the threshold, of v - threshold [K, T, B, N].

    Args:
        margins: Potential less threshold, before spike and reset.
        lengths: Steps of each sample [B].
        unit: What a distance of 1 is: the nominal threshold above rest.
    """
    valid = valid_steps(lengths, margins.shape[1]).unsqueeze(-1)
    size, steps = margins.abs() / unit, (lengths * margins.shape[-1]).double()
    mean = size.masked_fill(~valid, 0).sum((1, 3)) / steps
    return Distance(mean, ((size < NEAR) & valid).double().sum((1, 3)) / steps)


def steps_to_decision(running: Tensor, lengths: Tensor) -> Tensor:
    """Steps [K, B], from 1 on, after which the largest of running logits [K, T, B, O] is the final one and stays."""
    answers = running.argmax(-1)
    final = answers.gather(1, (lengths - 1).expand(len(answers), 1, -1))
    other = (answers != final) & valid_steps(lengths, running.shape[1])
    step = torch.arange(running.shape[1])[:, None]
    return torch.where(other, step, -1).amax(1) + 2
