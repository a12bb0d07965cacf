"""What calibrations leave: closed forms, one chip in all modes, and what follows a calibration."""

import math

import numpy as np
import pytest
import torch
from chip_builder import EVERYTHING, ON_CORES, devices, placed, profile
from scipy.stats import kstest, norm

import snnrobust as sr
from snnrobust.errors import ConfigError, ProfileError
from snnrobust.hardware.calibration import modes_of, modes_with_numbers
from snnrobust.hardware.mismatch import draw, project, realise
from snnrobust.hardware.stages import BiasGenerator, Context
from snnrobust.hardware.stages.calibration import CoreBias, core_means
from snnrobust.hardware.stages.variation import Variation

TAU = "tau_mem: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.2}}}"
S = math.sqrt(math.log1p(0.04))
MODES = ("core_mean", "trim", "residual")
NUMBERS = """
calibration:
  mode: trim
  trim: {bits: 3, range_sigma: 2.0, noise_sigma: 0.1}
  residual: {weight: 0.5, tau_mem: 0.4, tau_syn: 0.3, v_th: 0.3, v_leak: 0.2, v_reset: 0.2, bias: 0.3, gain: 0.2}
"""


def trimmed(trim: str, parameters: str = TAU, rest: str = "") -> sr.Profile:
    return profile(f"parameters: {{{parameters}}}\ncalibration: {{mode: trim, trim: {{{trim}}}}}\n{rest}")


def deviation(chip: sr.Profile, mode: str, theta: torch.Tensor, instances: int = 200, name: str = "a.tau_mem"):
    """ln(theta'/theta) [K, ...] of chips."""
    return (devices(chip, {name: theta}, range(instances), calibration=mode)[name] / theta).log()


def four(sd: float, n: int) -> float:
    """Four standard errors of a standard deviation of n Gaussians: a false alarm in 16,000."""
    return 4 * sd / math.sqrt(2 * n)


