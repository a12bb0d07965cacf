"""Small results and run files with known numbers."""

import json

import numpy as np

from snnrobust.evaluation import Tolerance
from snnrobust.hardware import Profile, load_profile
from snnrobust.snn.network import Network
from snnrobust.storage import Array, Group
from snnrobust.training.record import TrainedModel

LEVELS = (0.0, 0.2, 0.5)
PROFILES = ("dynapse1_conservative", "pcm_ibm")


def tolerance(models=("standard", "adversarial"), levels=LEVELS, profiles=PROFILES, chips=40, **described):
    """Accuracies of 100 samples, so that they are whole percents, from a seeded generator."""
    conditions = [*(Profile.relative(level).name for level in levels), *profiles]
    population = f"{chips} simulated test chips (seed 1) on 100 samples of vowels; data: official"
    described = {"population": population, "samples": 100, **described}
    result = Tolerance.empty(models, conditions, [*levels, *[float("nan")] * len(profiles)], chips, **described)
    rng = np.random.default_rng(0)
    centre = np.linspace(0.95, 0.7, len(models) * len(conditions)).reshape(len(models), len(conditions), 1)
    accuracy = np.round(100 * (centre + 0.04 * rng.uniform(-1, 1, size=(*centre.shape[:2], chips)))) / 100
    result.measures["accuracy"][...] = accuracy
    result.measures["balanced_accuracy"][...] = accuracy - 0.01
    result.measures["nonfinite"][...] = 0
    return result


def trained(label="standard", *, epoch=-1, history=True):
    net = Network.recurrent(3, 5, 2, dt=1e-2, seed=0)
    columns = {"loss": [1.5, 0.7, 0.3], "validation": [0.5, 0.8, 0.9], "seconds": [2.0, 2.0, 3.0]} if history else {}
    config = {
        "task": "vowels",
        "encoding": "analog",
        "objective": {"name": label, "radius": 0.1},
        "settings": {"epochs": 3, "learning_rate": 0.005},
    }
    return TrainedModel(label, net, config, columns, epoch)


def run_group(result, models=(), profiles=None):
    """A benchmark's run file as `evaluation.results` writes it."""
    if profiles is None:
        shipped = [name for name, level in zip(result.conditions, result.levels, strict=True) if np.isnan(level)]
        profiles = [load_profile(name) for name in shipped]
    config = {
        "task": ["vowels", "analog", "official"],
        "chips": {"instances": result.chips, "seed": 1, "purpose": "test", "trials": 1},
    }
    texts = {p.name: Group({"text": Array(np.array(p.to_yaml()))}, {"hash": p.hash, "kind": p.kind}) for p in profiles}
    return Group(
        {
            "models": Group({model.label: model.to_group() for model in models}),
            "profiles": Group(texts),
            "tolerance": result.to_group(),
        },
        {"kind": "benchmark", "config": json.dumps(config), "engine": "eager", "threads": 2, "torch_version": "2.14"},
    )
