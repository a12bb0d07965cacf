"""The behaviour of chips under several conditions: what is kept, what goes on, what is refused."""

import dataclasses

import numpy as np
import pytest

import snnrobust as sr
from snnrobust.errors import ConfigError, RunFileError
from snnrobust.evaluation import behaviour, benchmark, read_behaviour
from snnrobust.evaluation.observation import study
from snnrobust.evaluation.observation.behaviour import Behaviour
from snnrobust.hardware import Profile, load_profile
from snnrobust.report.behaviour import behaviour_notes, chips_table, layers_table
from snnrobust.report.text import console
from snnrobust.training import Tuning


def run(network, task, path=None, *, conditions=None, chips=20, **how):
    where = conditions or {"at 0.4": Profile.relative(0.4)}
    return behaviour({"net": network()}, where, task, instances=chips, run=path, show_progress=False, **how)


def same(a, b):
    return all(np.array_equal(a.measures[name], b.measures[name], equal_nan=True) for name in a.measures)


def shown(*tables):
    out = console()
    with out.capture() as text:
        for table in tables:
            out.print(table)
    return text.get()


def test_accuracies_are_those_of_a_benchmark(network, task):
    profile = load_profile("dynapse1")
    found = run(network, task, conditions=profile, calibration=["none", "core_mean"])
    plain = benchmark(
        {"net": network()}, [0.0, profile], task, instances=20, calibration=["none", "core_mean"], show_progress=False
    )
    assert found.conditions == ("nominal", "dynapse1", "dynapse1 (core_mean)")
    assert found.samples == len(task.test)
    assert np.array_equal(found.measures["accuracy"], plain.measures["accuracy"])
    assert (found.measures["agreement"][0, 0] == 1).all()
    assert (found.measures["agreement"][0, 1:] < 1).any()
    assert (np.ptp(found.measures["rate"][0, 0], axis=0) == 0).all()


def test_drift_moves_the_same_chips(network, task):
    profile = load_profile("pcm_ibm")
    times = {f"{seconds} s": profile.under(time=seconds) for seconds in (25.0, 3e7)}
    found = run(network, task, conditions=times, chips=5)
    alone = run(network, task, conditions={"late": times["30000000.0 s"]}, chips=5)
    for name, values in found.measures.items():
        assert np.array_equal(values[:, 2], alone.measures[name][:, 1], equal_nan=True)
    assert not np.array_equal(found.measures["distance"][:, 1], found.measures["distance"][:, 2])


def test_a_file_keeps_it_and_xarray_opens_it(network, task, tmp_path):
    path = tmp_path / "b.h5"
    found = run(network, task, path)
    assert same(read_behaviour(path), found)
    assert same(run(network, task, path), found)  # nothing is run again
    pytest.importorskip("xarray")
    data = sr.open_results(path)
    assert data["accuracy"].dims == ("model", "condition", "instance")
    assert data["rate"].dims == ("model", "condition", "instance", "layer")
    assert data["rate"].attrs["units"] == "Hz"
    assert data["latency"].sel(condition="at 0.4").shape == (1, 20)
    with pytest.raises(RunFileError, match="seed"):
        run(network, task, path, seed=2)
    assert not same(run(network, task, path, seed=2, overwrite=True), found)


def test_networks_are_analyses_beside_what_a_file_holds(network, task, tmp_path):
    """Both networks at once and one after the other are the same; the file stays a benchmark."""
    pytest.importorskip("xarray")
    path, nets, at = tmp_path / "r.h5", {"a": network(), "b": network(seed=7)}, Profile.relative(0.4)
    plain = benchmark(nets, [0.4], task, instances=3, run=path, show_progress=False)
    both = behaviour(nets, at, task, instances=3, run=path, show_progress=False)
    for name in nets:
        alone = behaviour({name: nets[name]}, at, task, instances=3, run=path, show_progress=False)
        assert same(alone, read_behaviour(path, of=f"{name} on {at.name}"))
        assert np.array_equal(alone.accuracy[0], both.accuracy[list(nets).index(name)])
    assert same(read_behaviour(path), both)
    assert np.array_equal(sr.open_results(path)["accuracy"], plain.accuracy)
    behaviour({"a": nets["a"]}, Profile.relative(0.2), task, instances=2, run=path, show_progress=False)
    with pytest.raises(RunFileError, match=r"of: .* has several, of other chips or data; give one of 'a on "):
        read_behaviour(path)
    with pytest.raises(RunFileError, match="behaviour of: unknown 'c'"):
        read_behaviour(path, of="c")


