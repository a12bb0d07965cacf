"""What surrounds an array: converters of its inputs and outputs, and the noise that is new at every read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.compensation import compensation
from snnrobust.hardware.crossbar.drift import drifted, moves
from snnrobust.hardware.crossbar.mapping import conductances, relative, relative_weight, scale_of, sensitivity
from snnrobust.hardware.crossbar.read_noise import read_sigma, shares
from snnrobust.hardware.crossbar.wires import SIEMENS
from snnrobust.hardware.schema.crossbar import Crossbar
from snnrobust.snn.reads import NUMBERS, Reads


def reads_of(
    weights: Sequence[Tensor],
    crossbar: Crossbar,
    *,
    time: float,
    keys: tuple[int, ...],
    gain: Tensor | None = None,
    bound: Tensor | None = None,
    offset: Tensor | None = None,
    corrected: bool = False,
    largest: float = 1.0,
    first_sample: int = 0,
) -> Reads | None:
    """How the arrays of a layer are read at every step; None where nothing happens at a read.

    The noise of a read has the variance of the cells that are read. It is worked out from the nominal devices and put
    on each column in proportion to sum |w| x^2, so that the sum over the column's cells is right. The ADC's range is
    `bound`, or that of the profile, in units of the largest weight of a column's tile; so is its offset. Bit lines lose
    what aihwkit's polynomial says (`snn.reads.lost_on_bit_line`), of cells in units of g_max and inputs in units of the
    largest one.

    Args:
        weights: The layer's nominal matrices [N, I], of inputs and of its own spikes.
        crossbar: The array.
        time: Time since programming, s.
        keys: What the noise of each chip is keyed by.
        gain: The neurons' gains [N].
        bound: Largest output of each column [N] that the ADC takes, measured on data, before the gain.
        offset: z of the offset of each column's ADC, [N] or [K, N].
        corrected: What each column reads when nothing is driven is subtracted digitally: of an offset there is left
            what the ADC's step rounds away.
        largest: Largest input; 1 for spikes.
        first_sample: Number of the first sample in the data set.
    """
    factor = 1.0 if gain is None else gain.abs()
    adc, variance, size = crossbar.adc, torch.zeros(()), torch.zeros(())
    full = torch.stack([full_scale(w, crossbar) for w in weights]).amax(0) * factor
    for w in weights:
        variance = variance + read_variance(w, crossbar, time).sum(-1)
        size = size + w.abs().sum(-1)
    weight_noise = (variance / size.clamp_min(torch.finfo(full.dtype).tiny) * factor).sqrt()
    rows, clocked = None if crossbar.tile is None else crossbar.tile[0], crossbar.read == "clocked"
    drops = [bit_line_drop(w, crossbar, gain, scale) for w, scale in zip(weights, (largest, 1.0), strict=False)]
    if adc is None and not bool(weight_noise.any()) and not any(bool(drop.any()) for drop in drops):
        return None
    plain = Reads(
        keys=keys, weight_noise=weight_noise, drop=drops[0], recurrent_drop=drops[-1], rows=rows, clocked=clocked,
        first_sample=first_sample,
    )  # fmt: skip
    if adc is None:
        return plain
    limit = bound * factor if bound is not None else full * (adc.bound or 1.0)
    shift = torch.zeros_like(full) if offset is None else adc.per_column_offset * full * offset.to(full.dtype)
    step = 2 * limit / (2**adc.bits - 2)
    if corrected:  # rounding commutes with whole steps, so that to subtract them before the ADC is the same
        shift = shift - (shift / step.clamp_min(torch.finfo(full.dtype).tiny)).round() * step
    return replace(plain, noise=adc.noise * full, step=step, bound=limit, offset=shift)


def bit_line_drop(w: Tensor, crossbar: Crossbar, gain: Tensor | None, largest: float) -> Tensor:
    """Relative current [N] of a bit line with one cell for w x = 1: r_wire g_max / (weight at g_max, times input)."""
    drop = crossbar.ir_drop
    full = full_scale(w, crossbar) * (1.0 if gain is None else gain.abs())
    if drop is None or drop.model != "polynomial" or not drop.r_wire:
        return torch.zeros_like(full)
    unit = drop.r_wire * crossbar.g_max * SIEMENS / largest
    return torch.where(full > 0, unit / full.clamp_min(torch.finfo(full.dtype).tiny), torch.zeros_like(full))


def side_by_side(each: Sequence[Reads | None]) -> Reads | None:
    """Reads of chips whose weights differ, one a chip with the keys of all; one alone serves all of them."""
    first = next((reads for reads in each if reads is not None), None)
    if first is None or len(each) == 1:
        return first
    nothing = torch.zeros_like(torch.as_tensor(first.weight_noise))
    quiet = replace(first, weight_noise=nothing, drop=nothing, recurrent_drop=nothing)  # of an array of zeros
    whole = [quiet if reads is None else reads for reads in each]

    def rows(name: str) -> float | Tensor:
        own = [getattr(reads, name) for reads in whole]
        return torch.stack(own) if isinstance(own[0], Tensor) else float(own[0])

    numbers: dict[str, Any] = {name: rows(name) for name in NUMBERS}
    return replace(first, **numbers)


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
        total = total + (part * scale.span * read_sigma(g, target, crossbar, time, scale.largest())) ** 2
    now = scale.low + scale.span * relative_weight(values, crossbar)
    factor = compensation(w, now, crossbar) if moves(crossbar, time) else None
    return share * (total if factor is None else total * factor**2)


def largest_sums(x: Tensor, w: Tensor, rows: int | None) -> Tensor:
    """Largest |sum over a tile| [N] that inputs or spikes x [T, B, I] give with the weights [N, I]."""
    height = rows or w.shape[1]
    tiles = [slice(start, start + height) for start in range(0, w.shape[1], height)]
    return torch.stack([(x[..., t] @ w[:, t].mT).abs().flatten(0, -2).amax(0) for t in tiles]).amax(0)


def converted(x: Tensor, crossbar: Crossbar, largest: float | None = None) -> Tensor:
    """Inputs [(K,) T, B, I] as what the cells of an array make of them: a DAC's levels, then the cells' own curve.

    A DAC has 2^bits - 1 levels from -bound to bound times the largest |x|. With the voltage V x / top at the cells, V
    the read voltage and top the largest input that a DAC takes, cells I = g u (1 + a2 u + a3 u^2) multiply by

        f(x) = x (1 + a2 u + a3 u^2) / (1 + a2 V + a3 V^2),   u = V x / top

    Conductances are those at the read voltage. Spikes are pulses of the read voltage: they need no DAC, a cell is ohmic
    for them, and they stay as they are. Where wires drop no voltage this is exact. Joksas et al. 2022
    (doi:10.1002/advs.202105784).

    Args:
        x: Inputs.
        crossbar: The array.
        largest: Largest |x| of the data the DAC was set for; without it, each sample has its own (aihwkit's noise
            management "abs max"), so that a sample does not depend on others.
    """
    dac, iv = crossbar.dac, crossbar.iv
    curved = iv is not None and iv.model == "cubic"
    if (dac is None and not curved) or bool(((x == 0) | (x == 1)).all()):
        return x
    top = x.abs().amax((-3, -1), keepdim=True) if largest is None else torch.full_like(x[..., :1, :1, :1], largest)
    limit = (1.0 if dac is None else dac.bound or 1.0) * top.clamp_min(torch.finfo(x.dtype).tiny)
    if dac is not None:
        step = limit / (2 ** (dac.bits - 1) - 1)
        x = torch.minimum(torch.maximum(torch.round(x / step) * step, -limit), limit)
    if iv is None or not curved:
        return x
    v, a2, a3 = crossbar.read_voltage or 0.0, iv.a2 or 0.0, iv.a3 or 0.0
    u = v * x / limit
    return x * (1 + u * (a2 + a3 * u)) / (1 + v * (a2 + a3 * v))


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
