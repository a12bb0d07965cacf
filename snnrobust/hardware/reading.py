"""How the arrays of each layer on a chip are read at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from snnrobust.hardware import individual, randomness
from snnrobust.hardware.crossbar.periphery import reads_of, side_by_side
from snnrobust.hardware.model import Readable
from snnrobust.hardware.stages.converters import offset_coordinate
from snnrobust.snn.reads import Reads
from snnrobust.snn.specs import WEIGHTS

if TYPE_CHECKING:
    from snnrobust.hardware.deployment import Deployment


def layer_reads(
    deployment: Deployment, block: Sequence[int], *, trial: int = 0, first_sample: int = 0
) -> dict[str, Reads]:
    """Reads of each layer of the chips in a block, one after the other where their weights differ.

    Args:
        deployment: A network on sampled chips.
        block: Numbers of the chips.
        trial: Number of the pass over the data.
        first_sample: Number of the first sample in the data set.

    Returns:
        By layer; empty where nothing happens at a read.
    """
    crossbar, net, specs = deployment.profile.crossbar, deployment.net, deployment.placement.specs
    if crossbar is None or not isinstance(net, Readable):
        return {}
    if not deployment.periphery:
        crossbar = crossbar.model_copy(update={"adc": None})
    offsets = any(c.kind == "converter" for c in deployment.placement.coordinates.values())
    z = deployment.coordinates(block, kinds=("converter",)) if offsets else {}
    theta = individual.rows(specs, deployment.theta, [chip - deployment.first for chip in block])
    alone = [(layer_weights(net, own), z_own) for own, z_own in individual.one_by_one(specs, theta, z)]
    found, largest = {}, deployment.largest_input or 1.0
    for layer, first in alone[0][0].items():
        offset = offset_coordinate(layer, len(first["weight"])).key
        keys = tuple(_read_key(deployment, layer, chip, trial) for chip in block)
        each = [
            reads_of(
                [w for role, w in weights[layer].items() if role in WEIGHTS],
                crossbar,
                time=deployment.profile.environment.time_since_programming or 0.0,
                keys=keys,
                gain=weights[layer].get("gain"),
                bound=deployment.ranges.get(layer),
                offset=own.get(offset),
                corrected=deployment.placement.calibration == "column_affine",
                largest=largest,
                first_sample=first_sample,
            )
            for weights, own in alone
        ]
        largest = 1.0  # the next layers' inputs are spikes
        reads = side_by_side(each)
        if reads is not None:
            found[layer] = reads
    return found


def layer_weights(net: Readable, params: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Weights and gain of each layer on the chip whose arrays may be read, by layer and role, layers in order."""
    found: dict[str, dict[str, Tensor]] = {layer: {} for layer in net.readable_layers()}
    for name, spec in net.parameter_specs().items():
        if spec.layer in found and spec.on_chip and spec.role in (*WEIGHTS, "gain"):
            found[spec.layer][spec.role] = params[name]
    return {layer: own for layer, own in found.items() if "weight" in own}


def _read_key(deployment: Deployment, layer: str, chip: int, trial: int) -> int:
    return randomness.key(deployment.seed, deployment.purpose, layer, "read", "per_read", chip, trial) % 2**64
