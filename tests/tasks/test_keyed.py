import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.tasks import keyed


def test_words_are_fixed_for_ever():
    golden = [0xE04C388598452CB9, 0x5EF37897C552C944, 0x90411A2211E88EB5, 0x9089D4233A5C5280]
    assert keyed.words(4, 0, "vowels").tolist() == golden


def _philox_block(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 of Salmon et al. (doi:10.1145/2063384.2063405), written out with Python's integers."""
    mask = 2**64 - 1
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [(b >> 64) ^ counter[1] ^ key[0], b & mask, (a >> 64) ^ counter[3] ^ key[1], a & mask]
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    return counter


@given(seed=st.integers(0, 2**31), name=st.text(max_size=10))
def test_words_are_philox_under_blake2b(seed, name):
    digest = hashlib.blake2b(f"int:{seed}\x1fstr:{name}".encode(), digest_size=16).digest()
    key = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    expected = _philox_block([1, 0, 0, 0], key) + _philox_block([2, 0, 0, 0], key)
    assert keyed.words(8, seed, name).tolist() == expected


def test_parts_of_a_key_do_not_run_together():
    keys = [("ab", "c"), ("a", "bc"), ("1",), (1,), (1, 2), (12,)]
    firsts = {int(keyed.words(1, *key)[0]) for key in keys}
    assert len(firsts) == len(keys)


@given(count=st.integers(0, 50), longer=st.integers(0, 50))
def test_longer_stream_begins_with_shorter(count, longer):
    assert np.array_equal(keyed.words(count + longer, 3, "a")[:count], keyed.words(count, 3, "a"))


@given(count=st.integers(0, 200), limit=st.integers(0, 250), seed=st.integers(0, 5))
def test_capped_is_a_sorted_subset(count, limit, seed):
    rows = np.arange(count) * 3
    chosen = keyed.capped(rows, limit, seed, "cap")
    assert len(chosen) == min(count, limit)
    assert set(chosen) <= set(rows)
    assert np.all(np.diff(chosen) > 0)


def test_permutations_are_uniform():
    # chi-square over the 24 orders of 4, 4,800 keys: 23 degrees of freedom, 0.1 % point 49.73, fixed keys.
    counts = np.zeros(24)
    orders = {}
    for seed in range(4800):
        order = tuple(keyed.permutation(4, seed, "uniform"))
        counts[orders.setdefault(order, len(orders))] += 1
    assert ((counts - 200) ** 2 / 200).sum() < 49.73


def test_noise_has_the_stated_moments():
    # 4 standard errors of mean and variance at 100,000 draws; kurtosis of four uniforms is 3 - 0.3.
    draws = keyed.noise(100_000, 0, "moments")
    assert abs(draws.mean()) < 4 / np.sqrt(100_000)
    assert abs(draws.var() - 1) < 4 * np.sqrt(1.7 / 100_000)
    assert abs(draws).max() <= 2 * np.sqrt(3)
    assert abs((draws**4).mean() - 2.7) < 0.1
