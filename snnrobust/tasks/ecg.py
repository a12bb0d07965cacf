"""Heart beats of the MIT-BIH Arrhythmia Database: four tasks that differ in classes and in how they are split.

G. B. Moody, R. G. Mark, IEEE Eng. Med. Biol. 20(3) 45-50 (2001), doi:10.13026/C2F305. Beats at 180 Hz, one lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnrobust.tasks import keyed
from snnrobust.tasks.convert import DS1, Arrays
from snnrobust.tasks.dataset import Split, Task, TaskInfo
from snnrobust.tasks.sources import load_arrays

Rows = NDArray[np.int64]

RATE = 180.0  # Hz
COUNTS_PER_MILLIVOLT = 200.0
WINDOW = 100  # samples of a beat in the paper's protocol

NAMES = {
    "N": "normal",
    "L": "left bundle branch block",
    "R": "right bundle branch block",
    "V": "premature ventricular contraction",
    "A": "atrial premature",
    "/": "paced",
}
PAPER = ("N", "L", "R", "V")
PER_CLASS = 7_126  # all beats of the rarest class, V
SIX = ("N", "L", "R", "V", "A", "/")
FIRST_18_MINUTES = 390_000  # 360 Hz samples

# Patients apart: of bundle branch block there are only a few patients.
TRAIN_RECORDS = {"L": (109, 207), "R": (118, 124, 207)}
TEST_RECORDS = {"L": (111, 214), "R": (212, 231, 232)}


def build_ecg4(*, data: Path | None = None, seed: int = 0) -> Task:
    """The protocol of Büchel et al. (arXiv:2106.05009): N, L, R, V, as many of each, split by beat 80/10/10.

    x is samples 0-99 of a beat, normalised per beat to mean 0 and standard deviation 1. The paper has two leads and
    13,400 beats, centred on their maximum; here it is one lead and 7,126 beats per class, centred on the annotation.

    Args:
        data: Folder to look in first.
        seed: Key of the choice and the split.

    Returns:
        Task with x [B, 100, 1], 22,800 / 2,852 / 2,852 samples; groups are records.
    """
    beats = load_arrays("mitbih", data)
    parts: dict[str, list[Rows]] = {"train": [], "validation": [], "test": []}
    for symbol in PAPER:
        rows = np.flatnonzero(beats["symbol"] == symbol)
        chosen = rows[keyed.permutation(len(rows), seed, "ecg4", symbol)[:PER_CLASS]]
        tenth = PER_CLASS // 10 + 1
        parts["test"].append(chosen[:tenth])
        parts["validation"].append(chosen[tenth : 2 * tenth])
        parts["train"].append(chosen[2 * tenth :])
    return _task(
        ECG4,
        beats,
        normalised_beats(beats["x"]),
        parts,
        symbols=PAPER,
        split=f"by beat 80/10/10, {PER_CLASS:,} beats per class (seed {seed}): the same patients are in train and "
        "test, and windows of neighbouring beats share raw samples; see ecg4_patients",
        metric="accuracy",
    )


def build_ecg4_patients(*, data: Path | None = None, seed: int = 0) -> Task:
    """The classes of ``ecg4`` with patients apart: train on DS1, test on DS2 of de Chazal et al. (2004).

    Each part is balanced at its rarest class: 3,682 beats per class in train, 3,217 in test.

    Args:
        data: Folder to look in first.
        seed: Key of the choice of beats.

    Returns:
        Task with x [B, 100, 1], 14,728 / none / 12,868 samples; groups are records.
    """
    beats = load_arrays("mitbih", data)
    parts = {
        name: _balanced([_by_patient(beats, symbol, half, records) for symbol in PAPER], seed, name)
        for name, half, records in (("train", 1, TRAIN_RECORDS), ("test", 2, TEST_RECORDS))
    }
    return _task(
        ECG4_PATIENTS,
        beats,
        normalised_beats(beats["x"]),
        parts,
        symbols=PAPER,
        split=f"patients apart (DS1 to DS2; L and R from 2 or 3 records each), {len(parts['train'][0]):,} beats per "
        f"class in train, {len(parts['test'][0]):,} in test (seed {seed}); no validation set",
        metric="balanced accuracy",
    )


def build_ecg6(*, data: Path | None = None, seed: int = 0) -> Task:
    """Six beat classes of the same patients: the first 18 minutes against the last 12.

    x is the beat minus its median in mV, and its slope in mV per 20 ms. At most 1,200 / 240 / 800 beats per class.

    Args:
        data: Folder to look in first.
        seed: Key of the choice of beats.

    Returns:
        Task with x [B, 126, 2], 7,200 / 1,440 / 4,800 samples; groups are records.
    """
    beats = load_arrays("mitbih", data)
    early = beats["sample"] < FIRST_18_MINUTES
    parts: dict[str, list[Rows]] = {"train": [], "validation": [], "test": []}
    for symbol in SIX:
        of_class = beats["symbol"] == symbol
        before, after = np.flatnonzero(of_class & early), np.flatnonzero(of_class & ~early)
        before = before[keyed.permutation(len(before), seed, "ecg6", "train", symbol)]
        parts["train"].append(before[:1200])
        parts["validation"].append(before[1200:1440])
        parts["test"].append(keyed.capped(after, 800, seed, "ecg6", "test", symbol))
    return _task(
        ECG6,
        beats,
        beats_and_slopes(beats["x"]),
        parts,
        symbols=SIX,
        split="same patients, first 18 minutes to train and validate (by beat), last 12 to test; at most 1,200 / 240 "
        f"/ 800 beats per class (seed {seed}); measures robustness, not generalisation to new patients",
        metric="balanced accuracy",
    )


def build_ecg_nv(*, data: Path | None = None, seed: int = 0) -> Task:
    """Normal beats (N) against ventricular ectopic ones (AAMI class V), in new patients.

    Train on DS1 but for three whole records held out for validation, test on DS2 of de Chazal et al. (2004);
    at most 3,000 / 500 / 1,500 beats per class. x as in ``ecg6``.

    Args:
        data: Folder to look in first.
        seed: Key of the choice of records and beats.

    Returns:
        Task with x [B, 126, 2], for seed 0 3,000 N and 2,701 V / 1,000 / 3,000 samples; groups are records.
    """
    beats = load_arrays("mitbih", data)
    classes = (beats["symbol"] == "N", beats["aami"] == "V")
    counts = {record: [int((rows & (beats["record"] == record)).sum()) for rows in classes] for record in DS1}
    eligible = [record for record in DS1 if min(counts[record]) >= 40]  # too few beats of a class say little
    order = keyed.permutation(len(eligible), seed, "ecg_nv", "validation")
    held_out = sorted(eligible[k] for k in order[:3])
    apart = np.isin(beats["record"], held_out)
    pools = {
        "train": ((beats["ds"] == 1) & ~apart, 3000),
        "validation": (apart, 500),
        "test": (beats["ds"] == 2, 1500),
    }
    parts = {
        name: [
            keyed.capped(np.flatnonzero(pool & rows), limit, seed, "ecg_nv", name, k) for k, rows in enumerate(classes)
        ]
        for name, (pool, limit) in pools.items()
    }
    return _task(
        ECG_NV,
        beats,
        beats_and_slopes(beats["x"]),
        parts,
        symbols=("N", "V"),
        split=f"new patients (DS1 to DS2), validation records {', '.join(map(str, held_out))}; at most 3,000 / 500 / "
        f"1,500 beats per class (seed {seed})",
        metric="balanced accuracy",
    )


def normalised_beats(counts: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples 0-99 of each beat, minus their mean and over their standard deviation [B, 100, 1]."""
    x = counts[:, :WINDOW].astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.maximum(x.std(axis=1, keepdims=True), 1.0)  # a flat line stays 0: 1 is the converter's step
    return x.astype(np.float32)[:, :, None]


