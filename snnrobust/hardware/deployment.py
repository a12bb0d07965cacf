"""A network on sampled chips: their parameters, how their arrays are read, and what they answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.hardware import randomness
from snnrobust.hardware.crossbar.mapping import devices
from snnrobust.hardware.crossbar.periphery import converted, reads_of
from snnrobust.hardware.energy import Counts, energy
from snnrobust.hardware.events import Draws, happens, received, simulated, spikes_only
from snnrobust.hardware.fault_maps import faults_by_parameter
from snnrobust.hardware.limits import foreign_inputs
from snnrobust.hardware.mismatch import Kept, Placement, draw, keep, realise
from snnrobust.hardware.model import Deployable, Readable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.stages import Array
from snnrobust.hardware.stages.base import STATIC, TEMPORAL, Kind
from snnrobust.hardware.stages.converters import offset_coordinate
from snnrobust.hardware.time_scale import step_of
from snnrobust.snn.reads import Reads
from snnrobust.snn.specs import WEIGHTS

PARTS = 4
"""Parts of a pass over the data in which slow noise is drawn again."""
INPUT_BYTES = 64_000_000
"""Memory that the inputs of chips may take where each chip receives its own."""


class Static(NamedTuple):
    """What chips keep: coordinates, and the cells of arrays, by key and by parameter."""

    z: Mapping[str, Tensor]
    kept: Mapping[str, Kept]


@dataclass(frozen=True)
class Deployment:
    """A network on `instances` sampled chips; chip n is a pure function of (seed, purpose, n).

    Attributes:
        net: The network.
        theta: Its parameters when it was put on the chips.
        stored: What every chip stores of them (`mismatch.stored`).
        placement: Its parameters on the profile.
        instances: Number of chips K.
        seed: Seed of the draws.
        purpose: What the chips are for: validation chips choose models, test chips are used once.
        notes: What the user has to know: roles without a model, blocks not simulated, limits exceeded.
        enforced: Whether inputs that the chip cannot take are refused.
        periphery: Whether converters and events are simulated.
        ranges: Largest output of each column [N] that the ADCs of a layer take, by layer; the profile's otherwise.
        largest_input: Largest |x| that DACs take; None for each sample's own.
    """

    net: Deployable
    theta: Mapping[str, Tensor]
    stored: Mapping[str, Tensor]
    placement: Placement
    instances: int
    seed: int
    purpose: str
    notes: tuple[str, ...]
    enforced: bool = False
    periphery: bool = True
    ranges: Mapping[str, Tensor] = field(default_factory=dict)
    largest_input: float | None = None

    @property
    def profile(self) -> Profile:
        """The chip's profile."""
        return self.placement.profile

    @property
    def step(self) -> float | None:
        """Time in s that the chip takes for a step; None where the network does not say what a step is."""
        return step_of(self.net, self.profile.time_scale)

    @property
    def parts(self) -> int:
        """In how many parts a pass over the data goes: more than one where noise changes within it."""
        return PARTS if any(c.kind == "slow" for c in self.placement.coordinates.values()) else 1

    def parameters(
        self, block: Sequence[int] | None = None, *, trial: int = 0, part: int = 0, static: Static | None = None
    ) -> dict[str, Tensor]:
        """Parameters of the chips in a block (all by default); tensors the profile changes have an instance axis.

        Args:
            block: Numbers of the chips.
            trial: Number of the pass over the data.
            part: Which part of the pass, of `parts`.
            static: What `static` gives for the same block, if it is at hand.
        """
        chips = self._chips(block)
        with torch.no_grad():
            if static is None:
                z = self.coordinates(chips, trial, part)
                return realise(self.placement, self.theta, z, stored=self.stored)
            z = {**static.z, **self.coordinates(chips, trial, part, kinds=TEMPORAL)}
            return realise(self.placement, self.theta, z, stored=self.stored, kept=static.kept)

    def static(self, block: Sequence[int] | None = None) -> Static:
        """What the chips of a block keep over all parts and trials."""
        z = self.coordinates(self._chips(block), kinds=STATIC)
        with torch.no_grad():
            kept = keep(self.placement, self.theta, z, stored=self.stored)
        arrays = [stage for name in kept for stage in self.placement.stages[name] if isinstance(stage, Array)]
        cells = {c.key for array in arrays for c in array.coordinates()}
        return Static({key: value for key, value in z.items() if key not in cells}, kept)

    def conductances(self, block: Sequence[int] | None = None) -> dict[str, dict[str, Tensor]]:
        """What the cells of arrays hold now, in microsiemens, before any read: [K, *shape] by parameter and device.

        A chip's cells are those of the same chip at another time, moved on: `deploy(net, time=...)`. Weights into which
        something is written that changes from trial to trial are left out.

        Args:
            block: Numbers of the chips.
        """
        crossbar = self.profile.crossbar
        if crossbar is None:
            return {}
        names, chips, specs = devices(crossbar), len(self._chips(block)), self.net.parameter_specs()
        return {
            name: {device: g.expand(chips, *specs[name].shape) for device, g in zip(names, kept.cells, strict=False)}
            for name, kept in self.static(block).kept.items()
        }

    def coordinates(
        self, chips: Sequence[int], trial: int = 0, part: int = 0, *, kinds: Sequence[Kind] = (*STATIC, *TEMPORAL)
    ) -> dict[str, Tensor]:
        """Coordinates z of chips in a part of a trial, [K, *shape] by key: all of these kinds that are drawn."""
        return draw(
            self.placement,
            seed=self.seed,
            purpose=self.purpose,
            instances=chips,
            kinds=kinds,
            trial=trial,
            part=part,
        )

    def run(
        self,
        x: Tensor,
        block: Sequence[int] | None = None,
        *,
        lengths: Tensor | None = None,
        trial: int = 0,
        part: int = 0,
        first_sample: int = 0,
        params: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits [K, B, O] of the chips in a block (all by default) for inputs x [T, B, I].

        Args:
            x: Inputs.
            block: Numbers of the chips.
            lengths: Valid steps of each sample [B].
            trial: Number of the pass over the data.
            part: Which part of the pass, of `parts`.
            first_sample: Number of the first sample in the data set, which events and noise of reads are keyed by.
            params: Parameters of the same chips, trial and part, if they are at hand.
        """
        chips = self._chips(block)
        self.check_input(x)
        own = self.parameters(chips, trial=trial, part=part) if params is None else params
        size = len(chips)
        if self._has_events(x):
            size = min(size, max(1, INPUT_BYTES // max(1, x.numel() * x.element_size())))
        found = []
        for some in (slice(start, start + size) for start in range(0, len(chips), size)):
            inputs = self.received(x, chips[some], lengths=lengths, trial=trial, first_sample=first_sample)
            reads = self.reads(chips[some], trial=trial, first_sample=first_sample)
            logits = self._answer(self._of(own, some), self.converted(inputs), lengths, reads)
            found.append(logits if logits.ndim == 3 else logits.expand(len(chips[some]), *logits.shape))
        return torch.cat(found) if len(found) > 1 else found[0]

    def received(
        self,
        x: Tensor,
        block: Sequence[int],
        *,
        lengths: Tensor | None = None,
        trial: int = 0,
        first_sample: int = 0,
    ) -> Tensor:
        """Inputs as they reach the chips of a block, [K, T, B, I]; x itself where nothing happens to its spikes."""
        if not self._has_events(x):
            return x
        draws = Draws(self.seed, self.purpose, block, trial)
        return received(x, self.profile.events, draws, step=self.step, lengths=lengths, first_sample=first_sample)

    def converted(self, x: Tensor) -> Tensor:
        """Inputs as the chip's input converters give them and its cells see them; spikes stay as they are."""
        crossbar = self.profile.crossbar
        if crossbar is None or not self.periphery:
            return x
        return converted(x, crossbar, self.largest_input)

    def reads(self, block: Sequence[int], *, trial: int = 0, first_sample: int = 0) -> dict[str, Reads]:
        """How the arrays of each layer are read at every step, by layer; empty where nothing happens at a read."""
        crossbar = self.profile.crossbar
        if crossbar is None or not isinstance(self.net, Readable):
            return {}
        if not self.periphery:
            crossbar = crossbar.model_copy(update={"adc": None})
        found, largest = {}, self.largest_input or 1.0
        offsets = any(c.kind == "converter" for c in self.placement.coordinates.values())
        z = self.coordinates(block, kinds=("converter",)) if offsets else {}
        for layer, own in layer_weights(self.net, self.theta).items():
            keys = tuple(self._read_key(layer, chip, trial) for chip in block)
            reads = reads_of(
                [w for role, w in own.items() if role in WEIGHTS],
                crossbar,
                time=self.profile.environment.time_since_programming or 0.0,
                keys=keys,
                gain=own.get("gain"),
                bound=self.ranges.get(layer),
                offset=z.get(offset_coordinate(layer, len(own["weight"])).key),
                corrected=self.placement.calibration == "column_affine",
                largest=largest,
                first_sample=first_sample,
            )
            largest = 1.0  # the next layers' inputs are spikes
            if reads is not None:
                found[layer] = reads
        return found

    def fault_map(self, block: Sequence[int] | None = None) -> dict[str, Tensor]:
        """What a test finds broken: by parameter, [K, *shape] of bool, true where an element is dead or a cell stuck.

        Args:
            block: Numbers of the chips; all by default.

        Raises:
            ProfileError: If the profile says that no test finds the faults (`faults.known`).
        """
        if not self.profile.faults.known:
            raise ProfileError(f"{self.profile.name}: faults.known: false; no test finds the faults of these chips")
        z = self.coordinates(self._chips(block), kinds=("continuous", "fixed"))
        with torch.no_grad():
            return faults_by_parameter(self.placement, self.theta, z, stored=self.stored)

    def energy(self, counts: Counts) -> float | None:
        """Energy in J of a run with these counts; None where the profile lacks any term of it."""
        return energy(self.profile.energy, counts)

    def check_input(self, x: Tensor) -> None:
        """Raise ProfileError where limits are enforced and the chip cannot take these inputs."""
        foreign = foreign_inputs(self.profile, x) if self.enforced else None
        if foreign is not None:
            raise ProfileError(f"{self.profile.name}: {foreign}")

    def blocks(self, size: int) -> Iterator[range]:
        """The chips in consecutive blocks of at most `size`."""
        if size < 1:
            raise ConfigError(f"size: {size} must be at least 1")
        return (range(k, min(k + size, self.instances)) for k in range(0, self.instances, size))

    def export(self, instance: int, *, trial: int = 0, path: str | os.PathLike[str] | None = None) -> dict[str, Tensor]:
        """All parameters of one chip, in nominal shapes.

        Args:
            instance: Number of the chip.
            trial: Number of the pass over the data.
            path: File (.h5, .hdf5, .json) that the chip is written to, with its codes and masks (`hardware.export`).
        """
        if path is not None:
            from snnrobust.hardware.export import write_chip

            write_chip(path, self, instance, trial=trial)
        nominal = self.net.parameter_specs()
        found = self.parameters([instance], trial=trial)
        return {name: p[0] if p.ndim > len(nominal[name].shape) else p for name, p in found.items()}

    def _has_events(self, x: Tensor) -> bool:
        events = simulated(self.profile.events, self.step)
        return self.periphery and happens(events) and bool(spikes_only(x).any())

    def _of(self, params: Mapping[str, Tensor], some: slice) -> dict[str, Tensor]:
        """Parameters of some of the chips."""
        specs = self.net.parameter_specs()
        return {name: p[some] if p.ndim > len(specs[name].shape) else p for name, p in params.items()}

    def _answer(
        self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None, reads: Mapping[str, Reads]
    ) -> Tensor:
        with torch.no_grad():
            if reads and isinstance(self.net, Readable):
                return self.net.run(params, x, lengths, reads=reads)
            return self.net.run(params, x, lengths)

    def _read_key(self, layer: str, chip: int, trial: int) -> int:
        return randomness.key(self.seed, self.purpose, layer, "read", "per_read", chip, trial) % 2**64

    def _chips(self, block: Sequence[int] | None) -> Sequence[int]:
        chips = range(self.instances) if block is None else block
        wrong = [k for k in chips if not 0 <= k < self.instances]
        if wrong or not len(chips):
            raise ConfigError(f"block: {list(chips)[:3]} must be chips of 0 .. {self.instances - 1}")
        return chips


def layer_weights(net: Readable, params: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Weights and gain of each layer on the chip whose arrays may be read, by layer and role, layers in order."""
    found: dict[str, dict[str, Tensor]] = {layer: {} for layer in net.readable_layers()}
    for name, spec in net.parameter_specs().items():
        if spec.layer in found and spec.on_chip and spec.role in (*WEIGHTS, "gain"):
            found[spec.layer][spec.role] = params[name]
    return {layer: own for layer, own in found.items() if "weight" in own}
