"""Maps of faults: found by a test, read from a file, and simulated as they are."""

from __future__ import annotations

import pytest
import torch
from chip_builder import profile

from snnrobust.errors import ConfigError, MeasurementError, ProfileError
from snnrobust.hardware import read_faults, with_faults
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.known_faults import Fault, FaultMap
from snnrobust.snn import Network

CELLS = """\
crossbar:
  technology: any
  g_min: 0.0
  g_max: 25.0
  mapping: {scheme: differential_one_sided}
  programming: {model: polynomial, variable: g_uS, coefficients: [0.5]}
"""
RATES = "faults: {{stuck_lrs: 0.05, stuck_hrs: 0.1, not_converged: 0.05, dead_neuron: 0.1, known: {}{}}}\n"


def deploy(text: str, instances: int = 5):
    return Chip(profile(text, kind="hybrid")).deploy(Network.recurrent(4, 16, 3, dt=1e-3, seed=2), instances)


@pytest.mark.parametrize("clustered", ["", ", clustered: true"])
def test_the_map_is_what_the_chip_has(clustered):
    deployment = deploy(CELLS.replace("0.5]", "0.0]") + RATES.format("true", clustered))
    found, chips, nominal = deployment.fault_map(), deployment.parameters(), deployment.net.nominal()
    assert set(found) == {
        f"{layer}.{name}" for layer in ("layer0", "readout") for name in ("weight", "bias", "gain", "recurrent_weight")
    } & set(nominal)
    for name, mask in found.items():
        assert (mask.dtype, tuple(mask.shape)) == (torch.bool, (5, *nominal[name].shape))
        changed = (chips[name] - nominal[name].detach()).abs() > 1e-5 * nominal[name].detach().abs().max()
        assert not bool((changed & ~mask).any())  # nothing else moves where programming is exact
        if name.endswith("gain"):
            assert torch.equal(changed, mask)
    weight = found["layer0.weight"]
    assert 0.1 < float(weight.float().mean()) < 0.5  # 1 - (0.85^2 to 0.8^2) of pairs, 320 of them
    assert torch.equal(deployment.fault_map([3])["layer0.weight"], weight[3:4])


def test_a_test_that_finds_nothing_has_no_map():
    with pytest.raises(ProfileError, match=r"faults\.known: false"):
        deploy(CELLS + RATES.format("false", "")).fault_map()


