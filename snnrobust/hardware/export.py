"""One simulated chip as a file: its parameters, stored codes, and masks of what is broken or anomalous.

The file needs nothing but h5py or json to read. In HDF5, groups `parameters`, `codes`, `steps` and `masks` hold one
array a tensor, text attributes are UTF-8 bytes, truth values int8; in JSON, objects of the same names hold nested
lists. All are in the tensor's nominal shape.

    parameters  the values of this chip, with attributes role and unit
    codes       whole numbers that are stored, where the profile quantises
    steps       the value of one code; code times step is the stored value, before mismatch
    masks       NAME.dead and NAME.outlier: true where the element is
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.stages import Context, Dead, Stage, Variation
from snnrobust.storage import Array, Group, Scalar, write_run
from snnrobust.storage.files import replace_file

FORMAT = "snnrobust chip"
VERSION = 1
_HELD = -30.0  # an outlier coordinate below every quantile


def write_chip(path: str | os.PathLike[str], deployment: Deployment, instance: int, *, trial: int = 0) -> None:
    """Write one chip of a deployment, as HDF5 (.h5, .hdf5) or JSON (.json); the file appears whole or not at all.

    Args:
        path: The file.
        deployment: A network on sampled chips.
        instance: Number of the chip.
        trial: Number of the pass over the data, for temporal draws.

    Raises:
        ConfigError: If the file has another ending, or there is no such chip.
        RunFileError: If the file cannot be written; what was there before stays.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".h5", ".hdf5", ".json"):
        raise ConfigError(f"path: ending {suffix!r} of {Path(path).name}; allowed: .h5, .hdf5, .json")
    tree = chip_tree(deployment, instance, trial=trial)
    if suffix == ".json":
        replace_file(path, json.dumps(_plain(tree), allow_nan=True).encode())
    else:
        write_run(path, tree)


def chip_tree(deployment: Deployment, instance: int, *, trial: int = 0) -> Group:
    """What `write_chip` writes."""
    specs = deployment.net.parameter_specs()
    parameters = {
        name: Array(value.numpy(), attrs={"role": specs[name].role, "unit": specs[name].unit})
        for name, value in deployment.export(instance, trial=trial).items()
    }
    codes, steps = _codes(deployment)
    about: dict[str, Scalar] = {
        "chip_format": FORMAT,
        "chip_version": VERSION,
        "profile": deployment.profile.name,
        "profile_hash": deployment.profile.hash,
        "seed": deployment.seed,
        "purpose": deployment.purpose,
        "instance": instance,
        "trial": trial,
    }
    groups = {
        "parameters": Group(parameters),
        "codes": Group(_arrays(codes)),
        "steps": Group(_arrays(steps)),
        "masks": Group(_arrays(_masks(deployment, instance, trial))),
    }
    return Group(groups, about)


def _codes(deployment: Deployment) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    """Codes and steps of every tensor that a stage stores as whole numbers; these stages come first."""
    codes: dict[str, NDArray[np.generic]] = {}
    steps: dict[str, NDArray[np.generic]] = {}
    nominal = deployment.theta
    for name, stages in deployment.placement.stages.items():
        store = getattr(stages[0], "codes", None)
        if store is not None:
            numbers, step = store(nominal[name], Context(deployment.placement.specs[name], {}))
            codes[name] = numbers.to(torch.int32).numpy()
            steps[name] = step.expand(numbers.shape).numpy()
    return codes, steps


def _masks(deployment: Deployment, instance: int, trial: int) -> dict[str, NDArray[np.generic]]:
    z = {key: value[0] for key, value in deployment.coordinates([instance], trial).items()}
    found: dict[str, NDArray[np.generic]] = {}
    for name, stages in deployment.placement.stages.items():
        theta = deployment.net.nominal()[name].detach()
        context = Context(deployment.placement.specs[name], {})
        for stage in stages:
            if isinstance(stage, Dead):
                dead = stage.apply(torch.ones_like(theta), z, context) == 0
                found[f"{name}.dead"] = found.get(f"{name}.dead", False) | dead.numpy()
            elif isinstance(stage, Variation) and any(c.component == "outlier" for c in stage.coordinates()):
                found[f"{name}.outlier"] = _outliers(replace(stage, calibration=None), theta, z, context).numpy()
    return found


def _outliers(stage: Stage, theta: Tensor, z: Mapping[str, Tensor], context: Context) -> Tensor:
    """Elements that the outlier coordinate changes: a unit value of the weight's sign shows which device is meant."""
    unit = torch.where(theta < 0, -1.0, 1.0).to(theta.dtype)
    own = {c.key: z[c.key] for c in stage.coordinates() if c.component in ("outlier", "outlier_size")}
    held = {key: torch.full_like(value, _HELD) for key, value in own.items()}
    return stage.apply(unit, own, context) != stage.apply(unit, held, context)


def _arrays(values: Mapping[str, NDArray[np.generic]]) -> dict[str, Array | Group]:
    return {name: Array(value) for name, value in values.items()}


def _plain(tree: Group) -> dict[str, object]:
    """The tree as what JSON can hold."""
    plain: dict[str, object] = dict(tree.attrs)
    for name, group in tree.groups():
        plain[name] = {
            key: {"values": array.values.tolist(), **array.attrs} if array.attrs else array.values.tolist()
            for key, array in group.arrays()
        }
    return plain
