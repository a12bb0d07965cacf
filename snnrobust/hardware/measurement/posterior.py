"""Coordinates of a chip given what was measured of it: an exact conditional Gaussian.

Let z ~ N(0, I) hold all coordinates and let m = H z + e, e ~ N(0, R), be M measured values, R diagonal. Then

    E[z | m] = H^T C^-1 m,    cov[z | m] = I - H^T C^-1 H,    C = H H^T + R

and, for a draw z and a draw e, z + H^T C^-1 (m - H z - e) has exactly that distribution (Matheron's rule; Journel and
Huijbregts, Mining Geostatistics, 1978). So the draw of chip n stays the draw of chip n: what was not measured keeps its
coordinates, but for what is shared.

H = [A B] has dense columns A for the coordinates that many devices share (die, core, plane) and sparse ones B for the
devices' own. D = B B^T + R is diagonal or nearly so, and C^-1 follows from the small matrix I + A^T D^-1 A (Woodbury).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu

Floats = NDArray[np.float64]
_EXACT = 1e-10
"""Variance of a measurement without noise, so that two of one value do not contradict each other."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What measurements say of coordinates.

    Attributes:
        shared: A, a block of columns for each shared coordinate, [M, size].
        own: B, likewise, sparse.
        measured: m, [M].
        variance: Diagonal of R, [M].
    """

    shared: Mapping[str, Floats]
    own: Mapping[str, csc_matrix]
    measured: Floats
    variance: Floats

    @property
    def noise_std(self) -> Floats:
        """Standard deviation of e, [M]."""
        deviation: Floats = np.sqrt(self.variance.clip(_EXACT))
        return deviation

    def mean(self) -> dict[str, Floats]:
        """E[z | m] by coordinate, flat."""
        return self._back(self._solve(self.measured))

    def covariance(self, key: str) -> Floats:
        """cov[z | m] of one coordinate, [size, size]."""
        block = self.shared[key] if key in self.shared else self.own[key].toarray()
        result: Floats = np.eye(block.shape[1]) - block.T @ self._solve(block)
        return result

    def condition(self, z: Mapping[str, Floats], noise: Floats) -> dict[str, Floats]:
        """A draw given the measurements, from a draw without them.

        Args:
            z: Flat coordinates by key; those of `shared` and `own` are read.
            noise: M standard normals.

        Returns:
            The new coordinates of `shared` and `own`.
        """
        seen = self.noise_std * noise
        for key, block in self._blocks.items():
            seen = seen + block @ z[key]
        return {key: z[key] + move for key, move in self._back(self._solve(self.measured - seen)).items()}

    def _back(self, weights: Floats) -> dict[str, Floats]:
        return {key: block.T @ weights for key, block in self._blocks.items()}

    def _solve(self, right: Floats) -> Floats:
        """C^-1 of vectors [M] or [M, R]."""
        solve_own, across, small = self._factors
        first: Floats = solve_own.solve(right)
        result: Floats = first - across @ cho_solve(small, self._columns.T @ first)
        return result

    @property
    def _blocks(self) -> dict[str, Any]:
        return {**self.shared, **self.own}

    @cached_property
    def _columns(self) -> Floats:
        return np.concatenate([np.zeros((len(self.measured), 0)), *self.shared.values()], axis=1)

    @cached_property
    def _factors(self) -> tuple[Any, Floats, Any]:
        """Factors of D, D^-1 A, and factors of I + A^T D^-1 A."""
        own: Any = diags(self.noise_std**2).tocsc()
        for block in self.own.values():
            own = own + block @ block.T
        solve_own = splu(csc_matrix(own))
        across = solve_own.solve(self._columns)
        return solve_own, across, cho_factor(np.eye(across.shape[-1]) + self._columns.T @ across)
