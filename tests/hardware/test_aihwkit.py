"""Crossbars against aihwkit itself: the same normal numbers give the same conductances, others the same distribution.

Distributions are compared by two-sample Kolmogorov-Smirnov tests at 1e-3, with seeds that do not change between runs;
clamped values are ties, which makes the tests careful. There are 60 of them, so that a correct change of the draws
fails one with probability 6 %.
"""

from __future__ import annotations

import functools
import math

import pytest
import torch
from aihwkit_source import folder, given_normals, load, seeded
from chip_builder import placed, profile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from snnrobust.hardware.crossbar.compensation import compensation
from snnrobust.hardware.crossbar.drift import drifted
from snnrobust.hardware.crossbar.mapping import conductances, relative, relative_weight, scale_of
from snnrobust.hardware.crossbar.programming import programmed, programming_sigma
from snnrobust.hardware.crossbar.read_noise import read_sigma
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import load_profile
from snnrobust.hardware.schema.digital import Faults

PACKAGE = folder()
if PACKAGE is None:
    pytest.skip("aihwkit is neither installed nor in AIHWKIT_SOURCE (make oracles)", allow_module_level=True)
aihwkit = load(PACKAGE)
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # aihwkit's log10 of a tensor

HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
STATE_INDEPENDENT = """
crossbar:
  technology: any
  g_min: 0.0
  g_max: 25.0
  mapping: {scheme: differential_one_sided}
  programming: {model: polynomial, variable: g_uS, coefficients: [0.2]}
  drift: {model: power_law, t0: 20.0, nu_mean: {poly: [0.1]}, nu_std: {poly: [0.05]}, rectify: abs}
  read_noise: {model: pcm_1f, q: {poly: [0.04]}, t_read: 250.0e-9}  # that of |g| / g_max, g_max 25, in microsiemens
"""
POWER_LAWS = ("pcm_ibm", "pcm_hermes_2dev", "pcm_hermes_1dev", "state_independent")
NAMES = (*POWER_LAWS, "reram_wan2022", "reram_cmo")


def times(name: str) -> st.SearchStrategy[float]:
    return st.sampled_from([1.0, DAY, 2 * DAY]) if name == "reram_wan2022" else st.floats(1, YEAR)


def devices(name: str) -> tuple[str, ...]:
    return ("g",) if name == "reram_cmo" else ("g_plus", "g_minus")


@functools.cache
def shipped(name: str):
    return profile(STATE_INDEPENDENT, kind="crossbar") if name == "state_independent" else load_profile(name)


def ours(name: str, time: float = HOUR):
    """A chip as shipped, but for what aihwkit's noise models do not have.

    These are one array, written without faults and not compensated. All read noise is slower than a trial, so that it
    is one draw a device. Wan's smallest conductance is 0, and its read noise is apart, in the forward pass.
    """
    chip, environment = shipped(name), shipped("pcm_ibm").environment
    bar = chip.crossbar
    change = {"mapping": bar.mapping.model_copy(update={"scale": "per_tile"}), "tile": None, "compensation": "none"}
    if name == "reram_wan2022":
        change |= {"g_min": 0.0, "read_noise": None}
    else:
        change["read_noise"] = bar.read_noise.model_copy(update={"trial_time": 1e-9, "step_time": 1e-9})
    return chip.model_copy(
        update={
            "crossbar": bar.model_copy(update=change),
            "environment": environment.model_copy(update={"time_since_programming": time}),
            "faults": Faults(),
        }
    )


def theirs(name: str):
    """The noise model, and the module that draws its numbers."""
    return {
        "pcm_ibm": lambda: (aihwkit.pcm.PCMLikeNoiseModel(g_max=25.0), aihwkit.pcm),
        "pcm_hermes_2dev": lambda: (aihwkit.hermes.HermesNoiseModel(num_devices=2), aihwkit.hermes),
        "pcm_hermes_1dev": lambda: (aihwkit.hermes.HermesNoiseModel(num_devices=1), aihwkit.hermes),
        "state_independent": lambda: (aihwkit.custom.StateIndependentNoiseModel(g_max=25.0), aihwkit.custom),
        "reram_wan2022": lambda: (aihwkit.reram.ReRamWan2022NoiseModel(g_max=40.0), aihwkit.reram),
        "reram_cmo": lambda: (aihwkit.reram.ReRamCMONoiseModel(acceptance_range=2, g_max=88.2), aihwkit.reram),
    }[name]()


