"""Certificates: which samples every device in a box classifies correctly, by interval bound propagation.

A sample is certified if the lower bound of its true class's logit exceeds the upper bounds of all others, for all
devices with |z| <= k at once (Büchel, Faber and Muir, ICLR 2022, arXiv:2106.05009, figure S9). It is a statement about
a box, never about a share of chips: a box of k standard deviations in thousands of coordinates holds almost no chip.
The bounds are wide, so the largest k at which they still say something is small; it is a diagnostic that compares
networks. A statement about chips is a yield with its confidence interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.certificates.boxes import Pieces, common_coordinates, left_out, parameter_box
from snnrobust.evaluation.certificates.intervals import UNITS, Interval, hull
from snnrobust.evaluation.certificates.network import Bounds, check_supported, network_bounds
from snnrobust.hardware.mismatch import Placement, place
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.snn.network import Network
from snnrobust.storage import Array, Group, Scalar
from snnrobust.tasks import Split
from snnrobust.training.data import to_batch

STATEMENT = "for every device in the box; never a share of chips"
"""What has to be said beside every certificate."""
BATCH = 128
SMALLEST, LARGEST = 1e-7, 10.0
"""Ends of the search for the largest box, in standard deviations."""
FINEST = 1e-6
"""Finest relative precision of that search."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """What holds for every device in a box.

    Attributes:
        k: Half-width of the box in standard deviations of the profile; a fraction of |theta| for a relative level of 1.
        certified: True where every device classifies the sample correctly [B].
        low: Lower bounds of the logits [B, O].
        high: Upper bounds of the logits [B, O].
        certain: Share of the spikes (samples, steps, neurons) that are the same on all devices.
        excluded: What devices have and the box has not, such as outliers.
    """

    k: float
    certified: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    certain: float
    excluded: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the samples that are certified."""
        return float(self.certified.mean())


def certify(
    net: Deployable,
    data: Split,
    k: float,
    *,
    profile: Profile | None = None,
    calibration: str = "none",
    depth: int = 0,
) -> Certificate:
    """Bounds of the logits of all devices in a box, and which samples these certify.

    Args:
        net: A network of LIF or ALIF layers with a readout; its parameters' precision is that in which it runs.
        data: Samples, such as `task.test`.
        k: Half-width of the box in standard deviations.
        profile: The chip; None for the box |theta' - theta| <= k |theta| on weights and biases.
        calibration: What a lab did to the chip (`Chip.deploy`); its own coordinates are in the box, too.
        depth: How often a part of the box in which a sample is not certified is halved along one of the factors that
            all neurons share (a die's, an only core's), in turn; a sample is certified if it is in all parts.

    Raises:
        ConfigError: For a network without bounds, or an argument outside its domain.
        ProfileError: For a profile without bounds, such as one with an array of memristors.
    """
    if not 0 <= k < math.inf:
        raise ConfigError(f"k: {k} must be a finite number of standard deviations, 0 or more")
    if depth < 0:
        raise ConfigError(f"depth: {depth} must be 0 or more")
    search = _Search.of(check_supported(net), profile, calibration)
    parts = [search.over(data, slice(n, n + BATCH), k, depth) for n in range(0, len(data), BATCH)]
    sizes = np.array([len(part.certified) for part in parts])
    return Certificate(
        k,
        np.concatenate([part.certified.numpy() for part in parts]),
        np.concatenate([part.bounds.logits.low.numpy() for part in parts]),
        np.concatenate([part.bounds.logits.high.numpy() for part in parts]),
        float(np.average([part.bounds.certain for part in parts], weights=sizes)),
        search.excluded,
    )


