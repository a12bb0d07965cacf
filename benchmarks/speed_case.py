"""What the speed benchmarks run: sizes, inputs and parameters, the same ones for every library, and ours on them.

One network everywhere: a recurrent LIF layer (forward Euler, hard detached reset: norse's `LIFRecurrent`) whose mean
rate over time a linear readout turns into logits. A chip differs from the next in the hidden layer's weights, time
constants and thresholds and in the readout's weights.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from snnrobust.compiled import available_cores
from snnrobust.hardware import Chip, load_profile
from snnrobust.snn import LIF, MeanRate, Network, Reads, Surrogate
from snnrobust.training import Adversarial
from snnrobust.training.problem import Batch, Problem, StepKey

DT, TAU_MEM, TAU_SYN = 1e-3, 20e-3, 5e-3
SPREAD, INPUT_RATE = 0.1, 0.1
TRAINED = ("layer0.weight", "layer0.recurrent_weight", "readout.weight", "readout.bias")
VARIED = ("layer0.weight", "layer0.recurrent_weight", "layer0.tau_mem", "layer0.tau_syn", "layer0.v_th")
VARIED += ("readout.weight",)
ENGINES = ("numba", "eager")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes of one point.

    Attributes:
        steps: T.
        batch: B.
        inputs: I.
        neurons: N.
        outputs: O.
        instances: K, the chips of an inference.
        rate: Spikes of a hidden neuron per step; input and recurrent weights are scaled to give it.
        spikes: Whether inputs are spikes, with probability INPUT_RATE, or normal currents of their mean and variance.
        surrogate: "superspike" or "triangle", slope 1.
    """

    steps: int = 100
    batch: int = 100
    inputs: int = 16
    neurons: int = 256
    outputs: int = 10
    instances: int = 16
    rate: float = 0.03
    spikes: bool = True
    surrogate: str = "superspike"

    def tensor(self) -> int:
        """Bytes of one float32 tensor [T, B, N]."""
        return 4 * self.steps * self.batch * self.neurons


@dataclass(frozen=True)
class Data:
    """Inputs and parameters of a case.

    Attributes:
        case: The sizes.
        x: [T, B, I].
        y: Classes [B].
        nominal: The network's parameters by name.
        chips: The same of all chips: those in VARIED are [K, ...].
    """

    case: Case
    x: Tensor
    y: Tensor
    nominal: dict[str, Tensor]
    chips: dict[str, Tensor]

    def chip(self, k: int) -> dict[str, Tensor]:
        """The parameters of one chip."""
        return {name: p[k] if name in VARIED else p for name, p in self.chips.items()}


@dataclass(frozen=True)
class Runner:
    """Something to time.

    Attributes:
        call: One run.
        chips: How many chips one run does; its time is divided by it.
        torch_threads: Threads of torch's own; 1 for the engine that has threads itself, as the command line does.
    """

    call: Callable[[], Any]
    chips: int = 1
    torch_threads: int = available_cores()


def engines() -> tuple[str, ...]:
    """Our engines that this installation has."""
    return ENGINES if "engine" in inspect.signature(Network.__init__).parameters else ENGINES[1:]


def network(case: Case, parameters: dict[str, Tensor] | None = None, engine: str = "eager") -> Network:
    """The case's network with the given parameter values, in their precision."""
    surrogate = Surrogate(shape=case.surrogate, slope=1.0)
    hidden = LIF(
        case.inputs,
        case.neurons,
        recurrent=True,
        dt=DT,
        tau_mem=TAU_MEM,
        tau_syn=TAU_SYN,
        integrator="euler",
        surrogate=surrogate,
    )
    choice: dict[str, Any] = {"engine": engine} if "numba" in engines() else {}
    net = Network([hidden, MeanRate(case.neurons, case.outputs)], **choice)
    for name, p in net.named_parameters():
        if parameters is not None:
            p.data = parameters[name].detach().clone()
        p.requires_grad_(name in TRAINED)  # not the hidden bias, which norse's module does not have
    return net


def inputs(case: Case) -> tuple[Tensor, Tensor]:
    """x [T, B, I] and classes [B], always the same ones."""
    generator = torch.Generator().manual_seed(1)
    shape = (case.steps, case.batch, case.inputs)
    if case.spikes:
        x = (torch.rand(shape, generator=generator) < INPUT_RATE).float()
    else:
        x = INPUT_RATE + (INPUT_RATE * (1 - INPUT_RATE)) ** 0.5 * torch.randn(shape, generator=generator)
    return x, torch.randint(case.outputs, (case.batch,), generator=generator)


