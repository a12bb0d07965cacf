"""Keys and words against published vectors and an independent generator; golden values."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from snnrobust.errors import ConfigError
from snnrobust.hardware import randomness
from snnrobust.hardware.normals import normals

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
    assert np.array_equal(randomness.words(KEY, short), randomness.words(KEY, short + more)[:short])


def test_golden_values():
    # Written down once; a change here changes every simulated chip.
    assert f"{KEY:032x}" == "29c6de02d3a8b90e1289a834806e9009"
    assert randomness.words(KEY, 3).tolist() == [7759394254673229574, 1444239235623243728, 12633735070865435132]
    assert [z.hex() for z in normals([KEY], [6]).astype(float).tolist()] == [
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


def test_permutation_is_a_permutation_and_uniform():
    assert sorted(randomness.permutation(KEY, 100).tolist()) == list(range(100))
    orders = [
        tuple(randomness.permutation(randomness.key(seed, "train", "w", "order", "epoch", 0), 3).tolist())
        for seed in range(1200)
    ]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3
