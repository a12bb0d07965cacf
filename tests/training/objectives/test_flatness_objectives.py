"""The worst parameters nearby: each set's closed form for one step, bounds for several, and the gradient there."""

import math

import pytest
import torch
from equations import KEY, close, detached, kl, leaves, loss_and_slope, step

from snnrobust.hardware import Model, Profile
from snnrobust.hardware.mismatch import place, realise
from snnrobust.training import AMP, ASAM, AWP, SAM, Adversarial, ForwardNoise, Standard, StepKey
from snnrobust.training.perturb import ascend, start_of_attack
from snnrobust.training.steepest import climb, steepest


def moved_to(net, e, batch):
    """Loss at theta + e, and its gradient there: what is applied to theta."""
    return loss_and_slope(net, {name: p + e[name] for name, p in detached(net).items()}, batch)


def length(parts):
    return math.sqrt(sum(float((part**2).sum()) for part in parts.values()))


def check(result, loss, slope, rtol=1e-9):
    assert result.loss == pytest.approx(float(loss), rel=rtol)
    close(result.grads, slope, rtol=rtol)


def test_sam_goes_along_the_gradient(smooth, batch):
    net, radius = smooth(), 0.3
    clean, g = loss_and_slope(net, detached(net), batch)
    e = {name: radius * value / length(g) for name, value in g.items()}
    loss, slope = moved_to(net, e, batch)
    check(step(SAM(radius=radius), net, batch), loss, slope)
    assert float(loss) > float(clean)


def test_sam_moves_the_roles_that_are_asked_for(smooth, batch):
    net, radius = smooth(), 0.3
    _, g = loss_and_slope(net, detached(net), batch)
    own = {name: g[name] for name in ("b", "c")}
    e = {name: radius * own[name] / length(own) if name in own else torch.zeros_like(p) for name, p in g.items()}
    check(step(SAM(radius=radius, roles=("bias",)), net, batch), *moved_to(net, e, batch))


def test_asam_goes_further_where_parameters_are_large(smooth, batch):
    net, radius, eta = smooth(), 0.4, 0.05
    _, g = loss_and_slope(net, detached(net), batch)
    T = {name: p.abs() + eta for name, p in detached(net).items()}
    norm = length({name: T[name] * g[name] for name in g})
    e = {name: radius * T[name] ** 2 * g[name] / norm for name in g}
    check(step(ASAM(radius=radius, eta=eta), net, batch), *moved_to(net, e, batch))


def test_asam_of_a_profile_takes_its_standard_deviations(smooth, batch, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(Profile.relative(0.2).to_yaml().replace("kind: relative", "kind: analog_asic"))
    net, radius = smooth(), 1.5
    _, g = loss_and_slope(net, detached(net), batch)
    T = {name: 0.2 * p.abs() for name, p in detached(net).items()}
    norm = length({name: T[name] * g[name] for name in g})
    e = {name: radius * T[name] ** 2 * g[name] / norm for name in g}
    check(step(ASAM(radius=radius, profile=str(path)), net, batch), *moved_to(net, e, batch), rtol=1e-5)


def test_the_step_is_the_best_in_its_ellipsoid():
    """For a linear loss no other point of the ellipsoid is better, and the step lies on its surface."""
    generator = torch.Generator().manual_seed(1)
    theta = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in (("a", (3, 2)), ("b", (4,)))}
    slope = {n: torch.randn(p.shape, generator=generator, dtype=torch.float64) for n, p in theta.items()}

    def loss(params):
        return sum((slope[n] * params[n]).sum() for n in slope)

    def scale(p):
        return p.abs() + 0.1

    e = steepest(theta, ["a", "b"], loss, radius=0.7, scale=scale)
    assert length({n: e[n] / scale(theta[n]) for n in e}) == pytest.approx(0.7, rel=1e-12)
    best = float(sum((slope[n] * e[n]).sum() for n in e))
    for _ in range(100):
        other = {n: torch.randn(p.shape, generator=generator, dtype=torch.float64) for n, p in theta.items()}
        size = length(other)
        assert float(sum((slope[n] * scale(theta[n]) * other[n] * 0.7 / size).sum() for n in e)) < best


