"""Weights that lie in an array of conductances: mapped, programmed, stuck, drifted, read, and compensated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from snnrobust.hardware.crossbar.compensation import compensation
from snnrobust.hardware.crossbar.drift import drifted, moves
from snnrobust.hardware.crossbar.mapping import conductances, devices, relative, relative_weight, scale_of
from snnrobust.hardware.crossbar.programming import at_least_zero, programmed, programming_sigma
from snnrobust.hardware.crossbar.read_noise import read_sigma, shares
from snnrobust.hardware.crossbar.stuck import block_shape, clustered, rates, stuck
from snnrobust.hardware.crossbar.wires import through_wires
from snnrobust.hardware.stages.base import Context, Coordinate, Z, by_instance, clamped

if TYPE_CHECKING:
    from snnrobust.hardware.schema import Faults
    from snnrobust.hardware.schema_crossbar import Crossbar

Kind = Literal["continuous", "fixed", "temporal", "slow"]


class Cell(NamedTuple):
    """A device of every weight, in microsiemens: what it was programmed to, and what it has now."""

    programmed: Tensor
    now: Tensor


@dataclass(frozen=True)
class Array:
    """Weights [N, I, ...] in the devices of a crossbar; axes from the second on are its rows.

    A chip keeps its devices: z of programming, faults and drift belong to the chip, so that the same chip at another
    time is further on its own way. Read noise is drawn again in every trial, a part of it in every part of a trial.

    Attributes:
        name: Name of the weight tensor.
        shape: Its shape.
        crossbar: The profile's crossbar.
        faults: The profile's faults; without any where quantisation, limits and faults are left out.
        time: Time since programming, s.
    """

    name: str
    shape: tuple[int, ...]
    crossbar: Crossbar
    faults: Faults
    time: float

    def coordinates(self) -> tuple[Coordinate, ...]:
        """For each device: its programming error, faults, drift, and the frozen and slow parts of its read noise."""
        return tuple(c for device in devices(self.crossbar) for c in self._of(device).values())

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The weights that the array has when it is read."""
        keys = {(device, part): c.key for device in devices(self.crossbar) for part, c in self._of(device).items()}
        given = {name: z.get(key) for name, key in keys.items()}
        if all(value is None for value in given.values()):
            return theta
        matrix = theta.reshape(*theta.shape[: theta.ndim - len(self.shape)], *self._size())
        scale = scale_of(matrix, self.crossbar)
        targets = conductances(relative(matrix, scale), self.crossbar)
        sigmas = [programming_sigma(target, self.crossbar, self.time) for target in targets]

        def read(*parts: Tensor | None) -> Tensor:
            found = dict(zip(keys, (p if p is None else self._matrix(p) for p in parts), strict=True))
            cells = [
                self._cell(target, sigma, {part: found[device, part] for part in self._of(device)})
                for device, target, sigma in zip(devices(self.crossbar), targets, sigmas, strict=True)
            ]
            now = scale.low + scale.span * relative_weight([self._wired(cell.now) for cell in cells], self.crossbar)
            if not moves(self.crossbar, self.time):
                return now.reshape(*now.shape[:-2], *self.shape)
            first = [self._wired(cell.programmed) for cell in cells]
            before = scale.low + scale.span * relative_weight(first, self.crossbar)
            factor = compensation(before, now, self.crossbar)
            now = now if factor is None else now * factor
            return now.reshape(*now.shape[:-2], *self.shape)

        return by_instance(read, theta, *given.values())

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Each continuous coordinate of a device clipped to [-k, k]."""
        return clamped(self, z, k)

    def _of(self, device: str) -> dict[str, Coordinate]:
        """The coordinates of one device of every weight, by what they are for."""
        parts: dict[str, tuple[str, Kind]] = {}
        drift, noise = self.crossbar.drift, shares(self.crossbar, self.time)
        if self.crossbar.programming is not None:
            parts["programming"] = (device, "continuous")
        if any(rates(self.faults)):
            parts["fault"] = (f"{device}.fault", "fixed")
        if drift is not None and moves(self.crossbar, self.time):
            parts["drift"] = (f"{device}.drift", "continuous")
        if self.crossbar.read_noise is not None and self.crossbar.read_noise.model != "none":
            parts |= {"trial": (f"{device}.read", "temporal")} if noise.trial else {}
            parts |= {"slow": (f"{device}.slow", "slow")} if noise.slow else {}
        found = {
            part: Coordinate(self.name, component, "per_device", self.shape, kind)
            for part, (component, kind) in parts.items()
        }
        if self.faults.clustered and "fault" in parts:
            blocks = (*block_shape(self._size()), *(1,) * (len(self.shape) - 2))
            found["cluster"] = Coordinate(self.name, f"{device}.cluster", "per_block", blocks, "fixed")
        return found

    def _cell(self, target: Tensor, sigma: Tensor, z: Mapping[str, Tensor | None]) -> Cell:
        g = programmed(target, sigma, z.get("programming"), self.crossbar)
        selector = z.get("fault")
        if selector is not None:
            block = z.get("cluster")
            chosen = selector if block is None else clustered(selector, block)
            where, value = stuck(chosen, target, self.faults, self.crossbar)
            g, target = torch.where(where, value, g), torch.where(where, value, target)
        now = drifted(g, target, z.get("drift"), self.crossbar, self.time)
        return Cell(g, self._read(now, g, z))

    def _wired(self, g: Tensor) -> Tensor:
        """What the array multiplies by, given the resistance of its wires; its rows are inputs."""
        drop = self.crossbar.ir_drop
        if drop is None or drop.model != "nodal" or not drop.r_wire:
            return g
        return through_wires(g.clamp_min(0).mT, r_wire=drop.r_wire, tile=self.crossbar.tile).mT

    def _read(self, now: Tensor, before: Tensor, z: Mapping[str, Tensor | None]) -> Tensor:
        part = shares(self.crossbar, self.time)
        terms = [(part.trial**0.5, z.get("trial")), (part.slow**0.5, z.get("slow"))]
        drawn = [size * value.to(now.dtype) for size, value in terms if value is not None]
        noisy = now + read_sigma(now, before, self.crossbar, self.time) * sum(drawn[1:], drawn[0]) if drawn else now
        drift, noise = self.crossbar.drift, self.crossbar.read_noise
        if drift is not None and drift.clip is not None and (drawn or moves(self.crossbar, self.time)):
            return noisy.clamp(*drift.clip)
        # Constant noise is that of a weight: cut off at zero it would be smaller than the profile says, and one-sided.
        return at_least_zero(noisy) if drawn and noise is not None and noise.model != "constant" else noisy

    def _size(self) -> tuple[int, int]:
        """Columns and rows of the array, N and I."""
        return self.shape[0], math.prod(self.shape[1:])

    def _matrix(self, value: Tensor) -> Tensor:
        """Coordinates of devices or blocks as a matrix [.., N, I]."""
        own = value.shape[value.ndim - len(self.shape) :]
        return value.reshape(*value.shape[: value.ndim - len(self.shape)], own[0], math.prod(own[1:]))
