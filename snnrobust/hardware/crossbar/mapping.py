"""From weights to conductances and back: which devices hold a weight, and which weights share a scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.hardware.schema.crossbar import Crossbar

ONE_DEVICE = ("offset", "single_device")


@dataclass(frozen=True)
class Scale:
    """Weights of a tile, or of a column of a tile, in units of its range: w = low + span r.

    Attributes:
        low: Weight at r = 0.
        span: Weight at r = 1, less `low`.
    """

    low: Tensor
    span: Tensor

    def largest(self) -> Tensor:
        """The largest |w|, in units of span: 1 for pairs, 1/2 for `offset`; 0 where all weights are the same."""
        most = torch.maximum(self.low.abs(), (self.low + self.span).abs())
        return torch.where(self.span > 0, most / self.span.clamp_min(torch.finfo(most.dtype).tiny), 0.0)


def devices(crossbar: Crossbar) -> tuple[str, ...]:
    """Names of the devices that hold one weight."""
    if crossbar.mapping.scheme in ONE_DEVICE:
        return ("g",)
    pairs = len(crossbar.mapping.f or ()) if crossbar.mapping.scheme == "n_pair" else 1
    names = [("g_plus", "g_minus") if n == 0 else (f"g_plus_{n}", f"g_minus_{n}") for n in range(pairs)]
    return tuple(name for pair in names for name in pair)


def scale_of(theta: Tensor, crossbar: Crossbar) -> Scale:
    """The scale of every weight of a matrix [.., N, I], constant in gradients.

    Pairs and `offset` take -max|w| .. max|w|, so that their weight of zero is exact; `single_device` takes min w .. max
    w. Both are those of the tile that a weight lies on (`tile`: rows of sources, columns of neurons), or of its column
    there.
    """
    w, column = theta.detach(), crossbar.mapping.scale == "per_column"
    if crossbar.mapping.scheme == "single_device":
        low, high = (over_tiles(w, crossbar.tile, column=column, reduce=f) for f in (torch.amin, torch.amax))
    else:
        high = over_tiles(w.abs(), crossbar.tile, column=column, reduce=torch.amax)
        low = torch.zeros_like(high) if crossbar.mapping.scheme != "offset" else -high
    return Scale(low, high - low)


def relative(theta: Tensor, scale: Scale) -> Tensor:
    """r = (theta - low) / span; 0 where all weights of a scale are the same."""
    return (theta - scale.low) / scale.span.clamp_min(torch.finfo(theta.dtype).tiny)


def conductances(relative: Tensor, crossbar: Crossbar) -> list[Tensor]:
    """Target conductances in microsiemens of each device, for weights r = (w - low) / span.

        one-sided pair   g+ = g_min + max(r, 0) G, g- = g_min + max(-r, 0) G,        G = g_max - g_min
        two-sided pair   g+ = g_min + (1 + r) G / 2, g- = g_min + (1 - r) G / 2
        one device       g = g_min + r G
        n pairs          one-sided pairs of significance f_n, each used once those before it are full, as in aihwkit's
                         NPairConductanceConverter

    The gradient at r = 0 of a pair is the mean of those from both sides.
    """
    low, reach, scheme = crossbar.g_min, crossbar.g_max - crossbar.g_min, crossbar.mapping.scheme
    if scheme in ONE_DEVICE:
        return [low + relative * reach]
    if scheme == "differential_two_sided":
        return [low + (1 + sign * relative) / 2 * reach for sign in (1, -1)]
    if scheme == "differential_one_sided":
        return [low + positive_part(sign * relative) * reach for sign in (1, -1)]
    significances, found, filled = _significances(crossbar), [], 0.0
    for f in significances:
        for sign in (1, -1):
            share = (positive_part(sign * relative) * sum(significances) - filled) / f
            found.append(low + share.clamp(0, 1) * reach)
        filled += f
    return found


def relative_weight(values: Sequence[Tensor], crossbar: Crossbar) -> Tensor:
    """r of the conductances that devices have; the inverse of `conductances` where these are exact."""
    reach = crossbar.g_max - crossbar.g_min
    if crossbar.mapping.scheme in ONE_DEVICE:
        return (values[0] - crossbar.g_min) / reach
    significances = _significances(crossbar)
    pairs = zip(values[::2], values[1::2], strict=True)
    total = sum((f * (plus - minus) for f, (plus, minus) in zip(significances, pairs, strict=True)), start=0.0)
    return torch.as_tensor(total) / (reach * sum(significances))


def sensitivity(crossbar: Crossbar) -> list[float]:
    """|dr / dg| of each device, in 1 / microsiemens."""
    reach = crossbar.g_max - crossbar.g_min
    if crossbar.mapping.scheme in ONE_DEVICE:
        return [1 / reach]
    significances = _significances(crossbar)
    return [f / (reach * sum(significances)) for f in significances for _ in (1, -1)]


def over_tiles(x: Tensor, tile: tuple[int, int] | None, *, column: bool, reduce: Callable[..., Tensor]) -> Tensor:
    """reduce(x, dim, keepdim) over each tile of a matrix [.., N, I], or over each column there, for every weight.

    The result has the shape of x, or 1 where one value serves a whole axis.

    Args:
        x: A value of each weight.
        tile: Sources (I) and neurons (N) of a tile; None for one tile.
        column: Reduce over the sources of a tile only.
        reduce: Such as torch.amax or torch.mean.
    """
    sources, neurons = x.shape[-1], x.shape[-2]
    rows, columns = tile or (sources, neurons)
    if sources <= rows and (column or neurons <= columns):
        return reduce(x, -1 if column else (-2, -1), keepdim=True)
    axes = -1 if column else (-2, -1)
    bands = []
    for n in range(0, neurons, neurons if column else columns):
        band = x[..., n : n + (neurons if column else columns), :]
        parts = [band[..., i : i + rows] for i in range(0, sources, rows)]
        bands.append(torch.cat([reduce(part, axes, keepdim=True).expand_as(part) for part in parts], -1))
    return torch.cat(bands, -2)


def positive_part(x: Tensor) -> Tensor:
    """max(x, 0) with derivative 1/2 at 0, so that the two sides of a pair together have derivative 1."""
    return (x + x.abs()) / 2


def _significances(crossbar: Crossbar) -> tuple[float, ...]:
    return (crossbar.mapping.f or (1.0,)) if crossbar.mapping.scheme == "n_pair" else (1.0,)
