"""Fields over the die: linear functions of a few standard normal coordinates, one value a neuron.

    plane           z_1 x + z_2 y, x and y centred, with variance 1 on average over the neurons
    exponential     covariance exp(-d / L) between neurons at distance d
    rbf             covariance exp(-d^2 / (2 L^2))

x, y, d and L are fractions of the die's edge. A field is basis z: for the last two the basis is the Cholesky factor of
the covariance, so that its coordinates are sampled, attacked and projected like all others. Up to 2,000 neurons the
covariance is exact to 1e-8; of more, each takes the value at the middle of its cell of a 44 x 44 lattice. The variance
stays 1 there, and a covariance is wrong by at most sqrt(2) / (44 L) (rbf: 0.61 times that), as both ends move by half
a cell's diagonal at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from snnrobust.hardware.layout import Layout
    from snnrobust.hardware.schema.document import Spatial

MAX_PLACES = 2000
LATTICE = 44
_JITTER = 1e-8  # an rbf of long range has eigenvalues that rounding makes negative


def basis(layout: Layout, spatial: Spatial) -> Tensor:
    """The matrix [P, R] that makes a field over P neurons of R standard normal coordinates, float64."""
    if spatial.kernel == "plane" or spatial.correlation_length is None:
        return plane(layout.x, layout.y)
    return correlated(layout.x, layout.y, spatial.kernel, spatial.correlation_length)


def plane(x: Tensor, y: Tensor) -> Tensor:
    """Centred x and y [P, 2] with mean(x^2 + y^2) = 1; 0 where all neurons lie in one place."""
    places = torch.stack([x - x.mean(), y - y.mean()], 1)
    return places / (places**2).sum(1).mean().sqrt().clamp_min(1e-12)


def correlated(x: Tensor, y: Tensor, kernel: str, correlation_length: float) -> Tensor:
    """The factor [P, R] of the covariance of P neurons, R = P, or the occupied cells of the lattice."""
    if len(x) <= MAX_PLACES:
        return _factor(x, y, kernel, correlation_length)
    cell = (x * LATTICE).long() + LATTICE * (y * LATTICE).long()
    occupied, of_neuron = torch.unique(cell, return_inverse=True)
    middle_x, middle_y = (occupied % LATTICE + 0.5) / LATTICE, (occupied // LATTICE + 0.5) / LATTICE
    return _factor(middle_x.double(), middle_y.double(), kernel, correlation_length)[of_neuron]


def field(basis: Tensor, z: Tensor) -> Tensor:
    """basis z, [P] or [K, P] for coordinates [R] or [K, R], in the precision of z.

    One product a chip, in float64: a product of all would round differently for other numbers of chips.
    """
    matrix, chips = basis.to(z.device), z.double().reshape(-1, z.shape[-1])
    return torch.stack([matrix @ chip for chip in chips]).reshape(*z.shape[:-1], -1).to(z.dtype)


def _factor(x: Tensor, y: Tensor, kernel: str, correlation_length: float) -> Tensor:
    distance = torch.hypot(x[:, None] - x, y[:, None] - y) / correlation_length
    covariance = torch.exp(-distance if kernel == "exponential" else -(distance**2) / 2)
    covariance.diagonal().add_(_JITTER)
    factor = torch.linalg.cholesky(covariance)
    scaled: Tensor = factor / torch.linalg.vector_norm(factor, dim=1, keepdim=True)
    return scaled
