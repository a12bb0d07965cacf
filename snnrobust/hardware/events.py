"""What happens to input spikes on their way to the neurons: loss, delays, jitter, spikes from nowhere.

A spike of input line i at step t is lost with probability `loss`, or arrives on chip k at step

    t' = t + round((delay_ki + jitter) / step),    delay_ki ~ N(0, delay_std),  jitter ~ N(0, jitter_std)

where the delay is the chip's own and counts from the mean of all lines, the jitter is drawn for each spike, and a
shift below half a step is none. Spikes that arrive before the first or after the last step are dropped, those that
arrive together on a line merge. Background spikes are Poisson: each line has one in each step with probability
1 - exp(-background_rate step); they are neither lost nor moved.

The draws of a spike are keyed by chip, trial, number of the sample in the data set, and by its step and line as
element t I + i, so no event depends on the batch, the block or the padding. Under one key, a higher loss or rate
keeps the events of a lower one. The spikes of neurons have events, too: `routes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.compiled import kernel, run_jobs
from snnrobust.errors import ShapeError
from snnrobust.hardware import randomness
from snnrobust.hardware.normals import Ints, Words, normal_quantiles, normals, uniforms
from snnrobust.hardware.schema.digital import Events

Flags = NDArray[np.bool_]

TIMED = ("jitter_std", "delay_std", "background_rate")
"""Events that need the length of a step."""
SAMPLE = np.uint64(1 << 32)
"""Blocks of four draws that each sample has to itself."""


@dataclass(frozen=True)
class Draws:
    """Which draws to take: those of some chips in one pass over the data.

    Attributes:
        seed: The user's seed.
        purpose: train, validation, test or attack.
        chips: Numbers of the chips.
        trial: Number of the pass.
        target: What the lines lead to: the network's inputs, or weights of this name.
    """

    seed: int
    purpose: str
    chips: Sequence[int]
    trial: int = 0
    target: str = "inputs"

    def to(self, target: str) -> Draws:
        """The draws of other lines."""
        return replace(self, target=target)

    def keys(self, event: str) -> Words:
        """Keys of an event's draws in this pass, one a chip, as low and high halves [K, 2]."""
        found = [self._key(event, "per_spike", chip, self.trial) for chip in self.chips]
        return np.array([(key & (2**64 - 1), key >> 64) for key in found], dtype=np.uint64).reshape(-1, 2)

    def delays(self, lines: int) -> Tensor:
        """Standard normal delays of each chip's lines [K, I], the same in every pass."""
        found = normals([self._key("delay", "per_line", chip) for chip in self.chips], [lines] * len(self.chips))
        return torch.from_numpy(found.reshape(-1, lines)).double()

    def _key(self, event: str, granularity: str, chip: int, *extra: int) -> int:
        return randomness.key(self.seed, self.purpose, self.target, event, granularity, chip, *extra)


def spikes_only(x: Tensor) -> Tensor:
    """Which samples of x [T, B, I] are spikes, at most one a step, [B]: events do nothing to currents and counts."""
    return ((x == 0) | (x == 1)).all(2).all(0)


def simulated(events: Events, step: float | None) -> Events:
    """The events that can be simulated: without the length of a step in s, spikes can only be lost."""
    return events if step is not None else events.model_copy(update=dict.fromkeys(TIMED, 0.0))


def happens(events: Events) -> bool:
    """Whether there are any events at all."""
    return any(getattr(events, name) for name in ("loss", *TIMED))


def background_probability(events: Events, step: float | None) -> float:
    """Probability of a background spike in a step of this length in s, 1 - exp(-rate step)."""
    return 0.0 if step is None else -float(np.expm1(-events.background_rate * step))


def remarks(events: Events, step: float | None, routed: Sequence[str] | None = None) -> list[str]:
    """What a user has to know of a profile's events; nothing where there are none.

    Args:
        events: What happens to spikes.
        step: Length of a step in s, if it is known.
        routed: Weights that spikes of neurons reach; None where the model does not say.
    """
    found = [name for name in ("loss", *TIMED) if getattr(events, name)]
    if not found:
        return []
    untimed = [name for name in found if name in TIMED and step is None]
    names = ", ".join(name for name in found if name not in untimed)
    lines = []
    if names:
        lines.append(f"events of input spikes{'' if routed else ' only'}, in samples of 0 and 1: {names}")
        if routed is None:
            lines.append(f"not simulated: {names} of recurrent spikes, and of those between layers")
        if routed:
            lines.append(f"events of neurons' spikes, on the eager engine, on the way to {', '.join(routed)}: {names}")
    if untimed:
        lines.append(f"no events, which need a time step that the model does not state: {', '.join(untimed)}")
    return lines


