"""Certificates: no device in the box leaves the bounds, and the bounds are no wider than they have to be.

The devices are corners of the box and points inside it: a bound that one of 1e5 leaves is wrong, whatever the seed.
"""

import itertools

import numpy as np
import pytest
import torch
from tiny_networks import KINDS, VARIED, samples, tiny, varied

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation.certificates.boxes import common_coordinates, left_out, parameter_box
from snnrobust.evaluation.certificates.certificate import certify, largest_k
from snnrobust.hardware import Model, Profile, load_profile
from snnrobust.hardware.mismatch import place, project, realise
from snnrobust.hardware.profile import parse_profile
from snnrobust.training.data import to_batch

POINTS = 100_000


def devices(placement, k, count, *, corners, seed):
    """Coordinates of devices in the box: its corners, or points with a twentieth of the coordinates at an end."""
    generator = torch.Generator().manual_seed(seed)
    z = {}
    for key, c in placement.coordinates.items():
        if c.kind == "continuous":
            inside = 2 * torch.rand((count, *c.shape), generator=generator, dtype=torch.float64) - 1
            ends = inside.sign() if corners else torch.where(inside.abs() > 0.95, inside.sign(), inside)
            z[key] = k * ends
    return project(placement, z, k)


def reached(net, data, profile, k, count, *, corners, seed=0, calibration="none"):
    """Logits [K, B, O] of devices in the box."""
    chip = Profile.relative(1.0) if profile is None else profile
    placement = place(chip, net.parameter_specs(), calibration=calibration)
    theta = {name: p.detach() for name, p in net.nominal().items()}
    dtype = next(iter(theta.values())).dtype
    batch, found = to_batch(data, slice(None), dtype), []
    for n in range(0, count, 20_000):
        z = devices(placement, k, min(20_000, count - n), corners=corners, seed=seed + n)
        with torch.no_grad():
            params = realise(placement, theta, {key: value.to(dtype) for key, value in z.items()})
            found.append(net.run(params, batch.x, batch.lengths))
    return torch.cat(found).double().numpy()


