"""Chips under observation: what a block of them answers and does, with every spike and potential recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.evaluation.montecarlo import mean_over_classes
from snnrobust.evaluation.observation import activity
from snnrobust.evaluation.observation.behaviour import LAYER_MEASURES
from snnrobust.hardware.deployment import Deployment, Pass
from snnrobust.hardware.energy import Counts, conversions, deliveries, missing
from snnrobust.hardware.events import spikes_only
from snnrobust.hardware.model import Deployable
from snnrobust.snn.network import Network
from snnrobust.snn.readouts import valid_steps
from snnrobust.snn.traces import Trace, of_layer, tonic, trace
from snnrobust.tasks import Split
from snnrobust.training.data import precision, to_batch
from snnrobust.training.problem import Batch

BYTES = 200_000_000
"""Memory that the traces of chips and samples may take at once."""
MOST_CHIPS = 16
"""Chips of a block: one that is lost is done again."""
_COPIES = 10  # of spikes and potentials, in float64


Arrays = dict[str, NDArray[np.float64]]


def network_of(net: Deployable) -> Network:
    """The network, whose spikes can be recorded.

    Raises:
        ConfigError: If it is a module or model of one's own.
    """
    if not isinstance(net, Network):
        raise ConfigError(f"net: a {type(net).__name__} has no spikes that could be recorded; a Network has")
    return net


def chips_at_once(net: Network, data: Split) -> int:
    """Chips of a block, from the memory of their traces."""
    return int(max(1, min(MOST_CHIPS, _cells(net, data) // 16)))


def observe(
    deployment: Deployment,
    data: Split,
    block: Sequence[int],
    reference: NDArray[np.int64],
    *,
    batch_size: int | None = None,
) -> Arrays:
    """What a block of chips does in one pass over the data.

    Args:
        deployment: A `Network` on sampled chips.
        data: Samples.
        block: Numbers of the chips.
        reference: What the nominal network answers, a class for each sample [B].
        batch_size: Samples at once; as memory allows by default.

    Returns:
        By name [K]: accuracy, balanced_accuracy; nonfinite, the number of samples with an output that is not finite
        (which are not right); agreement, the share of samples that are answered as the nominal network does; latency,
        the mean time to decision in s over samples with finite outputs; energy in J of a sample, NaN where the profile
        has no numbers for it. By name [K, L], layer by layer: spikes of a sample; rate of a neuron in Hz; numbers of
        neurons that are silent, saturated, tonic; distance and near (`activity`). Times are those of the network.

    Raises:
        ConfigError: If it is not a `Network` that is on the chips.
    """
    net = network_of(deployment.net)
    size = max(1, _cells(net, data) // len(block)) if batch_size is None else batch_size
    seen = _Seen.nothing(net, len(block), data, energy=not missing(deployment.profile.energy))
    parts = deployment.parts
    static = deployment.static(block) if parts > 1 else None
    for part in range(parts):
        params = deployment.parameters(block, part=part, static=static)
        if part == 0:
            seen.add_neurons(deployment, params, data)
        for rows in _batches(len(data) * part // parts, len(data) * (part + 1) // parts, size):
            batch = to_batch(data, rows, precision(params))
            first = 0
            for given in deployment.passes(batch.x, block, batch.lengths, 0, rows.start, params):
                chips = slice(first, first + given.chips)
                seen.add(chips, rows, deployment, given, batch)
                first = chips.stop
    return seen.measures(deployment, data, reference)


def decisions(net: Network, data: Split, *, batch_size: int = 256) -> NDArray[np.int64]:
    """What a network answers as it was trained, on no chip: a class for each sample [B]."""
    params, found = net.nominal(), []
    for rows in _batches(0, len(data), batch_size):
        batch = to_batch(data, rows, precision(params))
        with torch.no_grad():
            found.append(net.run(params, batch.x, batch.lengths).argmax(-1).numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class _Seen:
    """What was seen so far; by sample [K, B], by neuron [K, N] or by chip [K]."""

    answer: NDArray[np.int64]
    broken: NDArray[np.bool_]
    steps: NDArray[np.float64]
    counts: dict[str, Tensor]
    distance: dict[str, NDArray[np.float64]]
    near: dict[str, NDArray[np.float64]]
    saturated_from: dict[str, Tensor]
    tonic: dict[str, Tensor]
    events: NDArray[np.float64]
    conversions: NDArray[np.float64]
    energy: bool

    @classmethod
    def nothing(cls, net: Network, chips: int, data: Split, *, energy: bool) -> _Seen:
        shape, layers = (chips, len(data)), net.spiking
        return cls(
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape, dtype=bool),
            np.zeros(shape),
            {name: torch.zeros(chips, layer.neurons, dtype=torch.float64) for name, layer in layers.items()},
            {name: np.full(shape, np.nan) for name in layers},
            {name: np.full(shape, np.nan) for name in layers},
            {},
            {},
            np.zeros(chips),
            np.zeros(chips),
            energy,
        )

    def add_neurons(self, deployment: Deployment, params: dict[str, Tensor], data: Split) -> None:
        """What follows from the chips' parameters alone."""
        lengths = torch.from_numpy(data.lengths)
        for name, layer in network_of(deployment.net).spiking.items():
            own, chips = of_layer(params, name), len(self.answer)
            dead = own.get("refractory", torch.zeros(layer.neurons)) / layer.dynamics.dt
            self.saturated_from[name] = activity.most_spikes(lengths, dead.round().clamp_min(0))
            self.tonic[name] = tonic(layer, own, data.x.shape[1]).expand(chips, layer.neurons)

    def add(self, chips: slice, rows: slice, deployment: Deployment, given: Pass, batch: Batch) -> None:
        """Run some chips on some samples."""
        net = network_of(deployment.net)
        lengths = torch.full((len(batch.y),), len(batch.x)) if batch.lengths is None else batch.lengths
        found = _by_chip(
            trace(net, given.params, given.x, batch.lengths, reads=given.reads, routes=given.routes), given.chips
        )
        self.answer[chips, rows] = found.logits.argmax(-1).numpy()
        self.broken[chips, rows] = ~found.logits.isfinite().all(-1).numpy()
        self.steps[chips, rows] = activity.steps_to_decision(found.running, lengths).numpy()
        for name, spikes in found.spikes.items():
            self.counts[name][chips] += activity.spike_counts(spikes, lengths)
            if name in found.margins:
                far = activity.distances(found.margins[name], lengths, _unit(net, name))
                self.distance[name][chips, rows], self.near[name][chips, rows] = far.mean.numpy(), far.near.numpy()
        if self.energy:
            events, converted = _work(deployment, given, found, valid_steps(lengths, len(batch.x)))
            self.events[chips] += events
            self.conversions[chips] += converted

    def measures(self, deployment: Deployment, data: Split, reference: NDArray[np.int64]) -> Arrays:
        """What `observe` returns."""
        net, right = network_of(deployment.net), ((self.answer == data.y) & ~self.broken).astype(np.float64)
        late = np.where(self.broken, 0, self.steps).sum(1) * net.dt
        finite = (~self.broken).sum(1)
        found: Arrays = {
            "accuracy": right.mean(1),
            "balanced_accuracy": mean_over_classes(right, data.y),
            "nonfinite": self.broken.sum(1).astype(np.float64),
            "agreement": ((self.answer == reference) & ~self.broken).mean(1),
            "latency": np.where(finite > 0, late / np.maximum(finite, 1), np.nan),
            "energy": self._energies(deployment, int(data.lengths.sum())) / len(data),
        }
        seconds, rows = float(data.lengths.sum()) * net.dt, []
        for name, counts in self.counts.items():
            total = counts.sum(1).numpy()
            flags = (activity.silent(counts), activity.saturated(counts, self.saturated_from[name]), self.tonic[name])
            numbers = [flag.sum(1).double().numpy() for flag in flags]
            far = (self.distance[name].mean(1), self.near[name].mean(1))
            rows.append((total / len(data), total / (counts.shape[1] * seconds), *numbers, *far))
        return found | {name: np.stack([row[n] for row in rows], axis=1) for n, name in enumerate(LAYER_MEASURES)}

    def _energies(self, deployment: Deployment, steps: int) -> NDArray[np.float64]:
        """Energy of each chip in J for all samples [K]; NaN where it is not available."""
        step = deployment.step
        if not self.energy or step is None:
            return np.full(len(self.events), np.nan)
        spikes = sum(counts.sum(1) for counts in self.counts.values())
        done = zip(np.asarray(spikes), self.events, self.conversions, strict=True)
        found = [deployment.energy(Counts(steps * step, *map(float, own))) for own in done]
        return np.array([np.nan if value is None else value for value in found])