@pytest.mark.parametrize("steps", [1, 3])
def test_amp_climbs_in_a_ball_of_each_tensor(smooth, batch, steps):
    net, radius = smooth(), 0.2
    e = {name: torch.zeros_like(p) for name, p in detached(net).items()}
    for _ in range(steps):
        _, g = moved_to(net, e, batch)
        e = {name: e[name] + radius / steps * g[name] / g[name].norm() for name in g}
    assert all(float(value.norm()) <= radius * (1 + 1e-12) for value in e.values())
    check(step(AMP(radius=radius, steps=steps), net, batch), *moved_to(net, e, batch))


def test_awp_of_tensors_is_relative_to_their_norm(smooth, batch):
    net = smooth()
    _, g = loss_and_slope(net, detached(net), batch)
    e = {name: 0.5 * 0.1 * p.norm() * g[name] / g[name].norm() for name, p in detached(net).items()}
    check(step(AWP(radius=0.1, gamma=0.5, ball="tensor"), net, batch), *moved_to(net, e, batch))


@pytest.mark.parametrize(("steps", "gamma"), [(1, 1.0), (4, 0.3)])
def test_awp_is_an_attack_on_the_task_loss_in_the_box(smooth, batch, steps, gamma):
    net, radius = smooth(), 0.2
    theta = detached(net)
    star = dict(theta)
    for _ in range(steps):
        _, g = loss_and_slope(net, star, batch)
        star = {
            name: torch.clamp(
                star[name] + radius * p.abs() / steps * g[name].sign(), p - radius * p.abs(), p + radius * p.abs()
            )
            for name, p in theta.items()
        }
    e = {name: gamma * (star[name] - p) for name, p in theta.items()}
    loss, slope = moved_to(net, e, batch)
    assert float(loss) > step(Standard(), net, batch).loss
    check(step(AWP(radius=radius, steps=steps, gamma=gamma), net, batch), loss, slope, rtol=1e-6)


def test_a_gradient_of_zero_moves_nothing():
    theta = {"a": torch.ones(3)}
    assert not steepest(theta, ["a"], lambda p: 0 * p["a"].sum(), radius=1.0, scale=torch.ones_like)["a"].any()
    assert not climb(theta, lambda p: 0 * p["a"].sum(), radius={"a": 1.0}, steps=2)["a"].any()


# The ball of standardised coordinates


def in_a_ball(net, batch, *, k, steps, restarts=None):
    box = place(Profile.relative(0.1), net.parameter_specs())
    clean = net.run(net.nominal(), batch.x).detach()
    start = start_of_attack(box, KEY, k=k, initial=0.01, restarts=restarts)

    def loss(moved):
        return kl(clean, net.run(moved, batch.x))

    return box, ascend(box, net.nominal(), loss, start, k=k, steps=steps, norm="l2"), loss


