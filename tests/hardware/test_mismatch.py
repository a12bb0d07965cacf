"""draw, realise, project: z = 0, keys of the draws, gradients, the box."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from chip_builder import EVERYTHING, ON_CORES, placed, profile, spread
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware import randomness
from snnrobust.hardware.mismatch import draw, place, project, realise, warn_of_zeros
from snnrobust.hardware.normals import normals
from snnrobust.hardware.profile import Profile, list_profiles, load_profile
from snnrobust.hardware.stages import base, quantization_for
from snnrobust.snn import Network
from snnrobust.snn.specs import ROLES, spec_of

SHIPPED = [summary.name for summary in list_profiles()]
CHIPS = {**{name: load_profile(name) for name in SHIPPED}, "everything": profile(EVERYTHING, kind="hybrid")}
CHIPS["on_cores"] = profile(ON_CORES)
LEVEL = Profile.relative(0.3)


def tensors(dtype=torch.float32, zeros: bool = False) -> dict[str, torch.Tensor]:
    """One layer with every role, off the kinks of all stages, or with zeros in every tensor."""
    generator = torch.Generator().manual_seed(3)
    n = 4
    theta = {
        "l.weight": torch.randn(n, 3, generator=generator, dtype=dtype),
        "l.recurrent_weight": torch.randn(n, n, generator=generator, dtype=dtype),
        "l.bias": torch.randn(n, generator=generator, dtype=dtype),
    }
    values = {"gain": 1.0, "tau_mem": 0.02, "tau_syn": 0.01, "v_th": 1.0, "v_leak": 0.0, "v_reset": -0.1}
    values |= {"refractory": 0.002, "tau_adapt": 0.1, "adaptation": 0.5}
    for role, value in values.items():
        theta[f"l.{role}"] = value * (1 + 0.1 * torch.rand(n, generator=generator, dtype=dtype))
    if zeros:
        for p in theta.values():
            p.view(-1)[::2] = 0
        theta["l.weight"][1] = 0
        theta["l.bias"][:] = 0
    return theta


def sample(chip: Profile, theta: dict[str, torch.Tensor], instances, **more) -> dict[str, torch.Tensor]:
    placement = placed(chip, theta)
    return realise(placement, theta, draw(placement, seed=1, purpose="test", instances=instances, **more))


# --- z = 0 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHIPS)
def test_without_coordinates_only_quantisation_remains(name):
    theta = tensors()
    found = realise(placed(CHIPS[name], theta), theta, {})
    quantised = {key for key in theta if quantization_for(CHIPS[name], key.split(".")[1])}
    for key, p in theta.items():
        assert (found[key] is p) == (key not in quantised)
    if name == "everything":
        assert quantised == {"l.weight", "l.recurrent_weight"}
        for key in quantised:
            step = theta[key].abs().amax(1, keepdim=True) / 7
            assert torch.equal(found[key], torch.round(theta[key] / step) * step)


@pytest.mark.parametrize("chip", [CHIPS["ideal"], Profile.relative(0.0), LEVEL, Profile.relative(2.0)])
def test_zero_is_the_identity_on_ideal_and_relative_profiles(chip):
    theta = tensors(zeros=True)
    placement = placed(chip, theta)
    z = draw(placement, seed=1, purpose="test", instances=range(2))
    found = realise(placement, theta, {key: torch.zeros_like(value) for key, value in z.items()})
    for key, p in theta.items():
        assert torch.equal(found[key], p.expand_as(found[key]))


@pytest.mark.parametrize("name", [n for n in SHIPPED if CHIPS[n].kind == "analog_asic"])
def test_zero_is_nominal_on_every_shipped_chip(name):
    theta = tensors()
    placement = placed(CHIPS[name], theta, only_mismatch=True)
    z = {key: torch.zeros(c.shape) for key, c in placement.coordinates.items()}
    stored = realise(placement, theta, {})
    for key, p in realise(placement, theta, z).items():
        assert torch.equal(p, stored[key])


def test_where_zero_is_not_nominal():
    # The mean is nominal: the median, z = 0, lies below. A truncation that is not symmetric moves the median.
    theta = {"l.tau_mem": torch.ones(1, dtype=torch.float64)}
    z = {"l.tau_mem/device": torch.zeros(1, dtype=torch.float64)}
    device = "granularity: per_neuron, components: {device: {cv: 0.5}}"
    mean = spread("tau_mem", f"distribution: lognormal, center: mean, {device}")
    cut = spread("tau_mem", f"distribution: truncated_normal, {device}, clip: [0, null]")
    even = spread("tau_mem", f"distribution: truncated_normal, {device}, clip: [0.2, 1.8]")
    found = [float(realise(placed(chip, theta), theta, z)["l.tau_mem"]) for chip in (mean, cut, even)]
    assert found == pytest.approx([0.894427, 1.0142582, 1.0], rel=1e-6)


def test_ideal_has_no_stages_and_no_coordinates():
    theta = tensors()
    placement = placed(CHIPS["ideal"], theta)
    assert not placement.stages
    assert not placement.coordinates
    assert placement.unlisted() == ()
    found = sample(CHIPS["ideal"], theta, range(5))
    assert all(found[key] is p for key, p in theta.items())


# --- the level of sweeps -------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.05, 0.3, 1.0])
def test_relative_level_is_exactly_that(level):
    theta, chip = tensors(), Profile.relative(level)
    placement = placed(chip, theta)
    z = draw(placement, seed=1, purpose="test", instances=range(3))
    found = realise(placement, theta, z)
    for role in ("weight", "recurrent_weight", "bias"):
        assert torch.equal(found[f"l.{role}"], theta[f"l.{role}"] * (1 + level * z[f"l.{role}/device"]))
    assert set(z) == {"l.weight/device", "l.recurrent_weight/device", "l.bias/device"}
    assert found["l.tau_mem"] is theta["l.tau_mem"]


def test_jacobian_of_a_relative_level_is_diagonal():
    theta = tensors(torch.float64, zeros=True)
    placement = placed(LEVEL, theta)
    z = {key: v.double() for key, v in draw(placement, seed=1, purpose="test", instances=None).items()}
    for role in ("weight", "recurrent_weight", "bias"):
        name = f"l.{role}"

        def realised(v, name=name):
            return realise(placement, theta | {name: v}, z)[name].flatten()

        jacobian = torch.autograd.functional.jacobian(realised, theta[name]).flatten(1)
        assert torch.allclose(jacobian, torch.diag(1 + 0.3 * z[f"{name}/device"].flatten()), atol=1e-15)


# --- keys of the draws ---------------------------------------------------------------------------------


def test_coordinates_are_the_keyed_normals():
    theta = {"l.weight": torch.ones(2, 3)}
    z = draw(placed(CHIPS["generic_subthreshold_180nm_20"], theta), seed=5, purpose="validation", instances=[17])
    key = randomness.key(5, "validation", "l.weight", "device", "per_synapse", 17)
    assert z["l.weight/device"].flatten().tolist() == normals([key], [6]).tolist()
    key = randomness.key(5, "validation", "weight", "die", "per_die", 17)
    assert z["weight/die"].tolist() == normals([key], [1]).tolist()


@pytest.mark.parametrize("name", CHIPS)
def test_chip_17_is_the_same_in_any_company(name):
    theta = tensors()
    alone = sample(CHIPS[name], theta, [17])
    for block in (range(18), [17, 3], [40, 17], range(17, 30)):
        found, at = sample(CHIPS[name], theta, block), list(block).index(17)
        for key, p in alone.items():
            assert torch.equal(
                p[0] if p.ndim > theta[key].ndim else p, found[key][at] if p.ndim > theta[key].ndim else p
            )
    zero = sample(CHIPS[name], theta, None)
    first = sample(CHIPS[name], theta, [0])
    assert all(torch.equal(p, first[key][0] if first[key].ndim > p.ndim else p) for key, p in zero.items())


@settings(max_examples=20, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_any_split_draws_the_same_chips(sizes):
    placement = placed(CHIPS["everything"], tensors())
    ends = np.cumsum(sizes).tolist()
    whole = draw(placement, seed=1, purpose="test", instances=range(ends[-1]))
    parts = [
        draw(placement, seed=1, purpose="test", instances=range(end - size, end))
        for size, end in zip(sizes, ends, strict=True)
    ]
    for key, value in whole.items():
        assert value.shape == (ends[-1], *placement.coordinates[key].shape)
        assert torch.equal(torch.cat([z[key] for z in parts]), value)


def test_drawn_tensors_share_no_version():
    # They lie in one array; were they views of one tensor, writing into one would invalidate graphs through the others.
    first, second = list(draw(placed(LEVEL, tensors()), seed=1, purpose="test", instances=range(2)).values())[:2]
    leaf = first.requires_grad_()
    squared = (leaf**2).sum()
    second.zero_()
    squared.backward()
    assert torch.equal(leaf.grad, 2 * leaf)


@pytest.mark.parametrize("chunk", [1, 24])
@pytest.mark.parametrize("name", CHIPS)
def test_chips_moved_a_few_at_a_time_are_the_same(name, chunk, monkeypatch):
    theta = tensors()
    whole = sample(CHIPS[name], theta, range(5))
    monkeypatch.setattr(base, "_CHUNK", chunk)
    with torch.no_grad():
        apart = sample(CHIPS[name], theta, range(5))
    assert all(torch.equal(p, apart[key]) for key, p in whole.items())


@pytest.mark.parametrize("name", CHIPS)
def test_gradients_and_company_do_not_change_a_large_chip(name):
    crossbar = CHIPS[name].crossbar
    n = 257 if crossbar is None or crossbar.ir_drop is None else 129  # wires are solved tile by tile, which takes long
    generator = torch.Generator().manual_seed(3)
    theta = {"l.weight": torch.randn(n, n, generator=generator), "l.v_th": torch.ones(n)}
    whole = sample(CHIPS[name], theta, range(2))
    with torch.no_grad():
        apart, alone = sample(CHIPS[name], theta, range(2)), sample(CHIPS[name], theta, [1])
    for key, p in whole.items():
        assert torch.equal(p, apart[key])
        assert torch.equal(p[1:] if p.ndim > theta[key].ndim else p, alone[key])


def test_the_same_coordinates_on_every_level_profile_and_bit_width():
    theta = tensors()
    entry = "{weight: {distribution: uniform, granularity: per_synapse, components: {device: {cv: 0.1}}}}"
    schemes = ("uniform, bits: 3", "subset_sum, bits: 4, per: core", "per_type, n_types: 4, per: core")
    bits = [
        profile(f"parameters: {entry}\nquantization: {{weight: {{scheme: {scheme}}}}}\nlimits: {{fan_in: 64}}")
        for scheme in schemes
    ]
    chips = [Profile.relative(0.01), LEVEL, Profile.relative(0.3, distribution="lognormal"), *bits]
    chips += [CHIPS[f"generic_subthreshold_180nm_{n}0"] for n in (1, 2, 3)]
    drawn = [draw(placed(chip, theta), seed=1, purpose="test", instances=range(3)) for chip in chips]
    for z in drawn[1:]:
        for key in ("l.weight/device", "l.recurrent_weight/device"):
            assert torch.equal(z[key], drawn[0][key])
    assert torch.equal(drawn[1]["l.bias/device"], drawn[-1]["l.bias/device"])
    assert torch.equal(drawn[-1]["weight/die"], drawn[-2]["weight/die"])
    other = draw(placed(CHIPS["dynapse1"], theta), seed=1, purpose="test", instances=range(3))
    assert torch.equal(other["weight/die"], drawn[-1]["weight/die"])
    assert other["l.weight/device"].shape == (3, 4, 2)  # another granularity


def test_seeds_purposes_chips_and_steps_differ():
    placement = placed(LEVEL, tensors())

    def one(seed=1, purpose="test", instance=0, extra=()):
        z = draw(placement, seed=seed, purpose=purpose, instances=[instance], extra=extra)
        return tuple(z["l.weight/device"].flatten().tolist())

    many = [one(), one(seed=2), one(instance=1), one(extra=(0,)), one(extra=(1,))]
    many += [one(purpose=purpose) for purpose in ("train", "validation", "attack")]
    assert len(set(many)) == len(many)
    assert one() == one()


def test_a_trial_changes_the_temporal_coordinates_only():
    placement = placed(CHIPS["everything"], tensors())
    first, second = (draw(placement, seed=1, purpose="test", instances=range(2), trial=t) for t in (0, 1))
    changed = {key for key in first if not torch.equal(first[key], second[key])}
    assert changed == {"l.weight/temporal", "l.bias/temporal"}
    assert {key for key, c in placement.coordinates.items() if c.kind == "temporal"} == changed


def test_kinds_can_be_drawn_apart():
    placement = placed(CHIPS["everything"], tensors())
    whole = draw(placement, seed=1, purpose="test", instances=None)
    parts = [
        draw(placement, seed=1, purpose="test", instances=None, kinds=(k,)) for k in ("continuous", "fixed", "temporal")
    ]
    assert sum(len(part) for part in parts) == len(whole) == len(placement.coordinates)
    assert all(torch.equal(value, whole[key]) for part in parts for key, value in part.items())
    assert all(z.dtype == torch.float32 for z in whole.values())


@pytest.mark.parametrize("name", CHIPS)
def test_another_parameter_changes_no_other_draw(name):
    theta = tensors()
    more = theta | {"m.weight": torch.ones(3, 4), "m.bias": torch.ones(3), "m.gain": torch.ones(3)}
    placements = placed(CHIPS[name], theta), placed(CHIPS[name], more)
    zs = [draw(p, seed=1, purpose="test", instances=range(2)) for p in placements]
    for key, value in zs[0].items():  # new cores and places have their coordinates behind those that were there
        assert torch.equal(value, zs[1][key][(slice(None), *map(slice, value.shape[1:]))])
    # Another layer makes the die larger, so that neurons have other places in a field over it.
    for z in zs:
        for key in [key for key in z if key.endswith("/spatial")]:
            del z[key]
    before, after = realise(placements[0], theta, zs[0]), realise(placements[1], more, zs[1])
    assert all(torch.equal(p, after[key]) for key, p in before.items())


def test_realise_keeps_float64():
    theta = tensors(torch.float64)
    assert all(p.dtype == torch.float64 for p in sample(CHIPS["everything"], theta, range(2)).values())


GOLDEN = {
    "weight": [0.5736593, -1.065711, 0.0, 1.647976, 0.0, -0.9685125],
    "tau_mem": [0.01866815, 0.01080108],
    "gain": [0.8476782, 0.8837063],
    "level": [0.5076211, -0.87338953, 0.045636362, 2.0776403, 0.20107759, -0.41791675],
}


def test_golden_values():
    # Written down once; a change here changes the simulated chips of every published result.
    theta = {
        "l.weight": torch.tensor([[0.5, -1.0, 0.25], [2.0, 0.125, -0.75]], dtype=torch.float64),
        "l.tau_mem": torch.tensor([0.02, 0.01], dtype=torch.float64),
        "l.gain": torch.ones(2, dtype=torch.float64),
    }
    found = sample(CHIPS["everything"], theta, [17])
    assert found["l.weight"].flatten().tolist() == pytest.approx(GOLDEN["weight"], rel=1e-5, abs=1e-9)
    assert found["l.tau_mem"].flatten().tolist() == pytest.approx(GOLDEN["tau_mem"], rel=1e-5)
    assert found["l.gain"].flatten().tolist() == pytest.approx(GOLDEN["gain"], rel=1e-5)
    level = sample(LEVEL, theta, [17])["l.weight"]
    assert level.flatten().tolist() == pytest.approx(GOLDEN["level"], rel=1e-6)


# --- gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", CHIPS)
def test_gradients_are_finite(name, zeros):
    theta = {key: p.requires_grad_() for key, p in tensors(zeros=zeros).items()}
    placement = placed(CHIPS[name], {key: p.detach() for key, p in theta.items()})
    for scale in (0.0, 1.0, 8.0):
        z = draw(placement, seed=1, purpose="test", instances=range(3))
        z = {key: (scale * value).requires_grad_() for key, value in z.items()}
        total = sum(p.square().sum() + p.sum() for p in realise(placement, theta, z).values())
        assert torch.isfinite(total)
        found = torch.autograd.grad(total, [*theta.values(), *z.values()], allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in found)


@pytest.mark.parametrize("exponent", [-3.0, -0.5, 0.5, 4.0])
def test_gradients_of_a_level_law_are_finite_at_and_near_zero(exponent):
    law = f"level_dependence: {{exponent: {exponent}, cv_max: 0.5}}"
    chip = spread(
        "weight", f"distribution: lognormal, granularity: per_synapse, components: {{device: {{cv: 0.1}}}}, {law}"
    )
    w = torch.tensor([[0.0, 1e-38, 1e-20, -1e-6, 1.0, 2.0, 1e6, -0.0]], requires_grad=True)
    z = torch.ones(1, 8, requires_grad=True)
    placement = placed(chip, {"l.weight": w.detach()})
    found = realise(placement, {"l.weight": w}, {"l.weight/device": z})["l.weight"]
    assert found.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(found.sum(), (w, z)))


def holds_a_statistic(p: torch.Tensor) -> torch.Tensor:
    size = p.abs()
    return (size == size.amax(-1, keepdim=True)) | (size == size.median())


@pytest.mark.parametrize("only_mismatch", [True, False])
@pytest.mark.parametrize("name", CHIPS)
def test_derivatives_are_right(name, only_mismatch):
    # Against finite differences, which see no rounding (quantisation is straight-through and tested on its own) and
    # must not move the statistics that count as constants: the largest weights, and the median.
    if not only_mismatch and any(quantization_for(CHIPS[name], role) for role in ROLES):
        pytest.skip("quantisation is not differentiable")
    theta = tensors(torch.float64)
    # On a crossbar the largest weight after mismatch is such a statistic, too: it moves with every coordinate.
    chip = CHIPS[name].model_copy(update={"crossbar": None}) if name == "everything" else CHIPS[name]
    if chip.crossbar is not None and chip.crossbar.ir_drop is not None:  # straight-through, as quantisation is
        crossbar = chip.crossbar.model_copy(update={"ir_drop": None})
        chip = chip.model_copy(update={"crossbar": crossbar})
    placement = placed(chip, theta, only_mismatch=only_mismatch)
    if not placement.coordinates:
        pytest.skip("nothing varies")
    z = {key: 0.5 * v.double() for key, v in draw(placement, seed=2, purpose="test", instances=range(2)).items()}
    free = [key for key, c in placement.coordinates.items() if c.kind != "fixed"]
    names = [key for key in theta if key in placement.stages]
    moves = {key: ~holds_a_statistic(theta[key]) for key in names}

    def function(*values):
        own = {n: torch.where(moves[n], v, theta[n]) for n, v in zip(names, values[: len(names)], strict=True)}
        found = realise(placement, theta | own, z | dict(zip(free, values[len(names) :], strict=True)))
        return tuple(found[key] for key in names)

    leaves = [theta[key].clone().requires_grad_() for key in names] + [z[key].clone().requires_grad_() for key in free]
    assert torch.autograd.gradcheck(function, leaves, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


# --- the box -------------------------------------------------------------------------------------------

SPATIAL = ("", "spatial: {cv: 0.3, kernel: plane}")
BOXES = [
    ", ".join(part for part in (die, spatial, device) if part)
    for die in ("", "die: {cv: 0.2}")
    for spatial in SPATIAL
    for device in ("", "device: {cv: 0.05}", "device: {cv: 0.4}")
    if die or spatial or device
]


def entry(components: str, granularity: str) -> str:
    more = "clip: [0, null], outliers: {fraction: 0.1, factor: 2.0}"
    more = f"components: {{{components}, temporal: {{cv: 0.1, redraw: trial}}}}, {more}"
    return f"distribution: normal, granularity: {granularity}, {more}"


def sums(placement, theta, z) -> dict[str, torch.Tensor]:
    """|sum_c s_c z_c| / sqrt(sum_c s_c^2) of each tensor's elements."""
    return {
        name: stage.standardised(z, theta[name]).abs()
        for name, stages in placement.stages.items()
        for stage in stages
        if hasattr(stage, "standardised")
    }


