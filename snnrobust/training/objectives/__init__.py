"""Training objectives: what is minimised, and which devices are seen on the way.

An objective is a frozen set of choices. `bind(problem)` gives its `loss_and_grad(params, batch, key)`, a pure function:
no `.grad`, mode, buffer or global generator changes. They are composed of the parts of `training.perturb` (devices that
are drawn or attacked), `training.steepest` (ascent without a device) and `training.problem` (losses).
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from snnrobust.errors import ConfigError, unknown
from snnrobust.training.objectives.adversarial import Adversarial
from snnrobust.training.objectives.base import PAPER_ROLES, Choices, Loss, LossAndGrad, Losses, Objective
from snnrobust.training.objectives.distillation import Distillation
from snnrobust.training.objectives.dropout import Dropout
from snnrobust.training.objectives.flatness import AMP, ASAM, AWP, SAM
from snnrobust.training.objectives.historic import ABCD, EntropySGD
from snnrobust.training.objectives.noise import CVaR, ForwardNoise, MixedNoise, RightCensoredNoise
from snnrobust.training.objectives.published import NAMED
from snnrobust.training.objectives.standard import QuantizationAware, Standard

__all__ = [
    "ABCD",
    "AMP",
    "ASAM",
    "AWP",
    "NAMED",
    "OBJECTIVES",
    "PAPER_ROLES",
    "SAM",
    "Adversarial",
    "CVaR",
    "Choices",
    "Distillation",
    "Dropout",
    "EntropySGD",
    "ForwardNoise",
    "Loss",
    "LossAndGrad",
    "Losses",
    "MixedNoise",
    "Objective",
    "QuantizationAware",
    "RightCensoredNoise",
    "Standard",
    "objective_from",
]

_ALL: tuple[type[Choices], ...] = (
    Standard,
    Dropout,
    ForwardNoise,
    MixedNoise,
    CVaR,
    RightCensoredNoise,
    QuantizationAware,
    Distillation,
    Adversarial,
    AWP,
    AMP,
    SAM,
    ASAM,
    ABCD,
    EntropySGD,
)
OBJECTIVES: dict[str, type[Choices]] = {cls.name: cls for cls in _ALL}
"""Objectives by name; the command line and run files look here."""


def objective_from(values: Mapping[str, Any]) -> Choices:
    """The objective of a run file: the inverse of its `to_dict`.

    Args:
        values: Name and choices, as plain values; hashes of profiles and teachers are not looked at.

    Raises:
        ConfigError: If the name or a choice is unknown, or a choice is outside its domain.
    """
    name = values.get("name")
    if name not in OBJECTIVES:
        raise ConfigError(unknown("objective", str(name), OBJECTIVES))
    kind = OBJECTIVES[name]
    known = {field.name for field in fields(kind)}
    choices = {}
    for key, value in values.items():
        if key in known:
            inner = tuple(value) if isinstance(value, list) else value
            choices[key] = objective_from(inner) if isinstance(inner, Mapping) else inner
        elif key != "name" and not key.endswith("_hash"):
            raise ConfigError(unknown(f"objective {name}", key, known))
    return kind(**choices)
