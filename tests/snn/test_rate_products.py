"""The fused engine's product of mean rates against torch's, with gradients; and what it promises on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from snnrobust.compiled import get_threads, set_threads
from snnrobust.snn.engines import products

SHARED = [(r, w, b) for r in (False, True) for w in (False, True) for b in (False, True)]


def arguments(shared: tuple[bool, ...], batch: int, inputs: int, outputs: int, instances: int = 3) -> list[Tensor]:
    generator = np.random.default_rng(batch + 100 * inputs + 10_000 * outputs)
    shapes = [(batch, inputs), (outputs, inputs), (outputs,)]
    found = []
    for own, shape in zip(shared, shapes, strict=True):
        values = generator.normal(size=(instances, *shape) if own else shape)
        found.append(torch.tensor(values, requires_grad=True))
    return found


def by_torch(rates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return rates @ weight.mT + (bias if bias.ndim == 1 else bias.unsqueeze(1))


@given(st.sampled_from(SHARED), st.integers(1, 40), st.integers(1, 40), st.integers(1, 18))
def test_values_and_gradients_are_those_of_torch(
    shared: tuple[bool, ...], batch: int, inputs: int, outputs: int
) -> None:
    given_ = arguments(shared, batch, inputs, outputs)
    found, right = products.rate_product(*given_), by_torch(*given_)
    torch.testing.assert_close(found, right)
    upstream = torch.sin(torch.arange(right.numel(), dtype=right.dtype)).reshape(right.shape)
    ours, theirs = (torch.autograd.grad(y, given_, upstream) for y in (found, right))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_bits_depend_neither_on_the_batch_nor_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, weight, bias = (t.detach().float() for t in arguments((True, True, False), 100, 37, 10))
    whole = products.rate_product(rates, weight, bias)
    apart = torch.cat([products.rate_product(rates[:, b : b + 7], weight, bias) for b in range(0, 100, 7)], dim=1)
    assert torch.equal(whole, apart)
    monkeypatch.setattr(products, "ALONE", 0)
    threads = get_threads()
    try:
        set_threads(3)
        assert torch.equal(whole, products.rate_product(rates, weight, bias))
    finally:
        set_threads(threads)


def test_only_wanted_gradients_are_worked_out() -> None:
    rates, weight, bias = arguments((False, True, True), 5, 9, 4)
    found = products.rate_product(rates.detach(), weight, bias.detach()).sum()
    (own,) = torch.autograd.grad(found, [weight])
    torch.testing.assert_close(own, rates.detach().sum(0).expand(3, 4, 9))
