"""The attack and the noise themselves: where they may go, and what they move."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.hardware import Model, Profile, load_profile
from snnrobust.hardware.mismatch import draw, place, realise
from snnrobust.hardware.stages import Variation
from snnrobust.training import Problem, StepKey
from snnrobust.training.perturb import ascend, noisy, start_of_attack
from snnrobust.training.problem import kl_divergence

KEY = StepKey(3, 11)


def attack(net, batch, *, profile, k=1.0, steps=10, initial=0.01, key=KEY):
    """The box, the start, where the attack ends, and the divergence there and at the start."""
    problem = Problem(net)
    params = net.nominal()
    box = place(profile, net.parameter_specs())
    clean = problem.logits(params, batch).detach()

    def divergence(moved):
        return kl_divergence(clean, problem.logits(moved, batch))

    start = start_of_attack(box, key, k=k, initial=initial)
    z = ascend(box, params, divergence, start, k=k, steps=steps)
    with torch.no_grad():
        return box, start, z, float(divergence(realise(box, params, start))), float(divergence(realise(box, params, z)))


@pytest.mark.parametrize("seed", range(8))
def test_the_attack_raises_the_divergence(smooth, batch, seed):
    _, _, _, before, after = attack(smooth(seed), batch, profile=Profile.relative(0.1), key=StepKey(seed, 0))
    assert after > 10 * before > 0


@pytest.mark.parametrize("engine", ["eager", "numba"])
def test_restarts_ride_on_the_instance_axis(smooth, batch, engine):
    net = smooth()
    net.engine = engine
    problem, params, box = Problem(net), net.nominal(), place(Profile.relative(0.1), net.parameter_specs())
    clean = problem.logits(params, batch).detach()

    def divergence(moved):
        return kl_divergence(clean, problem.logits(moved, batch))

    starts = start_of_attack(box, KEY, k=1.0, initial=0.1, restarts=3)
    alone = start_of_attack(box, KEY, k=1.0, initial=0.1)
    assert all(torch.equal(starts[name][0], value) for name, value in alone.items())
    together = ascend(box, params, divergence, starts, k=1.0, steps=4)
    for r in range(3):
        one = ascend(box, params, divergence, {n: z[r] for n, z in starts.items()}, k=1.0, steps=4)
        for name, z in one.items():
            assert (together[name][r] == z).float().mean() > 0.999, name  # a sign of nearly 0 may turn
            assert not torch.equal(z, starts[name][r])


def test_the_attack_beats_random_corners_of_its_box(smooth, batch):
    net = smooth()
    box, _, _, _, after = attack(net, batch, profile=Profile.relative(0.1))
    generator = torch.Generator().manual_seed(0)
    problem, clean = Problem(net), net.run(net.nominal(), batch.x)
    for _ in range(50):
        corner = {
            name: torch.randint(0, 2, c.shape, generator=generator) * 2.0 - 1 for name, c in box.coordinates.items()
        }
        with torch.no_grad():
            assert kl_divergence(clean, problem.logits(realise(box, net.nominal(), corner), batch)) < after


@settings(deadline=None, max_examples=60)
@given(
    radius=st.floats(1e-3, 1.0),
    steps=st.integers(1, 6),
    initial=st.floats(0.0, 10.0),
    seed=st.integers(0, 10**6),
    double=st.booleans(),
)
def test_the_attack_never_leaves_its_box(radius, steps, initial, seed, double):
    rng = np.random.default_rng(seed)
    dtype = torch.float64 if double else torch.float32
    values = rng.normal(size=(4, 3)) * rng.integers(0, 2, (4, 3)) * 10.0 ** rng.integers(-6, 6)
    net = Model(lambda p, x: torch.tanh(x[0] @ p["w"].T), {"w": torch.tensor(values, dtype=dtype)}, {"w": "weight"})
    x = torch.tensor(rng.normal(size=(1, 5, 3)), dtype=dtype)
    box = place(Profile.relative(radius), net.parameter_specs())
    theta = net.nominal()
    start = start_of_attack(box, StepKey(seed, 0), k=1.0, initial=initial)
    z = ascend(box, theta, lambda moved: net.run(moved, x).square().sum(), start, k=1.0, steps=steps)
    moved = realise(box, theta, z)["w"]
    size, rounding = theta["w"].abs().double(), 4 * torch.finfo(dtype).eps
    assert bool(((moved - theta["w"]).abs().double() <= (radius + rounding) * size).all())
    assert all(float(value.abs().max()) <= 1 for value in z.values())


def test_an_attack_of_zero_steps_only_projects_its_start(smooth, batch):
    _, start, z, _, _ = attack(smooth(), batch, profile=Profile.relative(0.1), steps=0, initial=3.0)
    for name, value in start.items():
        assert float(value.abs().max()) > 1
        assert torch.equal(z[name], value.clamp(-1, 1))


def test_the_start_has_the_stated_size(smooth, batch):
    box, start, _, _, _ = attack(smooth(), batch, profile=Profile.relative(0.1), k=2.0, initial=0.05)
    drawn = draw(box, seed=KEY.seed, purpose="attack", instances=None, extra=(KEY.step,))
    for name, value in start.items():
        assert torch.equal(value, drawn[name] * 0.1)


def test_one_step_goes_the_whole_way(smooth, batch):
    _, start, z, _, _ = attack(smooth(), batch, profile=Profile.relative(0.1), steps=1, initial=0.0)
    assert all(not value.any() for value in start.values())
    # At the nominal point the divergence has its minimum: rounding decides the sign there, so each is -1, 0 or 1.
    assert set(torch.cat([value.flatten() for value in z.values()]).tolist()) <= {-1.0, 0.0, 1.0}


def test_zeros_stay_zero_under_a_relative_attack(smooth, batch):
    net = smooth()
    with torch.no_grad():
        net.nominal()["w"][:, 0] = 0
        net.nominal()["b"].zero_()
    box, _, z, before, after = attack(net, batch, profile=Profile.relative(0.2))
    moved = realise(box, net.nominal(), z)
    assert after > before
    assert not moved["w"][:, 0].any()
    assert not moved["b"].any()
    assert bool((moved["w"][:, 1:] != net.nominal()["w"][:, 1:]).all())


def test_any_roles_can_be_attacked(network, task_of):
    from snnrobust.training.data import to_batch

    net, batch = network(), to_batch(task_of().train, slice(None))
    box, _, z, before, after = attack(net, batch, profile=Profile.relative(0.3, roles=("tau_mem", "v_th")))
    nominal, moved = net.nominal(), realise(box, net.nominal(), z)
    assert after > before
    for name, p in nominal.items():
        if name.endswith(("tau_mem", "v_th")):
            assert float(((moved[name] - p).abs() / p).max()) <= 0.3 * (1 + 1e-6)
            assert float(((moved[name] - p).abs() / p).max()) > 0.25
        else:
            assert moved[name] is p


def test_a_profile_is_attacked_in_its_standard_deviations(network, task_of):
    from snnrobust.training.data import to_batch

    net, batch, k = network(), to_batch(task_of().train, slice(None)), 1.5
    box, _, z, before, after = attack(net, batch, profile=load_profile("dynapse1"), k=k, initial=0.5)
    assert after > before
    held = draw(box, seed=KEY.seed, purpose="train", instances=None, extra=(KEY.step,), kinds=("fixed", "temporal"))
    assert {c.kind for c in box.coordinates.values()} == {"continuous", "fixed", "temporal"}
    for name, c in box.coordinates.items():
        if c.kind == "continuous":
            assert float(z[name].abs().max()) <= k
        else:
            assert torch.equal(z[name], held[name])
    totals = {
        name: stage.standardised(z, net.nominal()[name]).abs().max()
        for name, stages in box.stages.items()
        for stage in stages
        if isinstance(stage, Variation)
    }
    assert len(totals) > 3
    assert all(float(total) <= k * (1 + 1e-6) for total in totals.values())


@pytest.mark.parametrize("through", ["constant", "theta"])
def test_noise_is_the_relative_level(smooth, through):
    net = smooth()
    placement = place(Profile.relative(0.3), net.parameter_specs())
    z = draw(placement, seed=KEY.seed, purpose="train", instances=None, extra=(KEY.step,))
    found = noisy(placement, net.nominal(), KEY, through=through)
    for name, p in net.nominal().items():
        torch.testing.assert_close(found[name], p * (1 + 0.3 * z[f"{name}/device"].double()), rtol=1e-12, atol=1e-14)


def test_noise_differs_from_step_to_step_and_from_the_attack(smooth):
    placement = place(Profile.relative(0.3), smooth().parameter_specs())
    drawn = [
        noisy(placement, smooth().nominal(), StepKey(s, t), through="constant")["w"]
        for s, t in [(0, 0), (0, 1), (1, 0)]
    ]
    assert not any(torch.equal(a, b) for a, b in [(drawn[0], drawn[1]), (drawn[0], drawn[2]), (drawn[1], drawn[2])])
    start = start_of_attack(placement, StepKey(0, 0), k=1.0, initial=1.0)
    noise = draw(placement, seed=0, purpose="train", instances=None, extra=(0,))
    assert not any(torch.equal(start[name], noise[name]) for name in start)
