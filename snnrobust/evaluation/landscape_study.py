"""The landscape of a trained network as a result: lines, a slice and sharpness on test samples, kept in a run file."""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from snnrobust.errors import ConfigError
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.attack import box_profile, check_radius, dtype_of
from snnrobust.evaluation.certificates.boxes import left_out
from snnrobust.evaluation.certificates.certificate import spread_samples
from snnrobust.evaluation.landscape import Direction, Landscape, slope
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.storage import Array, Group, Scalar
from snnrobust.tasks import Task
from snnrobust.training.data import class_weights, to_batch

SCALES = (0.2, 1.0)
"""Size of a direction without a profile (the paper's, a fraction of |theta|) and with one (its standard deviations)."""
RADII = ((0.05, 0.1, 0.2), (0.5, 1.0, 2.0))
"""Half-widths of the boxes of the sharpness without a profile and with one."""


@dataclass(frozen=True, eq=False)
class LossLandscape:
    """Mean cross-entropy in nats on theta(alpha v), the device at a multiple of a direction v in the coordinates z.

    Attributes:
        alphas: Multiples of the directions on the lines [alpha], rising; the middle one is 0.
        random: Losses along random directions v ~ N(0, scale^2) [direction, alpha].
        adversarial: Losses along the direction of the worst device that an attack finds in the box of half-width
            scale / 2, which is at alpha = 1/2 [alpha].
        across: Multiples in the slice [across]; empty where there is none.
        slice: Losses at alpha v + beta w, with v the first random and w the adversarial direction [across, across].
        radii: Half-widths of boxes [radius], rising.
        sharpness: max L(z) - L(0) in each box as far as an attack finds it [radius]; it never falls.
        scale: Size of the directions, in the unit of the radii.
        profile: Name of the profile, whose standard deviations are the unit; "" for fractions of |theta|.
        classes: Number of classes; a guess has a loss of ln(classes).
        population: What the loss is a mean over.
        notes: What has to be said of the chip.
    """

    alphas: NDArray[np.float64]
    random: NDArray[np.float64]
    adversarial: NDArray[np.float64]
    across: NDArray[np.float64]
    slice: NDArray[np.float64]
    radii: tuple[float, ...]
    sharpness: NDArray[np.float64]
    scale: float
    profile: str
    classes: int
    population: str
    notes: tuple[str, ...] = ()

    @property
    def nominal(self) -> float:
        """The loss at alpha = 0."""
        return float(self.adversarial[len(self.alphas) // 2])

    @property
    def slopes(self) -> NDArray[np.float64]:
        """Mean |dL| / dalpha along each random direction [direction]; their mean is the paper's table S1."""
        return np.array([slope(line[None], self.alphas.tolist()) for line in self.random])

    @property
    def adversarial_slope(self) -> float:
        """Mean |dL| / dalpha along the adversarial direction."""
        return slope(self.adversarial[None], self.alphas.tolist())

    @property
    def unit(self) -> str:
        """What a coordinate of 1 is."""
        return f"σ of {self.profile}" if self.profile else "of each weight"

    def size(self, value: float) -> str:
        """A size in coordinates, with its unit."""
        return f"{value:g} {self.unit}" if self.profile else f"{100 * value:g} % {self.unit}"

    @property
    def statement(self) -> str:
        """Slopes and sharpness as one sentence."""
        found = self.slopes
        several = f" ({found.min():.3g} to {found.max():.3g})" if len(found) > 1 else ""
        count = f"{len(found)} random directions" if len(found) > 1 else "a random direction"
        return (
            f"the loss changes by {found.mean():.3g} nats{several} for {self.size(self.scale)} along {count}, and "
            f"by {self.adversarial_slope:.3g} along the adversarial one; an attack within {self.size(self.radii[-1])} "
            f"raises it from {self.nominal:.3g} by {self.sharpness[-1]:.3g}"
        )

    def to_group(self) -> Group:
        """The losses as a group of a run file, with dimensions direction, alpha, slice_random, slice_adversarial."""
        nats = {"units": "nat"}
        items = {
            "alpha": Array(self.alphas, ("alpha",)),
            "random": Array(self.random, ("direction", "alpha"), nats),
            "adversarial": Array(self.adversarial, ("alpha",), nats),
            "slice_random": Array(self.across, ("slice_random",)),
            "slice_adversarial": Array(self.across, ("slice_adversarial",)),
            "slice": Array(self.slice, ("slice_random", "slice_adversarial"), nats),
            "radius": Array(np.array(self.radii, dtype=np.float64), ("radius",)),
            "sharpness": Array(self.sharpness, ("radius",), nats),
        }
        attrs: dict[str, Scalar] = {"statement": self.statement, "population": self.population}
        attrs |= {"scale": self.scale, "profile": self.profile, "classes": self.classes}
        return Group(items, {**attrs, "notes": json.dumps(self.notes)})

    @classmethod
    def from_group(cls, group: Group) -> LossLandscape:
        """The losses of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("landscape"):
            of, attrs = {name: np.array(a.values, dtype=np.float64) for name, a in group.arrays()}, group.attrs
            found = cls(
                of["alpha"],
                of["random"],
                of["adversarial"],
                of["slice_random"],
                of["slice"],
                tuple(of["radius"].tolist()),
                of["sharpness"],
                float(attrs["scale"]),
                str(attrs["profile"]),
                int(attrs["classes"]),
                str(attrs["population"]),
                tuple(json.loads(str(attrs["notes"]))),
            )
            _ = found.statement  # which needs every line
            return found


def landscape(
    net: Deployable,
    task: Task,
    *,
    profile: Profile | None = None,
    calibration: str = "none",
    directions: int = 5,
    reach: float = 2.0,
    points: int = 41,
    across: int = 15,
    scale: float | None = None,
    radii: Sequence[float] | None = None,
    steps: int = 20,
    restarts: int = 3,
    samples: int = 300,
    seed: int = 1,
    piece: Piece = anew,
) -> LossLandscape:
    """The loss of a trained network along random directions and an adversarial one, in the plane of two, and in boxes.

    Directions and losses are of the same test samples: this is the shape of one function, no forecast for others.

    Args:
        net: A trained network.
        task: Data; the test data is used.
        profile: The chip, whose standard deviations are the unit; without one, fractions of weights and biases.
        calibration: What a lab did to it (`Chip.deploy`).
        directions: Random directions.
        reach: Lines and slice go from -reach to reach.
        points: Points on a line, odd.
        across: Points on a side of the slice, odd; 0 for no slice.
        scale: Size of the directions: 0.2 without a profile (the paper's), 1 with one.
        radii: Half-widths of the boxes of the sharpness; `RADII` by default.
        steps: Ascent steps of each attack.
        restarts: Starts of the attacks that give the sharpness.
        samples: Most samples, evenly spread over the test data.
        seed: Seed of directions and attacks.
        piece: Keeps every line, row and box (`analyses.Kept`).

    Raises:
        ConfigError: For an argument outside its domain.
    """
    size = SCALES[profile is not None] if scale is None else scale
    boxes = tuple(sorted(float(radius) for radius in (RADII[profile is not None] if radii is None else radii)))
    _check(directions, reach, points, across, size, boxes, samples)
    with warnings.catch_warnings():  # the notes say the same
        warnings.simplefilter("ignore")
        base = Chip(box_profile(profile)).deploy(net, 1, seed, "attack", calibration=calibration)
    data, weights = spread_samples(task.test, samples), class_weights(task)
    around = Landscape(net, base.placement, to_batch(data, slice(None), dtype_of(net)), weights)
    alphas, sides = _symmetric(reach, points), _symmetric(reach, across) if across else np.zeros(0)
    drawn = around.random_directions(directions, scale=size, seed=seed)

    def line(v: Direction) -> dict[str, NDArray[np.float64]]:
        return {"loss": around.along([v], alphas.tolist())[0]}

    def adversarial() -> dict[str, NDArray[np.generic]]:
        v = around.adversarial_direction(size / 2, scale=size, steps=steps, seed=seed)
        return {**line(v), **{f"z/{key}": value.numpy() for key, value in v.items()}}

    def row(alpha: float) -> dict[str, NDArray[np.float64]]:
        return {"loss": around.slice(drawn[0], worst, [alpha], sides.tolist())[0]}

    def sharp(radius: float) -> dict[str, NDArray[np.float64]]:
        return {"rise": np.array(around.sharpness(radius, steps=steps, restarts=restarts, seed=seed))}

    lines = [piece(f"random {n}", functools.partial(line, v))["loss"] for n, v in enumerate(drawn)]
    attacked = piece("adversarial", adversarial)
    worst = {key[2:]: torch.from_numpy(value) for key, value in attacked.items() if key.startswith("z/")}
    rows = [piece(f"slice {alpha!r}", functools.partial(row, alpha))["loss"] for alpha in sides.tolist()]
    rises = [float(piece(f"sharpness {radius!r}", functools.partial(sharp, radius))["rise"]) for radius in boxes]
    absent = left_out(base.placement)
    return LossLandscape(
        alphas,
        np.stack(lines),
        attacked["loss"],
        sides,
        np.stack(rows) if rows else np.zeros((0, 0)),
        boxes,
        np.maximum.accumulate(np.array(rises)),  # boxes are nested
        size,
        "" if profile is None else profile.name,
        len(task.classes),
        f"mean cross-entropy of {len(data)} test samples of {task.name}; directions and attacks of the same samples",
        (*base.notes, *([f"lines and slice leave out {', '.join(absent)}"] if absent else [])),
    )


def _symmetric(reach: float, count: int) -> NDArray[np.float64]:
    """-reach to reach with an exact 0 in the middle."""
    half = count // 2
    return np.asarray(reach * np.arange(-half, half + 1) / half)


def _check(
    directions: int, reach: float, points: int, across: int, scale: float, radii: Sequence[float], samples: int
) -> None:
    for name, count in (("directions", directions), ("samples", samples)):
        if count < 1:
            raise ConfigError(f"{name}: {count} must be at least 1")
    for name, count in (("points", points), ("across", across)):
        if (count or name == "points") and (count < 3 or count % 2 == 0):
            none = " (or 0)" if name == "across" else ""
            raise ConfigError(f"{name}: {count} must be odd and at least 3{none}: the middle is the network itself")
    for name, size in (("reach", reach), ("scale", scale)):
        if not 0 < size < math.inf:
            raise ConfigError(f"{name}: {size} must be finite and above 0")
    if not radii:
        raise ConfigError("radii: at least one half-width of a box is needed")
    for radius in radii:
        check_radius(radius)