def received(
    x: Tensor,
    events: Events,
    draws: Draws,
    *,
    step: float | None = None,
    lengths: Tensor | None = None,
    first_sample: int = 0,
) -> Tensor:
    """Inputs [K, T, B, I] that reach the neurons of each chip.

    Args:
        x: Inputs [T, B, I]. Samples with anything but 0 and 1 are currents, and stay as they are.
        events: What happens to them.
        draws: Which chips, and in which pass over the data.
        step: Length of a step on the chip in s; events that need it are left out where it is None.
        lengths: Steps of each sample [B]; what is in x after them is left out. All T by default.
        first_sample: Number of the first sample in the data set.

    Raises:
        ShapeError: If x has other axes.
    """
    if x.ndim != 3:
        raise ShapeError(f"x: shape {tuple(x.shape)}; must be [T, B, I] (steps, samples, inputs)")
    events, steps, spiking = simulated(events, step), len(x), spikes_only(x)
    ends = torch.full((x.shape[1],), steps) if lengths is None else lengths.cpu()
    ends = torch.where(spiking.cpu(), ends, 0)  # currents have no step in which spikes leave or arrive
    t, b, i = ((x != 0).cpu() & (torch.arange(steps)[:, None] < ends)[:, :, None]).nonzero(as_tuple=True)
    numbers, elements = (first_sample + b).numpy(), (t * x.shape[2] + i).numpy()
    arrival = t.expand(len(draws.chips), -1)
    if step is not None and (events.jitter_std or events.delay_std):
        time = events.delay_std * draws.delays(x.shape[2])[:, i]
        if events.jitter_std:
            time = time + events.jitter_std * _normals(_uniforms(draws.keys("jitter"), numbers, elements))
        arrival = t + (time / step).round().clamp(-steps, steps).long()  # clamped: integers end, times do not
    arrives = (arrival >= 0) & (arrival < ends[b])
    if events.loss:
        arrives &= torch.from_numpy(_uniforms(draws.keys("loss"), numbers, elements) >= events.loss)
    result = torch.where(spiking[:, None], 0, x).cpu().repeat(len(draws.chips), 1, 1, 1)
    run_jobs(_put, len(result), arrives.numpy(), arrival.contiguous().numpy(), b.numpy(), i.numpy(), result.numpy())
    probability = background_probability(events, step)
    if probability:
        jobs = len(draws.chips) * x.shape[1]
        run_jobs(_add, jobs, draws.keys("background"), ends.numpy(), first_sample, probability, result.numpy())
    return result.to(x.device)


def _uniforms(keys: Words, samples: Ints, elements: Ints) -> NDArray[np.float64]:
    """Uniform draws [K, S] of elements [S] of samples [S]."""
    out = np.empty((len(keys), len(samples)))
    run_jobs(_fill, out.size, keys, samples, elements, out)
    return out


def _normals(u: NDArray[np.float64]) -> Tensor:
    """The standard normals of uniform draws."""
    z = np.empty_like(u)
    run_jobs(_quantiles, len(u), u, z)
    return torch.from_numpy(z)


@kernel
def uniform(key: Words, sample: np.uint64, element: int, four: NDArray[np.float64]) -> float:
    """The uniform draw of an element of a sample under a key [2]; four is scratch."""
    uniforms(key[0], key[1], sample * SAMPLE + np.uint64(element // 4), four)
    drawn: float = four[element % 4]
    return drawn


@kernel
def _fill(start: int, stop: int, keys: Words, samples: Ints, elements: Ints, out: NDArray[np.float64]) -> None:
    """Job n is an element on a chip."""
    four = np.empty(4)
    for n in range(start, stop):
        chip, place = n // len(samples), n % len(samples)
        out[chip, place] = uniform(keys[chip], np.uint64(samples[place]), elements[place], four)


@kernel
def _quantiles(start: int, stop: int, u: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Job n is a chip."""
    where, scratch = np.empty(u.shape[1], dtype=np.int64), np.empty(u.shape[1])
    for n in range(start, stop):
        normal_quantiles(u[n], out[n], where, scratch)


@kernel
def _put(
    start: int, stop: int, arrives: Flags, arrival: Ints, samples: Ints, lines: Ints, out: NDArray[np.floating]
) -> None:
    """Job n is a chip: its spikes [S] that arrive, into out [K, T, B, I]."""
    for n in range(start, stop):
        for spike in range(len(samples)):
            if arrives[n, spike]:
                out[n, arrival[n, spike], samples[spike], lines[spike]] = 1


@kernel
def _add(
    start: int,
    stop: int,
    keys: Words,
    ends: Ints,
    first_sample: int,
    probability: float,
    out: NDArray[np.floating],
) -> None:
    """Job n is a sample on a chip: a spike into each step and line of out [K, T, B, I] with this probability."""
    _, _, samples, lines = out.shape
    four = np.empty(4)
    for n in range(start, stop):
        chip, sample = n // samples, n % samples
        first = np.uint64(first_sample + sample) * SAMPLE
        for element in range(ends[sample] * lines):
            if element % 4 == 0:
                uniforms(keys[chip, 0], keys[chip, 1], first + np.uint64(element // 4), four)
            if four[element % 4] < probability:
                out[chip, element // lines, sample, element % lines] = 1
