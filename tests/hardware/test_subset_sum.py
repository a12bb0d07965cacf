"""Sums of base currents: levels, error against uniform ones, planted currents, cores, gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware.mismatch import realise
from snnrobust.hardware.stages import SubsetSum

CHIP = "quantization: {weight: {scheme: subset_sum, bits: 4, per: core}}"


def stored(theta: dict[str, torch.Tensor], body: str = CHIP) -> dict[str, torch.Tensor]:
    return realise(placed(profile(body), theta), theta, {})


def subset_sums(base) -> np.ndarray:
    return np.array([sum(c) for n in range(len(base) + 1) for c in itertools.combinations(base, n)])


def test_two_currents_by_hand():
    # Values are sums of 1 and 3: nothing is lost; 2.1 lies nearer to 3 than to 1, and 2 - 1e-9 to 1.
    weights = np.array([[1.0, 3.0, 4.0, -1.0, -4.0, 0.0] * 20])
    stage = SubsetSum(2)
    assert sorted(stage.currents(weights)) == pytest.approx([1.0, 3.0])
    assert stage.stored(weights) == pytest.approx(weights)
    assert stage.stored(weights)[0, 5] == 0


@given(seed=st.integers(0, 2**31), bits=st.integers(1, 5), count=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_error_is_never_above_that_of_uniform_levels(seed, bits, count):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(1, count)) * np.exp(rng.normal(size=(1, count)))
    step = np.abs(weights).max() / (2**bits - 1)
    uniform = np.sign(weights) * np.rint(np.abs(weights) / step) * step
    found = SubsetSum(bits).stored(weights)
    assert ((found - weights) ** 2).sum() <= ((uniform - weights) ** 2).sum() * (1 + 1e-9) + 1e-24 * count


@pytest.mark.parametrize("shape", ["normal", "uniform", "laplace"])
def test_error_is_that_of_the_best_levels_of_a_fine_search(shape):
    # By brute force: 3 currents on a grid of 40 values, in units of the largest weight. Local minima cost at most 3 %.
    weights = getattr(np.random.default_rng(3), shape)(size=(1, 400))
    sizes = np.abs(weights).ravel()
    best = np.inf
    for base in itertools.combinations_with_replacement(np.linspace(0, 1, 41)[1:] * sizes.max(), 3):
        levels = np.sort(subset_sums(base))
        nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, sizes)]
        best = min(best, float(((nearest - sizes) ** 2).sum()))
    assert ((SubsetSum(3).stored(weights) - weights) ** 2).sum() <= 1.03 * best


@given(seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_planted_base_currents_are_recovered(seed):
    rng = np.random.default_rng(seed)
    base = np.sort(rng.uniform(0.1, 1.0, 4))
    levels = subset_sums(base)
    if np.diff(np.sort(levels)).min() < 1e-3 or np.sort(levels)[1:3].sum() == 0:
        return
    weights = np.concatenate([levels, rng.choice(levels, 84)]) * rng.choice([-1, 1], 100)
    found = SubsetSum(4).currents(weights.reshape(10, 10))
    assert np.sort(subset_sums(found)) == pytest.approx(np.sort(levels), abs=1e-6)
    assert SubsetSum(4).stored(weights.reshape(10, 10)).ravel() == pytest.approx(weights, abs=1e-6)


def test_noisy_weights_around_planted_currents_keep_the_noise_alone():
    rng = np.random.default_rng(0)
    levels = subset_sums([0.1, 0.22, 0.45, 0.83])
    noise = rng.normal(size=2000) * 0.003
    weights = (rng.choice(levels[1:], 2000) + noise)[None]
    error = SubsetSum(4).stored(weights) - weights
    assert (error**2).mean() < 1.05 * (noise**2).mean()


def test_both_tensors_of_a_layer_share_the_currents_of_its_core():
    torch.manual_seed(0)
    theta = {
        "l.weight": torch.randn(6, 5),
        "l.recurrent_weight": 0.1 * torch.randn(6, 6),
        "m.weight": torch.randn(3, 6),
    }
    found = stored(theta)
    values = torch.cat([found["l.weight"].flatten(), found["l.recurrent_weight"].flatten()]).abs().unique()
    assert len(values) <= 16
    together = np.concatenate([theta["l.weight"].double(), theta["l.recurrent_weight"].double()], axis=1)
    assert torch.equal(found["l.recurrent_weight"], torch.from_numpy(SubsetSum(4).stored(together)[:, 5:]).float())
    alone = stored({"l.recurrent_weight": theta["l.recurrent_weight"]})["l.recurrent_weight"]
    assert not torch.equal(found["l.recurrent_weight"], alone)


def test_a_layer_on_two_cores_has_two_sets_of_currents():
    theta = {"l.weight": torch.cat([torch.rand(4, 30), 10 + torch.rand(4, 30)])}
    one, two = stored(theta), stored(theta, CHIP + "\nlimits: {neurons_per_core: 4}")
    assert len(one["l.weight"].unique()) <= 16
    assert len(two["l.weight"].unique()) > 16
    halves = stored({"l.weight": theta["l.weight"][:4]}), stored({"l.weight": theta["l.weight"][4:]})
    assert torch.equal(two["l.weight"], torch.cat([h["l.weight"] for h in halves]))


@given(shape=st.sampled_from([(), (3,), (1, 1), (4, 2), (2, 3, 2, 2)]), zeros=st.booleans(), seed=st.integers(0, 99))
@settings(deadline=None)
def test_shapes_zeros_signs_and_gradients(shape, zeros, seed):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    w = (torch.zeros_like(w) if zeros else w).requires_grad_()
    found = stored({"l.weight": w})["l.weight"]
    assert found.shape == w.shape
    assert bool((found * w >= 0).all())
    factor = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    (grad,) = torch.autograd.grad((found * factor).sum(), [w])
    assert torch.equal(grad, factor)
    if zeros:
        assert not found.any()


def test_base_currents_come_from_the_bias_generator():
    weights = torch.rand(20, 20, generator=torch.Generator().manual_seed(1))
    dac = ", bias: {scheme: coarse_fine, coarse: 6, fine_bits: 3, ratio: 8, i_max: 2.3e-6}"
    found = stored({"l.weight": weights}, CHIP.removesuffix("}") + dac + "}")["l.weight"]
    stage = placed(profile(CHIP.removesuffix("}") + dac + "}"), {"l.weight": weights}).stages["l.weight"][0]
    free = SubsetSum(4).currents(weights.double().numpy())
    base = stage.currents(weights.double().numpy())
    assert base / free == pytest.approx(np.ones(4), abs=0.34)  # neighbours are at most a factor 2 apart
    assert not np.array_equal(base, free)
    levels = torch.from_numpy(subset_sums(base)).float()
    assert all(bool((levels - v).abs().min() < 1e-6) for v in found.unique())
