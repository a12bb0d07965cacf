"""How many bits suffice: yield over the bits of weights and converters and over the size of the mismatch."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation.analyses import Piece, anew, readable
from snnrobust.evaluation.montecarlo import population, samples_for
from snnrobust.evaluation.requirement import Requirement
from snnrobust.evaluation.scores import chip_scores, deployed
from snnrobust.evaluation.statistics.yields import Yield
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.hardware.schema import rules
from snnrobust.hardware.schema.digital import WeightQuantization
from snnrobust.hardware.schema.scaling import scalable
from snnrobust.hardware.schema.yaml_lines import show
from snnrobust.progress import progress
from snnrobust.storage import Array, Group, Scalar
from snnrobust.tasks import Task
from snnrobust.training.data import precision, to_batch

CALIBRATION_SAMPLES = 256
"""Training samples, the first ones, on which ranges of converters are set."""


class Cell(NamedTuple):
    """One choice of precision at one size of the mismatch.

    Attributes:
        scale: Multiple of the profile's spreads.
        weight: Bits of a weight.
        adc: Bits of an ADC; None where the chip has none.
        found: The yield.
    """

    scale: float
    weight: int
    adc: int | None
    found: Yield


@dataclass(frozen=True)
class Bits:
    """Yields over bits and mismatch; the same chips in every cell.

    Attributes:
        profile: The chip.
        cells: One for each scale, number of weight bits and number of ADC bits.
        requirement: What is asked of the chips.
        notes: What has to be said of the chip.
        population: What chips and data were, as one sentence.
    """

    profile: Profile
    cells: tuple[Cell, ...]
    requirement: Requirement
    notes: tuple[str, ...] = ()
    population: str = ""

    def scales(self) -> list[float]:
        """Sizes of the mismatch, rising."""
        return sorted({cell.scale for cell in self.cells})

    def sufficient(self, scale: float) -> list[Cell]:
        """The smallest choices that suffice: their lower bound reaches the share, as do those of all finer ones tried.

        Where there are two kinds of bits, none of the choices returned is finer than another in both.
        """
        own = [cell for cell in self.cells if cell.scale == scale]
        enough = [c for c in own if all(self.requirement.verdict(d.found) == "pass" for d in own if _finer(d, c))]
        return [c for c in enough if not any(d is not c and _finer(c, d) for d in enough)]

    @property
    def statement(self) -> str:
        """The answer as one sentence, for the profile's own mismatch where it was tried."""
        scale = min(self.scales(), key=lambda s: abs(s - 1))
        found = self.sufficient(scale)
        at = f"at {scale:g} times the spreads of {self.profile.name}"
        if not found:
            return f"{self.requirement}: no number of bits that was tried suffices {at}"
        words = " or ".join(_words(cell) for cell in found)
        return f"{self.requirement}: {words} suffice {at}"

    def to_group(self) -> Group:
        """The yields as a group of a run file, with the dimension cell; no ADC has 0 bits."""
        columns = {
            "scale": [cell.scale for cell in self.cells],
            "weight_bits": [cell.weight for cell in self.cells],
            "adc_bits": [cell.adc or 0 for cell in self.cells],
            "yield": [cell.found.share for cell in self.cells],
            "passed": [cell.found.passed for cell in self.cells],
            "low": [cell.found.low for cell in self.cells],
            "high": [cell.found.high for cell in self.cells],
        }
        items = {name: Array(np.array(values), ("cell",)) for name, values in columns.items()}
        items["profile"] = Array(np.array(self.profile.to_yaml()))
        attrs: dict[str, Scalar] = {"profile": self.profile.name, "hash": self.profile.hash}
        attrs |= {"chips": self.cells[0].found.chips, **self.requirement.to_attrs(), "notes": json.dumps(self.notes)}
        return Group(items, {**attrs, "statement": self.statement, "population": self.population})

    @classmethod
    def from_group(cls, group: Group) -> Bits:
        """The yields of such a group.

        Raises:
            RunFileError: If the group holds something else.
        """
        with readable("bits"):
            asked, chips = Requirement.from_attrs(group.attrs), int(group.attrs["chips"])
            columns = (group.array(name).values for name in ("scale", "weight_bits", "adc_bits", "passed"))
            cells = tuple(
                Cell(float(scale), int(weight), int(adc) or None, asked.observed(int(passed), chips))
                for scale, weight, adc, passed in zip(*columns, strict=True)
            )
            profile = parse_profile(str(group.array("profile").values), file="profile")
            return cls(
                profile, cells, asked, tuple(json.loads(str(group.attrs["notes"]))), str(group.attrs["population"])
            )


