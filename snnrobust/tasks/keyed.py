"""Random choices that stay the same for ever: Philox4x64-10 words under a BLAKE2b key.

``numpy.random.Generator`` may change how it turns bits into numbers between releases; the raw words of
Philox under a given key are fixed. Subsets, permutations and generated samples are made from those words
alone, with integer arithmetic or single IEEE operations.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Key = int | str


def words(count: int, *key: Key) -> NDArray[np.uint64]:
    """The first ``count`` 64-bit words of the Philox4x64-10 stream that ``key`` names.

    The 128-bit Philox key is BLAKE2b over the parts of ``key``, so streams of different keys are independent
    and a longer stream begins with the shorter one.

    Args:
        count: Number of words.
        *key: What the draw is for, e.g. ``(seed, "vowels", "validation", speaker)``.

    Returns:
        Uniform words [count].
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    raw = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(count)
    return np.asarray(raw, dtype=np.uint64)


def permutation(count: int, *key: Key) -> NDArray[np.int64]:
    """A permutation of ``0 .. count - 1``: the order that sorts the words of ``key``."""
    return np.argsort(words(count, *key), kind="stable")


def uniforms(count: int, *key: Key) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1): (k + 1/2) / 2^52 from the top 52 bits k of each word [count]."""
    return ((words(count, *key) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def noise(count: int, *key: Key) -> NDArray[np.float64]:
    """Bell-shaped numbers of mean 0 and variance 1: sqrt(3) times the centred sum of four uniforms [count].

    Only additions and one product, so the values do not depend on a machine's logarithm; at most 2 sqrt(3).
    """
    sums: NDArray[np.float64] = uniforms(4 * count, *key).reshape(count, 4).sum(axis=1)
    return float(np.sqrt(3.0)) * (sums - 2.0)


def capped(rows: NDArray[np.int64], limit: int, *key: Key) -> NDArray[np.int64]:
    """At most ``limit`` of ``rows``, chosen by the permutation of ``key``, in ascending order."""
    return np.sort(rows[permutation(len(rows), *key)[:limit]])
