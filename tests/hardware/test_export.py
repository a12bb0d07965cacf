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
