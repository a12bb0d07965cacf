"""What the headline benchmark runs: tasks, methods, their trials, and what each is expected to cost.

The rules, set before anything was run:

- Every method of a family has the same network, the same number of trials and, on a task, the same number of passes
  through the training data in every training; a pass is one forward and backward pass of every sample. So forward noise
  is the compute-matched rival of each attack: where an attack takes five passes an update, noise has five times the
  epochs. Its level is tuned in .1 .2 .3 .5 .7, and .5 and .7 are tried with a ramp as well.
- The trial with the best mean validation accuracy over levels .1 to .7 is chosen, on 20 validation chips, with seed 0.
  The chosen configurations are trained with six other seeds and tested on 100 test chips, once.
- Papers compare at equal epochs. The rows "..._short" do: a choice with as many epochs as that of adversarial_noise.
- ecg4_patients has no validation data: it takes the choices of ecg4. A quarter of the test beats is used.
- The "paper" family has 128 neurons where the paper has 256, so that an attack converges within the passes.
- The "wide" family is this project's own: 512 neurons, membrane time constants spread over a factor of 20, a noise
  level drawn anew in each step. It has fewer trials than the paper's methods: one costs three times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from cells import Cell
from configuration import Configuration, Net, Stage, thinned

from snnrobust.tasks import Task, load_task
from snnrobust.training import Adversarial, Distillation, ForwardNoise, Standard
from snnrobust.training.objectives import Choices

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
TUNING_SEED, SEEDS = 0, (1, 2, 3, 4, 5, 6)
VALIDATION_CHIPS, TEST_CHIPS = 20, 100


@dataclass(frozen=True)
class Setting:
    """A task of the benchmark.

    Attributes:
        task: Name of the task.
        split: What is apart between training and test.
        passes: Passes through the training data of a training, by family.
        specification: Absolute accuracy that a good chip reaches, for the yield.
        choices_of: The task whose choices hold here, where there is no validation data; else its own.
        most: Most test samples that are used, evenly spaced; None for all.
        without: Methods that are left out.
        groups: Whether accuracies by group of test samples (speaker) are kept as well.
    """

    task: str
    split: str
    passes: dict[str, int]
    specification: float
    choices_of: str
    most: int | None = None
    without: tuple[str, ...] = ()
    groups: bool = False

    def load(self) -> Task:
        """The task, with the test samples that are used."""
        return thinned(load_task(self.task), test=self.most)


@dataclass(frozen=True)
class Method:
    """A method and the configurations that are tried for it.

    Attributes:
        family: "paper" or "wide"; one network and one number of passes.
        trials: Configurations, of which validation chooses one.
        rivals: Methods of the same family that it is compared with, seed by seed.
        short_of: A method whose choice this is, with as many epochs as the choice of adversarial_noise has.
    """

    family: str
    trials: tuple[Configuration, ...] = ()
    rivals: tuple[str, ...] = ()
    short_of: str | None = None


PAPER, WIDE = Net(neurons=128), Net(neurons=512, tau_mem=(3.0, 60.0))
SAMPLED = ForwardNoise(level=0.6, least=0.0)
FIRST, LATER = 1e-2, 4e-3
"""Learning rates at the start of a training, and of one that goes on from trained weights."""


def _paper(objective: Choices, learning_rate: float = FIRST, ema: float | None = None) -> Configuration:
    return Configuration(PAPER, (Stage(objective=objective, learning_rate=learning_rate, ema=ema),))


def _attack(
    radius: float, beta: float, noise: float | ForwardNoise = 0.0, steps: int = 2, after: Choices | None = None
) -> Configuration:
    """An attack for all passes, or for those that are left after two fifths without it."""
    attack = Adversarial(radius=radius, beta=beta, forward_noise=noise, steps=steps)
    if after is None:
        return _paper(attack)
    return Configuration(
        PAPER, (Stage(objective=after, share=0.4), Stage(objective=attack, share=0.6, learning_rate=LATER))
    )


def _wide(*stages: tuple[Choices, float, float]) -> Configuration:
    made = (Stage(objective=o, share=share, learning_rate=rate) for o, share, rate in stages)
    return Configuration(WIDE, tuple(made))


def _wide_attack(share: float, radius: float, beta: float) -> Configuration:
    """Noise first, and an attack beside it for the last share of the passes."""
    attack = Adversarial(radius=radius, beta=beta, steps=2, forward_noise=SAMPLED)
    return _wide((SAMPLED, 1 - share, FIRST), (attack, share, LATER))


METHODS: dict[str, Method] = {
    "forward_noise": Method(
        "paper",
        (
            *(_paper(ForwardNoise(level=level)) for level in (0.5, 0.3, 0.7)),
            *(_paper(ForwardNoise(level=level, ramp=0.5)) for level in (0.5, 0.7)),
            *(_paper(ForwardNoise(level=level)) for level in (0.2, 0.1)),
        ),
    ),
    "adversarial_noise": Method(
        "paper",
        (
            _attack(0.1, 0.25, 0.5),
            _attack(0.1, 0.1, 0.3),
            _attack(0.2, 0.5, 0.5, after=ForwardNoise(level=0.5)),
            _attack(0.2, 0.25, 0.5),
            _attack(0.1, 0.1, 0.3, steps=10),
            _attack(0.1, 0.25, 0.5, after=ForwardNoise(level=0.5)),
            _attack(0.1, 0.5, 0.3),
        ),
        rivals=("forward_noise", "forward_noise_short"),
    ),
    "adversarial": Method(
        "paper",
        (
            _attack(0.2, 0.5),
            _attack(0.1, 0.25),
            _attack(0.3, 1.0, after=Standard()),
            _attack(0.3, 0.5),
            _attack(0.1, 0.25, steps=10),
            _attack(0.2, 0.5, after=Standard()),
            _attack(0.1, 0.5),
        ),
        rivals=("forward_noise",),
    ),
    "standard": Method(
        "paper",
        (
            _paper(Standard()),
            _paper(Standard(), 3e-3),
            _paper(Standard(), 2e-2),
            _paper(Standard(), FIRST, 0.99),
            _paper(Standard(), 1e-3),
            _paper(Standard(), 3e-3, 0.99),
            _paper(Standard(), 2e-2, 0.99),
        ),
        rivals=("forward_noise", "adversarial_noise"),
    ),
    "wide_noise": Method(
        "wide",
        (
            _wide((SAMPLED, 1.0, FIRST)),
            _wide((replace(SAMPLED, devices=4), 1.0, FIRST)),
            _wide((Standard(), 0.25, FIRST), (Distillation(level=0.6, least=0.0), 0.75, FIRST)),
        ),
    ),
    "wide_adversarial": Method(
        "wide",
        (
            _wide_attack(0.33, 0.1, 0.25),
            _wide_attack(0.33, 0.2, 0.5),
            _wide_attack(0.67, 0.1, 0.25),
        ),
        rivals=("wide_noise",),
    ),
    "forward_noise_short": Method("paper", short_of="forward_noise"),
    "standard_short": Method("paper", rivals=("adversarial_noise",), short_of="standard"),
}

SETTINGS = (
    Setting("ecg4", "beats", {"paper": 100, "wide": 60}, 0.9, "ecg4"),
    Setting("keywords", "speakers", {"paper": 400, "wide": 200}, 0.7, "keywords", groups=True),
    Setting(
        "ecg4_patients", "patients", {"paper": 50, "wide": 30}, 0.6, "ecg4", most=3217, without=("wide_adversarial",)
    ),
)

SECONDS: dict[tuple[str, str], tuple[float, float]] = {
    ("ecg4", "paper"): (5.6, 0.1),
    ("ecg4", "wide"): (31.0, 0.33),
    ("keywords", "paper"): (0.47, 0.018),
    ("keywords", "wide"): (2.64, 0.1),
    ("ecg4_patients", "paper"): (3.6, 0.11),
    ("ecg4_patients", "wide"): (20.0, 0.37),
}
"""Seconds of one core for a pass through the training data, and for a chip's test samples, by task and family."""


