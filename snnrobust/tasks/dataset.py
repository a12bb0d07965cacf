"""What a task is: sequences with labels, split into train, validation and test.

Shapes: B samples, T steps, I inputs. A sample that is shorter than T carries its true number of steps in
``lengths``; what follows is padding, and zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snnrobust.errors import ShapeError, TaskError, unknown

METRICS = ("accuracy", "balanced accuracy")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a task.

    Attributes:
        x: Input currents or spikes [B, T, I], float32, zero in the padding.
        y: Class of each sample [B], int64.
        lengths: True number of steps of each sample [B], int64, 1 to T.
        indices: Index of each sample in the whole data set [B], int64, unique. Random draws are keyed by it,
            never by the position in a batch.
        groups: Speaker, patient or subject of each sample [B], or None where unknown.

    Raises:
        ShapeError: If an array's shape does not fit ``x``.
        TaskError: If a dtype or a value is outside what is stated above.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    lengths: NDArray[np.int64]
    indices: NDArray[np.int64]
    groups: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 3:
            raise ShapeError(f"x: shape {self.x.shape}; must be [B, T, I] (samples, steps, inputs)")
        if self.x.dtype != np.float32:
            raise TaskError(f"x: dtype {self.x.dtype}; must be float32")
        for name in ("y", "lengths", "indices"):
            _check_integers(name, getattr(self, name), len(self.x))
        if self.groups is not None and self.groups.shape != (len(self.x),):
            raise ShapeError(f"groups: shape {self.groups.shape}; must be [B] = ({len(self.x)},)")
        if len(np.unique(self.indices)) < len(self.indices):
            raise TaskError("indices: a sample's index occurs twice; each must be unique")
        if len(self.y) and self.y.min() < 0:
            raise TaskError(f"y: label {self.y.min()}; labels are 0 .. number of classes - 1")
        _check_lengths(self.lengths, self.x.shape[1])
        if not np.isfinite(self.x).all():
            b, t, i = np.argwhere(~np.isfinite(self.x))[0]
            raise TaskError(f"x: {self.x[b, t, i]} at sample {b}, step {t}, input {i}; values must be finite")

    def __len__(self) -> int:
        """Number of samples B."""
        return len(self.x)

    def take(self, rows: ArrayLike) -> Split:
        """The samples at these positions (or of this mask) of the split, in the given order."""
        rows = np.asarray(rows)
        groups = None if self.groups is None else self.groups[rows]
        return Split(self.x[rows], self.y[rows], self.lengths[rows], self.indices[rows], groups)


@dataclass(frozen=True, eq=False)
class Task:
    """A classification problem over sequences, with everything a result must say about its data.

    Attributes:
        name: Name of the task; the split is a part of a result's name (``ecg4`` is not ``ecg4_patients``).
        train: Samples to train on.
        validation: Samples to choose models on, or None: then the last weights are taken.
        test: Samples to report on, used once.
        classes: Name of each class; label k is ``classes[k]``.
        dt: Length of a step in s.
        citation: Whom to cite.
        licence: Licence of the data.
        split: How the split was made, with its caveats; printed with every result.
        metric: What to report, "accuracy" or "balanced accuracy".
        encoding: How ``x`` was encoded: "analog" for currents, or the name of a spike encoder.

    Raises:
        ShapeError: If the parts differ in their steps or inputs.
        TaskError: If a part is empty, a class has no training sample, or a field is outside its domain.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    classes: tuple[str, ...]
    dt: float
    citation: str
    licence: str
    split: str
    metric: str = "accuracy"
    encoding: str = "analog"

    def __post_init__(self) -> None:
        if not (isinstance(self.dt, int | float) and math.isfinite(self.dt) and self.dt > 0):
            raise TaskError(f"dt: {self.dt!r}; must be a positive number of seconds")
        if self.metric not in METRICS:
            raise TaskError(unknown("metric", str(self.metric), METRICS))
        if len(self.classes) < 2:
            raise TaskError(f"classes: {len(self.classes)} given; at least 2 are needed")
        if len(set(self.classes)) < len(self.classes):
            raise TaskError(f"classes: a name occurs twice in {', '.join(self.classes)}")
        for name, part in self.parts().items():
            self._check_part(name, part)
        missing = sorted(set(range(len(self.classes))) - set(self.train.y.tolist()))
        if missing:
            names = ", ".join(self.classes[k] for k in missing)
            raise TaskError(f"train: no sample of class {names}; every class needs one")
        indices = np.concatenate([part.indices for part in self.parts().values()])
        if len(np.unique(indices)) < len(indices):
            raise TaskError("indices: a sample is in two parts of the split; the parts must be disjoint")

    def _check_part(self, name: str, part: Split) -> None:
        if not len(part):
            raise TaskError(f"{name}: no samples; at least one is needed")
        if part.x.shape[1:] != self.train.x.shape[1:]:
            raise ShapeError(f"{name}.x: [T, I] = {part.x.shape[1:]}; train.x has {self.train.x.shape[1:]}")
        if part.y.max() >= len(self.classes):
            raise TaskError(f"{name}.y: label {part.y.max()}; there are {len(self.classes)} classes, 0-based")

    @property
    def inputs(self) -> int:
        """Number of inputs I."""
        return int(self.train.x.shape[2])

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return int(self.train.x.shape[1])

    def parts(self) -> dict[str, Split]:
        """The splits that exist, by name, in the order train, validation, test."""
        named = zip(SPLITS, (self.train, self.validation, self.test), strict=True)
        return {name: part for name, part in named if part is not None}

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        split: ArrayLike,
        *,
        dt: float,
        lengths: ArrayLike | None = None,
        name: str = "user",
        classes: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        metric: str = "accuracy",
    ) -> Task:
        """A task from a user's own arrays.

        Values of order 1 suit the networks' default thresholds. What lies beyond a sample's length is set to
        zero, whatever it was (NaN padding is fine).

        Args:
            x: Input currents or spikes [B, T, I].
            y: Labels [B], whole numbers 0 .. C-1 without gaps.
            split: 0, 1, 2 or "train", "validation", "test" for each sample [B]; validation may be absent.
            dt: Length of a step in s.
            lengths: True number of steps of each sample [B]; None if all have T.
            name: Name of the task.
            classes: Names of the C classes; None for "0", "1", ...
            groups: Speaker, patient or subject of each sample [B]; the task then says if test shares any.
            metric: What to report, "accuracy" or "balanced accuracy".

        Returns:
            The task.

        Raises:
            ShapeError: If shapes do not fit each other.
            TaskError: If the arrays are wrong in any other way; the message names the argument.
        """
        labels, codes = _labels(y), _split_codes(split)
        values = _currents(x)
        if lengths is None:
            steps = np.full(len(values), values.shape[1], dtype=np.int64)
        else:
            steps = _integers("lengths", lengths)
        for argument, array in (("y", labels), ("split", codes), ("lengths", steps)):
            if array.shape != values.shape[:1]:
                raise ShapeError(f"{argument}: shape {array.shape}; must be [B] = ({len(values)},), as x has")
        _check_lengths(steps, values.shape[1])
        members = None if groups is None else _groups(groups)
        whole = Split(zero_padding(values, steps), labels, steps, np.arange(len(values), dtype=np.int64), members)
        train, validation, test = (whole.take(codes == code) for code in range(3))
        return cls(
            name=name,
            train=train,
            validation=validation if len(validation) else None,
            test=test,
            classes=_class_names(labels, classes),
            dt=dt,
            citation="user data",
            licence="as the owner of the data states",
            split=f"given by the user; {shared_groups(train, test)}",
            metric=metric,
        )