@pytest.mark.parametrize("k", [0.5, 2.0])
def test_the_attack_in_a_ball_stays_in_it_and_reaches_its_surface(smooth, batch, k):
    net = smooth()
    box, z, loss = in_a_ball(net, batch, k=k, steps=12)
    size = sum(value.numel() for value in z.values())
    assert 0.9 * k < length(z) / math.sqrt(size) <= k * (1 + 1e-6)
    found = float(loss(realise(box, detached(net), z)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        other = {name: torch.randn(value.shape, generator=generator) for name, value in z.items()}
        other = {name: value * k * math.sqrt(size) / length(other) for name, value in other.items()}
        assert float(loss(realise(box, detached(net), other))) < found


def test_attacks_on_the_instance_axis_have_a_ball_each(smooth, batch):
    net = smooth()
    _, together, _ = in_a_ball(net, batch, k=1.0, steps=3, restarts=3)
    size = sum(value[0].numel() for value in together.values())
    lengths = [length({name: value[r] for name, value in together.items()}) for r in range(3)]
    assert all(0.9 < own / math.sqrt(size) <= 1 + 1e-6 for own in lengths)
    _, alone, _ = in_a_ball(net, batch, k=1.0, steps=3)
    close({name: value[0] for name, value in together.items()}, alone, rtol=1e-4, atol=1e-5)


def test_one_step_in_the_ball_of_a_linear_loss_is_its_gradient():
    net = Model(lambda p, x: x[0] @ p["w"].T, {"w": torch.tensor([[1.0, -2.0], [0.5, 3.0]])}, {"w": "weight"})
    box = place(Profile.relative(0.1), net.parameter_specs())
    slope = torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    z = ascend(
        box, net.nominal(), lambda p: (p["w"] * slope).sum(), {"w/device": torch.zeros(2, 2)}, k=1.0, steps=1, norm="l2"
    )["w/device"]
    g = net.nominal()["w"].detach() * slope
    torch.testing.assert_close(z, 2.0 * g / g.norm())  # the radius is sqrt(4)


# The choices of the adversarial objective


@pytest.mark.parametrize("beta", [0.7])
def test_the_attack_on_the_task_loss_adds_the_loss_there(smooth, batch, beta):
    net, radius = smooth(), 0.2
    theta = detached(net)
    box = place(Profile.relative(radius), net.parameter_specs())

    def loss(moved):
        return torch.nn.functional.cross_entropy(net.run(moved, batch.x), batch.y)

    z = ascend(box, theta, loss, start_of_attack(box, KEY, k=1.0, initial=0.01), k=1.0, steps=3)
    clean, g = loss_and_slope(net, theta, batch)
    at_star, g_star = loss_and_slope(net, realise(box, theta, z), batch)
    options = {"radius": radius, "steps": 3, "beta": beta, "forward_noise": 0.0, "climbed": "task"}
    factor = {name: 1 + radius * z[f"{name}/device"].double() for name in theta}
    for through, jacobian in (("theta", factor), ("constant", dict.fromkeys(theta, 1.0))):
        result = step(Adversarial(**options, through=through), net, batch)
        assert result.loss == pytest.approx(float(clean) + beta * float(at_star), rel=1e-9)
        close(result.grads, {n: g[n] + beta * g_star[n] * jacobian[n] for n in g}, rtol=1e-8)


def test_a_constant_attack_still_moves_the_clean_branch(smooth, batch):
    net = smooth()
    theta, options = detached(net), {"radius": 0.2, "steps": 2, "beta": 1.5, "forward_noise": 0.0}
    box = place(Profile.relative(0.2), net.parameter_specs())
    clean = net.run(theta, batch.x)
    z = ascend(
        box,
        theta,
        lambda moved: kl(clean, net.run(moved, batch.x)),
        start_of_attack(box, KEY, k=1.0, initial=0.01),
        k=1.0,
        steps=2,
    )
    at, star = leaves(theta), leaves(realise(box, theta, z))
    total = torch.nn.functional.cross_entropy(net.run(at, batch.x), batch.y)
    total = total + 1.5 * kl(net.run(at, batch.x), net.run(star, batch.x))
    found = torch.autograd.grad(total, [*at.values(), *star.values()])
    expected = {name: found[i] + found[i + len(at)] for i, name in enumerate(at)}
    close(step(Adversarial(**options, through="constant"), net, batch).grads, expected, rtol=1e-6, atol=1e-9)


def test_the_radius_grows_over_the_training(smooth, batch):
    net, options = smooth(), {"steps": 3, "forward_noise": 0.0}
    whole = step(Adversarial(radius=0.05, **options), net, batch)
    grown = step(Adversarial(radius=0.2, ramp=0.4, **options), net, batch, StepKey(7, 4, 0.1))
    assert grown.loss == pytest.approx(whole.loss, rel=1e-6)
    close(grown.grads, whole.grads, rtol=1e-4, atol=1e-8)
    start = step(Adversarial(radius=0.2, ramp=0.4, **options), net, batch, StepKey(7, 4, 0.0))
    assert start.loss == pytest.approx(step(Standard(), net, batch).loss, rel=1e-12)


def test_noise_of_its_own_takes_the_place_of_the_task_loss(smooth, batch):
    net, options = smooth(), {"steps": 2, "beta": 0.4}
    noise = ForwardNoise(level=0.2, draws=3)
    alone, attack = step(noise, net, batch), step(Adversarial(forward_noise=0.0, **options), net, batch)
    both = step(Adversarial(forward_noise=noise, **options), net, batch)
    clean = step(Standard(), net, batch)
    assert both.loss == pytest.approx(alone.loss + attack.loss - clean.loss, rel=1e-9)
    close(both.grads, {n: alone.grads[n] + attack.grads[n] - clean.grads[n] for n in both.grads}, rtol=1e-6, atol=1e-9)
