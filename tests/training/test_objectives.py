"""Objectives against the paper's pseudocode, written out here in a few lines, and against finite differences."""

import json
import math

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.hardware import Profile
from snnrobust.hardware.mismatch import draw, place, realise
from snnrobust.training import OBJECTIVES, Adversarial, ForwardNoise, Problem, QuantizationAware, Standard, StepKey
from snnrobust.training.data import to_batch
from snnrobust.training.perturb import ascend, start_of_attack
from snnrobust.training.problem import kl_divergence

KEY = StepKey(7, 4)


def normals(net, purpose, key=KEY):
    """The draw of one step, by parameter."""
    placement = place(Profile.relative(0.5), net.parameter_specs())
    found = draw(placement, seed=key.seed, purpose=purpose, instances=None, extra=(key.step,))
    return {name.removesuffix("/device"): value.double() for name, value in found.items()}


def kl(p_logits, q_logits):
    """KL(softmax p || softmax q), the mean over samples, from its definition."""
    p, q = p_logits.softmax(-1), q_logits.softmax(-1)
    return (p * (p.log() - q.log())).sum() / len(p)


def leaves(params):
    return {name: p.detach().clone().requires_grad_() for name, p in params.items()}


def paper_attack(net, theta, x, *, radius, steps, initial):
    """PGA of Büchel et al. 2022, in the space of theta: theta*, and the sum of the signs of the gradients."""
    clean = net.run(theta, x).detach()
    # Their start is eps |theta| R with R symmetric; ours is radius initial theta R, the same up to the sign of R.
    start = {name: radius * initial * p * r for (name, p), r in zip(theta.items(), initial_normals(net), strict=True)}
    moved = {name: p + start[name] for name, p in theta.items()}
    signs = {name: torch.zeros_like(p) for name, p in theta.items()}
    clipped = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in theta.items()}
    for _ in range(steps):
        at = leaves(moved)
        found = torch.autograd.grad(kl(clean, net.run(at, x)), list(at.values()))
        for (name, p), g in zip(theta.items(), found, strict=True):
            reached = moved[name] + radius * p.abs() / steps * g.sign()
            box = radius * p.abs()
            moved[name] = torch.minimum(torch.maximum(reached, p - box), p + box)
            clipped[name] |= moved[name] != reached
            signs[name] += g.sign()
    return moved, start, signs, clipped


def initial_normals(net):
    found = normals(net, "attack")
    return [found[name] for name in net.nominal()]


def detached(net):
    return {name: p.detach() for name, p in net.nominal().items()}


