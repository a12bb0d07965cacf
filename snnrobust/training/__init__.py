"""Training: objectives with random and adversarial devices, the trainer, trained networks in run files."""

from snnrobust.training import objectives
from snnrobust.training.limits import FanInLimit
from snnrobust.training.objectives import (
    OBJECTIVES,
    Adversarial,
    ForwardNoise,
    Objective,
    QuantizationAware,
    Standard,
)
from snnrobust.training.problem import Batch, FiringRate, Problem, StepKey, StepResult
from snnrobust.training.record import TrainedModel, models_of
from snnrobust.training.trainer import Settings, TrainResult, train

__all__ = [
    "OBJECTIVES",
    "Adversarial",
    "Batch",
    "FanInLimit",
    "FiringRate",
    "ForwardNoise",
    "Objective",
    "Problem",
    "QuantizationAware",
    "Settings",
    "Standard",
    "StepKey",
    "StepResult",
    "TrainResult",
    "TrainedModel",
    "models_of",
    "objectives",
    "train",
]
