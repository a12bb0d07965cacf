"""Area by Pelgrom's law against hand values, and bits of a trim against simulation."""

import math

import numpy as np
import pytest

from snnrobust.hardware import load_profile
from snnrobust.hardware.area import log_spread, transistor_area, trim_bits


@pytest.mark.parametrize(("cv", "area"), [(0.10, 5.8), (0.20, 1.46), (0.30, 0.66)])
def test_the_area_of_the_textbook_profiles(cv, area):
    """A_VT 12.5 mV um, kappa 0.7, 300 K: what the notes of the profiles say."""
    profile = load_profile(f"generic_subthreshold_180nm_{round(100 * cv)}")
    s = log_spread(profile.parameters.weight, profile.parameters.weight.components.device.cv)
    assert transistor_area(profile, s) == pytest.approx(area, rel=0.01)
    assert s == pytest.approx(math.sqrt(math.log(1 + cv**2)))


def test_four_square_micrometres():
    assert transistor_area(load_profile("generic_subthreshold_180nm_20"), 0.1197) == pytest.approx(4, rel=1e-3)


def test_no_area_without_a_vt_or_spread():
    assert transistor_area(load_profile("dynapse1"), 0.1) is None
    assert transistor_area(load_profile("generic_subthreshold_180nm_20"), 0.0) is None


@pytest.mark.parametrize("ratio", [0.5, 0.2, 0.1, 0.03])
def test_trim_bits_are_the_fewest_that_leave_the_ratio(ratio):
    z = np.random.default_rng(0).normal(size=200_000)
    z = z[np.abs(z) < 3]

    def left(bits):
        step = 6 / 2**bits
        return np.std(z - (np.floor(z / step) + 0.5) * step)

    bits = trim_bits(load_profile("dynapse1"), ratio)
    assert left(bits) <= ratio * 1.01
    assert left(bits - 1) > ratio


def test_a_spread_that_is_small_enough_needs_no_trim():
    assert trim_bits(load_profile("dynapse1"), 1.0) == trim_bits(load_profile("dynapse1"), 1.7) == 0