@settings(deadline=None, max_examples=150)
@given(
    components=st.sampled_from(BOXES),
    granularity=st.sampled_from(["per_synapse", "per_neuron_type", "per_neuron", "per_column", "per_die", "per_core"]),
    k=st.sampled_from([0.0, 0.1, 1.0, 2.5]),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
    instances=st.sampled_from([None, [0], [4, 5, 6]]),
)
def test_projection_is_into_the_box(components, granularity, k, scale, seed, instances):
    generator = torch.Generator().manual_seed(seed)
    theta = {
        "a.weight": torch.randn(5, 3, generator=generator),
        "b.weight": torch.randn(9, 2, generator=generator),
        "b.recurrent_weight": torch.randn(9, 9, generator=generator),
    }
    placement = placed(spread("weight", entry(components, granularity)), theta)
    z = draw(placement, seed=seed, purpose="attack", instances=instances)
    z = {key: scale * value for key, value in z.items()}
    found = project(placement, z, k)
    near = 1e-5 * (1 + k)
    for key, c in placement.coordinates.items():
        assert found[key].shape == z[key].shape
        if c.kind == "continuous":
            assert float(found[key].abs().max()) <= k * (1 + 1e-6)  # k itself is no float32
        else:
            assert torch.equal(found[key], z[key])
    assert all(float(total.max()) <= k + near for total in sums(placement, theta, found).values())

    again = project(placement, found, k)
    assert all(torch.allclose(again[key], value, atol=near) for key, value in found.items())

    # A point inside does not move.
    inside = {key: v * (0.999 if placement.coordinates[key].kind == "continuous" else 1) for key, v in found.items()}
    kept = project(placement, inside, k)
    assert all(torch.allclose(kept[key], value, atol=1e-6) for key, value in inside.items())


