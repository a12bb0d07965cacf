"""From what a publisher distributes to the arrays that the tasks read.

Every function takes the downloaded archive (or folder) and gives named arrays. Archives are read in memory and never
unpacked to disk.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import TaskError
from snnrobust.tasks.dataset import first_line
from snnrobust.tasks.features import DIGITS, SPEECH_COMMANDS, log_mel, read_wav

Arrays = dict[str, NDArray[Any]]

# What the standard library and NumPy raise on damaged archives, RuntimeError for forms that they do not know.
DAMAGED = (OSError, EOFError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error)

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
KEYWORD_CLASSES = (*KEYWORDS, "_unknown_", "_silence_")
DIGIT_FRAMES = 80

ACTIVITIES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
TEST_SUBJECTS = ("s03", "s08", "s13", "s18", "s23")
SENSORS = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro")
SENSOR_SCALE = (500, 500, 500, 1000, 1000, 1000)  # counts per m/s^2 and per rad/s
MILLISECONDS, WINDOW, HOP, AGREED = 20.0, 64, 32, 48

# The halves of de Chazal, O'Dwyer and Reilly (doi:10.1109/TBME.2004.827359); paced records are in neither.
DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
PACED = (102, 104, 107, 217)
RECORDS = tuple(sorted(DS1 + DS2 + PACED))
# Beat symbols of PhysioNet by their class in ANSI/AAMI EC57.
AAMI = {
    symbol: name
    for name, symbols in (("N", "NLRej"), ("S", "AaJS"), ("V", "VE"), ("F", "F"), ("Q", "/fQ"))
    for symbol in symbols
}
BEFORE, AROUND = 89, 252  # samples before a beat, and in its window, at 360 Hz


def speech_commands(archive: Path) -> Arrays:
    """The Speech Commands v0.02 test archive (P. Warden, arXiv:1804.03209) as log-mel frames.

    Split by speaker: h = sha1(speaker) mod 100; test h < 20, validation 20-29, train 30-99. Silence has no
    speaker and is split by file name.

    Returns:
        x [B, 98, 32] uint8, y, classes, speaker, name, split.
    """
    clips = {}
    for path, content in _tar_members(archive):
        folder, name = path.parts[-2:]
        if folder in KEYWORD_CLASSES and name.endswith(".wav"):
            clips[KEYWORD_CLASSES.index(folder), name] = content
    _check_found(clips, "clips in folders named by keyword", archive)
    rows = sorted(clips)
    speakers = [_speaker(KEYWORD_CLASSES[y], name) for y, name in rows]
    keys = [name if speaker == "silence" else speaker for speaker, (_, name) in zip(speakers, rows, strict=True)]
    frames = [log_mel(read_wav(clips[row], SPEECH_COMMANDS.sample_rate, row[1]), SPEECH_COMMANDS) for row in rows]
    return {
        "x": np.stack([_padded(frame, 98) for frame in frames]),
        "y": np.array([y for y, _ in rows], dtype=np.uint8),
        "split": np.array([_split_by_hash(key) for key in keys], dtype=np.uint8),
        "speaker": np.array(speakers),
        "name": np.array([name for _, name in rows]),
        "classes": np.array(KEYWORD_CLASSES),
    }


def spoken_digits(archive: Path) -> Arrays:
    """The recordings of the Free Spoken Digit Dataset (Z. Jackson and contributors) as log-mel frames.

    Official split: recordings 0-4 of each speaker and digit are the test part.

    Returns:
        x [B, 80, 20] uint8 (zero after ``length`` frames, later frames cut), y, split, speaker, index, length.
    """
    clips = {path.name: content for path, content in _zip_members(archive, "*/recordings/*.wav")}
    _check_found(clips, "recordings/*.wav", archive)
    names = sorted(clips)
    digits, speakers, indices = zip(*(name.removesuffix(".wav").split("_") for name in names), strict=True)
    frames = [log_mel(read_wav(clips[name], DIGITS.sample_rate, name), DIGITS) for name in names]
    index = np.array(indices).astype(np.uint8)
    return {
        "x": np.stack([_padded(frame, DIGIT_FRAMES) for frame in frames]),
        "y": np.array(digits).astype(np.uint8),
        "split": np.where(index < 5, 2, 0).astype(np.uint8),
        "speaker": np.array(speakers),
        "index": index,
        "length": np.array([min(len(frame), DIGIT_FRAMES) for frame in frames], dtype=np.uint8),
    }


def activities(archive: Path) -> Arrays:
    """Smartwatch and smartphone inertial windows (Matey-Sanz et al., doi:10.1016/j.dib.2023.109809).

    Linear interpolation to 50 Hz, windows of 64 samples every 32, kept where one activity covers at least 48;
    stored as round(value x scale).

    Returns:
        x [B, 64, 6] int16, scale, y, split, subject, execution, device, classes; watch first.
    """
    tables = {path.stem: content for path, content in _zip_members(archive, "*/DATA/s*/s*.csv")}
    _check_found(tables, "DATA/sXX/*.csv", archive)
    windows, rows = [], []
    for name in sorted(tables, key=lambda name: (not name.endswith("_sw"), name)):
        execution, device = name.rsplit("_", 1)
        for x, activity in _activity_windows(tables[name].decode(), name):
            windows.append(x)
            rows.append((activity, execution, device))
    if not rows:
        raise TaskError(f"data: the recordings in {archive} hold no window of one activity")
    labels, executions, devices = zip(*rows, strict=True)
    subjects = np.array([execution.split("_")[0] for execution in executions])
    return {
        "x": np.stack(windows),
        "scale": np.array(SENSOR_SCALE, dtype=np.float32),
        "y": np.array(labels, dtype=np.uint8),
        "split": np.where(np.isin(subjects, TEST_SUBJECTS), 2, 0).astype(np.uint8),
        "subject": subjects,
        "execution": np.array(executions),
        "device": np.array(devices),
        "classes": np.array(ACTIVITIES),
    }


def heart_beats(folder: Path) -> Arrays:
    """The beats of the MIT-BIH Arrhythmia Database (Moody and Mark 2001, doi:10.13026/C2F305), read with wfdb.

    A public copy of the beats, made without the database's own files, is the same in all of 12 records that could
    be compared; its times in the first minute of record 220 rest on a guess and may differ from these.

    Args:
        folder: Holds NNN.hea, NNN.dat and NNN.atr of the 48 records.

    Returns:
        x [B, 126] int16 (A/D counts around the baseline, first lead, 180 Hz), symbol, aami, record, sample,
        rr_prev, rr_next, ds (1, 2, or 0 for the paced records).

    Raises:
        TaskError: If wfdb is not installed.
    """
    try:
        import wfdb
    except ImportError as error:
        raise TaskError("data: MIT-BIH is read with wfdb; install it with `pip install snnrobust[ecg]`") from error
    parts = []
    for record in RECORDS:
        path = str(folder / str(record))
        signal = wfdb.rdrecord(path, channels=[0], physical=False)
        notes = wfdb.rdann(path, "atr")
        counts = signal.d_signal[:, 0].astype(np.int64) - signal.baseline[0]
        parts.append(beats_of_record(record, counts, notes.sample, notes.symbol))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def beats_of_record(record: int, counts: NDArray[np.int64], samples: Sequence[int], symbols: Sequence[str]) -> Arrays:
    """The beats of one record: 252 samples around each, neighbours averaged in pairs (floor) to 180 Hz.

    The first two and the last two annotations are left out, and those that mark no beat.

    Args:
        record: Number of the record.
        counts: Signal of the first lead at 360 Hz, A/D counts around the baseline [S].
        samples: Time of each annotation in samples.
        symbols: Symbol of each annotation.
    """
    kept = [(int(time), mark) for time, mark in list(zip(samples, symbols, strict=True))[2:-2] if mark in AAMI]
    times = np.array([time for time, _ in kept], dtype=np.int32)
    windows = counts[times[:, None] - BEFORE + np.arange(AROUND)].reshape(len(times), -1, 2)
    intervals = np.concatenate([[0], np.diff(times), [0]]).astype(np.int32)
    half = 1 if record in DS1 else 2 if record in DS2 else 0
    return {
        "x": (windows.sum(axis=2) // 2).astype(np.int16),
        "symbol": np.array([mark for _, mark in kept]),
        "aami": np.array([AAMI[mark] for _, mark in kept]),
        "record": np.full(len(times), record, dtype=np.int16),
        "sample": times,
        "rr_prev": intervals[:-1],
        "rr_next": intervals[1:],
        "ds": np.full(len(times), half, dtype=np.uint8),
    }


def _activity_windows(table: str, name: str) -> Iterable[tuple[NDArray[np.int16], int]]:
    """The windows of one recording with their activities."""
    rows = list(csv.DictReader(io.StringIO(table)))
    try:
        time = np.array([float(row["timestamp"]) for row in rows])
        values = np.array([[float(row[sensor]) for sensor in SENSORS] for row in rows])
        activity = np.array([ACTIVITIES.index(row["label"]) for row in rows])
    except (KeyError, ValueError) as error:
        raise TaskError(f"data: {name}.csv is not a recording of the expected form ({first_line(error)})") from error
    grid = np.arange(time[0], time[-1], MILLISECONDS)
    signals = np.stack([np.interp(grid, time, values[:, k]) for k in range(len(SENSORS))], axis=1)
    # Single precision here, as in the published arrays: it decides ties of the rounding.
    counts = np.round(signals.astype(np.float32) * np.array(SENSOR_SCALE, dtype=np.float32)).astype(np.int16)
    labels = activity[np.searchsorted(time, grid)]
    for start in range(0, len(grid) - WINDOW + 1, HOP):
        votes = np.bincount(labels[start : start + WINDOW], minlength=len(ACTIVITIES))
        if votes.max() >= AGREED:
            yield counts[start : start + WINDOW], int(votes.argmax())


def _speaker(folder: str, name: str) -> str:
    """The anonymous speaker id in a clip's file name: ID_nohash_N.wav, or WORD_ID_nohash_N.wav.wav if unknown."""
    if folder == "_silence_":
        return "silence"
    return name.split("_")[1 if folder == "_unknown_" else 0]


def _split_by_hash(key: str) -> int:
    share = int(hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    return 2 if share < 20 else 1 if share < 30 else 0


def _padded(frames: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """``frames`` cut or filled with zeros to ``steps`` frames."""
    frames = frames[:steps]
    return np.pad(frames, ((0, steps - len(frames)), (0, 0)))


def _zip_members(archive: Path, pattern: str) -> Iterable[tuple[Path, bytes]]:
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if Path(name).match(pattern):
                    yield Path(name), opened.read(name)
    except DAMAGED as error:
        raise TaskError(f"data: {archive} is damaged or not a .zip file ({first_line(error)})") from error


def _tar_members(archive: Path) -> Iterable[tuple[Path, bytes]]:
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                file = opened.extractfile(member) if member.isfile() else None
                if file is not None and len(Path(member.name).parts) > 1:
                    yield Path(member.name), file.read()
    except DAMAGED as error:
        raise TaskError(f"data: {archive} is damaged or not a .tar.gz file ({first_line(error)})") from error


def _check_found(members: dict[Any, bytes], what: str, archive: Path) -> None:
    if not members:
        raise TaskError(f"data: {archive} holds no {what}; it is not the expected archive")
