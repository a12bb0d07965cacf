"""Spread of parameters against closed forms.

Statistical bounds are 5 standard errors at a fixed seed (a false alarm in 2e6 per bound), Kolmogorov-Smirnov and
binomial tests are at 1e-4; about 150 of them, so a wrong alarm of the whole file has probability below 1 %.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from chip_builder import devices, placed, profile, spread
from scipy import stats

from snnrobust.hardware.layout import pack
from snnrobust.hardware.mismatch import draw, realise
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.stages.fields import plane
from snnrobust.snn.specs import spec_of

N = 100_000
CVS = (0.05, 0.10, 0.20, 0.30, 0.50)
# hardware physics: s = sqrt(ln(1 + CV^2)), median of the mean-1 lognormal, skew, P(normal < 0)
TABLE = {
    0.05: (0.0499688, 0.998752, 0.150125, 3e-89),
    0.10: (0.0997513, 0.995037, 0.301, 7.6e-24),
    0.20: (0.1980422, 0.980581, 0.608, 2.9e-7),
    0.30: (0.2935604, 0.957826, 0.927, 4.29e-4),
    0.50: (0.4723807, 0.894427, 1.625, 2.28e-2),
}
# factor >= 0: mean and sd
TRUNCATED = {0.2: (1.0000003, 0.1999993), 0.3: (1.000463, 0.299227), 0.5: (1.027624, 0.470758)}


def factors(distribution: str, cv: float, more: str = "") -> np.ndarray:
    """N factors of one chip."""
    entry = f"distribution: {distribution}, granularity: per_synapse, components: {{device: {{cv: {cv}}}}}{more}"
    chip = Profile.relative(cv) if distribution == "normal" and not more else spread("weight", entry)
    theta = {"l.weight": torch.full((400, 250), 2.0, dtype=torch.float64)}
    return (devices(chip, theta, None)["l.weight"] / 2).flatten().numpy()


def check_moments(x: np.ndarray, mean: float, sd: float, skew: float) -> None:
    """Central moments about the known mean, which are unbiased; standard errors from the sample."""
    for power, expected in ((1, 0.0), (2, sd**2), (3, skew * sd**3)):
        value = (x - mean) ** power
        assert abs(value.mean() - expected) < 5 * value.std() / math.sqrt(x.size), f"moment {power}"


@pytest.mark.parametrize("cv", CVS)
class TestTable:
    def test_lognormal_median(self, cv):
        x, (s, _, skew, _) = factors("lognormal", cv), TABLE[cv]
        check_moments(x, math.sqrt(1 + cv**2), cv * math.sqrt(1 + cv**2), skew)
        assert stats.kstest(x, stats.lognorm(s).cdf).pvalue > 1e-4
        assert x.min() > 0
        assert stats.binomtest(int((x < 1).sum()), N).pvalue > 1e-4  # the median is nominal

    def test_lognormal_mean(self, cv):
        x, (s, median, skew, _) = factors("lognormal", cv, ", center: mean"), TABLE[cv]
        check_moments(x, 1.0, cv, skew)
        assert stats.kstest(x, stats.lognorm(s, scale=median).cdf).pvalue > 1e-4

    def test_normal(self, cv):
        x, below = factors("normal", cv), TABLE[cv][3]
        check_moments(x, 1.0, cv, 0.0)
        assert stats.kstest(x, stats.norm(1, cv).cdf).pvalue > 1e-4
        assert stats.binomtest(int((x < 0).sum()), N, below).pvalue > 1e-4

    def test_uniform(self, cv):
        x, half = factors("uniform", cv), math.sqrt(3) * cv
        check_moments(x, 1.0, cv, 0.0)
        assert stats.kstest(x, stats.uniform(1 - half, 2 * half).cdf).pvalue > 1e-4
        assert np.abs(x - 1).max() <= half


@pytest.mark.parametrize("cv", TRUNCATED)
def test_truncated_normal_at_zero(cv):
    x, (mean, sd) = factors("truncated_normal", cv, ", clip: [0, null]"), TRUNCATED[cv]
    law = stats.truncnorm(-1 / cv, math.inf, 1, cv)
    assert (mean, sd) == pytest.approx((law.mean(), law.std()), rel=1e-5)
    check_moments(x, law.mean(), law.std(), float(law.stats("s")))
    assert stats.kstest(x, law.cdf).pvalue > 1e-4
    assert x.min() >= 0


def test_truncated_normal_at_both_ends_is_not_a_clipped_normal():
    x = factors("truncated_normal", 0.3, ", clip: [0.8, 1.5]")
    law = stats.truncnorm(-0.2 / 0.3, 0.5 / 0.3, 1, 0.3)
    check_moments(x, law.mean(), law.std(), float(law.stats("s")))
    assert stats.kstest(x, law.cdf).pvalue > 1e-4
    assert ((x > 0.8) & (x < 1.5)).mean() > 0.99999  # no mass at the ends


def test_distribution_none_is_the_tensor_itself():
    theta = {"l.tau_mem": torch.ones(3)}
    chip = spread("tau_mem", "distribution: none, granularity: per_neuron")
    assert not placed(chip, theta).stages
    assert devices(chip, theta, range(2))["l.tau_mem"] is theta["l.tau_mem"]


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_absolute_spread_of_potentials_is_in_units_of_the_firing_range(distribution):
    entry = (
        f"distribution: {distribution}, mode: absolute, unit: v_th_range, granularity: per_neuron, "
        "components: {device: {sd: 0.1}}"
    )
    n = 100_000
    theta = {"l.v_leak": torch.full((n,), 0.2), "l.v_th": torch.full((n,), 1.5), "l.v_reset": torch.full((n,), -0.5)}
    x = devices(spread("v_leak", entry), theta, None)["l.v_leak"].double().numpy()
    check_moments(x, 0.2, 0.1 * 2.0, 0.0)  # v_th - v_reset = 2
    law = stats.norm(0.2, 0.2) if distribution == "normal" else stats.uniform(0.2 - 0.2 * 3**0.5, 0.4 * 3**0.5)
    assert stats.kstest(x, law.cdf).pvalue > 1e-4


def test_absolute_spread_without_a_threshold_or_reset_takes_one_and_zero():
    entry = (
        "distribution: normal, mode: absolute, unit: v_th_range, granularity: per_neuron, "
        "components: {device: {sd: 0.1}}"
    )
    theta, z = {"l.bias": torch.tensor([1.0, 2.0])}, {"l.bias/device": torch.tensor([1.0, -2.0])}
    moved = realise(placed(spread("bias", entry), theta), theta, z)["l.bias"]
    assert moved.tolist() == pytest.approx([1.1, 1.8])


def test_absolute_spread_of_a_time_constant_is_in_seconds():
    entry = "distribution: normal, mode: absolute, unit: s, granularity: per_neuron, components: {device: {sd: 0.002}}"
    theta, z = {"l.tau_mem": torch.tensor([0.02, 0.03])}, {"l.tau_mem/device": torch.tensor([1.5, -1.0])}
    moved = realise(placed(spread("tau_mem", entry), theta), theta, z)["l.tau_mem"]
    assert moved.tolist() == pytest.approx([0.023, 0.028])


def test_an_absolute_truncation_bounds_the_value():
    entry = (
        "distribution: truncated_normal, mode: absolute, unit: s, granularity: per_neuron, "
        "components: {device: {sd: 0.01}}, clip: [0.015, 0.04]"
    )
    theta = {"l.tau_mem": torch.full((100_000,), 0.02, dtype=torch.float64)}
    x = devices(spread("tau_mem", entry), theta, None)["l.tau_mem"].numpy()
    assert stats.kstest(x, stats.truncnorm(-0.5, 2.0, 0.02, 0.01).cdf).pvalue > 1e-4


def test_threshold_spreads_relative_to_its_distance_from_the_leak():
    entry = "distribution: normal, granularity: per_neuron, components: {device: {cv: 0.1}}"
    theta = {"l.v_th": torch.tensor([1.0, 1.0]), "l.v_leak": torch.tensor([0.0, 0.6])}
    z = {"l.v_th/device": torch.tensor([2.0, 2.0])}
    moved = realise(placed(spread("v_th", entry), theta), theta, z)["l.v_th"]
    assert moved.tolist() == pytest.approx([1.2, 1.08])


# --- components ----------------------------------------------------------------------------------------

TWO = "distribution: lognormal, granularity: per_neuron, components: {die: {cv: 0.10}, device: {cv: 0.20}}"
S_DIE, S_DEVICE = math.sqrt(math.log(1.01)), math.sqrt(math.log(1.04))
RHO = S_DIE**2 / (S_DIE**2 + S_DEVICE**2)


def test_lognormal_components_multiply():
    theta = {"l.tau_mem": torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)}
    z = {
        "tau_mem/die": torch.tensor(0.7, dtype=torch.float64),
        "l.tau_mem/device": torch.tensor([1.0, -1.0, 0.3], dtype=torch.float64),
    }
    moved = realise(placed(spread("tau_mem", TWO), theta), theta, z)["l.tau_mem"]
    expected = [v * math.exp(S_DIE * 0.7 + S_DEVICE * d) for v, d in ((1, 1.0), (2, -1.0), (3, 0.3))]
    assert moved.tolist() == pytest.approx(expected, rel=1e-12)


def test_die_and_device_variance():
    chips, n = 3000, 20
    theta = {"l.tau_mem": torch.ones(n)}
    x = devices(spread("tau_mem", TWO), theta, range(chips))["l.tau_mem"].double().numpy()
    total = 0.224499
    assert math.sqrt(1.01 * 1.04 - 1) == pytest.approx(total, abs=1e-6)
    assert pytest.approx(0.20236, abs=1e-5) == RHO
    mean = math.sqrt(1.01 * 1.04)
    squares = ((x - mean) ** 2).mean(1)  # one independent value a chip
    assert abs(squares.mean() - (total * mean) ** 2) < 5 * squares.std() / math.sqrt(chips)

    logs = np.log(x)
    within, between = logs.var(1, ddof=1).mean(), logs.mean(1).var(ddof=1)
    die = between - within / n
    correlation = die / (die + within)
    error = math.sqrt(2 * (1 - RHO) ** 2 * (1 + (n - 1) * RHO) ** 2 / (n * (n - 1) * (chips - 1)))
    assert abs(correlation - RHO) < 5 * error
    # Averaging over the population stops at the part that the die shares: CV sqrt(rho + (1 - rho) / N).
    floor = (S_DIE**2 + S_DEVICE**2) * (RHO + (1 - RHO) / n)
    assert abs(between / floor - 1) < 5 * math.sqrt(2 / (chips - 1))


def test_die_and_plane_are_shared_by_a_role_and_devices_are_not():
    entry = (
        "distribution: normal, granularity: per_synapse, "
        "components: {die: {cv: 0.1}, spatial: {cv: 0.1, kernel: plane}, device: {cv: 0.1}}"
    )
    theta = {"a.weight": torch.ones(9, 4), "b.weight": torch.ones(9, 4), "b.recurrent_weight": torch.ones(9, 9)}
    placement = placed(spread("weight", entry), theta)
    shared = {"weight/die", "weight/spatial"}
    assert set(placement.coordinates) == shared | {f"{name}/device" for name in theta}
    z = draw(placement, seed=1, purpose="test", instances=range(3))
    assert z["weight/spatial"].shape == (3, 2)
    common = realise(placement, theta, {key: z[key] for key in shared})
    assert torch.equal(common["b.weight"], common["b.recurrent_weight"][:, :, :4])  # inherits the weights' entry
    step = common["b.weight"] - common["a.weight"]  # from one core to the next on the same plane: all neurons alike
    assert torch.allclose(step, step[:, :1, :1].expand_as(step), atol=1e-6)
    assert float(step.abs().min()) > 1e-3
    assert not torch.equal(z["a.weight/device"], z["b.weight/device"])
    assert not torch.equal(z["b.weight/device"], z["b.recurrent_weight/device"][:, :, :4])


def test_own_device_draws_of_recurrent_weights_are_uncorrelated_with_the_weights():
    theta = {"l.weight": torch.ones(200, 200), "l.recurrent_weight": torch.ones(200, 200)}
    z = draw(placed(Profile.relative(0.2), theta), seed=1, purpose="test", instances=None)
    a, b = (value.flatten().numpy() for value in z.values())
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(a.size)


@pytest.mark.parametrize("neurons", [4, 16, 100, 250])
def test_plane_has_unit_variance_on_average_and_is_a_plane(neurons):
    layout = pack({"l.tau_mem": spec_of("tau_mem", (neurons,))})
    x, y = plane(layout.x, layout.y).T
    assert float((x**2 + y**2).mean()) == pytest.approx(1)
    assert float(x.mean()) == pytest.approx(0, abs=1e-12)
    entry = "distribution: normal, granularity: per_neuron, components: {spatial: {cv: 0.1, kernel: plane}}"
    theta = {"l.tau_mem": torch.ones(neurons, dtype=torch.float64)}
    field = (devices(spread("tau_mem", entry), theta, range(2000))["l.tau_mem"] - 1) / 0.1
    energy = (field**2).mean(1)
    assert abs(float(energy.mean()) - 1) < 5 * float(energy.std()) / math.sqrt(2000)
    side = math.ceil(math.sqrt(neurons))
    row = field[:, :side]
    if side > 2:
        assert torch.allclose(row.diff(dim=1), row.diff(dim=1)[:, :1].expand(-1, side - 1), atol=1e-5)


def test_a_single_neuron_lies_in_the_middle_of_the_plane():
    entry = "distribution: normal, granularity: per_neuron, components: {spatial: {cv: 0.1, kernel: plane}}"
    for shape in ((1,), ()):
        theta = {"l.tau_mem": torch.ones(shape)}
        assert torch.equal(devices(spread("tau_mem", entry), theta, range(2))["l.tau_mem"], torch.ones(2, *shape))


def test_temporal_part_is_drawn_again_in_every_trial_and_nothing_else_is():
    entry = (
        "distribution: normal, granularity: per_neuron, "
        "components: {device: {cv: 0.1}, temporal: {cv: 0.02, redraw: trial}}"
    )
    n = 50_000
    theta = {"l.tau_mem": torch.ones(n, dtype=torch.float64)}
    chip = spread("tau_mem", entry)
    first, again, second = (devices(chip, theta, [3], trial=t)["l.tau_mem"][0].numpy() for t in (0, 0, 1))
    assert np.array_equal(first, again)
    # The static part cancels, the two temporal ones do not: variance 2 x 0.02^2.
    check_moments(first - second, 0.0, 0.02 * math.sqrt(2), 0.0)
    check_moments(first, 1.0, math.hypot(0.1, 0.02), 0.0)
    zs = [draw(placed(chip, theta), seed=1, purpose="test", instances=[3], trial=t) for t in (0, 1)]
    assert torch.equal(zs[0]["l.tau_mem/device"], zs[1]["l.tau_mem/device"])


def test_an_absent_coordinate_counts_as_zero():
    body = "components: {device: {cv: 0.2}, temporal: {cv: 0.3, redraw: trial}}"
    for entry in ("distribution: lognormal, center: mean", "distribution: uniform"):
        theta = {"l.tau_mem": torch.ones(3, dtype=torch.float64)}
        placement = placed(spread("tau_mem", f"{entry}, granularity: per_neuron, {body}"), theta)
        z = draw(placement, seed=1, purpose="test", instances=None)
        del z["l.tau_mem/temporal"]
        zero = {"l.tau_mem/temporal": torch.zeros(3)}
        absent, present = realise(placement, theta, z), realise(placement, theta, z | zero)
        assert torch.equal(absent["l.tau_mem"], present["l.tau_mem"])


# --- granularity ---------------------------------------------------------------------------------------


def of_synapses(terms: torch.Tensor) -> torch.Tensor:
    return (terms**2).sum(1).diag()


def of_neurons(terms: torch.Tensor) -> torch.Tensor:
    return (terms.sum(1) ** 2).diag()


def of_types(terms: torch.Tensor) -> torch.Tensor:
    return (terms.clamp_min(0).sum(1) ** 2 + terms.clamp_max(0).sum(1) ** 2).diag()


def of_die(terms: torch.Tensor) -> torch.Tensor:
    return terms.sum(1).outer(terms.sum(1))


@pytest.mark.parametrize(
    ("granularity", "variance"),
    [
        ("per_synapse", of_synapses),
        ("per_neuron", of_neurons),
        ("per_column", of_neurons),
        ("per_neuron_type", of_types),
        ("per_die", of_die),
    ],
)
def test_granularity_by_the_covariance_of_a_dot_product(granularity, variance):
    # y = sum_i w_i x_i f_i is linear in z for a normal factor, so J J^T is its covariance over neurons, exactly.
    generator = torch.Generator().manual_seed(0)
    w, x = torch.randn(3, 5, generator=generator).double(), torch.rand(5, generator=generator).double()
    entry = f"distribution: normal, granularity: {granularity}, components: {{device: {{cv: 0.2}}}}"
    theta = {"l.weight": w}
    placement = placed(spread("weight", entry), theta)
    (key,) = placement.coordinates
    z = torch.zeros(placement.coordinates[key].shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: realise(placement, theta, {key: v})["l.weight"] @ x, z)
    jacobian = jacobian.reshape(3, -1)
    assert torch.allclose(jacobian @ jacobian.T, 0.2**2 * variance(w * x), atol=1e-14)
    sampled = devices(spread("weight", entry), theta, range(4000))["l.weight"] @ x
    assert torch.allclose(sampled.var(0), 0.04 * variance(w * x).diag(), rtol=5 * math.sqrt(2 / 3999))


def test_one_draw_of_a_die_serves_tensors_of_different_numbers_of_axes():
    theta = {"conv.weight": torch.ones(4, 2, 3, 3), "out.weight": torch.ones(3, 8)}
    for part in (
        "granularity: per_die, components: {device: {cv: 0.1}}",
        "granularity: per_neuron, components: {die: {cv: 0.1}}",
    ):
        found = devices(spread("weight", f"distribution: normal, {part}"), theta, range(5))
        assert found["conv.weight"].shape == (5, 4, 2, 3, 3)
        assert found["out.weight"].shape == (5, 3, 8)
        assert torch.equal(found["conv.weight"][:, 0, 0, 0, 0], found["out.weight"][:, 0, 0])
        assert all((p.flatten(1) == p.flatten(1)[:, :1]).all() for p in found.values())


# --- level dependence, outliers, clip ------------------------------------------------------------------


def level_spread(distribution: str, law: str, theta: torch.Tensor) -> torch.Tensor:
    """The deviation at z = 1 in the coordinate of the distribution."""
    entry = f"distribution: {distribution}, granularity: per_synapse, components: {{device: {{cv: 0.1}}}}, "
    chip = spread("weight", entry + f"clip: [0, null], level_dependence: {{{law}}}")
    z = {"l.weight/device": torch.ones_like(theta)}
    return realise(placed(chip, {"l.weight": theta}), {"l.weight": theta}, z)["l.weight"] / theta


def test_spread_follows_the_level():
    theta = torch.tensor([[0.5, -1.0, 2.0, -8.0, 32.0]], dtype=torch.float64)  # median |theta| = 2
    law = "exponent: -0.5, cv_min: 0.06, cv_max: 0.15"
    expected = [0.15, 0.1 * 2**0.5, 0.1, 0.06, 0.06]  # 0.2 and 0.05, 0.025 are clipped
    assert (level_spread("normal", law, theta) - 1)[0].tolist() == pytest.approx(expected, rel=1e-12)
    logs = level_spread("lognormal", law, theta).log()[0]
    assert logs.tolist() == pytest.approx([math.sqrt(math.log1p(cv**2)) for cv in expected], rel=1e-12)


def test_spread_follows_the_level_of_a_multiple_of_the_median_and_of_a_value():
    theta = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    median = level_spread("normal", "exponent: 1.0, reference: 2.0", theta)
    value = level_spread("normal", "exponent: 1.0, reference: 0.3, reference_of: value", theta)
    assert (median - 1)[0].tolist() == pytest.approx([0.025, 0.05, 0.1], rel=1e-12)
    assert (value - 1)[0].tolist() == pytest.approx([0.1 / 0.3, 0.2 / 0.3, 0.4 / 0.3], rel=1e-12)


def test_weights_that_do_not_exist_have_no_say_in_the_median():
    sparse = torch.zeros(1, 20, dtype=torch.float64)
    sparse[0, :3] = torch.tensor([1.0, 2.0, 4.0])
    found = level_spread("normal", "exponent: -0.5", sparse)[0, :3]
    assert (found - 1).tolist() == pytest.approx([0.1 * 2**0.5, 0.1, 0.1 / 2**0.5], rel=1e-12)


def test_total_of_components_follows_the_level_in_proportion():
    entry = (
        "distribution: normal, granularity: per_neuron, components: {die: {cv: 0.06}, device: {cv: 0.08}}, "
        "level_dependence: {exponent: 1.0, reference: 1.0, reference_of: value}, clip: [0, null]"
    )
    theta = {"l.tau_mem": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    placement = placed(spread("tau_mem", entry), theta)
    one = torch.ones((), dtype=torch.float64)
    die = realise(placement, theta, {"tau_mem/die": one})["l.tau_mem"] / theta["l.tau_mem"] - 1
    device = realise(placement, theta, {"l.tau_mem/device": one.expand(2)})["l.tau_mem"] / theta["l.tau_mem"] - 1
    assert die.tolist() == pytest.approx([0.06, 0.12])
    assert device.tolist() == pytest.approx([0.08, 0.16])


def test_outliers():
    entry = (
        "distribution: normal, granularity: per_neuron, components: {device: {cv: 0.05}}, "
        "outliers: {fraction: 0.02, factor: 3.0, cv: 0.1}"
    )
    theta = {"l.tau_mem": torch.ones(N, dtype=torch.float64)}
    x = devices(spread("tau_mem", entry), theta, None)["l.tau_mem"].numpy()
    assert stats.binomtest(int((x > 1.6).sum()), N, 0.02).pvalue > 1e-4  # 12 sd from 1, and below any outlier
    size = 3.0 * math.sqrt(1 + 0.1**2)
    assert abs(x.mean() - (1 + 0.02 * (size - 1))) < 5 * x.std() / math.sqrt(N)
    far = x[x > 1.6]
    assert np.log(far).std() == pytest.approx(math.hypot(math.sqrt(math.log1p(0.01)), 0.05), rel=0.05)
    kinds = {c.component: c.kind for c in placed(spread("tau_mem", entry), theta).coordinates.values()}
    assert kinds == {"device": "continuous", "outlier": "fixed", "outlier_size": "fixed"}


def test_outliers_alone():
    entry = "distribution: lognormal, granularity: per_neuron, outliers: {fraction: 0.25, factor: 3.0}"
    x = devices(spread("tau_mem", entry), {"l.tau_mem": torch.ones(N)}, None)["l.tau_mem"].numpy()
    assert set(np.unique(x).tolist()) == {1.0, 3.0}
    assert stats.binomtest(int((x == 3).sum()), N, 0.25).pvalue > 1e-4


def test_clip_bounds_the_factor():
    x = factors("normal", 0.2, ", clip: [0.9, 1.3]")
    assert x.min() == pytest.approx(0.9)
    assert x.max() == pytest.approx(1.3)
    assert stats.binomtest(int((x < 0.9 + 1e-12).sum()), N, stats.norm.cdf(-0.5)).pvalue > 1e-4


def test_clip_of_an_absolute_spread_bounds_the_value():
    entry = (
        "distribution: normal, mode: absolute, unit: s, granularity: per_neuron, components: {device: {sd: 0.01}}, "
        "clip: [0.015, 0.04]"
    )
    x = devices(spread("tau_mem", entry), {"l.tau_mem": torch.full((1000,), 0.02)}, None)["l.tau_mem"]
    assert float(x.min()) == pytest.approx(0.015)
    assert float(x.max()) == pytest.approx(0.04)


def test_effects_that_are_not_simulated_are_left_out_and_listed():
    chip = profile(
        """
        parameters:
          tau_mem:
            distribution: normal
            granularity: per_neuron
            components:
              device: {cv: 0.1}
              temporal: {cv: 0.1, redraw: step}
        """
    )
    assert set(placed(chip, {"l.tau_mem": torch.ones(3)}).coordinates) == {"l.tau_mem/device"}
    assert [line.rpartition(".")[2] for line in chip.not_simulated()] == ["temporal"]


@pytest.mark.parametrize(
    ("entry", "lowest"),
    [
        ("normal, granularity: per_synapse, components: {device: {cv: 0.25}}", 0.0),
        ("uniform, granularity: per_synapse, components: {device: {cv: 0.57}}", 1 - 0.57 * 3**0.5),
    ],
)
def test_a_factor_never_flips_a_sign(entry, lowest):
    """1 + 0.25 z is below 0 for 3 in 100,000, which would be some thirty of these million; they are 0."""
    theta = {"l.weight": torch.full((1000, 1000), -1.0)}
    x = -devices(spread("weight", f"distribution: {entry}"), theta, None)["l.weight"]
    assert float(x.min()) >= lowest - 1e-6
    assert 5 < int((x == 0).sum()) < 80 if lowest == 0 else not bool((x == 0).any())


def test_a_spread_that_vanishes_is_none():
    theta = {"l.weight": torch.ones(5, 5)}
    entry = "distribution: normal, granularity: per_synapse, components: {device: {cv: 1.0e-320}, die: {cv: 1.0e-320}}"
    assert torch.equal(devices(spread("weight", entry), theta, [0])["l.weight"][0], theta["l.weight"])


def test_what_no_draw_resolves_is_never_drawn():
    entry = "distribution: normal, granularity: per_neuron, outliers: {fraction: 1.0e-300, factor: 3.0}"
    theta = {"l.tau_mem": torch.full((1000,), 0.02)}
    assert torch.equal(devices(spread("tau_mem", entry), theta, [0])["l.tau_mem"][0], theta["l.tau_mem"])
