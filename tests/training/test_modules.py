"""A torch.nn.Module is trained in place, kept in a run file without its code, and comes back with it."""

import numpy as np
import pytest
import torch
from torch import nn

from snnrobust.errors import ConfigError, RunFileError, ShapeError
from snnrobust.evaluation import benchmark
from snnrobust.hardware import Chip, Module, Profile
from snnrobust.snn import LI, LIF, PaperCNN
from snnrobust.storage import Array, Group, read_run
from snnrobust.training import (
    Adversarial,
    Distillation,
    FiringRate,
    Standard,
    StoredModule,
    TrainedModel,
    checkpoint,
    models_of,
    train,
)
from snnrobust.training.stored import example_of

OPTIONS = {"epochs": 4, "batch_size": 3, "show_progress": False}


class Tanh(nn.Module):
    def __init__(self, hidden=5, classes=3):
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, classes)
        self.norm.num_batches_tracked.fill_(1)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.two(self.drop(torch.tanh(self.norm(self.one(x.mean(0))))))


def fresh(seed=0, make=Tanh, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(**options)


def values(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_users_module_is_trained_in_place(task):
    module = fresh().train()
    buffers, rng = [b.clone() for b in module.buffers()], torch.get_rng_state()
    before = values(module)
    result = train(Module(module), task, epochs=15, learning_rate=0.05, show_progress=False)
    assert result.net.module is module
    assert module.training
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(a, b) for a, b in zip(module.buffers(), buffers, strict=True))
    assert torch.equal(torch.get_rng_state(), rng)
    assert not equal(values(module), before)
    logits = module.eval()(torch.from_numpy(task.test.x).transpose(0, 1))
    assert float((logits.argmax(-1).numpy() == task.test.y).mean()) >= 0.9


def test_what_is_frozen_stays(task):
    module = fresh()
    module.one.requires_grad_(False)
    before = values(module)
    train(Module(module), task, epochs=1, show_progress=False)
    assert torch.equal(module.one.weight, before["one.weight"])
    assert not torch.equal(module.two.weight, before["two.weight"])


def test_into_a_run_file_and_back_with_the_users_module(task, tmp_path):
    module = fresh()
    module.norm.running_mean.add_(0.5)
    net = Module(module, {"norm.weight": "gain"}, sources={"two.weight": "one"})
    train(net, task, Adversarial(steps=1), run=tmp_path / "a.h5", **OPTIONS)
    (stored,) = models_of(read_run(tmp_path / "a.h5"))
    assert isinstance(stored.net, StoredModule)
    assert equal(stored.net.nominal(), values(module))
    assert stored.net.hash() == net.hash()
    assert stored.net.parameter_specs()["norm.weight"].role == "gain"
    x = torch.from_numpy(task.test.x).transpose(0, 1)
    with pytest.raises(ConfigError, match=r"model: Tanh is a module of the user's own.*load"):
        stored.net.run(stored.net.nominal(), x)

    loaded = stored.load(fresh(seed=9)).net
    assert loaded.hash() == net.hash()
    assert torch.equal(loaded.run(loaded.nominal(), x), net.run(net.nominal(), x))
    assert loaded.parameter_specs() == net.parameter_specs()
    profile = Profile.relative(0.3)
    assert torch.equal(Chip(profile).deploy(loaded, 2).run(x), Chip(profile).deploy(net, 2).run(x))
    again = TrainedModel.from_group("b", stored.load(fresh(seed=9)).to_group()).load(fresh(seed=8)).net
    assert again.hash() == net.hash()


def test_a_finished_training_is_read_back_into_the_module(task, tmp_path):
    path, module = tmp_path / "a.h5", fresh()
    result = train(Module(module), task, run=path, **OPTIONS)
    other = fresh()
    again = train(Module(other), task, run=path, **OPTIONS)
    assert equal(values(other), values(module))
    assert again.history == result.history


class Relu(Tanh):
    def forward(self, x):
        return self.two(torch.relu(self.norm(self.one(x.mean(0)))))


Relu.__qualname__ = "Tanh"


class Another(Tanh):
    pass


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (lambda: fresh(make=Another), RunFileError, "module: Another must be of class Tanh, which was trained"),
        (lambda: fresh(make=Relu), RunFileError, "module: this Tanh answers otherwise than the one that was trained"),
        (lambda: fresh(hidden=6), ShapeError, r"parameter norm.bias has shape \(6,\), must be \(5,\)"),
        (lambda: nn.Linear(3, 3), RunFileError, "Linear must be of class Tanh"),
    ],
)
def test_another_module_is_refused(task, tmp_path, module, error, message):
    train(Module(fresh()), task, run=tmp_path / "a.h5", **OPTIONS)
    (stored,) = models_of(read_run(tmp_path / "a.h5"))
    given = module()
    before = values(given)
    with pytest.raises(error, match=message) as caught:
        stored.load(given)
    assert equal(values(given), before)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="load: model standard is complete"):
        stored.load(fresh()).load(fresh())


