"""Standard normals of many keys at once: Philox4x64-10 and AS 241, compiled; the same bits on every machine.

Element e under a key is the inverse distribution function at u = (k + 1/2) / 2^52, k the top 52 bits of word e mod 4
of Philox block e div 4 (`randomness.words`): Salmon et al., SC 2011, DOI 10.1145/2063384.2063405. The inverse is
AS 241 (Wichura, Appl. Stat. 37:477, 1988, DOI 10.2307/2347330) with a logarithm of our own: the functions of libm
differ between machines in the last bit, whereas +, -, *, /, sqrt and the bits of a float64 are exact or correctly
rounded everywhere, and kernels keep each operation as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from snnrobust.compiled import kernel, run_jobs
from snnrobust.snn.engines.kernels.llvm import wide_product
from snnrobust.snn.engines.readings import normals_of

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Coefficients = tuple[float, ...]

# Elements of one job, a multiple of the four words of a Philox block: the temporaries stay in the first cache.
_BLOCK = 1 << 10


def normals(keys: Sequence[int], counts: Sequence[int]) -> NDArray[np.float32]:
    """The first `counts[r]` standard normals under `keys[r]`, for every r.

    Args:
        keys: 128-bit keys (`randomness.key`).
        counts: How many normals of each.

    Returns:
        float32 [sum(counts)], one key after the other.
    """
    sizes = np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(sizes)
    blocks = -(-sizes // _BLOCK)
    row = np.repeat(np.arange(len(blocks)), blocks)
    first = (np.arange(len(row)) - np.repeat(np.cumsum(blocks) - blocks, blocks)) * _BLOCK
    halves = np.array([(key & (2**64 - 1), key >> 64) for key in keys], dtype=np.uint64).reshape(-1, 2)
    out = np.empty(sizes.sum(), dtype=np.float32)
    run_jobs(_fill, len(row), row, first, halves, ends - sizes, ends, out)
    return out


def fast_normals(keys: Sequence[int], count: int) -> NDArray[np.float32]:
    """`count` standard normals under each key, [keys, count]: for draws that do not even last a trial.

    Philox4x32-10 and a polynomial in float32 (`normal_vectors.py`), in a quarter of the time of `normals`, with an
    absolute error below 2e-6 and sizes up to 6.2. Of a key of 128 bits the lower 64 count.
    """
    halves = np.array([key & (2**64 - 1) for key in keys], dtype=np.uint64)
    return normals_of(halves, 0, range(1), 0, 1, count).reshape(len(keys), count)


@kernel
def _fill(
    start: int, stop: int, row: Ints, first: Ints, keys: Words, starts: Ints, ends: Ints, out: NDArray[np.float32]
) -> None:
    """Job n is a block of elements: from first[n] on, under keys[row[n]]."""
    u, scratch = np.empty(_BLOCK, dtype=np.float64), np.empty(_BLOCK, dtype=np.float64)
    where = np.empty(_BLOCK, dtype=np.int64)
    for n in range(start, stop):
        r = row[n]
        begin = starts[r] + first[n]
        end = min(begin + _BLOCK, ends[r])
        uniforms(keys[r, 0], keys[r, 1], first[n] // 4, u[: (end - begin + 3) // 4 * 4])
        normal_quantiles(u[: end - begin], out[begin:end], where, scratch)


@kernel
def uniforms(low: np.uint64, high: np.uint64, block: int, out: NDArray[np.float64]) -> None:
    """The values u of this module's first lines from Philox block `block` on, into out [4 n]."""
    for n in range(len(out) // 4):
        words = _philox(np.uint64(block + n), low, high)
        for i in range(4):
            out[4 * n + i] = (np.float64(np.int64(words[i] >> np.uint64(12))) + 0.5) * 2.0**-52


@kernel
def _philox(counter: np.uint64, low: np.uint64, high: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """The four words of a block: ten rounds of a counter below 2^64 under the key high 2^64 + low."""
    a, b, c, d = counter, np.uint64(0), np.uint64(0), np.uint64(0)
    for _ in range(10):
        top_a, bottom_a = wide_product(np.uint64(0xD2E7470EE14C6C93), a)
        top_c, bottom_c = wide_product(np.uint64(0xCA5A826395121157), c)
        a, b, c, d = top_c ^ b ^ low, bottom_c, top_a ^ d ^ high, bottom_a
        low += np.uint64(0x9E3779B97F4A7C15)
        high += np.uint64(0xBB67AE8584CAA73B)
    return a, b, c, d


@kernel
def normal_quantiles(u: NDArray[np.float64], out: NDArray[np.floating], where: Ints, r: NDArray[np.float64]) -> None:
    """Standard normal quantiles of u [n] in (0, 1), into out [n] (AS 241, PPND16); where, r [n] are scratch.

    In loops without branches, which are vectorised: the polynomial of the centre for all, then those of the tails for
    the 15 % that are there.
    """
    tails = 0
    for n in range(len(u)):
        q = u[n] - 0.5
        out[n] = q * _ratio(_CENTRE, 0.180625 - q * q)
    for n in range(len(u)):
        where[tails] = n
        tails += abs(u[n] - 0.5) > 0.425
    for i in range(tails):
        r[i] = u[where[i]]
    for i in range(tails):
        r[i] = math.sqrt(-log(min(r[i], 1.0 - r[i])))
    for i in range(tails):
        n = where[i]
        tail = _ratio(_TAIL, r[i] - 1.6) if r[i] <= 5.0 else _ratio(_FAR_TAIL, r[i] - 5.0)
        out[n] = math.copysign(tail, u[n] - 0.5)


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


@kernel
def _ratio(coefficients: tuple[Coefficients, Coefficients], x: float) -> float:
    ratio: float = _horner(coefficients[0], x) / _horner(coefficients[1], x)
    return ratio


@kernel
def _horner(coefficients: Coefficients, x: float) -> float:
    total = coefficients[-1]
    for n in range(len(coefficients) - 2, -1, -1):
        total = total * x + coefficients[n]
    return total


# ln 2 in two parts: the first has 21 trailing zero bits, so that exponent * part is exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
# artanh(s)/s = sum s^(2j)/(2j + 1); |s| <= 0.1716 leaves a relative remainder below 1e-18.
_ARTANH = tuple(1.0 / (2 * j + 1) for j in range(12))


@kernel
def log(x: float) -> float:
    """Natural logarithm of a positive normal float64 from exactly rounded operations only.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)); ln x = e ln 2 + 2 artanh((m - 1)/(m + 1)).
    """
    bits = np.float64(x).view(np.int64)
    exponent = np.float64((bits >> 52) - 1022)
    m = np.int64((bits & 0xFFFFFFFFFFFFF) | 0x3FE0000000000000).view(np.float64)  # in [1/2, 1)
    if m < math.sqrt(0.5):
        m *= 2.0
        exponent -= 1.0
    s = (m - 1.0) / (m + 1.0)
    result: float = exponent * _LN2_HIGH + (2.0 * s * _horner(_ARTANH, s * s) + exponent * _LN2_LOW)
    return result