def test_projection_by_hand():
    # s = (0.3, 0.4): shares 0.6 and 0.8. z = (2, 2) to k = 1: die 1, so device <= (1 - 0.6) / 0.8 = 0.5, and >= -1.
    chip = spread(
        "tau_mem",
        "distribution: lognormal, granularity: per_neuron, components: {die: {cv: A}, device: {cv: B}}".replace(
            "A", str(math.sqrt(math.expm1(0.09)))
        ).replace("B", str(math.sqrt(math.expm1(0.16)))),
    )
    placement = placed(chip, {"l.tau_mem": torch.ones(3)})
    z = {"tau_mem/die": torch.tensor([2.0]), "l.tau_mem/device": torch.tensor([[2.0, 0.1, -3.0]])}
    found = project(placement, z, 1.0)
    assert found["tau_mem/die"].tolist() == [1.0]
    assert found["l.tau_mem/device"][0].tolist() == pytest.approx([0.5, 0.1, -1.0])


def test_projection_of_crossbars_clips_each_device():
    theta = {"l.weight": torch.randn(3, 4)}
    placement = placed(load_profile("pcm_ibm"), theta)
    z = {key: 5 * v for key, v in draw(placement, seed=1, purpose="attack", instances=None).items()}
    found = project(placement, z, 0.5)
    free = {f"l.weight/{device}{part}" for device in ("g_plus", "g_minus") for part in ("", ".drift")}
    assert set(found) == set(z) > free
    for key in z:
        assert torch.equal(found[key], z[key].clamp(-0.5, 0.5) if key in free else z[key])


