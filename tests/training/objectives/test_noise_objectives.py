"""Random devices: the equations of how they are drawn and how their losses are combined, written out."""

import json
import math

import numpy as np
import pytest
import torch
from equations import KEY, close, detached, kl, leaves, loss_and_slope, mean, step, z_of

from snnrobust.errors import ConfigError
from snnrobust.hardware import Profile
from snnrobust.storage import read_run
from snnrobust.training import (
    Adversarial,
    CVaR,
    Distillation,
    FiringRate,
    ForwardNoise,
    MixedNoise,
    Problem,
    RightCensoredNoise,
    Standard,
    StepKey,
    models_of,
    train,
)
from snnrobust.training.data import to_batch
from snnrobust.training.perturb import uniform


def devices(net, zs, level=0.3):
    """theta (1 + level z) of each z, as parameters without an instance axis."""
    return [{name: p * (1 + level * z[name]) for name, p in detached(net).items()} for z in zs]


def draws_of(net, count, key=KEY, first=0):
    z = z_of(net, range(first, first + count), key=key)
    return [{name: value[k] for name, value in z.items()} for k in range(count)]


def negative(z):
    return {name: -value for name, value in z.items()}


def test_several_devices_have_the_mean_loss_and_slope(smooth, batch):
    net = smooth()
    found = [loss_and_slope(net, device, batch) for device in devices(net, draws_of(net, 3))]
    result = step(ForwardNoise(draws=3), net, batch)
    assert result.loss == pytest.approx(sum(float(loss) for loss, _ in found) / 3, rel=1e-12)
    close(result.grads, mean([slope for _, slope in found]))


def test_the_first_device_is_that_of_one_draw(smooth, batch):
    net = smooth()
    one = step(ForwardNoise(), net, batch)
    loss, slope = loss_and_slope(net, devices(net, draws_of(net, 1))[0], batch)
    assert one.loss == pytest.approx(float(loss), rel=1e-12)
    close(one.grads, slope)


def test_antithetic_devices_are_mirror_images(smooth, batch):
    net = smooth()
    half = draws_of(net, 2)
    found = [loss_and_slope(net, d, batch) for d in devices(net, [*half, *map(negative, half)])]
    result = step(ForwardNoise(draws=4, antithetic=True), net, batch)
    assert result.loss == pytest.approx(sum(float(loss) for loss, _ in found) / 4, rel=1e-12)
    close(result.grads, mean([slope for _, slope in found]))


def test_pairs_cancel_what_is_odd_in_the_noise(smooth, batch):
    """To first order in the level the mean over a pair is the clean loss: the rest shrinks with its square."""
    net = smooth()
    clean = step(Standard(), net, batch).loss
    rest = [
        step(ForwardNoise(level=level, draws=2, antithetic=True), net, batch).loss - clean for level in (2e-3, 1e-3)
    ]
    alone = step(ForwardNoise(level=1e-3), net, batch).loss - clean
    assert rest[0] / rest[1] == pytest.approx(4, rel=0.01)
    assert abs(rest[1]) < 0.1 * abs(alone)


def test_devices_share_the_batch(smooth, batch):
    net, rows = smooth(), [[0, 1, 2], [3, 4], [5, 6]]
    drawn = devices(net, draws_of(net, 3))
    loss, total = 0.0, None
    for device, own in zip(drawn, rows, strict=True):
        part, slope = loss_and_slope(net, device, batch._replace(x=batch.x[:, own], y=batch.y[own]))
        loss += len(own) / 7 * float(part)
        scaled = {name: len(own) / 7 * g for name, g in slope.items()}
        total = scaled if total is None else {name: total[name] + g for name, g in scaled.items()}
    result = step(ForwardNoise(devices=3), net, batch)
    assert result.loss == pytest.approx(loss, rel=1e-12)
    close(result.grads, total)


@pytest.mark.parametrize("draws", [1, 2])
def test_without_noise_devices_that_share_a_batch_are_the_standard_loss(network, task_of, draws):
    """With lengths, class weights and a penalty on spikes, all of which are sums over the whole batch."""
    net, batch = network(), to_batch(task_of(lengths=True).train, slice(None))
    problem = Problem(net, torch.tensor([1.0, 3.0, 2.0]), FiringRate(weight=0.02, target=0.1))

    def at(objective):
        return objective.bind(problem)(net.nominal(), batch, KEY)

    whole, parts = at(Standard()), at(ForwardNoise(level=1e-12, devices=5, draws=draws))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    close(parts.grads, whole.grads, rtol=1e-4, atol=1e-6)
    assert at(ForwardNoise(level=0.3, devices=99, draws=draws)).loss != whole.loss  # at most one a sample


