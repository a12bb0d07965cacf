"""Layers: they hold nominal parameters by role and run the neuron equations on any values of these.

Every layer has a pure form, `run(params, x, ...)`, on parameters with or without an instance axis, and the module
form, `layer(x, state)`, on its own. A new neuron is a subclass of `SpikingLayer` with its own `step`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.snn import neurons
from snnrobust.snn.engines import choice, eager
from snnrobust.snn.initial import connections, scale_to_fluctuate
from snnrobust.snn.neurons import Dynamics
from snnrobust.snn.reads import Reads
from snnrobust.snn.routes import Route
from snnrobust.snn.specs import WEIGHTS, ParameterSpec, spec_of
from snnrobust.snn.surrogates import Surrogate

Params = Mapping[str, Tensor]


def with_instances(params: Params, nominal_ndim: Mapping[str, int]) -> int | None:
    """The number of instances K that the parameters have, or None if no tensor has an instance axis.

    Raises:
        ShapeError: If two tensors disagree on K, or one has neither its nominal number of axes nor one more.
    """
    found: dict[str, int] = {}
    for name, value in params.items():
        extra = value.ndim - nominal_ndim[name]
        if extra not in (0, 1):
            raise ShapeError(
                f"{name}: shape {tuple(value.shape)} must have {nominal_ndim[name]} axes, or one more for instances"
            )
        if extra:
            found[name] = value.shape[0]
    if len(set(found.values())) > 1:
        raise ShapeError(f"instances: parameters disagree on their number: {found}")
    return next(iter(found.values()), None)


class Layer(nn.Module):
    """Base of all layers: weights, per-neuron parameters with roles, and the input current.

    Args:
        inputs: Number of inputs I.
        neurons: Number of neurons N.
        values: Nominal value of each per-neuron parameter by role, a number or [N].
        recurrent: Adds recurrent_weight [N, N] (to, from).
        self_connections: False leaves the connection of each neuron to itself out.
        on_chip: False for a layer that is computed off the chip.
        fan_in: Connections that each neuron keeps of all its sources (inputs and, if recurrent, neurons), chosen by
            the seed; None keeps all. The weights of the others start at 0, reach no current and get no gradient.
        seed: Seed of the connections and the initial weights, N(0, 1 / I) and N(0, 1 / (4 N)), which
            `scale_to_fluctuate` then scales.
    """

    connected: Tensor | None

    def __init__(
        self,
        inputs: int,
        neurons: int,
        values: Mapping[str, float | Tensor],
        *,
        recurrent: bool = False,
        self_connections: bool = True,
        on_chip: bool = True,
        fan_in: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, count in (("inputs", inputs), ("neurons", neurons), ("fan_in", fan_in)):
            if count is not None and count < 1:
                raise ConfigError(f"{name}: {count} must be at least 1")
        self.inputs, self.neurons, self.on_chip = inputs, neurons, on_chip
        self.fan_in, self.seed, self.self_connections = fan_in, seed, self_connections or not recurrent
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(neurons, inputs, generator=generator) * inputs**-0.5)
        if recurrent:
            start = torch.randn(neurons, neurons, generator=generator) * 0.5 * neurons**-0.5
            self.recurrent_weight = nn.Parameter(start)
        sources = inputs + neurons * recurrent
        chosen = None if fan_in is None or fan_in >= sources else connections(neurons, sources, fan_in, seed)
        growth = 1.0 if chosen is None or fan_in is None else (sources / fan_in) ** 0.5
        if not self.self_connections:
            others = torch.cat([torch.ones(neurons, inputs), 1 - torch.eye(neurons)], dim=1).bool()
            chosen = others if chosen is None else chosen & others
        # Structure, not state: it follows from the arguments and is rebuilt from them, never stored.
        self.register_buffer("connected", chosen, persistent=False)
        if chosen is not None:
            with torch.no_grad():
                for name, p in self.named_parameters():  # the weights; fewer of them carry the same variance
                    p.mul_(self.effective({name: growth * torch.ones_like(p)}, name))
        self.bias = nn.Parameter(torch.zeros(neurons))
        for name, value in values.items():
            tensor = torch.as_tensor(value, dtype=self.weight.dtype)
            if tensor.ndim > 1 or tensor.numel() not in (1, neurons):
                raise ShapeError(f"{name}: shape {tuple(tensor.shape)} must be () or ({neurons},)")
            full = tensor.expand(neurons).clone()
            if name.startswith("tau_") and not bool((full > 0).all()):
                raise ConfigError(f"{name}: {value} must be positive seconds (None where it is absent, never 0)")
            if bool(full.isnan().any()):
                raise ConfigError(f"{name}: {value} must be a number, or one for each neuron")
            # Device parameters are real module parameters (saved, moved, attacked) but trained only on request.
            self.register_parameter(name, nn.Parameter(full, requires_grad=False))

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Role, shape, unit and sign of each parameter, by its name in this layer."""
        own = dict(self.named_parameters(recurse=False))
        fan_in = {name: self.fan_in for name in WEIGHTS if self.connected is not None}
        return {
            name: spec_of(name, tuple(p.shape), on_chip=self.on_chip, fan_in=fan_in.get(name))
            for name, p in own.items()
        }

    def nominal(self) -> dict[str, Tensor]:
        """The nominal parameters by name."""
        return dict(self.named_parameters(recurse=False))

    def instances(self, params: Params) -> int | None:
        """The number of instances of the given parameters, None without an instance axis."""
        return with_instances(params, {name: p.ndim for name, p in self.named_parameters(recurse=False)})

    def check_input(self, x: Tensor) -> None:
        """Raise ShapeError unless x is [T, B, I] or [K, T, B, I] of this layer."""
        if x.ndim not in (3, 4) or x.shape[-1] != self.inputs or 0 in x.shape[-3:-1]:
            raise ShapeError(f"x: shape {tuple(x.shape)} must be [T, B, {self.inputs}] or [K, T, B, {self.inputs}]")

    def check(self, params: Params, x: Tensor) -> int | None:
        """The number of instances of the parameters; raises ShapeError unless x fits this layer and them."""
        self.check_input(x)
        count = self.instances(params)
        if count is not None and x.ndim == 4 and len(x) != count:
            raise ShapeError(f"x: {len(x)} instances must be {count}, as many as the parameters have")
        return count

    def drive(self, params: Params, x: Tensor, reads: Reads | None = None) -> Tensor:
        """Current gain W x_t + bias of all steps, [T, B, N], or [K, T, B, N] if a parameter has an instance axis.

        With `reads`, what they make of gain W x_t.
        """
        count = self.check(params, x)
        weight, bias = self.effective(params, "weight"), params.get("bias")
        u = eager.input_current(x, weight, bias) if reads is None else reads.current(x, weight, bias)
        return u.expand(count, *u.shape) if count is not None and u.ndim == 3 else u

    def effective(self, params: Params, name: str) -> Tensor:
        """Weights as the current sees them: 0 where there is no connection, and times the neuron's gain.

        Gain times weights is the gain on the summed current, exactly so for gain 1.
        """
        weight, gain = self.connecting(params, name), params.get("gain")
        return weight if gain is None else gain.unsqueeze(-1) * weight

    def connecting(self, params: Params, name: str) -> Tensor:
        """Weights, 0 where there is no connection."""
        here = self.existing(name)
        return params[name] if here is None else torch.where(here, params[name], 0)

    def existing(self, name: str) -> Tensor | None:
        """True where a connection of `weight` or `recurrent_weight` exists; None where all do."""
        if self.connected is None:
            return None
        return self.connected[:, : self.inputs] if name == "weight" else self.connected[:, self.inputs :]


