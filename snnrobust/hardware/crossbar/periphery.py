"""What surrounds an array: converters of its inputs and outputs, and the noise that is new at every read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.compensation import compensation
from snnrobust.hardware.crossbar.drift import drifted, moves
from snnrobust.hardware.crossbar.mapping import conductances, relative, relative_weight, scale_of, sensitivity
from snnrobust.hardware.crossbar.read_noise import read_sigma, shares
from snnrobust.hardware.schema_crossbar import DAC, Crossbar
from snnrobust.snn.reads import Reads


def reads_of(
    weights: Sequence[Tensor],
    crossbar: Crossbar,
    *,
    time: float,
    keys: tuple[int, ...],
    gain: Tensor | None = None,
    bound: Tensor | None = None,
    first_sample: int = 0,
) -> Reads | None:
    """How the arrays of a layer are read at every step; None where nothing happens at a read.

    The noise of a read has the variance of the cells that are read. It is worked out from the nominal devices and put
    on each column in proportion to sum |w| x^2, so that the sum over the column's cells is right. The ADC's range is
    `bound`, or that of the profile, in units of the largest weight of a column's tile.

    Args:
        weights: The layer's nominal matrices [N, I].
        crossbar: The array.
        time: Time since programming, s.
        keys: What the noise of each chip is keyed by.
        gain: The neurons' gains [N].
        bound: Largest output of each column [N] that the ADC takes, measured on data, before the gain.
        first_sample: Number of the first sample in the data set.
    """
    factor = 1.0 if gain is None else gain.abs()
    adc, variance, size = crossbar.adc, torch.zeros(()), torch.zeros(())
    full = torch.stack([full_scale(w, crossbar) for w in weights]).amax(0) * factor
    for w in weights:
        variance = variance + read_variance(w, crossbar, time).sum(-1)
        size = size + w.abs().sum(-1)
    weight_noise = (variance / size.clamp_min(torch.finfo(full.dtype).tiny) * factor).sqrt()
    rows = None if crossbar.tile is None else crossbar.tile[0]
    if adc is None and not bool(weight_noise.any()):
        return None
    clocked = crossbar.read == "clocked"
    plain = Reads(keys=keys, weight_noise=weight_noise, rows=rows, clocked=clocked, first_sample=first_sample)
    if adc is None:
        return plain
    limit = bound * factor if bound is not None else full * (adc.bound or 1.0)
    return replace(plain, noise=adc.noise * full, step=2 * limit / (2**adc.bits - 2), bound=limit)


def side_by_side(each: Sequence[Reads | None]) -> Reads | None:
    """Reads of chips whose weights differ, one a chip with the keys of all; one alone serves all of them."""
    first = next((reads for reads in each if reads is not None), None)
    if first is None or len(each) == 1:
        return first
    quiet = replace(first, weight_noise=torch.zeros_like(torch.as_tensor(first.weight_noise)))
    whole = [quiet if reads is None else reads for reads in each]  # an array of zeros has no noise

    def rows(name: str) -> float | Tensor:
        own = [getattr(reads, name) for reads in whole]
        return torch.stack(own) if isinstance(own[0], Tensor) else float(own[0])

    return replace(
        first, noise=rows("noise"), weight_noise=rows("weight_noise"), step=rows("step"), bound=rows("bound")
    )


def full_scale(w: Tensor, crossbar: Crossbar) -> Tensor:
    """Weight [N] that one cell at g_max stands for, in the tile of each column where that is largest."""
    span = scale_of(w, crossbar).span.expand_as(w)
    return span.amax(-1) if crossbar.mapping.scheme != "offset" else span.amax(-1) / 2


def read_variance(w: Tensor, crossbar: Crossbar, time: float) -> Tensor:
    """Variance [N, I] of the part of the noise of weights that is new at every read, on nominal devices."""
    share = shares(crossbar, time).read
    if crossbar.read_noise is None or crossbar.read_noise.model == "none" or not share:
        return torch.zeros_like(w)
    scale = scale_of(w, crossbar)
    targets = conductances(relative(w, scale), crossbar)
    values = [drifted(g, g, None, crossbar, time) for g in targets]
    total = torch.zeros_like(w)
    for part, g, target in zip(sensitivity(crossbar), values, targets, strict=True):
        total = total + (part * scale.span * read_sigma(g, target, crossbar, time)) ** 2
    now = scale.low + scale.span * relative_weight(values, crossbar)
    factor = compensation(w, now, crossbar) if moves(crossbar, time) else None
    return share * (total if factor is None else total * factor**2)


def largest_sums(x: Tensor, w: Tensor, rows: int | None) -> Tensor:
    """Largest |sum over a tile| [N] that inputs or spikes x [T, B, I] give with the weights [N, I]."""
    height = rows or w.shape[1]
    tiles = [slice(start, start + height) for start in range(0, w.shape[1], height)]
    return torch.stack([(x[..., t] @ w[:, t].mT).abs().flatten(0, -2).amax(0) for t in tiles]).amax(0)


def converted(x: Tensor, dac: DAC, largest: float | None = None) -> Tensor:
    """Inputs [(K,) T, B, I] as a DAC gives them: 2^bits - 1 levels from -bound to bound times the largest |x|.

    Spikes need no DAC and stay as they are. `largest` is that of the data the DAC was set for; without it, each sample
    has its own (aihwkit's noise management "abs max"), so that a sample does not depend on others.
    """
    if bool(((x == 0) | (x == 1)).all()):
        return x
    top = x.abs().amax((-3, -1), keepdim=True) if largest is None else torch.full_like(x[..., :1, :1, :1], largest)
    limit = (dac.bound or 1.0) * top.clamp_min(torch.finfo(x.dtype).tiny)
    step = limit / (2 ** (dac.bits - 1) - 1)
    return torch.minimum(torch.maximum(torch.round(x / step) * step, -limit), limit)


def sums_on_data(
    x: Tensor, spikes: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, Tensor]], rows: int | None
) -> dict[str, Tensor]:
    """Largest output [N] of each layer's arrays on data, before the gain, from which ADC ranges are set.

    Args:
        x: Inputs [T, B, I] of the first layer.
        spikes: Of each spiking layer [T, B, N], in order.
        layers: Weights of each layer by role: weight, recurrent_weight.
        rows: Sources of a tile.
    """
    found, before = {}, x
    for name, own in layers.items():
        largest = largest_sums(before, own["weight"], rows)
        if "recurrent_weight" in own:
            largest = torch.maximum(largest, largest_sums(spikes[name], own["recurrent_weight"], rows))
        found[name] = largest
        before = spikes.get(name, before)
    return found
