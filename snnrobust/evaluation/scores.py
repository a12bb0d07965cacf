"""What one chip scores: its accuracy, and the margin of its answers, which moves where an accuracy stands still."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.evaluation.montecarlo import answers, block_size, mean_over_classes
from snnrobust.evaluation.statistics.yields import counted
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.tasks import Split


class Scores(NamedTuple):
    """Scores of chips.

    Attributes:
        accuracy: Share of right answers [K], over samples, or over classes where balanced accuracy counts; -inf, which
            meets no specification, where a chip gave a non-finite output.
        margin: Mean over the same of the true class's logit less the largest other one [K]; NaN where a chip gave a
            non-finite output.
    """

    accuracy: NDArray[np.float64]
    margin: NDArray[np.float64]


def deployed(
    profile: Profile,
    net: Deployable,
    chips: int,
    seed: int,
    purpose: str,
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> Deployment:
    """`Chip.deploy` without its warnings, which the notes of the deployment repeat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Chip(profile).deploy(net, chips, seed, purpose, **deploy)


def chip_scores(deployment: Deployment, data: Split, metric: str = "accuracy", *, trials: int = 1) -> Scores:
    """Scores of every chip of a deployment.

    Args:
        deployment: A network on sampled chips.
        data: Samples.
        metric: "accuracy" or "balanced accuracy".
        trials: Passes over the data, over which scores are averaged.
    """
    blocks = deployment.blocks(block_size(deployment.net, data))
    parts = [block_scores(deployment, data, block, metric, trials=trials) for block in blocks]
    return Scores(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def block_scores(
    deployment: Deployment, data: Split, block: Sequence[int], metric: str = "accuracy", *, trials: int = 1
) -> Scores:
    """`chip_scores` of some of the chips, by their numbers."""
    right, margin, broken = *np.zeros((2, len(block), len(data))), np.zeros(len(block))
    for rows, y, logits in answers(deployment, data, block, trials=trials):
        right[:, rows] += (logits.argmax(-1) == y).numpy()
        broken += (~logits.isfinite().all(-1)).sum(1).numpy()
        margin[:, rows] += margins(logits, y).double().numpy()
    found = (right / trials, margin / trials)
    mean = [values.mean(1) if metric == "accuracy" else mean_over_classes(values, data.y) for values in found]
    return Scores(counted(mean[0], broken), mean[1])


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """True logits less the largest others [K, B], of logits [K, B, O] and classes [B]; NaN where one is not finite."""
    true = torch.nn.functional.one_hot(y, logits.shape[-1]).bool()
    others = logits.masked_fill(true, -torch.inf).amax(-1)
    own = logits.masked_fill(~true, 0).sum(-1)
    return (own - others).where(logits.isfinite().all(-1), torch.nan)