class SpikingLayer(Layer):
    """A population of spiking neurons; subclasses define `step` and, if needed, `start`.

    Args:
        dynamics: dt, integrator, reset and surrogate.
        (others): See `Layer`.
    """

    kind: ClassVar[str] = ""

    def __init__(
        self,
        inputs: int,
        neurons: int,
        values: Mapping[str, float | Tensor],
        *,
        dynamics: Dynamics,
        recurrent: bool = False,
        **structure: Any,  # noqa: ANN401 (Layer's keywords)
    ) -> None:
        super().__init__(inputs, neurons, values, recurrent=recurrent, **structure)
        self.dynamics, self.recurrent = dynamics, recurrent
        check_integrator(self, dynamics)
        scale_to_fluctuate(self, dynamics)

    def start(self, c: Params, like: Tensor) -> Any:  # noqa: ANN401 (a neuron's own state)
        """State at the start of a sample, shaped like the current `like` [.., B, N]."""
        return neurons.initial_state(c, like)

    def step(self, u: Tensor, state: Any, c: Params) -> Any:  # noqa: ANN401 (a neuron's own state)
        """One step of the equations on constants c (see `neurons.constants`); the result has the spikes in `.o`."""
        return neurons.spiking_step(u, state, c, self.dynamics)

    def run(
        self,
        params: Params,
        x: Tensor,
        state: Any = None,  # noqa: ANN401
        *,
        engine: str = "auto",
        reads: Reads | None = None,
        route: Route | None = None,
    ) -> tuple[Tensor, Any]:
        """The pure form: spikes of these parameters.

        Args:
            params: Parameters by name, each nominal in shape or with a leading instance axis.
            x: Input currents or spikes, [T, B, I] or [K, T, B, I].
            state: State to go on from, as returned; None starts a sample.
            engine: "auto", "numba" or "eager", see `engines.choice`.
            reads: How the crossbar is read at every step; steps count from 0.
            route: The way of the layer's spikes to its recurrent weights; None where all arrive in the next step.

        Returns:
            Spikes [T, B, N] or [K, T, B, N], and the state after the last step.
        """
        if choice.fused(engine, [self], params.values(), x, state, reads=reads is not None, routes=route is not None):
            self.check(params, x)
            return choice.run_layer(self, params, x, state, reads)
        u = self.drive(params, x, reads)
        if route is not None and u.ndim == 3:
            u = u.expand(route.instances, *u.shape)
        current = (*WEIGHTS, "bias", "gain")
        c = neurons.constants({n: p for n, p in params.items() if n not in current}, self.dynamics)
        state = self.start(c, u[..., 0, :, :]) if state is None else state
        recurrent = self.effective(params, "recurrent_weight") if self.recurrent else None
        arrive = None if route is None else route.start(*u.shape[-3:])

        def feedback(o: Tensor, t: int) -> Tensor:
            assert recurrent is not None
            o = o if arrive is None else arrive(o, t)
            return torch.matmul(o, recurrent.mT) if reads is None else reads.feedback(o, recurrent, t)

        return eager.run_spiking(lambda now, s: self.step(now, s, c), u, feedback if self.recurrent else None, state)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:  # noqa: ANN401 (a neuron's own state)
        """`run` on the nominal parameters."""
        return self.run(self.nominal(), x, state)

    def to_dict(self) -> dict[str, Any]:
        """The structure, as plain values; the parameters' values are stored beside it."""
        return {
            "kind": self.kind,
            "inputs": self.inputs,
            "neurons": self.neurons,
            "recurrent": self.recurrent,
            "fan_in": self.fan_in,
            "seed": None if self.fan_in is None else self.seed,
            "parameters": [n for n, _ in self.named_parameters(recurse=False)],
            "dynamics": self.dynamics.to_dict(),
            **({} if self.self_connections else {"self_connections": False}),
        }


