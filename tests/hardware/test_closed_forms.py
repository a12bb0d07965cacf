"""Moments in closed form: clamped normals, populations of neurons, dot products, stuck cells, steps of converters.

Statistical bounds are 5 standard errors at fixed seeds (2e-6 false alarms per bound), binomial tests are at 1e-4.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from chip_builder import devices, placed, profile, spread
from scipy import stats

from snnrobust.hardware.crossbar.drift import drifted
from snnrobust.hardware.crossbar.periphery import converted, reads_of
from snnrobust.hardware.crossbar.read_noise import read_sigma
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import load_profile


def crossbar(blocks: str, more: str = ""):
    return profile(
        "crossbar: {technology: any, g_min: 0.0, g_max: 25.0, mapping: {scheme: differential_one_sided}, "
        f"{blocks}}}\n{more}",
        kind="crossbar",
    )


def check(x: np.ndarray, expected: float) -> None:
    """The mean of independent values."""
    assert abs(x.mean() - expected) < 5 * x.std() / math.sqrt(x.size)


@pytest.mark.parametrize("cv", [0.05, 0.2, 0.5, 1.0])
def test_a_normal_that_ends_at_zero(cv):
    # E max(0, X) = m Phi(m / s) + s phi(m / s),  E max(0, X)^2 = (m^2 + s^2) Phi(m / s) + m s phi(m / s), here m = 1.
    entry = f"distribution: normal, granularity: per_synapse, components: {{device: {{cv: {cv}}}}}, clip: [0, null]"
    x = devices(spread("weight", entry), {"l.weight": torch.ones(250, 400, dtype=torch.float64)}, None)["l.weight"]
    below, density = stats.norm.cdf(1 / cv), stats.norm.pdf(1 / cv)
    check(x.numpy().ravel(), below + cv * density)
    check((x**2).numpy().ravel(), (1 + cv**2) * below + cv * density)


@pytest.mark.parametrize("n", [1, 4, 25])
@pytest.mark.parametrize(("die", "device"), [(0.0, 0.2), (0.1, 0.1), (0.15, 0.2)])
def test_the_mean_of_a_population(n, die, device):
    """sd = CV sqrt(rho + (1 - rho) / N), with rho the part of the variance that the die has in common."""
    chips = 4000
    components = (f"die: {{cv: {die}}}, " if die else "") + f"device: {{cv: {device}}}"
    entry = f"distribution: normal, granularity: per_neuron, components: {{{components}}}, clip: [-9, null]"
    theta = {"l.tau_mem": torch.ones(n, dtype=torch.float64)}
    means = devices(spread("tau_mem", entry), theta, range(chips))["l.tau_mem"].mean(1).numpy()
    total, rho = math.hypot(die, device), die**2 / (die**2 + device**2)
    check((means - 1) ** 2, total**2 * (rho + (1 - rho) / n))


@pytest.mark.parametrize("granularity", ["per_synapse", "per_neuron"])
def test_a_dot_product_tells_the_granularity(granularity):
    """y = sum w_i x_i f_i: Var y is c^2 sum (w_i x_i)^2, or c^2 (w x)^2 where all synapses of a neuron share f."""
    rng = np.random.default_rng(0)
    w, x, c, n = rng.normal(size=8), rng.uniform(size=8), 0.2, 40_000
    entry = f"distribution: lognormal, center: mean, granularity: {granularity}, components: {{device: {{cv: {c}}}}}"
    theta = {"l.weight": torch.from_numpy(np.tile(w, (n, 1)))}
    y = devices(spread("weight", entry), theta, None)["l.weight"].numpy() @ x
    variance = c**2 * (((w * x) ** 2).sum() if granularity == "per_synapse" else (w @ x) ** 2)
    check(y, w @ x)
    check((y - w @ x) ** 2, variance)


@pytest.mark.parametrize(("low", "high"), [(0.0175, 0.0904), (0.0904, 0.0175)])
def test_counts_of_stuck_cells(low, high):
    n = 100_000
    theta = {"l.weight": torch.full((1, n), 0.5, dtype=torch.float64)}
    theta["l.weight"][0, 0] = 1.0  # sets the scale
    bar = crossbar("levels: null", f"faults: {{stuck_lrs: {low}, stuck_hrs: {high}}}\n")
    z = draw(placed(bar, theta), seed=2, purpose="test", instances=None)
    plus = {key: value for key, value in z.items() if "g_plus" in key}
    found = realise(placed(bar, theta), theta, plus)["l.weight"][0, 1:]
    for value, probability in ((1.0, low), (0.0, high), (0.5, 1 - low - high)):
        count = int(torch.isclose(found, torch.tensor(value, dtype=torch.float64)).sum())
        assert stats.binomtest(count, n - 1, probability).pvalue > 1e-4


@pytest.mark.parametrize(("relative", "share"), [(1.0, 0.0448), (0.1, 0.200)])
def test_noise_of_a_read_after_a_day(relative, share):
    bar, g = load_profile("pcm_ibm").crossbar, torch.tensor([25.0 * relative], dtype=torch.float64)
    now = drifted(g, g, None, bar, 86400.0)
    assert float(read_sigma(now, g, bar, 86400.0) / now) == pytest.approx(share, abs=5e-4)


# --- noise of the outputs ------------------------------------------------------------------------------------


def test_constant_noise_is_that_of_weights():
    """Var y = w_noise^2 |x|^2 (aihwkit's ADDITIVE_CONSTANT), also where a device is at zero conductance."""
    noise, n = 0.05, 20_000
    bar = crossbar(f"read_noise: {{model: constant, relative_to_w_max: {noise}}}")
    w = torch.tensor([1.5, -0.7, 0.0, 0.02], dtype=torch.float64)
    x = np.array([0.3, 1.0, -0.5, 0.8])
    theta = {"l.weight": w.repeat(n, 1)}
    y = devices(bar, theta, None)["l.weight"].numpy() @ x
    check(y, float(w.numpy() @ x))
    check((y - w.numpy() @ x) ** 2, (noise * 1.5) ** 2 * (x**2).sum())


def test_noise_of_many_reads_grows_with_the_conductance_that_is_read():
    """Var y = w_noise^2 sum |w| x^2 (aihwkit's PCM_READ)."""
    w, x = torch.tensor([[1.0, -0.5, 0.25, 0.0]]), torch.tensor([1.0, 0.5, -2.0, 1.0])
    bar = crossbar("read_noise: {model: pcm_1f, q: {poly: [0.02]}, t_read: 250.0e-9, mode: aihwkit}").crossbar
    steps = 20_000
    reads = reads_of([w], bar, time=3600.0, keys=(5,))
    y = reads.read(x.expand(steps, 1, 4), w, first=0, step=0)[:, 0, 0].double().numpy()
    # A cell has the variance (0.02 |w|)^2 ln((t + t_read) / (2 t_read)); the column's sum is that of its cells.
    w_noise = 0.02 * math.sqrt(math.log(3600 / 500e-9) * float((w**2).sum() / w.abs().sum()))
    assert float(reads.weight_noise) == pytest.approx(w_noise, rel=1e-6)
    variance = w_noise**2 * float((w.abs() * x**2).sum())
    check(y, float(w @ x))
    check((y - float(w @ x)) ** 2, variance)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_step_of_a_converter(bits):
    """2 bound / (2^bits - 2), that is bound / 127 for 8 bits, and an error of variance step^2 / 12."""
    n = 100_000
    x = torch.rand(1, 1, n, generator=torch.Generator().manual_seed(bits), dtype=torch.float64) * 2 - 1
    found = converted(x, crossbar(f"dac: {{bits: {bits}, bound: 1.0}}").crossbar, largest=1.0)
    step = 2 / (2**bits - 2)
    assert torch.allclose(found / step, torch.round(found / step), atol=1e-9)
    assert len(found.unique()) == 2**bits - 1
    error = (found - x).numpy().ravel()
    assert abs((error**2).mean() - step**2 / 12) < 5 * step**2 / math.sqrt(180 * n)
    if bits == 8:
        assert step == pytest.approx(2 / 254)
