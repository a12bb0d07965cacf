"""Five movements from a smartwatch, by people that training has not seen.

M. Matey-Sanz, S. Casteleyn, C. Granell, doi:10.1016/j.dib.2023.109809.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnrobust.tasks import keyed
from snnrobust.tasks.dataset import Split, Task, TaskInfo
from snnrobust.tasks.sources import load_arrays

GRAVITY = 9.80665  # m/s^2
HELD_OUT = 3  # of the 18 training subjects


def build(*, data: Path | None = None, seed: int = 0) -> Task:
    """Windows of 1.28 s at 50 Hz: acceleration in g, rotation in rad/s.

    Args:
        data: Folder to look in first.
        seed: Key of the choice of the 3 validation subjects among the 18 that are not the test's.

    Returns:
        Task with x [B, 64, 6], 1,723 samples in train and validation, 461 in test; groups are subjects.
    """
    arrays = load_arrays("gestures", data)
    rows = np.flatnonzero(arrays["device"] == "sw")
    codes, subjects = arrays["split"][rows].astype(np.int64), arrays["subject"][rows]
    known = np.unique(subjects[codes == 0])
    held_out = known[keyed.permutation(len(known), seed, "gestures", "validation")[:HELD_OUT]]
    codes[np.isin(subjects, held_out)] = 1
    unit = np.array([GRAVITY] * 3 + [1.0] * 3)
    whole = Split(
        x=(arrays["x"][rows] / arrays["scale"] / unit).astype(np.float32),
        y=arrays["y"][rows].astype(np.int64),
        lengths=np.full(len(rows), arrays["x"].shape[1], dtype=np.int64),
        indices=rows.astype(np.int64),
        groups=subjects,
    )
    train, validation, test = (whole.take(codes == code) for code in range(3))
    return Task(
        name="gestures",
        train=train,
        validation=validation,
        test=test,
        classes=tuple(str(name) for name in arrays["classes"]),
        dt=INFO.dt,
        citation="M. Matey-Sanz, S. Casteleyn, C. Granell, Data in Brief (2023) 109809, doi:10.1016/j.dib.2023.109809",
        licence="CC BY 4.0",
        split=f"by subject: test s03, s08, s13, s18, s23, validation {', '.join(sorted(held_out))} (seed {seed}); "
        "windows overlap by half within a part; classes are unbalanced",
        metric="balanced accuracy",
    )


INFO = TaskInfo(
    name="gestures",
    title="five movements from a smartwatch, new people (acceleration and rotation)",
    inputs=6,
    steps=64,
    dt=1 / 50,
    classes=5,
    build=build,
    source="gestures",
)
