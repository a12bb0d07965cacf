"""Weights made of a core's base currents: every synapse switches on any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z
from snnrobust.hardware.stages.bias_generator import BiasGenerator
from snnrobust.hardware.stages.cores import Array, best_of, layer_rows, of_cores, parts, stored_by_core, unexplained


@dataclass(frozen=True)
class SubsetSum:
    """w' = sign(w) sum_j m_j b_j with a mask m in {0, 1}^bits of the synapse and base currents b >= 0 of the core.

    The base currents minimise the squared error over all weights of the core: from several starts, every weight takes
    its nearest level and b is then the non-negative least-squares fit to these masks, until the error stays. The first
    start is binary weighted, so that the error is never above that of 2^bits uniform levels with the same range. The
    sign is the synapse's type. Currents are constant in gradients, the rounding is straight-through.

    DYNAP-SE2: Richter et al. 2024 (doi:10.1088/2634-4386/ad1cd7), 4 base currents, 16 levels.

    Attributes:
        bits: Base currents of a core.
        cores: Neurons of the layer on each core in turn; None for all on one.
        generator: What makes the base currents, where these are not arbitrary.
    """

    bits: int
    cores: tuple[int, ...] | None = None
    generator: BiasGenerator | None = None

    def coordinates(self) -> tuple[Coordinate, ...]:
        """None: quantisation is deterministic."""
        return ()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The stored value."""
        return stored_by_core(theta, context, self.cores, self.stored)

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Nothing to project."""
        return {}

    def stored(self, weights: Array) -> Array:
        """Stored weights of one core."""
        base = self.currents(weights)
        values: Array = np.sign(weights) * (_masks(self.bits) @ base)[_nearest_mask(weights, base)]
        return values

    def codes(self, theta: Tensor, context: Context) -> dict[str, Tensor]:
        """The mask of each synapse as a number `code`, bit j for current j, negative for an inhibitory one.

        And the `currents` [N, bits] of each neuron's core.
        """
        whole = layer_rows(theta, context)
        bases = [self.currents(whole[part]) for part in parts(len(whole), self.cores)]
        sizes = [len(whole[part]) for part in parts(len(whole), self.cores)]

        def code(weights: Array) -> Array:
            signed: Array = np.sign(weights) * _nearest_mask(weights, self.currents(weights))
            return signed

        currents = np.repeat(np.stack(bases), sizes, axis=0)
        return {
            "code": of_cores(theta, context, self.cores, code).int(),
            "currents": torch.from_numpy(currents).to(theta),
        }

    def currents(self, weights: Array) -> Array:
        """Base currents [bits] of one core's weights."""
        sizes = np.sort(np.abs(weights[weights != 0]))  # a weight of zero is no synapse
        if not sizes.size:
            return np.zeros(self.bits)
        sums = np.append(0.0, np.cumsum(sizes))
        energy = float(sizes @ sizes)
        masks = _masks(self.bits)

        def improve(base: Array) -> tuple[Array, float]:
            levels = masks @ base
            order = np.argsort(levels, kind="stable")
            middles = (levels[order][1:] + levels[order][:-1]) / 2
            ends = np.concatenate([[0], np.searchsorted(sizes, middles), [sizes.size]])
            count, total = np.empty(len(levels)), np.empty(len(levels))
            count[order], total[order] = np.diff(ends), np.diff(sums[ends])
            error = energy - float(levels @ (2 * total - count * levels))
            used = count > 0
            root = np.sqrt(count[used])
            fitted: Array = nnls(root[:, None] * masks[used], total[used] / root)[0]
            return fitted, max(error, 0.0)

        base = best_of(self._starts(sizes), improve, most=50)
        return base if self.generator is None else self.generator.rounded(base, float(base.max()))

    def _starts(self, sizes: Array) -> Iterator[Array]:
        """Powers of a ratio that add up to a top, the binary one first; and sizes that smaller ones do not make."""
        for quantile in (1.0, 0.98, 0.9):
            for ratio in (2.0, 1.0, 1.5, 3.0):
                powers = ratio ** np.arange(self.bits)
                yield powers / powers.sum() * np.quantile(sizes, quantile)
        yield unexplained(sizes, self.bits, lambda found: _masks(len(found)) @ found)


def _nearest_mask(weights: Array, base: Array) -> NDArray[np.intp]:
    """The subset of base currents whose sum is nearest to each |weight|, as a number; of equal sums any."""
    levels = _masks(len(base)) @ base
    order = np.argsort(levels, kind="stable")
    found: NDArray[np.intp] = order[np.searchsorted((levels[order][1:] + levels[order][:-1]) / 2, np.abs(weights))]
    return found


def _masks(bits: int) -> Array:
    """All subsets of so many currents, [2^bits, bits] of 0 and 1."""
    return (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(np.float64)
