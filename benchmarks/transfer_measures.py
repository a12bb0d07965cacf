"""What the transfer benchmark measures of a trained network: its accuracy on chips of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from configuration import CHIP_SEED
from numpy.typing import NDArray

from snnrobust.evaluation import benchmark, chip_yield, quantile
from snnrobust.evaluation.montecarlo import nominal_accuracy
from snnrobust.evaluation.worst_case import worst_case
from snnrobust.hardware import Profile, load_profile
from snnrobust.snn import Network
from snnrobust.tasks import Task
from snnrobust.training.objectives import PAPER_ROLES

NEURON_ROLES = ("tau_mem", "tau_syn", "v_th")
ALL_ROLES = (*PAPER_ROLES, *NEURON_ROLES)
MOVED = {"weights": PAPER_ROLES, "neurons": NEURON_ROLES, "all": ALL_ROLES}
"""What mismatch moves, by name: weights and biases; time constants and thresholds; both."""
DEPLOYED_ON = ("dynapse1", "dynapse2", "brainscales2", "pcm_ibm", "reram_wan2022")
STORED_COARSELY = ("dynapse1", "dynapse2")
"""Profiles that are measured without quantisation, limits and faults as well: with mismatch only."""
CALIBRATION_SAMPLES = 100
FRESH_SEED = 2
"""Seed of chips that no other benchmark draws."""
NOMINAL = "nominal"


@dataclass(frozen=True)
class Size:
    """How much of everything is measured.

    Attributes:
        chips: Chips of each condition.
        many: Chips from which the 1 % quantile is bounded.
        levels: Relative levels, and half-widths of the attacked boxes as fractions.
        steps: Steps of an attack.
        restarts: Starts of an attack.
        samples: Training samples that are attacked.
    """

    chips: int = 100
    many: int = 1000
    levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    steps: int = 10
    restarts: int = 5
    samples: int = 300


class Measured(NamedTuple):
    """Accuracies of chips under one condition.

    Attributes:
        condition: What the chips are.
        level: How large it is, a fraction; None where that is the profile's.
        accuracy: Of each chip [K].
    """

    condition: str
    level: float | None
    accuracy: NDArray[np.float64]

    def row(self, specification: float) -> dict[str, str]:
        """Columns of a CSV file: summary over the chips."""
        each = self.accuracy
        enough = quantile(each, 0.01, 0.9)  # one-sided 95 %
        numbers = {
            "mean": each.mean(),
            "std": each.std(ddof=1) if len(each) > 1 else 0.0,
            "minimum": each.min(),
            "quantile05": np.quantile(each, 0.05),
            "yield90": chip_yield(each, specification).share,
        }
        return {
            "condition": self.condition,
            "level": "" if self.level is None else f"{self.level:g}",
            "chips": str(len(each)),
            **{name: f"{value:.4f}" for name, value in numbers.items()},
            "bound01": f"{enough.low:.4f}" if np.isfinite(enough.low) else "",
        }


Measure: TypeAlias = Callable[[Network, Task, Size], Iterator[Measured]]


def roles(net: Network, task: Task, size: Size) -> Iterator[Measured]:
    """Mismatch of weights, of time constants and thresholds, and of all, at every level."""
    yield nominal(net, task)
    kinds = [(name, level) for name in MOVED for level in size.levels]
    conditions = [Profile.relative(level, roles=MOVED[name]) for name, level in kinds]
    for (name, level), each in zip(kinds, _chips(net, task, conditions, size.chips), strict=True):
        yield Measured(name, level, each)


def profiles(net: Network, task: Task, size: Size) -> Iterator[Measured]:
    """Chips of several profiles, with all that these state; converters are set on training data."""
    yield nominal(net, task)
    whole = [load_profile(name) for name in DEPLOYED_ON]
    data = torch.from_numpy(task.train.x[:CALIBRATION_SAMPLES]).float().transpose(0, 1).contiguous()
    for profile, each in zip(whole, _chips(net, task, whole, size.chips, calibration_data=data), strict=True):
        yield Measured(profile.name, None, each)
    coarse = [profile for profile in whole if profile.name in STORED_COARSELY]
    for profile, each in zip(coarse, _chips(net, task, coarse, size.chips, only="mismatch"), strict=True):
        yield Measured(f"{profile.name}, mismatch only", None, each)


def attacks(net: Network, task: Task, size: Size) -> Iterator[Measured]:
    """Gaussian mismatch, random vertices and attacked devices of the same size; attacked are training data."""
    found = worst_case(
        net, task, size.levels, steps=size.steps, restarts=size.restarts, chips=size.chips, samples=size.samples,
        seed=CHIP_SEED,
    )  # fmt: skip
    yield Measured(NOMINAL, 0.0, np.array([found.nominal]))
    for r, radius in enumerate(found.radii):
        yield Measured("gaussian", radius, found.gaussian[r])
        yield Measured("vertices", radius, found.vertices[r])
        for loss, scores in found.attacked.items():
            yield Measured(f"attack {loss}", radius, scores[r : r + 1])


def one_percent(net: Network, task: Task, size: Size) -> Iterator[Measured]:
    """So many fresh chips of dynapse1, with mismatch only, that the 1 % quantile has a bound."""
    yield nominal(net, task)
    (each,) = _chips(net, task, [load_profile("dynapse1")], size.many, seed=FRESH_SEED, only="mismatch")
    yield Measured("dynapse1, mismatch only", None, each)


def fitted(net: Network, task: Task, size: Size) -> Iterator[Measured]:
    """The same of chips with all that the profile states, where a network that does not fit is refused."""
    yield nominal(net, task)
    for name in STORED_COARSELY:
        (each,) = _chips(net, task, [load_profile(name)], size.many, seed=FRESH_SEED, limits="enforce")
        yield Measured(name, None, each)


def nominal(net: Network, task: Task) -> Measured:
    """The network on no chip."""
    return Measured(NOMINAL, 0.0, np.array([nominal_accuracy(net, task.test, task.metric)]))


def _chips(
    net: Network,
    task: Task,
    conditions: Iterable[Profile],
    chips: int,
    *,
    seed: int = CHIP_SEED,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> NDArray[np.float64]:
    """Accuracy of each chip [condition, K]."""
    conditions = list(conditions)
    found: NDArray[np.float64] = benchmark(
        {"net": net}, conditions, task, instances=chips, seed=seed, show_progress=False, **deploy
    ).accuracy[0]
    return found