def test_the_penalty_of_several_devices_is_that_of_each(network, task_of):
    net, batch = network(), to_batch(task_of(lengths=True).train, slice(None))
    problem = Problem(net, None, FiringRate(weight=0.02, target=0.1))
    placed = [{name: p.detach() for name, p in net.nominal().items()} for _ in range(2)]
    placed[1]["layer0.weight"] = 1.5 * placed[1]["layer0.weight"]
    both = {name: torch.stack([placed[0][name], placed[1][name]]) for name in placed[0]}
    together, logits = problem.task(both, batch)
    assert together.shape == (2,)
    assert logits.shape == (2, len(batch.y), 3)
    for k in range(2):
        assert float(together[k]) == pytest.approx(float(problem.task(placed[k], batch)[0]), rel=1e-6)
    assert float(together[0]) != float(together[1])


def test_the_right_end_is_censored(smooth, batch):
    net, end = smooth(), 0.375
    z = {name: value.clamp(max=end) for name, value in draws_of(net, 1)[0].items()}
    assert sum(int((value == end).sum()) for value in z.values()) > 5
    loss, slope = loss_and_slope(net, devices(net, [z])[0], batch)
    result = step(RightCensoredNoise(censor=end), net, batch)
    assert result.loss == pytest.approx(float(loss), rel=1e-12)
    close(result.grads, slope)
    assert step(RightCensoredNoise(censor=100.0), net, batch).loss == step(ForwardNoise(), net, batch).loss


@pytest.mark.parametrize(("tail", "counted"), [(0.25, 2), (0.3, 3), (0.0, 1), (0.125, 1), (1.0, 8)])
def test_cvar_is_the_mean_of_the_worst(smooth, batch, tail, counted):
    net = smooth()
    found = [loss_and_slope(net, device, batch) for device in devices(net, draws_of(net, 8))]
    worst = sorted(found, key=lambda pair: -float(pair[0]))[:counted]
    result = step(CVaR(draws=8, tail=tail), net, batch)
    assert result.loss == pytest.approx(sum(float(loss) for loss, _ in worst) / counted, rel=1e-12)
    close(result.grads, mean([slope for _, slope in worst]))


def test_the_mixed_loss_weighs_clean_and_noisy(smooth, batch):
    net = smooth()
    noisy, noisy_slope = loss_and_slope(net, devices(net, draws_of(net, 1))[0], batch)
    clean, clean_slope = loss_and_slope(net, detached(net), batch)
    result = step(MixedNoise(clean=0.3), net, batch)
    assert result.loss == pytest.approx(0.7 * float(noisy) + 0.3 * float(clean), rel=1e-12)
    close(result.grads, {name: 0.7 * noisy_slope[name] + 0.3 * clean_slope[name] for name in noisy_slope})
    assert step(MixedNoise(clean=0.0), net, batch).loss == step(ForwardNoise(), net, batch).loss
    assert result.metrics == {"task": result.loss, "noisy": float(noisy), "clean": float(clean)}


def test_a_level_is_drawn_between_its_ends(smooth, batch):
    net, objective = smooth(), ForwardNoise(level=0.4, least=0.25)
    share = 0.25 + 0.75 * uniform(KEY, "level")
    assert step(objective, net, batch).loss == pytest.approx(
        float(loss_and_slope(net, devices(net, draws_of(net, 1), level=0.4 * share)[0], batch)[0]), rel=1e-6
    )
    strengths = np.array([objective.strength(StepKey(3, n)) for n in range(400)])
    assert 0.25 < strengths.min() < 0.27
    assert 0.98 < strengths.max() < 1
    # mean 0.625, standard error 0.75 / sqrt(12 * 400): four of them, so 6e-5 for the fixed seed
    assert strengths.mean() == pytest.approx(0.625, abs=4 * 0.75 / math.sqrt(12 * 400))