# --- trim ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "sigma"), [(3, 2.0), (2, 1.5), (6, 3.0)])
def test_a_trim_leaves_a_uniform_residual_and_what_lies_beyond_its_range(bits, sigma):
    chip = trimmed(f"bits: {bits}, range_sigma: {sigma}")
    theta = torch.full((200,), 0.02, dtype=torch.float64)
    before, after = (deviation(chip, mode, theta) for mode in ("none", "trim"))
    step = 2 * sigma * S / (2**bits - 1)
    rounding = (after - (before - before.clamp(-sigma * S, sigma * S))).ravel()
    assert rounding.abs().max() <= step / 2 * (1 + 1e-6)
    assert kstest(rounding.numpy() / step + 0.5, "uniform").pvalue > 1e-4
    n = rounding.numel()
    assert rounding.std() == pytest.approx(step / math.sqrt(12), rel=4 * math.sqrt(0.2 / n))  # (kurtosis - 1) / 4
    assert abs(float(torch.corrcoef(torch.stack([rounding, before.ravel()]))[0, 1])) < 4 / math.sqrt(n)
    beyond, p = float((before.abs() > sigma * S).double().mean()), 2 * norm.cdf(-sigma)
    assert abs(beyond - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_the_number_in_the_literature():
    # b = 3, k = 2: 0.165 s.
    assert 2 * 2 / (2**3 - 1) / math.sqrt(12) == pytest.approx(0.165, abs=5e-4)
    theta = torch.full((500,), 0.02, dtype=torch.float64)
    after = deviation(trimmed("bits: 3, range_sigma: 2"), "trim", theta)
    inside = after[deviation(trimmed("bits: 3, range_sigma: 2"), "none", theta).abs() < 2 * S]
    assert inside.std() / S == pytest.approx(0.165, rel=0.01)


def test_measurement_noise_is_added():
    chip = trimmed("bits: 10, range_sigma: 6, noise_sigma: 0.2")
    after = deviation(chip, "trim", torch.full((200,), 0.02, dtype=torch.float64)).ravel()
    expected = S * math.hypot(0.2, 12 / 1023 / math.sqrt(12))
    assert float(after.std()) == pytest.approx(expected, abs=four(expected, after.numel()))


def test_a_trim_of_a_neuron_mends_the_mean_of_its_synapses_alone():
    weights = "weight: {distribution: lognormal, granularity: per_synapse, components: {device: {cv: 0.2}}}"
    chip = trimmed("bits: 12, range_sigma: 4", weights)
    theta = torch.linspace(0.5, 1.5, 40 * 30, dtype=torch.float64).reshape(40, 30) * (-1) ** torch.arange(30)
    theta[:, 0] = 0.0  # no synapse
    before, after = (deviation(chip, mode, theta, 50, "a.weight")[..., 1:] for mode in ("none", "trim"))
    step = 8 * S / 4095
    assert after.mean(-1).abs().max() <= step / 2 * (1 + 1e-6)
    torch.testing.assert_close(after - after.mean(-1, True), before - before.mean(-1, True), rtol=0, atol=1e-7)
    assert float(after.std()) > 0.95 * S * math.sqrt(28 / 29)


def test_trims_of_synapses_and_of_types_reach_further():
    weights = "weight: {distribution: lognormal, granularity: per_neuron_type, components: {device: {cv: 0.2}}}"
    theta = torch.ones(20, 10, dtype=torch.float64) * (-1) ** torch.arange(10)
    left = {}
    for granularity in ("per_neuron", "per_neuron_type", "per_synapse"):
        chip = trimmed(f"bits: 12, range_sigma: 5, granularity: {granularity}", weights)
        left[granularity] = float(deviation(chip, "trim", theta, 50, "a.weight").std())
    step = 10 * S / 4095 / math.sqrt(12)
    assert left["per_synapse"] == pytest.approx(step, rel=0.05)
    assert left["per_neuron_type"] == pytest.approx(step, rel=0.15)
    assert left["per_neuron"] == pytest.approx(S / math.sqrt(2), rel=0.1)  # half the difference of two devices


def test_an_anomalous_device_is_beyond_a_trim():
    tau = TAU[:-1] + ", outliers: {fraction: 1.0, factor: 3.0}}"
    chip = trimmed("bits: 16, range_sigma: 2", tau)
    before, after = (deviation(chip, mode, torch.full((50,), 0.02, dtype=torch.float64)) for mode in ("none", "trim"))
    torch.testing.assert_close(after, before - before.clamp(-2 * S, 2 * S), rtol=0, atol=4 * S / 65535)
    assert float(before.mean()) == pytest.approx(math.log(3), abs=0.02)


def test_a_trim_only_of_its_roles():
    chip = trimmed("bits: 8, range_sigma: 3, roles: [tau_syn]", f"{TAU}, {TAU.replace('mem', 'syn')}")
    theta = {"a.tau_mem": torch.full((5,), 0.02), "a.tau_syn": torch.full((5,), 0.01)}
    before, after = (devices(chip, theta, range(3), calibration=mode) for mode in ("none", "trim"))
    assert torch.equal(before["a.tau_mem"], after["a.tau_mem"])
    assert not torch.equal(before["a.tau_syn"], after["a.tau_syn"])


# --- core mean ----------------------------------------------------------------------------------------------

SHARED = """\
parameters:
  tau_mem:
    distribution: lognormal
    granularity: per_neuron
    components: {die: {cv: 0.1}, core: {cv: 0.15}, device: {cv: 0.2}}
limits: {neurons_per_core: 16}
"""


def test_a_core_mean_removes_what_cores_share_but_for_its_sampling_error():
    chip = profile(SHARED)
    theta = {"a.tau_mem": torch.full((24,), 0.02, dtype=torch.float64), "b.tau_mem": torch.full((8,), 0.01).double()}
    placement = placed(chip, theta, calibration="core_mean")
    z = draw(placement, seed=1, purpose="test", instances=range(2000))
    after = realise(placement, theta, z)
    shared = {**z, "tau_mem/die": 0 * z["tau_mem/die"] + 2.0, "tau_mem/core": 0 * z["tau_mem/core"] - 1.0}
    other = realise(placement, theta, shared)
    for name, p in after.items():
        torch.testing.assert_close(p, other[name], rtol=1e-6, atol=0)
    u = torch.cat([(after[name] / theta[name]).log() for name in theta], 1)
    own = S * torch.cat([z["a.tau_mem/device"], z["b.tau_mem/device"]], 1).double()
    leak = u - own  # minus the mean of the core's devices, the same for all of its neurons, of both layers
    for core in (slice(0, 16), slice(16, 32)):
        assert leak[:, core].std(1).max() < 1e-6
        torch.testing.assert_close(leak[:, core].mean(1), -own[:, core].mean(1), rtol=0, atol=1e-6)
        assert float(leak[:, core][:, 0].std()) == pytest.approx(S / 4, abs=four(S / 4, 2000))
    assert float(u.std()) == pytest.approx(S * math.sqrt(15 / 16), rel=0.02)


def test_the_generator_rounds_the_correction():
    made = BiasGenerator(1, 4, 2.0, 15e-9, False, 10e-9)  # 0, 1, ... 15 nA
    wanted = torch.tensor([0.0, math.log(1.04), math.log(1.07), -math.log(1.07)], dtype=torch.float64)
    slower = CoreBias(made, logarithmic=True, inverse=True)(wanted)  # a time constant that is too long by 7 % at 10 nA
    torch.testing.assert_close(slower.exp(), torch.tensor([1.0, 1.0, 1.1, 0.9], dtype=torch.float64))
    weight = CoreBias(made, logarithmic=True, inverse=False)(wanted)
    torch.testing.assert_close((-weight).exp(), torch.tensor([1.0, 1.0, 0.9, 1.1], dtype=torch.float64))
    normal = CoreBias(made, logarithmic=False, inverse=False)(torch.tensor([0.12], dtype=torch.float64))
    torch.testing.assert_close(normal, torch.tensor([0.1], dtype=torch.float64))


def test_a_coarse_generator_leaves_steps():
    bias = "quantization: {bias: {scheme: coarse_fine, coarse: 1, fine_bits: 4, ratio: 2, i_max: 15e-9,"
    chip = profile(SHARED + bias + " i_reference: 10e-9}}\n")
    theta = {"a.tau_mem": torch.full((16,), 0.02, dtype=torch.float64)}
    placement = placed(chip, theta, calibration="core_mean")
    z = draw(placement, seed=1, purpose="test", instances=range(50))
    u = (realise(placement, theta, z)["a.tau_mem"] / 0.02).log().mean(1)
    variation = next(s for s in placement.stages["a.tau_mem"] if isinstance(s, Variation))
    met = variation.calibration.spread * core_means((variation,), z)[:, 0]
    current = 10 * (met - u).exp()  # in nA
    torch.testing.assert_close(current, current.round(), rtol=0, atol=1e-4)
    assert (10 * met.exp() - current).abs().max() <= 0.5 * (1 + 1e-6)  # nA, of the current that would be right
    assert u.std() > 0.01


# --- residual -----------------------------------------------------------------------------------------------


def test_a_residual_is_a_fresh_draw():
    chip = profile(f"parameters: {{{TAU}}}\ncalibration: {{mode: residual, residual: {{tau_mem: 0.45}}}}")
    theta = torch.full((200,), 0.02, dtype=torch.float64)
    before, after = (deviation(chip, mode, theta).ravel() for mode in ("none", "residual"))
    n = after.numel()
    assert float(after.std()) == pytest.approx(0.45 * S, abs=four(0.45 * S, n))
    assert abs(float(torch.corrcoef(torch.stack([before, after]))[0, 1])) < 4 / math.sqrt(n)
    assert kstest(after.numpy() / (0.45 * S), "norm").pvalue > 1e-4


def test_residuals_of_offsets_and_roles_without_a_ratio():
    chip = profile("""\
    parameters:
      v_leak:
        distribution: normal
        mode: absolute
        unit: v_th_range
        granularity: per_neuron
        components: {device: {sd: 0.2}}
      gain: {distribution: normal, granularity: per_neuron, components: {device: {cv: 0.2}}}
    calibration: {mode: residual, residual: {v_leak: 0.3}}
    """)
    one = torch.ones(100, dtype=torch.float64)
    theta = {"a.v_leak": 0.1 * one, "a.v_th": 2.1 * one, "a.v_reset": 0.1 * one, "a.gain": one}
    before, after = (devices(chip, theta, range(200), calibration=mode) for mode in ("none", "residual"))
    assert torch.equal(before["a.gain"], after["a.gain"])
    offset = (after["a.v_leak"] - 0.1) / 2.0
    assert float(offset.std()) == pytest.approx(0.06, abs=four(0.06, offset.numel()))


def test_anomalous_devices_stay_where_a_ratio_is_all_that_is_known():
    tau = TAU[:-1] + ", outliers: {fraction: 1.0, factor: 3.0}}"
    chip = profile(f"parameters: {{{tau}}}\ncalibration: {{mode: residual, residual: {{tau_mem: 0.0}}}}")
    after = deviation(chip, "residual", torch.full((5,), 0.02, dtype=torch.float64))
    torch.testing.assert_close(after, torch.full_like(after, math.log(3)), rtol=1e-6, atol=0)


# --- all modes ----------------------------------------------------------------------------------------------


def test_without_spread_nothing_is_calibrated():
    theta = {"a.tau_mem": torch.full((4,), 0.02), "a.gain": torch.ones(4)}
    none = TAU.replace("0.2", "0.0")
    chip = profile(f"parameters: {{{none}}}{NUMBERS}")
    for mode in MODES:
        found = devices(chip, theta, range(3), calibration=mode)
        assert all(torch.equal(found[name], p) for name, p in theta.items())


def everything() -> tuple[sr.Profile, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    theta = {
        f"{layer}.{role}": 0.5 + torch.rand(shape, generator=generator)
        for layer, n in (("a", 6), ("b", 3))
        for role, shape in (
            *(("weight", (n, 5)), ("recurrent_weight", (n, n))),
            *((role, (n,)) for role in ("bias", "gain", "tau_mem", "tau_syn", "v_th", "v_leak", "v_reset")),
        )
    }
    theta["a.weight"][:, 0] = 0.0
    theta["a.weight"][:, 1] *= -1
    return profile(EVERYTHING.split("crossbar:")[0] + NUMBERS), theta


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("body", [EVERYTHING.split("crossbar:")[0], ON_CORES])
def test_a_chip_does_not_depend_on_its_block(mode, body):
    chip, theta = profile(body + NUMBERS), everything()[1]
    whole = devices(chip, theta, range(7), calibration=mode)
    for block in ((0,), (3, 4), (6, 2, 5)):
        part = devices(chip, theta, block, calibration=mode)
        for name, p in theta.items():
            if whole[name].ndim > p.ndim:
                assert torch.equal(part[name], whole[name][list(block)]), name


def test_one_chip_has_the_same_coordinates_in_all_modes():
    chip, theta = everything()
    found = {mode: draw(placed(chip, theta, calibration=mode), seed=2, purpose="test", instances=range(2)) for mode in
             ("none", *MODES)}  # fmt: skip
    for mode in MODES:
        assert set(found["none"]) <= set(found[mode])
        assert all(torch.equal(value, found[mode][key]) for key, value in found["none"].items())
    fresh = {key: value for key, value in found["residual"].items() if key not in found["none"]}
    roles = ("weight", "bias", "gain", "tau_mem", "tau_syn", "v_th", "v_leak")
    assert set(fresh) == {"v_reset/residual", *(f"{layer}.{role}/residual" for layer in "ab" for role in roles)}
    assert not any(torch.equal(a, b) for a in fresh.values() for b in found["none"].values())


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_finite_and_coordinates_stay_in_the_box(mode):
    chip, theta = everything()
    placement = placed(chip, theta, calibration=mode)
    z = {
        key: value.requires_grad_() for key, value in draw(placement, seed=1, purpose="test", instances=(0, 1)).items()
    }
    leaves = {name: p.clone().requires_grad_() for name, p in theta.items()}
    leaves["a.weight"] = (0 * leaves["a.weight"]).detach().requires_grad_()
    total = sum(p.sum() for p in realise(placement, leaves, z).values())
    wanted = [*leaves.values(), *z.values()]
    grads = torch.autograd.grad(total, wanted, materialize_grads=True)
    assert all(g.isfinite().all() for g in grads)
    inside = project(placement, {key: 5 * value.detach() for key, value in z.items()}, 1.5)
    own = [k for k, c in placement.coordinates.items() if c.kind == "continuous"]
    assert all(inside[key].abs().max() <= 1.5 * (1 + 1e-6) for key in own)


def test_without_any_coordinate_a_calibrated_chip_is_nominal():
    chip, theta = everything()
    for mode in MODES:
        placement = placed(chip, theta, only_mismatch=True, calibration=mode)
        found = realise(placement, theta, {})
        assert all(torch.equal(found[name], p) for name, p in theta.items())
        zeros = {key: torch.zeros(c.shape) for key, c in placement.coordinates.items()}
        plain = realise(placed(chip, theta, only_mismatch=True), theta, zeros)
        at_zero = realise(placement, theta, zeros)
        for name in ("a.weight", "a.gain", "a.v_th"):  # symmetric, so that nothing is to be mended
            torch.testing.assert_close(at_zero[name], plain[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_bounds_hold_all_devices_of_the_box(mode):
    chip, theta = everything()
    placement = placed(chip, theta, calibration=mode)
    z = draw(placement, seed=1, purpose="test", instances=range(200), kinds=("continuous",))
    inside = project(placement, {key: 3 * value for key, value in z.items()}, 1.2)
    layers = {name.split(".")[0] for name in theta}
    siblings = {layer: {n.split(".")[1]: p for n, p in theta.items() if n.split(".")[0] == layer} for layer in layers}
    for name, p in theta.items():
        variation = next((s for s in placement.stages.get(name, ()) if isinstance(s, Variation)), None)
        if variation is not None:
            context = Context(variation.spec, siblings[name.split(".")[0]])
            low, high = variation.between(p, *variation.reaches(1.2, {}), context, 1.2)
            found = variation.apply(p, inside, context)
            assert (found >= low - 1e-5).all(), name
            assert (found <= high + 1e-5).all(), name


# --- after the calibration ----------------------------------------------------------------------------------


def test_a_trim_keeps_its_code_at_another_temperature():
    hot = "environment: {temperature: 360, temperature_ref: 300, bias_law: ptat}"
    cold = "environment: {temperature: 300, temperature_ref: 300, bias_law: ptat}"
    theta = torch.full((100,), 0.02, dtype=torch.float64)
    chips = {name: trimmed("bits: 12, range_sigma: 5", rest=text) for name, text in (("hot", hot), ("cold", cold))}
    before = deviation(chips["cold"], "none", theta)
    code = before - deviation(chips["cold"], "trim", theta)
    torch.testing.assert_close(deviation(chips["hot"], "trim", theta), before / 1.2 - code, rtol=0, atol=1e-7)
    torch.testing.assert_close(deviation(chips["hot"], "none", theta), before / 1.2, rtol=0, atol=1e-7)
    assert deviation(chips["hot"], "trim", theta).std() == pytest.approx(S * (1 - 1 / 1.2), rel=0.02)


def test_temporal_noise_and_ageing_are_not_undone():
    noisy = TAU.replace("device: {cv: 0.2}", "device: {cv: 0.2}, temporal: {cv: 0.05, redraw: trial}")
    law = "age: 1.0e7, ageing: {amplitude: 1.0e-4, exponent: 0.2}"
    aged = f"environment: {{temperature: 300, temperature_ref: 300, bias_law: ptat, {law}}}"
    theta = torch.full((200,), 0.02, dtype=torch.float64)
    after = deviation(trimmed("bits: 16, range_sigma: 6", noisy), "trim", theta)
    temporal = math.sqrt(math.log1p(0.0025))
    assert float(after.std()) == pytest.approx(temporal, abs=four(temporal, after.numel()))
    old = trimmed("bits: 16, range_sigma: 6", rest=aged)
    shift = deviation(old, "trim", theta) - deviation(trimmed("bits: 16, range_sigma: 6"), "trim", theta)
    assert float(shift.std()) < 1e-6
    assert float(shift.mean()) == pytest.approx(0.7 * 1e-4 * 1e7**0.2 / 0.025852, rel=1e-3)


# --- deployments --------------------------------------------------------------------------------------------


def test_a_deployment_takes_the_mode_that_is_asked_for():
    net, chip = sr.Network.recurrent(4, 8, 3, tau_syn=5e-3), sr.Chip(sr.load_profile("brainscales2"))
    found = {mode: chip.deploy(net, 5, calibration=mode) for mode in ("none", "trim", "residual", "profile")}
    assert found["profile"].placement.calibration == "residual"
    assert any("not calibrated, although the profile states calibration residual" in n for n in found["none"].notes)
    assert (
        "calibration trim of tau_mem, tau_syn, v_leak, v_reset, v_th; not calibrated: gain, recurrent_weight, weight"
        in (found["trim"].notes)
    )
    tau = {mode: (d.parameters()["layer0.tau_mem"] / net.nominal()["layer0.tau_mem"]).log().std() for mode, d in
           found.items()}  # fmt: skip
    assert tau["trim"] < tau["residual"] < tau["none"]
    assert torch.equal(found["residual"].parameters()["layer0.v_th"], found["profile"].parameters()["layer0.v_th"])
    plain = chip.deploy(net, 5)
    assert all(torch.equal(p, found["none"].parameters()[name]) for name, p in plain.parameters().items())
    assert all(torch.equal(p, plain.parameters()[name]) for name, p in found["trim"].parameters().items()
               if name.endswith(("weight", "gain")))  # fmt: skip


@pytest.mark.filterwarnings("ignore:relative spread has no effect")
def test_a_profile_without_calibration_has_nothing_to_say_of_it():
    net = sr.Network.recurrent(4, 8, 3)
    found = sr.Chip(sr.load_profile("generic_subthreshold_180nm_10")).deploy(net, 2)
    assert not any("calibrat" in note for note in found.notes)
    mode = sr.Chip(sr.load_profile("generic_subthreshold_180nm_10")).deploy(net, 2, calibration="profile")
    assert mode.placement.calibration == "none"


@pytest.mark.parametrize(
    ("name", "mode", "error", "message"),
    [
        (
            "dynapse1",
            "trims",
            ConfigError,
            "calibration: unknown 'trims' (did you mean 'trim'?); allowed: column_affine",
        ),
        ("dynapse1", "trim", ProfileError, "dynapse1: calibration trim needs `calibration.trim` (bits, range_sigma)"),
        ("dynapse1", "residual", ProfileError, "dynapse1: calibration residual needs `calibration.residual`"),
        ("dynapse1", "column_affine", ProfileError, "dynapse1: calibration column_affine needs `crossbar`"),
        ("ideal", "core_mean", ProfileError, "ideal: calibration core_mean: kind ideal has nothing to calibrate"),
        ("dynapse1", "in_the_loop", ConfigError, "calibration: in_the_loop needs a task: finetune(deployment, task)"),
    ],
)
def test_errors(name, mode, error, message):
    with pytest.raises(error) as caught:
        sr.Chip(sr.load_profile(name)).deploy(sr.Network.recurrent(4, 8, 3), 2, calibration=mode)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "modes"),
    [
        ("dynapse1", ("none", "core_mean", "in_the_loop")),
        ("brainscales2", ("none", "core_mean", "trim", "residual", "in_the_loop")),
        ("pcm_ibm", ("none", "column_affine", "in_the_loop")),
        ("ideal", ("none", "in_the_loop")),
    ],
)
def test_modes_that_a_profile_has_numbers_for(name, modes):
    chip = sr.load_profile(name)
    assert modes_with_numbers(chip) == modes_of(chip, modes) == modes


def test_a_relative_level_is_not_calibrated():
    with pytest.raises(ProfileError, match="kind relative has nothing to calibrate"):
        sr.Chip(sr.Profile.relative(0.2)).deploy(sr.Network.recurrent(4, 8, 3), 2, calibration="core_mean")


@pytest.mark.filterwarnings("ignore:relative spread has no effect")
def test_another_temperature_keeps_the_mode():
    chip = sr.Chip(sr.load_profile("dynapse1"))
    found = chip.deploy(sr.Network.recurrent(4, 8, 3), 2, temperature=330, calibration="core_mean")
    assert found.placement.calibration == "core_mean"
    assert np.isfinite(found.parameters()["layer0.tau_mem"].numpy()).all()
