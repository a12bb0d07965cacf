"""Uniform quantisation: steps, error, zeros, ranges, straight-through gradients."""

from __future__ import annotations

import math

import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.hardware.mismatch import realise


def stored(w: torch.Tensor, bits: int, more: str = "") -> torch.Tensor:
    chip = profile(f"quantization: {{weight: {{scheme: uniform, bits: {bits}{more}}}}}")
    return realise(placed(chip, {"l.weight": w}), {"l.weight": w}, {})["l.weight"]


def test_by_hand():
    # 3 bits: D = 0.9 / 3; 2 / 3 of a step rounds up, 1 / 3 down
    w = torch.tensor([[0.9, -0.5, 0.1, 0.0, -0.16]], dtype=torch.float64)
    assert stored(w, 3)[0].tolist() == pytest.approx([0.9, -0.6, 0.0, 0.0, -0.3])
    # unsigned: the word holds the magnitude, D = 0.9 / 7
    assert stored(w, 3, ", signed: false")[0].tolist() == pytest.approx([0.9, -3.6 / 7, 0.9 / 7, 0.0, -0.9 / 7])


def test_one_bit():
    w = torch.tensor([[0.8, -0.5, 0.3, 0.0, -0.1]])
    assert torch.equal(stored(w, 1), torch.tensor([[0.8, -0.8, 0.0, 0.0, 0.0]]))
    assert torch.equal(stored(w, 1, ", signed: false"), stored(w, 1))


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_error_is_uniform_over_a_step(bits):
    # Var = D^2 / 12. The variance of e^2 is D^4 / 180, so 5 standard errors are 5 D^2 / sqrt(180 n); the density's
    # slope over a step adds less than that for 4 bits of uniform weights.
    n = 100_000
    w = torch.rand(1, n, generator=torch.Generator().manual_seed(bits), dtype=torch.float64) * 2 - 1
    step = float(w.abs().max()) / (2 ** (bits - 1) - 1)
    error = stored(w, bits) - w
    assert float(error.abs().max()) <= step / 2 * (1 + 1e-12)
    assert abs(float((error**2).mean()) - step**2 / 12) < 5 * step**2 / math.sqrt(180 * n)
    assert abs(float(error.mean())) < 5 * step / math.sqrt(12 * n)


@given(bits=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_stored_values_are_words(bits, seed):
    w = torch.randn(3, 7, generator=torch.Generator().manual_seed(seed))
    step = w.abs().max() / max(2 ** (bits - 1) - 1, 1)
    found = stored(w, bits)
    assert torch.equal(found, torch.round(w / step) * step)  # to the bit, in spite of the straight-through sum
    assert torch.equal(found.abs().max(), torch.round(w.abs().max() / step) * step)
    assert torch.allclose(stored(found, bits), found)


def test_range_of_each_column():
    w = torch.tensor([[1.0, 0.4, 0.1], [0.1, 0.04, 0.01], [0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = [[1.0, 1 / 3, 0.0], [0.1, 0.1 / 3, 0.0], [0.0, 0.0, 0.0]]
    assert torch.allclose(stored(w, 3, ", per: column"), torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(stored(w, 3)[1:], torch.zeros(2, 3, dtype=torch.float64))  # one range for all


def test_range_of_each_filter_of_a_convolution():
    w = torch.ones(2, 1, 3, 3)
    w[1] *= 0.01
    assert torch.equal(stored(w, 4, ", per: column"), w)
    assert not stored(w, 4)[1].any()


def test_zeros_stay_zero_and_nothing_is_nan():
    assert torch.equal(stored(torch.zeros(2, 3), 4), torch.zeros(2, 3))


def test_gradient_is_straight_through():
    w = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    factor = torch.randn(4, 5, dtype=torch.float64)
    (stored(w, 2) * factor).sum().backward()
    assert torch.equal(w.grad, factor)


def test_only_weights_are_quantised_and_no_instance_axis_appears():
    theta = {"l.weight": torch.rand(2, 2), "l.recurrent_weight": torch.rand(2, 2), "l.bias": torch.rand(2)}
    chip = profile("quantization: {weight: {scheme: uniform, bits: 2}}")
    placement = placed(chip, theta)
    found = realise(placement, theta, {})
    assert found["l.bias"] is theta["l.bias"]
    assert found["l.weight"].shape == found["l.recurrent_weight"].shape == (2, 2)
    assert not placement.coordinates
    assert not placed(chip, theta, only_mismatch=True).stages


def test_mismatch_comes_after_quantisation():
    chip = profile(
        """
        parameters: {weight: {distribution: normal, granularity: per_synapse, components: {device: {cv: 0.1}}}}
        quantization: {weight: {scheme: uniform, bits: 2}}
        """
    )
    theta = {"l.weight": torch.tensor([[1.0, 0.7, 0.2]])}
    z = {"l.weight/device": torch.tensor([[1.0, -1.0, 3.0]])}
    assert realise(placed(chip, theta), theta, z)["l.weight"][0].tolist() == pytest.approx([1.1, 0.9, 0.0])
