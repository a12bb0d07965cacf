"""A network on sampled chips: their parameters, how their arrays are read, and what they answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.hardware import individual
from snnrobust.hardware.crossbar.mapping import devices
from snnrobust.hardware.crossbar.periphery import converted
from snnrobust.hardware.energy import Counts, energy
from snnrobust.hardware.events import Draws, happens, received, simulated, spikes_only
from snnrobust.hardware.fault_maps import faults_by_parameter
from snnrobust.hardware.limits import foreign_inputs
from snnrobust.hardware.mismatch import ON_ZEROS, Kept, Placement, draw, inert
from snnrobust.hardware.model import Deployable, Readable, Routable
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.reading import layer_reads
from snnrobust.hardware.routes import routes_of
from snnrobust.hardware.stages import Array
from snnrobust.hardware.stages.base import STATIC, TEMPORAL, Kind
from snnrobust.hardware.time_scale import step_of
from snnrobust.snn.network import Network, Recording
from snnrobust.snn.reads import Reads
from snnrobust.snn.routes import Route

PARTS = 4
"""Parts of a pass over the data in which slow noise is drawn again."""
INPUT_BYTES = 64_000_000
"""Memory that the spikes of chips' inputs, or of a layer, may take where each chip receives its own."""


class Static(NamedTuple):
    """What chips keep: coordinates, and the cells of arrays, by key and by parameter."""

    z: Mapping[str, Tensor]
    kept: Mapping[str, Kept]


class Pass(NamedTuple):
    """A call of the network for some chips: their parameters, inputs, reads and routes, and how many there are."""

    params: Mapping[str, Tensor]
    x: Tensor
    reads: Mapping[str, Reads]
    routes: Mapping[str, Route]
    chips: int


