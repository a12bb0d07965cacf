"""The LSNN of Büchel, Faber and Muir (ICLR 2022, supplement, equations 3 and 4), transcribed plainly, against ours."""

from __future__ import annotations

import math

import pytest
import torch
from agreement import gradient_error

from snnrobust.snn import ALIF, MeanRate, Network, Surrogate

INPUTS, NEURONS, OUTPUTS = 2, 32, 4


class TriangleSpike(torch.autograd.Function):
    """H(v_scaled) forward, 0.3 max(0, 1 - |v_scaled|) backward."""

    @staticmethod
    def forward(ctx, v_scaled):
        ctx.save_for_backward(v_scaled)
        return (v_scaled > 0).to(v_scaled.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v_scaled,) = ctx.saved_tensors
        return grad * 0.3 * torch.clamp(1 - torch.abs(v_scaled), min=0)


def paper_lsnn(x, W_in, W_rec, W_out, b_out):
    """Spikes and logits; weights are (from, to), one step of time is 1."""
    rho_v, rho_b, b0, beta, refr = math.exp(-1 / 20), math.exp(-1 / 98), 0.01, 2.0, 2
    V = b = o = r = torch.zeros(x.shape[1], W_rec.shape[0], dtype=x.dtype)
    spikes = []
    for x_t in x:
        b = rho_b * b + (1 - rho_b) * o
        B = b0 + beta * b
        V = rho_v * V + (1 - rho_v) * (x_t @ W_in + o @ W_rec) - o * B
        o = torch.where(r > 0, torch.zeros_like(V), TriangleSpike.apply((V - B) / B))
        r = torch.clamp(r + refr * o.detach() - 1, min=0)
        spikes.append(o)
    spikes = torch.stack(spikes)
    return spikes, spikes.mean(0) @ W_out + b_out


def ours(seed):
    """The same network in this package's words."""
    hidden = ALIF(
        INPUTS,
        NEURONS,
        True,
        dt=1.0,
        tau_mem=20.0,
        tau_adapt=98.0,
        v_th=0.01,
        adaptation=2.0,
        refractory=1.0,
        reset="soft",
        detach_reset=False,
        surrogate=Surrogate(shape="triangle", slope=1.0, dampening=0.3, scale="threshold"),
        seed=seed,
    )
    net = Network([hidden, MeanRate(NEURONS, OUTPUTS, seed=seed)]).double()
    with torch.no_grad():
        net.get_parameter("layer0.v_th").fill_(0.01)  # in float64
    return net


@pytest.mark.parametrize("seed", range(5))
def test_spikes_and_gradients_are_the_papers(seed):
    net = ours(seed)
    generator = torch.Generator().manual_seed(seed)
    x = 6 * torch.randn(60, 5, INPUTS, dtype=torch.float64, generator=generator)
    x.requires_grad_()
    cotangent = torch.randn(5, OUTPUTS, dtype=torch.float64, generator=generator)
    names = ("layer0.weight", "layer0.recurrent_weight", "readout.weight", "readout.bias")
    p = {name: net.nominal()[name] for name in names}

    spikes, logits = paper_lsnn(x, p[names[0]].T, p[names[1]].T, p[names[2]].T, p[names[3]])
    expected = dict(zip((*names, "x"), torch.autograd.grad((logits * cotangent).sum(), [*p.values(), x]), strict=True))
    recording = net.record(net.nominal(), x)
    found = torch.autograd.grad((recording.logits * cotangent).sum(), [*p.values(), x])

    assert 0.02 < spikes.mean().item() < 0.5
    assert torch.equal(recording.spikes["layer0"], spikes)
    torch.testing.assert_close(recording.logits, logits, rtol=1e-12, atol=1e-12)
    assert min(float(g.abs().max()) for g in expected.values()) > 0
    assert gradient_error(expected, dict(zip((*names, "x"), found, strict=True))) <= 1e-9
