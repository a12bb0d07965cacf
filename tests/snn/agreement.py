"""How two implementations of one layer are held to each other.

In float64 every spike is equal and gradients agree to 1e-9. In float32, where sums run in another order, a sample may
part only at a tie at its first differing step, few samples may part at all, and gradients agree to 1e-5 on the others.

An implementation is a function (layer, x [T, B, I], cotangent [T, B, N]) -> (spikes [T, B, N], gradients by name), with
the gradients of the scalar sum(spikes cotangent); "x" names that of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snnrobust.snn import SpikingLayer, neurons

Result = tuple[Tensor, dict[str, Tensor]]
Implementation = Callable[[SpikingLayer, Tensor, Tensor], Result]

TIE = 32 * torch.finfo(torch.float32).eps
NEURON_STEPS = 25_600


def of_engine(engine: str, trained: Sequence[str] | None = None) -> Implementation:
    """The layer's own pure form and autograd on an engine, with gradients of all parameters or of some."""

    def run(layer: SpikingLayer, x: Tensor, cotangent: Tensor) -> Result:
        leaves = {
            name: p.detach().clone().requires_grad_(trained is None or name in trained)
            for name, p in layer.nominal().items()
        }
        x = x.detach().clone().requires_grad_(trained is None)
        spikes, _ = layer.run(leaves, x, engine=engine)
        wanted = {name: p for name, p in {**leaves, "x": x}.items() if p.requires_grad}
        found = torch.autograd.grad((spikes * cotangent).sum(), list(wanted.values()), materialize_grads=True)
        return spikes.detach(), dict(zip(wanted, found, strict=True))

    return run


eager = of_engine("eager")
"""The reference."""


def gradient_error(reference: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest max|difference| / max|g| over the tensors that the other implementation gives."""
    worst = 0.0
    for name, g in other.items():
        size, difference = reference[name].abs().max(), (reference[name] - g).abs().max()
        worst = max(worst, float(difference / size) if size > 0 else float(difference))
    return worst


def assert_equal(layer: SpikingLayer, x: Tensor, cotangent: Tensor, other: Implementation) -> float:
    """Float64: all spikes equal, gradients to 1e-9. Returns the mean spikes a neuron and step."""
    assert x.dtype == layer.weight.dtype == torch.float64
    (spikes, reference), (theirs, gradients) = eager(layer, x, cotangent), other(layer, x, cotangent)
    assert torch.equal(spikes, theirs), f"{int((spikes != theirs).sum())} of {spikes.numel()} spikes differ"
    assert gradient_error(reference, gradients) <= 1e-9
    return float(spikes.mean())


def margins(layer: SpikingLayer, x: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
    """v - threshold before the reset, and the width of a tie, for float32 parameters, along given spikes [T, B, N].

    Computed in float64 from the float32 constants. A tie is |v - threshold| <= 32 eps (|threshold| + |v_leak| + the
    absolute values added into i and v in this step, old i and v included).
    """
    params = layer.nominal()
    c = {name: value.detach().double() for name, value in neurons.constants(params, layer.dynamics).items()}
    weights = {n: layer.effective(params, n).detach().double() for n in ("weight", "recurrent_weight") if n in params}
    bias = params["bias"].detach().double()
    x, spikes = x.double(), spikes.double()
    o = torch.zeros_like(spikes[0])
    v, i, b = o + c["v_leak"], torch.zeros_like(o), torch.zeros_like(o)
    distances, widths = [], []
    for x_t, o_t in zip(x, spikes, strict=True):
        u, size = x_t @ weights["weight"].T + bias, x_t.abs() @ weights["weight"].T.abs() + bias.abs()
        if "recurrent_weight" in weights:
            u = u + o @ weights["recurrent_weight"].T
            size = size + o @ weights["recurrent_weight"].T.abs()
        threshold = c["v_th"]
        if "a_adapt" in c:
            b = b + c["a_adapt"] * (o - b)
            threshold = threshold + c["adaptation"] * b
        size = size + threshold.abs() + c["v_leak"].abs() + v.abs() + i.abs()
        i = i + u if "a_syn" in c else u
        v = v + c["a_mem"] * (c["v_leak"] - v + i)
        i = (1 - c["a_syn"]) * i if "a_syn" in c else torch.zeros_like(i)
        if layer.dynamics.reset == "soft":
            v, size = v - threshold * o, size + threshold.abs() * o
        distances.append(v - threshold)
        widths.append(TIE * size)
        o = o_t
        if layer.dynamics.reset == "hard":
            v = torch.where(o > 0, c["v_reset"], v)
    return torch.stack(distances), torch.stack(widths)


def parted_samples(layer: SpikingLayer, x: Tensor, spikes: Tensor, theirs: Tensor) -> Tensor:
    """Which samples [B] part; every neuron that differs at the first differing step must stand at a tie there."""
    differs = spikes != theirs
    parted = differs.any(-1).any(0)
    if parted.any():
        distance, width = margins(layer, x, spikes)
        for sample in parted.nonzero().flatten().tolist():
            step = int(differs[:, sample].any(-1).nonzero()[0])
            here = differs[step, sample]
            excess = (distance[step, sample, here].abs() / width[step, sample, here]).max()
            assert excess <= 1, (
                f"sample {sample} parts at step {step}, {float(excess):.3g} times the width of a tie off"
            )
    return parted


@dataclass
class Pool:
    """Float32 comparisons, counted together over a test's examples.

    Attributes:
        examples: Comparisons made.
        skipped: Of these, nets whose reference gradient overflows, so that gradients cannot be compared.
        samples: Samples compared.
        parted: Samples that parted at a tie.
        neuron_steps: T B N, summed.
        spikes: Spikes of the reference, summed.
        worst: Largest gradient error.
    """

    examples: int = 0
    skipped: int = 0
    samples: int = 0
    parted: int = 0
    neuron_steps: int = 0
    spikes: int = 0
    worst: float = 0.0

    def add(self, layer: SpikingLayer, x: Tensor, cotangent: Tensor, other: Implementation) -> None:
        """Compare one example: ties where samples part, gradients to 1e-5 without these samples."""
        assert x.dtype == layer.weight.dtype == torch.float32
        self.examples += 1
        self.samples += x.shape[1]
        self.neuron_steps += cotangent.numel()
        while x.shape[1]:
            (spikes, reference), (theirs, gradients) = eager(layer, x, cotangent), other(layer, x, cotangent)
            parted = parted_samples(layer, x, spikes, theirs)
            if not parted.any():
                break
            self.parted += int(parted.sum())  # and once more without them, until none parts
            x, cotangent = x[:, ~parted].contiguous(), cotangent[:, ~parted].contiguous()
        else:
            return
        self.spikes += int(spikes.sum())
        if not all(bool(g.isfinite().all()) for g in reference.values()):
            self.skipped += 1
            return
        error = gradient_error(reference, gradients)
        self.worst = max(self.worst, error)
        assert error <= 1e-5, f"gradients differ by {error:.3g} of their largest value"

    def check(self) -> None:
        """Few samples parted, and the comparison was not empty."""
        allowed = max(2, 0.005 * self.neuron_steps / NEURON_STEPS)
        assert self.parted <= allowed, f"{self.parted} of {self.samples} samples part, at most {allowed:g} may"
        assert self.skipped <= 0.1 * self.examples, f"{self.skipped} of {self.examples} reference gradients overflow"
        assert self.spikes > 0.01 * self.neuron_steps, "too few spikes to compare anything"
