"""Temporal exclusive-or: two pulses with a pause between them, the class is whether their signs differ.

Generated, so it needs no data. No single moment tells the class: the network must keep the first sign over
the pause.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snnrobust.errors import ConfigError
from snnrobust.tasks import keyed
from snnrobust.tasks.dataset import Split, Task, TaskInfo

STEPS = 100
PULSE = 10  # steps that a pulse lasts
FIRST = (5, 15)  # first and last step at which the first pulse may start
PAUSE = (20, 40)  # fewest and most steps between the pulses
SIZES = (1200, 400, 800)  # train, validation, test; multiples of 4, so that the four sign pairs are balanced


def build(*, data: Path | None = None, seed: int = 0, noise: float = 0.1) -> Task:
    """Two pulses of height +1 or -1 and 10 ms, at jittered times, in noise.

    The first starts at 5 to 15 ms, the second 20 to 40 ms after the first has ended; the sample lasts 100 ms.
    Each sample is a pure function of (seed, index).

    Args:
        data: Not used; every task takes it.
        seed: Key of the samples.
        noise: Standard deviation of the noise added to every step.

    Returns:
        Task with x [B, 100, 1] and classes "same", "different", 1200 / 400 / 800 samples.

    Raises:
        ConfigError: If ``noise`` is negative or not finite.
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise ConfigError(f"noise: {noise}; must be 0 or more")
    total = sum(SIZES)
    signs = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])[np.arange(total) % 4]
    x = np.stack([_sample(signs[index], seed, index, noise) for index in range(total)])[:, :, None]
    whole = Split(
        x=x,
        y=(signs[:, 0] != signs[:, 1]).astype(np.int64),
        lengths=np.full(total, STEPS, dtype=np.int64),
        indices=np.arange(total, dtype=np.int64),
    )
    bounds = np.cumsum((0, *SIZES))
    train, validation, test = (whole.take(np.arange(*bounds[part : part + 2])) for part in range(3))
    return Task(
        name="temporal_xor",
        train=train,
        validation=validation,
        test=test,
        classes=("same", "different"),
        dt=INFO.dt,
        citation="generated",
        licence="none needed",
        split=f"generated independently for each part (seed {seed}, noise {noise})",
    )


def _sample(signs: NDArray[np.int64], seed: int, index: int, noise: float) -> NDArray[np.float32]:
    """One sample [STEPS]."""
    first_word, pause_word = (int(w) for w in keyed.words(2, seed, "temporal_xor", "times", index))
    first = FIRST[0] + first_word % (FIRST[1] - FIRST[0] + 1)
    second = first + PULSE + PAUSE[0] + pause_word % (PAUSE[1] - PAUSE[0] + 1)
    x = noise * keyed.noise(STEPS, seed, "temporal_xor", "noise", index)
    x[first : first + PULSE] += signs[0]
    x[second : second + PULSE] += signs[1]
    return x.astype(np.float32)


INFO = TaskInfo(
    name="temporal_xor",
    title="do two pulses, a pause apart, differ in sign (generated; needs memory)",
    inputs=1,
    steps=STEPS,
    dt=1e-3,
    classes=2,
    build=build,
)