def numbers(seed: int, count: int, shape: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(count, *shape, generator=generator, dtype=torch.float64))


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-11, atol=1e-12)


def same_distribution(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(stats.ks_2samp(a.flatten().numpy(), b.flatten().numpy()).pvalue > 1e-3)


# --- the same numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POWER_LAWS)
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), time=st.floats(0, YEAR))
def test_each_step_of_phase_change_memory(name, seed, time):
    (model, module), bar = theirs(name), ours(name).crossbar
    programming, exponent, read = numbers(seed, 3, (50,))
    target = bar.g_max * torch.rand(50, generator=torch.Generator().manual_seed(seed)).double()
    target[::10] = 0
    with given_normals(module, programming, exponent, torch.zeros(50), read):
        g = model.apply_programming_noise_to_conductance(target)
        nu = model.generate_drift_coefficients(target)
        still = model.apply_drift_noise_to_conductance(g, nu, time)
        noisy = model.apply_drift_noise_to_conductance(g, nu, time)
    found = programmed(target, programming_sigma(target, bar, time), programming, bar)
    assert same(found, g)
    moved = drifted(found, target, exponent, bar, time)
    assert same(moved, still)
    assert same((moved + read_sigma(moved, found, bar, time) * read).clamp_min(0), noisy)
    one = torch.ones_like(target)
    assert same(-drifted(one, target, exponent, bar, HOUR).log() / math.log1p(HOUR / model.t_0), nu)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_weights_of_an_array(name, seed, data):
    """aihwkit's apply_noise: conversion, programming, drift, read, and back."""
    time = data.draw(times(name))
    (model, module), chip = theirs(name), ours(name, time)
    (w,) = numbers(seed, 1, (4, 6))
    parts = ("programming", "read") if name == "reram_wan2022" else ("", ".drift", ".read")
    drawn = {f"l.weight/{device}{part}": None for device in devices(name) for part in parts}
    drawn = dict(zip(drawn, numbers(seed + 1, len(drawn), w.shape), strict=True))
    # One array of single devices is a tensor there, of which each row counts as a device.
    order = drawn.values() if len(devices(name)) == 2 else (z[row] for row in range(4) for z in drawn.values())
    with given_normals(module, *order):
        expected = model.apply_noise(w, time)
    if name == "reram_wan2022":  # drawn anew around the target at each time; the first draw is not used
        drawn = {key.removesuffix("read"): z for key, z in drawn.items() if key.endswith("read")}
    found = realise(placed(chip, {"l.weight": w}), {"l.weight": w}, drawn)["l.weight"]
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-11)


@given(seed=st.integers(0, 2**31), g_max=st.floats(1, 100))
def test_programming_at_another_largest_conductance(seed, g_max):
    """The fit is in microsiemens at 25; aihwkit scales it, and so does g_max_ref."""
    bar = ours("pcm_ibm").crossbar.model_copy(update={"g_max": g_max})
    target, z = numbers(seed, 2, (20,))
    target = target.abs().clamp_max(1) * g_max
    with given_normals(aihwkit.pcm, z):
        expected = aihwkit.pcm.PCMLikeNoiseModel(g_max=g_max).apply_programming_noise_to_conductance(target)
    assert same(programmed(target, programming_sigma(target, bar, 0.0), z, bar), expected)


