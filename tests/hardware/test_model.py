"""A user's own model: any function of its parameters, with roles by name."""

from __future__ import annotations

import pytest
import torch
from chip_builder import EVERYTHING, profile
from torch import nn
from torch.func import functional_call

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.evaluation import evaluate
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.model import Model
from snnrobust.hardware.profile import Profile, load_profile
from snnrobust.tasks import Task

LEVEL = Profile.relative(0.3)
ROLES = {"conv.weight": "weight", "conv.bias": "bias", "out.weight": "weight", "out.bias": "bias"}


class Convolutional(nn.Module):
    """x [T, B, I] as a picture, with a norm layer that no device carries."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.conv(x.transpose(0, 1).unsqueeze(1))).relu().mean((2, 3)))


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return Convolutional()


@pytest.fixture
def model(module) -> Model:
    return Model(lambda params, x: functional_call(module, params, (x,)), dict(module.named_parameters()), ROLES)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(7, 5, 6, generator=torch.Generator().manual_seed(1))


def test_nominal_model_is_the_module(model, module, x):
    assert torch.equal(model.run(model.nominal(), x), module(x))
    assert torch.equal(Chip(load_profile("ideal")).deploy(model, 2).run(x)[1], module(x))


def test_the_module_is_left_alone(model, module, x):
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    Chip(LEVEL).deploy(model, 3).run(x)
    with torch.no_grad():
        model.nominal()["conv.weight"].zero_()
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None
        assert p.requires_grad


@pytest.mark.parametrize(
    "chip", [LEVEL, load_profile("dynapse1"), load_profile("pcm_ibm"), profile(EVERYTHING, "hybrid")]
)
def test_chips_are_one_by_one(model, x, chip):
    deployment = Chip(chip).deploy(model, 4)
    logits = deployment.run(x)
    assert logits.shape == (4, 5, 3)
    for k in range(4):
        own = deployment.export(k)
        assert {name: p.shape for name, p in own.items()} == {name: p.shape for name, p in model.nominal().items()}
        assert torch.equal(model.run(own, deployment.converted(x)), logits[k])
    assert torch.equal(own["norm.weight"], model.nominal()["norm.weight"])
    assert len({tuple(row.flatten().tolist()) for row in logits}) == 4


@pytest.mark.parametrize("granularity", ["per_synapse", "per_neuron", "per_neuron_type", "per_column", "per_die"])
def test_granularity_of_a_convolution(model, granularity):
    chip = profile(
        f"parameters: {{weight: {{distribution: lognormal, granularity: {granularity}, components: {{die: {{cv: 0.1}}, "
        "spatial: {cv: 0.1, kernel: plane}, device: {cv: 0.2}}}}"
    )
    deployment = Chip(chip).deploy(model, 2)
    w = model.nominal()["conv.weight"].detach()
    factor = (deployment.parameters()["conv.weight"] / w).reshape(2, 4, 9)
    groups = [(chip, n, w[n].flatten() < 0) for chip in range(2) for n in range(4)]
    distinct = {
        "per_synapse": lambda f, sign: len(f.unique()) == 9,
        "per_neuron": lambda f, sign: float(f.max() - f.min()) < 1e-5,
        "per_column": lambda f, sign: float(f.max() - f.min()) < 1e-5,
        "per_die": lambda f, sign: float(f.max() - f.min()) < 1e-5,
        "per_neuron_type": lambda f, sign: (
            all(float(f[s].max() - f[s].min()) < 1e-5 for s in (sign, ~sign) if s.any())
            and (sign.all() or not sign.any() or float((f[sign][0] - f[~sign][0]).abs()) > 1e-4)
        ),
    }
    assert all(distinct[granularity](factor[k, n], sign) for k, n, sign in groups)
    assert torch.equal(deployment.export(1)["conv.weight"], deployment.parameters()["conv.weight"][1])


def test_a_die_is_shared_by_convolution_and_linear_layer(model):
    chip = profile(
        "parameters: {weight: {distribution: normal, granularity: per_synapse, components: {die: {cv: 0.1}}}}"
    )
    found, nominal = Chip(chip).deploy(model, 3).parameters(), model.nominal()
    ratios = [(found[name] / nominal[name].detach()).flatten(1) for name in ("conv.weight", "out.weight")]
    assert torch.allclose(ratios[0][:, :1].expand(-1, 12), ratios[1], atol=1e-6)


def test_roles():
    params = {"l.weight": torch.ones(2, 2), "l.bias": torch.ones(2)}

    def fn(params, x):
        return x @ params["l.weight"].T

    with pytest.raises(ConfigError, match=r"roles: unknown 'l.weigth' \(did you mean 'l.weight'\?\); allowed: l.bias"):
        Model(fn, params, {"l.weigth": "weight"})
    with pytest.raises(
        ConfigError, match=r"roles\[l.weight\]: unknown 'weights' \(did you mean 'weight'\?\); allowed: ad"
    ):
        Model(fn, params, {"l.weight": "weights"})
    two = {"v_th1": torch.ones(2), "v_th2": torch.ones(3)}
    with pytest.raises(ConfigError, match=r"roles: layer '' has two v_th; name parameters layer.parameter"):
        Model(fn, two, dict.fromkeys(two, "v_th"))
    specs = Model(fn, params, {"l.weight": "weight"}).parameter_specs()
    assert (specs["l.weight"].role, specs["l.weight"].layer, specs["l.bias"].role) == ("weight", "l", "none")


def test_parameters_of_a_prefix_are_one_layer():
    # The threshold spreads about the leak of its own layer, a.v_leak, and not about b's.
    params = {
        f"{layer}.{name}": torch.full((2,), value)
        for layer, leak in (("a", 0.5), ("b", -9.0))
        for name, value in (("v_th", 1.0), ("v_leak", leak))
    }
    chip = profile(
        "parameters: {v_th: {distribution: normal, granularity: per_neuron, components: {device: {cv: 0.1}}}}"
    )
    deployment = Chip(chip).deploy(Model(lambda p, x: x, params, {n: n[2:] for n in params}), 500)
    found = deployment.parameters()
    assert float(found["a.v_th"].std()) == pytest.approx(0.05, rel=0.1)
    assert float(found["b.v_th"].std()) == pytest.approx(1.0, rel=0.1)


def test_disagreeing_instances_are_an_error(model, x):
    params = model.nominal()
    wrong = params | {"conv.bias": torch.zeros(2, 4), "out.bias": torch.zeros(3, 3)}
    with pytest.raises(ShapeError, match=r"instances: parameters and inputs disagree on their number: \[2, 3\]"):
        model.run(wrong, x)


def test_a_scalar_parameter_varies():
    model = Model(lambda p, x: x * p["lif.tau_mem"], {"lif.tau_mem": torch.tensor(0.02)}, {"lif.tau_mem": "tau_mem"})
    found = Chip(load_profile("generic_subthreshold_180nm_20")).deploy(model, 6).parameters()["lif.tau_mem"]
    assert found.shape == (6,)
    assert len(found.unique()) == 6


def test_a_model_is_evaluated_like_a_network(model):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(30, 7, 6, generator=generator).numpy()
    task = Task.from_arrays(x, [0, 1, 2] * 10, ["train"] * 15 + ["test"] * 15, dt=1e-3)
    result = evaluate(Chip(LEVEL).deploy(model, 4), task.test)
    accuracy = result.measures["accuracy"][0, 0]
    assert accuracy.shape == (4,)
    assert ((accuracy >= 0) & (accuracy <= 1)).all()


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda params, x: {"logits": x[0]}, "fn: gave a dict, must be a tensor of logits"),
        (lambda params, x: x[0, :, 0], r"fn: gave shape \(5,\), must be logits \[B, O\] with B = 5"),
        (lambda params, x: x, r"fn: gave shape \(7, 5, 6\), must be logits"),
        (lambda params, x: x[0, :3], r"fn: gave shape \(3, 6\), must be logits"),
    ],
)
def test_fn_must_give_logits(fn, message, x):
    model = Model(fn, {"w": torch.ones(2, 3)}, {"w": "weight"})
    for profile_ in (LEVEL, load_profile("ideal")):
        with pytest.raises(ShapeError, match=message):
            Chip(profile_).deploy(model, 2).run(x)


def test_params_must_be_tensors_by_name(module):
    for params in (module, module.named_parameters(), {"w": [1.0]}):
        with pytest.raises(ConfigError, match="params: must be tensors by name"):
            Model(lambda params, x: x[0], params, {})


def test_a_model_of_scalars_can_be_evaluated():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(6, 4, 2, generator=rng).numpy()
    task = Task.from_arrays(x, [0, 1, 0, 1, 0, 1], ["train"] * 4 + ["test"] * 2, dt=1e-3)
    model = Model(lambda params, x: x.mean(0) * params["gain"], {"gain": torch.tensor(2.0)}, {"gain": "gain"})
    assert evaluate(Chip(LEVEL).deploy(model, 2), task.test).chips == 2


@pytest.mark.parametrize("name", ["dynapse1", "dynapse2", "brainscales2", "pcm_ibm", "reram_cmo"])
@pytest.mark.parametrize("shape", [(), (4,), (3, 0), (2, 1, 3, 3)])
def test_weights_of_any_number_of_axes(name, shape):
    w = 1 + torch.rand(shape, generator=torch.Generator().manual_seed(0))
    model = Model(lambda params, x: x.mean(0) * params["w"].sum(), {"w": w}, {"w": "weight"})
    chips = Chip(load_profile(name)).deploy(model, 2)
    found = chips.parameters()["w"]
    assert found.shape == ((2, *shape) if w.numel() else shape)
    assert torch.equal(chips.export(1)["w"], found[1] if w.numel() else found)
