"""Libraries of modules on the speed benchmarks' network, one chip at a time: norse, snntorch, spikingjelly, rockpool.

Only norse computes the very same spikes. The others do the same work on nearly the same equations: snntorch and
rockpool reset by subtraction (snntorch a step later), rockpool decays exponentially, spikingjelly has one time
constant and threshold for all neurons. All are dense: their time does not depend on how many neurons spike.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from speed_case import DT, SPREAD, TAU_MEM, TAU_SYN, VARIED, Data, Runner
from torch import Tensor

Params = dict[str, Tensor]
PACKAGES = ("norse", "snntorch", "spikingjelly", "rockpool")


class Layer(NamedTuple):
    """A library's hidden layer with the parameters of one chip.

    Attributes:
        rate: Inputs [T, B, I] -> mean rate over time of the spikes [B, N].
        weights: Its input and recurrent weights, leaves of the graph.
    """

    rate: Callable[[Tensor], Tensor]
    weights: tuple[Tensor, Tensor]


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def norse_spikes(data: Data, p: Params) -> tuple[Callable[[Tensor], Tensor], tuple[Tensor, Tensor]]:
    """norse's `LIFRecurrent`: inputs [T, B, I] -> spikes [T, B, N], and its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from norse.torch import LIFParameters, LIFRecurrent
        from norse.torch.functional.lif import LIFState

    weights = leaf(p["layer0.weight"]), leaf(p["layer0.recurrent_weight"])
    constants = LIFParameters(
        tau_syn_inv=1 / p["layer0.tau_syn"],
        tau_mem_inv=1 / p["layer0.tau_mem"],
        v_leak=p["layer0.v_leak"],
        v_th=p["layer0.v_th"],
        v_reset=p["layer0.v_reset"],
        method="super" if data.case.surrogate == "superspike" else "triangle",
        alpha=torch.ones((), dtype=data.x.dtype),
    )
    layer = LIFRecurrent(
        data.case.inputs,
        data.case.neurons,
        p=constants,
        autapses=True,  # False costs a hook on the gradient
        input_weights=weights[0],
        recurrent_weights=weights[1],
        dt=DT,
    )
    zero = torch.zeros(data.case.batch, data.case.neurons, dtype=data.x.dtype)  # its own is float32 whatever x is
    return lambda x: layer(x, LIFState(z=zero, v=zero, i=zero))[0], weights


def norse(data: Data, p: Params) -> Layer:
    """norse's `LIFRecurrent`."""
    spikes, weights = norse_spikes(data, p)
    return Layer(lambda x: spikes(x).mean(0), weights)


def snntorch(data: Data, p: Params) -> Layer:
    """snntorch's `RSynaptic` in a loop over time, as its tutorials write it."""
    import snntorch
    from snntorch import surrogate

    shape = surrogate.fast_sigmoid(slope=1) if data.case.surrogate == "superspike" else surrogate.triangular()
    layer = snntorch.RSynaptic(
        alpha=1 - DT / p["layer0.tau_syn"],
        beta=1 - DT / p["layer0.tau_mem"],
        threshold=p["layer0.v_th"],
        linear_features=data.case.neurons,
        spike_grad=shape,
    )
    weight, recurrent = scaled(p)
    layer.recurrent = torch.nn.Linear(data.case.neurons, data.case.neurons, bias=False)
    layer.recurrent.weight = recurrent

    def rate(x: Tensor) -> Tensor:
        spikes, current, membrane = (torch.zeros(x.shape[1], data.case.neurons) for _ in range(3))
        record = []
        for drive in torch.nn.functional.linear(x, weight):
            spikes, current, membrane = layer(drive, spikes, current, membrane)
            record.append(spikes)
        return torch.stack(record).mean(0)

    return Layer(rate, (weight, recurrent))


