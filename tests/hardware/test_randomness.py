"""Keyed randomness against published vectors, an independent generator and an independent quantile."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from snnrobust.errors import ConfigError
from snnrobust.hardware import randomness

MASK = 2**64 - 1
KEY = randomness.key(1, "test", "hidden.weight", "device", "per_synapse", 17)


def philox4x64_10(counter: int, key: int) -> tuple[int, ...]:
    """Philox4x64-10 in plain integers, from Salmon et al. (2011)."""
    c = [counter >> (64 * i) & MASK for i in range(4)]
    k = [key & MASK, key >> 64]
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 64) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return tuple(c)


# Random123 known answers (kat_vectors): counter, key, output.
KNOWN = [
    (0, 0, (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
    (
        2**256 - 1,
        2**128 - 1,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        0x082EFA98EC4E6C89A4093822299F31D013198A2E03707344243F6A8885A308D3,
        0xBE5466CF34E90C6C452821E638D01377,
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_oracle_gives_the_published_answers(counter, key, expected):
    assert philox4x64_10(counter, key) == expected


def test_words_of_key_zero_are_the_published_block_zero():
    assert tuple(int(w) for w in randomness.words(0, 4)) == KNOWN[0][2]


@given(key=st.integers(0, 2**128 - 1), blocks=st.integers(1, 5))
def test_element_is_word_of_its_block(key, blocks):
    expected = [word for block in range(blocks) for word in philox4x64_10(block, key)]
    assert randomness.words(key, 4 * blocks).tolist() == expected


@given(short=st.integers(0, 40), more=st.integers(0, 40))
def test_a_longer_draw_begins_with_the_shorter(short, more):
    for draw in (randomness.words, randomness.uniforms, randomness.normals):
        assert np.array_equal(draw(KEY, short), draw(KEY, short + more)[:short])


def test_normals_do_not_depend_on_the_block_they_are_computed_in():
    many = randomness.normals(KEY, 40_000)
    assert np.array_equal(many, randomness.normal_quantile(randomness.uniforms(KEY, 40_000)).astype(np.float32))


def test_golden_values():
    # Written down once; a change here changes every simulated chip.
    assert f"{KEY:032x}" == "29c6de02d3a8b90e1289a834806e9009"
    assert randomness.words(KEY, 3).tolist() == [7759394254673229574, 1444239235623243728, 12633735070865435132]
    assert [z.hex() for z in randomness.normals(KEY, 6).astype(float).tolist()] == [
        "-0x1.9a23480000000p-3",
        "-0x1.6aa9b20000000p+0",
        "0x1.ecee6a0000000p-2",
        "-0x1.c071b80000000p-6",
        "-0x1.a3611a0000000p+0",
        "0x1.b8210a0000000p-1",
    ]
    assert randomness.permutation(KEY, 8).tolist() == [4, 1, 0, 6, 3, 7, 2, 5]


def test_key_encoding_is_the_documented_one():
    fields = [b"1", b"test", b"w", b"die", b"per_die", b"-2", b"30"]
    data = b"".join(t + len(f).to_bytes(8, "little") + f for t, f in zip(b"i s s s s i i".split(), fields, strict=True))
    digest = hashlib.blake2b(data, digest_size=16, person=b"snnrobust-draw-1").digest()
    assert randomness.key(1, "test", "w", "die", "per_die", -2, 30) == int.from_bytes(digest, "little")


def test_every_field_changes_the_key():
    base = (1, "test", "weight", "device", "per_synapse", 0)
    others = [
        (2, *base[1:]),
        *[(1, purpose, *base[2:]) for purpose in ("train", "validation", "attack")],
        (1, "test", "weigh", "tdevice", "per_synapse", 0),
        (1, "test", "weight", "die", "per_synapse", 0),
        (1, "test", "weight", "device", "per_neuron", 0),
        (1, "test", "weight", "device", "per_synapse", 1),
        (*base, 0),
        (*base, 0, 0),
        (*base, 1),
        (*base, 11),
        (*base, 1, 1),
    ]
    keys = {randomness.key(*fields) for fields in (base, *others)}
    assert len(keys) == len(others) + 1
    assert all(0 <= key < 2**128 for key in keys)


def test_numpy_integers_give_the_same_key():
    assert randomness.key(np.int64(1), "test", "w", "die", "per_die", np.int32(3)) == randomness.key(
        1, "test", "w", "die", "per_die", 3
    )


def test_an_unknown_purpose_is_an_error():
    with pytest.raises(ConfigError, match=r"purpose: unknown 'testing' \(did you mean 'test'\?\)"):
        randomness.key(1, "testing", "w", "die", "per_die", 0)


def test_uniforms_are_the_top_52_bits_and_a_half():
    words = randomness.words(KEY, 1000).tolist()
    assert randomness.uniforms(KEY, 1000).tolist() == [((w >> 12) + 0.5) / 2**52 for w in words]


def test_log_agrees_with_libm():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.random(20_000), 2.0 ** -np.arange(1.0, 54.0), 1 - 2.0 ** -np.arange(1.0, 54.0), [1.0, 2.0]])
    ours, libm = randomness.log(x), np.array([math.log(v) for v in x])
    assert np.max(np.abs(ours - libm) / np.maximum(np.spacing(np.abs(libm)), 5e-324)) <= 2


def test_normal_quantile_agrees_with_scipy():
    # Both are good to a few units in the last place: 2e-15 relative is nine of them.
    u = np.concatenate([randomness.uniforms(KEY, 200_000), 2.0 ** -np.arange(2.0, 54.0)])
    assert np.max(np.abs(randomness.normal_quantile(u) / special.ndtri(u) - 1)) < 2e-15


def test_normal_quantile_against_high_precision():
    # sqrt(2) erfinv(2u - 1) with 40 digits (mpmath).
    u = np.array([0.5, 0.975, 0.025, 0.001, 1e-10])
    exact = np.array([0.0, 1.9599639845400542, -1.9599639845400543, -3.0902323061678135, -6.361340902404057])
    assert np.allclose(randomness.normal_quantile(u), exact, rtol=1e-15, atol=0)


def test_quantile_is_odd_and_increasing_across_the_three_regions():
    u = np.sort(
        np.concatenate(
            [np.linspace(1e-6, 0.5, 5001), 0.075 + 1e-12 * np.arange(-50, 50), np.geomspace(1e-15, 1e-6, 500)]
        )
    )
    z = randomness.normal_quantile(u)
    assert np.all(np.diff(z)[np.diff(u) > 0] >= 0)
    half = np.arange(1.0, 100.0) / 256  # 1 - u is exact
    assert np.array_equal(randomness.normal_quantile(1 - half), -randomness.normal_quantile(half))


def test_extreme_words_give_finite_normals():
    u = np.array([2.0**-53, 1 - 2.0**-53])
    assert np.allclose(randomness.normal_quantile(u), special.ndtri(u), rtol=1e-14)


def test_distribution_of_normals():
    # Fixed seed; each bound is a two-sided test at 1e-3 or stricter.
    n = 1_000_000
    z = randomness.normals(KEY, n).astype(np.float64)
    assert abs(z.mean()) < 3.3 / math.sqrt(n)
    assert abs(z.var() - 1) < 3.3 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 3.3 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 3.3 * math.sqrt(96 / n)
    assert stats.kstest(z[:100_000], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 3.3 / math.sqrt(n)


def test_chips_are_independent():
    # One element over 4,000 chips is as normal as one chip over its elements.
    z = np.array(
        [randomness.normals(randomness.key(1, "test", "w", "device", "per_synapse", i), 2) for i in range(4000)]
    )
    assert stats.kstest(z[:, 0], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 3.3 / math.sqrt(4000)


def test_permutation_is_a_permutation_and_uniform():
    assert sorted(randomness.permutation(KEY, 100).tolist()) == list(range(100))
    orders = [
        tuple(randomness.permutation(randomness.key(seed, "train", "w", "order", "epoch", 0), 3).tolist())
        for seed in range(1200)
    ]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3
