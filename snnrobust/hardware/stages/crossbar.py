"""Weights that lie in an array of conductances: mapped, programmed, stuck, drifted, read, and compensated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from snnrobust.hardware.crossbar.compensation import compensation
from snnrobust.hardware.crossbar.drift import drifted, moves
from snnrobust.hardware.crossbar.mapping import Scale, conductances, devices, relative, relative_weight, scale_of
from snnrobust.hardware.crossbar.programming import at_least_zero, programmed, programming_sigma, spreads
from snnrobust.hardware.crossbar.read_noise import read_sigma, shares
from snnrobust.hardware.crossbar.stuck import block_shape, clustered, fault_masks, rates, stuck
from snnrobust.hardware.crossbar.wires import through_wires
from snnrobust.hardware.stages.base import (
    STATIC,
    TEMPORAL,
    Context,
    Coordinate,
    Kind,
    Z,
    all_by_instance,
    by_instance,
    clamped,
)

if TYPE_CHECKING:
    from snnrobust.hardware.schema.crossbar import Crossbar
    from snnrobust.hardware.schema.digital import Faults


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

    @property
    def wired(self) -> bool:
        """Whether wires of some resistance belong to what the array multiplies by."""
        drop = self.crossbar.ir_drop
        return drop is not None and drop.model == "nodal" and bool(drop.r_wire)

    def coordinates(self) -> tuple[Coordinate, ...]:
        """For each device: its programming error, faults, drift, and the frozen and slow parts of its read noise."""
        return tuple(c for device in devices(self.crossbar) for c in self._of(device).values())

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The weights that the array has when it is read."""
        own = self.coordinates()
        if own and all(c.key not in z for c in own):
            return theta
        return self.read(theta, self.written(theta, z), z)

    def written(self, theta: Tensor, z: Z) -> tuple[Tensor, ...]:
        """What the array holds over a trial, whatever is read in it.

        Returns:
            Tensors as theta, moved: the conductance now of each device in microsiemens, then the standard deviation of
            a read of each; last, where drift is compensated, the weights right after programming.
        """
        matrix, scale = self._scaled(theta)
        largest = scale.largest()
        targets = conductances(relative(matrix, scale), self.crossbar)
        sigmas = [programming_sigma(target, self.crossbar, self.time) for target in targets]
        own = self._coordinates_of(lambda c: c.kind in STATIC)

        def write(*parts: Tensor | None) -> tuple[Tensor, ...]:
            z_of = self._by_device(own, parts)
            cells = [
                self._cell(target, sigma, z_of[device])
                for device, target, sigma in zip(devices(self.crossbar), targets, sigmas, strict=True)
            ]
            found = [cell.now for cell in cells]
            found += [read_sigma(cell.now, cell.programmed, self.crossbar, self.time, largest) for cell in cells]
            found += [self._weights([cell.programmed for cell in cells], scale)] if self._compensated() else []
            shape = max((part.shape for part in found), key=len)  # that of one with the instance axis, if any has it
            return tuple(part.expand(shape).reshape(*shape[:-2], *self.shape) for part in found)

        return all_by_instance(write, theta, *(z.get(key) for key in own))

    def read(self, theta: Tensor, cells: tuple[Tensor, ...], z: Z) -> Tensor:
        """The weights that cells, which `written` gave for theta, have when they are read; z moves the reads alone."""
        scale, count = self._scaled(theta)[1], len(devices(self.crossbar))
        own = self._coordinates_of(lambda c: c.kind in TEMPORAL)

        def read(*parts: Tensor | None) -> Tensor:
            held = [self._matrix(part) for part in parts[: len(cells)] if part is not None]
            z_of = self._by_device(own, parts[len(cells) :])
            noisy = [
                self._read(now, sigma, z_of[device])
                for device, now, sigma in zip(
                    devices(self.crossbar), held[:count], held[count : 2 * count], strict=True
                )
            ]
            now = self._weights(noisy, scale)
            factor = compensation(held[-1], now, self.crossbar) if self._compensated() else None
            now = now if factor is None else now * factor
            return now.reshape(*now.shape[:-2], *self.shape)

        return by_instance(read, theta, *cells, *(z.get(key) for key in own))

    def faulty(self, theta: Tensor, z: Z) -> dict[str, Tensor]:
        """Which devices have a fault, [.., *shape] of bool by `device.fault`, for weights that are to be written."""
        matrix, scale = self._scaled(theta)
        targets = conductances(relative(matrix, scale), self.crossbar)
        found = {}
        for device, target in zip(devices(self.crossbar), targets, strict=True):
            own = {part: self._matrix(z[c.key]) for part, c in self._of(device).items() if c.key in z}
            if "fault" in own:
                chosen = own["fault"] if "cluster" not in own else clustered(own["fault"], own["cluster"])
                for fault, where in fault_masks(chosen, target, self.faults, self.crossbar).items():
                    found[f"{device}.{fault}"] = where.reshape(*where.shape[:-2], *self.shape)
        return found

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Each continuous coordinate of a device clipped to [-k, k]."""
        return clamped(self, z, k)

    def _coordinates_of(self, chosen: Callable[[Coordinate], bool]) -> dict[str, tuple[str, str]]:
        """Device and part of each chosen coordinate, by key."""
        names = devices(self.crossbar)
        return {c.key: (device, part) for device in names for part, c in self._of(device).items() if chosen(c)}

    def _by_device(
        self, own: Mapping[str, tuple[str, str]], values: Sequence[Tensor | None]
    ) -> dict[str, dict[str, Tensor]]:
        """Values of coordinates that are there, as matrices, by device and part."""
        found: dict[str, dict[str, Tensor]] = {device: {} for device in devices(self.crossbar)}
        for (device, part), value in zip(own.values(), values, strict=True):
            if value is not None:
                found[device][part] = self._matrix(value)
        return found

    def _of(self, device: str) -> dict[str, Coordinate]:
        """The coordinates of one device of every weight, by what they are for."""
        parts: dict[str, tuple[str, Kind]] = {}
        drift, noise = self.crossbar.drift, shares(self.crossbar, self.time)
        if spreads(self.crossbar):
            parts["programming"] = (device, "continuous")
        if any(rates(self.faults)):
            parts["fault"] = (f"{device}.fault", "fixed")
        if drift is not None and moves(self.crossbar, self.time):
            parts["drift"] = (f"{device}.drift", "continuous")
        if self.crossbar.read_noise is not None and self.crossbar.read_noise.model != "none":
            parts |= {"trial": (f"{device}.read", "temporal")} if noise.trial else {}
            parts |= {"slow": (f"{device}.slow", "slow")} if noise.slow else {}
        found = {
            part: Coordinate(self.name, component, "per_device", self.shape, kind, per_write=part == "programming")
            for part, (component, kind) in parts.items()
        }
        if self.faults.clustered and "fault" in parts:
            blocks = (*block_shape(self._size()), *(1,) * (len(self.shape) - 2))
            found["cluster"] = Coordinate(self.name, f"{device}.cluster", "per_block", blocks, "fixed")
        return found

    def _cell(self, target: Tensor, sigma: Tensor, z: Mapping[str, Tensor]) -> Cell:
        g = programmed(target, sigma, z.get("programming"), self.crossbar)
        selector = z.get("fault")
        if selector is not None:
            block = z.get("cluster")
            chosen = selector if block is None else clustered(selector, block)
            found = stuck(chosen, target, self.faults, self.crossbar)
            g, target = found.into(g.expand_as(chosen)), found.into(target.expand_as(chosen))
        return Cell(g, drifted(g, target, z.get("drift"), self.crossbar, self.time))

    def _scaled(self, theta: Tensor) -> tuple[Tensor, Scale]:
        """Weights as a matrix, and their scale."""
        matrix = theta.reshape(*theta.shape[: theta.ndim - len(self.shape)], *self._size())
        return matrix, scale_of(matrix, self.crossbar)

    def _weights(self, cells: Sequence[Tensor], scale: Scale) -> Tensor:
        return scale.low + scale.span * relative_weight([self._wired(g) for g in cells], self.crossbar)

    def _compensated(self) -> bool:
        return self.crossbar.compensation != "none" and moves(self.crossbar, self.time)

    def _wired(self, g: Tensor) -> Tensor:
        """What the array multiplies by, given the resistance of its wires; its rows are inputs."""
        drop = self.crossbar.ir_drop
        if drop is None or not drop.r_wire or not self.wired:
            return g
        return through_wires(g.clamp_min(0).mT, r_wire=drop.r_wire, tile=self.crossbar.tile).mT

    def _read(self, now: Tensor, sigma: Tensor, z: Mapping[str, Tensor]) -> Tensor:
        part = shares(self.crossbar, self.time)
        sizes = {"trial": part.trial**0.5, "slow": part.slow**0.5}
        drawn = [sizes[name] * value.to(now.dtype) for name, value in z.items()]
        noisy = now + sigma * sum(drawn[1:], drawn[0]) if drawn else now
        drift, noise = self.crossbar.drift, self.crossbar.read_noise
        if drift is not None and drift.clip is not None and (drawn or moves(self.crossbar, self.time)):
            return noisy.clamp(*drift.clip)
        # Constant noise is that of a weight: cut off at zero it would be smaller than the profile says, and one-sided.
        return at_least_zero(noisy) if drawn and noise is not None and noise.model != "constant" else noisy

    def _size(self) -> tuple[int, int]:
        """Columns and rows of the array, N and I."""
        return math.prod(self.shape[:1]), math.prod(self.shape[1:])

    def _matrix(self, value: Tensor) -> Tensor:
        """Coordinates of devices or blocks as a matrix [.., N, I]."""
        own = value.shape[value.ndim - len(self.shape) :]
        return value.reshape(*value.shape[: value.ndim - len(self.shape)], math.prod(own[:1]), math.prod(own[1:]))
