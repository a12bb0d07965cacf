"""Intervals hold exact values and what float32 and float64 make of them, in any order."""

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.evaluation.certificates.intervals import UNITS, Interval, Rounding, chosen, hull, point

SEEDS = st.integers(0, 2**32 - 1)
FLOAT32 = Rounding(UNITS[torch.float32], terms=40)


def numbers(rng, *shape):
    """float32 values of many magnitudes and both signs, as float64."""
    values = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 3, size=shape)
    return torch.from_numpy(values.astype(np.float32).astype(np.float64))


def around(rng, value):
    return Interval(value - 0.1 * torch.from_numpy(rng.random(value.shape)), value + 0.1)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS)
def test_sums_of_products_are_held_exactly_and_as_float32_computes_them(seed):
    rng = np.random.default_rng(seed)
    x, w = numbers(rng, 3, 20), numbers(rng, 4, 20)
    for found in (FLOAT32.weighted_point(x, point(w)), FLOAT32.weighted(point(x.abs()), point(w))):
        signed = x if found.low.equal(FLOAT32.weighted_point(x, point(w)).low) else x.abs()
        exact = [
            [sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(r, c, strict=True)) for c in w] for r in signed
        ]
        for order in (np.arange(20), np.arange(20)[::-1], rng.permutation(20)):
            of_float32 = np.zeros((3, 4), dtype=np.float32)
            for n in order:
                of_float32 += np.outer(signed[:, n].numpy().astype(np.float32), w[:, n].numpy().astype(np.float32))
            assert (of_float32 >= found.low.numpy()).all()
            assert (of_float32 <= found.high.numpy()).all()
        for b in range(3):
            for n in range(4):
                assert Fraction(float(found.low[b, n])) <= exact[b][n] <= Fraction(float(found.high[b, n]))


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS)
def test_no_value_inside_leaves_the_result(seed):
    rng = np.random.default_rng(seed)
    a, b = around(rng, numbers(rng, 5)), around(rng, numbers(rng, 5))
    share = Interval(torch.full((5,), 0.2, dtype=torch.float64), torch.full((5,), 0.6, dtype=torch.float64))
    products, sums = FLOAT32.product(a, b), FLOAT32.total(a, b)
    mixtures = FLOAT32.mixed(a, b, share, b.size())
    for _ in range(50):
        at = torch.from_numpy(rng.integers(0, 3, size=(3, 5)) / 2)  # ends and middles
        x, y, s = (i.low + t * (i.high - i.low) for i, t in zip((a, b, share), at, strict=True))
        for value, found in ((x * y, products), (x + y, sums), (x + s * (y - x), mixtures)):
            assert (value >= found.low).all()
            assert (value <= found.high).all()


def test_ends_are_those_of_the_corners_and_moved_by_the_bound_alone():
    a = Interval(torch.tensor([-1.0, 2.0]).double(), torch.tensor([3.0, 4.0]).double())
    b = Interval(torch.tensor([-2.0, -1.0]).double(), torch.tensor([1.0, 5.0]).double())
    exact = Rounding(UNITS[torch.float64])
    for found, low, high in (
        (exact.product(a, b), [-6, -4], [3, 20]),
        (exact.total(a, b), [-3, 1], [4, 9]),
        (hull(a, b), [-2, -1], [3, 5]),
    ):
        np.testing.assert_allclose(found.low, low, rtol=1e-12)
        np.testing.assert_allclose(found.high, high, rtol=1e-12)
    wide = FLOAT32.total(a, b)
    np.testing.assert_allclose(
        wide.high - torch.tensor([4.0, 9.0]), torch.tensor([5.0, 9.0]) * 40 * 2.0**-24, rtol=1e-5
    )


def test_an_event_chooses_one_side_or_both():
    absent, present = point(torch.zeros(3).double()), point(torch.full((3,), 2.0).double())
    o = Interval(torch.tensor([0.0, 0.0, 1.0]).double(), torch.tensor([0.0, 1.0, 1.0]).double())
    found = chosen(o, absent, present)
    assert found.low.tolist() == [0, 0, 2]
    assert found.high.tolist() == [0, 2, 2]
