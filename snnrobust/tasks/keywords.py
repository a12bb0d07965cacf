"""Ten spoken keywords of Speech Commands, by speakers that training has not heard.

P. Warden, arXiv:1804.03209. Made from the official test clips alone, so accuracies do not compare with published
ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnrobust.tasks.convert import KEYWORDS
from snnrobust.tasks.dataset import Split, Task, TaskInfo
from snnrobust.tasks.sources import load_arrays

EVERY = 2  # frames per step
DECIBELS = 10.0  # one unit of input


def build(*, data: Path | None = None, seed: int = 0) -> Task:
    """Log-mel energies above the clip's median, every second frame of 10 ms.

    x = max(0, dB - median of the clip) / 10 dB: the loudness of the recording drops out.

    Args:
        data: Folder to look in first.
        seed: Not used; the split is fixed by the speakers' ids.

    Returns:
        Task with x [B, 49, 32], 2,889 / 389 / 796 samples; groups are speakers.
    """
    arrays = load_arrays("keywords", data)
    rows = np.flatnonzero(np.isin(arrays["y"], [list(arrays["classes"]).index(word) for word in KEYWORDS]))
    order = [KEYWORDS.index(str(name)) if name in KEYWORDS else -1 for name in arrays["classes"]]
    frames = arrays["x"][rows].astype(np.float32)
    x = np.maximum(0, frames - np.median(frames, axis=(1, 2), keepdims=True))[:, ::EVERY] / DECIBELS
    whole = Split(
        x=x.astype(np.float32),
        y=np.array(order)[arrays["y"][rows]].astype(np.int64),
        lengths=np.full(len(rows), x.shape[1], dtype=np.int64),
        indices=rows.astype(np.int64),
        groups=arrays["speaker"][rows],
    )
    train, validation, test = (whole.take(arrays["split"][rows] == code) for code in range(3))
    return Task(
        name="keywords",
        train=train,
        validation=validation,
        test=test,
        classes=KEYWORDS,
        dt=INFO.dt,
        citation="P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209",
        licence="CC BY 4.0",
        split="by speaker (hash of the id), no speaker in two parts; made from the official test clips alone, so "
        "accuracies do not compare with published ones",
    )


INFO = TaskInfo(
    name="keywords",
    title="ten spoken keywords, new speakers (log-mel energies)",
    inputs=32,
    steps=49,
    dt=EVERY * 10e-3,
    classes=len(KEYWORDS),
    build=build,
    source="keywords",
)