def _by_chip(seen: Trace, chips: int) -> Trace:
    """The trace with an axis of chips, also where nothing in it differs."""

    def each(values: Tensor, ndim: int) -> Tensor:
        return values if values.ndim == ndim else values.expand(chips, *values.shape)

    spikes = {name: each(values, 4) for name, values in seen.spikes.items()}
    margins = {name: each(values, 4) for name, values in seen.margins.items()}
    return Trace(each(seen.logits, 3), spikes, margins, seen.arrived, each(seen.running, 4))


def _work(deployment: Deployment, given: Pass, seen: Trace, valid: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """Deliveries of spikes to synapses, and conversions, of each chip [K] in some samples.

    Input currents are delivered to no synapse. Deliveries are to the synapses on the chip that are not zero there.
    """
    net, crossbar = network_of(deployment.net), deployment.profile.crossbar
    tiles = None if crossbar is None or crossbar.adc is None or not deployment.periphery else crossbar
    events, converted = np.zeros((2, given.chips))
    first = f"{net.spiking_names[0]}.weight"
    for name, inputs in seen.arrived.items():
        layer, _, role = name.rpartition(".")
        owner = net.readout if layer == "readout" else net.spiking[layer]
        if not owner.on_chip:
            continue
        weight = owner.connecting({role: given.params[name]}, role)
        for k in range(given.chips):
            x = inputs if inputs.ndim == 3 else inputs[k]
            own = weight if weight.ndim == 2 else weight[k]
            digital = valid & spikes_only(x) if name == first else valid
            events[k] += deliveries(x[digital], own)
            if tiles is not None and layer in net.readable_layers():
                rows, clocked = None if tiles.tile is None else tiles.tile[0], tiles.read == "clocked"
                converted[k] += conversions(x[valid], len(own), rows=rows, clocked=clocked)
    return events, converted


def _unit(net: Network, layer: str) -> float:
    """The mean nominal threshold above rest."""
    own = of_layer(net.nominal(), layer)
    return float((own["v_th"] - own["v_leak"]).abs().mean())


def _cells(net: Network, data: Split) -> int:
    """Chips times samples whose traces fit into memory."""
    wide = net.inputs + sum(layer.neurons for layer in net.spiking.values()) + net.readout.neurons
    return int(max(1, BYTES // (8 * _COPIES * data.x.shape[1] * wide)))


def _batches(first: int, last: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, last)) for start in range(first, last, size))