def test_faults_of_a_file_and_no_others(tmp_path):
    file = tmp_path / "chip7.csv"
    file.write_text(
        "parameter,neuron,source,device,kind\n"
        "layer0.weight,0,1,g_plus,stuck_lrs\n"
        "layer0.weight,0,1,g_minus,stuck_hrs\n"
        "layer0.recurrent_weight,3,2,,dead_synapse\n"
        "layer0,5,,,dead_neuron\n"
    )
    base = deploy(CELLS + RATES.format("false", ", clustered: true"))
    deployment = with_faults(base, read_faults(file))
    chips, nominal = deployment.parameters(), deployment.net.nominal()
    top = float(nominal["layer0.weight"].detach().abs().max())
    assert torch.allclose(chips["layer0.weight"][:, 0, 1], torch.tensor(top))  # 25 uS and 0
    assert chips["layer0.recurrent_weight"][:, 3, 2].tolist() == [0.0] * 5
    assert [g.tolist().index(0.0) for g in chips["layer0.gain"]] == [5] * 5
    assert int((chips["layer0.gain"] == 0).sum()) == 5
    sound = Chip(profile(CELLS, kind="hybrid")).deploy(deployment.net, 5).parameters()  # the same chips without faults
    for name in ("layer0.weight", "layer0.recurrent_weight", "readout.weight"):
        differs = (chips[name] != sound[name]).any(0).nonzero().tolist()
        assert differs == {"layer0.weight": [[0, 1]], "layer0.recurrent_weight": [[3, 2]]}.get(name, [])
    found = deployment.fault_map([0])  # the file is what is known
    assert {n: int(m.sum()) for n, m in found.items() if bool(m.any())} == {
        "layer0.weight": 1, "layer0.recurrent_weight": 1, "layer0.gain": 1, "layer0.bias": 1,
    }  # fmt: skip
    assert deployment.notes[-1] == f"the 4 faults of {file} on every chip, and no others"
    x = torch.randn(10, 2, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(deployment.run(x, [2]), deployment.run(x)[2:3])


def test_wires_are_there_once():
    """Cells that are exact, so that wires are a part of what is stored until faults come before them."""
    text = CELLS.replace("  programming: {model: polynomial, variable: g_uS, coefficients: [0.5]}\n",
                         "  ir_drop: {model: nodal, r_wire: 50.0, v_read: 0.2}\n")  # fmt: skip
    base = deploy(text, 1)
    far = FaultMap((Fault("readout.weight", 0, 0, "g_plus", "stuck_hrs"),))
    found = with_faults(base, far).export(0)
    assert torch.allclose(found["layer0.weight"], base.export(0)["layer0.weight"], rtol=1e-6)


def test_an_empty_map_is_a_sound_chip():
    deployment = with_faults(deploy(CELLS + RATES.format("true", "")), FaultMap(()))
    sound = Chip(profile(CELLS, kind="hybrid")).deploy(deployment.net, 5).parameters()
    assert all(torch.equal(p, sound[name]) for name, p in deployment.parameters().items())
    assert not deployment.fault_map()


def test_mistakes_in_a_file_are_named_all_at_once(tmp_path):
    file = tmp_path / "bad.csv"
    file.write_text("parameter,neuron,source,device,kind\nlayer0.weight,x,1,,dead\nl,-1,0,,dead_synapse\n")
    with pytest.raises(MeasurementError) as error:
        read_faults(file)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["kind", "neuron"]
    assert str(error.value).splitlines()[0].startswith(f"{file}:2: ")
    file.write_text("parameter,neuron,row,kind\na,1,1,dead_synapse\n")
    with pytest.raises(MeasurementError, match="column: unknown 'row'"):
        read_faults(file)
    for text in ("", "parameter,neuron\n"):
        file.write_text(text)
        with pytest.raises(MeasurementError, match=r"bad\.csv:1: columns missing: .*kind"):
            read_faults(file)
    with pytest.raises(MeasurementError, match=r"absent\.csv: cannot be read"):
        read_faults(tmp_path / "absent.csv")


def test_faults_that_do_not_fit_are_named_all_at_once():
    base, digital = deploy(CELLS), Chip(profile()).deploy(Network.recurrent(4, 16, 3, dt=1e-3), 1)
    wrong = [
        (Fault("layer0.weigh", 0, 0, "g_plus", "stuck_lrs"), "parameter: unknown 'layer0.weigh'"),
        (Fault("layer0.weight", 16, 0, "g_plus", "stuck_lrs"), "neuron: 16 of layer0.weight must be from 0 to 15"),
        (Fault("layer0.weight", 0, 4, "", "dead_synapse"), "source: 4 of layer0.weight must be from 0 to 3"),
        (Fault("layer0.weight", 0, 0, "", "stuck_lrs"), "device: unknown ''"),
    ]
    with pytest.raises(MeasurementError) as error:
        with_faults(base, FaultMap(tuple(fault for fault, _ in wrong)))
    for line, (_, message) in zip(str(error.value).splitlines(), wrong, strict=True):
        assert message in line
    with pytest.raises(MeasurementError, match="has no crossbar"):
        with_faults(digital, FaultMap((Fault("layer0.weight", 0, 0, "", "stuck_lrs"),)))
    twice = Fault("layer0.weight", 0, 0, "", "dead_synapse")
    with pytest.raises(MeasurementError, match="has a fault already"):
        with_faults(digital, FaultMap((twice, twice)))
    with pytest.raises(ConfigError, match="only: 'mismatch'"):
        with_faults(Chip(profile()).deploy(digital.net, 1, only="mismatch"), FaultMap(()))
