"""A layer from its structure, which files keep as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snnrobust.errors import ConfigError, unknown
from snnrobust.snn.layers import NEURONS, SpikingLayer
from snnrobust.snn.readouts import LI, READOUTS, MeanRate
from snnrobust.snn.surrogates import Surrogate


def layer_of(entry: Mapping[str, Any]) -> SpikingLayer | LI | MeanRate:
    """The layer that `entry` describes, as its `to_dict` gives it, with initial values.

    Raises:
        ConfigError: If it names an unknown neuron or readout.
    """
    kinds: dict[str, Any] = {**NEURONS, **READOUTS}
    if entry["kind"] not in kinds:
        raise ConfigError(unknown("layer kind", entry["kind"], kinds))
    d = dict(entry.get("dynamics", {}))
    if entry["kind"] in NEURONS:
        d["surrogate"] = Surrogate(**d["surrogate"])
        d["recurrent"] = entry["recurrent"]
        if entry["fan_in"] is not None:
            d |= {"fan_in": entry["fan_in"], "seed": entry["seed"]}
        if "self_connections" in entry:
            d["self_connections"] = entry["self_connections"]
        if "refractory" in entry["parameters"]:
            d["refractory"] = d["dt"]  # any value that creates the parameter; the stored one replaces it
    elif d:
        d = {"dt": d["dt"], "integrator": d["integrator"], "decode": entry["decode"]}
    if "tau_syn" in entry["parameters"]:
        d["tau_syn"] = 1.0
    if entry["kind"] in READOUTS:
        d["on_chip"] = entry["on_chip"]
    layer: SpikingLayer | LI | MeanRate = kinds[entry["kind"]](entry["inputs"], entry["neurons"], **d)
    return layer
