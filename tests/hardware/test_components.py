"""Components on a layout: what cores share, and that every stated spread acts once.

Statistical bounds are 5 standard errors at a fixed seed; about 20 of them, so a wrong alarm of the file has probability
below 1e-4.
"""

from __future__ import annotations

import math

import pytest
import torch
from chip_builder import ON_CORES, placed, profile
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware.mismatch import draw, project, realise
from snnrobust.hardware.profile import Profile, list_profiles, load_profile
from snnrobust.snn.specs import ROLES, WEIGHTS

SHIPPED = [summary.name for summary in list_profiles()]


def on_cores(components: str, limit: int, granularity: str = "per_neuron") -> Profile:
    return profile(
        f"""
        parameters:
          tau_mem: {{distribution: lognormal, granularity: {granularity}, components: {{{components}}}}}
        limits: {{neurons_per_core: {limit}}}
        """
    )


@pytest.mark.parametrize(
    ("chip", "key"),
    [
        (on_cores("core: {cv: 0.1}", 3), "tau_mem/core"),
        (on_cores("device: {cv: 0.1}", 3, "per_core"), "tau_mem/device"),
    ],
)
def test_neurons_of_one_core_share_its_draw_across_layers(chip, key):
    theta = {"a.tau_mem": torch.ones(4, dtype=torch.float64), "b.tau_mem": torch.ones(3, dtype=torch.float64)}
    placement = placed(chip, theta)
    (c,) = placement.coordinates.values()
    assert (c.key, c.granularity, c.shape) == (key, "per_core", (3,))
    s = math.sqrt(math.log1p(0.01))
    found = realise(placement, theta, {key: torch.tensor([1.0, -1.0, 2.0])})
    assert (found["a.tau_mem"].log() / s).tolist() == pytest.approx([1, 1, 1, -1])
    assert (found["b.tau_mem"].log() / s).tolist() == pytest.approx([-1, -1, 2])


def test_a_core_in_front_does_not_move_when_a_layer_is_added():
    theta = {"a.tau_mem": torch.ones(4), "b.tau_mem": torch.ones(3)}
    chip = on_cores("core: {cv: 0.1}, die: {cv: 0.1}, device: {cv: 0.1}", 3)
    alone = placed(chip, {"a.tau_mem": theta["a.tau_mem"]})
    found = realise(alone, theta, draw(alone, seed=1, purpose="test", instances=range(2)))["a.tau_mem"]
    both = placed(chip, theta)
    assert torch.equal(realise(both, theta, draw(both, seed=1, purpose="test", instances=range(2)))["a.tau_mem"], found)


def test_variance_between_and_within_dies_and_cores():
    # Nested analysis of variance of the logarithms: s_d^2, s_c^2 and s_e^2 of die, core and device.
    chips, cores, n = 3000, 4, 5
    theta = {"l.tau_mem": torch.ones(cores * n, dtype=torch.float64)}
    placement = placed(on_cores("die: {cv: 0.10}, core: {cv: 0.15}, device: {cv: 0.20}", n), theta)
    x = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=range(chips)))["l.tau_mem"]
    x = x.log().reshape(chips, cores, n)
    die, core, device = (math.log1p(cv**2) for cv in (0.10, 0.15, 0.20))
    within = float(x.var(2).mean())
    between = float(x.mean(2).var(1).mean())
    of_means = float(x.mean((1, 2)).var())
    assert abs(within / device - 1) < 5 * math.sqrt(2 / (chips * cores * (n - 1)))
    assert abs(between / (core + device / n) - 1) < 5 * math.sqrt(2 / (chips * (cores - 1)))
    assert abs(of_means / (die + core / cores + device / (cores * n)) - 1) < 5 * math.sqrt(2 / (chips - 1))


