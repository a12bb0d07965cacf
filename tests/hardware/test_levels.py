"""A finite number of conductances: levels by hand, their spacing, and what is stored."""

from __future__ import annotations

import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.hardware.chip import Chip
from snnrobust.hardware.mismatch import realise, stored
from snnrobust.snn import Network

MAPPINGS = ["differential_one_sided", "differential_two_sided", "offset", "single_device", "n_pair, f: [1.0, 4.0]"]


def chip(levels: int, mapping: str = "differential_one_sided", more: str = "", after: str = ""):
    return profile(
        f"crossbar:\n  technology: any\n  g_min: 50.0\n  g_max: 225.0\n  levels: {levels}\n"
        f"  mapping: {{scheme: {mapping}}}\n  {more}\n{after}",
        kind="crossbar",
    )


def held(bar, w, name="l.weight"):
    return realise(placed(bar, {name: w}), {name: w}, {})[name]


def test_levels_by_hand():
    w = torch.tensor([[1.0, -0.6, 0.4, 0.0], [-0.9, 0.24, 0.26, -0.1]])
    # Three levels: 0, half, full; a one-sided pair holds -1, -0.5, 0, 0.5, 1 of the largest.
    assert held(chip(3), w).tolist() == [[1.0, -0.5, 0.5, 0.0], [-1.0, 0.0, 0.5, 0.0]]
    # Two levels of one device from the smallest to the largest weight: -0.9 and 1.
    single = held(chip(2, "single_device"), w)
    assert torch.allclose(single, torch.where(w > 0.05, 1.0, -0.9))
    # An even number of levels of an offset device has none for 0: the nearest is a third of the largest away.
    assert held(chip(4, "offset"), w)[0, 3].abs().item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("mapping", MAPPINGS)
@given(seed=st.integers(0, 2**31), levels=st.integers(2, 40))
def test_every_weight_takes_a_level_near_it(mapping, seed, levels):
    w = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = held(chip(levels, mapping), w)
    reach = float(w.max() - w.min()) if mapping == "single_device" else float(w.abs().max())
    reach *= 2 if mapping in ("offset", "differential_two_sided") else 1  # whose pair has as many levels as a device
    assert float((found - w).abs().max()) <= reach / (levels - 1) / 2 * (1 + 1e-9) + 1e-12
    assert torch.allclose(held(chip(levels, mapping), found), found)  # stored as it is


def test_the_gradient_passes_and_noise_comes_after():
    w = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    held(chip(8), w).sum().backward()
    assert torch.equal(w.grad, torch.ones_like(w))
    noisy = chip(8, more="programming: {model: polynomial, variable: g_uS, coefficients: [0.01]}")
    placement = placed(noisy, {"l.weight": w.detach()})
    kept = stored(placement, {"l.weight": w.detach()})["l.weight"]
    assert torch.equal(kept, held(chip(8), w.detach()))
    z = {key: torch.ones(c.shape) for key, c in placement.coordinates.items()}
    moved = realise(placement, {"l.weight": w.detach()}, z)["l.weight"]
    assert torch.allclose(moved, kept, atol=1e-3)  # both devices move by 0.01 uS


def test_a_deployment_holds_levels_unless_mismatch_is_all_that_is_wanted():
    net = Network.recurrent(4, 6, 3, dt=1e-3)
    deployment = Chip(chip(4)).deploy(net, 2)
    weight = deployment.parameters()["layer0.weight"]
    assert len((weight / weight.abs().max()).mul(1e4).round().unique()) <= 7
    assert not [n for n in deployment.notes if "not simulated" in n]
    plain = Chip(chip(4)).deploy(net, 2, only="mismatch").parameters()["layer0.weight"]
    assert torch.equal(plain, net.layer0.weight.detach())