# --- other numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=10, derandomize=True)
@given(seed=st.integers(0, 2**31), level=st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(-1, 1), data=st.data())
def test_distribution_of_weights(name, seed, level, data):
    time, n = data.draw(times(name)), 10_000
    w = torch.full((100, n // 100), level, dtype=torch.float64)
    w[0, 0], w[0, 1] = 1.0, -1.0  # set the scale
    model, chip = theirs(name)[0], ours(name, time)
    with seeded(seed):
        expected = model.apply_noise(w, time)
    placement = placed(chip, {"l.weight": w})
    z = draw(placement, seed=seed, purpose="test", instances=None)
    found = realise(placement, {"l.weight": w}, z)["l.weight"]
    assert same_distribution(found[1:], expected[1:])


# --- conversion ----------------------------------------------------------------------------------------------

CONVERTERS = {
    "differential_one_sided": lambda low, high, f: aihwkit.conductance.SinglePairConductanceConverter(high, low),
    "n_pair": lambda low, high, f: aihwkit.conductance.NPairConductanceConverter(f, high, low),
    "single_device": lambda low, high, f: aihwkit.conductance.SingleDeviceConductanceConverter(high, low),
}


@pytest.mark.parametrize("scheme", CONVERTERS)
@given(
    seed=st.integers(0, 2**31),
    low=st.floats(0, 20),
    reach=st.floats(1, 100),
    f=st.lists(st.floats(0.1, 10), min_size=1, max_size=4),
)
def test_conversion(scheme, seed, low, reach, f):
    f = [round(x, 3) for x in f]
    mapping = scheme if scheme != "n_pair" else f"n_pair, f: {f}"
    bar = profile(
        f"crossbar: {{technology: any, g_min: {low}, g_max: {low + reach}, mapping: {{scheme: {mapping}}}}}",
        kind="crossbar",
    ).crossbar
    (w,) = numbers(seed, 1, (5, 7))
    w[1, :3] = 0
    scale = scale_of(w, bar)
    found = conductances(relative(w, scale), bar)
    converter = CONVERTERS[scheme](bar.g_min, bar.g_max, f)
    expected, params = converter.convert_to_conductances(w)
    expected = [expected] if scheme == "single_device" else expected
    assert len(found) == len(expected)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(found, expected, strict=True))
    # Back from conductances that are not exact, too.
    moved = [g + z for g, z in zip(found, numbers(seed + 1, len(found), w.shape), strict=True)]
    for g in (found, moved):
        back = converter.convert_back_to_weights(g[0] if scheme == "single_device" else g, params)
        assert torch.allclose(scale.low + scale.span * relative_weight(g, bar), back, rtol=1e-9, atol=1e-9)


# --- drift compensation --------------------------------------------------------------------------------------


class Tile:
    """What aihwkit's compensation reads: an array of weights that answers to its one-hot vectors."""

    def __init__(self, method, w: torch.Tensor) -> None:
        self.method, self.w = method, w

    def _forward_drift_readout_tensor(self, reset: bool, exact_reference: bool) -> torch.Tensor:
        return self.method.get_readout_tensor(self.w.shape[1]).to(self.w.dtype) @ self.w.T


@pytest.mark.parametrize("kind", ["global", "per_column"])
@given(seed=st.integers(0, 2**31), time=st.floats(1, YEAR))
def test_compensation(kind, seed, time):
    name = {"global": "GlobalDriftCompensation", "per_column": "PerColumnDriftCompensation"}[kind]
    method = getattr(aihwkit.drift, name)()
    bar = ours("pcm_ibm").crossbar.model_copy(update={"compensation": kind})
    (w,) = numbers(seed, 1, (6, 9))
    now = aihwkit_after(w, time, seed)
    reference = method.init_baseline(Tile(method, w))
    expected = method.apply(Tile(method, now)._forward_drift_readout_tensor(True, exact_reference=False), reference)
    assert torch.allclose(compensation(w, now, bar).flatten(), expected.flatten(), rtol=1e-5, atol=0)


def aihwkit_after(w: torch.Tensor, time: float, seed: int) -> torch.Tensor:
    with seeded(seed):
        return theirs("pcm_ibm")[0].apply_noise(w, time)
