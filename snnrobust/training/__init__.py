"""Training: objectives with random and adversarial devices, the trainer, trained networks in run files."""

from snnrobust.training import objectives
from snnrobust.training.finetune import Finetuned, finetune
from snnrobust.training.limits import FanInLimit, WeightClip
from snnrobust.training.objectives import (
    ABCD,
    AMP,
    ASAM,
    AWP,
    NAMED,
    OBJECTIVES,
    SAM,
    Adversarial,
    CVaR,
    Distillation,
    Dropout,
    EntropySGD,
    ForwardNoise,
    MixedNoise,
    Objective,
    QuantizationAware,
    RightCensoredNoise,
    Standard,
    objective_from,
)
from snnrobust.training.problem import Batch, FiringRate, Problem, StepKey, StepResult
from snnrobust.training.recipes import RECIPES, Recipe
from snnrobust.training.record import TrainedModel, models_of
from snnrobust.training.stored import StoredModule
from snnrobust.training.trainer import Settings, TrainResult, train
from snnrobust.training.tuning import Cost, Tuning

__all__ = [
    "ABCD",
    "AMP",
    "ASAM",
    "AWP",
    "NAMED",
    "OBJECTIVES",
    "RECIPES",
    "SAM",
    "Adversarial",
    "Batch",
    "CVaR",
    "Cost",
    "Distillation",
    "Dropout",
    "EntropySGD",
    "FanInLimit",
    "Finetuned",
    "FiringRate",
    "ForwardNoise",
    "MixedNoise",
    "Objective",
    "Problem",
    "QuantizationAware",
    "Recipe",
    "RightCensoredNoise",
    "Settings",
    "Standard",
    "StepKey",
    "StepResult",
    "StoredModule",
    "TrainResult",
    "TrainedModel",
    "Tuning",
    "WeightClip",
    "finetune",
    "models_of",
    "objective_from",
    "objectives",
    "train",
]
