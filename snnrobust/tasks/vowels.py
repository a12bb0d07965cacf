"""Japanese Vowels: tell nine speakers apart from one utterance of /ae/. Shipped with the package.

M. Kudo, J. Toyama, M. Shimbo, doi:10.24432/C5NS47; twelve LPC cepstrum coefficients every 6.4 ms.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnrobust.tasks import keyed
from snnrobust.tasks.dataset import Split, Task, TaskInfo, standardised
from snnrobust.tasks.sources import load_arrays

SPEAKERS = 9
HELD_OUT = 7


def build(*, data: Path | None = None, seed: int = 0) -> Task:
    """The official split, with 7 of each speaker's 30 training utterances held out for validation.

    Each coefficient is standardised with the mean and standard deviation of the valid training frames.

    Args:
        data: Folder to look in first.
        seed: Key of the choice of validation utterances.

    Returns:
        Task with x [B, 29, 12], 207 / 63 / 370 samples.
    """
    arrays = load_arrays("vowels", data)
    y, lengths = arrays["y"].astype(np.int64), arrays["length"].astype(np.int64)
    codes = arrays["split"].astype(np.int64)
    for speaker in range(SPEAKERS):
        rows = np.flatnonzero((y == speaker) & (codes == 0))
        codes[keyed.capped(rows, HELD_OUT, seed, "vowels", "validation", speaker)] = 1

    x = standardised(arrays["x"], lengths, codes == 0)
    whole = Split(x, y, lengths, np.arange(len(y), dtype=np.int64))
    train, validation, test = (whole.take(codes == code) for code in range(3))
    return Task(
        name="vowels",
        train=train,
        validation=validation,
        test=test,
        classes=tuple(f"speaker {k + 1}" for k in range(SPEAKERS)),
        dt=INFO.dt,
        citation="M. Kudo, J. Toyama, M. Shimbo, Japanese Vowels, UCI Machine Learning Repository, doi:10.24432/C5NS47",
        licence="CC BY 4.0",
        split=f"official train and test parts; {HELD_OUT} of each speaker's 30 training utterances held out "
        f"for validation (seed {seed}); the classes are the speakers, so all nine are in every part",
    )


INFO = TaskInfo(
    name="vowels",
    title="which of nine speakers says /ae/ (LPC cepstrum)",
    inputs=12,
    steps=29,
    dt=6.4e-3,
    classes=SPEAKERS,
    build=build,
    source="vowels",
)
