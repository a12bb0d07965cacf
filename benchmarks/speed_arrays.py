"""The network's equations written out by hand, the strongest other ways on a CPU: torch with an instance axis, and JAX.

torch: a loop over time on [K, B, N] with `baddbmm`, in place. JAX: a jitted `lax.scan` with a custom derivative of the
spike. Where there are several ways to write one (a loop over chips or `vmap`, input currents for all steps at once or
step by step, unrolling), the fastest found is used, and loop or vmap is decided at each point by a trial.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from speed_case import DT, TRAINED, VARIED, Data, Runner
from speed_modules import Params, normal_chip
from torch import Tensor

# What one scan is unrolled by: faster than 1 and than 4 forward, slower backward.
UNROLL_FORWARD, UNROLL_BACKWARD = 2, 1


def fastest(runners: Sequence[Runner]) -> Runner:
    """The fastest for one chip, after a run each to compile."""

    def once(runner: Runner) -> float:
        runner.call()
        start = time.perf_counter()
        runner.call()
        return (time.perf_counter() - start) / runner.chips

    return runners[0] if len(runners) == 1 else min(runners, key=once)


def torch_logits(x: Tensor, p: Params) -> Tensor:
    """Logits [K, B, O] of x [T, B, I] on parameters with an instance axis, v_leak and v_reset 0."""
    w_in, w_rec = p["layer0.weight"].mT.contiguous(), p["layer0.recurrent_weight"].mT.contiguous()
    a_mem, keep = (DT / p["layer0.tau_mem"]).unsqueeze(1), (1 - DT / p["layer0.tau_syn"]).unsqueeze(1)
    threshold = p["layer0.v_th"].unsqueeze(1)
    i, v, o, count = (torch.zeros(w_in.shape[0], x.shape[1], w_in.shape[2]) for _ in range(4))
    for now in x:
        i += torch.matmul(now, w_in)
        i.baddbmm_(o, w_rec)
        v.lerp_(i, a_mem)
        i *= keep
        fired = v > threshold
        v.masked_fill_(fired, 0)
        o.copy_(fired)
        count += o
    return torch.matmul(count / len(x), p["readout.weight"].mT) + p["readout.bias"]


def torch_inference(data: Data) -> Runner:
    """Logits of all chips, given their parameters: all at once or four at a time, whichever is faster."""
    count = data.case.instances

    def blocks(size: int) -> Runner:
        slices = [slice(k, k + size) for k in range(0, count, size)]
        parts = [{name: p[s] if name in VARIED else p for name, p in data.chips.items()} for s in slices]

        def call() -> list[Tensor]:
            with torch.no_grad():
                return [torch_logits(data.x, part) for part in parts]

        return Runner(call, count)

    return fastest([blocks(size) for size in dict.fromkeys((min(4, count), count))])


def torch_monte_carlo(data: Data) -> Runner:
    """The accuracy of random chips."""
    count = min(4, data.case.instances)

    def call() -> Tensor:
        generator = np.random.default_rng(1)
        chips = [normal_chip(data, generator) for _ in range(count)]
        p = {name: torch.stack([c[name] for c in chips]) if name in VARIED else chips[0][name] for name in chips[0]}
        with torch.no_grad():
            return (torch_logits(data.x, p).argmax(-1) == data.y).float().mean(-1)

    return Runner(call, count)


def jax_module() -> Any:  # noqa: ANN401 (a module that may be absent)
    """jax on the CPU, on as many threads as torch."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    flags = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={torch.get_num_threads()}"
    os.environ.setdefault("XLA_FLAGS", flags)
    import jax

    return jax


def jax_logits(surrogate: str, unroll: int) -> Callable[[dict[str, Any], Any], Any]:
    """(parameters of one chip by name, x [T, B, I]) -> logits [B, O]."""
    jax = jax_module()
    jnp = jax.numpy

    @jax.custom_jvp
    def spike(r: Any) -> Any:  # noqa: ANN401
        return (r > 0).astype(r.dtype)

    @spike.defjvp
    def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        (r,), (dr,) = primals, tangents
        slope = (1 + jnp.abs(r)) ** -2 if surrogate == "superspike" else jnp.maximum(1 - jnp.abs(r), 0)
        return spike(r), slope * dr

    def logits(p: dict[str, Any], x: Any) -> Any:  # noqa: ANN401
        a_mem, a_syn = DT / p["layer0.tau_mem"], DT / p["layer0.tau_syn"]

        def step(state: tuple[Any, ...], now: Any) -> tuple[tuple[Any, ...], None]:  # noqa: ANN401
            i, v, o, count = state
            i = i + now @ p["layer0.weight"].T + o @ p["layer0.recurrent_weight"].T
            v = v + a_mem * (i - v)
            i = i - a_syn * i
            o = spike(v - p["layer0.v_th"])
            v = jnp.where(jax.lax.stop_gradient(o) > 0, 0.0, v)
            return (i, v, o, count + o), None

        zero = jnp.zeros((x.shape[1], p["layer0.weight"].shape[0]), x.dtype)
        (_, _, _, count), _ = jax.lax.scan(step, (zero,) * 4, x, unroll=unroll)
        return count / len(x) @ p["readout.weight"].T + p["readout.bias"]

    return logits


def jax_inference(data: Data) -> Runner:
    """Logits of chips, given their parameters: a vmap over all or a loop, whichever is faster."""
    jax = jax_module()
    function = jax_logits(data.case.surrogate, UNROLL_FORWARD)
    x, chips = _arrays(data.x), _arrays(data.chips)
    axes = {name: 0 if name in VARIED else None for name in chips}
    vmapped = jax.jit(jax.vmap(function, in_axes=(axes, None)))
    single, one = jax.jit(function), _arrays(data.chip(0))
    runners = [Runner(lambda: [single(one, x).block_until_ready()])]
    if data.case.instances > 1:
        runners.append(Runner(lambda: vmapped(chips, x).block_until_ready(), data.case.instances))
    return fastest(runners)


def jax_training(data: Data) -> Runner:
    """Loss and gradients of the weights of the nominal network."""
    jax = jax_module()
    function = jax_logits(data.case.surrogate, UNROLL_BACKWARD)

    def loss(trained: dict[str, Any], fixed: dict[str, Any], x: Any, y: Any) -> Any:  # noqa: ANN401
        log_p = jax.nn.log_softmax(function({**fixed, **trained}, x))
        return -log_p[jax.numpy.arange(len(y)), y].mean()

    theta = _arrays(data.nominal)
    trained = {name: theta.pop(name) for name in TRAINED}
    gradient, x, y = jax.jit(jax.value_and_grad(loss)), _arrays(data.x), _arrays(data.y)
    return Runner(lambda: jax.block_until_ready(gradient(trained, theta, x, y)))


def jax_monte_carlo(data: Data) -> Runner:
    """The accuracy of one random chip."""
    jax = jax_module()
    function, x = jax.jit(jax_logits(data.case.surrogate, UNROLL_FORWARD)), _arrays(data.x)
    y = data.y.numpy()

    def call() -> float:
        logits = function(_arrays(normal_chip(data, np.random.default_rng(1))), x)
        return float((np.asarray(logits).argmax(-1) == y).mean())

    return Runner(call)


def _arrays(values: Any) -> Any:  # noqa: ANN401 (a tensor, or tensors by name)
    asarray = jax_module().numpy.asarray
    return {k: asarray(p.numpy()) for k, p in values.items()} if isinstance(values, dict) else asarray(values.numpy())
