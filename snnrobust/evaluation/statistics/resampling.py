"""Yield where the test samples are drawn anew, too: other patients or speakers would give other accuracies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError
from snnrobust.evaluation.statistics.yields import passes

_BYTES = 64_000_000
"""Memory that resampled accuracies may take."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Which samples each chip classifies correctly.

    Attributes:
        hits: One bit a sample, `np.packbits` along the last axis, [model, condition, instance, bytes] uint8.
        classes: Class of each sample [B].
        groups: Number of the group (patient, speaker) of each sample [B]; samples are their own groups where groups
            are not known.
    """

    hits: NDArray[np.uint8]
    classes: NDArray[np.int64]
    groups: NDArray[np.int64]


def two_way_interval(
    hits: NDArray[np.uint8],
    classes: NDArray[np.int64],
    groups: NDArray[np.int64],
    specification: float,
    *,
    balanced: bool = False,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """An approximate interval of the yield over chips and over test samples.

    Chips and groups of samples are each drawn with replacement, independently, and the yield is worked out anew; the
    interval is between the quantiles of these yields (pigeonhole bootstrap, Owen 2007, doi:10.1214/07-AOAS122, which
    overstates rather than understates the variance). Without a guarantee, and rough below some 50 chips or groups.

    Args:
        hits: `Samples.hits` of one model under one condition [K, bytes].
        classes: Class of each sample [B].
        groups: Number of each sample's group [B], 0 .. G - 1.
        specification: The accuracy that a good chip reaches, a fraction.
        balanced: Whether accuracy means the mean over classes.
        confidence: Coverage that is aimed at.
        replicates: Number of drawings.
        seed: Seed of the drawings.

    Raises:
        ConfigError: If there is no chip or no sample, or confidence is not in (0, 1).
    """
    if not len(hits) or not len(classes):
        raise ConfigError("hits: an interval needs at least one chip and one sample")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} must be between 0 and 1")
    random = np.random.Generator(np.random.Philox(seed))
    chips, number = len(hits), int(groups.max()) + 1
    right, sizes = _counts(hits, classes if balanced else np.zeros_like(classes), groups, number)
    shares = []
    for start in range(0, replicates, step := max(1, _BYTES // (8 * chips))):
        some = min(step, replicates - start)
        drawn = random.multinomial(number, np.full(number, 1 / number), size=some).astype(np.float32)
        accuracy = _accuracy(right, sizes, drawn)
        weights = random.multinomial(chips, np.full(chips, 1 / chips), size=some)
        shares.append((weights * passes(accuracy, specification)).sum(1) / chips)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(shares), [tail, 1 - tail])
    return float(low), float(high)


def numbered(groups: NDArray[np.generic] | None, samples: int) -> NDArray[np.int64]:
    """Groups of samples as numbers from 0; every sample is its own group where there are none."""
    if groups is None:
        return np.arange(samples)
    found: NDArray[np.int64] = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return found


def _counts(
    hits: NDArray[np.uint8], classes: NDArray[np.int64], groups: NDArray[np.int64], number: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Samples that each chip got right, and samples, by class and group: [C, K, G] and [C, G]."""
    known = np.unique(classes)
    right = np.zeros((len(known), len(hits), number), dtype=np.float32)
    sizes = np.zeros((len(known), number), dtype=np.float32)
    bits = np.unpackbits(hits, axis=1, count=len(classes))
    for c, own in enumerate(known):
        rows = np.flatnonzero(classes == own)
        rows = rows[np.argsort(groups[rows], kind="stable")]
        present, first = np.unique(groups[rows], return_index=True)
        right[c][:, present] = np.add.reduceat(bits[:, rows], first, axis=1, dtype=np.float32)
        sizes[c, present] = np.add.reduceat(np.ones(len(rows), dtype=np.float32), first)
    return right, sizes


def _accuracy(
    right: NDArray[np.float32], sizes: NDArray[np.float32], drawn: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Accuracy [R, K] of the chips on R drawings [R, G] of the groups; classes that were not drawn do not count."""
    accuracy, present = np.zeros((len(drawn), right.shape[1])), np.zeros((len(drawn), 1))
    for own, size in zip(right, sizes, strict=True):
        total = (drawn @ size)[:, None].astype(np.float64)
        accuracy += np.where(total > 0, (drawn @ own.T) / np.maximum(total, 1), 0.0)
        present += total > 0
    return accuracy / present
