"""Resistive wires against published cases, closed forms, Kirchhoff's laws and badcrossbar; the polynomial by loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware.crossbar.wires import (
    effective_conductances,
    polynomial_drop,
    solve,
    through_wires,
)
from snnrobust.snn.reads import drop_factor

# The README of badcrossbar: volts [sets, word lines], ohm.
VOLTAGES = np.array([[1.5, 4.1, 2.6, 2.1], [2.3, 4.5, 1.1, 0.8], [1.7, 4.0, 3.3, 1.1]]).T
RESISTANCES = np.array([[345, 903, 755, 257, 646], [652, 401, 508, 166, 454], [442, 874, 190, 244, 635]])
G = 1e6 / RESISTANCES

sizes = st.integers(1, 7)
ohms = st.one_of(st.just(0.0), st.floats(1e-3, 1e4))


@st.composite
def crossbars(draw):
    """Conductances of 0 and of 1 to 100 uS, the resistances of both wires."""
    rows, columns = draw(sizes), draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    g = rng.uniform(1, 100, (rows, columns)) * (rng.random((rows, columns)) > draw(st.sampled_from([0.0, 0.3, 0.9])))
    return g, draw(ohms), draw(ohms)


def effective(g, r_word, r_bit):
    return effective_conductances(np.asarray(g, dtype=float), r_word=r_word, r_bit=r_bit)


def by_solving(g, r_word, r_bit):
    """G_eff from the sparse nodal system: one volt at each word line in turn."""
    return solve(np.eye(len(g)), g, r_word=r_word, r_bit=r_bit).output


def test_the_published_example():
    point = solve(VOLTAGES, G, r_word=0.5, r_bit=0.5)
    assert point.device[2, 0, 3] * 1e-6 == pytest.approx(0.009856197822795886, rel=1e-13)
    milliampere = [11.58503, 9.19064, 15.11568, 25.83321, 9.81179]
    assert point.output[0] * 1e-3 == pytest.approx(milliampere, abs=5e-6)
    assert VOLTAGES[0] @ effective(G, 0.5, 0.5) * 1e-3 == pytest.approx(milliampere, abs=5e-6)
    assert VOLTAGES[0] @ G * 1e-3 == pytest.approx([11.72159, 9.34187, 15.46168, 26.65921, 10.06523], abs=5e-6)


@pytest.mark.parametrize(
    ("ohm", "microampere"),
    [(0, [22.5, 12.0]), (1, [22.492078, 11.996531]), (10, [22.421027, 11.965410]), (100, [21.734334, 11.663636])],
)
def test_two_by_two(ohm, microampere):
    g = 1e6 / np.array([[10e3, 20e3], [40e3, 50e3]])
    v = np.array([0.2, 0.1])
    assert v @ effective(g, ohm, ohm) == pytest.approx(microampere, abs=5e-7)
    assert solve(v, g, r_word=ohm, r_bit=ohm).output == pytest.approx(microampere, abs=5e-7)


@given(resistance=st.floats(100, 1e7), r_word=ohms, r_bit=ohms, v=st.floats(-5, 5))
def test_one_cell_is_three_resistors_in_series(resistance, r_word, r_bit, v):
    g = np.array([[1e6 / resistance]])
    current = v / (resistance + r_word + r_bit) * 1e6
    assert v * effective(g, r_word, r_bit)[0, 0] == pytest.approx(current, rel=1e-12)
    assert solve(np.array([v]), g, r_word=r_word, r_bit=r_bit).output[0] == pytest.approx(current, rel=1e-10)


@pytest.mark.parametrize(("g", "ohm", "cells"), [(20.0, 50.0, 9), (100.0, 1.0, 64), (3.0, 2.0, 1)])
def test_a_uniform_line_is_a_hyperbolic_cosine(g, ohm, cells):
    """(2 + r g) v_j = v_(j-1) + v_(j+1) has v_j = cosh(k (n - j - 1/2)) / cosh(k (n + 1/2)), 2 cosh k = 2 + r g."""
    k = math.acosh(1 + ohm * g * 1e-6 / 2)
    word = np.cosh(k * (cells - np.arange(cells) - 0.5)) / math.cosh(k * (cells + 0.5))
    assert effective(np.full((1, cells), g), ohm, 0.0)[0] == pytest.approx(g * word, rel=1e-12)
    assert effective(np.full((cells, 1), g), 0.0, ohm)[::-1, 0] == pytest.approx(g * word, rel=1e-12)  # from the ground


@settings(deadline=None)
@given(crossbars())
def test_the_ladder_is_the_nodal_system(crossbar):
    expected = by_solving(*crossbar)
    assert np.allclose(effective(*crossbar), expected, rtol=1e-11, atol=1e-12 * crossbar[0].max())


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_larger_arrays(shape):
    g = np.random.default_rng(1).uniform(0, 100, shape)
    assert np.allclose(effective(g, 2.0, 1.0), by_solving(g, 2.0, 1.0), rtol=1e-11)


@settings(deadline=None)
@given(crossbar=crossbars(), seed=st.integers(0, 2**31))
def test_kirchhoff_at_every_node(crossbar, seed):
    g, r_word, r_bit = crossbar
    v = np.random.default_rng(seed).uniform(-1, 1, len(g))
    point = solve(v, g, r_word=r_word, r_bit=r_bit)
    assert np.allclose(point.device, g * (point.word - point.bit), rtol=1e-12, atol=1e-13 * max(g.max(), 1))
    # The voltage over a piece of wire is r times the current of all cells behind it.
    along_word = -np.diff(np.column_stack((v, point.word)))
    behind = np.cumsum(point.device[:, ::-1], 1)[:, ::-1]
    assert np.allclose(along_word, r_word * behind * 1e-6, rtol=1e-9, atol=1e-14)
    along_bit = -np.diff(np.vstack((point.bit, np.zeros(g.shape[1]))), axis=0)
    assert np.allclose(along_bit, r_bit * np.cumsum(point.device, 0) * 1e-6, rtol=1e-9, atol=1e-14)
    assert np.allclose(point.output, point.device.sum(0), rtol=1e-14, atol=0)
    assert np.allclose(point.output, v @ effective(*crossbar), rtol=1e-11, atol=1e-11 * g.max())


@settings(deadline=None)
@given(crossbars())
def test_wires_only_cost_current(crossbar):
    """Totals of a row (one input) and of a column (all inputs alike) stay at or below ideal; no current turns round."""
    g = crossbar[0]
    lossy = effective(*crossbar)
    slack = 1e-12 * g.max()
    assert (lossy >= -slack).all()
    assert (lossy.sum(1) <= g.sum(1) * (1 + 1e-12) + slack).all()
    assert (lossy.sum(0) <= g.sum(0) * (1 + 1e-12) + slack).all()


@settings(deadline=None)
@given(crossbar=crossbars(), factor=st.floats(1, 10))
def test_more_resistance_never_gives_more_total_current(crossbar, factor):
    """Rayleigh: the array between one source for all inputs and the ground is a network of resistors."""
    g, r_word, r_bit = crossbar
    before = effective(g, r_word, r_bit).sum()
    for r in ((factor * r_word, r_bit), (r_word, factor * r_bit)):
        assert effective(g, *r).sum() <= before * (1 + 1e-12)


def test_a_sneak_path_reaches_where_there_is_no_cell():
    """Cell (0, 0) is missing: its current goes through (0, 1), up bit line 1, back over word line 1 to bit line 0.

    Nodal equations by hand where the other cells and all pieces of wire have 1 ohm; u are word line nodes, d bit line
    nodes, and one volt is applied to word line 0.
    """
    one = 1e6
    # fmt: off
    matrix = np.array([
        # u00 u01 u10 u11 d00 d01 d10 d11
        [2, -1, 0, 0, 0, 0, 0, 0],      # u00: source and u01; no cell
        [-1, 2, 0, 0, 0, -1, 0, 0],     # u01: u00 and its cell
        [0, 0, 3, -1, 0, 0, -1, 0],     # u10: source, u11, cell
        [0, 0, -1, 2, 0, 0, 0, -1],     # u11: u10, cell
        [0, 0, 0, 0, 1, 0, -1, 0],      # d00: d10 only
        [0, -1, 0, 0, 0, 2, 0, -1],     # d01: cell, d11
        [0, 0, -1, 0, -1, 0, 3, 0],     # d10: cell, d00, ground
        [0, 0, 0, -1, 0, -1, 0, 3],     # d11: cell, d01, ground
    ], dtype=float)
    # fmt: on
    voltages = np.linalg.solve(matrix, [1, 0, 0, 0, 0, 0, 0, 0])
    found = effective(np.array([[0, one], [one, one]]), 1.0, 1.0)
    assert found[0] == pytest.approx(one * voltages[[6, 7]], rel=1e-12)
    assert found[0, 0] > 0.001 * one


@settings(deadline=None)
@given(crossbars())
def test_reciprocity(crossbar):
    """Driving the bit lines and reading the word lines multiplies by the transposed matrix."""
    g, r_word, r_bit = crossbar
    reversed_roles = by_solving(np.ascontiguousarray(g.T[::-1, ::-1]), r_bit, r_word)
    assert np.allclose(by_solving(*crossbar), reversed_roles.T[::-1, ::-1], rtol=1e-9, atol=1e-12 * g.max())


@settings(deadline=None)
@given(crossbar=crossbars(), scale=st.floats(1e-3, 1e3))
def test_only_the_product_of_conductance_and_resistance_counts(crossbar, scale):
    g, r_word, r_bit = crossbar
    scaled = effective(scale * g, r_word / scale, r_bit / scale)
    assert np.allclose(scaled, scale * effective(*crossbar), rtol=1e-11, atol=1e-12 * scale * g.max())


@given(crossbars())
def test_no_resistance_is_the_ideal_crossbar(crossbar):
    g = crossbar[0]
    assert np.allclose(effective(g, 0.0, 0.0), g, rtol=4e-16, atol=0)
    assert np.allclose(by_solving(g, 0.0, 0.0), g, rtol=4e-16, atol=0)
    nearly = effective(g, 1e-12, 1e-12)
    assert np.allclose(nearly, g, rtol=1e-12, atol=1e-12 * g.max())


@given(crossbars())
def test_one_ideal_kind_of_wire_makes_the_lines_of_the_other_independent(crossbar):
    g, r_word, r_bit = crossbar
    for i, row in enumerate(effective(g, r_word, 0.0)):
        assert np.allclose(row, effective(g[i : i + 1], r_word, 0.0)[0], rtol=1e-11)
    for j, column in enumerate(effective(g, 0.0, r_bit).T):
        assert np.allclose(column, effective(g[:, j : j + 1], 0.0, r_bit)[:, 0], rtol=1e-11)


def test_an_array_of_open_cells():
    assert not effective(np.zeros((3, 2)), 1.0, 1.0).any()
    assert not solve(np.ones(3), np.zeros((3, 2)), r_word=1.0, r_bit=1.0).output.any()


def test_leading_axes_are_other_arrays():
    g = np.random.default_rng(0).uniform(0, 50, (3, 500, 4, 6))
    together = effective(g, 20.0, 30.0)
    assert together.shape == g.shape
    for k, n in ((0, 0), (1, 250), (2, 499)):
        assert np.array_equal(together[k, n], effective(g[k, n], 20.0, 30.0))


def test_tiles_have_wires_of_their_own():
    g = np.random.default_rng(0).uniform(0, 50, (2, 7, 5))
    tiled = effective_conductances(g, r_word=20.0, r_bit=30.0, tile=(4, 2))
    for rows in (slice(0, 4), slice(4, 7)):
        for columns in (slice(0, 2), slice(2, 4), slice(4, 5)):
            assert np.array_equal(tiled[:, rows, columns], effective(g[:, rows, columns], 20.0, 30.0))
    assert np.array_equal(effective_conductances(g, r_word=2.0, r_bit=3.0, tile=(7, 9)), effective(g, 2.0, 3.0))
    assert (tiled.sum((1, 2)) > effective(g, 20.0, 30.0).sum((1, 2))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pair_of_arrays(dtype):
    generator = torch.Generator().manual_seed(0)
    plus, minus = (50 * torch.rand(2, 6, 4, generator=generator, dtype=dtype) for _ in range(2))
    plus.requires_grad_()
    found = [through_wires(g, r_wire=25.0, tile=(3, 4)) for g in (plus, minus)]
    for given_, got in zip((plus, minus), found, strict=True):
        array = given_.detach().double().numpy()
        exact = effective_conductances(array, r_word=25.0, r_bit=25.0, tile=(3, 4))
        assert torch.equal(got.detach(), torch.from_numpy(exact).to(dtype))
        assert (got < given_).all()
    (gradient,) = torch.autograd.grad((found[0] * 3).sum(), plus)
    assert torch.equal(gradient, torch.full_like(plus, 3))
    assert not found[1].requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r_word": -1.0}, r"r_word: -1.0 must be a resistance"),
        ({"r_bit": math.inf}, r"r_bit: inf must be a resistance"),
        ({"r_bit": math.nan}, r"r_bit: nan must be a resistance"),
        ({"g": np.array([[1.0, -2.0]])}, r"g: -2.0 must be a conductance"),
        ({"g": np.array([[1.0, math.nan]])}, r"g: nan must be a conductance"),
        ({"tile": (0, 4)}, r"tile: \(0, 4\)"),
    ],
)
def test_impossible_arguments(change, message):
    arguments = {"g": np.ones((1, 2)), "r_word": 1.0, "r_bit": 1.0} | change
    with pytest.raises(ConfigError, match=message):
        effective_conductances(arguments.pop("g"), **arguments)


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"g: shape \[3\]"):
        effective(np.ones(3), 1.0, 1.0)
    with pytest.raises(ShapeError, match=r"v: shape \[2\] must end with the rows of g"):
        solve(np.ones(2), np.ones((3, 2)), r_word=1.0, r_bit=1.0)
    with pytest.raises(ShapeError, match=r"x: shape \[2\] must end with the inputs of w"):
        polynomial_drop(torch.ones(2, 3), torch.ones(2), r_wire=1.0, g_max=1.0)
    with pytest.raises(ConfigError, match=r"g_max: -1.0"):
        polynomial_drop(torch.ones(2, 3), torch.ones(3), r_wire=1.0, g_max=-1.0)


@settings(deadline=None, max_examples=30)
@given(crossbar=crossbars(), seed=st.integers(0, 2**31))
def test_badcrossbar(crossbar, seed):
    badcrossbar = pytest.importorskip("badcrossbar")
    g, r_word, r_bit = crossbar
    v = np.random.default_rng(seed).uniform(-1, 1, (len(g), 2))
    resistances = np.divide(1e6, g, out=np.full_like(g, math.inf), where=g > 0)
    theirs = badcrossbar.compute(
        v, resistances, r_i_word_line=max(r_word, 1e-3), r_i_bit_line=max(r_bit, 1e-3), verbose=0
    )
    ours = solve(v.T, g, r_word=max(r_word, 1e-3), r_bit=max(r_bit, 1e-3))
    scale = g.max()
    assert np.allclose(theirs.currents.output * 1e6, ours.output, rtol=1e-9, atol=1e-9 * scale)
    assert np.allclose(theirs.currents.device.transpose(2, 0, 1) * 1e6, ours.device, rtol=1e-9, atol=1e-9 * scale)
    assert np.allclose(theirs.voltages.word_line.transpose(2, 0, 1), ours.word, rtol=1e-9, atol=1e-9)
    assert np.allclose(theirs.voltages.bit_line.transpose(2, 0, 1), ours.bit, rtol=1e-9, atol=1e-9)


def test_drop_factor():
    assert drop_factor(torch.tensor([1.0, 0.1, 0.0], dtype=torch.float64)).tolist() == pytest.approx([0.35, 0.04805, 0])


def test_relative_current_of_the_polynomial():
    """The two inputs and their weights are 1, r_wire g_max = 1/4: a = 2 (1/4) 2 = 1, and input 1 loses 3/4 of 0.35."""
    w, x = torch.ones(1, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    assert polynomial_drop(w, x, r_wire=0.25e6, g_max=1.0).item() == pytest.approx(0.35 * 0.75, rel=1e-14)
    assert polynomial_drop(w, x, r_wire=0.25e6, g_max=0.1).item() == pytest.approx(0.04805 * 0.75, rel=1e-14)
    near = polynomial_drop(w, torch.tensor([1.0, 0.0], dtype=torch.float64), r_wire=0.5e6, g_max=1.0)
    assert near.item() == 0  # input 0 is at the converter


def by_loops(w, x, ratio, strength):
    """The loops of aihwkit's applyIrDrop: d_size outputs i, x_size inputs j."""
    drop = []
    n = len(x)
    for i in range(len(w)):
        accumulated = 0.0
        for j in range(n):
            accumulated += abs(w[i][j]) * abs(x[j])
        a = n / ratio * accumulated
        c = a * (a * (0.05 * a - 0.2) + 0.5)
        filtered = 0.0
        for j in range(n):
            p = 1 - j / n
            filtered += w[i][j] * (x[j] * (1 - p * p))
        drop.append(strength * c * filtered)
    return drop


