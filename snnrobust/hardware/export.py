"""One simulated chip as a file: its parameters, stored codes, and masks of what is broken or anomalous.

The file needs nothing but h5py or json to read. In HDF5, groups `parameters`, `codes`, `steps`, `currents`, `masks` and
`conductances` hold one array a tensor, text attributes are UTF-8 bytes, truth values int8; in JSON, objects of the same
names hold nested lists. All are in the tensor's nominal shape, but for the currents of cores.

    parameters  the values of this chip, with attributes role and unit
    codes       whole numbers that are stored, where the profile quantises, before mismatch:
                NAME                    uniform steps, or entries of a type: code times step is the stored value;
                                        or a mask of base currents: sign(code) sum_j (bit j of |code|) current_j
                NAME.type               which of the types of its sign a synapse uses
                NAME.coarse, NAME.fine  range and code of a bias generator, the sign of the value that of `fine`
                NAME.g_plus, ...        level of each device of a crossbar, from 0 at g_min
    steps       the value of one code
    currents    base currents of each neuron's core [N, bits], in units of the weight; those of a bias generator in A
    masks       NAME.dead, NAME.outlier, NAME.g_plus.stuck_lrs, .stuck_hrs, .not_converged: true where the element is
    conductances  NAME.g_plus, ...: what the cells of a crossbar hold before a read, microsiemens
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
from snnrobust.hardware import individual
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.fault_maps import faults_of
from snnrobust.hardware.mismatch import first_random
from snnrobust.hardware.stages import Context, Stage, Variation
from snnrobust.hardware.stages.base import STATIC
from snnrobust.snn.specs import ParameterSpec
from snnrobust.storage import Array, Group, Scalar, write_run
from snnrobust.storage.files import replace_file

FORMAT = "snnrobust chip"
VERSION = 2
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
    theta = individual.rows(deployment.placement.specs, deployment.theta, instance - deployment.first)
    about: dict[str, Scalar] = {
        "chip_format": FORMAT,
        "chip_version": VERSION,
        "profile": deployment.profile.name,
        "profile_hash": deployment.profile.hash,
        "seed": deployment.seed,
        "purpose": deployment.purpose,
        "instance": instance,
        "trial": trial,
        "writes": deployment.writes,
    }
    groups = {
        "parameters": Group(parameters),
        **{name: Group(_arrays(group)) for name, group in _stored(deployment, theta).items()},
        "masks": Group(_arrays(_masks(deployment, theta, instance))),
        "conductances": Group(_arrays(_conductances(deployment, instance))),
    }
    return Group(groups, about)


def _conductances(deployment: Deployment, instance: int) -> dict[str, NDArray[np.generic]]:
    found = deployment.conductances([instance])
    return {f"{name}.{device}": g[0].numpy() for name, cells in found.items() for device, g in cells.items()}


def _stored(deployment: Deployment, theta: Mapping[str, Tensor]) -> dict[str, dict[str, NDArray[np.generic]]]:
    """Codes, steps and currents of every tensor that is stored with finite precision, one group each."""
    groups: dict[str, dict[str, NDArray[np.generic]]] = {"codes": {}, "steps": {}, "currents": {}}
    places = {"code": ("codes", ""), "step": ("steps", ""), "currents": ("currents", ""), "current": ("currents", "")}
    for name, stages in deployment.placement.stages.items():
        value, context = theta[name], _context(deployment.placement.specs, theta, name)
        for stage in stages[: first_random(stages)]:
            codes = getattr(stage, "codes", None)
            for part, numbers in (codes(value, context) if codes is not None else {}).items():
                group, suffix = places.get(part, ("codes", f".{part}"))
                groups[group][f"{name}{suffix}"] = numbers.numpy()
            value = stage.apply(value, {}, context)
    return groups


def _context(specs: Mapping[str, ParameterSpec], theta: Mapping[str, Tensor], name: str) -> Context:
    """Where a tensor stands, with the parameters of its layer."""
    layer = {spec.role: theta[n] for n, spec in specs.items() if spec.layer == specs[name].layer}
    return Context(specs[name], layer)


def _masks(deployment: Deployment, theta: Mapping[str, Tensor], instance: int) -> dict[str, NDArray[np.generic]]:
    specs = deployment.placement.specs
    stored = individual.rows(specs, deployment.stored, instance - deployment.first)
    z = {key: value[0] for key, value in deployment.coordinates([instance], kinds=STATIC).items()}
    faults = faults_of(deployment.placement, theta, z, stored=stored)
    found: dict[str, NDArray[np.generic]] = {name: mask.numpy() for name, mask in faults.items()}
    for name, stages in deployment.placement.stages.items():
        context = Context(specs[name], {})
        for stage in stages:
            if isinstance(stage, Variation) and any(c.component == "outlier" for c in stage.coordinates()):
                found[f"{name}.outlier"] = _outliers(replace(stage, calibration=None), theta[name], z, context).numpy()
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
