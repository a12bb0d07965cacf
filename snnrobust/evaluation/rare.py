"""Rare failures: the share of bad chips where plain Monte Carlo would need tens of thousands of them.

Both methods follow the profile's distributions far out, where hardly any chip was ever measured: what they say holds
under the profile's assumed tail.

- Importance sampling draws a few factors z that whole chips share from q instead of N(0, I), where
  q = d N(0, I) + (1 - d) sum_j c_j N(m_j, I) with centres m_j at the bad chips of a wider pilot, and weighs every chip
  by N(z; 0, I) / q(z), at most 1 / d (defensive: Hesterberg 1995, doi:10.1080/00401706.1995.10484303).
- Subset simulation goes through ever lower scores, P(bad) = prod P(score <= b_i | score <= b_(i-1)), and moves chips
  inside each level by z -> r z + sqrt(1 - r^2) xi, which keeps N(0, I) in any dimension (Au and Beck 2001,
  doi:10.1016/S0266-8920(01)00019-4; the moves: Papaioannou et al. 2015, doi:10.1016/j.probengmech.2015.06.006). Its
  interval is that of independent runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, stdtrit

from snnrobust.errors import ConfigError

TAIL = "under the profile's assumed tail"
"""What has to be said beside every rare probability."""
FEWEST_RUNS = 10
Coordinates = NDArray[np.float32]
"""Standard normal coordinates of chips [K, D]."""
Score = Callable[[Coordinates], NDArray[np.float64]]
"""Scores [K] of chips with these coordinates."""
NumberedScore = Callable[[Coordinates, range], NDArray[np.float64]]
"""Scores [K] of the chips of these numbers, with these common factors and all other coordinates of their own."""
_RATE = 0.44  # share of moves that are to be accepted
_LEVELS = 12  # of a run of subset simulation; with 10 % each, down to 1e-12


class RareFailures(NamedTuple):
    """The share of bad chips, under the profile's assumed tail.

    Attributes:
        share: The estimate.
        low: Lower end of its approximate two-sided 95 % interval.
        high: Upper end; NaN as all others where no run came down to a bad chip.
        method: How it was found, with what its interval rests on.
        effective: Importance sampling: how many independent bad chips the weighted ones are worth. Subset simulation:
            number of runs that came down to a bad chip.
        chips: Chips that were simulated, pilots included.
    """

    share: float
    low: float
    high: float
    method: str
    effective: float
    chips: int


def importance_sampling(
    score: NumberedScore,
    dimensions: int,
    threshold: float,
    *,
    chips: int = 2000,
    pilot: int = 1000,
    widening: float = 3.0,
    defence: float = 0.5,
    seed: int = 0,
) -> RareFailures:
    """The share of chips below a threshold, by importance sampling on their common factors.

    Args:
        score: Scores of numbered chips with given common factors.
        dimensions: Number D of factors; with more than some 20 the weights degenerate.
        threshold: A chip is bad below it.
        chips: Chips that are weighed.
        pilot: Chips that look for where chips are bad; they count for nothing else.
        widening: Standard deviation of the pilot's factors.
        defence: Share d of chips that are drawn from N(0, I).
        seed: Seed of the factors.

    Returns:
        The share, with an interval for ln of it from the variance of the weights: approximate, and too short where
        `effective` is below some 30.

    Raises:
        ConfigError: For an argument outside its domain.
    """
    if dimensions < 1:
        raise ConfigError(f"dimensions: {dimensions} must be at least 1: the profile has no factor that chips share")
    if not 0 < defence <= 1 or not widening >= 1 or chips < 2 or pilot < 1:
        raise ConfigError("importance sampling: needs 0 < defence <= 1, widening >= 1, chips >= 2 and pilot >= 1")
    random = np.random.Generator(np.random.Philox(seed))
    wide = widening * _normals(random, pilot, dimensions)
    bad = wide[score(wide, range(pilot)) < threshold]
    centres = bad if len(bad) else np.zeros((1, dimensions), dtype=np.float32)
    shares = _shares(centres, widening)
    z = _normals(random, chips, dimensions)
    moved = random.random(chips) >= defence
    z[moved] += centres[random.choice(len(centres), size=int(moved.sum()), p=shares)]
    # ln N(z; m, I) / N(z; 0, I) = z m - |m|^2 / 2
    ratio = logsumexp(z.astype(np.float64) @ centres.T - 0.5 * (centres**2).sum(1), axis=1, b=shares)
    weights = 1 / (defence + (1 - defence) * np.exp(ratio))
    own = weights * (score(z, range(pilot, pilot + chips)) < threshold)
    share, total = float(own.mean()), chips + pilot
    method = f"importance sampling on {dimensions} common factors, {chips} weighted chips"
    if share == 0:  # as from the defensive part alone, where none of n chips is bad
        return RareFailures(0.0, 0.0, -math.log(0.025) / (defence * chips), method, 0.0, total)
    spread = float(own.std(ddof=1)) / (math.sqrt(chips) * share)
    reach = math.exp(float(stdtrit(chips - 1, 0.975)) * spread)
    effective = float(own.sum() ** 2 / (own**2).sum())
    return RareFailures(share, share / reach, min(1.0, share * reach), method, effective, total)


def _normals(random: np.random.Generator, chips: int, dimensions: int) -> Coordinates:
    return random.standard_normal((chips, dimensions), dtype=np.float32)


def _shares(bad: Coordinates, widening: float) -> NDArray[np.float64]:
    """How much of the mixture is around each bad chip of the pilot: more where it is likelier under N(0, I).

    Half the logarithm of the likelihood ratio: the whole of it would leave a few chips, perhaps on one side alone.
    """
    log_weight = 0.25 * (bad.astype(np.float64) ** 2).sum(1) * (1 / widening**2 - 1)
    chance = np.exp(log_weight - log_weight.max())
    return np.asarray(chance / chance.sum())


def subset_simulation(
    score: Score,
    dimensions: int,
    threshold: float,
    *,
    chips: int = 500,
    fraction: float = 0.1,
    runs: int = FEWEST_RUNS,
    seed: int = 0,
) -> RareFailures:
    """The share of chips below a threshold, by subset simulation on all their coordinates.

    Args:
        score: Scores of chips with given coordinates [K, D], a function of these alone.
        dimensions: Number D of coordinates.
        threshold: A chip is bad below it.
        chips: Chips in each level of a run.
        fraction: Share of chips that go on to the next level.
        runs: Independent runs, at least 10.
        seed: Seed of the first run.

    Returns:
        The mean over runs, with the interval of the mean of a lognormal (Cox's) from their spread. A level whose bar is
        the k-th lowest of n scores counts as (k - 1) / n: it then is without bias for independent chips, whose share
        below the bar has E[1 / share] = n / (k - 1). Where a run does not come down to a bad chip there is no interval.

    Raises:
        ConfigError: For an argument outside its domain.
    """
    if runs < FEWEST_RUNS:
        raise ConfigError(f"runs: {runs} must be at least {FEWEST_RUNS}, from which the interval comes")
    if dimensions < 1 or not 0 < fraction <= 0.5:
        raise ConfigError("subset simulation: needs coordinates and 0 < fraction <= 0.5")
    if chips * fraction < 2:
        raise ConfigError(f"chips: {chips} must be at least {math.ceil(2 / fraction)}, for 2 to go on")
    found = [_run(score, dimensions, threshold, chips, fraction, seed * 1000 + run) for run in range(runs)]
    shares, total = np.array([share for share, _ in found]), sum(count for _, count in found)
    method, reached = f"subset simulation, {runs} runs of {chips} chips a level", shares > 0
    if not reached.all():
        return RareFailures(float(shares.mean()), math.nan, math.nan, method, float(reached.sum()), total)
    logs = np.log(shares)
    mean, variance = float(logs.mean()), float(logs.var(ddof=1))
    error = math.sqrt(variance / runs + variance**2 / (2 * (runs - 1)))
    reach = float(stdtrit(runs - 1, 0.975)) * error
    low, high = (math.exp(mean + variance / 2 + side * reach) for side in (-1, 1))
    return RareFailures(float(shares.mean()), low, high, method, float(runs), total)


def _run(score: Score, dimensions: int, threshold: float, chips: int, fraction: float, seed: int) -> tuple[float, int]:
    """One run: the share of bad chips, 0 where it does not come down to them; and the chips it simulated."""
    random = np.random.Generator(np.random.Philox(seed))
    z, keep = _normals(random, chips, dimensions), round(chips * fraction)
    scores, share, count, reach = score(z), 1.0, chips, 0.6
    for _ in range(_LEVELS):
        bad = scores < threshold
        if bad.sum() >= keep:
            return share * float(bad.mean()), count
        bar = float(np.partition(scores, keep - 1)[keep - 1])
        inside = np.flatnonzero(scores <= bar)
        if len(inside) > chips / 2:  # too many equal scores: no way down
            return share * float(bad.mean()), count
        share *= (len(inside) - 1) / chips
        z, scores, reach, moves = _moved(score, z[inside], scores[inside], bar, chips, reach, random)
        count += moves
    return 0.0, count


def _moved(
    score: Score,
    seeds: Coordinates,
    own: NDArray[np.float64],
    bar: float,
    chips: int,
    reach: float,
    random: np.random.Generator,
) -> tuple[Coordinates, NDArray[np.float64], float, int]:
    """As many chips with a score of at most `bar`, in chains from those given; how far the moves went; chips tried."""
    z, scores, count = seeds, own, 0
    states: list[Coordinates] = []
    found: list[NDArray[np.float64]] = []
    while count < chips:
        moved = math.sqrt(1 - reach**2) * z + reach * _normals(random, *z.shape)
        tried = score(moved)
        good = tried <= bar
        z, scores = np.where(good[:, None], moved, z), np.where(good, tried, scores)
        states.append(z)
        found.append(scores)
        count += len(z)
        reach = float(np.clip(reach * math.exp(good.mean() - _RATE), 0.05, 0.999))
    return np.concatenate(states)[:chips], np.concatenate(found)[:chips], reach, count
