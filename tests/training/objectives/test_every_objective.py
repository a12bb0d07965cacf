"""What holds for every objective that has a name: one suite, over all of them and over the choices that matter."""

import json
from dataclasses import replace

import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.storage import read_run
from snnrobust.testing import check_objective
from snnrobust.training import (
    ABCD,
    AMP,
    ASAM,
    AWP,
    NAMED,
    OBJECTIVES,
    SAM,
    Adversarial,
    CVaR,
    Distillation,
    Dropout,
    EntropySGD,
    ForwardNoise,
    MixedNoise,
    Problem,
    QuantizationAware,
    RightCensoredNoise,
    Standard,
    StepKey,
    models_of,
    objective_from,
    train,
)
from snnrobust.training.data import to_batch

KEY = StepKey(7, 4)
DEFAULTS = {name: cls() for name, cls in OBJECTIVES.items()}
CHOSEN = {
    "pairs": ForwardNoise(draws=4, antithetic=True),
    "a device a sample": ForwardNoise(devices=4, through="theta"),
    "a varying level": ForwardNoise(least=0.2, ramp=0.5),
    "devices of a chip": ForwardNoise(profile="dynapse1", draws=2),
    "devices of a crossbar": ForwardNoise(profile="pcm_ibm", draws=2),
    "worst devices of a chip": CVaR(profile="dynapse1", draws=3, tail=0.4),
    "mixed pairs": MixedNoise(draws=2, antithetic=True, clean=0.3),
    "taught devices": Distillation(draws=2, share=0.7),
    "one step": Adversarial(steps=1),
    "three steps": Adversarial(steps=3, forward_noise=0.0),
    "in a ball": Adversarial(steps=2, norm="l2"),
    "task loss": Adversarial(steps=2, climbed="task"),
    "constant": Adversarial(steps=2, through="constant", ramp=0.5),
    "with a clean loss": Adversarial(steps=2, forward_noise=MixedNoise(draws=2)),
    "with the worst": Adversarial(steps=1, forward_noise=CVaR(draws=4)),
    "attack and noise of a chip": Adversarial(
        steps=2, radius=1.0, profile="dynapse1", forward_noise=ForwardNoise(profile="dynapse1")
    ),
    "time constants and thresholds": Adversarial(steps=1, roles=("tau_mem", "v_th", "weight")),
    "chip in its ellipsoid": ASAM(profile="dynapse1"),
    "chip in its box": AWP(profile="dynapse1", radius=1.0, steps=2),
    "each tensor": AWP(ball="tensor", steps=3),
    "ball of each tensor": AMP(steps=3),
    "nothing climbs": ABCD(share=0.0),
}
ALL = {**DEFAULTS, **NAMED, **CHOSEN}


@pytest.mark.parametrize("objective", ALL.values(), ids=ALL)
def test_the_shared_suite(objective):
    check_objective(objective)


ZERO = {
    "dropout": Dropout(rate=0.0),
    "forward_noise": ForwardNoise(level=0.0, draws=4),
    "forward_noise without roles": ForwardNoise(roles=()),
    "mixed_noise": MixedNoise(level=0.0),
    "cvar": CVaR(level=0.0),
    "right_censored_noise": RightCensoredNoise(level=0.0),
    "quantization_aware": QuantizationAware(profile="ideal"),
    "distillation": Distillation(level=0.0, share=0.0),
    "adversarial": Adversarial(radius=0.0, forward_noise=0.0),
    "adversarial without roles": Adversarial(roles=(), forward_noise=0.0),
    "awp": AWP(radius=0.0),
    "amp": AMP(radius=0.0),
    "sam": SAM(radius=0.0),
    "sam without roles": SAM(roles=()),
    "asam": ASAM(radius=0.0),
    "abcd": ABCD(share=0.0),
    "entropy_sgd": EntropySGD(steps=0),
}


def step(objective, net, batch, key=KEY):
    return objective.bind(Problem(net))(net.nominal(), batch, key)


def same(a, b):
    return a.loss == b.loss and all(torch.equal(a.grads[name], b.grads[name]) for name in a.grads)


def test_zero_is_there_for_every_method():
    assert {objective.name for objective in ZERO.values()} == set(OBJECTIVES) - {"standard"}


@pytest.mark.parametrize("objective", ZERO.values(), ids=ZERO)
def test_zero_is_standard_to_the_bit_and_costs_no_more(network, task, objective):
    net, batch = network(), to_batch(task.train, slice(None))
    result = step(objective, net, batch)
    assert same(result, step(Standard(), net, batch))
    assert not result.shift
    assert objective.passes == 1
    check_objective(objective)


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"standard"}))
def test_without_zero_it_is_not_standard(network, task, name):
    net, batch = network(), to_batch(task.train, slice(None))
    objective = Distillation(share=0.5) if name == "distillation" else DEFAULTS[name]
    assert not same(step(objective, net, batch), step(Standard(), net, batch))


