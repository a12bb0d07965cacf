"""Chips with parameters of their own: each is the chip that a network with these parameters would have been put on."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from chip_builder import EVERYTHING, ON_CORES, profile

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware import with_faults
from snnrobust.hardware.calibration import IN_THE_LOOP, modes_with_numbers
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.export import chip_tree, write_chip
from snnrobust.hardware.individual import moved_with, stored_with
from snnrobust.hardware.known_faults import Fault, FaultMap
from snnrobust.hardware.profile import list_profiles, load_profile
from snnrobust.snn import Network
from snnrobust.snn.reads import NUMBERS

CHIPS = {
    **{s.name: load_profile(s.name) for s in list_profiles()},
    "everything": profile(EVERYTHING, kind="hybrid"),
    "on_cores": profile(ON_CORES),
}
CONVERTERS = """\
crossbar:
  technology: any
  g_min: 0.0
  g_max: 25.0
  mapping: {scheme: differential_one_sided}
  levels: 16
  programming: {model: polynomial, variable: g_uS, coefficients: [0.5]}
  ir_drop: {model: polynomial, r_wire: 100.0}
  adc: {bits: 6, bound: 20.0, per_column_gain_cv: 0.05, per_column_offset: 0.5}
faults: {stuck_lrs: 0.05, stuck_hrs: 0.1, dead_synapse: 0.05, dead_neuron: 0.1, known: true}
"""
CHIPS["converters"] = profile(CONVERTERS, kind="hybrid")
SOME = ("readout.weight", "layer0.bias", "layer0.gain", "layer0.recurrent_weight", "layer0.v_leak")
DIGITAL = ("readout.weight", "readout.bias", "layer0.bias", "layer0.gain")
pytestmark = pytest.mark.filterwarnings("ignore:relative spread")


@pytest.fixture
def net() -> Network:
    net = Network.recurrent(4, 6, 3, dt=1e-3, tau_syn=5e-3, v_reset=-0.1, refractory=2e-3)
    with torch.no_grad():
        for name in ("layer0.bias", "readout.bias"):
            p = net.get_parameter(name)
            p.copy_(0.1 * torch.arange(1.0, len(p) + 1))
    return net


@pytest.fixture
def x() -> torch.Tensor:
    return 4 * torch.rand(25, 5, 4, generator=torch.Generator().manual_seed(0))


def rows(net, names, chips):
    return {name: net.get_parameter(name).detach().expand(chips, *net.get_parameter(name).shape) for name in names}


def other_values(net, names, chips):
    generator = torch.Generator().manual_seed(5)
    return {n: p * (1 + 0.3 * torch.randn(p.shape, generator=generator)) for n, p in rows(net, names, chips).items()}


def with_values(net, values, chip):
    found = copy.deepcopy(net)
    with torch.no_grad():
        for name, p in values.items():
            found.get_parameter(name).copy_(p[chip])
    return found


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("names", [SOME, DIGITAL])
def test_nominal_values_for_every_chip_are_the_plain_deployment_bit_for_bit(net, x, name, names):
    chip = Chip(CHIPS[name])
    plain = chip.deploy(net, 4, calibration_data=x)
    found = chip.deploy(net, 4, calibration_data=x, parameters=rows(net, names, 4))
    assert found.notes == plain.notes
    for block in (None, [2], [3, 0]):
        expected, own = plain.parameters(block), found.parameters(block)
        for key, p in expected.items():
            assert torch.equal(p.expand_as(own[key]) if p.ndim < own[key].ndim else p, own[key])
        assert torch.equal(plain.run(x, block, trial=2, part=1), found.run(x, block, trial=2, part=1))
    assert all(torch.equal(p, found.export(3)[key]) for key, p in plain.export(3).items())


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("names", [SOME, DIGITAL, ("layer0.weight",), ("layer0.v_th",), ("layer0.v_reset",)])
def test_each_chip_is_that_of_a_network_with_its_values(net, x, name, names):
    values = other_values(net, names, 3)
    chip = Chip(CHIPS[name])
    found = chip.deploy(net, 3, parameters=values)
    logits = found.run(x)
    for k in range(3):
        alone = chip.deploy(with_values(net, values, k), 3)
        exported = found.export(k)
        assert all(torch.equal(p, exported[key]) for key, p in alone.export(k).items())
        assert torch.equal(alone.run(x, [k])[0], logits[k])
        assert torch.equal(alone.record(x, [k]).spikes["layer0"][0], found.record(x).spikes["layer0"][k])


@pytest.mark.parametrize("name", ["dynapse1", "brainscales2", "pcm_ibm", "reram_wan2022", "everything"])
def test_blocks_and_what_chips_keep_change_no_bit(net, x, name):
    found = Chip(CHIPS[name]).deploy(net, 5, parameters=other_values(net, SOME, 5), writes=3)
    static = found.static([4, 2])
    for trial, part in ((0, 0), (1, 3)):
        every = found.parameters(trial=trial, part=part)
        two = found.parameters([4, 2], trial=trial, part=part, static=static)
        for key, p in every.items():
            assert torch.equal(p[[4, 2]] if p.ndim > net.get_parameter(key).ndim else p, two[key])
    assert torch.equal(found.run(x)[[4, 2]], found.run(x, [4, 2]))
    assert torch.equal(found.record(x).logits, found.run(x))


def test_written_for_some_chips_only(net, x):
    plain = Chip(CHIPS["dynapse1"]).deploy(net, 6)
    values = other_values(net, DIGITAL, 6)
    whole = plain.written(values)
    part = plain.written({name: p[2:4] for name, p in values.items()}, first=2)
    assert torch.equal(part.run(x), whole.run(x, [2, 3]))
    assert torch.equal(part.run(x, [3]), whole.run(x, [3]))
    with pytest.raises(ConfigError, match=r"block: \[1\] must be chips of 2 \.\. 3"):
        part.run(x, [1])


# --- writing again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pcm_ibm", "reram_wan2022", "rram_hfox_stuck_hrs_dominant"])
def test_an_array_is_programmed_anew_and_keeps_the_rest(net, name):
    chip = Chip(CHIPS[name])
    nominal = rows(net, ("readout.weight",), 3)
    deployments = [chip.deploy(net, 3, parameters=nominal, writes=n) for n in range(3)]
    z = [d.coordinates(range(3)) for d in deployments]
    redrawn = {key for key in z[0] if not torch.equal(z[0][key], z[1][key])}
    assert redrawn
    assert redrawn == {c.key for c in deployments[0].placement.coordinates.values() if c.per_write} & {
        "readout.weight/g_plus",
        "readout.weight/g_minus",
    }
    for key in redrawn:
        assert not torch.equal(z[1][key], z[2][key])
        assert torch.equal(z[2][key], chip.deploy(net, 9, parameters=rows(net, ("readout.weight",), 9), writes=2)
                           .coordinates(range(3))[key])  # fmt: skip
    first, second = (d.parameters() for d in deployments[1:])
    differ = {key for key, p in first.items() if not torch.equal(p, second[key])}
    assert differ == {"readout.weight"}


def test_programming_errors_of_writes_are_independent(net):
    wide = Network.recurrent(4, 100, 20, dt=1e-3)
    found = [
        Chip(CHIPS["pcm_ibm"]).deploy(wide, 2, parameters=rows(wide, ("readout.weight",), 2), writes=n)
        .coordinates(range(2))["readout.weight/g_plus"].flatten()
        for n in range(3)
    ]  # fmt: skip
    correlation = torch.corrcoef(torch.stack(found)) - torch.eye(3)
    assert float(correlation.abs().max()) < 4.5 / len(found[0]) ** 0.5  # three pairs: false alarm below 1e-4


def test_there_is_nothing_to_draw_where_no_array_is(net, x):
    values = other_values(net, SOME, 2)
    found = [Chip(CHIPS["dynapse1"]).deploy(net, 2, parameters=values, writes=n).run(x) for n in (0, 7)]
    assert torch.equal(*found)


# --- what depends on what, errors, files ---------------------------------------------------------------


def test_what_depends_on_a_parameter(net):
    specs = net.parameter_specs()
    assert stored_with(specs, ["layer0.bias"]) == moved_with(specs, ["layer0.bias"]) == ("layer0.bias",)
    assert stored_with(specs, ["layer0.weight"]) == ("layer0.weight", "layer0.recurrent_weight")
    assert set(stored_with(specs, ["layer0.v_leak"])) == {"layer0.v_leak", "layer0.v_th"}
    assert set(moved_with(specs, ["layer0.v_reset"])) == {name for name in specs if name.startswith("layer0.")}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"layer0.biass": (3, 6)}, ConfigError, "did you mean"),
        ({"layer0.bias": (6,)}, ShapeError, r"layer0\.bias of shape \(6,\) must be \[K, 6\]"),
        ({"layer0.bias": (3, 5)}, ShapeError, r"must be \[K, 6\]"),
        ({"layer0.bias": (2, 6)}, ConfigError, "for 2 chips; needed: a row for each of 3"),
        ({"layer0.bias": (4, 6)}, ConfigError, "for 4 chips from 0 on, of 3 chips"),
        ({"layer0.bias": (3, 6), "readout.bias": (2, 3)}, ConfigError, "disagree on the number of chips"),
        ({"layer0.bias": ()}, ShapeError, r"must be \[K, 6\]"),
    ],
)
def test_wrong_parameters_are_one_line(net, given, error, message):
    with pytest.raises(error, match=message) as found:
        Chip(CHIPS["dynapse1"]).deploy(net, 3, parameters={name: torch.zeros(s) for name, s in given.items()})
    assert "\n" not in str(found.value)


def test_wrong_places_are_one_line(net):
    plain = Chip(CHIPS["dynapse1"]).deploy(net, 3)
    values = rows(net, ("layer0.bias",), 2)
    for given in ({"first": 2}, {"first": -1}, {"writes": -1}):
        with pytest.raises(ConfigError, match=r"parameters: for 2 chips|writes: -1"):
            plain.written(values, **given)
    with pytest.raises(ConfigError, match="disagree on the number of chips"):
        plain.written({**values, **rows(net, ("readout.bias",), 3)})


def test_weights_of_a_layer_share_what_a_core_stores():
    """One range a core: what is written in one matrix moves the steps of the other, of all neurons on the core."""
    uniform = "quantization: {weight: {scheme: uniform, bits: 4, per: core}}\nlimits: {neurons_per_core: 4}\n"
    own = Network.recurrent(4, 6, 3)
    chip = Chip(profile(uniform))
    values = {"layer0.recurrent_weight": 5 * rows(own, ("layer0.recurrent_weight",), 2)["layer0.recurrent_weight"]}
    found, plain = chip.deploy(own, 2, parameters=values), chip.deploy(own, 2)
    assert not torch.equal(found.export(1)["layer0.weight"], plain.export(1)["layer0.weight"])
    alone = chip.deploy(with_values(own, values, 1), 2)
    assert all(torch.equal(p, found.export(1)[key]) for key, p in alone.export(1).items())


def test_what_is_given_is_copied_and_zeros_are_noted_no_more(net, x):
    silent = Network.recurrent(4, 6, 3)
    values = {"layer0.bias": torch.full((2, 6), 0.1)}
    plain = Chip(CHIPS["dynapse1"]).deploy(silent, 2)
    assert any("zeros: layer0.bias, readout.bias" in line for line in plain.notes)
    found = plain.written(values)
    assert any(line.endswith("zeros: readout.bias") for line in found.notes)
    before = found.run(x)
    values["layer0.bias"].zero_()
    assert torch.equal(found.run(x), before)


def test_the_file_of_a_chip_has_its_own_codes(net, tmp_path):
    values = other_values(net, ("readout.weight",), 3)
    found = Chip(CHIPS["brainscales2"]).deploy(net, 3, parameters=values, writes=2)
    write_chip(tmp_path / "chip.json", found, 1)
    told = json.loads((tmp_path / "chip.json").read_text())
    assert told["writes"] == 2
    codes, steps = (torch.tensor(told[part]["readout.weight"]) for part in ("codes", "steps"))
    assert int(codes.abs().max()) == 63
    torch.testing.assert_close(codes * steps, values["readout.weight"][1], atol=float(steps.max()) / 2, rtol=0)


# --- columns, faults, calibrations ---------------------------------------------------------------------


@pytest.mark.parametrize("calibration", ["none", "column_affine"])
def test_columns_are_read_as_those_of_the_chip_alone(net, x, calibration):
    """Offsets, what bit lines lose, and the ranges of converters, each in units of the chip's own weights."""
    chip, values = Chip(CHIPS["converters"]), other_values(net, SOME, 3)
    found = chip.deploy(net, 3, calibration=calibration, parameters=values)
    reads = found.reads([2, 0])
    for layer, both in reads.items():
        assert len(both.keys) == 2
        for row, k in enumerate((2, 0)):
            alone = chip.deploy(with_values(net, values, k), 3, calibration=calibration).reads([k])[layer]
            for name in NUMBERS:
                own, one = (torch.as_tensor(getattr(r, name)) for r in (both, alone))
                assert torch.equal(own[row], one[0] if one.ndim == 2 else one), name
    assert bool((reads["readout"].offset[0] != reads["readout"].offset[1]).any())
    assert bool((reads["readout"].drop[0] != reads["readout"].drop[1]).any())


