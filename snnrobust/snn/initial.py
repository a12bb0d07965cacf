"""How a layer starts: which connections it has, and the size of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from snnrobust.snn import neurons
from snnrobust.snn.neurons import Dynamics
from snnrobust.snn.specs import WEIGHTS

if TYPE_CHECKING:
    from snnrobust.snn.layers import Layer


def connections(neurons: int, sources: int, fan_in: int, seed: int) -> Tensor:
    """The `fan_in` sources that each neuron keeps, chosen by the seed: true in [N, sources].

    The order of Philox words, a stream that numpy guarantees, so that a stored network finds its connections again.
    """
    words = np.random.Philox(key=seed % 2**64).random_raw(neurons * sources).reshape(neurons, sources)
    rank = words.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return torch.from_numpy(rank < fan_in)


def scale_to_fluctuate(layer: Layer, dynamics: Dynamics) -> None:
    """Scale initial weights so that white input of variance 1 makes v fluctuate by the firing threshold.

    Fluctuation-driven initialisation (Rossbroich, Gygax and Zenke 2022, doi:10.1088/2634-4386/ac97bb): the standard
    deviation of v is the 2-norm of its response h to one unit of current, computed here step by step. A readout
    without threshold is scaled to 1.
    """
    own = dict(layer.named_parameters(recurse=False))
    kept: dict[str, Tensor] = {n: p.detach() for n, p in own.items() if n in ("tau_mem", "tau_syn")}
    c = neurons.constants({**kept, "v_leak": torch.zeros(layer.neurons)}, dynamics)
    u = torch.ones(1, layer.neurons)
    v, i = torch.zeros_like(u), torch.zeros_like(u) if "a_syn" in c else None
    steps = int(min(10 * max(float(t.max()) for t in kept.values()) / dynamics.dt, 10_000)) + 1
    energy = torch.zeros_like(u)
    for _ in range(steps):
        v, i = neurons.leak(u, v, i, c)
        u, energy = torch.zeros_like(u), energy + v**2
    size = (own["v_th"].detach() - own["v_leak"].detach()).abs() if "v_th" in own else torch.ones(layer.neurons)
    factor = (size / energy[0].sqrt()).unsqueeze(-1)
    with torch.no_grad():
        for name in WEIGHTS:
            if name in own:
                own[name].mul_(factor)
