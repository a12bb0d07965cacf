"""The readout of mean rates on the fused engine: a differentiable product whose bits do not depend on the batch.

Torch's product would do, but its threads go on spinning for a millisecond and more after each call, on the cores that
the kernels want: it cost a tenth of a training step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnrobust.compiled import run_jobs
from snnrobust.snn.engines.fused import Run, alone
from snnrobust.snn.engines.kernels.products import matrix_gradients, products, row_gradients
from snnrobust.snn.engines.layout import width
from snnrobust.snn.engines.memory import Values, aligned

TOGETHER = 16
"""Samples of a job."""
ALONE = 1_000_000
"""Multiplications that are over before another thread has woken."""


def rate_product(rates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits rates W^T + bias, [B, O], or [K, B, O] if an argument has an instance axis.

    Args:
        rates: [B, N] or [K, B, N].
        weight: (to, from) [O, N] or [K, O, N].
        bias: [O] or [K, O].
    """
    given = ((rates, 2), (weight, 2), (bias, 1))
    found: Tensor = _Product.apply(*(t if t.ndim > axes else t.unsqueeze(0) for t, axes in given))
    return found if any(t.ndim > axes for t, axes in given) else found[0]


class _Product(torch.autograd.Function):
    """(rates [1 or K, B, N], weight [1 or K, O, N], bias [1 or K, O]) -> [K, B, O]."""

    @staticmethod
    def forward(ctx: Any, rates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(rates, weight)
        ctx.biases = len(bias)
        rows, matrices, added = (_array(t) for t in (rates, weight, bias))
        count, batch, outputs = max(len(rows), len(matrices), len(added)), rows.shape[1], matrices.shape[1]
        result = aligned((count, batch, width(outputs)), rows.dtype)
        rows, matrices = _wide(rows), _wide(matrices)
        run = _run(count * batch * matrices[0].size)
        run(products, count * -(-batch // TOGETHER), TOGETHER, rows, matrices, added, result)
        return torch.from_numpy(result[..., :outputs].copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        rates, weight = ctx.saved_tensors
        g, rows, matrices = (_array(t) for t in (grad, rates, weight))
        count, batch, outputs = g.shape
        run = _run(count * batch * matrices[0].size)
        found: list[Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            result = aligned((count, batch, rows.shape[2]), g.dtype)
            run(row_gradients, count * -(-batch // TOGETHER), TOGETHER, g, matrices, result)
            found[0] = _shared(torch.from_numpy(result), len(rows))
        if ctx.needs_input_grad[1]:
            result = aligned((count, outputs, rows.shape[2]), g.dtype)
            run(matrix_gradients, count, np.ascontiguousarray(g.swapaxes(1, 2)), rows, result)
            found[1] = _shared(torch.from_numpy(result), len(matrices))
        if ctx.needs_input_grad[2]:
            found[2] = _shared(grad.sum(1), ctx.biases)
        return tuple(found)


def _run(multiplications: int) -> Run:
    return alone if multiplications < ALONE else run_jobs


def _array(tensor: Tensor) -> Values:
    found: Values = tensor.detach().contiguous().numpy()
    return found


def _wide(values: Values) -> Values:
    """With zeros up to a whole width in the last axis."""
    n = values.shape[-1]
    if n == width(n):
        return values
    result = np.zeros((*values.shape[:-1], width(n)), values.dtype)
    result[..., :n] = values
    return result


def _shared(gradient: Tensor, count: int) -> Tensor:
    """With as many instances as the input has: one that all share gets the sum."""
    return gradient if len(gradient) == count else gradient.sum(0, keepdim=True)
