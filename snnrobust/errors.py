"""The errors a user may meet; every message names the field, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SnnRobustError(Exception):
    """Base of all errors that bad input can cause; the command line prints it as one line."""


class ProfileError(SnnRobustError):
    """A hardware profile that is missing, malformed or physically impossible."""


class TaskError(SnnRobustError):
    """A task whose data is missing or does not have the stated form."""


class TrainingError(SnnRobustError):
    """A training that cannot go on; the message names the update."""


class RunFileError(SnnRobustError):
    """A run file that is missing, damaged, of another format or of another experiment."""


class ShapeError(SnnRobustError):
    """A tensor whose shape does not fit; the message gives both shapes."""


class MeasurementError(SnnRobustError):
    """A file of measurements that is missing, malformed or says too little."""


class WorkerError(SnnRobustError):
    """A worker process that was killed."""


class ConfigError(SnnRobustError):
    """An argument outside its domain."""


def unknown(what: str, value: str, allowed: Iterable[str]) -> str:
    """One line for a name that is not known: what it is, what was given, the nearest, all that exist."""
    names = sorted(allowed)
    nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"{what}: unknown {value!r}{hint}; allowed: {', '.join(names)}"
