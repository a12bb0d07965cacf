"""From analog currents to spikes: send-on-delta, latency and rate.

Every encoder maps x [B, T, I] to spikes [B, T * substeps, 2 I], float32 0 or 1: channel i is ON (the positive
side of input i), channel I + i is OFF (its negative side). Nothing is sent in the padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError, unknown
from snnrobust.tasks import keyed
from snnrobust.tasks.dataset import Split, Task, zero_padding


def delta(split: Split, seed: int, *, substeps: int = 1, threshold: float = 0.5) -> NDArray[np.float32]:
    """Send-on-delta: a spike whenever the input has moved by a threshold from what was sent.

    A reference r starts at 0; at each step ON fires and r += threshold if x - r >= threshold, OFF fires and
    r -= threshold if r - x >= threshold. The sum of ON - OFF spikes times the threshold is r, which
    follows x. (Corradi and Indiveri, doi:10.1109/TBCAS.2015.2479256.)

    Args:
        split: The analog samples.
        seed: Not used; every encoder takes it.
        substeps: Steps for which each value is held; more let r follow faster.
        threshold: Change that makes a spike, in units of x.
    """
    _check_positive("threshold", threshold)
    x = np.repeat(split.x, substeps, axis=1)
    reference = np.zeros_like(x[:, 0])
    spikes = np.zeros((*x.shape[:2], 2, x.shape[2]), dtype=np.float32)
    for step in range(x.shape[1]):
        distance = x[:, step] - reference
        spikes[:, step, 0] = distance >= threshold
        spikes[:, step, 1] = -distance >= threshold
        reference += np.float32(threshold) * (spikes[:, step, 0] - spikes[:, step, 1])
    return spikes.reshape(*x.shape[:2], -1)


def latency(
    split: Split, seed: int, *, substeps: int = 8, threshold: float = 0.1, maximum: float = 3.0
) -> NDArray[np.float32]:
    """Latency: one spike per value, the earlier the larger the value.

    Within the ``substeps`` of a value of magnitude m the spike falls on
    floor((1 - min(m, maximum) / maximum) (substeps - 1) + 1/2); nothing is sent below the threshold.

    Args:
        split: The analog samples.
        seed: Not used; every encoder takes it.
        substeps: Steps that each value takes.
        threshold: Magnitude below which no spike is sent, in units of x.
        maximum: Magnitude that is sent at once, in units of x.
    """
    _check_positive("threshold", threshold)
    if not maximum > threshold:
        raise ConfigError(f"maximum: {maximum}; must be larger than threshold = {threshold}")
    sides = _sides(split.x)
    delay = np.floor((1 - np.minimum(sides, maximum) / maximum) * (substeps - 1) + 0.5)
    delay[sides < threshold] = -1
    spikes: NDArray[np.bool_] = delay[:, :, None, :] == np.arange(substeps)[:, None]
    return spikes.reshape(len(sides), -1, sides.shape[2]).astype(np.float32)


def rate(split: Split, seed: int, *, substeps: int = 4, gain: float = 0.3) -> NDArray[np.float32]:
    """Rate: independent spikes with probability min(1, gain |x|) in each step.

    The draws are keyed by (seed, index of the sample in the data set), so they do not depend on the batch.

    Args:
        split: The analog samples.
        seed: Key of the draws.
        substeps: Steps for which each value is held.
        gain: Probability of a spike per step at |x| = 1.
    """
    _check_positive("gain", gain)
    probability = gain * np.repeat(_sides(split.x), substeps, axis=1)
    spikes = np.empty(probability.shape, dtype=np.float32)
    for row, index in enumerate(split.indices):
        draws = keyed.uniforms(probability[row].size, seed, "rate", int(index))
        spikes[row] = draws.reshape(probability[row].shape) < probability[row]
    return spikes


ENCODERS: dict[str, Callable[..., NDArray[np.float32]]] = {"delta": delta, "latency": latency, "rate": rate}
SUBSTEPS = {"delta": 1, "latency": 8, "rate": 4}


def encode(task: Task, encoding: str, *, seed: int = 0, substeps: int | None = None, **options: float) -> Task:
    """The task with its analog inputs as spikes.

    Args:
        task: A task with analog inputs.
        encoding: "analog" (unchanged), "delta", "latency" or "rate".
        seed: Key of an encoder's draws.
        substeps: Steps per value; the task's dt is divided by it. None for the encoder's own.
        **options: The encoder's options, in units of x, e.g. ``threshold``.

    Returns:
        A task with 2 I inputs and T * substeps steps.

    Raises:
        ConfigError: If the encoding is unknown or an option is outside its domain.
    """
    if encoding not in ("analog", *ENCODERS):
        raise ConfigError(unknown("encoding", encoding, ("analog", *ENCODERS)))
    if encoding == "analog":
        return task
    if task.encoding != "analog":
        raise ConfigError(f"encoding: the task is {task.encoding} encoded already; give one with analog inputs")
    factor = SUBSTEPS[encoding] if substeps is None else substeps
    if factor < 1:
        raise ConfigError(f"substeps: {factor}; must be 1 or more")

    def encoded(split: Split) -> Split:
        lengths = split.lengths * factor
        spikes = ENCODERS[encoding](split, seed, substeps=factor, **options)
        return replace(split, x=zero_padding(spikes, lengths), lengths=lengths)

    return replace(
        task,
        train=encoded(task.train),
        validation=None if task.validation is None else encoded(task.validation),
        test=encoded(task.test),
        dt=task.dt / factor,
        encoding=encoding,
    )


def _sides(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The positive and the negative side of x, both as magnitudes [B, T, 2 I]."""
    return np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis=2)


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{name}: {value}; must be positive")
