"""Conductances against the tables of the publications' fits: PCM, HERMES, NeuRRAM, CMO, HfO2."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from snnrobust.hardware.profile import load_profile
from snnrobust.report import conductance

# Equally probable values of a standard normal: a sample whose moments are exact to 1e-3.
Z = np.array([NormalDist().inv_cdf((k + 0.5) / 20_000) for k in range(20_000)])
DAY, YEAR = 86400.0, 365.0 * 86400.0


def crossbar(name):
    return load_profile(name).crossbar


PCM_GR = [0, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
SIGMAS = {
    "pcm_ibm": (25.0, PCM_GR, [0.26348, 0.34020, 0.44825, 0.60956, 0.86178, 1.02016, 1.08470, 1.05538], 1e-5),
    "pcm_hermes_1dev": (10.35, [0, 0.1, 0.25, 0.5, 0.75, 1], [0.1578, 0.3693, 0.6145, 0.8653, 0.9748, 1.0076], 1e-4),
    "pcm_hermes_2dev": (20.7, [0, 0.1, 0.25, 0.5, 0.75, 1], [0.1660, 0.5577, 0.8888, 0.9910, 0.9124, 1.0927], 1e-4),
    "reram_wan2022": (40.0, [0, 0.1, 0.25, 0.5, 0.75, 1], [0.348, 1.556, 2.258, 2.023, 1.533, 1.103], 1e-3),
    "reram_cmo": (1.0, [9.0, 50.0, 88.2], [0.112831, 0.575732, 1.007021], 1e-6),
    "rram_hfox_stuck_hrs_dominant": (1.0, [50.0, 225.0], [4.32697, 2.73325], 1e-5),
    "rram_hfox_stuck_lrs_dominant": (1.0, [50.0, 225.0], [4.32697, 2.73325], 1e-5),
}


@pytest.mark.parametrize("name", SIGMAS)
def test_programming(name):
    unit, g, sigma, tolerance = SIGMAS[name]
    assert conductance.programming_sigma(crossbar(name), unit * np.array(g)) == pytest.approx(sigma, abs=tolerance)


def test_neurram_after_a_day_and_two():
    c, g = crossbar("reram_wan2022"), 40 * np.array([0, 0.1, 0.25, 0.5, 0.75, 1])
    for time, sigma in {
        1.0: [0.348, 1.556, 2.258, 2.023, 1.533, 1.103],
        DAY: [0.701, 2.447, 3.721, 3.909, 3.367, 2.651],
        2 * DAY: [0.782, 2.410, 3.664, 3.929, 3.374, 2.677],
    }.items():
        assert conductance.table_sigma(c, g, time) == pytest.approx(sigma, abs=1e-3)
    assert conductance.drift_times(c).tolist() == [1.0, DAY, 2 * DAY]


def test_pcm_drift_exponents():
    law, g = crossbar("pcm_ibm").drift, np.array(PCM_GR, dtype=float)
    mean = [0.1, 0.07429, 0.06009, 0.04935, 0.049, 0.049, 0.049, 0.049]
    spread = [0.045, 0.03434, 0.02288, 0.01422, 0.008, 0.008, 0.008, 0.008]
    assert conductance.curve(law.nu_mean, g) == pytest.approx(mean, abs=1e-5)
    assert conductance.curve(law.nu_std, g) == pytest.approx(spread, abs=1e-5)


def test_the_branches_of_a_curve_meet():
    # The fits of HERMES switch branches within their own rounding.
    for name in ("pcm_hermes_1dev", "pcm_hermes_2dev"):
        c = crossbar(name)
        for law in (c.drift.nu_mean, c.drift.nu_std, c.read_noise.q):
            below, above = conductance.curve(law, np.array([law.split - 1e-9, law.split]))
            assert below == pytest.approx(above, rel=0.03)


@pytest.mark.parametrize(
    ("time", "low", "high"),
    [
        (1.0, (0.99707, 0.00111), (0.99761, 0.00039)),
        (3600.0, (0.73690, 0.08797), (0.77580, 0.03228)),
        (DAY, (0.61589, 0.11907), (0.66501, 0.04459)),
        (YEAR, (0.44742, 0.15010), (0.50018, 0.05729)),
    ],
)
def test_pcm_drift(time, low, high):
    # The table is without the absolute value of nu, which matters where sigma is half of the mean.
    c, still = crossbar("pcm_ibm"), np.zeros_like(Z)
    signed = c.model_copy(update={"drift": c.drift.model_copy(update={"rectify": "none"})})
    for share, (mean, sd) in ((0.1, low), (0.4, high), (1.0, high)):
        left = conductance.drifted(signed, 25 * share, time, still, Z) / (25 * share)
        assert left.mean() == pytest.approx(mean, abs=2e-5)
        assert left.std() == pytest.approx(sd, rel=2e-3, abs=1e-5)
        falling = conductance.drifted(c, 25 * share, time, still, Z) / (25 * share)
        assert falling.max() <= 1
        assert falling.mean() == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize(("time", "growth"), [(1.0, 4.18965), (3600.0, 4.76475), (DAY, 5.08681), (YEAR, 5.63702)])
def test_pcm_reads(time, growth):
    c, g = crossbar("pcm_ibm"), 25 * np.array(PCM_GR[1:])
    q = np.array([0.07131, 0.03931, 0.02505, 0.01596, 0.01227, 0.01017, 0.00880])
    assert conductance.read_sigma(c, g, time) == pytest.approx(g * q * growth, rel=5e-4)
    assert conductance.read_sigma(c, np.zeros(1), time)[0] == 0.0


def test_the_other_reads():
    cmo, wan, g = crossbar("reram_cmo"), crossbar("reram_wan2022"), np.array([9.0, 50.0, 88.2])
    for time, sigma in {
        1.0: [0.0959, 0.1707, 0.1954],
        3600.0: [0.1222, 0.2175, 0.2491],
        DAY: [0.1310, 0.2332, 0.2670],
    }.items():
        assert conductance.read_sigma(cmo, g, time) == pytest.approx(sigma, abs=1e-4)
    assert conductance.read_sigma(wan, g[:2], DAY) == pytest.approx([0.39 / np.sqrt(2)] * 2)  # a pair: 1 % of 40 - 1 uS
    assert conductance.read_sigma(crossbar("pcm_hermes_2dev"), np.array([20.7]), 3600.0)[0] == pytest.approx(
        20.7 * (0.0123 + 0.0211 - 0.028 + 0.0069) * np.sqrt(np.log((3900 + 512e-9) / 1024e-9)), rel=1e-6
    )


@pytest.mark.parametrize(
    ("time", "shift", "sd"), [(1.0, 0.0, 0.41183), (3600.0, -0.72881, 0.75585), (DAY, -1.01166, 0.88937)]
)
def test_cmo_relaxation(time, shift, sd):
    g = conductance.drifted(crossbar("reram_cmo"), 50.0, time, np.zeros_like(Z), Z)
    assert g.mean() - 50.0 == pytest.approx(shift, abs=1e-4)
    assert g.std() == pytest.approx(sd, rel=1e-3)
    at_the_end = conductance.drifted(crossbar("reram_cmo"), 88.2, time, np.zeros_like(Z), Z)
    assert at_the_end.max() <= 88.2


def test_an_off_device_is_clamped_at_zero():
    g = conductance.drifted(crossbar("pcm_ibm"), 0.0, 0.0, Z, np.zeros_like(Z))
    assert g.mean() == pytest.approx(0.105113, abs=1e-4)
    assert g.var() == pytest.approx(0.0236620, abs=1e-4)
    assert (g == 0).mean() == 0.5


def test_a_power_law_falls_with_time():
    c = crossbar("pcm_hermes_1dev")
    g = np.stack([conductance.drifted(c, 5.0, t, Z, Z[::-1]) for t in conductance.drift_times(c)])
    assert (np.diff(g, axis=0) <= 0).all()


def test_without_noise_or_drift_a_device_stays():
    c = crossbar("pcm_ibm").model_copy(update={"programming": None, "drift": None, "read_noise": None})
    assert (conductance.drifted(c, 3.0, 1e6, Z, Z) == 3.0).all()
    assert conductance.read_sigma(c, np.ones(3), 1.0).tolist() == [0.0] * 3
    assert conductance.programming_sigma(c, np.ones(3)).tolist() == [0.0] * 3
