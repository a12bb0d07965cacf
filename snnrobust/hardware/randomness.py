"""Keyed randomness: every draw is a pure function of what it is for.

A draw has a 128-bit key, BLAKE2b over (seed, purpose, parameter, component, granularity, instance, ...), and
its elements are the output of the counter-based generator Philox4x64-10 under that key (Salmon et al.,
SC 2011, DOI 10.1145/2063384.2063405). So instance 17 is the same chip in any block, order, worker or thread
count, and adding a parameter changes no other draw. `normals` makes standard normals of the words.
"""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, unknown

Purpose = Literal["train", "validation", "test", "attack"]


def key(seed: int, purpose: str, parameter: str, component: str, granularity: str, instance: int, *extra: int) -> int:
    """The 128-bit key of one draw.

    The fields are encoded one after the other as (type letter, length in bytes as 8 bytes little-endian,
    bytes): `i` and the decimal digits for an integer, `s` and UTF-8 for a name. Every field's end is known,
    so two different tuples never have the same encoding.

    Args:
        seed: The user's seed.
        purpose: train, validation, test or attack; draws for different purposes never coincide.
        parameter: Name of the parameter tensor.
        component: Name of the component, e.g. die, device, outliers.
        granularity: What shares one draw.
        instance: Number of the chip, from 0.
        extra: What else it is for: the step of a training, the trial of a temporal draw.

    Returns:
        An integer in [0, 2^128).

    Raises:
        ConfigError: If purpose is not one of the four.
    """
    if purpose not in get_args(Purpose):
        raise ConfigError(unknown("purpose", purpose, get_args(Purpose)))
    digest = hashlib.blake2b(digest_size=16, person=b"snnrobust-draw-1")
    fields: tuple[int | str, ...] = (seed, purpose, parameter, component, granularity, instance, *extra)
    for field in fields:
        letter, data = (b"s", field.encode()) if isinstance(field, str) else (b"i", str(int(field)).encode())
        digest.update(letter + len(data).to_bytes(8, "little") + data)
    return int.from_bytes(digest.digest(), "little")


def words(key: int, count: int) -> NDArray[np.uint64]:
    """The first `count` 64-bit words under `key`: element e is word e mod 4 of Philox block e div 4."""
    # numpy increments the counter before each block, so the one before block 0 is the largest counter.
    return np.random.Philox(key=key, counter=2**256 - 1).random_raw(count)


def upper_quantile(fraction: float) -> float:
    """The value that a standard normal exceeds with this probability."""
    if fraction >= 1:
        return -math.inf
    return NormalDist().inv_cdf(1 - fraction) if 1 - fraction < 1 else math.inf  # less than a draw resolves


def permutation(key: int, n: int) -> NDArray[np.intp]:
    """A random order of 0 ... n-1: the stable order of the first n words."""
    return np.argsort(words(key, n), kind="stable")