DRAWN = {
    **{name: DEFAULTS[name] for name in ("dropout", "forward_noise", "mixed_noise", "cvar", "right_censored_noise")},
    **{name: DEFAULTS[name] for name in ("distillation", "abcd", "entropy_sgd")},
    "adversarial": Adversarial(steps=1),
    "the start of an attack": Adversarial(steps=1, forward_noise=0.0),
    "the start of awp": AWP(initial=0.1),
    "a chip": ForwardNoise(profile="dynapse1"),
    "a varying level": ForwardNoise(least=0.0),
}


@pytest.mark.parametrize("objective", DRAWN.values(), ids=DRAWN)
def test_draws_depend_on_seed_and_step_alone(network, task, objective):
    net, batch = network(), to_batch(task.train, slice(None))
    if isinstance(objective, EntropySGD):
        objective = replace(objective, noise=1.0)  # 1e-4 is below the precision of most weights
    first = step(objective, net, batch, StepKey(0, 3, 0.5))
    for other in (StepKey(0, 4, 0.5), StepKey(1, 3, 0.5)):
        assert not same(step(objective, net, batch, other), first)
    if not getattr(objective, "ramp", 0):
        assert same(step(objective, net, batch, StepKey(0, 3, 0.9)), first)


@pytest.mark.parametrize(
    "objective", [SAM(), ASAM(), AMP(), AWP(), Standard(), QuantizationAware()], ids=lambda o: o.name
)
def test_what_draws_nothing_depends_on_no_key(network, task, objective):
    net, batch = network(), to_batch(task.train, slice(None))
    assert same(step(objective, net, batch, StepKey(0, 3)), step(objective, net, batch, StepKey(5, 8, 0.1)))


@pytest.mark.parametrize("objective", ALL.values(), ids=ALL)
def test_it_trains_into_a_run_file_and_back(network, task, tmp_path, objective):
    net, path = network(), tmp_path / "a.h5"
    before = {name: p.detach().clone() for name, p in net.nominal().items()}
    train(net, task, objective, run=path, epochs=1, batch_size=12, select="last", show_progress=False)
    (stored,) = models_of(read_run(path))
    assert objective_from(stored.config["objective"]) == objective
    assert any(not torch.equal(p, before[name]) for name, p in net.nominal().items())
    assert all(bool(p.isfinite().all()) for p in net.nominal().values())


def test_a_stored_objective_with_an_unknown_name_or_choice_is_an_error():
    with pytest.raises(ConfigError, match=r"objective: unknown 'standart' .did you mean 'standard'"):
        objective_from({"name": "standart"})
    with pytest.raises(ConfigError, match=r"objective forward_noise: unknown 'levle' .did you mean 'level'"):
        objective_from({"name": "forward_noise", "levle": 0.3})
    with pytest.raises(ConfigError, match="level: -1"):
        objective_from({"name": "forward_noise", "level": -1})


def test_a_named_choice_is_stored_as_what_it_is():
    plain = json.loads(json.dumps(NAMED["adversarial_right_censored"].to_dict()))
    assert plain["name"] == "adversarial"
    assert plain["forward_noise"]["name"] == "right_censored_noise"
    assert plain["forward_noise"]["censor"] == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(rate=1.0), "rate: 1.0 must be a probability"),
        (lambda: ForwardNoise(least=1.5), "least: 1.5 must be a share"),
        (lambda: ForwardNoise(ramp=-0.1), "ramp: -0.1 must be a share"),
        (lambda: ForwardNoise(draws=0), "draws: 0 must be at least 1"),
        (lambda: ForwardNoise(devices=0), "devices: 0 must be at least 1"),
        (lambda: ForwardNoise(draws=3, antithetic=True), "draws: 3 must be even"),
        (lambda: ForwardNoise(censor=float("inf")), "censor: inf must be finite"),
        (lambda: MixedNoise(clean=2.0), "clean: 2.0 must be a share"),
        (lambda: CVaR(tail=-0.5), "tail: -0.5 must be a share"),
        (lambda: Distillation(temperature=0.0), "temperature: 0.0 must be positive"),
        (lambda: Distillation(share=1.1), "share: 1.1 must be a share"),
        (lambda: Adversarial(norm="l1"), "norm: unknown 'l1'.* allowed: l2, linf"),
        (lambda: Adversarial(climbed="ce"), "climbed: unknown 'ce'.* allowed: kl, task"),
        (lambda: Adversarial(through="me"), "through: unknown 'me'.* allowed: constant, theta"),
        (lambda: Adversarial(forward_noise=-0.1), "forward_noise: -0.1"),
        (lambda: AWP(steps=0), "steps: 0 must be at least 1"),
        (lambda: AWP(ball="bix"), "ball: unknown 'bix' .did you mean 'box'"),
        (lambda: AMP(radius=-1.0), "radius: -1.0"),
        (lambda: SAM(roles=("wait",)), "roles: unknown 'wait'"),
        (lambda: ASAM(eta=-1.0), "eta: -1.0"),
        (lambda: ABCD(share=1.5), "share: 1.5"),
        (lambda: ABCD(radius=-0.1), "radius: -0.1"),
        (lambda: EntropySGD(steps=-1), "steps: -1 must be at least 0"),
        (lambda: EntropySGD(averaging=2.0), "averaging: 2.0"),
    ],
)
def test_errors_name_the_choice(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