def beats_and_slopes(counts: NDArray[np.int16]) -> NDArray[np.float32]:
    """Each beat minus its median in mV, and its first difference in mV per 20 ms (0 at the start) [B, 126, 2]."""
    millivolts = counts.astype(np.float32) / COUNTS_PER_MILLIVOLT
    slope = np.diff(millivolts, axis=1, prepend=millivolts[:, :1]) * (20e-3 * RATE)
    level = millivolts - np.median(millivolts, axis=1, keepdims=True)
    return np.stack([level, slope], axis=2).astype(np.float32)


def _by_patient(beats: Arrays, symbol: str, half: int, records: Mapping[str, tuple[int, ...]]) -> Rows:
    """Beats of a class in the records that the split gives it: a half of the database, unless some are named."""
    of_class = beats["symbol"] == symbol
    if symbol in records:
        return np.flatnonzero(of_class & np.isin(beats["record"], records[symbol]))
    return np.flatnonzero(of_class & (beats["ds"] == half))


def _balanced(classes: list[Rows], seed: int, part: str) -> list[Rows]:
    """As many beats of each class as there are of the rarest."""
    fewest = min(len(rows) for rows in classes)
    return [keyed.capped(rows, fewest, seed, "ecg4_patients", part, k) for k, rows in enumerate(classes)]