def test_total_of_die_and_device():
    # cv 0.10 and 0.20: total sqrt(1.01 1.04 - 1), correlation of two neurons of a chip ln 1.01 / (ln 1.01 + ln 1.04).
    chips = 20_000
    theta = {"l.tau_mem": torch.ones(2, dtype=torch.float64)}
    placement = placed(on_cores("die: {cv: 0.10}, device: {cv: 0.20}", 256), theta)
    x = realise(placement, theta, draw(placement, seed=2, purpose="test", instances=range(chips)))["l.tau_mem"]
    cv = float(x[:, 0].std() / x[:, 0].mean())
    assert abs(cv / 0.224499 - 1) < 5 * math.sqrt(1 / (2 * chips) + 0.2245**2 / chips) * 1.2  # heavier tails: se + 20 %
    r = float(torch.corrcoef(x.log().T)[0, 1])
    assert abs(r - 0.202368) < 5 * (1 - 0.202368**2) / math.sqrt(chips)


def test_outliers_and_trials_of_a_core():
    chip = on_cores("device: {cv: 0.1}, temporal: {cv: 0.05, redraw: trial}", 2, "per_core")
    theta = {"l.tau_mem": torch.ones(4, dtype=torch.float64)}
    placement = placed(chip, theta)
    assert {c.key: c.shape for c in placement.coordinates.values()} == {
        "tau_mem/device": (2,),
        "l.tau_mem/temporal": (2,),
    }
    found = realise(placement, theta, draw(placement, seed=1, purpose="test", instances=[0], trial=1))["l.tau_mem"][0]
    assert found[0] == found[1] != found[2] == found[3]


@settings(deadline=None, max_examples=60)
@given(
    components=st.sampled_from(
        [
            "core: {cv: 0.2}, device: {cv: 0.1}",
            "die: {cv: 0.1}, core: {cv: 0.4}, device: {cv: 0.1}, "
            "spatial: {cv: 0.2, kernel: rbf, correlation_length: 0.3}",
            "core: {cv: 0.1}, spatial: {cv: 0.2, kernel: exponential, correlation_length: 0.1}",
        ]
    ),
    granularity=st.sampled_from(["per_synapse", "per_neuron_type", "per_neuron", "per_core", "per_die"]),
    k=st.sampled_from([0.0, 0.5, 2.0]),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
    instances=st.sampled_from([None, [4, 5]]),
)
def test_projection_is_into_the_box(components, granularity, k, scale, seed, instances):
    chip = profile(
        f"""
        parameters:
          weight: {{distribution: lognormal, granularity: {granularity}, components: {{{components}}}}}
        limits: {{neurons_per_core: 4}}
        """
    )
    theta = {"a.weight": torch.ones(5, 3), "b.weight": -torch.ones(6, 2), "b.recurrent_weight": torch.ones(6, 6)}
    placement = placed(chip, theta)
    z = draw(placement, seed=seed, purpose="attack", instances=instances)
    found = project(placement, {key: scale * value for key, value in z.items()}, k)
    near = 1e-5 * (1 + k)
    assert all(float(value.abs().max()) <= k * (1 + 1e-6) for value in found.values())
    for name, stages in placement.stages.items():
        assert float(stages[0].standardised(found, theta[name]).abs().max()) <= k + near
    again = project(placement, found, k)
    assert all(torch.allclose(again[key], value, atol=near) for key, value in found.items())


# --- every shipped profile -----------------------------------------------------------------------------


def one_layer(value: float = 1.0) -> dict[str, torch.Tensor]:
    """Every role at `value`; the potentials that have no natural unit at 0, so that v_th - v_reset is 1."""
    theta = {f"l.{role}": torch.full((9,), value, dtype=torch.float64) for role in ROLES}
    theta |= {f"l.{role}": torch.full((9, 9), value, dtype=torch.float64) for role in WEIGHTS}
    return theta | {f"l.{role}": torch.zeros(9, dtype=torch.float64) for role in ("v_leak", "v_reset")}