def test_a_module_without_some_parameter_is_refused(task, tmp_path):
    train(Module(fresh()), task, run=tmp_path / "a.h5", **OPTIONS)
    module = fresh()
    module.two.bias = None
    with pytest.raises(ShapeError, match=r"parameter two.bias has shape None, must be \(3,\)"):
        models_of(read_run(tmp_path / "a.h5"))[0].load(module)


class StopsAt(Standard):
    def bind(self, problem):
        inner = super().bind(problem)

        def loss_and_grad(params, batch, key):
            if key.step == 9:
                raise KeyboardInterrupt
            return inner(params, batch, key)

        return loss_and_grad


@pytest.mark.parametrize("select", ["average", "validation"])
def test_interrupted_it_goes_on_to_the_same_bits(task, tmp_path, monkeypatch, select):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_WRITES", 0.0)
    whole, path = fresh(), tmp_path / "a.h5"
    train(Module(whole), task, select=select, **OPTIONS)
    first = fresh()
    before = values(first)
    with pytest.raises(KeyboardInterrupt):
        train(Module(first), task, StopsAt(), run=path, select=select, **OPTIONS)
    assert equal(values(first), before)
    assert models_of(read_run(path)) == []
    second = fresh()
    train(Module(second), task, run=path, select=select, **OPTIONS)
    assert equal(values(second), values(whole))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda: Module(fresh(seed=1)), "initial_parameters"),
        (lambda: Module(fresh(), {"norm.*": "bias"}), r"structure.roles.norm.bias: 'none' there, 'bias' here"),
        (lambda: Module(fresh(make=Another)), "structure.module: 'Tanh' there, 'Another' here"),
    ],
)
def test_the_run_file_of_another_module_is_refused(task, tmp_path, change, field):
    train(Module(fresh()), task, run=tmp_path / "a.h5", **OPTIONS)
    with pytest.raises(RunFileError, match=field) as caught:
        train(change(), task, run=tmp_path / "a.h5", **OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["value", "buffer", "roles", "structure"])
def test_damage_is_noticed(change):
    group = TrainedModel("a", Module(fresh()), {}).to_group()
    if change in ("value", "buffer"):
        name = "parameters/one.weight" if change == "value" else "buffers/norm.running_mean"
        group = group.put(name, Array(np.array(group.array(name).values) + 1))
    else:
        text = str(group.attrs["structure"])
        text = text.replace('"two.bias": "bias"', '"two.bias": "v_th"') if change == "roles" else '{"module": "Tanh"}'
        group = Group(group.items, {**group.attrs, "structure": text})
    with pytest.raises(RunFileError, match="models/a: not a complete model") as caught:
        TrainedModel.from_group("a", group)
    assert "\n" not in str(caught.value)