@dataclass(frozen=True)
class Deployment:
    """A network on `instances` sampled chips; chip n is a pure function of (seed, purpose, n).

    Attributes:
        net: The network.
        theta: Its parameters when it was put on the chips; with an instance axis those that each chip has its own of.
        stored: What every chip stores of them (`mismatch.stored`), or each of its own.
        placement: Its parameters on the profile.
        instances: Number of chips K.
        seed: Seed of the draws.
        purpose: What the chips are for: validation chips choose models, test chips are used once.
        notes: What the user has to know: roles without a model, blocks not simulated, limits exceeded.
        enforced: Whether inputs that the chip cannot take are refused.
        periphery: Whether converters and events are simulated.
        ranges: Largest output of each column [N] that the ADCs of a layer take, by layer; the profile's otherwise.
        largest_input: Largest |x| that DACs take; None for each sample's own.
        writes: How often parameters that chips have of their own were written before: an array is programmed anew.
        first: Number of the chip that the first of them is for.
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
    writes: int = 0
    first: int = 0

    @property
    def profile(self) -> Profile:
        """The chip's profile."""
        return self.placement.profile

    @property
    def chips(self) -> range:
        """Numbers of the chips: all, or those that have parameters of their own."""
        mine = individual.own(self.placement.specs, self.theta)
        return range(self.first, self.first + len(self.theta[mine[0]])) if mine else range(self.instances)

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
        theta, stored = self._rows(self.theta, chips), self._rows(self.stored, chips)
        with torch.no_grad():
            if static is None:
                return individual.realise(self.placement, theta, self.coordinates(chips, trial, part), stored=stored)
            z = {**static.z, **self.coordinates(chips, trial, part, kinds=TEMPORAL)}
            return individual.realise(self.placement, theta, z, stored=stored, kept=static.kept)

    def written(self, parameters: Mapping[str, Tensor], *, writes: int = 0, first: int = 0) -> Deployment:
        """The same chips with parameters of their own in place of those that all have.

        Each is stored as its chip stores it; weights in an array are programmed anew where they were written before.

        Args:
            parameters: Parameters by name, each [K, *nominal shape], for K chips.
            writes: How often they were written before.
            first: Number of the first of the chips.

        Raises:
            ConfigError: If a name is unknown, or there are not so many chips.
            ShapeError: If a tensor has another shape.
        """
        given = individual.checked(self.placement.specs, self.net.nominal(), parameters)
        theta = {**self.theta, **given}
        counts = {len(theta[name]) for name in individual.own(self.placement.specs, theta)}
        if writes < 0:
            raise ConfigError(f"writes: {writes} must be 0 or more")
        if len(counts) > 1 or first < 0 or first + max(counts, default=0) > self.instances:
            raise ConfigError(f"parameters: for {max(counts)} chips from {first} on, of {self.instances} chips")
        with torch.no_grad():
            stored = individual.stored(self.placement, theta, self.stored)
        names = inert(self.placement, theta)
        notes = [line for line in self.notes if not line.startswith(ON_ZEROS)]
        notes += [ON_ZEROS + ", ".join(names)] if names else []
        return replace(self, theta=theta, stored=stored, notes=tuple(notes), writes=writes, first=first)

    def static(self, block: Sequence[int] | None = None) -> Static:
        """What the chips of a block keep over all parts and trials."""
        chips = self._chips(block)
        z = self.coordinates(chips, kinds=STATIC)
        with torch.no_grad():
            theta, stored = self._rows(self.theta, chips), self._rows(self.stored, chips)
            kept = individual.keep(self.placement, theta, z, stored=stored)
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
            writes=dict.fromkeys(individual.own(self.placement.specs, self.theta), self.writes),
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
        own = self.parameters(chips, trial=trial, part=part) if params is None else params
        found = []
        for given in self.passes(x, chips, lengths, trial, first_sample, own):
            logits = self._answer(given, lengths)
            found.append(logits if logits.ndim == 3 else logits.expand(given.chips, *logits.shape))
        return torch.cat(found) if len(found) > 1 else found[0]

    def record(
        self,
        x: Tensor,
        block: Sequence[int] | None = None,
        *,
        lengths: Tensor | None = None,
        trial: int = 0,
        part: int = 0,
        first_sample: int = 0,
        params: Mapping[str, Tensor] | None = None,
    ) -> Recording:
        """As `run`, with the spikes [K, T, B, N] of every spiking layer, which a lab can record, too.

        Raises:
            ConfigError: If it is not a `Network` that is on the chips.
        """
        if not isinstance(self.net, Network):
            raise ConfigError(f"net: a {type(self.net).__name__} has no spikes that could be recorded; a Network has")
        chips = self._chips(block)
        own = self.parameters(chips, trial=trial, part=part) if params is None else params
        found = []
        for given in self.passes(x, chips, lengths, trial, first_sample, own):
            with torch.no_grad():
                seen = self.net.record(given.params, given.x, lengths, reads=given.reads, routes=given.routes)
            logits = seen.logits if seen.logits.ndim == 3 else seen.logits.expand(given.chips, *seen.logits.shape)
            spikes = {n: s if s.ndim == 4 else s.expand(given.chips, *s.shape) for n, s in seen.spikes.items()}
            found.append(Recording(logits, spikes))
        if len(found) == 1:
            return found[0]
        layers = {name: torch.cat([one.spikes[name] for one in found]) for name in found[0].spikes}
        return Recording(torch.cat([one.logits for one in found]), layers)

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
        return layer_reads(self, block, trial=trial, first_sample=first_sample)

    def routes(self, block: Sequence[int], *, trial: int = 0, first_sample: int = 0) -> Mapping[str, Route]:
        """The way of neurons' spikes to weights, by the weights' name; empty where all arrive when they are due."""
        if not self.periphery:
            return {}
        draws = Draws(self.seed, self.purpose, block, trial)
        return routes_of(self.net, self.profile.events, draws, step=self.step, first_sample=first_sample)

    def fault_map(self, block: Sequence[int] | None = None) -> dict[str, Tensor]:
        """What a test finds broken: by parameter, [K, *shape] of bool, true where an element is dead or a cell stuck.

        Args:
            block: Numbers of the chips; all by default.

        Raises:
            ProfileError: If the profile says that no test finds the faults (`faults.known`).
        """
        if not self.profile.faults.known:
            raise ProfileError(f"{self.profile.name}: faults.known: false; no test finds the faults of these chips")
        chips = self._chips(block)
        z = self.coordinates(chips, kinds=("continuous", "fixed"))
        with torch.no_grad():
            theta, stored = self._rows(self.theta, chips), self._rows(self.stored, chips)
            return faults_by_parameter(self.placement, theta, z, stored=stored)

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
        there = self.chips
        return (range(k, min(k + size, there.stop)) for k in range(there.start, there.stop, size))

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

    def _rows(self, values: Mapping[str, Tensor], chips: Sequence[int]) -> dict[str, Tensor]:
        """Values of these chips: of what each has its own of, their rows."""
        return individual.rows(self.placement.specs, values, [chip - self.first for chip in chips])

    def passes(
        self,
        x: Tensor,
        chips: Sequence[int],
        lengths: Tensor | None,
        trial: int,
        first_sample: int,
        params: Mapping[str, Tensor],
    ) -> Iterator[Pass]:
        """What the network is run on: all chips at once, or as many as can be given inputs of their own."""
        self.check_input(x)
        specs, size = self.placement.specs, len(chips)
        routes = self.routes(chips, trial=trial, first_sample=first_sample)
        if routes or self._has_events(x):
            widest = max([x.shape[2], *(specs[name].shape[1] for name in routes)])
            size = min(size, max(1, INPUT_BYTES // max(1, x[..., 0].numel() * widest * x.element_size())))
        for some in (slice(start, start + size) for start in range(0, len(chips), size)):
            inputs = self.received(x, chips[some], lengths=lengths, trial=trial, first_sample=first_sample)
            reads = self.reads(chips[some], trial=trial, first_sample=first_sample)
            ways = self.routes(chips[some], trial=trial, first_sample=first_sample) if routes else {}
            yield Pass(individual.rows(specs, params, some), self.converted(inputs), reads, ways, len(chips[some]))

    def _answer(self, given: Pass, lengths: Tensor | None) -> Tensor:
        with torch.no_grad():
            if given.routes and isinstance(self.net, Routable):
                return self.net.run(given.params, given.x, lengths, reads=given.reads, routes=given.routes)
            if given.reads and isinstance(self.net, Readable):
                return self.net.run(given.params, given.x, lengths, reads=given.reads)
            return self.net.run(given.params, given.x, lengths)

    def _chips(self, block: Sequence[int] | None) -> Sequence[int]:
        chips, there = self.chips if block is None else block, self.chips
        if not len(chips) or not all(k in there for k in chips):
            raise ConfigError(f"block: {list(chips)[:3]} must be chips of {there.start} .. {there.stop - 1}")
        return chips