def tuning(setting: Setting, trials: int | None = None) -> Iterator[Cell]:
    """The trials of a task, the first of every method before the second of any; of each method at most so many."""
    if setting.choices_of == setting.task:
        for row in zip_longest(*(method.trials[:trials] for method in METHODS.values())):
            for name, configuration in zip(METHODS, row, strict=True):
                if configuration is not None:
                    yield _cell(setting, name, configuration, TUNING_SEED)


def testing(setting: Setting, chosen: dict[str, Configuration], seeds: Sequence[int]) -> Iterator[Cell]:
    """The chosen configurations of a task, one seed of every method before the next."""
    for seed in seeds:
        for name, method in METHODS.items():
            if name in setting.without:
                continue
            if name in chosen:
                yield _cell(setting, name, chosen[name], seed)
            elif method.short_of in chosen and "adversarial_noise" in chosen:
                own = chosen[method.short_of]
                epochs = chosen["adversarial_noise"].epochs(setting.passes["paper"])
                passes = epochs * sum(stage.objective.passes for stage in own.stages)
                yield replace(_cell(setting, name, own, seed), passes=passes)


def _cell(setting: Setting, name: str, configuration: Configuration, seed: int) -> Cell:
    passes = setting.passes[METHODS[name].family]
    return Cell(setting.task, setting.split, name, configuration, passes, seed)


def minutes(cell: Cell, chips: int) -> float:
    """Expected minutes of one core for a cell: its passes, and its chips at every level but 0."""
    a_pass, a_chip = SECONDS[cell.task, METHODS[cell.method].family]
    moved = chips * sum(level > 0 for level in LEVELS) + 1
    return (cell.configuration.spent(cell.passes) * a_pass + moved * a_chip) / 60


def budget(settings: Sequence[Setting] = SETTINGS) -> Iterator[str]:
    """The plan as lines: what each row costs, before it is run."""
    first = {name: method.trials[0] for name, method in METHODS.items() if method.trials}
    total = 0.0
    for setting in settings:
        trials, tests = list(tuning(setting)), list(testing(setting, first, SEEDS))
        yield f"{setting.task} (split by {setting.split}; yield at {setting.specification:.0%}); hours of one core"
        for name in (name for name in METHODS if name not in setting.without):
            own = [cell for cell in trials if cell.method == name]
            final = [cell for cell in tests if cell.method == name]
            epochs = [cell.configuration.epochs(cell.passes) for cell in (*own, *final)]
            tuned = sum(minutes(cell, VALIDATION_CHIPS) for cell in own) / 60
            tested = sum(minutes(cell, TEST_CHIPS) for cell in final) / 60
            total += tuned + tested
            yield (
                f"  {name:20} {final[0].passes:4} passes, {min(epochs):3} to {max(epochs):3} epochs: "
                f"{len(own)} trials {tuned:.1f} h, {len(final)} seeds {tested:.1f} h"
            )
    yield f"in all {total:.1f} hours of one core, {total / 2:.1f} of two"