def _task(
    info: TaskInfo,
    beats: Arrays,
    x: NDArray[np.float32],
    parts: Mapping[str, Iterable[Rows]],
    *,
    symbols: tuple[str, ...],
    split: str,
    metric: str,
) -> Task:
    """A task from the rows of each class in each part."""

    def part(name: str) -> Split:
        classes = list(parts[name])
        rows = np.concatenate(classes)
        labels = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in classes])
        order = np.argsort(rows)
        return Split(
            x=x[rows[order]],
            y=labels[order].astype(np.int64),
            lengths=np.full(len(rows), x.shape[1], dtype=np.int64),
            indices=rows[order],
            groups=beats["record"][rows[order]],
        )

    return Task(
        name=info.name,
        train=part("train"),
        validation=part("validation") if "validation" in parts else None,
        test=part("test"),
        classes=tuple(NAMES[symbol] for symbol in symbols),
        dt=info.dt,
        citation="G. B. Moody, R. G. Mark, MIT-BIH Arrhythmia Database 1.0.0, doi:10.13026/C2F305; "
        "A. L. Goldberger et al., PhysioNet, Circulation 101(23) e215 (2000)",
        licence="ODC-BY 1.0: contains information from the MIT-BIH Arrhythmia Database, which is made available "
        "under the ODC Attribution License",
        split=split,
        metric=metric,
    )


ECG4 = TaskInfo(
    name="ecg4",
    title="four beat classes, split by beat (the paper's protocol; patients shared)",
    inputs=1,
    steps=WINDOW,
    dt=1 / RATE,
    classes=4,
    build=build_ecg4,
    source="mitbih",
)
ECG4_PATIENTS = TaskInfo(
    name="ecg4_patients",
    title="the classes of ecg4, patients apart (hard)",
    inputs=1,
    steps=WINDOW,
    dt=1 / RATE,
    classes=4,
    build=build_ecg4_patients,
    source="mitbih",
)
ECG6 = TaskInfo(
    name="ecg6",
    title="six beat classes, same patients later in time",
    inputs=2,
    steps=126,
    dt=1 / RATE,
    classes=6,
    build=build_ecg6,
    source="mitbih",
)
ECG_NV = TaskInfo(
    name="ecg_nv",
    title="normal against ventricular beats, new patients",
    inputs=2,
    steps=126,
    dt=1 / RATE,
    classes=2,
    build=build_ecg_nv,
    source="mitbih",
)
