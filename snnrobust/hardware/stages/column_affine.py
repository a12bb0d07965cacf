"""Gains of an array's columns, measured on the array and undone digitally."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.mapping import over_tiles
from snnrobust.hardware.stages.base import Context, Coordinate, Z


@dataclass(frozen=True)
class ColumnAffine:
    """w' <- a w' with a = sum_j w_j w'_j / sum_j w'_j^2 over the rows of a tile, for each of its columns.

    a is the least-squares fit of the wanted outputs w_j to those of one row after the other, read on this array when
    it is used: with its faults, its drift, and the read noise of the trial. What a column reads where nothing is driven
    is the offset of its converter, which is subtracted, too (`crossbar.periphery.reads_of`). Error of a column after
    it: sqrt(1 - r^2) of that of w, r the correlation of w and w'.

    Attributes:
        shape: Shape of the weights; axes from the second on are rows.
        tile: Rows and columns of a tile; None for one tile.
    """

    shape: tuple[int, ...]
    tile: tuple[int, int] | None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: gains follow from the array."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The weights times the gains of their columns."""
        wanted = context.siblings.get(context.spec.role)
        return theta if wanted is None or wanted is theta else self._corrected(theta, wanted)

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}

    def _corrected(self, theta: Tensor, wanted: Tensor) -> Tensor:
        if theta.ndim > len(self.shape):  # chip by chip: a sum over several at once has another order
            targets = wanted if wanted.ndim == theta.ndim else [wanted] * len(theta)
            return torch.stack([self._corrected(one, w) for one, w in zip(theta, targets, strict=True)])
        read, target = theta.reshape(self.shape[0], -1), wanted.reshape(self.shape[0], -1)
        product, power = (
            over_tiles(x, self.tile, column=True, reduce=torch.mean) for x in (target * read, read * read)
        )
        smallest = torch.finfo(read.dtype).tiny
        gain = torch.where(power > smallest, product / power.clamp_min(smallest), torch.ones_like(power))
        return (gain * read).reshape(theta.shape)
