"""Compiled normals against the same arithmetic in numpy, bit by bit, and against an independent quantile."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from snnrobust import compiled
from snnrobust.hardware import normals as module
from snnrobust.hardware.normals import fast_normals, normals
from snnrobust.hardware.randomness import key, words

KEY = key(1, "test", "hidden.weight", "device", "per_synapse", 17)
BLOCK = module._BLOCK
QUICK = settings(max_examples=40, deadline=None, derandomize=True)  # the first example compiles


# --- the oracle: numpy's Philox, and AS 241 an operation at a time -------------------------------------


def numpy_uniforms(key, count):
    return ((words(key, count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def numpy_log(x):
    m, e = np.frexp(x)
    low = m < np.sqrt(0.5)
    m = np.where(low, 2.0 * m, m)
    exponent = (e - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    return exponent * module._LN2_HIGH + (2.0 * s * horner(module._ARTANH, s * s) + exponent * module._LN2_LOW)


def numpy_quantiles(u):
    q = u - 0.5
    out = q * ratio(module._CENTRE, 0.180625 - q * q)
    outer = np.flatnonzero(np.abs(q) > 0.425)
    r = np.sqrt(-numpy_log(np.minimum(u[outer], 1.0 - u[outer])))
    tail = ratio(module._TAIL, r - 1.6)
    far = np.flatnonzero(r > 5.0)
    tail[far] = ratio(module._FAR_TAIL, r[far] - 5.0)
    out[outer] = np.copysign(tail, q[outer])
    return out


def ratio(coefficients, x):
    return horner(coefficients[0], x) / horner(coefficients[1], x)


def horner(coefficients, x):
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x
        total = total + coefficient
    return total


def numpy_normals(key, count):
    return numpy_quantiles(numpy_uniforms(key, count)).astype(np.float32)


# --- the compiled functions, called directly -----------------------------------------------------------


def uniforms(key, count):
    out = np.empty(-(-count // 4) * 4)
    module.uniforms(np.uint64(key & (2**64 - 1)), np.uint64(key >> 64), 0, out)
    return out[:count]


def quantiles(u):
    out = np.empty_like(u)
    module.normal_quantiles(u, out, np.empty(len(u), dtype=np.int64), np.empty(len(u)))
    return out


def log(x):
    return np.array([module.log(v) for v in x])


@pytest.fixture
def threads():
    """Sets the number of threads, for one test."""
    before = compiled.get_threads()
    yield compiled.set_threads
    compiled.set_threads(before)


# --- bit equality --------------------------------------------------------------------------------------


@QUICK
@given(key=st.integers(0, 2**128 - 1), count=st.integers(0, 50))
def test_uniforms_have_the_bits_of_numpy(key, count):
    assert np.array_equal(uniforms(key, count), numpy_uniforms(key, count))


@QUICK
@given(rows=st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 9)), max_size=12))
def test_short_rows_have_the_bits_of_numpy(rows):
    keys, counts = [key for key, _ in rows], [count for _, count in rows]
    expected = [numpy_normals(key, count) for key, count in rows]
    assert np.array_equal(normals(keys, counts), np.concatenate([np.empty(0, np.float32), *expected]))


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 100_000])
def test_long_rows_have_the_bits_of_numpy(count):
    keys, counts = [KEY, 0, 2**128 - 1], [count, 5, count]
    expected = [numpy_normals(key, n) for key, n in zip(keys, counts, strict=True)]
    assert np.array_equal(normals(keys, counts), np.concatenate(expected))


def test_many_keys_have_the_bits_of_numpy():
    keys = [key(1, "test", "w", "device", "per_synapse", n) for n in range(300)]
    found = normals(keys, [1000] * len(keys)).reshape(len(keys), 1000)
    assert np.array_equal(found, [numpy_normals(key, 1000) for key in keys])


def test_every_region_has_the_bits_of_numpy():
    u = np.concatenate([np.geomspace(2.0**-53, 0.5, 20_000), 0.075 + 2.0**-56 * np.arange(-50, 50)])
    u = np.concatenate([u, 1 - u, math.exp(-25) * (1 + 1e-15 * np.arange(-50, 50))])  # r = 5 is u = exp(-25)
    assert np.array_equal(quantiles(u), numpy_quantiles(u))


@QUICK
@given(cut=st.integers(1, 19))
def test_any_split_of_the_rows_gives_the_same(cut):
    keys, counts = list(range(20)), [3 * BLOCK // (n + 1) for n in range(20)]
    parts = normals(keys[:cut], counts[:cut]), normals(keys[cut:], counts[cut:])
    assert np.array_equal(normals(keys, counts), np.concatenate(parts))


def test_threads_do_not_matter(threads):
    keys, counts = [3, 4, 5], [10 * BLOCK + 1, 7, 4 * BLOCK]
    threads(1)
    alone = normals(keys, counts)
    for count in (2, 3, 8):
        threads(count)
        assert np.array_equal(normals(keys, counts), alone)
    with ThreadPoolExecutor(4) as callers:
        for found in callers.map(lambda _: normals(keys, counts), range(8)):
            assert np.array_equal(found, alone)


# --- accuracy ------------------------------------------------------------------------------------------


def test_uniforms_are_the_top_52_bits_and_a_half():
    assert uniforms(KEY, 1000).tolist() == [((w >> 12) + 0.5) / 2**52 for w in words(KEY, 1000).tolist()]


def test_log_agrees_with_libm():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.random(20_000), 2.0 ** -np.arange(1.0, 54.0), 1 - 2.0 ** -np.arange(1.0, 54.0), [1.0, 2.0]])
    ours, libm = log(x), np.array([math.log(v) for v in x])
    assert np.max(np.abs(ours - libm) / np.maximum(np.spacing(np.abs(libm)), 5e-324)) <= 2


def test_normal_quantile_agrees_with_scipy():
    # Both are good to a few units in the last place: 2e-15 relative is nine of them.
    u = np.concatenate([uniforms(KEY, 200_000), 2.0 ** -np.arange(2.0, 54.0)])
    assert np.max(np.abs(quantiles(u) / special.ndtri(u) - 1)) < 2e-15


def test_normal_quantile_against_high_precision():
    # sqrt(2) erfinv(2u - 1) with 40 digits (mpmath).
    u = np.array([0.5, 0.975, 0.025, 0.001, 1e-10])
    exact = np.array([0.0, 1.9599639845400542, -1.9599639845400543, -3.0902323061678135, -6.361340902404057])
    assert np.allclose(quantiles(u), exact, rtol=1e-15, atol=0)


def test_quantile_is_odd_and_increasing_across_the_three_regions():
    u = np.sort(
        np.concatenate(
            [np.linspace(1e-6, 0.5, 5001), 0.075 + 1e-12 * np.arange(-50, 50), np.geomspace(1e-15, 1e-6, 500)]
        )
    )
    z = quantiles(u)
    assert np.all(np.diff(z)[np.diff(u) > 0] >= 0)
    half = np.arange(1.0, 100.0) / 256  # 1 - u is exact
    assert np.array_equal(quantiles(1 - half), -quantiles(half))


def test_extreme_words_give_finite_normals():
    u = np.array([2.0**-53, 1 - 2.0**-53])
    assert np.allclose(quantiles(u), special.ndtri(u), rtol=1e-14)


def test_distribution_of_normals():
    # Fixed seed; each bound is a two-sided test at 1e-3 or stricter.
    n = 1_000_000
    z = normals([KEY], [n]).astype(np.float64)
    assert abs(z.mean()) < 3.3 / math.sqrt(n)
    assert abs(z.var() - 1) < 3.3 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 3.3 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 3.3 * math.sqrt(96 / n)
    assert stats.kstest(z[:100_000], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 3.3 / math.sqrt(n)


def test_chips_are_independent():
    # One element over 4,000 chips is as normal as one chip over its elements.
    keys = [key(1, "test", "w", "device", "per_synapse", i) for i in range(4000)]
    z = normals(keys, [2] * len(keys)).reshape(-1, 2)
    assert stats.kstest(z[:, 0], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 3.3 / math.sqrt(4000)


# --- the fast ones ----------------------------------------------------------------------------------------


def test_fast_normals_are_normal_and_of_their_key_alone():
    keys = [key(1, "test", "hidden.weight", "g_plus.slow", "per_device", chip, 0, 1) for chip in range(4)]
    many = fast_normals(keys, 100_001)  # no multiple of a block
    assert np.array_equal(fast_normals(keys[2:3], 77)[0], many[2, :77])
    for one in many:  # four tests at 1e-4: one wrong alarm in 2,500 seeds
        assert stats.kstest(one, "norm").pvalue > 1e-4
    between = np.corrcoef(many)[np.triu_indices(4, 1)]
    assert np.abs(between).max() < 4.5 / math.sqrt(many.shape[1])  # six at 7e-6


def test_fast_normals_by_numpy():
    # Philox4x32-10 by Python's integers, and the exact quantile; value 8 m + l of 8 blocks is word m of block l.
    one = key(3, "test", "l.weight", "g.slow", "per_device", 5)
    found = fast_normals([one], 64)[0]
    word = np.array([philox_32(n, one & 0xFFFFFFFF, one >> 32 & 0xFFFFFFFF) for n in range(16)])  # [block, m]
    order = word.reshape(2, 8, 4).transpose(0, 2, 1).reshape(-1)
    size = special.ndtri(1 - ((order & 0x7FFFFFFF) + 0.5) / 2.0**32)
    assert found == pytest.approx(np.where(order >> 31, -size, size), abs=3e-6)


def philox_32(counter, low, high):
    a, b, c, d = counter, 0, 0, 0
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = second >> 32 ^ b ^ low, second & 0xFFFFFFFF, first >> 32 ^ d ^ high, first & 0xFFFFFFFF
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d
