"""What surrounds the cells of an array: their curve, bit lines that lose voltage, converters of single columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_builder import profile
from scipy import stats

from snnrobust.errors import ProfileError
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.chosen import choose
from snnrobust.hardware.crossbar.nonlinear import iv
from snnrobust.hardware.crossbar.periphery import converted
from snnrobust.hardware.crossbar.wires import polynomial_drop
from snnrobust.hardware.profile import parse_profile
from snnrobust.snn import Network

ARRAY = (
    "crossbar:\n  technology: any\n  g_min: 0.0\n  g_max: 25.0\n  mapping: {{scheme: differential_one_sided}}\n  {}\n"
)


def chip(*blocks: str, more: str = ""):
    return profile(ARRAY.format("\n  ".join(blocks)) + more, kind="crossbar")


def network():
    return Network.recurrent(6, 10, 3, dt=1e-3, seed=3)


def analog(steps=20, batch=4):
    return torch.randn(steps, batch, 6, generator=torch.Generator().manual_seed(1)).double()


# --- cells that are not ohmic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [None, 2.0])
def test_the_curve_is_that_of_the_cell(largest):
    """f(x) in units of the largest input is the current I = g u (1 + a2 u + a3 u^2) over that at the read voltage."""
    bar = chip("iv: {model: cubic, a2: 0.5, a3: 2.0, v_read: 0.3}").crossbar
    x = analog()
    top = x.abs().amax((0, 2), keepdim=True) if largest is None else torch.full((1, 4, 1), largest)
    g = np.array(3.0)
    current = iv(g, 0.3 * (x / top).numpy(), 0.5, 2.0) / iv(g, np.array(0.3), 0.5, 2.0)
    assert np.allclose(converted(x, bar, largest).numpy(), current * top.numpy(), rtol=1e-12)
    spikes = (x > 0).double()
    assert converted(spikes, bar, largest) is spikes


def test_a_converter_comes_before_the_curve():
    both = chip("iv: {model: cubic, a3: 2.0, v_read: 0.3}", "dac: {bits: 4, bound: 0.5}").crossbar
    levels = converted(analog(), both.model_copy(update={"iv": None}), 2.0)
    found = converted(analog(), both, 2.0)
    assert len(found.unique()) == len(levels.unique()) == 15
    assert float(found.max()) == pytest.approx(1.0)  # full scale is full scale
    assert torch.allclose(found, levels * (1 + 2 * (0.3 * levels) ** 2) / (1 + 2 * 0.09))


def test_a_deployment_sees_the_curve():
    net, x = network(), analog().float()
    curved = Chip(chip("iv: {model: cubic, a3: 4.0, v_read: 0.5}")).deploy(net, 2)
    assert curved.notes == tuple(n for n in curved.notes if "not simulated" not in n)
    with torch.no_grad():
        assert torch.equal(curved.run(x), net(curved.converted(x)).expand(2, -1, -1))
        assert not torch.equal(curved.run(x)[0], net(x))
        only = Chip(curved.profile).deploy(net, 2, only="mismatch")
        assert torch.equal(only.run(x)[0], net(x))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("iv: {model: cubic, a3: 1.0}", "needs `v_read`"),
        ("iv: {model: cubic, v_read: 0.2}", "needs `a2` or `a3`"),
        ("iv: {model: cubic, a2: 3.0, v_read: 0.2}", "must rise with the voltage up to 0.2 V"),
        ("iv: {model: cubic, a2: 3.0, a3: 2.9, v_read: 1.0}", "must rise"),  # the least slope is inside the range
    ],
)
def test_curves_that_cannot_be(block, message):
    with pytest.raises(ProfileError, match=message):
        chip(block)


# --- bit lines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_bit_lines_lose_what_the_polynomial_says(gain):
    """Reads of a deployment against `polynomial_drop` of each tile, in units of the largest weight of the layer."""
    net = network()
    with torch.no_grad():
        net.layer0.gain.fill_(gain)
    bar = chip("ir_drop: {model: polynomial, r_wire: 300.0}", "tile: [4, 64]")
    deployment = Chip(bar).deploy(net, 1, calibration_data=analog().float())
    reads = deployment.reads([0])["layer0"]
    w, x = net.layer0.weight.detach().double(), analog()
    top, total = w[:, :4].abs().max().maximum(w[:, 4:].abs().max()), 0.0
    for tile in (slice(0, 4), slice(4, 6)):
        part, own = w[:, tile] / top, x[..., tile] / x.abs().max()
        total = total + own @ part.T - polynomial_drop(part, own, r_wire=300.0, g_max=25.0)
    found = reads.read(x, gain * w, first=0, step=0)
    assert torch.allclose(found, gain * total * top * x.abs().max(), rtol=1e-4)
    v = net.layer0.recurrent_weight.detach().double()
    spikes = (torch.rand(5, 10, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    top, total = v.abs().max(), 0.0
    for tile in (slice(0, 4), slice(4, 8), slice(8, 10)):
        part, own = v[:, tile] / top, spikes[:, tile]
        total = total + own @ part.T - polynomial_drop(part, own, r_wire=300.0, g_max=25.0)
    assert torch.allclose(reads.feedback(spikes, gain * v, 0), gain * total * top, rtol=1e-4, atol=1e-7)


def test_both_engines_lose_the_same():
    net, x = network(), analog().float()
    deployment = Chip(chip("ir_drop: {model: polynomial, r_wire: 300.0}")).deploy(net, 2, calibration_data=x)
    logits = []
    for net.engine in ("eager", "numba"):
        logits.append(deployment.run(x))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert float((logits[0][0] - net(x)).abs().max()) > 1e-3


def test_wires_count_also_where_nothing_else_does():
    """An array of exact cells with resistive wires; a chip, the same in every call."""
    net = network()
    deployment = Chip(chip("ir_drop: {model: nodal, r_wire: 50.0, v_read: 0.2}")).deploy(net, 2)
    first, again = deployment.parameters(), deployment.parameters(static=deployment.static())
    nominal = net.layer0.weight.detach()
    assert torch.equal(first["layer0.weight"], again["layer0.weight"])
    assert 0.001 < float((first["layer0.weight"] - nominal).abs().max() / nominal.abs().max()) < 0.2


# --- converters of columns -------------------------------------------------------------------------------------

CONVERTERS = "adc: {bits: 12, bound: 100.0, per_column_gain_cv: 0.05, per_column_offset: 0.2}"


def test_each_column_has_its_own_gain_and_offset():
    net, x = network(), analog().float()
    deployment = Chip(chip(CONVERTERS)).deploy(net, 300)
    z = deployment.coordinates(range(300))
    assert {key: tuple(value.shape) for key, value in z.items()} == {
        "layer0/adc_gain": (300, 10), "layer0/adc_offset": (300, 10), "readout/adc_gain": (300, 3),
        "readout/adc_offset": (300, 3),
    }  # fmt: skip
    for value in z.values():
        assert stats.kstest(value.numpy().ravel(), "norm").pvalue > 1e-3
    params = deployment.parameters()
    for name in ("layer0.weight", "layer0.recurrent_weight"):  # one converter for all arrays of a layer
        factor = params[name] / net.nominal()[name].detach()
        assert torch.allclose(factor, (1 + 0.05 * z["layer0/adc_gain"])[:, :, None].expand_as(factor), atol=1e-5)
    reads = deployment.reads([7, 3])["layer0"]
    unit = max(float(w.detach().abs().max()) for w in (net.layer0.weight, net.layer0.recurrent_weight))
    assert torch.allclose(reads.offset, 0.2 * unit * z["layer0/adc_offset"][[7, 3]])
    assert not torch.equal(z["layer0/adc_gain"], z["layer0/adc_offset"])
    assert torch.equal(deployment.run(x, [7]), deployment.run(x, [3, 7])[1:])
    assert deployment.reads([7, 3])["readout"].keys != reads.keys  # layers do not share their noise


def test_the_offset_is_added_before_the_steps():
    net, x = network(), analog().double()
    deployment = Chip(chip("adc: {bits: 4, bound: 4.0, per_column_offset: 0.3}", "read: clocked")).deploy(
        net.double(), 1
    )
    reads = deployment.reads([0])["layer0"]
    w = net.layer0.weight.detach()
    y = x @ w.T + reads.offset[0]
    expected = (torch.round(y / reads.step) * reads.step).clamp(-reads.bound, reads.bound)
    assert torch.allclose(reads.read(x, w, first=0, step=0), expected.expand(1, -1, -1, -1))


def test_a_calibration_of_columns_takes_their_offsets_away():
    """Reading through the ADC, and subtracting what it reads of the offset alone."""
    text, net, x = "adc: {bits: 4, bound: 4.0, per_column_offset: 0.9}", network(), analog(1)[0].float()
    found = Chip(chip(text, "read: clocked")).deploy(net, 20, calibration="column_affine").reads(range(20))["readout"]
    raw = Chip(chip(text, "read: clocked")).deploy(net, 20).reads(range(20))["readout"]
    step = found.step
    assert float(found.offset.abs().max()) <= float(step.max()) / 2
    y = x @ torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    corrected = ((y + raw.offset[:, None]) / step).round() * step - ((raw.offset / step).round() * step)[:, None]
    torch.testing.assert_close(((y + found.offset[:, None]) / step).round() * step, corrected, rtol=1e-5, atol=1e-5)


def test_chosen_gains_and_offsets_and_what_leaves_them_out():
    net, x = network(), analog().float()
    deployment = Chip(chip(CONVERTERS)).deploy(net, 2)
    still = {c.key: torch.zeros(1, *c.shape) for c in deployment.placement.coordinates.values()}
    plain = Chip(chip("adc: {bits: 12, bound: 100.0}")).deploy(net, 1)
    assert torch.equal(choose(deployment, still).run(x), plain.run(x))
    moved = still | {"readout/adc_offset": torch.ones(1, 3)}
    assert float((choose(deployment, moved).run(x) - plain.run(x)).abs().min()) > 1e-3
    only = Chip(deployment.profile).deploy(net, 2, only="mismatch")
    assert not only.placement.coordinates
    assert not only.reads([0])


def test_shipped_profile_with_all_of_it():
    text = Chip(chip(CONVERTERS)).profile.to_yaml()
    assert parse_profile(text).not_simulated() == []
