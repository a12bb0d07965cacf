"""Shared test suites for what users add from outside: each raises AssertionError with one line on what is wrong.

from snnrobust.testing import check_neuron, check_objective, check_profile

def test_my_neuron():
    check_neuron(MyNeuron)

def test_my_chip():
    check_profile(load_profile("my_chip.yaml"))

def test_my_objective():
    check_objective(MyObjective(strength=2.0))
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnrobust.hardware import Module, Placement, Profile, draw, place, project, realise
from snnrobust.hardware.profile import parse_profile
from snnrobust.snn import ALIF, LI, NEURONS, Network, SpikingLayer
from snnrobust.snn.specs import ParameterSpec
from snnrobust.training import Batch, Objective, Problem, StepKey, StepResult, objective_from
from snnrobust.training.objectives import OBJECTIVES, Choices

__all__ = ["check_neuron", "check_objective", "check_profile"]

INPUTS, NEURON_COUNT, STEPS, BATCH, INSTANCES = 3, 6, 40, 4, 3


def check_neuron(layer_class: type[SpikingLayer], **values: Any) -> None:  # noqa: ANN401 (the neuron's keywords)
    """Hold a spiking layer to what networks, chips, attacks and engines rely on.

    The layer is built feed-forward and recurrent, in float64, and driven so that it should spike. Checked are shapes
    and specs, determinism in the seed, that a sequence run in chunks equals the whole, that K instances at once equal
    one by one for all and for single parameters with an instance axis, finite gradients, no side effects, and, if the
    class stands in `NEURONS`, that a network of it survives storage.

    Args:
        layer_class: Called as layer_class(inputs, neurons, recurrent, seed=..., **values).
        **values: Further keywords of the class.

    Raises:
        AssertionError: On the first property that does not hold.
    """
    make: Any = layer_class
    for recurrent in (False, True):
        layer: SpikingLayer = make(INPUTS, NEURON_COUNT, recurrent, seed=1, **values).double()
        again: SpikingLayer = make(INPUTS, NEURON_COUNT, recurrent, seed=1, **values).double()
        x = 3 * torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        before = _snapshot(layer)
        _check_shapes(layer, x)
        _check_determinism(layer, again, x)
        _check_chunks(layer, x)
        _check_instances(layer, x)
        _check_gradients(layer, x)
        _require(_same(before, _snapshot(layer)), "a run changes parameters, gradients, modes or torch's generator")
    if NEURONS.get(layer_class.kind) is layer_class:
        _check_storage(make(INPUTS, NEURON_COUNT, True, seed=1, **values))


def check_profile(profile: Profile) -> None:
    """Hold a profile to what deployment, attacks and training rely on.

    It is placed on a small network in which every role occurs, with zeros among the parameters. Checked are the YAML
    round trip, that parameters and their gradients are finite, that a chip is the same in any block, that a pass over
    the data changes temporal coordinates alone, that projection stays in the box and leaves what is inside alone, and
    that nothing else changes.

    Args:
        profile: A profile, of `load_profile` or built in code.

    Raises:
        AssertionError: On the first property that does not hold.
    """
    _require(parse_profile(profile.to_yaml()).hash == profile.hash, "to_yaml: must be read back as the same profile")
    net = _every_role()
    before = [_snapshot(layer) for layer in net.spiking.values()]
    placement = place(profile, net.parameter_specs())
    _check_chips(placement, net)
    _check_profile_gradients(placement, net)
    _check_projection(placement)
    after = [_snapshot(layer) for layer in net.spiking.values()]
    _require(_same(before, after), "a deployment changes parameters, gradients, modes or torch's generator")


def check_objective(objective: Objective, net: Network | Module | None = None) -> None:
    """Hold an objective to what the trainer, run files and comparisons at equal cost rely on.

    It is bound to a small spiking network, or to a network or module of the caller's. Checked are that it gives a
    finite gradient for each parameter that requires one and for no other, that it is a pure function of parameters,
    batch and key, that nothing else changes, that it takes the passes it declares, that its choices are plain values,
    and, if its class stands in `OBJECTIVES`, that a run file gives it back.

    Args:
        objective: An objective.
        net: What it is bound to: 3 inputs, at least 2 outputs, in float32.

    Raises:
        AssertionError: On the first property that does not hold.
    """
    if net is None:
        net = Network.recurrent(INPUTS, NEURON_COUNT, 2, tau_mem=5e-3, tau_syn=2e-3, tau_out=5e-3, seed=1).eval()
    module = net.module if isinstance(net, Module) else net
    x = 3 * torch.randn(STEPS, BATCH, INPUTS, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, torch.arange(BATCH) % 2, torch.tensor([STEPS, STEPS - 7, 3, 1]))
    counted = _Counted(net)
    before = _snapshot(module)
    result = objective.bind(Problem(counted))(net.nominal(), batch, StepKey(1, 5))
    passes = counted.samples / BATCH
    _require(_same(before, _snapshot(module)), "a step changes parameters, gradients, modes or torch's generator")
    _check_step(result, net)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        again = objective.bind(Problem(counted))(net.nominal(), batch, StepKey(1, 5))
    names = list(result.grads)
    equal = result.loss == again.loss and _same([result.grads[n] for n in names], [again.grads[n] for n in names])
    _require(equal, "the same parameters, batch and key must give the same step")
    if isinstance(objective, Choices):
        _require(passes == objective.passes, f"passes: {objective.passes} declared, {passes:g} taken")
    stored = json.loads(json.dumps(objective.to_dict()))
    _require(stored.get("name") == objective.name, f"to_dict: must hold the name {objective.name!r}")
    if OBJECTIVES.get(objective.name) is type(objective):
        _require(objective_from(stored) == objective, "to_dict: a run file must give the objective back")


class _Counted:
    """A network that counts the samples of its passes, K times where there are K instances."""

    def __init__(self, net: Network | Module) -> None:
        self.net, self.samples = net, 0

    def nominal(self) -> dict[str, Tensor]:
        return self.net.nominal()

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        return self.net.parameter_specs()

    def run(self, params: Mapping[str, Tensor], x: Tensor, lengths: Tensor | None = None) -> Tensor:
        logits = self.net.run(params, x, lengths)
        self.samples += logits.numel() // logits.shape[-1]
        return logits


def _check_step(result: StepResult, net: Network | Module) -> None:
    _require(math.isfinite(result.loss), f"loss: {result.loss} must be finite")
    wanted = {name for name, p in net.nominal().items() if p.requires_grad}
    _require(set(result.grads) == wanted, f"grads: must be those of {sorted(wanted)}")
    for name, p in net.nominal().items():
        if name in wanted:
            g = result.grads[name]
            _require(g.shape == p.shape, f"gradient of {name}: shape {tuple(g.shape)} must be {tuple(p.shape)}")
            _require(bool(g.isfinite().all()) and not g.requires_grad, f"gradient of {name}: must be finite, no graph")
    _require(any(bool(g.any()) for g in result.grads.values()), "grads: are zero everywhere, so nothing can be trained")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _snapshot(module: nn.Module) -> list[Any]:
    parameters = [(p.detach().clone(), p.requires_grad, p.grad is None) for p in module.parameters()]
    modes = [part.training for part in module.modules()]
    return [parameters, [b.clone() for b in module.buffers()], modes, torch.random.get_rng_state()]


def _same(a: Any, b: Any) -> bool:  # noqa: ANN401 (nested snapshots)
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(p, q) for p, q in zip(a, b, strict=True))
    return bool(a == b)


def _check_shapes(layer: SpikingLayer, x: Tensor) -> None:
    spikes, state = layer(x)
    expected = (STEPS, BATCH, NEURON_COUNT)
    _require(tuple(spikes.shape) == expected, f"spikes: shape {tuple(spikes.shape)} must be {expected}")
    _require(spikes.dtype == x.dtype, f"spikes: {spikes.dtype} must be {x.dtype}, as the parameters are")
    _require(bool(((spikes == 0) | (spikes == 1)).all()), "spikes: every value must be 0 or 1")
    _require(0 < float(spikes.detach().mean()) < 1, "spikes: a driven layer must spike in some steps and not in all")
    _require(torch.equal(state.o, spikes[-1]), "state.o: must be the spikes of the last step")
    specs = {name: spec.shape for name, spec in layer.parameter_specs().items()}
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    _require(specs == shapes, f"parameter_specs: {specs} must be the parameters' shapes {shapes}")


def _check_determinism(layer: SpikingLayer, again: SpikingLayer, x: Tensor) -> None:
    equal = all(torch.equal(p, q) for p, q in zip(layer.parameters(), again.parameters(), strict=True))
    _require(equal, "seed: the same seed must give the same parameters")
    _require(torch.equal(layer(x)[0], layer(x)[0]), "two runs on one input must give the same spikes")


def _check_chunks(layer: SpikingLayer, x: Tensor) -> None:
    whole, last = layer(x)
    for size in (1, 7, STEPS - 1):
        state, parts = None, []
        for chunk in torch.split(x, size):
            spikes, state = layer(chunk, state)
            parts.append(spikes)
        equal = torch.equal(torch.cat(parts), whole) and state is not None and torch.equal(state.o, last.o)
        _require(equal, f"chunks of {size} steps with the state carried must equal the whole sequence")


def _check_instances(layer: SpikingLayer, x: Tensor) -> None:
    nominal = {name: p.detach() for name, p in layer.nominal().items()}
    generator = torch.Generator().manual_seed(2)
    chips = {}
    for name, p in nominal.items():
        z = torch.randn(INSTANCES, *p.shape, dtype=p.dtype, generator=generator)
        additive = 0.0 if layer.parameter_specs()[name].unit == "s" else 0.05
        chips[name] = p * (1 + 0.1 * z) + additive * z
    for varied in (set(chips), *({name} for name in chips)):
        params = {name: chips[name] if name in varied else p for name, p in nominal.items()}
        together, _ = layer.run(params, x)
        one_by_one = [
            layer.run({n: p[k] if n in varied else p for n, p in params.items()}, x)[0] for k in range(INSTANCES)
        ]
        names = ", ".join(sorted(varied))
        _require(
            len(together) == INSTANCES and together.ndim == 4, f"instances of {names}: spikes must be [K, T, B, N]"
        )
        _require(torch.equal(together, torch.stack(one_by_one)), f"instances of {names}: must equal one by one")


def _check_gradients(layer: SpikingLayer, x: Tensor) -> None:
    leaves = {name: p.detach().clone().requires_grad_() for name, p in layer.nominal().items()}
    leaves["x"] = x.clone().requires_grad_()
    spikes, _ = layer.run({name: p for name, p in leaves.items() if name != "x"}, leaves["x"])
    cotangent = torch.randn(spikes.shape, dtype=spikes.dtype, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((spikes * cotangent).sum(), list(leaves.values()), materialize_grads=True)
    for name, gradient in zip(leaves, found, strict=True):
        _require(bool(gradient.isfinite().all()), f"gradient of {name}: must be finite")
        used = name in ("weight", "bias", "x")
        _require(not used or bool(gradient.any()), f"gradient of {name}: is zero everywhere, so nothing can be trained")


def _check_storage(layer: SpikingLayer) -> None:
    net = Network([layer, LI(NEURON_COUNT, 2)])
    restored = Network.from_dict(net.to_dict(), net.nominal())
    _require(restored.hash() == net.hash(), "to_dict: a network rebuilt from its structure and values must be the same")
    x = 3 * torch.randn(STEPS, BATCH, INPUTS, generator=torch.Generator().manual_seed(0))
    _require(torch.equal(restored(x), net(x)), "to_dict: a network rebuilt from it must give the same logits")


def _every_role() -> Network:
    layer = ALIF(INPUTS, NEURON_COUNT, True, tau_syn=5e-3, refractory=2e-3)
    net = Network([layer, LI(NEURON_COUNT, 2)])
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name in ("layer0.bias", "readout.bias"):
            p = net.get_parameter(name)
            p.copy_(torch.randn(p.shape, generator=generator))
            p[0] = 0
        net.get_parameter("layer0.weight")[0] = 0
    return net


def _chips(placement: Placement, net: Network, block: range, trial: int = 0) -> dict[str, Tensor]:
    theta = {name: p.detach() for name, p in net.nominal().items()}
    return realise(placement, theta, draw(placement, seed=1, purpose="test", instances=block, trial=trial))


def _check_chips(placement: Placement, net: Network) -> None:
    nominal, many, few = net.nominal(), _chips(placement, net, range(20)), _chips(placement, net, range(17, 19))
    for name, p in many.items():
        shape = tuple(nominal[name].shape)
        _require(tuple(p.shape) in (shape, (20, *shape)), f"{name}: shape {tuple(p.shape)} must be [K,] {shape}")
        _require(bool(p.isfinite().all()), f"{name}: must be finite on every chip")
        own = p[17:19] if p.ndim > len(shape) else p
        _require(torch.equal(own, few[name]), f"{name}: chip 17 must be the same in any block")
    x = 3 * torch.randn(STEPS, BATCH, INPUTS, generator=torch.Generator().manual_seed(0))
    _require(bool(net.run(many, x).isfinite().all()), "logits: must be finite on every chip")
    again = _chips(placement, net, range(20), trial=1)
    temporal = {c.parameter for c in placement.coordinates.values() if c.kind == "temporal"}
    changed = {name for name, p in many.items() if not torch.equal(p, again[name])}
    _require(changed <= temporal, f"trial: changes {', '.join(sorted(changed - temporal))} without a temporal part")


def _check_profile_gradients(placement: Placement, net: Network) -> None:
    theta = {name: p.detach().clone().requires_grad_() for name, p in net.nominal().items()}
    drawn = draw(placement, seed=1, purpose="test", instances=range(INSTANCES))
    for scale in (0.0, 1.0, 5.0):
        z = {key: (scale * value).requires_grad_() for key, value in drawn.items()}
        total = torch.stack([p.sum() for p in realise(placement, theta, z).values()]).sum()
        found = torch.autograd.grad(total, [*theta.values(), *z.values()], materialize_grads=True)
        for name, gradient in zip([*theta, *z], found, strict=True):
            _require(bool(gradient.isfinite().all()), f"gradient of {name}: must be finite {scale:g} sd from nominal")


def _check_projection(placement: Placement) -> None:
    z = {k: 9 * v for k, v in draw(placement, seed=1, purpose="attack", instances=range(INSTANCES)).items()}
    inside = project(placement, z, 2.0)
    again = project(placement, inside, 2.0)
    for key, c in placement.coordinates.items():
        if c.kind == "continuous":
            _require(float(inside[key].abs().max()) <= 2.0, f"projection of {key}: must lie in the box")
            _require(torch.allclose(again[key], inside[key], atol=1e-5), f"projection of {key}: moves what is inside")
        else:
            _require(torch.equal(inside[key], z[key]), f"projection of {key}: {c.kind} coordinates must stay")