@pytest.mark.parametrize(("done", "share"), [(0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (0.9, 1.0)])
def test_a_level_grows_over_the_training(smooth, batch, done, share):
    net, key = smooth(), StepKey(7, 4, done)
    grown = step(ForwardNoise(level=0.4, ramp=0.4), net, batch, key)
    expected, slope = loss_and_slope(net, devices(net, draws_of(net, 1), level=0.4 * share)[0], batch)
    assert grown.loss == pytest.approx(float(expected), rel=1e-6)
    close(grown.grads, slope, rtol=1e-5, atol=1e-8)


def test_a_training_tells_how_far_it_is(network, task):
    seen = []

    class Asks(Standard):
        def bind(self, problem):
            inner = super().bind(problem)

            def loss_and_grad(params, batch, key):
                seen.append(key)
                return inner(params, batch, key)

            return loss_and_grad

    train(network(), task, Asks(), epochs=2, batch_size=6, show_progress=False)
    assert [key.done for key in seen] == [n / len(seen) for n in range(len(seen))]
    assert [key.step for key in seen] == list(range(len(seen)))


def test_a_profile_is_scaled_as_a_level_is(smooth, batch, tmp_path):
    """Relative mismatch of 0.2 in a file, at half strength, is relative mismatch of 0.1."""
    path = tmp_path / "mine.yaml"
    path.write_text(Profile.relative(0.2).to_yaml().replace("kind: relative", "kind: analog_asic"))
    net, key = smooth(), StepKey(7, 4, 0.25)
    from_file = step(ForwardNoise(profile=str(path), ramp=0.5), net, batch, key)
    level = step(ForwardNoise(level=0.1), net, batch, key)
    assert from_file.loss == pytest.approx(level.loss, rel=1e-6)
    close(from_file.grads, level.grads, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("draws", [1, 3])
def test_devices_learn_from_the_teacher(smooth, batch, draws):
    net, share, T = smooth(), 0.7, 2.5
    with torch.no_grad():
        taught = net.run(net.nominal(), batch.x)
    losses, slopes = [], []
    for device in devices(net, draws_of(net, draws)):
        at = leaves(device)
        logits = net.run(at, batch.x)
        loss = (1 - share) * torch.nn.functional.cross_entropy(logits, batch.y)
        loss = loss + share * T**2 * kl(taught / T, logits / T)
        losses.append(loss.item())
        slopes.append(dict(zip(at, torch.autograd.grad(loss, list(at.values())), strict=True)))
    result = step(Distillation(share=share, temperature=T, draws=draws), net, batch)
    assert result.loss == pytest.approx(sum(losses) / draws, rel=1e-10)
    close(result.grads, mean(slopes), rtol=1e-8)


def test_the_teacher_is_the_network_before_its_training(smooth, batch):
    net = smooth()
    objective = Distillation(share=1.0, level=0.0)
    moved = {name: (1.1 * p.detach()).requires_grad_() for name, p in net.nominal().items()}
    bound = objective.bind(Problem(net))
    assert bound(net.nominal(), batch, KEY).loss == pytest.approx(0.0, abs=1e-12)
    expected = 4 * kl(net.run(net.nominal(), batch.x) / 2, net.run(moved, batch.x) / 2).item()
    assert bound(moved, batch, KEY).loss == pytest.approx(expected, rel=1e-9)
    assert expected > 1e-3


def test_a_trained_network_teaches(network, task, tmp_path):
    teacher, path = network(seed=5), tmp_path / "teacher.h5"
    train(teacher, task, run=path, epochs=3, show_progress=False)
    net, batch = network(), to_batch(task.train, slice(None))
    objective = Distillation(teacher=str(path), share=1.0, level=0.0)
    with torch.no_grad():
        expected = 4 * kl(teacher.run(teacher.nominal(), batch.x) / 2, net.run(net.nominal(), batch.x) / 2)
    assert step(objective, net, batch).loss == pytest.approx(float(expected), rel=1e-5)
    (stored,) = models_of(read_run(path))
    assert json.loads(json.dumps(objective.to_dict()))["teacher_hash"] == stored.net.hash()
    result = train(net, task, objective, run=tmp_path / "a.h5", epochs=1, show_progress=False)
    assert result.config["objective"]["teacher_hash"] == stored.net.hash()


def test_a_teacher_must_be_one_network(network, task, tmp_path):
    from snnrobust.storage import Group, write_run

    path = tmp_path / "empty.h5"
    write_run(path, Group({}, {"kind": "training"}))
    with pytest.raises(ConfigError, match=r"teacher: .*empty\.h5 holds 0 trained networks"):
        Distillation(teacher=str(path)).bind(Problem(network()))


SMOOTH_IN_THETA = {
    "standard": Standard(),
    "pairs": ForwardNoise(draws=4, antithetic=True, through="theta"),
    "shared": ForwardNoise(devices=3, draws=2, through="theta"),
    "worst": CVaR(draws=5, tail=0.4, through="theta"),
    "mixed": MixedNoise(draws=2, through="theta", clean=0.3),
    "censored": RightCensoredNoise(through="theta", censor=0.2),
    "taught": Distillation(through="theta", draws=2, share=0.6),
    "attacked": Adversarial(steps=3, radius=0.2, beta=2.0, forward_noise=ForwardNoise(through="theta")),
    "attacked with labels": Adversarial(steps=3, radius=0.2, beta=2.0, forward_noise=0.0, climbed="task"),
    "attacked and mixed": Adversarial(steps=2, beta=2.0, forward_noise=MixedNoise(through="theta", draws=2)),
}


@pytest.mark.parametrize("objective", SMOOTH_IN_THETA.values(), ids=SMOOTH_IN_THETA)
def test_the_gradient_by_finite_differences(smooth, batch, objective):
    """Through theta the gradient is that of the value; the signs of an attack do not turn within the step."""
    net, h = smooth(3), 1e-6
    bound = objective.bind(Problem(net))
    grads = bound(net.nominal(), batch, KEY).grads

    def value(name, shift):
        moved = {n: p.detach() + (shift if n == name else 0) for n, p in net.nominal().items()}
        return bound({n: p.requires_grad_() for n, p in moved.items()}, batch, KEY).loss

    for name, p in net.nominal().items():
        for index in list(np.ndindex(*p.shape))[::3]:
            shift = torch.zeros_like(p)
            shift[index] = h
            slope = (value(name, shift) - value(name, -shift)) / (2 * h)
            assert float(grads[name][index]) == pytest.approx(slope, rel=1e-4, abs=1e-6)
