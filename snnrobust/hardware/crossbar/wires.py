"""Crossbars whose wires have a resistance: exact for linear cells, and a polynomial for long bit lines.

    V_0 --r_word-- o --r_word-- o ...        word line (row) i: M of them, driven at the left by V_i
                   |g_00        |g_01        cell between word line i and bit line j
    V_1 --r_word-- o --r_word-- o ...
                   |            |
                 r_bit        r_bit          bit line (column) j: N of them, grounded at the bottom
                   |            |
                  I_0          I_1

Each cell adds one piece of word line, r_word, on the side of the source and one piece of bit line, r_bit, on the side
of the ground, as in Joksas & Mehonic, SoftwareX 12:100617, 2020, DOI 10.1016/j.softx.2020.100617. A cell of no
conductance is an open circuit. Conductances are in microsiemens, resistances in ohm, voltages in V, currents in
microampere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.snn.reads import lost_on_bit_line

Floats = NDArray[np.float64]

SIEMENS = 1e-6  # one microsiemens

# Elements that a step of the ladder works on at once: small arrays share its calls, large ones stay in the cache.
_BLOCK = 1 << 18


def effective_conductances(g: Floats, *, r_word: float, r_bit: float, tile: tuple[int, int] | None = None) -> Floats:
    """What a crossbar with resistive wires multiplies by: output currents are I = V G_eff, exactly.

    G_eff = g without resistance. With it, a row of G_eff sums to no more than that of g and so does a column, but a
    single entry may exceed that of g: a path through three other cells leads current to a bit line, too.

    The bit lines are a ladder. Seen from below, the word lines 0 .. i are N current sources J (a column an input)
    with an admittance Y between them; word line i adds its own, and a piece of bit line follows in series:

        row = (1 + r_word diag(g_i) S)^-1 diag(g_i),  S_jk = 1 + min(j, k)
        Y <- Y + row,  J <- [J, row 1];    Y <- (1 + r_bit Y)^-1 Y,  J <- (1 + r_bit Y)^-1 J

    and J at the ground is G_eff^T. A network read from its outputs has the same G_eff, so that the shorter of the
    two kinds of line carries the matrices: some 6 min(M, N)^3 max(M, N) operations, on one core 0.14 s for 128 x 128,
    1.5 s for 256 x 256 and 25 s for 512 x 512. A sparse factorisation (`solve`) with as many solutions takes 0.4, 4.2
    and 53 s.

    Args:
        g: Conductances [..., M, N] in microsiemens, at least 0; leading axes are other arrays.
        r_word: Resistance of word line a cell, ohm.
        r_bit: Resistance of bit line a cell, ohm.
        tile: Rows and columns of one array; a larger matrix is cut into tiles, each with wires of its own. None is
            one array.

    Returns:
        G_eff [..., M, N], microsiemens.

    Raises:
        ConfigError: If a conductance or a resistance is negative or not finite, or a tile has no cells.
        ShapeError: If g has fewer than two axes.
    """
    g = _checked(g, r_word, r_bit)
    if tile is not None and min(tile) < 1:
        raise ConfigError(f"tile: {tile} must have at least one row and one column")
    rows, columns = tile or g.shape[-2:]
    effective = np.empty_like(g)
    for i in range(0, g.shape[-2], rows):
        for j in range(0, g.shape[-1], columns):
            part = np.s_[..., i : i + rows, j : j + columns]
            effective[part] = _of_one_array(g[part], r_word, r_bit)
    return effective


def through_wires(g: Tensor, *, r_wire: float, tile: tuple[int, int] | None = None) -> Tensor:
    """Effective conductances as a tensor, with the derivative of a wire of no resistance.

    Args:
        g: Conductances [..., rows, columns] = [..., inputs, outputs], microsiemens.
        r_wire: Resistance of a word line and of a bit line a cell, ohm.
        tile: Rows and columns of one array; None is one array.

    Returns:
        Of the shape, type and device given, computed in float64: g + (G_eff - g).detach().
    """
    exact = g.detach().to("cpu", torch.float64).numpy()
    effective = torch.from_numpy(effective_conductances(exact, r_word=r_wire, r_bit=r_wire, tile=tile)).to(g)
    return effective + (g - g.detach())  # a zero, so that the value is the effective one to the bit


def _of_one_array(g: Floats, r_word: float, r_bit: float) -> Floats:
    """effective_conductances of arrays that are not cut."""
    rows, columns = g.shape[-2:]
    if columns > rows:
        return _read_backwards(_of_one_array(_read_backwards(g), r_bit, r_word))
    arrays = g.reshape(-1, rows, columns) * SIEMENS
    effective = np.empty_like(arrays)
    count = max(1, _BLOCK // (columns * (rows + columns)))
    for first in range(0, len(arrays), count):
        block = np.s_[first : first + count]
        effective[block] = _ladder(arrays[block], r_word, r_bit)
    return (effective / SIEMENS).reshape(g.shape)


def _read_backwards(g: Floats) -> Floats:
    """The same cells where bit lines are driven and word lines grounded: rows and columns exchanged and reversed."""
    return np.swapaxes(g, -1, -2)[..., ::-1, ::-1]


def _ladder(g: Floats, r_word: float, r_bit: float) -> Floats:
    """G_eff of arrays g [K, M, N] in siemens."""
    count, rows, columns = g.shape
    pieces = np.arange(1.0, columns + 1)
    shared = np.minimum.outer(pieces, pieces)  # pieces of word line that the paths from the source to j and k share
    identity = np.eye(columns)
    admittance: NDArray[np.floating] = np.zeros((count, columns, columns))
    currents = np.empty((count, columns, rows))
    for i in range(rows):
        cells = g[:, i, :, None]
        row = np.linalg.solve(identity + r_word * cells * shared, cells * identity)
        admittance = admittance + row
        currents[..., i] = row.sum(-1)
        above = np.concatenate((admittance, currents[..., : i + 1]), -1)
        seen = np.linalg.solve(identity + r_bit * admittance, above)
        admittance, currents[..., : i + 1] = seen[..., :columns], seen[..., columns:]
    return np.swapaxes(currents, -1, -2)


@dataclass(frozen=True)
class OperatingPoint:
    """Voltages and currents of a crossbar; leading axes are those of the applied voltages.

    Attributes:
        word: Voltage of each node of a word line [..., M, N], V.
        bit: Voltage of each node of a bit line [..., M, N], V.
        device: Current through each cell [..., M, N], microampere.
        output: Current out of each bit line [..., N], microampere.
    """

    word: Floats
    bit: Floats
    device: Floats
    output: Floats


def solve(v: Floats, g: Floats, *, r_word: float, r_bit: float) -> OperatingPoint:
    """The operating point of one crossbar of linear cells, by one sparse factorisation.

    The unknowns are the voltage lost on the word lines and that gained on the bit lines, which vanish with the
    resistance (`drop_matrix`).

    Args:
        v: Voltages at the word lines [..., M], V.
        g: Conductances [M, N], microsiemens.
        r_word: Resistance of word line a cell, ohm.
        r_bit: Resistance of bit line a cell, ohm.

    Raises:
        ConfigError: If a conductance or a resistance is negative or not finite.
        ShapeError: If the shapes do not fit.
    """
    g = _checked(g, r_word, r_bit)
    v = np.asarray(v, dtype=np.float64)
    if g.ndim != 2 or v.shape[-1:] != g.shape[:1]:
        raise ShapeError(f"v: shape {list(v.shape)} must end with the rows of g, which is [M, N], not {list(g.shape)}")
    applied = v.reshape(-1, len(g))[..., None]
    currents = (applied * (g * SIEMENS)).reshape(len(applied), -1)
    both = np.concatenate((r_word * currents, r_bit * currents), -1)
    lost, gained = np.split(factorised(g, r_word, r_bit).solve(both.T).T, 2, axis=-1)
    shape = (*v.shape[:-1], *g.shape)
    return operating_point(v, g, lost.reshape(shape), gained.reshape(shape))


def operating_point(v: Floats, g: Floats, lost: Floats, gained: Floats) -> OperatingPoint:
    """Voltages and currents of cells g [M, N] at drops `lost` and `gained` [..., M, N] of voltages v [..., M]."""
    device = g * (v[..., None] - lost - gained)
    return OperatingPoint(v[..., None] - lost, gained, device, device.sum(-2))


def factorised(g: Floats, r_word: float, r_bit: float) -> sparse.linalg.SuperLU:
    """LU factors of `drop_matrix`; its diagonal dominates, so that no pivoting is needed."""
    return splu(
        drop_matrix(g, r_word, r_bit).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )


def drop_matrix(g: Floats, r_word: float, r_bit: float) -> sparse.csr_array:
    """Kirchhoff's current law times the resistance, for drops e of the word lines and d of the bit lines.

        T_word e + r_word g (e + d) = r_word g V,    T_bit d + r_bit g (e + d) = r_bit g V

    T is tridiagonal (-1, 2, -1), with a 1 at a line's open end. The system stays regular at resistance 0.

    Args:
        g: Conductances [M, N], microsiemens.
        r_word: Resistance of word line a cell, ohm.
        r_bit: Resistance of bit line a cell, ohm.

    Returns:
        The matrix [2 M N, 2 M N] for (e, d), rows of the array one after the other.
    """
    rows, columns = g.shape
    wires = sparse.block_diag(
        (
            sparse.kron(sparse.eye_array(rows), _line(columns, open_end=columns - 1)),
            sparse.kron(_line(rows, open_end=0), sparse.eye_array(columns)),
        )
    )
    cells = sparse.diags_array(g.ravel() * SIEMENS)
    return sparse.csr_array(wires + sparse.kron(np.array([[r_word, r_word], [r_bit, r_bit]]), cells))


def _line(length: int, *, open_end: int) -> sparse.dia_array:
    diagonal = np.full(length, 2.0)
    diagonal[open_end] = 1.0
    return sparse.diags_array((np.full(length - 1, -1.0), diagonal, np.full(length - 1, -1.0)), offsets=(-1, 0, 1))


def _checked(g: Floats, r_word: float, r_bit: float) -> Floats:
    for name, value in (("r_word", r_word), ("r_bit", r_bit)):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}: {value} must be a resistance in ohm, finite and at least 0")
    g = np.asarray(g, dtype=np.float64)
    if g.ndim < 2:
        raise ShapeError(f"g: shape {list(g.shape)} must end with rows and columns [M, N]")
    bad = ~((g >= 0) & (g < math.inf))
    if bad.any():
        raise ConfigError(f"g: {g[bad][0]} must be a conductance in microsiemens, finite and at least 0")
    return g


def polynomial_drop(w: Tensor, x: Tensor, *, r_wire: float, g_max: float, strength: float = 1.0) -> Tensor:
    """What a long bit line loses of the outputs w x, as a polynomial of its current: aihwkit's `ir_drop`.

    `lost_on_bit_line` with a = n r_wire g_max sum_i |w_oi| |x_i|. Input 0 loses nothing: it is the cell at the
    converter, whereas input n - 1 is the far one; this is row n - 1 - i of `effective_conductances`. Word lines have no
    resistance here. The drop is that of one tile; outputs of several tiles add up. In aihwkit 1/(r_wire g_max) is
    `ir_drop_g_ratio` and strength `ir_drop`.

    Args:
        w: Weights of a tile [..., outputs, n] as fractions of the weight that g_max stands for.
        x: Inputs [..., n] or, for weights with leading axes, [..., B, n], as fractions of the largest input
            (`torch.matmul` of x and w^T).
        r_wire: Resistance of bit line a cell, ohm.
        g_max: Largest conductance, microsiemens.
        strength: Factor on the drop.

    Returns:
        What is to be subtracted from w x [..., outputs], in its units.

    Raises:
        ConfigError: If r_wire or g_max is negative or not finite.
        ShapeError: If w and x do not have the same number of inputs.
    """
    for name, value in (("r_wire", r_wire), ("g_max", g_max)):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}: {value} must be finite and at least 0")
    if w.ndim < 2 or x.shape[-1:] != w.shape[-1:]:
        raise ShapeError(f"x: shape {list(x.shape)} must end with the inputs of w, which has {list(w.shape)}")
    return strength * lost_on_bit_line(x, w, r_wire * g_max * SIEMENS)