def spikingjelly(data: Data, p: Params) -> Layer:
    """spikingjelly's `CUBALIFNode` in a loop over time.

    Not its `LinearRecurrentContainer`, whose one matrix over inputs and feedback would be twice as large here.
    """
    from spikingjelly.activation_based import functional, neuron, surrogate

    shapes = {"superspike": surrogate.SuperSpike, "triangle": surrogate.PiecewiseQuadratic}
    shape = shapes[data.case.surrogate](alpha=1.0)
    node = neuron.CUBALIFNode(1 - DT / TAU_SYN, 1 - DT / TAU_MEM, v_threshold=1.0, surrogate_function=shape)
    node.detach_reset = True
    weight, recurrent = scaled(p)

    def rate(x: Tensor) -> Tensor:
        functional.reset_net(node)
        spikes = torch.zeros(x.shape[1], data.case.neurons)
        record = []
        for drive in torch.nn.functional.linear(x, weight):
            spikes = node(drive + torch.nn.functional.linear(spikes, recurrent))
            record.append(spikes)
        return torch.stack(record).mean(0)

    return Layer(rate, (weight, recurrent))


def rockpool(data: Data, p: Params) -> Layer:
    """rockpool's `LinearTorch` and `LIFTorch`; its surrogate is its own, whatever the case asks for."""
    from rockpool.nn.modules import LIFTorch, LinearTorch

    weight, recurrent = scaled(p)
    linear = LinearTorch((data.case.inputs, data.case.neurons), weight=weight.detach().mT.contiguous(), has_bias=False)
    # Copies, and not its `Constant`, which makes the given tensors themselves instances of a slower class.
    layer = LIFTorch(
        (data.case.neurons,),
        tau_mem=p["layer0.tau_mem"].clone(),
        tau_syn=p["layer0.tau_syn"].clone().unsqueeze(-1),
        threshold=p["layer0.v_th"].clone(),
        bias=torch.zeros(data.case.neurons),
        has_rec=True,
        w_rec=recurrent.detach().mT.contiguous(),
        dt=DT,
    )
    for name, value in layer.named_parameters():
        value.requires_grad_(name == "w_rec")

    def rate(x: Tensor) -> Tensor:
        layer.reset_state()
        current, _, _ = linear(x.transpose(0, 1).contiguous())
        spikes, _, _ = layer(current)
        return spikes.mean(1)

    return Layer(rate, (linear.weight, layer.w_rec))


BUILD: dict[str, Callable[[Data, Params], Layer]] = {
    "norse": norse,
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
    "rockpool": rockpool,
}


def leaf(p: Tensor) -> torch.nn.Parameter:
    """A trainable copy."""
    return torch.nn.Parameter(p.detach().clone())


def scaled(p: Params) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    """Both weights times dt / tau_mem, for libraries whose membrane adds the whole current."""
    share = (DT / p["layer0.tau_mem"]).unsqueeze(-1)
    return leaf(share * p["layer0.weight"]), leaf(share * p["layer0.recurrent_weight"])


def inference(library: str, data: Data, chips: int = 1) -> Runner:
    """Logits of the first chips in a loop, given their parameters."""
    layers = [BUILD[library](data, data.chip(k)) for k in range(chips)]

    def call() -> list[Tensor]:
        with torch.no_grad():
            return [
                torch.nn.functional.linear(layer.rate(data.x), w, data.nominal["readout.bias"])
                for layer, w in zip(layers, data.chips["readout.weight"], strict=False)
            ]

    return Runner(call, chips)


def training(library: str, data: Data) -> Runner:
    """Loss and gradients of the weights of the nominal network."""
    layer = BUILD[library](data, data.nominal)
    readout = [leaf(data.nominal[name]) for name in ("readout.weight", "readout.bias")]

    def call() -> tuple[Tensor, ...]:
        logits = torch.nn.functional.linear(layer.rate(data.x), *readout)
        return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, data.y), [*layer.weights, *readout])

    return Runner(call)


def normal_chip(data: Data, generator: np.random.Generator) -> Params:
    """The parameters of one random chip: numpy's normals on the nominal ones."""

    def varied(p: Tensor) -> Tensor:
        return p * (1 + SPREAD * torch.from_numpy(generator.standard_normal(p.shape, dtype=np.float32)))

    return {name: varied(p) if name in VARIED else p for name, p in data.nominal.items()}


def monte_carlo(library: str, data: Data) -> Runner:
    """The accuracy of one random chip."""

    def call() -> float:
        p = normal_chip(data, np.random.default_rng(1))
        with torch.no_grad():
            rate = BUILD[library](data, p).rate(data.x)
            logits = torch.nn.functional.linear(rate, p["readout.weight"], p["readout.bias"])
            return float((logits.argmax(-1) == data.y).float().mean())

    return Runner(call)