def largest_k(
    net: Deployable,
    data: Split,
    *,
    profile: Profile | None = None,
    calibration: str = "none",
    share: float = 0.0,
    depth: int = 0,
    precision: float = 0.02,
) -> float:
    """The largest box in which more than a share of the samples is certified, by bisection of log k.

    With share 0 it is the largest k at which the certificate is not vacuous: one sample is still certified.

    Args:
        net: See `certify`.
        data: Samples.
        profile: See `certify`.
        calibration: See `certify`.
        share: Share of the samples, a fraction below 1.
        depth: See `certify`.
        precision: Relative width of the bracket at the end.

    Returns:
        The lower end of the bracket, at which the certificate was checked; 0 where even the smallest box of 1e-7 has
        none, and 10, the end of the search, where the largest has one.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"share: {share} must be a fraction from 0 to below 1")
    if not FINEST <= precision < math.inf:  # a bisection beyond the precision of numbers would not end
        raise ConfigError(f"precision: {precision} must be above 0, and at least {FINEST:g}")

    def holds(k: float) -> bool:
        return certify(net, data, k, profile=profile, calibration=calibration, depth=depth).share > share

    low, high = SMALLEST, LARGEST
    if not holds(low):
        return 0.0
    if holds(high):
        return high
    while high > low * (1 + precision):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@dataclass(frozen=True, eq=False)
class Certified:
    """Certificates over the size of the box.

    Attributes:
        boxes: One for each size.
        largest: The largest box in which a sample is certified.
        half: The largest in which more than half of them are.
        profile: Name of the profile; "" for fractions of weights and biases.
        samples: Number of samples.
    """

    boxes: tuple[Certificate, ...]
    largest: float
    half: float
    profile: str
    samples: int

    @property
    def unit(self) -> str:
        """What k counts."""
        return f"standard deviations of {self.profile}" if self.profile else "fractions of weights and biases"

    def to_group(self) -> Group:
        """The certificates as a group of a run file, with dimensions box, sample and output."""
        dims, found = ("box", "sample", "output"), self.boxes
        items = {
            "k": Array(np.array([c.k for c in found]), dims[:1]),
            "certain": Array(np.array([c.certain for c in found]), dims[:1]),
            "certified": Array(np.stack([c.certified for c in found]), dims[:2]),
            "low": Array(np.stack([c.low for c in found]), dims),
            "high": Array(np.stack([c.high for c in found]), dims),
        }
        attrs: dict[str, Scalar] = {
            "largest": self.largest,
            "half": self.half,
            "profile": self.profile,
            "statement": STATEMENT,
        }
        return Group(items, {**attrs, "excluded": json.dumps(found[0].excluded)})

    @classmethod
    def from_group(cls, group: Group) -> Certified:
        """The certificates of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("certificate"):
            names, attrs = ("k", "certified", "low", "high", "certain"), group.attrs
            excluded = tuple(json.loads(str(attrs["excluded"])))
            rows = zip(*(group.array(name).values for name in names), strict=True)
            boxes = tuple(Certificate(float(k), a, b, c, float(d), excluded) for k, a, b, c, d in rows)
            largest, half = float(attrs["largest"]), float(attrs["half"])
            return cls(boxes, largest, half, str(attrs["profile"]), len(boxes[0].certified))


def certify_boxes(
    net: Deployable,
    data: Split,
    sizes: Sequence[float],
    *,
    profile: Profile | None = None,
    calibration: str = "none",
    depth: int = 0,
    piece: Piece = anew,
) -> Certified:
    """Certificates in boxes of several sizes, and the largest boxes with one sample and with half of them.

    Args:
        net: See `certify`.
        data: Samples.
        sizes: Half-widths k of the boxes.
        profile: See `certify`.
        calibration: See `certify`.
        depth: See `certify`.
        piece: Keeps what was found in each box (`analyses.Kept`).

    Raises:
        ConfigError: See `certify`; or if there is no size or no sample.
        ProfileError: See `certify`.
    """
    if not sizes or not len(data):
        raise ConfigError("boxes: at least one size of a box and one sample are needed")
    options: dict[str, Any] = {"profile": profile, "calibration": calibration, "depth": depth}
    excluded: tuple[str, ...] = _Search.of(check_supported(net), profile, calibration).excluded

    def box(k: float) -> Certificate:
        def found() -> dict[str, NDArray[Any]]:
            c = certify(net, data, k, **options)
            return {"certified": c.certified, "low": c.low, "high": c.high, "certain": np.array(c.certain)}

        of = piece(f"box {k!r}", found)
        return Certificate(k, of["certified"], of["low"], of["high"], float(of["certain"]), excluded)

    def largest(share: float) -> float:
        def found() -> dict[str, NDArray[Any]]:
            return {"k": np.array(largest_k(net, data, share=share, **options))}

        return float(piece(f"largest {share!r}", found)["k"])

    name = "" if profile is None else profile.name
    return Certified(tuple(box(k) for k in sizes), largest(0.0), largest(0.5), name, len(data))


