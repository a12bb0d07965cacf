"""Gains of an array's columns: least squares by hand, on the array as it is, chip by chip."""

import pytest
import torch
from chip_builder import placed, profile

from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import load_profile

ARRAY = """\
crossbar:
  technology: pcm
  g_min: 0.0
  g_max: 25.0
  mapping: {{scheme: differential_one_sided}}
  programming: {{model: polynomial, variable: g_rel, coefficients: [{sigma}], g_max_ref: 25.0}}
{more}
"""


def chip(sigma=2.0, more="", after=""):
    return profile(ARRAY.format(sigma=sigma, more=more) + after, kind="crossbar")


def chips(profile, theta, mode, instances=range(40)):
    placement = placed(profile, theta, calibration=mode)
    with torch.no_grad():
        return realise(placement, theta, draw(placement, seed=1, purpose="test", instances=instances))


@pytest.fixture
def theta():
    generator = torch.Generator().manual_seed(1)
    return {"a.weight": torch.randn(12, 30, generator=generator), "a.bias": torch.zeros(12)}


def test_a_gain_is_the_least_squares_fit_of_a_column(theta):
    before, after = (chips(chip(), theta, mode)["a.weight"].double() for mode in ("none", "column_affine"))
    target = theta["a.weight"].double()
    for k, n in ((0, 0), (7, 5), (39, 11)):
        gain = torch.linalg.lstsq(before[k, n][:, None], target[n][:, None]).solution
        torch.testing.assert_close(after[k, n], before[k, n] * gain[0, 0], rtol=1e-5, atol=1e-6)
    error = {name: float((w - target).square().mean()) for name, w in (("none", before), ("affine", after))}
    assert error["affine"] < error["none"]


def test_tiles_have_gains_of_their_own(theta):
    before, after = (
        chips(chip(more="  tile: [10, 8]"), theta, mode)["a.weight"].double() for mode in ("none", "column_affine")
    )
    gains = (after / before).reshape(40, 12, 3, 10).nanmedian(-1).values
    torch.testing.assert_close(after, before * gains.repeat_interleave(10, -1), rtol=1e-4, atol=1e-6)
    assert (gains.diff(dim=-1).abs() > 1e-4).float().mean() > 0.9


def test_a_gain_that_all_cells_of_a_column_share_is_undone(theta):
    """Cells that all drift alike lose a factor; nothing else is wrong with this array."""
    drift = "  drift: {model: power_law, t0: 20.0, nu_mean: {poly: [0.06]}, nu_std: {poly: [0.0]}}"
    later = "environment: {time_since_programming: 1.0e6}\n"
    aged = chip(1e-9, drift, later)
    before, after = (chips(aged, theta, mode)["a.weight"] for mode in ("none", "column_affine"))
    lost = (1e6 / 20 + 1) ** -0.06
    torch.testing.assert_close(before, (lost * theta["a.weight"]).expand_as(before), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after, theta["a.weight"].expand_as(after), rtol=1e-4, atol=1e-5)


def test_faults_stay_and_blocks_do_not_matter(theta):
    stuck = chip(0.5, after="faults: {stuck_hrs: 0.3, dead_synapse: 0.1}\n")
    before, after = (chips(stuck, theta, mode)["a.weight"] for mode in ("none", "column_affine"))
    assert torch.equal(before == 0, after == 0)
    assert (before == 0).float().mean() > 0.1
    assert torch.equal(chips(stuck, theta, "column_affine", (5, 31))["a.weight"], after[[5, 31]])


def test_columns_without_weights_and_gradients(theta):
    theta["a.weight"][3] = 0.0
    theta = {name: p.requires_grad_() for name, p in theta.items()}
    placement = placed(chip(0.0), theta, calibration="column_affine")
    z = {key: v.requires_grad_() for key, v in draw(placement, seed=1, purpose="test", instances=(0, 1)).items()}
    found = realise(placement, theta, z)["a.weight"]
    assert not found[:, 3].any()
    grads = torch.autograd.grad(found.square().sum(), [theta["a.weight"], *z.values()], materialize_grads=True)
    assert all(g.isfinite().all() for g in grads)


def test_shipped_arrays_have_it():
    theta = {"a.weight": torch.linspace(-1, 1, 120).reshape(6, 20)}
    pcm = load_profile("pcm_ibm")
    error = {mode: float((chips(pcm, theta, mode)["a.weight"] - theta["a.weight"]).square().mean())
             for mode in ("none", "column_affine")}  # fmt: skip
    assert error["column_affine"] < error["none"]
