"""Parts of what varies on a chip, and the same chips of which some parts are perfect.

A chip's coordinates z are told apart by the role or the layer of the tensor that they move, or by the component that
they drive. A part is taken away by hiding its coordinates from the stages that read them, so that all other parts are
the same on the same chip: also where roles are correlated, or share a die. What all chips have alike (quantisation,
nominal drift and the wires of an array) stays in any case; converters come and go with the noise of reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, unknown
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.events import happens
from snnrobust.hardware.mismatch import Placement
from snnrobust.hardware.model import Readable
from snnrobust.hardware.schema.digital import Events
from snnrobust.hardware.stages import Array, Context, Coordinate, Stage, Variation, Z
from snnrobust.snn.specs import ParameterSpec

GROUPINGS = ("role", "layer", "component")
FAULTS, READS, EVENTS = "faults", "reads", "events"
"""Parts that belong to no role: broken elements, what happens at a read of an array, lost and made up spikes."""
_OF_DEVICE = {"": "programming", "drift": "drift", "read": "read noise", "slow": "read noise"}


@dataclass(frozen=True)
class Partial:
    """A stage that does not see some of its coordinates.

    Attributes:
        stage: The stage.
        hidden: Keys of the coordinates that it does not see; those of a `Variation` are then 0.
        zero: Those of them that an array sees as 0, because without any it would not even be programmed.
    """

    stage: Stage
    hidden: frozenset[str]
    zero: tuple[Coordinate, ...] = ()

    def coordinates(self) -> tuple[Coordinate, ...]:
        """Those of the stage."""
        return self.stage.coordinates()

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The tensor after the stage, for the devices whose hidden coordinates are at their median."""
        seen = {key: value for key, value in z.items() if key not in self.hidden}
        return self.stage.apply(theta, seen | {c.key: torch.zeros(c.shape) for c in self.zero}, context)

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """Those of the stage."""
        return self.stage.project(z, k)


def parts_of(deployment: Deployment, by: str = "role") -> tuple[str, ...]:
    """The parts of what varies on the chips of a deployment, in the order of the network's parameters.

    Args:
        deployment: A network on chips.
        by: "role", "layer" or "component" (die, spatial, device, outliers, programming, ...).

    Raises:
        ConfigError: If there is no such grouping.
    """
    if by not in GROUPINGS:
        raise ConfigError(unknown("by", by, GROUPINGS))
    found = list(dict.fromkeys(_label(by, spec, c) for spec, c in _coordinates(deployment.placement)))
    if deployment.periphery and happens(deployment.profile.events):
        found.append(EVENTS)
    crossbar = deployment.profile.crossbar
    if crossbar is not None and isinstance(deployment.net, Readable):
        converters = deployment.periphery and (crossbar.adc is not None or crossbar.dac is not None)
        noisy = crossbar.read_noise is not None and crossbar.read_noise.model != "none"
        found += [READS] if converters or noisy else []
    return tuple(sorted(dict.fromkeys(found), key=lambda part: part == FAULTS))  # which belong to no part before them


def varying(deployment: Deployment, parts: Collection[str], by: str = "role") -> Deployment:
    """The same chips, of which only these parts vary; everything else is perfect.

    Args:
        deployment: A network on chips.
        parts: Parts that stay as they are.
        by: How parts are told apart, as in `parts_of`.

    Raises:
        ConfigError: If there is no such part.
    """
    known = parts_of(deployment, by)
    for part in parts:
        if part not in known:
            raise ConfigError(unknown("part", part, known))
    placement = deployment.placement
    stages = {
        name: tuple(_partial(stage, placement.specs[name], by, parts) for stage in found)
        for name, found in placement.stages.items()
    }
    update: dict[str, object] = {}
    coordinates = placement.coordinates
    if EVENTS not in parts:
        update["events"] = Events()
    if READS not in parts and placement.profile.crossbar is not None:
        silent = {"adc": None, "dac": None, "read_noise": None}
        update["crossbar"] = placement.profile.crossbar.model_copy(update=silent)
        coordinates = {key: c for key, c in coordinates.items() if c.kind != "converter"}
    # The profile of a placement says what surrounds the parameters; their stages have what they need.
    profile = placement.profile.model_copy(update=update)
    return replace(deployment, placement=replace(placement, profile=profile, stages=stages, coordinates=coordinates))


def _partial(stage: Stage, spec: ParameterSpec, by: str, parts: Collection[str]) -> Stage:
    """The stage, seeing the coordinates of these parts alone."""
    own = [c for c in stage.coordinates() if _label(by, spec, c) not in parts]
    if not own:
        return stage
    hidden = {c.key for c in own}
    mixing = stage.mixing if isinstance(stage, Variation) else None
    if mixing is not None and any(c.component == "device" for c in own):
        hidden |= {c.key for c in mixing.group}
    zero = tuple(c for c in own if c.kind == "continuous") if isinstance(stage, Array) else ()
    return Partial(stage, frozenset(hidden), zero)


def _coordinates(placement: Placement) -> Iterator[tuple[ParameterSpec, Coordinate]]:
    """Every coordinate with the tensor that it moves; shared ones once for each."""
    for name, stages in placement.stages.items():
        for stage in stages:
            for c in stage.coordinates():
                yield placement.specs[name], c


def _label(by: str, spec: ParameterSpec, c: Coordinate) -> str:
    """The part that a coordinate of a tensor belongs to."""
    if by == "layer":
        return spec.layer or "network"
    if c.component.startswith("dead_") or c.component.endswith((".fault", ".cluster")):
        return FAULTS
    if c.component.startswith("adc_"):
        return READS
    if by == "role":
        return spec.role
    if c.component.startswith("outlier"):
        return "outliers"
    return _OF_DEVICE[c.component.partition(".")[2]] if c.granularity == "per_device" else c.component
