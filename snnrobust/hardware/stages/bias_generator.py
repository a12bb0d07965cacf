"""The bias generator: a coarse and fine converter that sets the currents which a core's parameters come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z, straight_through

INVERSE = ("tau_mem", "tau_syn", "tau_adapt", "refractory")
PROPORTIONAL = ("v_th", "bias", "adaptation")
FALL = 0.04


@dataclass(frozen=True)
class BiasGenerator:
    """I = F_m f / (2^fine_bits - 1) with full scales F_m = i_max / ratio^m, m < coarse, and f = 0 .. 2^fine_bits - 1.

    A non-monotonic one falls at the seven fine codes where the three upper bits change, by 4 % of the code before; the
    published table of a simulator has seven falls of 2-6 %, where they lie is an assumption.

    Attributes:
        coarse: Number of ranges.
        fine_bits: Word length within a range.
        ratio: Of neighbouring full scales.
        i_max: Largest full scale, A.
        nonmonotonic: Whether seven fine steps fall.
        i_reference: Current of a typical value, A: the median of a layer's parameter, or the largest of a core's
            weight currents.
    """

    coarse: int
    fine_bits: int
    ratio: float
    i_max: float
    nonmonotonic: bool
    i_reference: float

    @cached_property
    def currents(self) -> NDArray[np.float64]:
        """Every current that it can set, A, ascending; the first is 0."""
        scales = self.i_max / self.ratio ** np.arange(self.coarse)
        return np.unique(np.outer(scales, self._fine))

    @cached_property
    def _fine(self) -> NDArray[np.float64]:
        """What each fine code gives of its full scale."""
        top = 2**self.fine_bits - 1
        fine: NDArray[np.float64] = np.arange(top + 1) / top
        if self.nonmonotonic and self.fine_bits >= 3:
            falls = np.arange(1, 8) * 2 ** (self.fine_bits - 3)
            fine[falls] = (1 - FALL) * fine[falls - 1]
        return fine

    def nearest(self, current: NDArray[np.float64], *, zero: bool = True) -> NDArray[np.float64]:
        """The currents that it sets for those wanted, A; never 0 unless `zero` is allowed."""
        levels = self.currents if zero else self.currents[1:]
        found: NDArray[np.float64] = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, current)]
        return found

    def codes(self, current: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Coarse range m and fine code f of currents that it sets, A; of equal currents the widest range."""
        table = np.outer(self.i_max / self.ratio ** np.arange(self.coarse), self._fine).ravel()
        order = np.argsort(table, kind="stable")
        place = np.clip(np.searchsorted(table[order], current * (1 - 1e-12)), 0, len(table) - 1)
        coarse, fine = np.divmod(order[place], len(self._fine))
        return np.where(fine > 0, coarse, 0), fine

    def rounded(self, values: NDArray[np.float64], typical: float, *, inverse: bool = False) -> NDArray[np.float64]:
        """Values >= 0 that the nearest currents give, where `typical` is set by `i_reference`; 0 stays 0.

        Args:
            values: Proportional to a current, or, where `inverse`, to 1 over it.
            typical: The value that `i_reference` sets; where it is 0, nothing changes.
            inverse: See values.
        """
        if not typical > 0:
            return values
        ratio = np.where(values > 0, values, typical) / typical
        if inverse:
            made = self.i_reference / self.nearest(self.i_reference / ratio, zero=False)
        else:
            made = self.nearest(self.i_reference * ratio) / self.i_reference
        return np.where(values > 0, made * typical, values)


@dataclass(frozen=True)
class CoarseFine:
    """A parameter that a current of the bias generator sets, rounded in that current.

    tau and refractory times are C U_T / (kappa I), inverse to the current; the distance v_th - v_leak, the bias and the
    adaptation are proportional to it. The sign of a bias is kept: it has a generator of its own. The median over the
    layer's values other than 0 is set by `i_reference`. Neurons of a core share their biases on the chip; values that
    differ within a layer are each rounded. Straight-through in gradients.

    Attributes:
        generator: The chip's bias generator.
    """

    generator: BiasGenerator

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The value that the generator sets."""
        value = theta.detach()
        origin, distance, typical = self._distance(value, context)
        sizes, inverse = np.abs(distance), context.spec.role in INVERSE
        made = np.sign(distance) * self.generator.rounded(sizes, typical, inverse=inverse)
        return straight_through(theta, origin + torch.from_numpy(np.asarray(made)).to(value))

    def codes(self, theta: Tensor, context: Context) -> dict[str, Tensor]:
        """The range `coarse` and the code `fine` of each value, negative where it is, and its `current` in A."""
        stored = self.apply(theta, {}, context).detach()
        typical = self._distance(theta.detach(), context)[2]
        distance = self._distance(stored, context)[1]
        size = np.abs(distance)
        ratio = np.where(size > 0, size, typical or 1.0) / (typical or 1.0)
        current = self.generator.i_reference * (1 / ratio if context.spec.role in INVERSE else ratio)
        current = self.generator.nearest(np.where(size > 0, current, 0.0))
        coarse, fine = self.generator.codes(current)
        found = {"coarse": coarse, "fine": np.sign(distance).astype(np.int64) * fine}
        return {name: torch.from_numpy(np.asarray(code)).int() for name, code in found.items()} | {
            "current": torch.from_numpy(np.asarray(current)).to(theta)
        }

    @staticmethod
    def _distance(value: Tensor, context: Context) -> tuple[Tensor, NDArray[np.float64], float]:
        """What values count from, their distance from it, and the typical size of that."""
        origin = torch.zeros_like(value)
        if context.spec.role == "v_th" and "v_leak" in context.siblings:
            origin = origin + context.siblings["v_leak"].detach()
        distance = (value - origin).cpu().double().numpy()
        sizes = np.abs(distance)
        present = sizes[np.isfinite(sizes) & (sizes > 0)]
        return origin, distance, float(np.median(present)) if present.size else 0.0

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}
