"""A lab's bench: chips on which parameters are written again and again, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from snnrobust.hardware import individual
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.stages.base import STATIC, TEMPORAL
from snnrobust.snn.network import Network, Recording
from snnrobust.training.problem import Batch, Params


@dataclass(frozen=True)
class Part:
    """Chips in one part of a pass over data.

    Attributes:
        trial: Number of the pass.
        part: Which part of it.
        z: Coordinates of the chips, as they were when they were first written.
        params: Their parameters then.
    """

    trial: int
    part: int
    z: Mapping[str, Tensor]
    params: Params


@dataclass(frozen=True)
class Bench:
    """A block of chips.

    Attributes:
        deployment: A network on chips.
        chips: Those on the bench.
        knobs: Parameters that are written.
    """

    deployment: Deployment
    chips: range
    knobs: tuple[str, ...]

    @cached_property
    def start(self) -> dict[str, Tensor]:
        """What is written at first [K, *nominal shape]: the knobs, and what chips have of their own already."""
        specs, count = self.deployment.placement.specs, len(self.chips)
        written = {*self.knobs, *individual.own(specs, self.deployment.theta)}
        return {
            name: (p if p.ndim > len(specs[name].shape) else p.expand(count, *p.shape))
            for name, p in self._theta.items()
            if name in written
        }

    def write(self, values: Params, writes: int) -> Deployment:
        """The chips with these values, which were written so often before; what they store has their gradient."""
        placement, theta = self.deployment.placement, {**self._theta, **values}
        stored = individual.stored(placement, theta, self.deployment.stored)
        return replace(self.deployment, theta=theta, stored=stored, writes=writes, first=self.chips.start)

    def part(self, trial: int, part: int) -> Part:
        """The chips in a part of a pass over data."""
        now = self.deployment.coordinates(self.chips, trial, part, kinds=TEMPORAL)
        with torch.no_grad():
            z = {**self._static, **now}
            return Part(trial, part, z, self._realised(self.deployment, z))

    def answer(
        self, written: Deployment, batch: Batch, here: Part, first_sample: int, *, spikes: bool = True
    ) -> Recording:
        """Logits [K, B, O] of the chips and, of a `Network`, spikes if wanted: all that a lab sees of them."""
        how = {"trial": here.trial, "part": here.part, "first_sample": first_sample}
        with torch.no_grad():
            params = self._with_written(written, here.z, here.params)
            if spikes and isinstance(written.net, Network):
                return written.record(batch.x, self.chips, lengths=batch.lengths, params=params, **how)
            return Recording(written.run(batch.x, self.chips, lengths=batch.lengths, params=params, **how), {})

    def model(self, written: Deployment, *, measured: bool) -> Params:
        """Parameters of the chips as a lab knows them, with the gradient of what was written.

        Args:
            written: The chips.
            measured: Whether all static ones were measured; what is stored otherwise.
        """
        if not measured:
            return written.stored
        return self._with_written(written, self._static, self._measured)

    @cached_property
    def _theta(self) -> dict[str, Tensor]:
        rows = [chip - self.deployment.first for chip in self.chips]
        return individual.rows(self.deployment.placement.specs, self.deployment.theta, rows)

    @cached_property
    def _static(self) -> dict[str, Tensor]:
        return self.deployment.coordinates(self.chips, kinds=STATIC)

    @cached_property
    def _measured(self) -> Params:
        with torch.no_grad():
            return self._realised(self.deployment, self._static)

    @cached_property
    def _moved(self) -> tuple[str, ...]:
        """Parameters that change on the chips when one is written."""
        return individual.moved_with(self.deployment.placement.specs, self.start)

    @cached_property
    def _programmed(self) -> bool:
        """Whether something is drawn at every write."""
        coordinates = self.deployment.placement.coordinates.values()
        return any(c.per_write and c.parameter in self.start for c in coordinates)

    def _realised(self, deployment: Deployment, z: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = [chip - deployment.first for chip in self.chips]
        theta, stored = (
            individual.rows(deployment.placement.specs, v, rows) for v in (deployment.theta, deployment.stored)
        )
        return individual.realise(deployment.placement, theta, z, stored=stored)

    def _with_written(self, written: Deployment, z: Mapping[str, Tensor], params: Params) -> dict[str, Tensor]:
        """Parameters of the chips with what was written since; only that is worked out again."""
        if self._programmed:
            z = {**z, **written.coordinates(self.chips, kinds=STATIC)}
        few = individual.only(written.placement, self._moved)
        found = individual.realise(few, written.theta, z, stored=written.stored)
        return {**params, **{name: found[name] for name in self._moved}}
