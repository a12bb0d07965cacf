"""What the transfer benchmark trains and measures, and what it is expected to cost.

The rules, set before anything was run:

- One network of 128 LIF neurons, membrane time constants spread over a factor of 20; for every method of a table as
  many passes through the training data. A pass is one forward and backward pass of every sample, so that an attack has
  a fifth of the updates of forward noise.
- Nothing is tuned and nothing is chosen: levels and radii are those below on every task. Tried beforehand, on
  validation data and validation chips alone, were the time constants and how to train the "fitted" networks.
- Three seeds, and 100 test chips, which are the same for all networks.
- Mismatch of a level is normal with that relative standard deviation, unclipped: the engine takes the size of a
  negative time constant, and a neuron whose threshold is below its resting potential is tonic.
- The networks of the first bar are the headline's choices with its first seed; their chips, and those of the fitted
  networks, are drawn by no other benchmark.
- "fitted" was chosen from these trials on ecg4: dynapse1, 4,000 training samples, 40 epochs, mean of 10 validation
  chips with all that the profile states. Spikes by delta modulation with threshold 0.2, learning rate 1e-2: 84.0;
  after 20 epochs of relative noise without a limit 83.5, with the limit 81.8; threshold 0.1: 85.9; 0.1 and
  2e-2: 88.3; 0.1 and 4e-2: 87.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import headline_plan
from cells import Cell
from configuration import Configuration, Net, Stage, thinned
from headline import Headline
from transfer_measures import ALL_ROLES, Measure, attacks, fitted, one_percent, profiles, roles

from snnrobust.tasks import Task, load_task
from snnrobust.tasks.encoders import encode
from snnrobust.training import Adversarial, ForwardNoise, Standard

SEEDS = (1, 2, 3)
SPECIFICATION = 0.9
"""Accuracy that a good chip reaches, for the yield."""
TRAINED_FOR = ("dynapse1", "brainscales2", "pcm_ibm", "reram_wan2022")


@dataclass(frozen=True)
class Setting:
    """A task as it is used here.

    Attributes:
        task: Name of the task.
        split: What is apart between training and test, and how values become spikes where they do.
        passes: Passes through the training data of every training.
        most: Most test samples that are used, evenly spaced; None for all.
        few: Most training samples; None for all.
        encoding: How values become spikes; "analog" leaves them.
        options: The encoder's options.
    """

    task: str
    split: str
    passes: int
    most: int | None = None
    few: int | None = None
    encoding: str = "analog"
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Task:
        """The task, with the samples that are used."""
        return encode(thinned(load_task(self.task), train=self.few, test=self.most), self.encoding, **self.options)


@dataclass(frozen=True)
class Table:
    """Networks, and what is measured of each.

    Attributes:
        name: Name of the table, and of its CSV file.
        measure: What is measured.
        settings: Tasks.
        net: The network.
        methods: Stages of the training by name.
        runs: Folder of the run files of the networks.
    """

    name: str
    measure: Measure
    settings: tuple[Setting, ...]
    net: Net
    methods: Mapping[str, tuple[Stage, ...]]
    runs: str = "transfer_runs"

    def cells(self, seeds: Sequence[int] = SEEDS) -> Iterator[Cell]:
        """All networks, one seed of every task and method before the next."""
        for seed, setting in itertools.product(seeds, self.settings):
            for name, stages in self.methods.items():
                yield Cell(setting.task, setting.split, name, Configuration(self.net, stages), setting.passes, seed)

    def setting(self, task: str) -> Setting:
        """The setting of a task."""
        return next(setting for setting in self.settings if setting.task == task)


class OfHeadline(Table):
    """Networks of the headline's own family on ecg4 with its first seed, as soon as they have been tested there."""

    def cells(self, seeds: Sequence[int] = SEEDS) -> Iterator[Cell]:
        """The chosen networks whose test is in the headline's results; their run files are there, or made again."""
        here = Path(__file__).parent
        headline = Headline([one for one in headline_plan.SETTINGS if one.task == "ecg4"], here / "results", here)
        tested = headline.tested.done()
        for cell in headline.testing():
            wanted = cell.method in self.methods and cell.seed == headline_plan.SEEDS[0] and cell.seed in seeds
            if wanted and headline.tested.key_of(cell.values) in tested:
                yield cell


