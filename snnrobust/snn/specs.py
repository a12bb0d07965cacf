"""What a parameter tensor is physically: its role, shape and unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ROLES = (
    "weight",
    "recurrent_weight",
    "bias",
    "gain",
    "tau_mem",
    "tau_syn",
    "v_th",
    "v_leak",
    "v_reset",
    "refractory",
    "tau_adapt",
    "adaptation",
)
"""Every role a parameter may have; the same words are the keys of a hardware profile."""

WEIGHTS = ("weight", "recurrent_weight")
UNITS = {"tau_mem": "s", "tau_syn": "s", "tau_adapt": "s", "refractory": "s"}
POSITIVE = ("tau_mem", "tau_syn", "tau_adapt")


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter tensor of a network.

    Attributes:
        role: One of `ROLES`, or "none" for a parameter that no device carries (a norm layer's scale).
        shape: Nominal shape, [N, I] for weights (to, from) and [N] for one value a neuron.
        unit: "s" for times, "1" for everything that is measured in units of the membrane potential.
        positive: Only the magnitude matters; the engine takes the absolute value.
        on_chip: False where the layer is computed off the chip and no device varies.
        layer: Name of the layer; parameters of one layer share its neurons.
        fan_in: Of a weight, the connections of one neuron over all weights of its layer, where these are fewer than
            its sources; None where it has them all.
        source: Of a weight, the layer whose neurons are its sources, "" for the network's inputs; None if not known.
    """

    role: str
    shape: tuple[int, ...]
    unit: str = "1"
    positive: bool = False
    on_chip: bool = True
    layer: str = ""
    fan_in: int | None = None
    source: str | None = None


class LayerKind(NamedTuple):
    """What a layer is, as a chip's limits ask.

    Attributes:
        neuron: Its kind: lif, alif, li, rate, or a user's own.
        reset: "hard" or "soft"; None where it does not spike.
    """

    neuron: str
    reset: str | None


def spec_of(
    role: str, shape: tuple[int, ...], *, on_chip: bool = True, layer: str = "", fan_in: int | None = None
) -> ParameterSpec:
    """The spec of a parameter with the unit and sign that its role implies."""
    return ParameterSpec(role, shape, UNITS.get(role, "1"), role in POSITIVE, on_chip, layer, fan_in)
