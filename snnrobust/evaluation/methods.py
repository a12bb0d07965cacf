"""Training methods in a benchmark: networks whose trainings differ in the seed alone, compared over their seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from snnrobust.evaluation.comparison import MeanDifference, compare_methods
from snnrobust.evaluation.tolerance import Tolerance
from snnrobust.storage import Group

Methods = Mapping[str, Mapping[int, str]]
"""Names of networks by method and training seed."""


class MethodComparison(NamedTuple):
    """Two training methods under one condition.

    Attributes:
        condition: The level or profile.
        first: Name of a method.
        second: Name of the other.
        accuracy: Difference of the mean accuracies over chips, paired by training seed.
    """

    condition: str
    first: str
    second: str
    accuracy: MeanDifference


def methods_of(result: Tolerance, stored: Group) -> dict[str, dict[int, str]]:
    """The methods of a benchmark's networks by their trainings' configurations; those without one are left out.

    A method has the name of its first network.

    Args:
        result: Results of the benchmark.
        stored: The whole run file.
    """
    names: dict[str, str] = {}
    found: dict[str, dict[int, str]] = {}
    for model in result.models:
        path = f"models/{model}"
        config = json.loads(str(stored.group(path).attrs.get("config", "{}"))) if path in stored else {}
        settings = config.get("settings", {})
        if "seed" in settings:
            same = {key: value for key, value in config.items() if key != "initial_parameters"}
            same["settings"] = {key: value for key, value in settings.items() if key != "seed"}
            method = names.setdefault(json.dumps(same, sort_keys=True), model)
            found.setdefault(method, {}).setdefault(int(settings["seed"]), model)
    return found


def compare_all_methods(result: Tolerance, methods: Methods) -> list[MethodComparison]:
    """Every two methods under every condition, paired by the training seeds that both have.

    Args:
        result: Results of a benchmark.
        methods: Its networks by method and seed.
    """
    place = {name: m for m, name in enumerate(result.models)}
    found = []
    for c, condition in enumerate(result.conditions):
        for first, second in combinations(methods, 2):
            seeds = sorted(methods[first].keys() & methods[second].keys())
            if seeds:
                one, two = (
                    np.stack([result.accuracy[place[methods[name][seed]], c] for seed in seeds])
                    for name in (first, second)
                )
                found.append(MethodComparison(condition, first, second, compare_methods(one, two)))
    return found