NET = Net(neurons=128, tau_mem=(3.0, 60.0))
STANDARD = {"standard": (Stage(objective=Standard()),)}
WEIGHTS_ONLY = {
    "noise": (Stage(objective=ForwardNoise(level=0.3)),),
    "attack": (Stage(objective=Adversarial(radius=0.1, steps=2, beta=0.25, forward_noise=0.3)),),
}
ALL_PARAMETERS = {
    "noise_all": (Stage(objective=ForwardNoise(level=0.3, roles=ALL_ROLES)),),
    "attack_all": (Stage(objective=Adversarial(radius=0.1, steps=2, beta=0.25, forward_noise=0.3, roles=ALL_ROLES)),),
}
FOR_PROFILES = {f"for_{name}": (Stage(objective=ForwardNoise(profile=name, through="theta")),) for name in TRAINED_FOR}
FITTED = {
    f"fitted_{name}": (Stage(objective=ForwardNoise(profile=name, through="theta"), learning_rate=2e-2, fan_in=64),)
    for name in ("dynapse1", "dynapse2")
}
"""Noise of the chip through its own storage, from the first update on, with as many synapses as a neuron has there."""
SETTINGS = (Setting("vowels", "utterances", 150), Setting("ecg4", "beats", 40, most=1000))

SPIKES = Setting("ecg4", "beats; delta 0.1", 30, most=1000, encoding="delta", options={"threshold": 0.1})

TABLES = (
    Table("roles", roles, SETTINGS, NET, {**STANDARD, **WEIGHTS_ONLY, **ALL_PARAMETERS}),
    Table("profiles", profiles, SETTINGS, NET, {**STANDARD, "noise": WEIGHTS_ONLY["noise"], **FOR_PROFILES}),
    Table("attacks", attacks, SETTINGS, NET, {**STANDARD, **WEIGHTS_ONLY}),
    OfHeadline(
        "first_bar",
        one_percent,
        (Setting("ecg4", "beats", 60),),
        headline_plan.WIDE,
        {name: () for name, method in headline_plan.METHODS.items() if method.family == "wide"},
        "headline_runs",
    ),
    Table("fitted", fitted, (SPIKES,), NET, FITTED),
)
"""A network of several tables is trained once, as long as its run file is there."""

PASS_SECONDS: dict[str, dict[str, float]] = {
    "vowels": {"": 0.06, "dynapse1": 1.3, "pcm_ibm": 0.35, "reram_wan2022": 0.13},
    "ecg4": {"": 5.4, "dynapse1": 10.6, "dynapse2": 12.0, "pcm_ibm": 8.5, "reram_wan2022": 6.3},
}
"""Seconds of one core for a pass through the training data, by task and the profile that is trained for."""
MEASURING_SECONDS: dict[tuple[str, str], float] = {
    ("roles", "vowels"): 15,
    ("roles", "ecg4"): 45,
    ("profiles", "vowels"): 20,
    ("profiles", "ecg4"): 70,
    ("attacks", "vowels"): 45,
    ("attacks", "ecg4"): 60,
    ("first_bar", "ecg4"): 350,
    ("fitted", "ecg4"): 85,
}
"""Seconds of one core for all chips of a network, by table and task."""


def training_hours(cell: Cell) -> float:
    """Expected hours of one core for a training."""
    seconds, (stage, *_) = PASS_SECONDS[cell.task], cell.configuration.stages
    profile = getattr(stage.objective, "profile", None) or ""
    return cell.configuration.spent(cell.passes) * seconds.get(profile, seconds[""]) / 3600


def budget(tables: Sequence[tuple[Table, Sequence[Cell]]]) -> Iterator[str]:
    """What each table costs, before it is run; a network is trained for the first that needs it."""
    total, before = 0.0, set[str]()
    for table, cells in tables:
        for task in dict.fromkeys(cell.task for cell in cells):
            own = [cell for cell in cells if cell.task == task]
            # The headline has trained its networks.
            new = {cell.file: cell for cell in own if cell.file not in before and not isinstance(table, OfHeadline)}
            before |= set(new)
            training = sum(map(training_hours, new.values()))
            measuring = len(own) * MEASURING_SECONDS[table.name, task] / 3600
            total += training + measuring
            yield (
                f"{table.name:10} {task:7} {len(own):2} networks, {own[0].passes} passes each: "
                f"training {len(new)} {training:.2f} h, measuring {measuring:.2f} h"
            )
    yield f"in all {total:.1f} hours of one core"