# --- placement -----------------------------------------------------------------------------------------


def test_roles_that_a_profile_does_not_mention():
    placement = placed(CHIPS["dynapse1"], tensors())
    assert placement.unlisted() == ("adaptation", "gain", "tau_adapt", "v_leak", "v_reset")
    assert placed(LEVEL, tensors()).unlisted() == ()
    assert placed(CHIPS["pcm_ibm"], {"l.weight": torch.ones(2, 2), "l.bias": torch.ones(2)}).unlisted() == ("bias",)


def test_what_is_off_the_chip_or_has_no_role_is_ideal():
    theta = {"norm": torch.ones(3), "readout.weight": torch.ones(2, 3), "l.weight": torch.ones(3, 2)}
    specs = {
        "norm": spec_of("none", (3,)),
        "readout.weight": spec_of("weight", (2, 3), on_chip=False, layer="readout"),
        "l.weight": spec_of("weight", (3, 2), layer="l"),
    }
    placement = place(LEVEL, specs)
    assert set(placement.stages) == {"l.weight"}
    found = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(2)))
    assert found["norm"] is theta["norm"]
    assert found["readout.weight"] is theta["readout.weight"]


def test_spreads_that_have_nothing_to_act_on():
    net = Network.recurrent(2, 3, 2)
    placement = place(LEVEL, net.parameter_specs())
    with pytest.warns(UserWarning, match=r"zeros: layer0\.bias, readout\.bias"):
        assert warn_of_zeros(placement, net.nominal()) == ["layer0.bias", "readout.bias"]
    chip = CHIPS["dynapse1"]  # a threshold of zero above a leak of -1 does vary
    theta = {"l.v_th": torch.zeros(2), "l.v_leak": -torch.ones(2), "l.refractory": torch.ones(2)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_of_zeros(placed(chip, theta), theta) == []
    assert not torch.equal(sample(chip, theta, [0])["l.v_th"][0], theta["l.v_th"])


def test_draws_need_no_global_generator():
    before, state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global one is the point)
    sample(CHIPS["everything"], tensors(), range(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
