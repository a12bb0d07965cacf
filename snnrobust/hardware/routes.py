"""What happens to the spikes of neurons on their way to other neurons: loss, delays, jitter, spikes from nowhere.

A spike that neuron j gives in step s is due at the next layer's weights in step t = s, and at the recurrent weights of
its own layer in step t = s + 1. It is lost with probability `loss`, or arrives on chip k in step

    t' = t + max(0, round((delay_kj + jitter) / step)),    delay_kj ~ N(0, delay_std),  jitter ~ N(0, jitter_std)

so jitter and delays are causal: no spike arrives before it is due, and half of those on their way are on time. (Input
spikes, `events`, may also come early, since nothing says when their sources gave them.) The delay is the line's own on
each chip, the jitter is drawn for each spike. Spikes that arrive after the last step are dropped, those that arrive
together on a line merge; background spikes come as they do on input lines, and are neither lost nor moved.

The lines of each weight matrix have draws of their own, keyed by the weights' name, chip, trial and number of the
sample, and by step t and neuron j as element t N + j: a spike that is lost on the way back may still reach the next
layer, and no event depends on the batch or the block. Backward, spikes count as if all arrived when they are due.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.compiled import kernel, run_jobs
from snnrobust.hardware.events import SAMPLE, Draws, Flags, background_probability, happens, simulated, uniform
from snnrobust.hardware.model import Deployable, Routable
from snnrobust.hardware.normals import Words, normal_quantiles, uniforms
from snnrobust.hardware.schema.digital import Events
from snnrobust.snn.routes import Arrivals

FARTHEST = 8.3
"""Beyond every standard normal that 53 bits give."""


@dataclass(frozen=True)
class EventRoute:
    """The lines to one weight matrix on some chips, in one pass over the data.

    Attributes:
        events: What happens on them.
        draws: Which chips, in which pass, and which weights.
        step: Length of a step on the chip in s; events that need it are left out where it is None.
        first_sample: Number of the first sample in the data set.
    """

    events: Events
    draws: Draws
    step: float | None = None
    first_sample: int = 0

    @property
    def instances(self) -> int:
        """Number of chips K."""
        return len(self.draws.chips)

    def start(self, steps: int, samples: int, neurons: int) -> Arrivals:
        """A pass of so many steps, samples and neurons, with nothing on its way yet."""
        events, step = simulated(self.events, self.step), self.step or 1.0
        delay = np.zeros((self.instances, neurons))
        if events.delay_std:
            delay = events.delay_std / step * self.draws.delays(neurons).numpy()
        jitter = events.jitter_std / step
        latest = float(delay.max(initial=0.0)) + FARTHEST * jitter
        slots = steps if latest >= steps else max(1, min(math.ceil(latest) + 1, steps))
        lines = _Lines(
            keys=np.stack([self.draws.keys(event) for event in ("loss", "jitter", "background")]),
            delay=delay,
            jitter=jitter,
            loss=events.loss,
            background=background_probability(events, self.step),
            first_sample=self.first_sample,
            pending=np.zeros((slots, self.instances, samples, neurons), dtype=np.bool_),
        )
        return partial(_arrivals, lines)


@dataclass(frozen=True)
class _Lines:
    """What one pass needs at every step; times are in steps.

    Attributes:
        keys: Of loss, jitter and background on each chip [3, K, 2].
        delay: Of each line [K, N].
        jitter: Standard deviation.
        loss: Probability.
        background: Probability of a spike in a step.
        first_sample: Number of the first sample.
        pending: What arrives in step t, in slot t modulo their number [slots, K, B, N].
    """

    keys: Words
    delay: NDArray[np.float64]
    jitter: float
    loss: float
    background: float
    first_sample: int
    pending: Flags


def routes_of(
    net: Deployable, events: Events, draws: Draws, *, step: float | None, first_sample: int = 0
) -> dict[str, EventRoute]:
    """The lines between the neurons of a network, by the name of the weights that they lead to; empty without events.

    Args:
        net: The network.
        events: What happens to spikes.
        draws: Which chips, and in which pass over the data.
        step: Length of a step on the chip in s.
        first_sample: Number of the first sample in the data set.
    """
    if not isinstance(net, Routable) or not happens(simulated(events, step)):
        return {}
    return {name: EventRoute(events, draws.to(name), step, first_sample) for name in routed(net)}


def routed(net: Routable) -> tuple[str, ...]:
    """Names of the weights on the chip that spikes of neurons reach."""
    specs = net.parameter_specs()
    return tuple(name for name in net.routed_weights() if specs[name].on_chip)


def _arrivals(lines: _Lines, due: Tensor, t: int) -> Tensor:
    """Spikes [K, B, N] that arrive in step t, of those that are due in it and those that were on their way."""
    spikes = (due.detach() != 0).cpu().contiguous().numpy()
    spikes = spikes[None] if spikes.ndim == 2 else spikes
    out = np.empty(lines.pending.shape[1:], dtype=np.bool_)
    run_jobs(
        _arrive, len(out), spikes, t, lines.keys, lines.delay, lines.jitter, lines.loss, lines.background,
        lines.first_sample, lines.pending, out,
    )  # fmt: skip
    arrived = torch.from_numpy(out).to(due.device, due.dtype)
    return arrived + (due - due.detach()) if due.requires_grad else arrived


@kernel
def _arrive(
    start: int,
    stop: int,
    due: Flags,
    t: int,
    keys: Words,
    delay: NDArray[np.float64],
    jitter: float,
    loss: float,
    background: float,
    first_sample: int,
    pending: Flags,
    out: Flags,
) -> None:
    """Job n is a chip: its spikes due in step t [B, N] into `pending`, and what arrives in it into out [K, B, N]."""
    slots, _, samples, neurons = pending.shape
    spikes, where = np.empty(neurons, dtype=np.int64), np.empty(neurons, dtype=np.int64)
    u, z, scratch, four = np.empty(neurons), np.zeros(neurons), np.empty(neurons), np.empty(4)
    for n in range(start, stop):
        own, now = due[n if len(due) > 1 else 0], pending[t % slots, n]
        for b in range(samples):
            sample, count = np.uint64(first_sample + b), 0
            for j in range(neurons):
                if own[b, j]:
                    spikes[count] = j
                    count += 1
            if jitter > 0:
                for s in range(count):
                    u[s] = uniform(keys[1, n], sample, t * neurons + spikes[s], four)
                normal_quantiles(u[:count], z[:count], where, scratch)
            for s in range(count):
                j = spikes[s]
                if loss > 0 and uniform(keys[0, n], sample, t * neurons + j, four) < loss:
                    continue
                late = delay[n, j] + jitter * z[s]
                late = np.rint(late) if late > 0 else 0.0
                if late < slots:
                    pending[(t + int(late)) % slots, n, b, j] = True
            for j in range(neurons):
                out[n, b, j] = now[b, j]
                now[b, j] = False
            if background > 0:
                first = t * neurons
                for j in range(neurons):
                    if j == 0 or (first + j) % 4 == 0:
                        uniforms(keys[2, n, 0], keys[2, n, 1], sample * SAMPLE + np.uint64((first + j) // 4), four)
                    if four[(first + j) % 4] < background:
                        out[n, b, j] = True
