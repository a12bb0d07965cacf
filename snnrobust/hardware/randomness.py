"""Keyed randomness: every draw is a pure function of what it is for.

A draw has a 128-bit key, BLAKE2b over (seed, purpose, parameter, component, granularity, instance, ...), and
its elements are the output of the counter-based generator Philox4x64-10 under that key (Salmon et al.,
SC 2011, DOI 10.1145/2063384.2063405). So instance 17 is the same chip in any block, order, worker or thread
count, and adding a parameter changes no other draw.

Normals come from the inverse distribution function AS 241 (Wichura, Appl. Stat. 37:477, 1988,
DOI 10.2307/2347330) with a logarithm of our own: the functions of libm differ between machines in the last
bit, whereas +, -, *, /, sqrt and frexp are exact or correctly rounded everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, unknown

Purpose = Literal["train", "validation", "test", "attack"]
Float64 = NDArray[np.float64]

# Elements worked on at once: the temporaries stay in the cache, which makes 1e6 normals about twice as fast.
_BLOCK = 1 << 14


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


def uniforms(key: int, count: int) -> Float64:
    """`count` float64 values (k + 1/2)/2^52, k the top 52 bits of each word; exact, never 0 or 1."""
    return _uniform(words(key, count))


def normals(key: int, count: int) -> NDArray[np.float32]:
    """`count` standard normal float32 values: the inverse distribution function at `uniforms`."""
    source = words(key, count)
    out = np.empty(count, dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        out[block] = normal_quantile(_uniform(source[block]))
    return out


def permutation(key: int, n: int) -> NDArray[np.intp]:
    """A random order of 0 ... n-1: the stable order of the first n words."""
    return np.argsort(words(key, n), kind="stable")


def _uniform(source: NDArray[np.uint64]) -> Float64:
    return ((source >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


# AS 241, PPND16: numerator and denominator, ascending, of the three rational approximations.
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def normal_quantile(u: Float64) -> Float64:
    """Standard normal quantile of u in (0, 1), float64, the same bits on every machine (AS 241, PPND16).

    Args:
        u: Probabilities, any shape [n].
    """
    q = u - 0.5
    out = q * _ratio(_CENTRE, 0.180625 - q * q)
    outer = np.flatnonzero(np.abs(q) > 0.425)
    r = np.sqrt(-log(np.minimum(u[outer], 1.0 - u[outer])))
    tail = _ratio(_TAIL, r - 1.6)
    far = np.flatnonzero(r > 5.0)
    tail[far] = _ratio(_FAR_TAIL, r[far] - 5.0)
    out[outer] = np.copysign(tail, q[outer])
    return out


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], x: Float64) -> Float64:
    numerator, denominator = coefficients
    return _horner(numerator, x) / _horner(denominator, x)


def _horner(coefficients: Sequence[float], x: Float64) -> Float64:
    total = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total *= x
        total += coefficient
    return total


# ln 2 in two parts: the first has 21 trailing zero bits, so that exponent * part is exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# artanh(s)/s = sum s^(2j)/(2j + 1); |s| <= 0.1716 leaves a relative remainder below 1e-18.
_ARTANH = tuple(1.0 / (2 * j + 1) for j in range(12))


def log(x: Float64) -> Float64:
    """Natural logarithm of positive normal float64 values from exactly rounded operations only.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)); ln x = e ln 2 + 2 artanh((m - 1)/(m + 1)).
    """
    m, e = np.frexp(x)
    low = m < np.sqrt(0.5)
    m = np.where(low, 2.0 * m, m)
    exponent = (e - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    result: Float64 = exponent * _LN2_HIGH + (2.0 * s * _horner(_ARTANH, s * s) + exponent * _LN2_LOW)
    return result
