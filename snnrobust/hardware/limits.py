"""What of a network does not fit on a chip, and by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from snnrobust.hardware.layout import pack
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.stages import Context, PerType, quantization_for
from snnrobust.hardware.stages.cores import layer_rows
from snnrobust.snn.specs import WEIGHTS, LayerKind, ParameterSpec

Specs = Mapping[str, ParameterSpec]
Params = Mapping[str, Tensor]
Populations = dict[tuple[str, int], list[str]]
"""Names of the weights of each population, by its layer and number of neurons."""


def exceeded(
    profile: Profile, specs: Specs, params: Params | None = None, kinds: Mapping[str, LayerKind] | None = None
) -> list[str]:
    """What does not fit on the chip, one line each with both numbers.

    A weight of zero needs no synapse: with params, synapses that are not zero are counted, else all that the specs
    have. Only layers on the chip count.

    Args:
        profile: The chip.
        specs: The network's parameters.
        params: Their nominal values.
        kinds: What its layers are; absent layers are not judged.
    """
    limits, populations = profile.limits, _populations(specs)
    lines = []
    if limits.fan_in is not None:
        for (layer, neurons), names in populations.items():
            lines += _fan_in(layer, neurons, {n: specs[n] for n in names}, params, limits.fan_in, limits.signed_by)
    if limits.fan_out is not None:
        lines += _fan_out({n: specs[n] for names in populations.values() for n in names}, params, limits.fan_out)
    total = sum(neurons for _, neurons in populations)
    if limits.neurons is not None and total > limits.neurons:
        lines.append(f"neurons: {total} of at most {limits.neurons}")
    if limits.neurons is not None and limits.neurons_per_core is not None:
        cores, most = math.ceil(total / limits.neurons_per_core), limits.neurons // limits.neurons_per_core
        if cores > most:
            lines.append(f"cores of {limits.neurons_per_core} neurons: {cores} of at most {most}")
    return lines + _kinds(profile, specs, kinds or {})


def remarks(profile: Profile, specs: Specs, params: Params) -> list[str]:
    """What the user has to know of a network that is stored within the limits, one line each."""
    lines, layout = [], pack(specs, profile.limits.neurons_per_core)
    for (layer, _), names in _populations(specs).items():
        if profile.limits.signed_by == "row":
            double = sum(int(_rows(params[n]).sum() - (_rows(params[n]) > 0).sum()) for n in names)
            if double:
                lines.append(f"{_named(layer)}: {double} sources have weights of both signs and take two rows each")
        spec = specs[names[0]]
        stage = next(iter(quantization_for(profile, spec.role, layout.core[layout.rows(spec)])), None)
        if isinstance(stage, PerType):
            siblings = {specs[n].role: params[n] for n in names}
            wanted = stage.wanted(layer_rows(params[names[0]], Context(spec, siblings)))
            over = int((wanted > stage.budget).sum())
            if over:
                lines.append(
                    f"{_named(layer)}: weights coarsened or dropped to keep {stage.budget} entries a neuron, in {over} "
                    f"of {len(wanted)} neurons; the nearest values take up to {int(wanted.max())}"
                )
    if profile.limits.inputs is not None:
        lines.append(f"inputs: the chip takes {' or '.join(profile.limits.inputs)}; data are judged where they are run")
    return lines


def foreign_inputs(profile: Profile, x: Tensor) -> str | None:
    """Why the chip cannot take these inputs, or None: spikes are whole numbers a step, 0 or more."""
    kinds = profile.limits.inputs
    if kinds is None or "currents" in kinds or bool(((x >= 0) & (x == torch.round(x))).all()):
        return None
    return f"inputs: {float(x.min()):g} .. {float(x.max()):g} are currents; the chip takes {' or '.join(kinds)}"


def _populations(specs: Specs) -> Populations:
    found: Populations = {}
    for name, spec in specs.items():
        if spec.on_chip and spec.role in WEIGHTS:
            found.setdefault((spec.layer, spec.shape[0] if spec.shape else 1), []).append(name)
    return found


def _named(layer: str) -> str:
    return layer or "network"


def _present(weight: Tensor) -> Tensor:
    """True [N, S] where a synapse exists."""
    rows = weight.detach().reshape(len(weight) if weight.ndim else 1, -1)
    return rows != 0


def _rows(weight: Tensor) -> Tensor:
    """Rows that each source takes: 0, 1, or 2 where its weights have both signs; [S]."""
    rows = weight.detach().reshape(len(weight) if weight.ndim else 1, -1)
    return (rows > 0).any(0).int() + (rows < 0).any(0).int()


def _fan_in(
    layer: str, neurons: int, specs: Specs, params: Params | None, most: int, signed_by: str | None
) -> list[str]:
    own = next((spec.fan_in for spec in specs.values() if spec.fan_in is not None), None)
    if params is None:
        count = own if own is not None else sum(math.prod(spec.shape[1:]) for spec in specs.values())
        return [f"{_named(layer)}: fan-in {count} of at most {most}"] if count > most else []
    if signed_by == "row":
        used = sum(int(_rows(params[name]).sum()) for name in specs)
        return [f"{_named(layer)}: {used} rows of at most {most}"] if used > most else []
    counts = torch.cat([_present(params[name]) for name in specs], dim=1).sum(dim=1)
    counts = counts if own is None else counts.clamp_max(own)
    over, largest = int((counts > most).sum()), int(counts.max())
    return [f"{_named(layer)}: fan-in {largest} of at most {most}, in {over} of {neurons} neurons"] if over else []


def _fan_out(specs: Specs, params: Params | None, most: int) -> list[str]:
    """Synapses of each source over all tensors that it reaches; where a source is not known, of each tensor."""
    counts: dict[str, Tensor] = {}
    for name, spec in specs.items():
        if len(spec.shape) != 2:
            continue  # a filter's weights are shared by many synapses
        source = name if spec.source is None else spec.source or "inputs"
        reached = _present(params[name]).sum(dim=0) if params is not None else torch.full(spec.shape[1:], spec.shape[0])
        counts[source] = counts[source] + reached if source in counts else reached
    return [
        f"{source}: fan-out {int(n.max())} of at most {most}, of {int((n > most).sum())} of {len(n)} sources"
        for source, n in counts.items()
        if n.numel() and int(n.max()) > most
    ]


def _kinds(profile: Profile, specs: Specs, kinds: Mapping[str, LayerKind]) -> list[str]:
    limits, lines = profile.limits, []
    for layer, kind in kinds.items():
        if limits.neuron_kinds is not None and kind.neuron not in limits.neuron_kinds:
            lines.append(f"{layer}: kind {kind.neuron}; the chip has {', '.join(limits.neuron_kinds)}")
        if limits.resets is not None and kind.reset is not None and kind.reset not in limits.resets:
            lines.append(f"{layer}: reset {kind.reset}; the chip has {', '.join(limits.resets)}")
    if limits.roles is not None:
        present = dict.fromkeys(spec.role for spec in specs.values() if spec.on_chip and spec.role != "none")
        missing = [role for role in present if role not in limits.roles]
        lines += [f"{role}: no such parameter; the chip has {', '.join(limits.roles)}" for role in missing]
    return lines