def nominal(case: Case, gain: float) -> dict[str, Tensor]:
    """Parameters with the hidden layer's weights scaled by a gain."""
    generator = torch.Generator().manual_seed(2)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * shape[-1] ** -0.5

    parameters = {name: p.detach().clone() for name, p in network(case).named_parameters()}
    # Input weights have a positive mean, without which no gain makes neurons spike in half of all steps.
    parameters["layer0.weight"] = gain * (normal(case.neurons, case.inputs) + case.inputs**-0.5)
    parameters["layer0.recurrent_weight"] = gain * 0.3 * normal(case.neurons, case.neurons)
    parameters["readout.weight"] = normal(case.outputs, case.neurons)
    return parameters


@functools.cache
def gain_for(case: Case) -> float:
    """The gain at which the hidden neurons spike at the case's rate, by bisection."""
    x, _ = inputs(case)
    x = x[:, :100]
    low, high = 1e-1, 1e3
    for _ in range(30):
        gain = (low * high) ** 0.5
        found = spike_rate(case, nominal(case, gain), x)
        if abs(found - case.rate) < 0.02 * case.rate:
            break
        low, high = (gain, high) if found < case.rate else (low, gain)
    return gain


def spike_rate(case: Case, parameters: dict[str, Tensor], x: Tensor) -> float:
    """Spikes of a hidden neuron per step."""
    with torch.no_grad():
        return float(network(case, parameters).record(parameters, x).spikes["layer0"].mean())


def build(case: Case, dtype: torch.dtype = torch.float32) -> Data:
    """Inputs and parameters of a case."""
    x, y = inputs(case)
    sizes = {"instances": 1, "surrogate": "superspike", "outputs": 10}  # the rate does not depend on these
    theta = nominal(case, gain_for(replace(case, **sizes)))
    generator = torch.Generator().manual_seed(3)
    chips = {
        name: p * (1 + SPREAD * torch.randn((case.instances, *p.shape), generator=generator)) if name in VARIED else p
        for name, p in theta.items()
    }
    return Data(case, x.to(dtype), y, _in(theta, dtype), _in(chips, dtype))


def _in(parameters: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: p.to(dtype) for name, p in parameters.items()}


def our_inference(data: Data, engine: str) -> Runner:
    """Logits of all chips, given their parameters."""
    net = network(data.case, data.nominal, engine)

    def call() -> Tensor:
        with torch.no_grad():
            return net.run(data.chips, data.x)

    return _runner(call, engine, data.case.instances)


def _runner(call: Callable[[], Any], engine: str, chips: int = 1) -> Runner:
    return Runner(call, chips, 1 if engine == "numba" else available_cores())


def our_reads(data: Data, kind: str) -> Runner:
    """As `our_inference`, reading the crossbar at every step: noise alone, or with an ADC for tiles of 64 rows."""
    net, count = network(data.case, data.nominal, "numba"), data.case.instances
    adc: dict[str, Any] = {"step": 0.01, "bound": 2.0, "rows": 64} if kind == "noise, ADC" else {}
    reads = {"layer0": Reads(keys=tuple(range(count)), noise=0.05, weight_noise=0.05, **adc)}

    def call() -> Tensor:
        with torch.no_grad():
            return net.run(data.chips, data.x, reads=reads)

    return _runner(call, "numba", count)


def our_training(data: Data, engine: str) -> Runner:
    """Loss and gradients of the nominal network."""
    net = network(data.case, data.nominal, engine)
    theta = dict(net.named_parameters())
    wanted = [theta[name] for name in TRAINED]

    def call() -> tuple[Tensor, ...]:
        return torch.autograd.grad(torch.nn.functional.cross_entropy(net(data.x), data.y), wanted)

    return _runner(call, engine)


def our_adversarial_step(data: Data, engine: str, steps: int = 10) -> Runner:
    """Loss and gradients of the adversarial objective with all its attack steps."""
    net = network(data.case, data.nominal, engine)
    loss_and_grad = Adversarial(steps=steps).bind(Problem(net))
    theta, batch = dict(net.named_parameters()), Batch(data.x, data.y)
    return _runner(lambda: loss_and_grad(theta, batch, StepKey(seed=0, step=0)), engine)


def our_draws(data: Data, engine: str, profile: str) -> Runner:
    """The parameters of all chips of a profile, from its seed."""
    net, chip = network(data.case, data.nominal, engine), Chip(load_profile(profile))
    count = data.case.instances
    return _runner(lambda: chip.deploy(net, instances=count, seed=1).parameters(), engine, count)


def our_monte_carlo(data: Data, engine: str, profile: str) -> Runner:
    """The accuracy of all chips of a profile, from its seed."""
    net, chip = network(data.case, data.nominal, engine), Chip(load_profile(profile))
    count = data.case.instances

    def call() -> Tensor:
        logits = chip.deploy(net, instances=count, seed=1).run(data.x)
        return (logits.argmax(-1) == data.y).float().mean(-1)

    return _runner(call, engine, count)
