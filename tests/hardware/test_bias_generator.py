"""The coarse and fine converter: its currents, its relative error, and which parameters it rounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.hardware.mismatch import realise
from snnrobust.hardware.stages import BiasGenerator

DAC = "quantization: {{bias: {{scheme: coarse_fine, coarse: 6, fine_bits: 8, ratio: 8, i_max: 2.3e-6{more}}}}}"


def generator(**more) -> BiasGenerator:
    choices = {"coarse": 6, "fine_bits": 8, "ratio": 8.0, "i_max": 2.3e-6, "nonmonotonic": False, "i_reference": 1e-8}
    return BiasGenerator(**(choices | more))


def stored(theta: dict[str, torch.Tensor], more: str = "") -> dict[str, torch.Tensor]:
    return realise(placed(profile(DAC.format(more=more)), theta), theta, {})


def test_currents_by_hand():
    # Full scales 8 and 2, fine codes 0 .. 3.
    found = generator(coarse=2, fine_bits=2, ratio=4.0, i_max=8.0)
    assert found.currents == pytest.approx([0, 2 / 3, 4 / 3, 2, 8 / 3, 16 / 3, 8])
    assert found.nearest(np.array([0.3, 0.4, 2.3, 2.4, 4.1, 99.0])) == pytest.approx([0, 2 / 3, 2, 8 / 3, 16 / 3, 8])
    assert found.nearest(np.array([0.3]), zero=False) == pytest.approx([2 / 3])


def test_full_scales_of_dynapse2():
    # The smallest of six full scales a factor 8 apart below 2.3 uA is the published 72 pA, to its 2 %.
    assert pytest.approx(72e-12, rel=0.03) == 2.3e-6 / 8**5


def test_seven_fine_steps_fall():
    fine = generator(coarse=1, nonmonotonic=True)
    codes = np.arange(256) / 255 * 2.3e-6
    falls = np.arange(32, 256, 32)
    kept = np.delete(codes, falls)
    assert np.allclose(fine.currents, np.sort(np.append(kept, 0.96 * codes[falls - 1])), rtol=1e-12)


@pytest.mark.parametrize("nonmonotonic", [False, True])
def test_relative_error(nonmonotonic):
    # hardware.md 1.4, of the published table: at most 1.7 % above 10 pA, 11-12.5 % in 1-10 pA. Ours: half a step at
    # the lowest fine code that no smaller range serves, 1 / 64; where that code falls, its neighbours are 1.125 apart.
    wanted = np.geomspace(10e-12, 2.3e-6, 200_001)
    error = np.abs(generator(nonmonotonic=nonmonotonic).nearest(wanted) / wanted - 1)
    assert error.max() < 0.0175
    assert error.max() > 0.0145
    assert error.mean() < 0.005
    low = np.geomspace(1e-12, 10e-12, 100_001)
    assert 0.10 < np.abs(generator(nonmonotonic=nonmonotonic).nearest(low) / low - 1).max() < 0.15


@given(value=st.floats(0.03, 30), typical=st.floats(1e-6, 1e6), inverse=st.booleans(), nonmonotonic=st.booleans())
def test_a_value_is_rounded_in_its_current(value, typical, inverse, nonmonotonic):
    dac = generator(nonmonotonic=nonmonotonic)
    found = float(dac.rounded(np.array(value * typical), typical, inverse=inverse))
    assert found == pytest.approx(value * typical, rel=0.018)
    current = dac.i_reference * (typical / found if inverse else found / typical)
    assert np.abs(dac.currents / current - 1).min() < 1e-9
    again = float(dac.rounded(np.array(found), typical, inverse=inverse))
    assert again == pytest.approx(found, rel=1e-12)


def test_ends_of_the_range():
    dac = generator(coarse=2, fine_bits=2, ratio=4.0, i_max=8.0, i_reference=2.0)
    assert dac.rounded(np.array([100.0, 1e-9, 0.0]), 1.0) == pytest.approx([4.0, 0.0, 0.0])
    # A time constant: no shorter than 2 / 8, no longer than 2 / (2 / 3), and 0 (no refractory time) stays 0.
    assert dac.rounded(np.array([1e-9, 1e9, 0.0]), 1.0, inverse=True) == pytest.approx([0.25, 3.0, 0.0])


def test_which_parameters_are_rounded():
    n = 5
    generator_ = torch.Generator().manual_seed(0)
    roles = ("tau_mem", "tau_syn", "tau_adapt", "refractory", "v_th", "bias", "adaptation", "gain", "v_leak", "v_reset")
    theta = {f"l.{r}": 1 + torch.rand(n, generator=generator_, dtype=torch.float64) for r in roles}
    theta["l.v_th"] = theta["l.v_th"] + 5
    theta["l.bias"] = theta["l.bias"] * torch.tensor([1, -1, 0, 1, -1])
    theta["l.weight"] = torch.rand(n, n, dtype=torch.float64, generator=generator_)
    found = stored(theta)
    for role in ("gain", "v_leak", "v_reset", "weight"):
        assert found[f"l.{role}"] is theta[f"l.{role}"]
    dac = generator(i_reference=2.3e-6 / 8**2.5)
    for role in ("tau_mem", "tau_syn", "tau_adapt", "refractory"):
        p = theta[f"l.{role}"].numpy()
        assert found[f"l.{role}"].numpy() == pytest.approx(dac.rounded(p, np.median(p), inverse=True), rel=1e-12)
    distance = (theta["l.v_th"] - theta["l.v_leak"]).numpy()
    expected = theta["l.v_leak"].numpy() + dac.rounded(distance, np.median(distance))
    assert found["l.v_th"].numpy() == pytest.approx(expected, rel=1e-12)
    bias = theta["l.bias"].numpy()
    expected = np.sign(bias) * dac.rounded(np.abs(bias), np.median(np.abs(bias[bias != 0])))
    assert found["l.bias"].numpy() == pytest.approx(expected, rel=1e-12)
    assert found["l.bias"][2] == 0
    changed = [r for r in roles if found[f"l.{r}"] is not theta[f"l.{r}"]]
    assert len(changed) == 7
    assert all(not torch.equal(found[f"l.{r}"], theta[f"l.{r}"]) for r in changed)


def test_the_reference_is_the_profiles():
    theta = {"l.tau_mem": torch.tensor([0.02], dtype=torch.float64)}
    found = stored(theta, ", i_reference: 10.1e-12")["l.tau_mem"]
    step = 2.3e-6 / 8**5 / 255
    assert float(found) == pytest.approx(0.02 * 10.1e-12 / (round(10.1e-12 / step) * step), rel=1e-9)


def test_zeros_and_gradients():
    for role in ("tau_mem", "bias", "v_th", "refractory"):
        theta = {f"l.{role}": torch.zeros(3, dtype=torch.float64, requires_grad=True)}
        found = stored(theta)[f"l.{role}"]
        assert not found.any()
        (grad,) = torch.autograd.grad((found * torch.arange(3)).sum(), list(theta.values()))
        assert grad.tolist() == [0, 1, 2]
