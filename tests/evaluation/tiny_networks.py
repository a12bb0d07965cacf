"""Networks of two or three neurons whose devices can be enumerated, and a profile on which everything varies."""

import itertools

import numpy as np
import torch

from snnrobust.hardware.profile import parse_profile
from snnrobust.snn import ALIF, LI, LIF, MeanRate, Network
from snnrobust.tasks.dataset import Split

VARIED = """\
schema_version: "1.0"
name: varied
kind: analog_asic
description: A chip on which every parameter varies, each in its own way.
evidence: assumption
parameters:
  weight:
    distribution: lognormal
    granularity: per_neuron_type
    components: {die: {cv: 0.1}, spatial: {cv: 0.05, kernel: plane}, device: {cv: 0.2}}
    level_dependence: {exponent: -0.3, cv_min: 0.1, cv_max: 0.4}
    clip: [0.2, 4.0]
  recurrent_weight: {distribution: normal, granularity: per_synapse, components: {device: {cv: 0.3}}, clip: [0.0, null]}
  bias:
    distribution: normal
    mode: absolute
    unit: v_th_range
    granularity: per_neuron
    components: {device: {sd: 0.1}}
  gain: {distribution: uniform, granularity: per_neuron, components: {die: {cv: 0.05}, device: {cv: 0.1}}}
  tau_mem: {distribution: lognormal, center: mean, granularity: per_neuron, components: {device: {cv: 0.2}}}
  tau_syn: {distribution: truncated_normal, granularity: per_neuron, components: {device: {cv: 0.4}}, clip: [0.1, 3.0]}
  v_th: {distribution: lognormal, granularity: per_column, components: {die: {cv: 0.05}, device: {cv: 0.1}}}
  v_leak:
    distribution: truncated_normal
    mode: absolute
    unit: v_th_range
    granularity: per_neuron
    components: {device: {sd: 0.1}}
    clip: [-0.2, 0.1]
  v_reset:
    distribution: uniform
    mode: absolute
    unit: v_th_range
    granularity: per_die
    components: {device: {sd: 0.1}}
  refractory: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.3}}}
  adaptation: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.3}}}
  tau_adapt: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.3}}}
"""

KINDS = {
    "hard": {"reset": "hard", "v_reset": -0.1},
    "soft": {"reset": "soft"},
    "synapse": {"reset": "hard", "tau_syn": 3e-3},
    "refractory": {"reset": "hard", "refractory": 2e-3, "v_reset": 0.1},
    "euler": {"reset": "soft", "integrator": "euler", "tau_syn": 2e-3},
    "adaptive": {"reset": "hard", "tau_syn": 3e-3, "adaptation": 0.3, "tau_adapt": 5e-3},
}


def varied():
    return parse_profile(VARIED)


def tiny(kind="hard", *, neurons=2, seed=0, readout="li", decode="mean", dtype=torch.float64, layers=1, recurrent=True):
    """Two inputs, two outputs, biases that are not zero; float64 unless said otherwise."""
    options, make = dict(KINDS[kind]), ALIF if kind == "adaptive" else LIF
    sizes = [2, *[neurons] * layers]
    stack = [
        make(i, o, recurrent, dt=1e-3, tau_mem=3e-3, v_leak=0.05, seed=10 * seed + n, **options)
        for n, (i, o) in enumerate(itertools.pairwise(sizes))
    ]
    last = (
        LI(neurons, 2, dt=1e-3, tau_mem=4e-3, decode=decode, seed=seed)
        if readout == "li"
        else MeanRate(neurons, 2, seed=seed)
    )
    net = Network([*stack, last]).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("bias"):
                p += 0.2 * torch.rand(p.shape, generator=generator, dtype=dtype)
            elif name.endswith("weight"):
                p *= 2.5
    return net


def samples(count=3, steps=5, *, seed=0, lengths=None):
    """Analog inputs [B, T, 2] of either sign."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.5, 0.8, size=(count, steps, 2)).astype(np.float32)
    true = np.full(count, steps) if lengths is None else np.array(lengths)
    for row, length in zip(x, true, strict=True):
        row[length:] = 0
    return Split(x, np.arange(count) % 2, true, np.arange(count))
