r"""Every shipped profile at a glance: what a usual and a robust network reach on its chips, 100 of most.

    python benchmarks/hardware_atlas.py            ecg4, or vowels where that data is not there
    python benchmarks/hardware_atlas.py --quick    vowels, few chips, nothing committed is touched

Trains the networks, then deploys them on the same chips of every profile: in every mode of calibration that the profile
has numbers for, with its limits ignored and enforced, and on crossbars from 1 s to 1 year after programming. Writes
results/hardware_atlas.csv and .png (of vowels hardware_atlas_vowels) beside this file. Networks and finished chips are
kept in build/atlas, from which an interrupted atlas goes on.

    standard   cross-entropy alone
    robust     parameter attack and forward noise (Büchel, Faber and Muir, ICLR 2022)
    fitted     robust, with at most 64 synapses a neuron and spikes as inputs (delta modulation), so that it fits a chip
               with these limits; only where limits are enforced
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from hardware_atlas_figure import draw

from snnrobust.errors import ProfileError, SnnRobustError, TaskError
from snnrobust.evaluation import benchmark
from snnrobust.evaluation.certificate import spread_samples
from snnrobust.evaluation.statistics import Summary
from snnrobust.evaluation.study import network_for
from snnrobust.hardware import Chip, Profile, list_profiles, load_profile
from snnrobust.hardware.calibration import IN_THE_LOOP, modes_with_numbers
from snnrobust.progress import progress
from snnrobust.storage import open_run
from snnrobust.tasks import Task, load_task
from snnrobust.training import Adversarial, FanInLimit, Objective, Standard, TrainedModel, Tuning, models_of, train

HERE = Path(__file__).parent
SPECIFICATION = 0.9
TIMES = (1.0, 3600.0, 86_400.0, 2_592_000.0, 31_536_000.0)  # s: a second, an hour, a day, 30 days, a year
FAN_IN, CALIBRATION_SAMPLES = 64, 100
TEST_SAMPLES = 500
"""Test samples, spread over the test part: to read a crossbar at every step takes ten times as long as spikes."""
TUNING = Tuning(epochs=2, samples=300)


class Row(NamedTuple):
    """One line of the CSV: chips of a profile under one condition. Accuracies are fractions."""

    task: str
    split: str
    network: str
    profile: str
    calibration: str
    limits: str
    time_s: float | None
    chips: int
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    quantile05: float | None = None
    yield90: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


class Atlas:
    """Networks of a task, deployed; whatever is the same by construction is simulated once.

    Args:
        task: Data as analog currents.
        spikes: The same data as spikes.
        folder: For run files, from which an interrupted atlas goes on.
        hidden: Hidden neurons.
        epochs: Passes over the training data.
        chips: Chips of each profile.
    """

    def __init__(self, task: Task, spikes: Task, folder: Path, *, hidden: int, epochs: int, chips: int) -> None:
        self.folder, self.chips, self.hidden, self.epochs = folder, chips, hidden, epochs
        self.nets = {name: self._trained(name, task, make) for name, make in OBJECTIVES.items()}
        self.fitted = self._trained("fitted", spikes, OBJECTIVES["robust"], fan_in=FAN_IN)
        self.task, self.spikes = (replace(t, test=spread_samples(t.test, TEST_SAMPLES)) for t in (task, spikes))
        x = torch.from_numpy(task.train.x[:CALIBRATION_SAMPLES]).float()
        self.samples = x.transpose(0, 1).contiguous()

    def rows(self, profile: Profile) -> Iterator[Row]:
        """All lines of a profile."""
        plain = list(self._ignored(profile))
        yield from plain
        yield from self._enforced(profile, {row.network: row for row in plain if row.calibration == "none"})
        if moves(profile):
            for time in TIMES:
                yield from self._later(profile, time)

    def _ignored(self, profile: Profile) -> Iterator[Row]:
        modes = list(modes_with_numbers(profile))
        if profile.crossbar is None:
            yield from self._modes(profile, modes, self.chips, f"{profile.name}.h5")
            return
        modes.remove(IN_THE_LOOP)
        yield from self._modes(profile, modes, self._count(profile), f"{profile.name}_arrays.h5")
        if wired(profile):
            yield self._empty("", profile, IN_THE_LOOP, "ignored", None)._replace(
                note="not run: with every write the wires of every tile would be solved anew"
            )
        else:
            yield from self._modes(profile, [IN_THE_LOOP], max(1, self.chips // 10), f"{profile.name}_loop.h5")

    def _modes(self, profile: Profile, modes: list[str], chips: int, name: str) -> Iterator[Row]:
        tuning = TUNING if IN_THE_LOOP in modes else None
        result = benchmark(
            self.nets, [profile], self.task, instances=chips, calibration=modes, tuning=tuning,
            calibration_data=self.samples, run=self.folder / name, show_progress=False,
        )  # fmt: skip
        for n, one in enumerate(result.summary(SPECIFICATION)):
            yield self._row(profile, one, modes[n // len(self.nets)], "ignored", None)

    def _count(self, profile: Profile) -> int:
        """Chips; a fifth where wires are solved, and in the loop on arrays a tenth, since every write programs anew."""
        return max(1, self.chips // 5) if wired(profile) else self.chips

    def _enforced(self, profile: Profile, ignored: dict[str, Row]) -> Iterator[Row]:
        for name, net in self.nets.items():
            try:
                chips = Chip(profile).deploy(net.net, self.chips, limits="enforce")
                chips.check_input(self.samples)
                yield ignored[name]._replace(limits="enforced")
            except ProfileError as error:
                yield self._empty(name, profile, "none", "enforced", None)._replace(note=str(error))
        try:
            result = benchmark(
                {"fitted": self.fitted}, [profile], self.spikes, instances=self._count(profile), limits="enforce",
                run=self.folder / f"{profile.name}_fitted.h5", show_progress=False,
            )  # fmt: skip
        except ProfileError as error:
            yield self._empty("fitted", profile, "none", "enforced", None)._replace(note=str(error))
            return
        yield self._row(profile, result.summary(SPECIFICATION)[0], "none", "enforced", None)

    def _later(self, profile: Profile, time: float) -> Iterator[Row]:
        try:
            result = benchmark(
                self.nets, [profile.under(time=time)], self.task, instances=self._count(profile),
                calibration_data=self.samples, run=self.folder / f"{profile.name}_{time:.0f}s.h5", show_progress=False,
            )  # fmt: skip
        except ProfileError as error:  # a table of other times
            yield self._empty("", profile, "none", "ignored", time)._replace(note=str(error))
            return
        for one in result.summary(SPECIFICATION):
            yield self._row(profile, one, "none", "ignored", time)

    def _row(self, profile: Profile, one: Summary, mode: str, limits: str, time: float | None) -> Row:
        return self._empty(one.model, profile, mode, limits, time)._replace(
            chips=one.chips,
            mean=one.mean, std=one.std, minimum=one.minimum, quantile05=one.quantile05,
            yield90=one.chips_passed.share, low=one.chips_passed.low, high=one.chips_passed.high,
        )  # fmt: skip

    def _empty(self, network: str, profile: Profile, mode: str, limits: str, time: float | None) -> Row:
        return Row(self.task.name, self.task.split, network, profile.name, mode, limits, time, self.chips)

    def _trained(self, name: str, task: Task, objective: Objective, fan_in: int | None = None) -> TrainedModel:
        net = network_for(task, self.hidden, seed=0)
        path = self.folder / f"{name}.h5"
        limit = None if fan_in is None else FanInLimit(fan_in=fan_in)
        train(net, task, objective, run=path, label=name, epochs=self.epochs, seed=0, limit=limit)
        return models_of(open_run(path))[0]


OBJECTIVES: dict[str, Objective] = {"standard": Standard(), "robust": Adversarial(steps=3)}


def wired(profile: Profile) -> bool:
    """Whether the resistance of wires is solved for."""
    bar = profile.crossbar
    return bar is not None and bar.ir_drop is not None and bar.ir_drop.model == "nodal"


def moves(profile: Profile) -> bool:
    """Whether anything changes with the time since programming."""
    bar = profile.crossbar
    if bar is None:
        return False
    drifts = bar.drift is not None and bar.drift.model != "none"
    return drifts or (bar.read_noise is not None and bar.read_noise.model not in ("none", "constant"))


def write(rows: list[Row], path: Path) -> None:
    """The CSV, accuracies with four decimals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        for row in rows:
            writer.writerow(
                f"{v:.4f}" if isinstance(v, float) and n != "time_s" else v for n, v in row._asdict().items()
            )