@pytest.mark.parametrize(("radius", "steps"), [(0.1, 10), (0.1, 1), (0.5, 3)])
def test_theta_star_and_its_jacobian_are_the_papers(smooth, batch, radius, steps):
    net = smooth(1)
    theta = detached(net)
    expected, start, signs, clipped = paper_attack(net, theta, batch.x, radius=radius, steps=steps, initial=0.01)
    box = place(Profile.relative(radius), net.parameter_specs())
    clean = net.run(theta, batch.x)
    z = ascend(
        box,
        theta,
        lambda moved: kl_divergence(clean, net.run(moved, batch.x)),
        start_of_attack(box, KEY, k=1.0, initial=0.01),
        k=1.0,
        steps=steps,
    )
    for name, p in theta.items():
        moved = realise(box, theta, z)[name]
        torch.testing.assert_close(moved, expected[name], rtol=0, atol=1e-6 * radius)

        def star(value, name=name):
            return realise(box, {**theta, name: value}, z)[name].flatten()

        jacobian = torch.autograd.functional.jacobian(star, p).reshape(p.numel(), p.numel())
        diagonal = 1 + radius * z[f"{name}/device"].double().flatten()
        torch.testing.assert_close(jacobian, torch.diag(diagonal), rtol=1e-12, atol=1e-14)

        eps_r = start[name] / p.abs()
        formula = 1 + p.sign() * (eps_r + radius / steps * signs[name])
        free = ~clipped[name]
        assert bool(free.any())
        torch.testing.assert_close(
            jacobian.diagonal().reshape(p.shape)[free], formula[free], rtol=0, atol=1e-6 * radius
        )


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_loss_and_gradient_are_the_papers(smooth, batch, noise):
    """final gradient = dL_task (at theta + noise) + beta (dKL/dtheta* . J + dKL/dtheta)."""
    net, beta, radius, steps = smooth(2), 0.25, 0.1, 10
    theta = detached(net)
    star, _, _, _ = paper_attack(net, theta, batch.x, radius=radius, steps=steps, initial=0.01)
    z = normals(net, "train")
    at_noise = leaves({name: p * (1 + noise * z[name]) for name, p in theta.items()})
    task = torch.nn.functional.cross_entropy(net.run(at_noise, batch.x), batch.y)
    task_grad = torch.autograd.grad(task, list(at_noise.values()))
    clean, attacked = leaves(theta), leaves(star)
    robust = kl(net.run(clean, batch.x), net.run(attacked, batch.x))
    clean_grad = torch.autograd.grad(robust, list(clean.values()), retain_graph=True)
    star_grad = torch.autograd.grad(robust, list(attacked.values()))

    objective = Adversarial(radius=radius, steps=steps, beta=beta, forward_noise=noise)
    result = objective.bind(Problem(net))(net.nominal(), batch, KEY)
    assert result.metrics == {"task": pytest.approx(task.item()), "robust": pytest.approx(robust.item(), rel=1e-5)}
    assert result.loss == pytest.approx(task.item() + beta * robust.item(), rel=1e-6)
    for (name, p), g_task, g_clean, g_star in zip(theta.items(), task_grad, clean_grad, star_grad, strict=True):
        jacobian = 1 + (star[name] - p) / p
        torch.testing.assert_close(
            result.grads[name], g_task + beta * (g_star * jacobian + g_clean), rtol=1e-5, atol=1e-7
        )
        # Both branches count: without either, the gradient would be another one.
        assert float((beta * g_clean).abs().max()) > 1e-5
        assert float((beta * g_star).abs().max()) > 1e-5


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_gradient_by_finite_differences(smooth, batch, noise):
    """With z and the noise's displacement held, the gradient is that of the loss as a function of theta alone."""
    net, radius, beta = smooth(3), 0.2, 2.0
    theta, r = detached(net), normals(net, "train")
    star, _, _, _ = paper_attack(net, theta, batch.x, radius=radius, steps=4, initial=0.01)
    delta = {name: (star[name] - p) / p.abs() for name, p in theta.items()}
    displacement = {name: noise * p * r[name] for name, p in theta.items()}

    def loss(at):
        moved = net.run({name: p + displacement[name] for name, p in at.items()}, batch.x)
        attacked = net.run({name: p + p.abs() * delta[name] for name, p in at.items()}, batch.x)
        return float(torch.nn.functional.cross_entropy(moved, batch.y) + beta * kl(net.run(at, batch.x), attacked))

    objective = Adversarial(radius=radius, steps=4, beta=beta, forward_noise=noise)
    grads = objective.bind(Problem(net))(net.nominal(), batch, KEY).grads
    step = 1e-5
    for name, p in theta.items():
        for index in np.ndindex(*p.shape):
            shift = torch.zeros_like(p)
            shift[index] = step
            slope = (loss({**theta, name: p + shift}) - loss({**theta, name: p - shift})) / (2 * step)
            assert float(grads[name][index]) == pytest.approx(slope, rel=2e-5, abs=1e-7)


def test_the_attack_needs_no_labels(network, task, recorded):
    net, batch = network(), to_batch(task.train, slice(None))
    runs = []
    for y in (batch.y, (batch.y + 1) % 3):
        wrapped = recorded(net)
        result = Adversarial(steps=3).bind(Problem(wrapped))(net.nominal(), batch._replace(y=y), KEY)
        runs.append((wrapped.passes[-1], result))
    assert runs[0][1].metrics["task"] != runs[1][1].metrics["task"]
    assert runs[0][1].metrics["robust"] == runs[1][1].metrics["robust"] > 0
    assert all(torch.equal(runs[0][0][name], runs[1][0][name]) for name in runs[0][0])


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (Standard(), 1),
        (ForwardNoise(), 1),
        (Adversarial(steps=1, forward_noise=0.0), 3),
        (Adversarial(steps=10, forward_noise=0.0), 12),
        (Adversarial(steps=10), 13),
        (Adversarial(radius=0.0, steps=10), 1),
    ],
)
def test_passes_a_step(smooth, batch, recorded, objective, passes):
    net = recorded(smooth())
    objective.bind(Problem(net))(net.nominal(), batch, KEY)
    assert len(net.passes) == passes


def same(a, b):
    return a.loss == b.loss and all(torch.equal(a.grads[name], b.grads[name]) for name in a.grads)


def test_without_radius_the_noise_is_left_and_without_noise_the_standard_loss(network, task):
    net, batch = network(), to_batch(task.train, slice(None))

    def result(objective):
        return objective.bind(Problem(net))(net.nominal(), batch, KEY)

    noise = result(ForwardNoise(level=0.3))
    standard = result(Standard())
    assert same(result(Adversarial(radius=0.0, forward_noise=0.3)), noise)
    assert same(result(Adversarial(radius=0.0, forward_noise=0.0)), standard)
    assert same(result(ForwardNoise(level=0.0)), standard)
    assert same(result(ForwardNoise(level=0.0, through="theta")), standard)
    assert same(result(ForwardNoise(roles=())), standard)
    assert not same(noise, standard)