@pytest.mark.parametrize("name", ["brainscales2", "dynapse1_conservative", "pcm_ibm", "everything", "converters"])
def test_calibrated_chips_are_those_of_the_chip_alone(net, x, name):
    values, chip = other_values(net, SOME, 2), Chip(CHIPS[name])
    for mode in modes_with_numbers(chip.profile):
        if mode not in ("none", IN_THE_LOOP):
            logits = chip.deploy(net, 2, calibration=mode, parameters=values).run(x)
            for k in range(2):
                assert torch.equal(
                    chip.deploy(with_values(net, values, k), 2, calibration=mode).run(x, [k])[0], logits[k]
                )


def test_maps_and_files_of_faults_are_those_of_the_chip_alone(net):
    values, chip = other_values(net, SOME, 4), Chip(CHIPS["converters"])
    found = chip.deploy(net, 4, parameters=values)
    every = found.fault_map()
    for k in (0, 3):
        alone = chip.deploy(with_values(net, values, k), 4)
        assert all(torch.equal(mask[0], every[name][k]) for name, mask in alone.fault_map([k]).items())
        one, own = (chip_tree(d, k) for d in (alone, found))
        assert dict(one.groups()).keys() == dict(own.groups()).keys()
        for (part, expected), (_, group) in zip(one.groups(), own.groups(), strict=True):
            arrays = dict(group.arrays())
            assert all(np.array_equal(a.values, arrays[name].values) for name, a in expected.arrays()), part


def test_known_faults_of_chips_that_are_written_again(net):
    """The faults stay, and the cells are programmed anew; before or after is the same."""
    faults = FaultMap(
        (Fault("readout.weight", 1, 2, "g_plus", "stuck_lrs"), Fault("layer0", 3, None, "", "dead_neuron"))
    )
    plain = Chip(CHIPS["converters"]).deploy(net, 3)
    values = other_values(net, ("readout.weight", "layer0.gain"), 3)
    before = with_faults(plain.written(values, writes=2), faults).parameters()
    after = with_faults(plain, faults).written(values, writes=2).parameters()
    assert all(torch.equal(p, after[name]) for name, p in before.items())
    other = with_faults(plain, faults).written(values, writes=3).parameters()
    assert {name for name, p in after.items() if not torch.equal(p, other[name])} == {"readout.weight"}
    assert torch.equal(after["readout.weight"][:, 1, 2] > 0, torch.ones(3, dtype=torch.bool))
    assert after["layer0.gain"][:, 3].tolist() == [0.0] * 3
