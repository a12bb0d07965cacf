"""Agreement with norse 1.1.0: euler, hard detached reset and a synapse are its `LIFRecurrent`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest
import torch
from agreement import Pool, assert_equal, eager, margins, parted_samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnrobust.snn import LIF, Surrogate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from norse.torch import LIFParameters, LIFRecurrent
    from norse.torch.functional.lif import LIFState

NORSE = Surrogate(shape="superspike", slope=1.0)  # its `SuperSpike` ignores alpha
MANY = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def norse(layer: LIF, x: Tensor, cotangent: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Spikes and gradients of norse's module with the layer's parameters, in the layer's precision."""
    p = {name: value.detach().clone().requires_grad_() for name, value in layer.nominal().items()}
    x = x.detach().clone().requires_grad_()
    constants = LIFParameters(
        tau_syn_inv=1 / p["tau_syn"],
        tau_mem_inv=1 / p["tau_mem"],
        v_leak=p["v_leak"],
        v_th=p["v_th"],
        v_reset=p["v_reset"],
        method="super",
        alpha=torch.ones((), dtype=x.dtype),
    )
    module = LIFRecurrent(
        layer.inputs,
        layer.neurons,
        p=constants,
        autapses=True,
        input_weights=p["weight"],
        recurrent_weights=p["recurrent_weight"],
        dt=layer.dynamics.dt,
    )
    zero = torch.zeros(x.shape[1], layer.neurons, dtype=x.dtype)  # its own initial state is float32 whatever x is
    spikes, _ = module(x, LIFState(z=zero, v=zero + p["v_leak"].detach(), i=zero))
    wanted = {**{n: p[n] for n in ("weight", "recurrent_weight", "v_th", "v_reset", "v_leak", "tau_mem")}, "x": x}
    found = torch.autograd.grad((spikes * cotangent).sum(), list(wanted.values()), materialize_grads=True)
    return spikes.detach(), dict(zip(wanted, found, strict=True))


@dataclass(frozen=True)
class Example:
    """A layer's arguments; hypothesis prints them when an example fails."""

    inputs: int
    neurons: int
    steps: int
    batch: int
    dt: float
    tau_mem: float
    tau_syn: float
    v_th: float
    v_leak: float
    v_reset: float
    strength: float
    events: bool
    seed: int

    def build(self, dtype: torch.dtype) -> tuple[LIF, Tensor, Tensor]:
        """The layer with time constants that differ between neurons, an input, and a cotangent."""
        generator = torch.Generator().manual_seed(self.seed)

        def spread(value: float) -> Tensor:
            return value * (1 + torch.rand(self.neurons, generator=generator, dtype=torch.float64))

        layer = LIF(
            self.inputs,
            self.neurons,
            True,
            dt=self.dt,
            tau_mem=self.dt * spread(self.tau_mem),
            tau_syn=self.dt * spread(self.tau_syn),
            v_th=self.v_leak + spread(self.v_th),
            v_leak=self.v_leak,
            v_reset=self.v_reset,
            integrator="euler",
            surrogate=NORSE,
            seed=self.seed,
        )
        with torch.no_grad():
            layer.weight *= self.strength
        x = torch.randn(self.steps, self.batch, self.inputs, generator=generator, dtype=torch.float64)
        cotangent = torch.randn(self.steps, self.batch, self.neurons, generator=generator, dtype=torch.float64)
        return layer.to(dtype), ((x > 0.8) if self.events else x).to(dtype), cotangent.to(dtype)


examples = st.builds(
    Example,
    inputs=st.integers(1, 8),
    neurons=st.integers(1, 24),
    steps=st.integers(1, 40),
    batch=st.integers(1, 6),
    dt=st.sampled_from([1e-4, 1e-3, 1.0]),
    tau_mem=st.floats(1, 40),
    tau_syn=st.floats(1, 20),
    v_th=st.floats(0.3, 2),
    v_leak=st.floats(-0.5, 0.5),
    v_reset=st.floats(-0.8, 0.3),
    strength=st.floats(1, 8),
    events=st.booleans(),
    seed=st.integers(0, 2**31),
)


def test_float64_spikes_are_equal_and_gradients_agree():
    rates = []

    @MANY
    @given(examples)
    def one(example):
        rates.append(assert_equal(*example.build(torch.float64), norse))

    one()
    assert sum(rates) / len(rates) > 0.01


def test_float32_parts_only_at_ties():
    pool = Pool()

    @MANY
    @given(examples)
    def one(example):
        pool.add(*example.build(torch.float32), norse)

    one()
    pool.check()


def wrong_threshold(layer: LIF, x: Tensor, cotangent: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """An implementation that is wrong by a thousandth of the threshold."""
    moved = LIF(layer.inputs, layer.neurons, True, tau_syn=1.0, tau_mem=1.0, integrator="euler").to(x.dtype)
    moved.dynamics = layer.dynamics
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p.copy_(layer.nominal()[name])
        moved.v_th *= 1.001
    return eager(moved, x, cotangent)


BUSY = Example(4, 20, 40, 6, 1e-3, 5.0, 3.0, 1.0, 0.1, -0.2, 4.0, False, 3)


@pytest.mark.parametrize(("dtype", "compare"), [(torch.float64, assert_equal), (torch.float32, Pool().add)])
def test_the_rule_sees_a_small_error(dtype, compare):
    layer, x, cotangent = BUSY.build(dtype)
    with pytest.raises(AssertionError):
        compare(layer, x, cotangent, wrong_threshold)


def test_margins_tell_which_neurons_fire():
    layer, x, cotangent = BUSY.build(torch.float64)
    spikes, _ = eager(layer, x, cotangent)
    distance, width = margins(layer, x, spikes)
    assert torch.equal(distance > 0, spikes > 0)
    assert float((distance.abs() < width).double().mean()) < 1e-3
    assert not parted_samples(layer, x, spikes, spikes).any()