def test_what_was_not_run_is_nan_where_networks_stand_side_by_side():
    first = Behaviour.empty(["nominal", "x"], {"a": {"layer0": 4}}, 2, notes={"x": ("one", "two")})
    second = Behaviour.empty(["nominal", "y"], {"b": {"layer0": 2, "layer1": 3}}, 2, notes={"y": ("one",)})
    for number, part in enumerate((first, second)):
        for values in part.measures.values():
            values[...] = number
    found = Behaviour.joined([first, second])
    assert (found.models, found.conditions, found.layers) == (("a", "b"), ("nominal", "x", "y"), ("layer0", "layer1"))
    assert found.neurons.tolist() == [[4, 0], [2, 3]]
    assert found.notes == {"x": ("one", "two"), "y": ("one",)}
    nan = np.nan
    np.testing.assert_array_equal(found.accuracy[:, :, 0], [[0, 0, nan], [1, nan, 1]])
    np.testing.assert_array_equal(found.measures["rate"][:, 0, 1], [[0, nan], [1, 1]])


def test_a_kill_loses_no_finished_block(network, task, tmp_path, monkeypatch):
    path, observed, real = tmp_path / "b.h5", [], study.observe

    def killed(deployment, data, block, reference):
        if len(observed) == 2:
            raise KeyboardInterrupt
        observed.append(block)
        return real(deployment, data, block, reference)

    monkeypatch.setattr(study, "observe", killed)
    with pytest.raises(KeyboardInterrupt):
        run(network, task, path)
    assert not path.exists()
    assert observed == [range(1), range(16)]
    monkeypatch.setattr(study, "observe", lambda d, data, block, r: observed.append(block) or real(d, data, block, r))
    again = run(network, task, path)
    assert observed[2:] == [range(16, 20)]
    assert same(again, run(network, task))


def test_chips_that_were_calibrated_in_the_loop(network, task):
    tuning = Tuning(knobs=("bias",), epochs=1)
    found = run(network, task, chips=3, calibration=["none", "in_the_loop"], tuning=tuning)
    plain = benchmark(
        {"net": network()}, [0.4], task, instances=3, calibration="in_the_loop", tuning=tuning, show_progress=False
    )
    assert found.conditions[2] == "at 0.4 (in_the_loop)"
    assert np.array_equal(found.accuracy[0, 2], plain.accuracy[0, 0])
    assert not np.array_equal(found.measures["distance"][0, 1], found.measures["distance"][0, 2])


def test_what_tuning_every_chip_would_cost(network, task):
    """18 samples to train on, 10 epochs and 11 checks of 18: 378 answers of 5 steps of 1 ms, on each of 20 chips."""
    notes = " ".join(behaviour_notes(run(network, task, conditions=load_profile("dynapse1"))))
    assert "20 chips x 18 samples x 10 epochs and 11 checks, 7,560 samples answered" in notes
    assert "37.8 s on one chip after the other" in notes
    assert "energy not available: the profile states none" in notes


def test_a_chip_with_outputs_that_are_not_finite_fails():
    found = Behaviour.empty(["nominal", "c"], {"a": {"layer0": 4}, "b": {"layer0": 2, "layer1": 3}}, 3, samples=50)
    for name in found.measures:
        found.measures[name][...] = 0.5
    found.measures["accuracy"][...] = [0.95, 0.9, 0.99]
    found.measures["nonfinite"][...] = [0, 0, 1]
    assert found.good(0.92)[1, 1].tolist() == [True, False, False]
    assert found.neurons.tolist() == [[4, 0], [2, 3]]
    text = shown(chips_table(found, 0.92), layers_table(found))
    assert "33.3" in text
    assert text.count("layer1 (3)") == 2  # the other network has no such layer


def test_a_foreign_file_is_refused(network, task, tmp_path):
    found = run(network, task, chips=2)
    group = found.to_group()
    for wrong in ("rate", "agreement", "neurons"):
        array = group.array(wrong)
        broken = group.put(wrong, dataclasses.replace(array, values=array.values[..., :0], dims=()))
        with pytest.raises(RunFileError, match=wrong):
            Behaviour.from_group(broken)
    with pytest.raises(RunFileError, match="behaviour: cannot be read"):
        Behaviour.from_group(dataclasses.replace(group, attrs={}))
    benchmark({"net": network()}, [0.0], task, instances=1, run=tmp_path / "t.h5", show_progress=False)
    with pytest.raises(RunFileError, match="holds no behaviour of chips"):
        read_behaviour(tmp_path / "t.h5")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"samples": 0}, "at least one network, one condition and one sample"),
        ({"conditions": {"nominal": Profile.relative(0.1)}}, "nominal is given twice"),
        ({"tuning": Tuning()}, "calibration must name in_the_loop"),
        ({"chips": 0}, "instances: 0 must be at least 1"),
        ({"calibration": "tri"}, "did you mean"),
    ],
)
def test_wrong_arguments(network, task, how, message):
    with pytest.raises(ConfigError, match=message):
        run(network, task, **how)


def test_models_of_ones_own_are_refused(linear, task):
    with pytest.raises(ConfigError, match="a Model has no spikes"):
        run(linear, task)
