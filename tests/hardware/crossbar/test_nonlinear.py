"""Cells that are not ohmic: the linear limit, a cell by a scalar root, Kirchhoff's laws, the limit of no resistance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware.crossbar.nonlinear import iv, secant_conductance, solve_nonlinear
from snnrobust.hardware.crossbar.wires import effective_conductances, solve

ohms = st.one_of(st.just(0.0), st.floats(1e-2, 1e3))


def random_crossbar(seed: int, rows: int, columns: int):
    rng = np.random.default_rng(seed)
    g = rng.uniform(1, 100, (rows, columns)) * (rng.random((rows, columns)) > 0.2)
    return rng.uniform(-0.5, 0.5, rows), g


def test_current_of_a_cell():
    v = np.array([0.0, 0.2, -0.2])
    assert iv(np.array(10.0), v, 0.5, 2.0).tolist() == pytest.approx([0, 2.36, -1.96])  # 2 (1 + .1 + .08), -2 (1 -.02)
    assert secant_conductance(np.array([10.0, 0.0]), 0.2, 0.5, 2.0).tolist() == pytest.approx([11.8, 0])


@given(v=st.floats(-1, 1), a2=st.floats(-2, 2), a3=st.floats(-2, 2))
def test_the_secant_gives_the_current(v, a2, a3):
    g = np.array([0.0, 3.0, 70.0])
    assert np.allclose(secant_conductance(g, v, a2, a3) * v, iv(g, v, a2, a3), rtol=1e-14, atol=1e-14)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 6), columns=st.integers(1, 6), r_word=ohms, r_bit=ohms)
def test_linear_cells(seed, rows, columns, r_word, r_bit):
    v, g = random_crossbar(seed, rows, columns)
    linear = solve(v, g, r_word=r_word, r_bit=r_bit)
    found = solve_nonlinear(v, g, r_word=r_word, r_bit=r_bit, a2=0.0, a3=0.0)
    for name in ("word", "bit", "device", "output"):
        assert np.allclose(getattr(found, name), getattr(linear, name), rtol=1e-12, atol=1e-12), name


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    r_word=ohms,
    r_bit=ohms,
    a2=st.floats(-0.9, 0.9),
    a3=st.floats(0, 20),
)
def test_kirchhoff_and_the_characteristic(seed, rows, columns, r_word, r_bit, a2, a3):
    v, g = random_crossbar(seed, rows, columns)
    point = solve_nonlinear(v, g, r_word=r_word, r_bit=r_bit, a2=a2, a3=a3)
    assert np.allclose(point.device, iv(g, point.word - point.bit, a2, a3), rtol=1e-11, atol=1e-13 * max(g.max(), 1))
    along_word = -np.diff(np.column_stack((v, point.word)))
    behind = np.cumsum(point.device[:, ::-1], 1)[:, ::-1]
    assert np.allclose(along_word, r_word * behind * 1e-6, rtol=1e-9, atol=1e-14)
    along_bit = -np.diff(np.vstack((point.bit, np.zeros(columns))), axis=0)
    assert np.allclose(along_bit, r_bit * np.cumsum(point.device, 0) * 1e-6, rtol=1e-9, atol=1e-14)
    assert np.allclose(point.output, point.device.sum(0), rtol=1e-14)


@pytest.mark.parametrize(("a2", "a3"), [(0.0, 5.0), (0.7, 5.0), (-0.7, 0.5), (0.5, -0.05)])
@pytest.mark.parametrize("v", [0.4, -0.4])
def test_one_cell_by_a_scalar_root(v, a2, a3):
    g, r_word, r_bit = 100.0, 3000.0, 2000.0
    root = brentq(lambda u: u + (r_word + r_bit) * 1e-6 * g * u * (1 + a2 * u + a3 * u * u) - v, -0.5, 0.5, xtol=1e-16)
    point = solve_nonlinear(np.array([v]), np.array([[g]]), r_word=r_word, r_bit=r_bit, a2=a2, a3=a3)
    assert point.word[0, 0] - point.bit[0, 0] == pytest.approx(root, rel=1e-12)
    assert point.output[0] == pytest.approx((v - root) / (r_word + r_bit) * 1e6, rel=1e-12)


def test_without_resistance_pulses_of_one_height_see_the_secant():
    _, g = random_crossbar(3, 5, 4)
    v = 0.2 * np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    found = solve_nonlinear(v, g, r_word=0.0, r_bit=0.0, a2=0.4, a3=3.0).output
    assert found == pytest.approx(v @ secant_conductance(g, 0.2, 0.4, 3.0), rel=1e-14)


def test_a_small_drop_is_nearly_that_of_the_secant():
    """Cells at the read voltage minus a drop of relative size d differ from linear secant cells by order d (a3 v^2)."""
    g = np.full((16, 16), 20.0)
    v = np.full(16, 0.2)
    exact = solve_nonlinear(v, g, r_word=1.0, r_bit=1.0, a2=0.0, a3=2.0).output
    secant = v @ effective_conductances(secant_conductance(g, 0.2, 0.0, 2.0), r_word=1.0, r_bit=1.0)
    ideal = v @ secant_conductance(g, 0.2, 0.0, 2.0)
    relative = 1 - secant / ideal
    assert (relative > 0.002).all()
    assert np.allclose(exact, secant, rtol=2 * 2.0 * 0.2**2 * relative.max())
    assert (exact < secant).all()  # below the read voltage the secant is smaller, too


def test_a_large_array():
    rng = np.random.default_rng(0)
    g, v = rng.uniform(1, 100, (64, 64)), rng.uniform(0, 0.3, 64)
    point = solve_nonlinear(v, g, r_word=2.0, r_bit=2.0, a2=0.3, a3=4.0)
    behind = np.cumsum(point.device[:, ::-1], 1)[:, ::-1]
    assert np.allclose(v[:, None] - point.word, np.cumsum(2e-6 * behind, 1), rtol=1e-11)


def test_a_characteristic_that_falls_is_refused():
    g = np.ones((1, 1))
    for v, a2, a3 in ((0.5, -1.0, 0.0), (-0.5, 1.0, 0.0), (1.0, 0.0, -0.4), (1.0, -1.8, 1.0)):
        with pytest.raises(ConfigError, match=r"a2, a3: .* the current must rise"):
            solve_nonlinear(np.array([v]), g, r_word=1.0, r_bit=1.0, a2=a2, a3=a3)
    assert solve_nonlinear(np.array([-0.5]), g, r_word=1.0, r_bit=1.0, a2=-1.0, a3=0.0).output[0] < 0


def test_one_set_of_voltages():
    with pytest.raises(ShapeError, match=r"v: shape \[2, 1\] must be \[M\]"):
        solve_nonlinear(np.ones((2, 1)), np.ones((1, 1)), r_word=1.0, r_bit=1.0, a2=0.0, a3=0.0)
