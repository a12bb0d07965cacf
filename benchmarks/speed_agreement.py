"""Whether what is timed computes the same: ours against norse in float64, the written-out equations in float32."""

from __future__ import annotations

import numpy as np
import torch
from speed_arrays import jax_inference, torch_inference
from speed_case import Case, Data, build, engines, network, our_inference, our_training
from speed_modules import installed, norse_spikes, training
from torch import Tensor

GRADIENT_TOLERANCE = 1e-9
PARTED, LOGIT = 0.02, 1e-5  # the share of samples whose logits may differ by more than LOGIT, at ties in float32


def agrees_with_norse(engine: str) -> tuple[bool, str]:
    """Every spike in float64 equal, gradients to 1e-9 of their largest element; and a line that says so."""
    parted, error, total = 0, 0.0, 0
    for surrogate in ("superspike", "triangle"):
        data = build(Case(batch=20, instances=2, surrogate=surrogate), torch.float64)
        different, count = _different_spikes(data, engine)
        parted, total = parted + different, total + count
        ours, norse = our_training(data, engine).call(), training("norse", data).call()
        error = max(error, *(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, norse, strict=True)))
    line = f"{engine} and norse in float64: {parted} of {total} spikes differ, gradients differ by {error:.1e}"
    return parted == 0 and error <= GRADIENT_TOLERANCE, line


def _different_spikes(data: Data, engine: str) -> tuple[int, int]:
    with torch.no_grad():
        ours = network(data.case, data.nominal, engine).record(data.chips, data.x).spikes["layer0"]
        theirs = torch.stack([norse_spikes(data, data.chip(k))[0](data.x) for k in range(data.case.instances)])
    return int((ours != theirs).sum()), int(theirs.sum())


def same_equations() -> list[tuple[bool, str]]:
    """The same for torch and JAX in float32, where samples may part at ties."""
    data = build(Case(instances=4))
    reference = our_inference(data, engines()[-1]).call()
    results = []
    for library, make in (("torch", torch_inference), ("jax", jax_inference)):
        if installed(library):
            logits = torch.cat([_stacked(part) for part in _listed(make(data).call())])
            parted = ((logits - reference[: len(logits)]).abs().amax(-1) > LOGIT).float().mean()
            results.append((float(parted) <= PARTED, f"{library}: {float(parted):.2%} of samples part in float32"))
    return results


def _listed(result: object) -> list[object]:
    return list(result) if isinstance(result, list) else [result]


def _stacked(part: object) -> Tensor:
    array = part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
    return array if array.ndim == 3 else array[None]