def spread_samples(data: Split, count: int) -> Split:
    """At most `count` samples, evenly spread over the data."""
    rows = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(np.int64))
    groups = None if data.groups is None else data.groups[rows]
    return Split(data.x[rows], data.y[rows], data.lengths[rows], data.indices[rows], groups)


class _Part(NamedTuple):
    """Bounds of some samples, and which of these are certified."""

    bounds: Bounds
    certified: Tensor


@dataclass(frozen=True)
class _Search:
    """A network on the profile whose box is searched."""

    net: Network
    placement: Placement
    theta: Mapping[str, Tensor]
    common: tuple[str, ...]

    @classmethod
    def of(cls, net: Network, profile: Profile | None, calibration: str) -> _Search:
        chip = Profile.relative(1.0) if profile is None else profile
        placement = place(chip, net.parameter_specs(), calibration=calibration)
        theta = {name: p.detach() for name, p in net.nominal().items()}
        return cls(net, placement, theta, common_coordinates(placement))

    @property
    def excluded(self) -> tuple[str, ...]:
        """What devices have and the box has not."""
        return left_out(self.placement)

    def over(self, data: Split, rows: slice, k: float, depth: int) -> _Part:
        """The bounds of a batch of samples."""
        batch = to_batch(data, rows, torch.float64)
        whole = dict.fromkeys(self.common, (-k, k))
        return self._inside(batch.x, batch.y, batch.lengths, k, whole, depth if self.common else 0, 0)

    def _inside(
        self, x: Tensor, y: Tensor, lengths: Tensor | None, k: float, pieces: Pieces, depth: int, turn: int
    ) -> _Part:
        """Bounds over a part of the box, halved where they do not certify."""
        box = parameter_box(self.placement, self.theta, k, pieces)
        unit = max(UNITS[p.dtype] for p in self.theta.values())
        found = network_bounds(self.net, box, x, lengths, unit=unit)
        certified = _separated(found.logits, y)
        open_ = (~certified).nonzero().squeeze(-1)
        if not depth or not len(open_):
            return _Part(found, certified)
        key = self.common[turn % len(self.common)]
        low, high = pieces[key]
        middle = (low + high) / 2
        halves = []
        for ends in ((low, middle), (middle, high)):
            of_open = None if lengths is None else lengths[open_]
            part = {**pieces, key: ends}
            halves.append(self._inside(x[:, open_], y[open_], of_open, k, part, depth - 1, turn + 1))
        certified[open_] = halves[0].certified & halves[1].certified
        both = hull(*(half.bounds.logits for half in halves))
        found.logits.low[open_], found.logits.high[open_] = both
        return _Part(found, certified)


def _separated(logits: Interval, y: Tensor) -> Tensor:
    """True where the true class's lower bound exceeds all other upper bounds [B]."""
    true = torch.nn.functional.one_hot(y, logits.low.shape[-1]).bool()
    others = logits.high.masked_fill(true, -torch.inf).amax(-1)
    return logits.low.gather(-1, y.unsqueeze(-1)).squeeze(-1) > others
