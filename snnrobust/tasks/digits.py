"""Spoken digits by six speakers: the Free Spoken Digit Dataset, Z. Jackson and contributors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnrobust.tasks.dataset import Split, Task, TaskInfo, standardised
from snnrobust.tasks.sources import load_arrays

STEPS = 64  # later frames are cut
VALIDATION_INDEX = 10  # recordings 5-9 of each speaker and digit; 0-4 are the official test part


def build(*, data: Path | None = None, seed: int = 0) -> Task:
    """The first 64 log-mel frames of 10 ms, each band standardised with the valid training frames.

    Args:
        data: Folder to look in first.
        seed: Not used; the split is by recording number.

    Returns:
        Task with x [B, 64, 20], 2,400 / 300 / 300 samples; groups are speakers.
    """
    arrays = load_arrays("digits", data)
    codes = arrays["split"].astype(np.int64)
    codes[(codes == 0) & (arrays["index"] < VALIDATION_INDEX)] = 1
    lengths = np.minimum(arrays["length"], STEPS).astype(np.int64)
    whole = Split(
        x=standardised(arrays["x"][:, :STEPS].astype(np.float32), lengths, codes == 0),
        y=arrays["y"].astype(np.int64),
        lengths=lengths,
        indices=np.arange(len(codes), dtype=np.int64),
        groups=arrays["speaker"],
    )
    train, validation, test = (whole.take(codes == code) for code in range(3))
    return Task(
        name="digits",
        train=train,
        validation=validation,
        test=test,
        classes=tuple(str(digit) for digit in range(10)),
        dt=INFO.dt,
        citation="Z. Jackson and contributors, Free Spoken Digit Dataset, "
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
        split="official test part (recordings 0-4 of each speaker and digit), validation 5-9; all six speakers are "
        "in every part",
    )


INFO = TaskInfo(
    name="digits",
    title="ten spoken digits, known speakers (log-mel frames)",
    inputs=20,
    steps=STEPS,
    dt=10e-3,
    classes=10,
    build=build,
    source="digits",
)