@dataclass(frozen=True)
class TaskInfo:
    """What is known about a task without loading its data, and how to build it.

    Attributes:
        name: Name to load it by.
        title: One line on what is classified from what.
        inputs: Number of inputs I of the analog form.
        steps: Number of steps T of the analog form.
        dt: Length of a step in s.
        classes: Number of classes.
        build: ``build(data=folder or None, seed=..., **options) -> Task``.
        source: Name of the data source, or None if the task is generated.
    """

    name: str
    title: str
    inputs: int
    steps: int
    dt: float
    classes: int
    build: Callable[..., Task]
    source: str | None = None


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if it has none; our messages are one line each."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def zero_padding(x: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """``x`` [B, T, I] with every step from a sample's length on set to zero."""
    valid = np.arange(x.shape[1]) < lengths[:, None]
    return np.where(valid[:, :, None], x, np.float32(0))


def standardised(x: NDArray[np.float32], lengths: NDArray[np.int64], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Each input minus its mean and over its standard deviation in the valid training steps; padding stays zero.

    Args:
        x: Inputs [B, T, I].
        lengths: True number of steps [B].
        train: Which samples the statistics are taken from [B].
    """
    valid = np.arange(x.shape[1]) < lengths[:, None]
    frames = x[valid & train[:, None]].astype(np.float64)
    return zero_padding(((x - frames.mean(axis=0)) / frames.std(axis=0)).astype(np.float32), lengths)


def shared_groups(train: Split, test: Split) -> str:
    """A phrase that says how many of the test groups are in the training part too."""
    if train.groups is None or test.groups is None:
        return "whether train and test share people is unknown"
    groups = np.unique(test.groups)
    shared = np.isin(groups, train.groups).sum()
    return f"{shared} of the {len(groups)} test groups are in train too"


def _array(name: str, value: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TaskError(f"{name}: cannot be read as one array ({first_line(error)})") from error


def _currents(x: ArrayLike) -> NDArray[np.float32]:
    values = _array("x", x)
    if values.dtype.kind not in "biuf":
        raise TaskError(f"x: dtype {values.dtype}; must be numbers")
    if values.ndim != 3:
        hint = "; for one input give x[:, :, None]" if values.ndim == 2 else ""
        raise ShapeError(f"x: shape {values.shape}; must be [B, T, I] (samples, steps, inputs){hint}")
    if 0 in values.shape:
        raise ShapeError(f"x: shape {values.shape}; no dimension may be 0")
    with np.errstate(over="ignore"):  # what overflows float32 is reported as not finite, with its place
        return values.astype(np.float32)


def _integers(name: str, value: ArrayLike) -> NDArray[np.int64]:
    array = _array(name, value)
    if array.dtype.kind not in "biu":
        raise TaskError(f"{name}: dtype {array.dtype}; must be whole numbers (an integer array)")
    return array.astype(np.int64)


def _labels(y: ArrayLike) -> NDArray[np.int64]:
    given = _array("y", y)
    if given.dtype.kind in "OSU":
        raise TaskError("y: text is no label; must be whole numbers, np.unique(y, return_inverse=True) gives both")
    labels = _integers("y", given)
    if labels.size and labels.min() < 0:
        raise TaskError(f"y: label {labels.min()}; labels are 0 .. number of classes - 1")
    return labels


def _split_codes(split: ArrayLike) -> NDArray[np.int64]:
    codes = _array("split", split)
    if codes.dtype.kind == "O" and all(isinstance(name, str) for name in codes.flat):
        codes = codes.astype(str)  # a column of a data frame
    if codes.dtype.kind == "U":
        wrong = sorted(set(codes.ravel().tolist()) - set(SPLITS))
        if wrong:
            raise TaskError(unknown("split", wrong[0], SPLITS))
        return np.select([codes == name for name in SPLITS], [0, 1, 2]).astype(np.int64)
    if codes.dtype.kind not in "iu":
        raise TaskError(f"split: dtype {codes.dtype}; must be 0, 1, 2 or {', '.join(SPLITS)}")
    wrong_codes = np.setdiff1d(codes, [0, 1, 2])
    if len(wrong_codes):
        raise TaskError(f"split: {wrong_codes[0]}; must be 0 (train), 1 (validation) or 2 (test)")
    return codes.astype(np.int64)


def _groups(groups: ArrayLike) -> NDArray[Any]:
    members = _array("groups", groups)
    if members.dtype.kind == "O" and len({type(member) for member in members.flat}) > 1:
        raise TaskError("groups: values of several types; must be all text or all numbers")
    return members


def _class_names(labels: NDArray[np.int64], classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is not None:
        return tuple(str(name) for name in classes)
    present = np.unique(labels)
    gaps = np.flatnonzero(present != np.arange(len(present)))
    if len(gaps):
        raise TaskError(f"y: no sample has label {gaps[0]} but {present.max()} occurs; number classes without gaps")
    return tuple(str(k) for k in present)


def _check_integers(name: str, array: NDArray[Any], samples: int) -> None:
    if array.shape != (samples,):
        raise ShapeError(f"{name}: shape {array.shape}; must be [B] = ({samples},), as x has")
    if array.dtype != np.int64:
        raise TaskError(f"{name}: dtype {array.dtype}; must be int64")


def _check_lengths(lengths: NDArray[np.int64], steps: int) -> None:
    wrong = np.flatnonzero((lengths < 1) | (lengths > steps))
    if len(wrong):
        raise TaskError(f"lengths: {lengths[wrong[0]]} at sample {wrong[0]}; must be 1 to T = {steps}")
