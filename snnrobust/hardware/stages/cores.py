"""What the synapses of one core share: a few currents, out of which all its weights are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnrobust.hardware.stages.base import Context, straight_through
from snnrobust.snn.specs import WEIGHTS

Array = NDArray[np.float64]
Cores = tuple[int, ...] | None
"""Neurons of a layer on each core in turn; None for all on one."""
FIRST_STEPS = 6


def stored_by_core(theta: Tensor, context: Context, cores: Cores, store: Callable[[Array], Array]) -> Tensor:
    """Weights as their cores store them, with the gradient of the weights as they were.

    Args:
        theta: One weight tensor of a layer, without an instance axis.
        context: Where it stands; the layer's other weights are among the siblings.
        cores: Neurons of the layer on each core in turn (layout.py); None for all on one. Where a core holds parts of
            two layers, each part is taken to have currents of its own.
        store: From the weights [n, S] of a core's n neurons over all their synapses (inputs first, then recurrent
            ones) to their stored values.

    Returns:
        Like theta, and theta itself where a weight is not finite.
    """
    if not np.isfinite(layer_rows(theta, context)).all():
        return theta
    return straight_through(theta, of_cores(theta, context, cores, store))


def of_cores(theta: Tensor, context: Context, cores: Cores, make: Callable[[Array], Array]) -> Tensor:
    """What `make` gives of each core's weights [n, S], one value a synapse, for this tensor's synapses; as theta."""
    rows, whole = _rows(theta, context), layer_rows(theta, context)
    values = np.concatenate([make(whole[part]) for part in parts(len(whole), cores)])
    width = rows[context.spec.role].shape[1]
    own = values[:, :width] if context.spec.role == next(iter(rows)) else values[:, -width:]
    return torch.from_numpy(own.copy()).to(theta).reshape(theta.shape)


def parts(neurons: int, cores: Cores) -> list[slice]:
    """The neurons of a layer core by core."""
    ends = np.cumsum(cores or (neurons,)).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def layer_rows(theta: Tensor, context: Context) -> Array:
    """The weights [N, S] of a layer's neurons over all their synapses: inputs first, then recurrent ones."""
    return np.concatenate(list(_rows(theta, context).values()), axis=1)


def _rows(theta: Tensor, context: Context) -> dict[str, Array]:
    """All weights of the layer, one row a neuron, float64: the tensor itself and, of as many neurons, the sibling."""
    neurons = context.spec.shape[0] if context.spec.shape else 1
    found = {role: context.siblings[role] for role in WEIGHTS if role in context.siblings}
    found[context.spec.role] = theta
    return {
        role: found[role].detach().cpu().double().reshape(neurons, -1).numpy()
        for role in WEIGHTS
        if role in found and (found[role] is theta or found[role].shape[:1] == (neurons,))
    }


def best_of(starts: Iterable[Array], improve: Callable[[Array], tuple[Array, float]], most: int) -> Array:
    """Currents of small error: a few steps of alternation from every start, and more from the best one.

    Args:
        starts: Currents to begin with; the result is at least as good as each of them.
        improve: From currents to those that fit best what these are used for, and to the error of those given.
        most: Largest number of steps.
    """
    found = [_descend(start, improve, FIRST_STEPS) for start in starts]
    return _descend(min(found, key=lambda pair: pair[1])[0], improve, most)[0]


def _descend(units: Array, improve: Callable[[Array], tuple[Array, float]], most: int) -> tuple[Array, float]:
    best, least = units, np.inf
    for _ in range(most):
        fitted, error = improve(units)
        if error >= least * (1 - 1e-6):
            break
        best, least, units = units, error, fitted
    return best, least


def unexplained(sizes: Array, count: int, explained: Callable[[Array], Array]) -> Array:
    """`count` sizes, each the smallest that those before it do not make: exact where sizes are made of few currents.

    Args:
        sizes: Magnitudes in ascending order, all positive.
        count: How many to find; fewer where all are explained.
        explained: From currents found so far to all magnitudes that these can make.
    """
    found: list[float] = []
    left = sizes
    while left.size and len(found) < count:
        found.append(float(left[0]))
        made = np.append(explained(np.array(found)), 0.0)
        left = left[np.abs(left[:, None] - made).min(axis=1) > 1e-5 * sizes[-1]] if len(found) < count else left
    return np.array(found + found[-1:] * (count - len(found)))