def test_a_module_of_this_package_comes_back_without_help(tmp_path):
    x = torch.rand(28, 4, 28, generator=torch.Generator().manual_seed(0))
    net = Module(PaperCNN(3, batch_statistics=True, seed=5), sources=PaperCNN.SOURCES)
    group = TrainedModel("cnn", net, {}, example=example_of(net, x)).to_group()
    found = TrainedModel.from_group("cnn", group).net
    assert isinstance(found, Module)
    assert found.hash() == net.hash()
    assert found.parameter_specs() == net.parameter_specs()
    assert torch.equal(found.run(found.nominal(), x), net.run(net.nominal(), x))
    hostile = str(group.attrs["structure"]).replace('"classes": 3', '"classes": 300000000000')
    with pytest.raises(RunFileError, match="models/cnn: not a complete model"):
        TrainedModel.from_group("cnn", Group(group.items, {**group.attrs, "structure": hostile}))


def test_a_benchmark_holds_modules_and_goes_on(task, tmp_path):
    module, path = fresh(), tmp_path / "run.h5"
    train(Module(module), task, **OPTIONS)
    arguments = ([0.0, 0.3], task)
    options = {"instances": 3, "show_progress": False}
    result = benchmark({"mine": Module(module)}, *arguments, run=path, **options)
    (stored,) = models_of(read_run(path))
    assert stored.net.hash() == Module(module).hash()
    again = benchmark({"mine": Module(module)}, *arguments, run=path, **options)
    assert np.array_equal(again.accuracy, result.accuracy)
    assert len(np.unique(result.accuracy[0, 0])) == 1  # level 0
    with pytest.raises(RunFileError, match="holds another benchmark"):
        benchmark({"mine": Module(fresh(seed=4))}, *arguments, run=path, **options)


def test_a_module_in_double_precision(task, tmp_path):
    module = fresh().double()
    train(Module(module), task, run=tmp_path / "a.h5", **OPTIONS)
    loaded = models_of(read_run(tmp_path / "a.h5"))[0].load(fresh()).net  # in float32, until it is loaded
    assert loaded.nominal()["one.weight"].dtype == torch.float64
    assert equal(loaded.nominal(), values(module))


def test_it_teaches_itself(task):
    module = fresh()
    train(Module(module), task, Distillation(share=0.5), epochs=1, show_progress=False)


@pytest.mark.parametrize(
    ("net", "options", "error", "message"),
    [
        (lambda: fresh(), {}, ConfigError, r"net: Tanh: give it as Module\(Tanh\(...\)\)"),
        (lambda: Module(fresh(classes=2)), {}, ShapeError, "net: gives 2 logits, must be at least 3"),
        (lambda: Module(fresh()), {"firing_rate": FiringRate()}, ConfigError, "firing_rate: Module tells no spikes"),
        (lambda: Module(fresh().requires_grad_(False)), {}, ConfigError, "net: no parameter requires a gradient"),
    ],
)
def test_mistakes_are_one_line(task, net, options, error, message):
    with pytest.raises(error, match=message) as caught:
        train(net(), task, epochs=1, show_progress=False, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", [Standard(), Adversarial(steps=1)], ids=lambda o: o.name)
def test_a_network_as_a_module_is_trained_to_the_same_bits(network, task_of, objective):
    task = task_of(lengths=True)
    net, inside = network(), network()
    expected = train(net, task, objective, epochs=2, show_progress=False)
    found = train(Module(inside), task, objective, epochs=2, show_progress=False)
    assert equal(values(inside), values(net))
    assert found.history["loss"] == expected.history["loss"]


class Spiking(nn.Module):
    """Layers of this package, put together by hand."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = LIF(3, 12, True, tau_mem=5e-3, seed=1), LI(12, 3, tau_mem=5e-3, seed=2)

    def forward(self, x, lengths=None):
        return self.out.run(self.out.nominal(), self.hidden(x)[0], lengths)


def test_a_module_of_this_packages_layers(task_of):
    result = train(Module(Spiking()), task_of(lengths=True), epochs=5, learning_rate=0.03, show_progress=False)
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert {spec.role for spec in result.net.parameter_specs().values()} >= {"tau_mem", "v_th", "gain", "weight"}