def check_sound(net, data, profile, k, count=POINTS, calibration="none"):
    """Nothing leaves the bounds, and what is certified is right; returns certificate and the reached logits."""
    found = certify(net, data, k, profile=profile, calibration=calibration)
    logits = np.concatenate(
        [
            reached(net, data, profile, k, n, corners=c, calibration=calibration)
            for n, c in ((count // 5, True), (count, False))
        ]
    )
    assert (logits >= found.low).all()
    assert (logits <= found.high).all()
    assert (logits.argmax(-1) == data.y)[:, found.certified].all()
    return found, logits


@pytest.mark.parametrize("kind", KINDS)
def test_no_device_of_a_relative_box_leaves_the_bounds(kind):
    found, logits = check_sound(tiny(kind, seed=3), samples(8), None, 0.05, 20_000)
    assert found.certain < 1  # there are unknown spikes in it
    assert np.ptp(logits, axis=0).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_no_device_of_a_profile_leaves_the_bounds(kind):
    found, _ = check_sound(
        tiny(kind, seed=4, layers=2), samples(8, 6, lengths=[5, 3, 4, 6, 6, 6, 6, 6]), varied(), 0.1, 20_000
    )
    assert found.certain < 1


@pytest.mark.parametrize("mode", ["core_mean", "trim", "residual"])
def test_no_calibrated_device_leaves_the_bounds(mode):
    ratios = "{weight: 0.5, tau_mem: 0.4, tau_syn: 0.3, v_th: 0.3, v_leak: 0.2, bias: 0.3, gain: 0.2}"
    trim = "{bits: 3, range_sigma: 0.05, noise_sigma: 0.1}"
    chip = parse_profile(f"{VARIED}calibration: {{mode: trim, trim: {trim}, residual: {ratios}}}\n")
    net, data = tiny("synapse", seed=5), samples(8)
    found, logits = check_sound(net, data, chip, 0.1, 10_000, mode)
    assert np.ptp(logits, axis=0).max() > 1e-3
    plain = certify(net, data, 0.1, profile=chip)
    if mode == "residual":  # every deviation is a fraction of what it was
        assert (found.high - found.low).mean() < 0.9 * (plain.high - plain.low).mean()


def test_no_device_of_many_leaves_the_bounds():
    check_sound(tiny("synapse", seed=5), samples(), varied(), 0.1)


@pytest.mark.parametrize(("readout", "decode"), [("li", "max"), ("li", "last"), ("rate", "mean")])
def test_every_readout_has_bounds(readout, decode):
    net = tiny("synapse", seed=6, readout=readout, decode=decode)
    check_sound(net, samples(lengths=[5, 3, 4]), None, 0.05, 20_000)


@pytest.mark.parametrize("engine", ["eager", "numba"])
def test_the_bounds_hold_for_what_runs_in_float32(engine):
    net = tiny("synapse", seed=7, neurons=3, dtype=torch.float32)
    net.engine = engine
    check_sound(net, samples(8, 12), None, 1e-3, 20_000)
    exact = certify(net, samples(8, 12), 0.0)
    assert (exact.high - exact.low).max() < 1e-4


def test_the_corners_of_a_box_can_all_be_tried():
    """One neuron without recurrence: 2 weights and a bias, 2 readout weights and 2 biases, 128 corners."""
    net, data, k = tiny("hard", neurons=1, recurrent=False, seed=1), samples(4), 0.02
    placement = place(Profile.relative(1.0), net.parameter_specs())
    bits = ((np.arange(128)[:, None] >> np.arange(7)) & 1) * 2.0 - 1
    z, n = {}, 0
    for key, c in placement.coordinates.items():
        size = int(np.prod(c.shape))
        z[key] = torch.from_numpy(k * bits[:, n : n + size].reshape(128, *c.shape))
        n += size
    assert n == 7
    batch = to_batch(data, slice(None), torch.float64)
    with torch.no_grad():
        logits = net.run(realise(placement, net.nominal(), z), batch.x).numpy()
    found = certify(net, data, k)
    assert (logits >= found.low).all()
    assert (logits <= found.high).all()
    # Where every spike is certain, the logits are multilinear in z, but the same weight counts at several steps.
    width = (found.high - found.low)[found.certified]
    assert (np.ptp(logits, axis=0)[found.certified] <= width).all()
    assert np.median(np.ptp(logits, axis=0)[found.certified] / width) > 0.9


def test_a_box_of_one_device_is_the_nominal_network():
    net, data = tiny("adaptive", seed=2), samples(6)
    found = certify(net, data, 0.0)
    batch = to_batch(data, slice(None), torch.float64)
    logits = net(batch.x).detach().numpy()
    np.testing.assert_allclose(found.low, logits, atol=1e-12)
    np.testing.assert_allclose(found.high, logits, atol=1e-12)
    assert found.certain == 1
    assert np.array_equal(found.certified, logits.argmax(-1) == data.y)


def test_larger_boxes_have_wider_bounds():
    net, data = tiny("synapse", seed=2), samples(6)
    found = [certify(net, data, k) for k in (0.0, 1e-3, 1e-2, 1e-1)]
    for inner, outer in itertools.pairwise(found):
        assert (outer.low < inner.low).all()
        assert (outer.high > inner.high).all()
        assert not (outer.certified & ~inner.certified).any()


def test_the_ends_of_parameters_are_those_of_their_devices():
    """Widths against the closed forms exp(+-k s) and 1 +- k s, for every element of every tensor."""
    net, k = tiny("adaptive", seed=1, dtype=torch.float64), 0.7
    placement = place(varied(), net.parameter_specs())
    theta = {name: p.detach() for name, p in net.nominal().items()}
    box = parameter_box(placement, theta, k)
    s = np.sqrt(np.log1p(0.3**2))
    adaptation = theta["layer0.adaptation"].numpy()
    np.testing.assert_allclose(box["layer0.adaptation"].high, adaptation * np.exp(k * s), rtol=1e-9)
    np.testing.assert_allclose(box["layer0.adaptation"].low, adaptation * np.exp(-k * s), rtol=1e-9)
    w = theta["layer0.recurrent_weight"].numpy()
    np.testing.assert_allclose(box["layer0.recurrent_weight"].high, w + 0.3 * k * abs(w), rtol=1e-9)
    np.testing.assert_allclose(box["layer0.recurrent_weight"].low, w - 0.3 * k * abs(w), rtol=1e-9)
    moved = realise(placement, theta, devices(placement, k, 20_000, corners=False, seed=0))
    for name, ends in box.items():
        assert (moved[name] >= ends.low).all(), name
        assert (moved[name] <= ends.high).all(), name
    assert "layer0.v_th" in placement.stages


DIE = """\
schema_version: "1.0"
name: die
kind: analog_asic
description: A chip whose weights are all stronger or all weaker.
evidence: assumption
parameters:
  weight: {distribution: lognormal, granularity: per_synapse, components: {die: {cv: 0.5}, device: {cv: 0.001}}}
"""


def test_halving_a_common_factor_certifies_more_and_stays_sound():
    net, data, profile = tiny("hard", seed=3, neurons=3), samples(40, seed=1), parse_profile(DIE)
    assert common_coordinates(place(profile, net.parameter_specs())) == ("weight/die",)
    k = 1.0
    found = [certify(net, data, k, profile=profile, depth=depth) for depth in (0, 3, 7)]
    shares = [f.share for f in found]
    assert shares[0] < shares[1] < shares[2]
    logits = reached(net, data, profile, k, 20_000, corners=False)
    for f in found:
        assert (logits >= f.low).all()
        assert (logits <= f.high).all()
        assert (logits.argmax(-1) == data.y)[:, f.certified].all()
    right = (logits.argmax(-1) == data.y).all(0).mean()
    assert shares[2] <= right


def test_the_largest_box_is_where_the_last_certificate_fails():
    net, data = tiny("synapse", seed=2), samples(12)
    k = largest_k(net, data, precision=0.01)
    assert certify(net, data, k).share > 0
    assert certify(net, data, 1.011 * k).share == 0
    half = largest_k(net, data, share=0.3, precision=0.01)
    assert half <= k
    assert certify(net, data, half).share > 0.3 >= certify(net, data, 1.011 * half).share


def test_no_box_where_no_sample_is_right():
    net, data = tiny("hard", seed=2), samples(6)
    right = certify(net, data, 0.0).certified
    wrong = type(data)(data.x[right], 1 - data.y[right], data.lengths[right], data.indices[right])
    assert largest_k(net, wrong) == 0


def test_what_a_box_leaves_out_is_said():
    net = tiny("synapse")
    found = left_out(place(load_profile("dynapse1"), net.parameter_specs()))
    assert found == ("outliers and faults", "what every trial draws")
    assert left_out(place(Profile.relative(0.1), net.parameter_specs())) == ()


def test_what_has_no_bounds_is_refused():
    net, data = tiny(), samples()
    with pytest.raises(ProfileError, match=r"pcm_ibm: no bounds over devices for Array of weight"):
        certify(net, data, 0.1, profile=load_profile("pcm_ibm"))
    model = Model(lambda params, x: x.sum(0), {"w": torch.ones(1)}, {"w": "weight"})
    with pytest.raises(ConfigError, match=r"net: Model must be a Network"):
        certify(model, data, 0.1)
    for k in (-1.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match="k:"):
            certify(net, data, k)
    with pytest.raises(ConfigError, match="share:"):
        largest_k(net, data, share=1.0)
    with pytest.raises(ConfigError, match="depth:"):
        certify(net, data, 0.1, depth=-1)
    with pytest.raises(ConfigError, match="precision:"):
        largest_k(net, data, precision=0.0)
