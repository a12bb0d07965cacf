"""One chip as a file, read back with h5py and json alone."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from chip_builder import EVERYTHING, profile

from snnrobust.errors import ConfigError, RunFileError
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.export import write_chip
from snnrobust.hardware.profile import load_profile
from snnrobust.snn import Network

BROKEN = """\
parameters:
  tau_mem:
    distribution: lognormal
    granularity: per_neuron
    components: {device: {cv: 0.1}}
    outliers: {fraction: 0.3, factor: 3.0}
  weight:
    distribution: lognormal
    granularity: per_neuron_type
    components: {device: {cv: 0.1}}
    outliers: {fraction: 0.3, factor: 0.5}
quantization: {weight: {scheme: uniform, bits: 3, per: column}}
faults: {dead_synapse: 0.3}
"""


@pytest.fixture
def deployment():
    net = Network.recurrent(4, 12, 3, dt=1e-3)
    return Chip(profile(BROKEN)).deploy(net, 3)


def test_hdf5_and_json_hold_the_same_chip(deployment, tmp_path):
    write_chip(tmp_path / "chip.h5", deployment, 2)
    write_chip(tmp_path / "chip.json", deployment, 2)
    text = json.loads((tmp_path / "chip.json").read_text())
    expected = deployment.export(2)
    with h5py.File(tmp_path / "chip.h5") as file:
        assert file.attrs["profile"].decode() == text["profile"] == "mine"
        assert file.attrs["instance"] == text["instance"] == 2
        assert file.attrs["profile_hash"].decode() == deployment.profile.hash
        assert set(file["parameters"]) == set(expected) == set(text["parameters"])
        for name, value in expected.items():
            assert np.array_equal(file["parameters"][name], value.numpy())
            assert np.array_equal(np.float32(text["parameters"][name]["values"]), value.numpy())
            assert file["parameters"][name].attrs["role"].decode() == text["parameters"][name]["role"]
        for name in text["masks"]:
            assert np.array_equal(np.asarray(file["masks"][name]), np.array(text["masks"][name]))
    assert not list(tmp_path.glob(".*.tmp"))


def test_codes_times_steps_are_the_stored_weights(deployment, tmp_path):
    write_chip(tmp_path / "chip.json", deployment, 0)
    text = json.loads((tmp_path / "chip.json").read_text())
    weight = deployment.net.nominal()["layer0.weight"].detach()
    codes, steps = np.array(text["codes"]["layer0.weight"]), np.array(text["steps"]["layer0.weight"])
    assert codes.dtype.kind == "i"
    assert np.abs(codes).max(1).tolist() == [3] * 12  # 3 bits with sign, one range a neuron
    assert np.abs(codes * steps - weight.numpy()).max() <= steps.max() / 2 * (1 + 1e-6)
    assert set(text["codes"]) == {"layer0.weight", "layer0.recurrent_weight", "readout.weight"}


def test_masks_say_what_is_dead_and_what_is_anomalous(deployment, tmp_path):
    write_chip(tmp_path / "chip.json", deployment, 1)
    masks = {name: np.array(m) for name, m in json.loads((tmp_path / "chip.json").read_text())["masks"].items()}
    chip, nominal = deployment.export(1), deployment.net.nominal()
    dead = masks["layer0.weight.dead"]
    assert 0.1 < dead.mean() < 0.6
    assert not chip["layer0.weight"].numpy()[dead].any()
    factor = (chip["layer0.tau_mem"] / nominal["layer0.tau_mem"].detach()).numpy()
    odd = masks["layer0.tau_mem.outlier"]
    assert odd.any()
    assert (factor[odd] > 1.8).all()  # a factor of 3, cv 10 %
    assert (factor[~odd] < 1.8).all()
    weight, negative = masks["layer0.weight.outlier"], nominal["layer0.weight"].detach().numpy() < 0
    for row, sign in zip(weight, negative, strict=True):  # the synapses of one type on a neuron are one device
        assert len(set(row[sign])) <= 1
        assert len(set(row[~sign])) <= 1
    assert 0 < weight.mean() < 1


@pytest.mark.parametrize("name", ["ideal", "dynapse1", "pcm_ibm"])
def test_shipped_profiles_and_everything_can_be_written(name, tmp_path):
    net = Network.recurrent(4, 6, 3, dt=1e-3)
    for chip in (load_profile(name), profile(EVERYTHING, kind="hybrid")):
        write_chip(tmp_path / "chip.h5", Chip(chip).deploy(net, 1), 0)
        with h5py.File(tmp_path / "chip.h5") as file:
            assert file["parameters/layer0.weight"].shape == (6, 4)


def test_mistakes(deployment, tmp_path):
    with pytest.raises(ConfigError, match=r"ending '\.npz'"):
        write_chip(tmp_path / "chip.npz", deployment, 0)
    with pytest.raises(ConfigError, match=r"chips of 0 \.\. 2"):
        write_chip(tmp_path / "chip.h5", deployment, 3)
    with pytest.raises(RunFileError, match="does not exist"):
        write_chip(tmp_path / "absent" / "chip.h5", deployment, 0)
    assert not list(tmp_path.iterdir())
    assert torch.is_grad_enabled()


# --- what is stored ----------------------------------------------------------------------------------------


def written(body, tmp_path, kind="analog_asic", instances=1):
    net = Network.recurrent(5, 12, 3, dt=1e-3, seed=4, refractory=2e-3)
    deployment = Chip(profile(body, kind=kind)).deploy(net, instances)
    assert set(deployment.export(0, path=tmp_path / "chip.json")) == set(net.nominal())
    return deployment, json.loads((tmp_path / "chip.json").read_text())


def numbers(text, group, name):
    return np.array(text[group][name])


@pytest.mark.parametrize("cores", ["", "limits: {neurons_per_core: 5}"])
def test_masks_of_base_currents_are_the_stored_weights(cores, tmp_path):
    deployment, text = written(
        f"quantization: {{weight: {{scheme: subset_sum, bits: 4, per: core}}}}\n{cores}", tmp_path
    )
    for name in ("layer0.weight", "layer0.recurrent_weight"):
        code, currents = numbers(text, "codes", name), numbers(text, "currents", name)
        assert currents.shape == (12, 4)
        assert len(np.unique(currents, axis=0)) == (3 if cores else 1)
        made = sum((np.abs(code) >> j & 1) * currents[:, j : j + 1] for j in range(4)) * np.sign(code)
        assert np.allclose(made, deployment.stored[name].numpy(), rtol=1e-6, atol=1e-9)


def test_entries_of_types_are_the_stored_weights(tmp_path):
    body = "quantization: {weight: {scheme: per_type, n_types: 4, per: core}}\nlimits: {fan_in: 8}"
    deployment, text = written(body, tmp_path)
    code, kind = numbers(text, "codes", "layer0.weight"), numbers(text, "codes", "layer0.weight.type")
    assert np.allclose(code * numbers(text, "steps", "layer0.weight"), deployment.stored["layer0.weight"], rtol=1e-6)
    both = [numbers(text, "codes", f"layer0.{name}") for name in ("weight", "recurrent_weight")]
    assert np.abs(np.concatenate(both, 1)).sum(1).max() <= 8  # the budget of a neuron
    assert set(kind.ravel()) <= {0, 1}


def test_codes_of_the_bias_generator_are_the_stored_values(tmp_path):
    body = "quantization: {bias: {scheme: coarse_fine, coarse: 6, fine_bits: 4, ratio: 8, i_max: 2.0e-6}}"
    deployment, text = written(body, tmp_path)
    for name in ("layer0.tau_mem", "layer0.v_th", "layer0.refractory", "layer0.bias"):
        coarse, fine = (numbers(text, "codes", f"{name}.{part}") for part in ("coarse", "fine"))
        current = numbers(text, "currents", name)
        assert np.allclose(2.0e-6 / 8.0**coarse * np.abs(fine) / 15, current, rtol=1e-6, atol=1e-15)
        stored, nominal = deployment.stored[name].numpy(), deployment.theta[name].numpy()
        inverse = name.endswith(("tau_mem", "refractory"))
        middle = 2.0e-6 / 8**2.5  # sets the median, which all of these have
        ratio = np.ones_like(current) if name.endswith("bias") else (middle / current if inverse else current / middle)
        assert np.allclose(stored, nominal * ratio, rtol=1e-5)
        assert (numbers(text, "codes", f"{name}.fine") == 0).all() == name.endswith("bias")  # biases are zero


def test_levels_and_stuck_cells_of_a_crossbar(tmp_path):
    body = """\
        crossbar:
          technology: any
          g_min: 5.0
          g_max: 25.0
          levels: 5
          mapping: {scheme: differential_one_sided}
        faults: {stuck_lrs: 0.1, stuck_hrs: 0.2, not_converged: 0.1}
        """
    deployment, text = written(body, tmp_path, kind="crossbar")
    name = "layer0.weight"
    plus, minus = (numbers(text, "codes", f"{name}.{device}") for device in ("g_plus", "g_minus"))
    assert min(plus.min(), minus.min()) == 0
    assert max(plus.max(), minus.max()) == 4
    top = float(deployment.theta[name].abs().max())
    stored = (plus - minus) / 4 * top
    assert np.allclose(stored, deployment.stored[name].numpy(), atol=1e-6)
    conductance = {"g_plus": plus / 4, "g_minus": minus / 4}
    odd = np.zeros_like(plus, dtype=bool)
    for device in conductance:
        masks = {kind: numbers(text, "masks", f"{name}.{device}.{kind}") for kind in ("stuck_lrs", "stuck_hrs")}
        missed = numbers(text, "masks", f"{name}.{device}.not_converged")
        assert not (masks["stuck_lrs"] & masks["stuck_hrs"]).any()
        conductance[device] = np.where(masks["stuck_lrs"], 1.0, np.where(masks["stuck_hrs"], 0.0, conductance[device]))
        odd |= missed
        assert not missed[numbers(text, "codes", f"{name}.{device}") == 0].any()  # which were never written
    made = (conductance["g_plus"] - conductance["g_minus"]) * top
    chip = deployment.export(0)[name].numpy()
    assert np.allclose(made[~odd], chip[~odd], atol=1e-5)
    assert odd.any()
    assert not np.allclose(made[odd], chip[odd], atol=1e-5)


def test_a_core_that_two_layers_share_ends_where_the_layout_says(tmp_path):
    deployment, text = written(
        "quantization: {weight: {scheme: uniform, bits: 4, per: core}}\nlimits: {neurons_per_core: 13}", tmp_path
    )
    steps, top = numbers(text, "steps", "readout.weight"), deployment.theta["readout.weight"].abs().amax(1)
    assert steps[0] == pytest.approx(float(top[0]) / 7, rel=1e-6)  # on the core of the 12 neurons before it
    assert steps[1:] == pytest.approx(float(top[1:].max()) / 7, rel=1e-6)


def test_every_core_has_a_range_of_its_own(tmp_path):
    deployment, text = written(
        "quantization: {weight: {scheme: uniform, bits: 4, per: core}}\nlimits: {neurons_per_core: 5}", tmp_path
    )
    both = [deployment.theta[f"layer0.{name}"].abs() for name in ("weight", "recurrent_weight")]
    top = torch.cat(both, 1).amax(1)
    for name in ("layer0.weight", "layer0.recurrent_weight"):
        steps = numbers(text, "steps", name)
        for part in (slice(0, 5), slice(5, 10), slice(10, 12)):
            assert steps[part] == pytest.approx(float(top[part].max()) / 7, rel=1e-6)
        assert np.allclose(numbers(text, "codes", name) * steps, deployment.stored[name].numpy(), atol=1e-7)


def test_cells_of_a_crossbar_are_in_the_file(tmp_path):
    deployment = Chip(load_profile("pcm_ibm")).deploy(Network.recurrent(4, 6, 3, dt=1e-3), 3)
    write_chip(tmp_path / "chip.h5", deployment, 2)
    with h5py.File(tmp_path / "chip.h5") as file:
        found = file["conductances"]
        assert len(found) == 2 * 3  # two devices of three matrices
        for name, cells in deployment.conductances().items():
            for device, g in cells.items():
                assert np.array_equal(found[f"{name}.{device}"], g[2].numpy())