@given(seed=st.integers(0, 2**31), outputs=sizes, inputs=sizes, strength=st.floats(0, 2))
def test_the_polynomial_by_loops(seed, outputs, inputs, strength):
    rng = np.random.default_rng(seed)
    w, x = rng.uniform(-1, 1, (outputs, inputs)), rng.uniform(-1, 1, inputs)
    r_wire, g_max = 0.35, 5e4 * rng.random()
    found = polynomial_drop(torch.from_numpy(w), torch.from_numpy(x), r_wire=r_wire, g_max=g_max, strength=strength)
    assert found.tolist() == pytest.approx(by_loops(w, x, 1 / (r_wire * g_max * 1e-6), strength), rel=1e-11, abs=1e-14)


def test_the_polynomial_approximates_a_long_uniform_bit_line():
    """512 cells of 5 uS and 0.35 ohm, all inputs on. It is a fit: 2 % of the loss, 2 % of the largest input by input.

    A negative weight draws the same current, so that it shows what its input alone loses.
    """
    n = 512
    w, x = torch.ones(n, n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    exact = 5 - effective(np.full((n, 1), 5.0), 0.0, 0.35)[::-1, 0]  # from the ground on
    drop = 5 * polynomial_drop(w, x, r_wire=0.35, g_max=5.0)
    by_input = (drop - 5 * polynomial_drop(w - 2 * torch.eye(n), x, r_wire=0.35, g_max=5.0)) / 2
    assert float(drop[0]) == pytest.approx(exact.sum(), rel=0.02)
    assert np.allclose(by_input.numpy(), exact, rtol=0, atol=0.02 * exact.max())


def test_the_polynomial_over_instances_and_samples():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64)
    drop = polynomial_drop(w, x, r_wire=0.35, g_max=1e4)
    assert drop.shape == (3, 6, 4)
    assert torch.allclose(drop[1, 2], polynomial_drop(w[1], x[1, 2], r_wire=0.35, g_max=1e4))
    assert torch.isfinite(torch.autograd.grad(drop.sum(), w)[0]).all()
    assert not polynomial_drop(w, x, r_wire=0.0, g_max=25.0).any()
