"""A network: spiking layers and a readout, as a module and as a pure function of its parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.snn.engines import choice
from snnrobust.snn.layers import NEURONS, Params, SpikingLayer
from snnrobust.snn.readouts import LI, READOUTS, MeanRate, check_lengths, decoded
from snnrobust.snn.reads import Reads
from snnrobust.snn.routes import Route, along
from snnrobust.snn.specs import LayerKind, ParameterSpec
from snnrobust.snn.structure import layer_of
from snnrobust.snn.surrogates import Surrogate


class Recording(NamedTuple):
    """What a run gives when it records.

    Attributes:
        logits: [B, O] or [K, B, O].
        spikes: Spikes of each spiking layer by name, [T, B, N] or [K, T, B, N].
    """

    logits: Tensor
    spikes: dict[str, Tensor]


class Network(nn.Module):
    """Spiking layers in a row and a readout.

    Args:
        layers: At least one `SpikingLayer` and then one readout, `LI` or `MeanRate`, of fitting sizes.
        engine: What runs it: "numba", the fused engine on the CPU; "eager", plain torch on any device; "auto", numba
            where it can. It is no part of the network's identity.

    Raises:
        ConfigError: If the stack is empty, or does not end in a readout.
        ShapeError: If two neighbours' sizes do not fit.
    """

    def __init__(self, layers: Sequence[SpikingLayer | LI | MeanRate], *, engine: str = "auto") -> None:
        super().__init__()
        self.engine = choice.checked(engine)
        if len(layers) < 2 or not isinstance(layers[-1], LI | MeanRate):
            raise ConfigError(
                "layers: a network needs at least one spiking layer and ends in one readout (LI, MeanRate)"
            )
        self.spiking_names: list[str] = []
        for index, layer in enumerate(layers[:-1]):
            if not isinstance(layer, SpikingLayer):
                raise ConfigError(
                    f"layers[{index}]: {type(layer).__name__} must be a spiking layer; a readout comes last"
                )
            if layer.neurons != layers[index + 1].inputs:
                raise ShapeError(
                    f"layers[{index + 1}].inputs: {layers[index + 1].inputs} must be {layer.neurons}, "
                    f"the number of neurons before it"
                )
            self.spiking_names.append(f"layer{index}")
            self.add_module(f"layer{index}", layer)
        self.readout = layers[-1]

    @classmethod
    def recurrent(
        cls,
        inputs: int,
        hidden: int | Sequence[int],
        outputs: int,
        *,
        neuron: str = "lif",
        dt: float = 1e-3,
        tau_mem: float | None = None,
        tau_syn: float | None = None,
        tau_out: float | None = None,
        surrogate: Surrogate | None = None,
        readout: str = "li",
        decode: str = "mean",
        fan_in: int | None = None,
        seed: int = 0,
        engine: str = "auto",
        **values: Any,  # noqa: ANN401 (the neuron's keywords)
    ) -> Network:
        """A recurrent network: one or several recurrent layers of spiking neurons and a readout.

        Args:
            inputs: Number of inputs I.
            hidden: Neurons of the hidden layer, or of each.
            outputs: Number of outputs O.
            neuron: Name of a neuron in `NEURONS`.
            dt: Time step in s.
            tau_mem: Membrane time constant of the hidden neurons in s; 20 dt by default.
            tau_syn: Synaptic time constant in s, or None.
            tau_out: Membrane time constant of an LI readout in s; 20 dt by default.
            surrogate: Derivative of the spike.
            readout: "li" or "rate".
            decode: How an LI readout is decoded: mean, max, last.
            fan_in: Connections that each hidden neuron keeps, of its layer's inputs and neurons together; None keeps
                all. The readout is not limited.
            seed: Seed of the connections and the initial weights.
            engine: "auto", "numba" or "eager", see `Network`.
            **values: Further keywords of the neuron (v_th, reset, refractory, ...).
        """
        if neuron not in NEURONS:
            raise ConfigError(unknown("neuron", neuron, NEURONS))
        if readout not in READOUTS:
            raise ConfigError(unknown("readout", readout, READOUTS))
        sizes = [hidden] if isinstance(hidden, int) else list(hidden)
        if not sizes:
            raise ConfigError("hidden: [] must be a number of neurons, or one number for each hidden layer")
        make: Any = NEURONS[neuron]
        layers: list[Any] = []
        for index, (before, size) in enumerate(zip([inputs, *sizes[:-1]], sizes, strict=True)):
            layers.append(
                make(
                    before,
                    size,
                    recurrent=True,
                    dt=dt,
                    tau_mem=tau_mem,
                    tau_syn=tau_syn,
                    surrogate=surrogate,
                    fan_in=fan_in,
                    seed=seed * 1000 + index,
                    **values,
                )
            )
        last = seed * 1000 + len(sizes)
        if readout == "li":
            layers.append(LI(sizes[-1], outputs, dt=dt, tau_mem=tau_out, decode=decode, seed=last))
        else:
            layers.append(MeanRate(sizes[-1], outputs, seed=last))
        return cls(layers, engine=engine)

    @property
    def spiking(self) -> dict[str, SpikingLayer]:
        """The spiking layers by name, first to last."""
        return {name: self.get_submodule(name) for name in self.spiking_names}  # type: ignore[misc]  # checked in __init__

    @property
    def inputs(self) -> int:
        """Number of inputs I."""
        return next(iter(self.spiking.values())).inputs

    @property
    def dt(self) -> float:
        """Time step of the inputs in s, which is that of the first layer."""
        return next(iter(self.spiking.values())).dynamics.dt

    def nominal(self) -> dict[str, Tensor]:
        """The nominal parameters by name, "layer0.weight" and so on."""
        return dict(self.named_parameters())

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role, shape, unit, sign, layer and, of weights, source layer of every parameter, by name."""
        specs, before = {}, ""
        for layer_name, layer in [*self.spiking.items(), ("readout", self.readout)]:
            sources = {"weight": before, "recurrent_weight": layer_name}
            for name, spec in layer.parameter_specs().items():
                specs[f"{layer_name}.{name}"] = replace(spec, layer=layer_name, source=sources.get(name))
            before = layer_name
        return specs

    def layer_kinds(self) -> dict[str, LayerKind]:
        """What each layer on the chip is, by name."""
        kinds = {name: LayerKind(layer.kind, layer.dynamics.reset) for name, layer in self.spiking.items()}
        return kinds | ({"readout": LayerKind(self.readout.kind, None)} if self.readout.on_chip else {})

    def record(
        self,
        params: Params,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        reads: Mapping[str, Reads] | None = None,
        routes: Mapping[str, Route] | None = None,
    ) -> Recording:
        """As `run`, with every layer's spikes, all that it gives whether or not they arrive."""
        parts, how, ways = self._parts(params), self._reads(reads), self._routes(routes)
        if self._fused(params, x, how, ways):
            self._check(parts, x, lengths, how)
            logits, spikes = choice.run_network(self.spiking, self.readout, parts, x, lengths, spikes=True, reads=how)
            return Recording(logits, spikes)
        spikes = {}
        for name, layer in self.spiking.items():
            x = along(ways.get(f"{name}.weight"), x)
            back = ways.get(f"{name}.recurrent_weight")
            x, _ = layer.run(parts[name], x, engine=self.engine, reads=how.get(name), route=back)
            spikes[name] = x
        x = along(ways.get("readout.weight"), x)
        last = {"reads": how["readout"]} if "readout" in how else {}
        return Recording(self.readout.run(parts["readout"], x, lengths, **last), spikes)

    def rates(self, params: Params, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """As `run`, with every layer's mean spikes a step over the valid steps, [B, N] or [K, B, N] by layer."""
        parts = self._parts(params)
        if self._fused(params, x):
            self._check(parts, x, lengths)
            return choice.run_network(self.spiking, self.readout, parts, x, lengths, rates=True)
        logits, spikes = self.record(params, x, lengths)
        return logits, {name: decoded(own, lengths, "mean") for name, own in spikes.items()}

    def follow(self, params: Params, x: Tensor, seen: Recording, lengths: Tensor | None = None) -> Tensor:
        """Logits that another device gave, with the derivative of these parameters: straight through, layer by layer.

        Every layer gets the spikes that were seen of the one before, and its own give way to those that were seen. A
        layer that no gradient reaches is not run.

        Args:
            params: Parameters by name, as for `run`.
            x: Inputs [T, B, I].
            seen: Spikes and logits of the other device, or of K devices.
            lengths: Valid steps of each sample [B].
        """
        parts = self._parts(params)
        for name, layer in self.spiking.items():
            spikes = seen.spikes[name]
            if x.requires_grad or any(p.requires_grad for p in parts[name].values()):
                own, _ = layer.run(parts[name], x, engine=self.engine)
                spikes = spikes + (own - own.detach())
            x = spikes
        own = self._read_out(parts["readout"], x, lengths)
        return seen.logits + (own - own.detach())

    def _read_out(self, params: Params, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The readout of the last layer's spikes alone."""
        if isinstance(self.readout, LI) and choice.fused(self.engine, [self.readout], params.values(), x):
            return choice.run_network({}, self.readout, {"readout": params}, x, lengths)[0]
        return self.readout.run(params, x, lengths)

    def run(
        self,
        params: Params,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        reads: Mapping[str, Reads] | None = None,
        routes: Mapping[str, Route] | None = None,
    ) -> Tensor:
        """Logits as a pure function of the parameters.

        Args:
            params: Parameters by name, each nominal in shape or with a leading instance axis K.
            x: Inputs [T, B, I], or [K, T, B, I].
            lengths: Valid steps of each sample [B]; None where all are valid.
            reads: How the crossbar of a layer is read at every step, by layer name ("layer0", "readout").
            routes: The way of neurons' spikes to weights, by their name ("layer0.recurrent_weight", "readout.weight");
                on the eager engine only.

        Returns:
            [B, O], or [K, B, O] where any parameter has an instance axis.

        Raises:
            ConfigError: If a parameter is missing or unknown.
            ShapeError: If shapes do not fit, instances disagree on their number, or a length is not in 1 .. T.
        """
        parts, how, ways = self._parts(params), self._reads(reads), self._routes(routes)
        if self._fused(params, x, how, ways):
            self._check(parts, x, lengths, how)
            return choice.run_network(self.spiking, self.readout, parts, x, lengths, reads=how)[0]
        return self.record(params, x, lengths, reads=how, routes=ways).logits

    def readable_layers(self) -> tuple[str, ...]:
        """Names of the layers whose crossbars may be read at every step, in order."""
        return (*self.spiking, *(["readout"] if isinstance(self.readout, LI) else []))

    def routed_weights(self) -> tuple[str, ...]:
        """Names of the weights that spikes of neurons reach: recurrent ones, and those of all layers but the first."""
        return tuple(name for name, spec in self.parameter_specs().items() if spec.source)

    def spikes(self, params: Params, x: Tensor) -> dict[str, Tensor]:
        """Spikes [T, B, N] or [K, T, B, N] of each spiking layer, by name."""
        return self.record(params, x).spikes

    def runs_fused(self) -> bool:
        """Whether the fused engine runs this network on its nominal parameters, which lie on the CPU then."""
        params = self.nominal()
        return self._fused(params, next(iter(params.values())))

    def _fused(
        self,
        params: Params,
        x: Tensor,
        reads: Mapping[str, Reads] | None = None,
        routes: Mapping[str, Route] | None = None,
    ) -> bool:
        layers = [*self.spiking.values(), self.readout]
        return choice.fused(self.engine, layers, params.values(), x, reads=bool(reads), routes=bool(routes))

    def _reads(self, reads: Mapping[str, Reads] | None) -> Mapping[str, Reads]:
        known = self.readable_layers()
        for name in reads or {}:
            if name not in known:
                raise ConfigError(unknown("reads", name, known))
        return reads or {}

    def _routes(self, routes: Mapping[str, Route] | None) -> Mapping[str, Route]:
        for name in routes or {}:
            if name not in (known := self.routed_weights()):
                raise ConfigError(unknown("routes", name, known))
        return routes or {}

    def _check(
        self, parts: Mapping[str, Params], x: Tensor, lengths: Tensor | None, reads: Mapping[str, Reads] | None = None
    ) -> None:
        """What the layers check one by one, before any of them runs."""
        layers = {**self.spiking, "readout": self.readout}
        next(iter(layers.values())).check(parts[next(iter(layers))], x)
        counts = {name: layer.instances(parts[name]) for name, layer in layers.items()}
        found = {count for count in counts.values() if count is not None} | ({len(x)} if x.ndim == 4 else set())
        found |= {own.instances for own in (reads or {}).values() if own.instances > 1}
        if len(found) > 1:
            raise ShapeError(f"instances: layers disagree on their number: {counts}")
        if lengths is not None:
            check_lengths(lengths, x.shape[-3], x.shape[-2])

    def _parts(self, params: Params) -> dict[str, dict[str, Tensor]]:
        self._check_names(params)
        return _by_layer(params)

    def _check_names(self, params: Params) -> None:
        known = self.nominal().keys()
        if params.keys() != known:
            for name in params:
                if name not in known:
                    raise ConfigError(unknown("params", name, known))
            raise ConfigError(f"params: {min(known - params.keys())} is missing")

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [B, O] of the nominal parameters."""
        return self.run(self.nominal(), x, lengths)

    def to_dict(self) -> dict[str, Any]:
        """The structure, as plain values; `from_dict` builds the same network with initial values."""
        return {
            "layers": [layer.to_dict() for layer in self.spiking.values()],
            "readout": self.readout.to_dict(),
        }

    @classmethod
    def from_dict(cls, structure: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Network:
        """The network of a stored structure with the given parameter values, in their precision.

        Raises:
            ConfigError: If the structure names an unknown neuron or readout.
            ShapeError: If the parameters do not belong to the structure.
        """
        layers: list[Any] = [layer_of(entry) for entry in structure["layers"]]
        net = cls([*layers, layer_of(structure["readout"])])
        expected = {name: tuple(p.shape) for name, p in net.named_parameters()}
        given = {name: tuple(p.shape) for name, p in parameters.items()}
        if expected != given:
            wrong = sorted(set(expected.items()) ^ set(given.items()))
            raise ShapeError(f"parameters: they do not belong to the structure; they differ in {wrong[0][0]}")
        for name, p in net.named_parameters():
            p.data = parameters[name].detach().to(p.device, copy=True)
        return net

    def hash(self) -> str:
        """SHA-256 of structure and parameter values: the identity of a trained network."""
        return fingerprint(json.dumps(self.to_dict(), sort_keys=True), self.nominal())


def fingerprint(structure: str, parameters: Mapping[str, Tensor]) -> str:
    """SHA-256 of a network's structure, as JSON text, and of its parameters' names and values."""
    digest = hashlib.sha256(structure.encode())
    for name, p in sorted(parameters.items()):
        digest.update(name.encode() + p.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _by_layer(params: Params) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in params.items():
        layer, _, own = name.rpartition(".")
        parts.setdefault(layer, {})[own] = value
    return parts
