"""Programming of conductance pairs against the closed forms of a clamped normal, and a transcription of its source.

Statistical bounds are 5 standard errors at fixed seeds (2e-6 false alarms per bound).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from snnrobust.hardware.crossbar.programming import programmed, programming_sigma
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import load_profile

# sigma_prog in microsiemens at relative conductance gr, g_max 25
SIGMA = {0: 0.26348, 0.04: 0.34020, 0.1: 0.44825, 0.2: 0.60956, 0.4: 0.86178, 0.6: 1.02016, 0.8: 1.08470, 1.0: 1.05538}


def crossbar(more: str = "", mapping: str = "", g: str = "g_min: 0.0, g_max: 25.0"):
    return profile(
        f"crossbar: {{technology: pcm, {g}, mapping: {{scheme: differential_one_sided{mapping}}}, programming: "
        f"{{model: polynomial, variable: g_rel, coefficients: [0.26348, 1.9650, -1.1731], g_max_ref: 25.0{more}}}}}"
    )


PCM = crossbar(mapping=", scale: per_column")  # as pcm_ibm, but for drift, read noise and cells that fail


def sigma_of(chip, target: torch.Tensor) -> torch.Tensor:
    return programming_sigma(target, chip.crossbar, 0.0)


def weights(chip, w, plus=None, minus=None):
    theta = {"l.weight": w}
    given = {"l.weight/g_plus": plus, "l.weight/g_minus": minus}
    return realise(placed(chip, theta), theta, {k: v for k, v in given.items() if v is not None})["l.weight"]


@pytest.mark.parametrize(("relative", "sigma"), SIGMA.items())
def test_sigma(relative, sigma):
    target = torch.tensor(25.0 * relative, dtype=torch.float64)
    assert float(sigma_of(load_profile("pcm_ibm"), target)) == pytest.approx(sigma, abs=5e-6)


def test_sigma_of_another_largest_conductance_and_of_microsiemens():
    half = crossbar(g="g_min: 0.0, g_max: 12.5")
    assert float(sigma_of(half, torch.tensor(5.0))) == pytest.approx(0.86178 / 2, rel=1e-5)  # gr = 0.4
    joshi = profile(
        "crossbar: {technology: pcm, g_min: 0.0, g_max: 25.0, mapping: {scheme: differential_one_sided}, programming: "
        "{model: polynomial, variable: g_uS, coefficients: [0.28638599, 0.07585724, -0.00178767]}}"
    )
    found = sigma_of(joshi, torch.tensor([0.0, 2.5, 5.0, 12.5, 20.0, 25.0])).tolist()
    assert found == pytest.approx([0.2864, 0.4649, 0.6210, 0.9553, 1.0885, 1.0655], abs=5e-5)


def transcription(g_target: np.ndarray, noise: np.ndarray, g_max: float) -> np.ndarray:
    """PCMLikeNoiseModel.apply_programming_noise_to_conductance of aihwkit, as published."""
    c0, c1, c2 = 0.26348, 1.9650, -1.1731
    relative = g_target / g_max
    sigma = (c0 + c1 * relative + c2 * relative**2) * (g_max / 25.0)
    return np.maximum(g_target + sigma * noise, 0)


@given(seed=st.integers(0, 2**31), g_max=st.floats(5, 50))
def test_pair_by_transcription(seed, g_max):
    rng = np.random.default_rng(seed)
    w, plus, minus = rng.normal(size=(4, 6)), rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    top = np.abs(w).max(1, keepdims=True)  # per column: one scale for each output
    g_plus = transcription(np.maximum(w, 0) / top * g_max, plus, g_max)
    g_minus = transcription(np.maximum(-w, 0) / top * g_max, minus, g_max)
    chip = crossbar("", ", scale: per_column", f"g_min: 0.0, g_max: {g_max}")
    found = weights(chip, *(torch.from_numpy(a) for a in (w, plus, minus)))
    assert np.allclose(found.numpy(), (g_plus - g_minus) / g_max * top, rtol=1e-12, atol=1e-14)


def test_the_device_of_the_other_sign():
    n = 200_000
    w = torch.zeros(1, n, dtype=torch.float64)
    w[0, 0] = 1.0  # sets the scale; the others' targets are 0
    theta = {"l.weight": w}
    placement = placed(PCM, theta)
    z = draw(placement, seed=1, purpose="test", instances=None)
    off = torch.zeros(n, dtype=torch.float64)
    g = programmed(off, sigma_of(PCM, off), z["l.weight/g_minus"][0], PCM.crossbar).numpy()
    sigma = 0.26348
    mean, variance = sigma / math.sqrt(2 * math.pi), sigma**2 * (0.5 - 0.5 / math.pi)
    assert (mean, variance) == pytest.approx((0.105113, 0.0236620), abs=5e-7)
    assert abs(g.mean() - mean) < 5 * g.std() / math.sqrt(n)
    square = (g - mean) ** 2
    assert abs(square.mean() - variance) < 5 * square.std() / math.sqrt(n)
    assert stats.binomtest(int((g == 0).sum()), n, 0.5).pvalue > 1e-5
    # Both devices of a weight of zero do this, independently: mean 0, twice the variance.
    zero = realise(placement, theta, z)["l.weight"][0, 1:].numpy() * 25
    assert abs(zero.mean()) < 5 * zero.std() / math.sqrt(n)
    square = zero**2
    assert abs(square.mean() - 2 * variance) < 5 * square.std() / math.sqrt(n)


def test_a_pair_is_closer_to_zero_than_it_should_be():
    # g+ at 20 uS is 18 sigma from the clamp, so E[w'] = w - 0.105113 / 25: 0.42 % of the largest weight.
    n = 100_000
    w = torch.full((1, n), 0.8, dtype=torch.float64)
    w[0, 0] = 1.0
    placement = placed(PCM, {"l.weight": w})
    x = realise(placement, {"l.weight": w}, draw(placement, seed=1, purpose="test", instances=None))["l.weight"][0, 1:]
    assert abs(float(x.mean()) - (0.8 - 0.0042045)) < 5 * float(x.std()) / math.sqrt(n)
    assert float(x.std()) * 25 == pytest.approx(math.sqrt(1.08470**2 + 0.0236620), rel=0.02)


@pytest.mark.parametrize("scale", ["per_tile", "per_column"])
@pytest.mark.parametrize("g", ["g_min: 0.0, g_max: 25.0", "g_min: 9.0, g_max: 88.2"])
def test_round_trip_without_noise(scale, g):
    w = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    w[2] = 0
    w[0, :3] = 0
    chip = crossbar(mapping=f", scale: {scale}", g=g)
    assert torch.equal(weights(chip, w), w)  # absent: nothing is programmed
    zero = torch.zeros(5, 7)
    back = weights(chip, w, zero, zero)
    assert torch.allclose(back, w, rtol=0, atol=8 * torch.finfo(torch.float32).eps * float(w.abs().max()))
    assert not back[2].any()


def test_one_side_alone_counts_the_other_as_zero():
    w, z, zero = torch.randn(3, 4), torch.randn(3, 4), torch.zeros(3, 4)
    assert torch.equal(weights(PCM, w, plus=z), weights(PCM, w, z, zero))
    assert torch.equal(weights(PCM, w, minus=z), weights(PCM, w, zero, z))


def test_the_smallest_conductance_cancels_in_a_pair_but_carries_noise():
    chip = crossbar(g="g_min: 5.0, g_max: 25.0")
    w = torch.tensor([[1.0, -0.5]], dtype=torch.float64)
    one, zero = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)

    def sigma(g: float) -> float:
        return 0.26348 + 1.9650 * g / 25 - 1.1731 * (g / 25) ** 2

    assert weights(chip, w, one, zero)[0].tolist() == pytest.approx([1 + sigma(25) / 20, -0.5 + sigma(5) / 20])
    assert weights(chip, w, zero, one)[0].tolist() == pytest.approx([1 - sigma(5) / 20, -0.5 - sigma(15) / 20])


def test_per_column_scales_each_output_by_itself():
    w = torch.tensor([[1.0, 0.5], [0.01, -0.005]], dtype=torch.float64)
    z = torch.full((2, 2), 0.5, dtype=torch.float64)
    column = weights(crossbar(mapping=", scale: per_column"), w, z, -z) - w
    tile = weights(crossbar(mapping=", scale: per_tile"), w, z, -z) - w
    assert column[1, 0].item() == pytest.approx(0.01 * column[0, 0].item())
    assert tile[1].abs().min() > 0.005  # of the order of sigma(0) w_max / g_max


def test_a_column_of_zeros_stays_zero():
    w = torch.zeros(2, 3)
    w[0] = 1.0
    z = torch.randn(2, 3)
    assert not weights(crossbar(mapping=", scale: per_column"), w, z, z)[1].any()
    assert not weights(crossbar(), torch.zeros(2, 3), z, -z).any()


def test_conductances_below_zero_where_the_profile_says_so():
    w, down = torch.tensor([[1.0, 0.0]]), torch.full((1, 2), -1.0)
    assert weights(crossbar(", clip_zero: false"), w, down)[0, 1].item() == pytest.approx(-0.26348 / 25, rel=1e-5)
    assert weights(crossbar(), w, down)[0, 1].item() == 0


def test_derivative_without_noise_is_one_also_at_zero():
    w = torch.tensor([[1.0, 0.0, -0.3, 0.0]], dtype=torch.float64)
    zero = torch.zeros_like(w)
    jacobian = torch.autograd.functional.jacobian(lambda v: weights(PCM, v, zero, zero).flatten(), w).flatten(1)
    assert torch.allclose(jacobian, torch.eye(4, dtype=torch.float64))


def test_a_chip_does_not_depend_on_the_scale_of_the_others_in_its_block():
    chip = profile(
        """
        parameters: {weight: {distribution: lognormal, granularity: per_synapse, components: {device: {cv: 0.3}}}}
        crossbar:
          technology: rram
          g_min: 0.0
          g_max: 25.0
          mapping: {scheme: differential_one_sided, scale: per_tile}
          programming: {model: polynomial, variable: g_rel, coefficients: [0.26348, 1.9650, -1.1731], g_max_ref: 25.0}
        """
    )
    theta = {"l.weight": torch.rand(4, 5)}
    placement = placed(chip, theta)
    many = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(9)))["l.weight"]
    for k in range(9):
        alone = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=[k]))["l.weight"]
        assert torch.equal(alone[0], many[k])