@pytest.mark.parametrize("through", ["constant", "theta"])
def test_forward_noise_gradient(smooth, batch, through):
    net, z = smooth(), normals(smooth(), "train")
    moved = leaves({name: p * (1 + 0.3 * z[name]) for name, p in detached(net).items()})
    loss = torch.nn.functional.cross_entropy(net.run(moved, batch.x), batch.y)
    expected = dict(zip(moved, torch.autograd.grad(loss, list(moved.values())), strict=True))
    result = ForwardNoise(level=0.3, through=through).bind(Problem(net))(net.nominal(), batch, KEY)
    assert result.loss == pytest.approx(loss.item(), rel=1e-12)
    for name, g in expected.items():
        factor = 1 + 0.3 * z[name] if through == "theta" else 1.0
        torch.testing.assert_close(result.grads[name], g * factor, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "objective",
    [
        Standard(),
        ForwardNoise(profile="dynapse1"),
        QuantizationAware(),
        Adversarial(steps=2),
        Adversarial(steps=2, radius=1.0, profile="dynapse1"),
        Adversarial(steps=2, radius=1.0, profile="pcm_ibm"),
        Adversarial(steps=2, roles=("tau_mem", "v_th")),
    ],
)
def test_an_objective_leaves_no_trace(network, task, objective, untouched_generators):
    net, batch = network(), to_batch(task.train, slice(None))
    net.eval()
    before = {name: p.detach().clone() for name, p in net.nominal().items()}
    wanted = {name: p.requires_grad for name, p in net.nominal().items()}
    result = objective.bind(Problem(net))(net.nominal(), batch, KEY)
    assert math.isfinite(result.loss)
    assert set(result.grads) == {name for name, needs in wanted.items() if needs}
    assert all(bool(g.isfinite().all()) and not g.requires_grad for g in result.grads.values())
    assert not any(module.training for module in net.modules())
    for name, p in net.nominal().items():
        assert p.grad is None
        assert p.requires_grad == wanted[name]
        assert torch.equal(p, before[name])


@pytest.mark.parametrize("objective", [ForwardNoise(), Adversarial(steps=2), ForwardNoise(profile="dynapse1")])
def test_draws_depend_on_seed_and_step_alone(network, task, objective):
    net, batch = network(), to_batch(task.train, slice(None))
    bound = objective.bind(Problem(net))
    first = bound(net.nominal(), batch, StepKey(0, 0))
    for other in (StepKey(0, 1), StepKey(1, 0)):
        assert not same(bound(net.nominal(), batch, other), first)
    torch.manual_seed(99)
    assert same(bound(net.nominal(), batch, StepKey(0, 0)), first)
    assert same(objective.bind(Problem(net))(net.nominal(), batch, StepKey(0, 0)), first)


def test_a_profile_with_zero_sigmas_is_not_attacked(network, task, recorded):
    net, batch = recorded(network()), to_batch(task.train, slice(None))
    Adversarial(radius=0.0, profile="dynapse1", forward_noise=0.0).bind(Problem(net))(net.nominal(), batch, KEY)
    assert len(net.passes) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adversarial(radius=-0.1), "radius: -0.1"),
        (lambda: Adversarial(beta=math.nan), "beta: nan"),
        (lambda: Adversarial(forward_noise=math.inf), "forward_noise: inf"),
        (lambda: Adversarial(initial=-1), "initial: -1"),
        (lambda: Adversarial(steps=0), "steps: 0 must be at least 1"),
        (lambda: Adversarial(roles=("weights",)), "roles: unknown 'weights' .did you mean 'weight'"),
        (lambda: ForwardNoise(level=-0.3), "level: -0.3"),
        (lambda: ForwardNoise(through="straight"), "through: unknown 'straight'.* allowed: constant, theta"),
        (lambda: ForwardNoise(roles=("tau",)), "roles: unknown 'tau'"),
    ],
)
def test_errors_name_the_choice(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_choices_are_plain_values(name):
    stored = json.loads(json.dumps(OBJECTIVES[name]().to_dict()))
    assert stored.pop("name") == name
    stored.pop("profile_hash", None)
    assert (
        OBJECTIVES[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}) == OBJECTIVES[name]()
    )


def test_the_choices_of_a_profile_hold_its_content(tmp_path):
    path = tmp_path / "mine.yaml"
    text = Profile.relative(0.1).to_yaml().replace("kind: relative", "kind: analog_asic")
    path.write_text(text)
    before = Adversarial(profile=str(path)).to_dict()
    path.write_text(text.replace("cv: 0.1", "cv: 0.2"))
    after = Adversarial(profile=str(path)).to_dict()
    assert before["profile"] == after["profile"]
    assert before != after