def check_integrator(layer: Layer, dynamics: Dynamics) -> None:
    """Raise ConfigError where the Euler step is longer than a time constant."""
    if dynamics.integrator == "euler":
        for name, p in layer.named_parameters(recurse=False):
            if name.startswith("tau_") and bool((p < dynamics.dt * (1 - 1e-6)).any()):
                raise ConfigError(
                    f"{name}: {float(p.min()):g} s is below dt = {dynamics.dt:g} s; euler needs dt/tau <= 1"
                )


def present(**values: float | Tensor | None) -> dict[str, float | Tensor]:
    """The parameters that are not None."""
    return {name: value for name, value in values.items() if value is not None}


class LIF(SpikingLayer):
    """Leaky integrate-and-fire neurons; equations in `snnrobust.snn.neurons`.

    Args:
        inputs: Number of inputs I.
        neurons: Number of neurons N.
        recurrent: Recurrent weights [N, N].
        dt: Time step in s.
        tau_mem: Membrane time constant in s, a number or [N]; 20 dt by default.
        tau_syn: Synaptic time constant in s, or None for no synapse.
        v_th: Firing threshold.
        v_leak: Resting potential.
        v_reset: Potential after a spike (hard reset).
        refractory: Dead time after a spike in s, rounded to steps.
        integrator: "exponential" or "euler".
        reset: "hard" or "soft".
        detach_reset: No gradient through the spike in the reset.
        surrogate: Derivative of the spike.
        fan_in: Connections that each neuron keeps of all its sources; None keeps all.
        self_connections: False leaves the recurrent connection of each neuron to itself out.
        seed: Seed of the connections and the initial weights.
        **more: Values of the per-neuron parameters that a subclass adds, those in its `more`.

    Raises:
        ConfigError: For a value outside its domain, or an unknown keyword.
        ShapeError: For a per-neuron value that is not [N].
    """

    kind = "lif"
    more: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        inputs: int,
        neurons: int,
        recurrent: bool = False,
        *,
        dt: float = 1e-3,
        tau_mem: float | Tensor | None = None,
        tau_syn: float | Tensor | None = None,
        v_th: float | Tensor = 1.0,
        v_leak: float | Tensor = 0.0,
        v_reset: float | Tensor = 0.0,
        refractory: float | Tensor = 0.0,
        integrator: str = "exponential",
        reset: str = "hard",
        detach_reset: bool = True,
        surrogate: Surrogate | None = None,
        fan_in: int | None = None,
        self_connections: bool = True,
        seed: int = 0,
        **more: float | Tensor,
    ) -> None:
        for name in more.keys() - set(self.more):
            own = inspect.signature(LIF).parameters.values()
            keywords = (p.name for p in own if p.kind is p.KEYWORD_ONLY)
            raise ConfigError(unknown(f"{type(self).__name__} keyword", name, (*keywords, *self.more)))
        dynamics = Dynamics(
            dt=dt,
            integrator=integrator,
            reset=reset,
            detach_reset=detach_reset,
            surrogate=surrogate or Surrogate(),
        )
        dead_time = torch.as_tensor(refractory)
        if not bool((dead_time >= 0).all()):
            raise ConfigError(f"refractory: {refractory} must be 0 or positive seconds")
        values = present(
            gain=1.0,
            tau_mem=20 * dt if tau_mem is None else tau_mem,
            tau_syn=tau_syn,
            v_th=v_th,
            v_leak=v_leak,
            v_reset=v_reset if reset == "hard" else None,
            refractory=refractory if bool(dead_time.any()) else None,
            **more,
        )
        structure = {"fan_in": fan_in, "self_connections": self_connections, "seed": seed}
        super().__init__(inputs, neurons, values, dynamics=dynamics, recurrent=recurrent, **structure)


class ALIF(LIF):
    """LIF with an adaptive threshold, v_th + adaptation b; b follows the spikes with tau_adapt.

    Args:
        inputs: Number of inputs I.
        neurons: Number of neurons N.
        recurrent: Recurrent weights [N, N].
        tau_adapt: Time constant of the adaptation in s; 100 dt by default.
        adaptation: Strength of the adaptation.
        dt: Time step in s.
        **values: As for `LIF`.
    """

    kind = "alif"
    more = ("tau_adapt", "adaptation")

    def __init__(
        self,
        inputs: int,
        neurons: int,
        recurrent: bool = False,
        *,
        tau_adapt: float | Tensor | None = None,
        adaptation: float | Tensor = 1.0,
        dt: float = 1e-3,
        **values: Any,  # noqa: ANN401 (LIF's keywords)
    ) -> None:
        tau = 100 * dt if tau_adapt is None else tau_adapt
        super().__init__(inputs, neurons, recurrent, dt=dt, tau_adapt=tau, adaptation=adaptation, **values)


NEURONS: dict[str, type[SpikingLayer]] = {"lif": LIF, "alif": ALIF}
"""Neurons by name; `Network.recurrent(neuron=...)` and the command line look here, and a project may add its own."""