def main() -> None:
    """Make the atlas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="vowels, 3 epochs, 4 chips, in build/")
    parser.add_argument("--chips", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the fused engine has threads of its own
    quick, folder = arguments.quick, HERE.parent / "build" / "atlas"
    name = "vowels" if quick else "ecg4"
    try:
        task = load_task(name)
    except TaskError:
        name, task = "vowels", load_task("vowels")
    folder = folder / "quick" if quick else folder / name
    folder.mkdir(parents=True, exist_ok=True)
    size = {"hidden": 24, "epochs": 3, "chips": 4} if quick else {"hidden": 128, "epochs": 20, "chips": arguments.chips}
    atlas = Atlas(task, load_task(name, encoding="delta"), folder, **size)
    results = folder if quick else HERE / "results"
    rows: list[Row] = []
    profiles = [load_profile(one.name) for one in list_profiles()]
    with progress("profiles", len(profiles)) as shown:
        for profile in profiles:
            rows += atlas.rows(profile)
            shown.advance(1, note=profile.name)
    found = results / ("hardware_atlas" if name == "ecg4" else f"hardware_atlas_{name}")
    write(rows, found.with_suffix(".csv"))
    draw([row._asdict() for row in rows], found.with_suffix(".png"))
    print(found.with_suffix(".csv"))


if __name__ == "__main__":
    try:
        main()
    except SnnRobustError as error:
        raise SystemExit(f"error: {error}") from None
