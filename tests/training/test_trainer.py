"""The trainer against torch.optim.Adam run by hand, its choices of weights, its errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from snnrobust.errors import ConfigError, RunFileError, ShapeError, TrainingError
from snnrobust.hardware import Model
from snnrobust.storage import read_run
from snnrobust.training import Adversarial, FiringRate, ForwardNoise, Settings, Standard, models_of, train
from snnrobust.training.data import batch_count, batches, class_weights


def weights(net):
    return {name: p.detach().clone() for name, p in net.nominal().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def quietly(net, task, objective=None, **options):
    return train(net, task, objective, show_progress=False, **options)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_a_training_is_adam_by_hand(network, task_of, schedule, clip_norm):
    task, epochs, rate = task_of(lengths=True), 8, 0.01
    net, mine = network(), network()
    result = quietly(
        net,
        task,
        epochs=epochs,
        batch_size=5,
        learning_rate=rate,
        schedule=schedule,
        clip_norm=clip_norm,
        seed=4,
        select="last",
    )
    trained = [p for p in mine.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=rate, betas=(0.9, 0.999), eps=1e-8)
    total, step, norms = epochs * math.ceil(len(task.train) / 5), 0, []
    for epoch in range(epochs):
        for batch in batches(task.train, 5, seed=4, epoch=epoch):
            share = step / total
            factor = {
                "constant": 1.0,
                "cosine": 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2,
                "step": 0.1 if share >= 0.75 else 1.0,
            }[schedule]
            optimiser.param_groups[0]["lr"] = rate * factor
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(mine(batch.x, batch.lengths), batch.y).backward()
            norms.append(math.sqrt(sum(float((p.grad**2).sum()) for p in trained)))
            if clip_norm is not None and norms[-1] > clip_norm:
                for p in trained:
                    p.grad *= clip_norm / norms[-1]
            optimiser.step()
            step += 1
    for name, p in weights(mine).items():
        torch.testing.assert_close(net.nominal()[name].detach(), p, rtol=1e-5, atol=1e-6)
    assert not equal(weights(net), weights(network()))
    assert max(norms) > 0.05
    per_epoch = np.reshape(norms, (epochs, -1)).mean(1)
    np.testing.assert_allclose(result.history["gradient_norm"], per_epoch, rtol=1e-4)


def test_schedules():
    cosine = Settings(learning_rate=1.0, schedule="cosine")
    assert [cosine.rate_at(share) for share in (0, 0.5, 1)] == [1.0, pytest.approx(0.505), pytest.approx(0.01)]
    step = Settings(learning_rate=1.0, schedule="step")
    assert [step.rate_at(share) for share in (0, 0.749, 0.75, 1)] == [1.0, 1.0, 0.1, 0.1]
    assert Settings(learning_rate=0.3, schedule="constant").rate_at(0.9) == 0.3


@pytest.fixture
def after(network, task):
    """Weights after so many epochs of one and the same constant-rate training, from trainings of that length."""

    def make(epochs):
        net = network()
        quietly(net, task, epochs=epochs, schedule="constant", batch_size=6, learning_rate=0.02, select="last")
        return weights(net)

    return make


@pytest.mark.parametrize(("epochs", "averaged"), [(8, (7, 8)), (6, (5, 6)), (3, (3,)), (2, (2,)), (1, (1,))])
def test_the_average_is_over_the_last_quarter(network, task, after, epochs, averaged):
    net = network()
    result = quietly(net, task, epochs=epochs, schedule="constant", batch_size=6, learning_rate=0.02, select="average")
    assert result.selected_epoch == -1
    parts = [after(n) for n in averaged]
    for name, p in weights(net).items():
        mean = torch.stack([part[name].double() for part in parts]).mean(0)
        torch.testing.assert_close(p.double(), mean, rtol=1e-6, atol=1e-7)


def test_the_last_weights(network, task, after):
    net = network()
    result = quietly(net, task, epochs=5, schedule="constant", batch_size=6, learning_rate=0.02, select="last")
    assert result.selected_epoch == 4
    assert not equal(after(4), after(5))
    assert equal(weights(net), after(5))


def test_the_best_validation_epoch(network, task, after):
    net = network()
    result = quietly(net, task, epochs=9, schedule="constant", batch_size=6, learning_rate=0.02, select="validation")
    validation = result.history["validation"]
    assert len(set(validation)) > 1
    assert result.selected_epoch == int(np.argmax(validation))  # the first of equals
    assert equal(weights(net), after(result.selected_epoch + 1))
    with torch.no_grad():
        x = torch.from_numpy(task.validation.x.swapaxes(0, 1).copy())
        right = net(x).argmax(-1).numpy() == task.validation.y
    assert right.mean() == max(validation)


@pytest.mark.parametrize(("samples", "chosen"), [(597, False), (603, True)])
def test_auto_trusts_a_large_validation_set(network, task_of, samples, chosen):
    task = task_of(samples)
    assert (len(task.validation) >= 200) == chosen
    result = quietly(network(), task, epochs=1, batch_size=300)
    assert (result.selected_epoch >= 0) == chosen


def test_without_validation_data(network, task_of):
    task = task_of(validation=False)
    result = quietly(network(), task, epochs=2)
    assert "validation" not in result.history
    assert result.selected_epoch == -1
    with pytest.raises(ConfigError, match="select: task user has no validation data; allowed: average, last"):
        quietly(network(), task, epochs=2, select="validation")


def test_validation_by_balanced_accuracy(network, task_of):
    task = task_of(metric="balanced accuracy")
    keep = np.r_[np.flatnonzero(task.validation.y != 2), np.flatnonzero(task.validation.y == 2)[:1]]
    task = replace(task, validation=task.validation.take(keep))
    net = network()
    result = quietly(net, task, epochs=1, select="last")
    x = torch.from_numpy(task.validation.x.swapaxes(0, 1).copy())
    with torch.no_grad():
        predicted = net(x).argmax(-1).numpy()
    recalls = [np.mean(predicted[task.validation.y == c] == c) for c in range(3)]
    assert result.history["validation"] == [pytest.approx(np.mean(recalls))]


def test_class_weights_enter_where_balanced_accuracy_counts(network, task_of):
    task = task_of(metric="balanced accuracy")
    rows = np.r_[np.flatnonzero(task.train.y != 1), np.flatnonzero(task.train.y == 1)[:1]]
    task = replace(task, train=task.train.take(rows))
    net = network()
    with torch.no_grad():
        x = torch.from_numpy(task.train.x.swapaxes(0, 1).copy())
        log_p = net(x).log_softmax(-1)
    y = torch.from_numpy(task.train.y)
    w = class_weights(task)[y]
    expected = float(-(w * log_p[torch.arange(len(y)), y]).sum() / w.sum())
    result = quietly(net, task, epochs=1, batch_size=100)
    assert result.history["loss"] == [pytest.approx(expected, rel=1e-5)]
    assert quietly(network(), replace(task, metric="accuracy"), epochs=1, batch_size=100).history["loss"] != [
        pytest.approx(expected, rel=1e-3)
    ]


def test_history_has_a_column_a_quantity_and_a_value_an_epoch(network, task):
    history = quietly(network(), task, Adversarial(steps=2), epochs=3, batch_size=5).history
    assert set(history) == {"loss", "task", "robust", "gradient_norm", "validation", "seconds"}
    assert all(len(column) == 3 for column in history.values())
    np.testing.assert_allclose(history["loss"], np.add(history["task"], 0.1 * np.array(history["robust"])), rtol=1e-6)


def test_the_penalty_quietens_a_network(network, task):
    rates = []
    x = torch.from_numpy(task.train.x.swapaxes(0, 1).copy())
    for penalty in (None, FiringRate(weight=1.0, target=0.0)):
        net = network()
        quietly(net, task, epochs=20, learning_rate=0.05, firing_rate=penalty)
        with torch.no_grad():
            rates.append(float(net.record(net.nominal(), x).spikes["layer0"].mean()))
    assert rates[1] < 0.5 * rates[0]


@pytest.mark.parametrize("objective", [Standard(), ForwardNoise(), Adversarial(steps=1)])
def test_same_seed_same_bits(network, task, objective):
    def run(seed):
        net = network()
        quietly(net, task, objective, epochs=2, batch_size=5, seed=seed)
        return weights(net)

    first = run(0)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (the global generator must not matter)
    assert equal(run(0), first)
    assert not equal(run(1), first)


def test_training_leaves_generators_modes_and_gradients_alone(network, task, untouched_generators):
    net = network()
    wanted = {name: p.requires_grad for name, p in net.nominal().items()}
    fixed = {name: p.detach().clone() for name, p in net.nominal().items() if not p.requires_grad}
    assert fixed
    assert any(wanted.values())
    net.eval()
    quietly(net, task, ForwardNoise(), epochs=2)
    assert not net.training
    assert {name: p.requires_grad for name, p in net.nominal().items()} == wanted
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(net.nominal()[name], p) for name, p in fixed.items())


def test_device_parameters_train_on_request(network, task):
    net = network()
    net.layer0.tau_mem.requires_grad_()
    before = weights(net)
    quietly(net, task, epochs=2)
    moved = {name for name, p in weights(net).items() if not torch.equal(p, before[name])}
    assert "layer0.tau_mem" in moved
    assert "layer0.v_th" not in moved


@pytest.fixture
def model():
    def make(*, trained=True):
        generator = torch.Generator().manual_seed(0)
        params = {"w": torch.randn(3, 3, generator=generator), "scale": torch.ones(3)}
        params["w"].requires_grad_(trained)
        return Model(lambda p, x: torch.tanh(x.sum(0) @ p["w"].T) * p["scale"], params, {"w": "weight"})

    return make


@pytest.mark.parametrize("objective", [Standard(), ForwardNoise(), Adversarial(steps=2)])
def test_a_model_trains_too(model, task, objective):
    net = model()
    result = quietly(net, task, objective, epochs=30, learning_rate=0.05)
    assert result.net is net
    assert result.history["loss"][-1] < 0.85 * result.history["loss"][0]
    assert torch.equal(net.nominal()["scale"], torch.ones(3))


def test_a_network_in_float64_trains(network, task):
    net = network().double()
    before = weights(net)
    result = quietly(net, task, Adversarial(steps=1), epochs=2)
    assert net.readout.weight.dtype == torch.float64
    assert not equal(weights(net), before)
    assert np.isfinite(result.history["loss"]).all()


def test_a_model_without_trained_parameters(model, task):
    with pytest.raises(ConfigError, match="net: no parameter requires a gradient"):
        quietly(model(trained=False), task, epochs=1)


def test_a_model_has_no_run_file(model, task, tmp_path):
    with pytest.raises(ConfigError, match="run: a run file holds a Network"):
        quietly(model(), task, epochs=1, run=tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs: 0 must be at least 1"),
        ({"epochs": -3}, "epochs: -3"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 must be positive"),
        ({"learning_rate": math.nan}, "learning_rate: nan"),
        ({"learning_rate": math.inf}, "learning_rate: inf"),
        ({"clip_norm": 0.0}, "clip_norm: 0.0 must be positive, or None"),
        ({"clip_norm": math.nan}, "clip_norm: nan"),
        ({"schedule": "cosin"}, "schedule: unknown 'cosin' .did you mean 'cosine'"),
        ({"select": "best"}, "select: unknown 'best'.*allowed: auto, average, last, validation"),
    ],
)
def test_settings_are_checked(network, task, options, message):
    with pytest.raises(ConfigError, match=message):
        quietly(network(), task, **options)


def test_the_network_must_fit_the_task(network, task_of):
    with pytest.raises(ShapeError, match=r"net\.inputs: 3 must be 4, the inputs of task user"):
        quietly(network(), task_of(inputs=4), epochs=1)
    with pytest.raises(ShapeError, match=r"net\.readout\.neurons: 3 must be at least 4"):
        quietly(network(), task_of(classes=4, samples=40), epochs=1)


class Refuses(Standard):
    """The standard objective, which must not run."""

    def bind(self, problem):
        def loss_and_grad(params, batch, key):
            raise AssertionError("trained although nothing had to be trained")

        return loss_and_grad


def test_a_finished_training_is_read_back(network, task, tmp_path):
    path = tmp_path / "a.h5"
    net = network()
    first = quietly(net, task, run=path, epochs=3, label="mine")
    again = network()
    second = quietly(again, task, Refuses(), run=path, epochs=3)
    assert equal(weights(again), weights(net))
    assert second.history == first.history
    assert (second.selected_epoch, second.path, second.net) == (first.selected_epoch, path, again)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epochs": 4}, "settings.epochs: 2 there, 4 here"),
        ({"seed": 1}, "settings.seed: 0 there, 1 here"),
        ({"seed": 1, "net": 1}, "settings.seed: 0 there, 1 here"),
        ({"objective": ForwardNoise()}, "objective"),
        ({"net": 1}, "initial_parameters"),
        ({"task": {"seed": 9}}, "data"),
        ({"task": {"name": "other"}}, "task"),
        ({"firing_rate": FiringRate()}, "firing_rate"),
    ],
)
def test_another_training_on_the_same_path_is_refused(network, task_of, tmp_path, change, field):
    path = tmp_path / "a.h5"
    quietly(network(), task_of(), run=path, epochs=2)
    before = path.read_bytes()
    options = {"epochs": 2, **change}
    net, task = network(options.pop("net", 0)), task_of(**options.pop("task", {}))
    objective = options.pop("objective", None)
    with pytest.raises(RunFileError, match=f"holds another training .{field}.*overwrite") as caught:
        quietly(net, task, objective, run=path, **options)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    quietly(net, task, objective, run=path, overwrite=True, **options)
    assert path.read_bytes() != before


def test_a_path_that_cannot_be_written_is_an_error_before_any_work(network, task, tmp_path):
    with pytest.raises(RunFileError, match="missing does not exist"):
        quietly(network(), task, Refuses(), run=tmp_path / "missing" / "a.h5", epochs=1)


@pytest.mark.parametrize("label", ["a/b", ".", ".."])
def test_a_label_that_no_run_file_can_hold_is_an_error_before_any_work(network, task, tmp_path, label):
    with pytest.raises(ConfigError, match="label"):
        quietly(network(), task, Refuses(), run=tmp_path / "a.h5", epochs=1, label=label)
    assert not list(tmp_path.iterdir())


def test_batches_of_an_epoch(task):
    assert batch_count(task.train, 5) == len(list(batches(task.train, 5, seed=0, epoch=0)))


def test_progress_says_loss_and_validation(network, task, capsys):
    train(network(), task, epochs=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "train standard on user: 1/1" in err
    assert "loss " in err
    assert "validation " in err


def test_a_diverging_training_stops_with_the_update_that_broke(task):
    calls = []

    def logits(params, x):
        calls.append(x.shape[1])
        return (x.sum(0) @ params["w"].T) * (float("nan") if len(calls) == 3 else 1.0)

    net = Model(logits, {"w": torch.eye(3).requires_grad_()}, {"w": "weight"})
    with pytest.raises(TrainingError, match=r"update 3 \(epoch 2\): the gradient norm is nan; a lower learning_rate"):
        train(net, replace(task, validation=None), epochs=5, batch_size=6, show_progress=False)
    assert torch.equal(net.nominal()["w"], torch.eye(3))  # the network given is as it was


@pytest.mark.parametrize(("samples", "size"), [(5, 1), (207, 21), (999, 100), (22800, 100)])
def test_an_epoch_has_ten_updates_or_more(samples, size):
    assert Settings().samples_an_update(samples) == size
    assert Settings(batch_size=64).samples_an_update(samples) == 64


def test_a_finished_training_takes_a_new_label(network, task, tmp_path):
    path = tmp_path / "a.h5"
    net = network()
    quietly(net, task, run=path, epochs=2, label="old")
    quietly(network(), task, Refuses(), run=path, epochs=2, label="new")
    (model,) = models_of(read_run(path))
    assert model.label == "new"
    assert equal(weights(model.net), weights(net))