@pytest.mark.parametrize("name", SHIPPED)
def test_each_stated_spread_acts_once(name):
    # At z = 0 the squared derivatives of an element by all static coordinates add up to the sum of s_c^2 that the
    # profile states, on average over the neurons, as a plane is wider at the rim.
    chip = load_profile(name).model_copy(update={"crossbar": None})
    theta = one_layer()
    placement = placed(chip, theta, only_mismatch=True)
    static = [key for key, c in placement.coordinates.items() if c.kind == "continuous"]
    zero = tuple(torch.zeros(placement.coordinates[key].shape, dtype=torch.float64) for key in static)
    for tensor in placement.stages:

        def values(*z, tensor=tensor):
            return realise(placement, theta, dict(zip(static, z, strict=True)))[tensor].flatten()

        jacobian = torch.cat([p.reshape(len(p), -1) for p in torch.autograd.functional.jacobian(values, zero)], 1)
        entry = chip.parameters.get(tensor.split(".")[1])
        stated = [c.spread for part, c in entry.components.given().items() if part != "temporal"]
        expected = sum(math.log1p(v**2) if entry.distribution == "lognormal" else v**2 for v in stated)
        assert float((jacobian**2).sum(1).mean()) == pytest.approx(expected, rel=1e-5), tensor


@pytest.mark.parametrize("name", SHIPPED)
def test_every_role_has_a_model_or_is_named(name):
    chip = load_profile(name)
    unlisted = set(placed(chip, one_layer()).unlisted())
    programmed = set(WEIGHTS) if chip.crossbar is not None else set()
    modelled = {role for role in ROLES if chip.parameters.get(role) is not None} | programmed
    assert unlisted == (set() if chip.kind == "ideal" else set(ROLES) - modelled)


def flips(chip: Profile) -> bool:
    """Whether any weight of 20 chips has another sign, also at four times the spread."""
    generator = torch.Generator().manual_seed(1)
    theta = {
        f"l.{role}": torch.randn(8, 8, generator=generator) * torch.ones(8).index_fill(0, torch.tensor([2]), 0.0)
        for role in WEIGHTS
    }
    placement = placed(chip, theta)
    z = draw(placement, seed=1, purpose="test", instances=range(20))
    for scale in (1.0, 4.0):
        found = realise(placement, theta, {key: scale * value for key, value in z.items()})
        if any(bool((p * theta[key] < 0).any() or p[..., 2].any()) for key, p in found.items()):
            return True
    return False


@pytest.mark.parametrize("name", SHIPPED)
def test_a_factor_never_flips_a_sign(name):
    # A pair of conductances can: its two sides are programmed independently. That is no factor.
    assert not flips(load_profile(name).model_copy(update={"crossbar": None}))


def test_only_the_level_of_sweeps_flips_signs():
    assert flips(Profile.relative(0.3))
    assert not flips(Profile.relative(0.3, distribution="lognormal"))


def test_the_same_z_on_every_profile_layout_bit_width_and_temperature():
    chips = [load_profile(name) for name in SHIPPED] + [
        profile(ON_CORES),
        profile(ON_CORES.replace("per_core: 3", "per_core: 5")),
        profile(ON_CORES + "quantization: {weight: {scheme: uniform, bits: 4}}"),
        profile(ON_CORES + "environment: {temperature: 330, temperature_ref: 300, bias_law: ptat}"),
    ]
    placements = [placed(chip, one_layer()) for chip in chips]
    zs = [draw(p, seed=3, purpose="test", instances=[17], trial=2) for p in placements]
    seen: dict[tuple[str, str], torch.Tensor] = {}
    for p, z in zip(placements, zs, strict=True):
        for key, c in p.coordinates.items():
            value, other = z[key].flatten(), seen.setdefault((key, c.granularity), z[key].flatten())
            n = min(len(value), len(other))  # a layout with fewer cores has fewer coordinates
            assert torch.equal(value[:n], other[:n])
    assert len(seen) < sum(map(len, zs)) / 2
