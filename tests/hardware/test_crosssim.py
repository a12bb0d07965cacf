"""Programming errors of CrossSim's devices (devices/custom/PCM_Joshi.py, RRAM_Milo.py, RRAM_Wan.py).

Statistical bounds are 5 standard errors at fixed seeds (2e-6 false alarms per bound), KS tests are at 1e-3.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from chip_builder import placed, profile
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from snnrobust.hardware.crossbar.programming import programmed, programming_sigma
from snnrobust.hardware.mismatch import draw


class Device(NamedTuple):
    """Range in microsiemens, the polynomial of sigma in microsiemens, and whether conductances end at 0."""

    low: float
    high: float
    ascending: tuple[float, ...]
    ends_at_zero: bool


JOSHI = Device(0.0, 25.0, (0.28638599, 0.07585724, -0.00178767), True)
MILO = Device(50.0, 225.0, (4.782321, -0.009107), False)
WAN = Device(0.0, 39.26, (1.053, 0.2374, -0.01167, 1.536e-4), False)
DEVICES = (JOSHI, MILO, WAN)
LEVELS = {
    JOSHI: {0: 0.2864, 2.5: 0.4649, 5: 0.6210, 12.5: 0.9553, 20: 1.0885, 25: 1.0655},
    MILO: {50: 4.32697, 225: 2.73325},
    WAN: {0: 1.053, 4: 1.826, 10: 2.414, 20: 2.362, 30: 1.819, 39.26: 1.681},
}


def chip(device: Device):
    return profile(
        f"crossbar: {{technology: any, g_min: {device.low}, g_max: {device.high}, mapping: {{scheme: single_device}}, "
        f"programming: {{model: polynomial, variable: g_uS, coefficients: {list(device.ascending)}, "
        f"clip_zero: {str(device.ends_at_zero).lower()}}}}}",
        kind="crossbar",
    )


@pytest.mark.parametrize("device", DEVICES)
def test_spread_of_each_level(device):
    for g, sigma in LEVELS[device].items():
        found = programming_sigma(torch.tensor([float(g)], dtype=torch.float64), chip(device).crossbar, 0.0)
        assert float(found) == pytest.approx(sigma, abs=6e-4 if device is WAN else 6e-5)


@pytest.mark.parametrize("device", DEVICES)
@given(share=st.floats(0, 1), z=st.floats(-6, 6))
def test_the_formula(device, share, z):
    g = device.low + share * (device.high - device.low)
    sigma = max(sum(c * g**n for n, c in enumerate(device.ascending)), 0)
    expected = max(g + sigma * z, 0) if device.ends_at_zero else g + sigma * z
    bar, target = chip(device).crossbar, torch.tensor([g], dtype=torch.float64)
    found = programmed(target, programming_sigma(target, bar, 0.0), torch.tensor([z], dtype=torch.float64), bar)
    assert float(found) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("device", "level"), [(device, level) for device in DEVICES for level in LEVELS[device]])
def test_sampled_spread_of_each_level(device, level):
    n, bar = 40_000, chip(device).crossbar
    g = torch.full((1, n), float(level), dtype=torch.float64)
    z = draw(placed(chip(device), {"l.weight": g}), seed=3, purpose="test", instances=None)["l.weight/g"]
    found = programmed(g, programming_sigma(g, bar, 0.0), z, bar).flatten().numpy()
    sigma = sum(c * level**power for power, c in enumerate(device.ascending))
    law = stats.norm(level, sigma)
    if not device.ends_at_zero:
        assert abs(found.std() / sigma - 1) < 5 / math.sqrt(2 * n)
        assert stats.kstest(found, law.cdf).pvalue > 1e-3
        assert (found.min() < 0) == (level < 4 * sigma)
        return
    # E max(0, X) = m Phi(m / s) + s phi(m / s),  E max(0, X)^2 = (m^2 + s^2) Phi(m / s) + m s phi(m / s)
    at = level / sigma
    mean = level * stats.norm.cdf(at) + sigma * stats.norm.pdf(at)
    square = (level**2 + sigma**2) * stats.norm.cdf(at) + level * sigma * stats.norm.pdf(at)
    for values, expected in ((found, mean), (found**2, square)):
        assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(n)
    assert stats.kstest(found[found > 0], lambda x: 1 - law.sf(x) / law.sf(0)).pvalue > 1e-3
    assert np.all(found >= 0)