def bits_needed(
    net: Deployable,
    profile: Profile,
    task: Task,
    requirement: Requirement,
    *,
    weight_bits: Sequence[int] = (2, 3, 4, 5, 6, 8),
    adc_bits: Sequence[int] = (4, 6, 8),
    scales: Sequence[float] = (0.5, 1.0),
    chips: int = 300,
    seed: int = 1,
    purpose: str = "test",
    show_progress: bool = False,
    piece: Piece = anew,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Bits:
    """The yield for each number of bits and size of the mismatch, on the same chips.

    Weights are stored as in the profile with another number of bits, and as uniform words where its scheme has none.
    ADCs are tried where the profile has one; their ranges, and those of DACs, are set on training samples.

    Args:
        net: A trained network.
        profile: The chip.
        task: Data.
        requirement: What is asked of the chips.
        weight_bits: Numbers of bits of a weight.
        adc_bits: Numbers of bits of an ADC.
        scales: Multiples of all static spreads of the profile.
        chips: Number of chips.
        seed: Seed of the chips.
        purpose: "test", or "validation".
        show_progress: Show progress on the standard error stream.
        piece: Keeps the accuracies of each choice (`analyses.Kept`).
        **deploy: Keywords of `Chip.deploy`: limits, unlisted, only.

    Raises:
        ConfigError: For an argument outside its domain, or too few chips to show the yield.
        ProfileError: If the profile's scheme allows no such number of bits.
    """
    _check(weight_bits, adc_bits, scales)
    requirement.most_failures(chips)
    converters: Sequence[int | None] = (None,)
    if profile.crossbar is not None and profile.crossbar.adc is not None:
        converters = sorted(set(adc_bits))
    data = samples_for(purpose, task)
    rows = slice(0, min(CALIBRATION_SAMPLES, len(task.train)))
    inputs = to_batch(task.train, rows, precision(net.nominal())).x
    choices = list(itertools.product(sorted(set(scales)), sorted(set(weight_bits)), converters))
    cells, notes = [], dict.fromkeys(_remarks(profile, converters))
    with progress("chips", chips * len(choices), show=show_progress) as shown:
        for scale, weight, adc in choices:
            chosen = with_bits(profile.scaled(dict.fromkeys(scalable(profile), scale)), weight, adc)
            deployment = deployed(chosen, net, chips, seed, purpose, calibration_data=inputs, **deploy)

            def scored(deployment: Deployment = deployment) -> dict[str, NDArray[np.float64]]:
                return {"accuracy": chip_scores(deployment, data, task.metric).accuracy}

            accuracy = piece(f"{scale!r}/{weight}/{adc}", scored)["accuracy"]
            found = requirement.observed(int(requirement.passes(accuracy).sum()), chips)
            cells.append(Cell(scale, weight, adc, found))
            notes |= dict.fromkeys(deployment.notes)
            shown.advance(chips, note=f"{_words(cells[-1])} at {scale:g}")
    about = population(task, len(data), chips, seed, purpose, 1)
    return Bits(profile, tuple(cells), requirement, tuple(notes), about)


def with_bits(profile: Profile, weight: int, adc: int | None) -> Profile:
    """The profile with other numbers of bits; uniform words where its weights are stored otherwise."""
    old = profile.quantization.weight
    if old.scheme in ("uniform", "subset_sum"):
        new = old.model_copy(update={"bits": weight, "evidence": "assumption", "source": None})
    else:
        new = WeightQuantization(scheme="uniform", bits=weight, evidence="assumption")
    update: dict[str, object] = {"quantization": profile.quantization.model_copy(update={"weight": new})}
    if adc is not None and profile.crossbar is not None and profile.crossbar.adc is not None:
        converter = profile.crossbar.adc.model_copy(update={"bits": adc, "evidence": "assumption", "source": None})
        update["crossbar"] = profile.crossbar.model_copy(update={"adc": converter})
    found = profile.model_copy(update=update)
    for path, message in rules.problems(found) if profile.kind != "relative" else ():  # which only has parameters
        raise ProfileError(f"{profile.name}: {show(path)}: {message}")
    return found


def _check(weight_bits: Sequence[int], adc_bits: Sequence[int], scales: Sequence[float]) -> None:
    for name, values, least in (("weight_bits", weight_bits, 1), ("adc_bits", adc_bits, 2)):
        if not values or not all(least <= value <= 16 for value in values):
            raise ConfigError(f"{name}: {list(values)} must be one or more of {least} to 16")
    if not scales or not all(0 <= scale < math.inf for scale in scales):
        raise ConfigError(f"scales: {list(scales)} must be one or more finite numbers >= 0")


def _remarks(profile: Profile, converters: Sequence[int | None]) -> list[str]:
    scheme = profile.quantization.weight.scheme
    lines = []
    if scheme == "per_type":
        lines.append("weights are uniform words here, not whole numbers of entries of a type as on the chip")
    if converters != (None,):
        lines.append(f"ranges of converters are set on at most {CALIBRATION_SAMPLES} training samples")
    return lines


def _finer(a: Cell, b: Cell) -> bool:
    """Whether a has at least the bits of b, of both kinds."""
    return a.weight >= b.weight and (a.adc or 0) >= (b.adc or 0)


def _words(cell: Cell) -> str:
    weight = f"{cell.weight} weight bits"
    return weight if cell.adc is None else f"{weight} and {cell.adc} ADC bits"
