r"""Every shipped profile at a glance: what a usual and a robust network reach on 100 of its chips.

    python benchmarks/hardware_atlas.py                      ecg4, or vowels where that data is not there
    python benchmarks/hardware_atlas.py pcm_ibm dynapse1     these profiles, again
    python benchmarks/hardware_atlas.py --quick              vowels, few chips, nothing committed is touched

Trains the networks, then deploys them on the same chips of every profile: in every mode of calibration that the profile
has numbers for, with its limits ignored and enforced, and on crossbars from 1 s to 1 year after programming. Writes
results/hardware_atlas.csv and .png (of vowels hardware_atlas_vowels) beside this file, and the networks into
results/atlas_networks. A profile whose lines in the CSV are of these networks (column networks) is done; lines of
others stay until it is their turn. Finished chips of an unfinished profile are kept in build/atlas, so that an
interrupted atlas goes on.

    standard   cross-entropy alone
    robust     parameter attack and forward noise (Büchel, Faber and Muir, ICLR 2022)
    fitted     robust, with at most 64 synapses a neuron and spikes as inputs (delta modulation), so that it fits a chip
               with these limits; only where limits are enforced
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hardware_atlas_figure import draw

from snnrobust.errors import ProfileError, SnnRobustError, TaskError
from snnrobust.evaluation import benchmark
from snnrobust.evaluation.certificates.certificate import spread_samples
from snnrobust.evaluation.statistics.yields import Summary
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
    networks: str = ""


class Atlas:
    """Networks of a task, deployed; whatever is the same by construction is simulated once.

    Args:
        task: Data as analog currents.
        spikes: The same data as spikes.
        folder: For run files of chips.
        networks: For run files of networks.
        hidden: Hidden neurons.
        epochs: Passes over the training data.
        chips: Chips of each profile.
    """

    def __init__(
        self, task: Task, spikes: Task, folder: Path, networks: Path, *, hidden: int, epochs: int, chips: int
    ) -> None:
        self.folder, self.networks, self.chips, self.hidden, self.epochs = folder, networks, chips, hidden, epochs
        self.nets = {name: self._trained(name, task, make) for name, make in OBJECTIVES.items()}
        self.fitted = self._trained("fitted", spikes, OBJECTIVES["robust"], fan_in=FAN_IN)
        self.task, self.spikes = (replace(t, test=spread_samples(t.test, TEST_SAMPLES)) for t in (task, spikes))
        x = torch.from_numpy(task.train.x[:CALIBRATION_SAMPLES]).float()
        self.samples = x.transpose(0, 1).contiguous()
        hashes = "".join(model.net.hash() for model in (*self.nets.values(), self.fitted))
        self.digest = hashlib.sha256(hashes.encode()).hexdigest()[:8]

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
        if profile.crossbar is not None:  # apart: it takes longer than all others
            modes.remove(IN_THE_LOOP)
        yield from self._modes(profile, modes, f"{profile.name}.h5")
        if profile.crossbar is not None:
            yield from self._modes(profile, [IN_THE_LOOP], f"{profile.name}_loop.h5")

    def _modes(self, profile: Profile, modes: list[str], name: str) -> Iterator[Row]:
        tuning = TUNING if IN_THE_LOOP in modes else None
        result = benchmark(
            self.nets, [profile], self.task, instances=self.chips, calibration=modes, tuning=tuning,
            calibration_data=self.samples, run=self.folder / name, show_progress=False,
        )  # fmt: skip
        for n, one in enumerate(result.summary(SPECIFICATION)):
            yield self._row(profile, one, modes[n // len(self.nets)], "ignored", None)

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
                {"fitted": self.fitted}, [profile], self.spikes, instances=self.chips, limits="enforce",
                run=self.folder / f"{profile.name}_fitted.h5", show_progress=False,
            )  # fmt: skip
        except ProfileError as error:
            yield self._empty("fitted", profile, "none", "enforced", None)._replace(note=str(error))
            return
        yield self._row(profile, result.summary(SPECIFICATION)[0], "none", "enforced", None)

    def _later(self, profile: Profile, time: float) -> Iterator[Row]:
        try:
            result = benchmark(
                self.nets, [profile.under(time=time)], self.task, instances=self.chips,
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
        head = (self.task.name, self.task.split, network, profile.name, mode, limits, time, self.chips)
        return Row(*head, networks=self.digest)

    def _trained(self, name: str, task: Task, objective: Objective, fan_in: int | None = None) -> TrainedModel:
        net = network_for(task, self.hidden, seed=0)
        path = self.networks / f"{name}.h5"
        limit = None if fan_in is None else FanInLimit(fan_in=fan_in)
        train(net, task, objective, run=path, label=name, epochs=self.epochs, seed=0, limit=limit)
        return models_of(open_run(path))[0]


OBJECTIVES: dict[str, Objective] = {"standard": Standard(), "robust": Adversarial(steps=3)}


def moves(profile: Profile) -> bool:
    """Whether anything changes with the time since programming."""
    bar = profile.crossbar
    if bar is None:
        return False
    drifts = bar.drift is not None and bar.drift.model != "none"
    return drifts or (bar.read_noise is not None and bar.read_noise.model not in ("none", "constant"))


def read(path: Path) -> list[Row]:
    """Lines of a CSV; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [Row(*(_value(name, line.get(name) or "") for name in Row._fields)) for line in lines]


TEXTS = ("task", "split", "network", "profile", "calibration", "limits", "note", "networks")


def _value(name: str, text: str) -> Any:  # noqa: ANN401 (of the field's type)
    """A field of a line, from its text."""
    if name in TEXTS:
        return text
    return int(text) if name == "chips" else float(text) if text else None


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
    parser.add_argument("profiles", nargs="*", help="profiles to run again; those that are not done by default")
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
    results = folder if quick else HERE / "results"
    networks = folder if quick else results / "atlas_networks" / name
    for path in (folder, networks):
        path.mkdir(parents=True, exist_ok=True)
    size = {"hidden": 24, "epochs": 3, "chips": 4} if quick else {"hidden": 128, "epochs": 20, "chips": arguments.chips}
    atlas = Atlas(task, load_task(name, encoding="delta"), folder, networks, **size)
    found = results / ("hardware_atlas" if name == "ecg4" else f"hardware_atlas_{name}")
    rows = read(found.with_suffix(".csv"))
    profiles = [load_profile(one.name) for one in list_profiles()]
    done = {row.profile for row in rows if row.networks == atlas.digest}
    wanted = arguments.profiles or [p.name for p in profiles if p.name not in done]
    order = [p.name for p in profiles]
    with progress("profiles", len(wanted)) as shown:
        for profile in (load_profile(name) for name in wanted):
            rows = [row for row in rows if row.profile != profile.name] + list(atlas.rows(profile))
            rows.sort(key=lambda row: order.index(row.profile))  # stable
            write(rows, found.with_suffix(".csv"))
            draw([row._asdict() for row in rows], found.with_suffix(".png"))
            shown.advance(1, note=profile.name)
    print(found.with_suffix(".csv"))


if __name__ == "__main__":
    try:
        main()
    except SnnRobustError as error:
        raise SystemExit(f"error: {error}") from None
