"""Deployment of networks: arguments, notes, blocks, and that nothing else changes."""

from __future__ import annotations

import textwrap
import warnings

import numpy as np
import pytest
import torch
from chip_builder import EVERYTHING, profile

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.limits import exceeded
from snnrobust.hardware.mismatch import realise
from snnrobust.hardware.profile import Profile, list_profiles, load_profile
from snnrobust.snn import Network

CHIPS = {**{s.name: load_profile(s.name) for s in list_profiles()}, "everything": profile(EVERYTHING, kind="hybrid")}
LEVEL = Profile.relative(0.3)


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


# --- the nominal device --------------------------------------------------------------------------------


def test_ideal_is_the_nominal_network_bit_for_bit(net, x):
    deployment = Chip(CHIPS["ideal"]).deploy(net, 3)
    assert deployment.notes == ()
    found = deployment.parameters()
    for name, p in net.nominal().items():
        assert found[name].shape == p.shape  # no instance axis
        assert torch.equal(found[name], p)
    nominal = net.nominal()
    assert all(p is nominal[name] for name, p in realise(deployment.placement, nominal, {}).items())
    logits = deployment.run(x)
    assert logits.shape == (3, 5, 3)
    expected = net(x).detach()
    assert all(torch.equal(row, expected) for row in logits)
    assert net.record(nominal, x).spikes["layer0"].any()  # the example is not silent


@pytest.mark.parametrize("name", ["dynapse1", "generic_subthreshold_180nm_20"])
def test_level_zero_and_ideal_agree_while_chips_differ(net, x, name):
    assert torch.equal(Chip(Profile.relative(0.0)).deploy(net, 2).run(x)[1], net(x))
    logits = Chip(CHIPS[name]).deploy(net, 4).run(x)
    assert len({tuple(row.flatten().tolist()) for row in logits}) == 4


# --- instances -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHIPS)
def test_chip_17_is_the_same_alone_in_any_block_and_of_any_number(net, name):
    nominal = net.nominal()
    small, large = (Chip(CHIPS[name]).deploy(net, n) for n in (18, 1000))
    alone = small.export(17)
    for found, at in ((small.parameters(), 17), (large.parameters([900, 17]), 1), (large.parameters(range(16, 24)), 1)):
        for key, p in found.items():
            own = p[at] if p.ndim > nominal[key].ndim else p
            assert torch.equal(own, alone[key])


@pytest.mark.parametrize("name", CHIPS)
def test_all_at_once_is_one_by_one(net, x, name):
    net.double()
    deployment = Chip(CHIPS[name]).deploy(net, 5)
    logits = deployment.run(x.double())
    assert logits.shape == (5, 5, 3)
    for k in range(5):
        inputs = deployment.converted(x.double())
        one = net.run(deployment.export(k), inputs, reads=deployment.reads([k])).detach().squeeze(0)
        assert torch.allclose(logits[k], one, rtol=0, atol=1e-12)
        assert torch.equal(deployment.run(x.double(), [k])[0].argmax(-1), one.argmax(-1))


def test_lengths_and_trials_reach_the_run(net, x):
    deployment = Chip(CHIPS["everything"]).deploy(net, 2)
    lengths = torch.tensor([25, 10, 10, 5, 1])
    padded = x.clone()
    padded[10:, 1] = 99.0
    assert torch.equal(deployment.run(x, lengths=lengths), deployment.run(padded, lengths=lengths))
    assert torch.equal(deployment.run(x, trial=0), deployment.run(x))
    first, second = deployment.parameters(trial=0), deployment.parameters(trial=1)
    changed = {key for key, p in first.items() if not torch.equal(p, second[key])}
    assert changed == {"layer0.weight", "layer0.bias", "readout.weight", "readout.bias"}
    assert torch.equal(deployment.export(1, trial=1)["layer0.bias"], second["layer0.bias"][1])


def test_seed_and_purpose_make_other_chips(net):
    chip = Chip(LEVEL)
    many = [chip.deploy(net, 1, seed=seed).export(0) for seed in (1, 2)]
    many += [chip.deploy(net, 1, purpose=purpose).export(0) for purpose in ("train", "validation", "attack")]
    assert len({tuple(p["layer0.weight"].flatten().tolist()) for p in many}) == 5


def test_blocks(net):
    deployment = Chip(LEVEL).deploy(net, 10)
    assert list(deployment.blocks(4)) == [range(4), range(4, 8), range(8, 10)]
    assert list(deployment.blocks(99)) == [range(10)]
    for size in (0, -1):
        with pytest.raises(ConfigError, match=f"size: {size} must be at least 1"):
            deployment.blocks(size)
    for block in ([10], [-1], [], range(5, 11)):
        with pytest.raises(ConfigError, match=r"block: \[.*\] must be chips of 0 \.\. 9"):
            deployment.parameters(block)
    with pytest.raises(ConfigError, match="block"):
        deployment.export(10)


def test_export_is_in_nominal_shapes_and_runs(net, x):
    exported = Chip(CHIPS["everything"]).deploy(net, 3).export(2)
    assert {name: p.shape for name, p in exported.items()} == {name: p.shape for name, p in net.nominal().items()}
    assert not any(p.requires_grad for p in exported.values())
    assert net.run(exported, x).shape == (5, 3)


# --- nothing else changes ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHIPS)
def test_deployment_has_no_side_effects(net, x, name):
    net.train()
    flags = {key: p.requires_grad for key, p in net.named_parameters()}
    values = {key: p.detach().clone() for key, p in net.named_parameters()}
    net(x).sum().backward()
    grads = {key: None if p.grad is None else p.grad.clone() for key, p in net.named_parameters()}
    torch.manual_seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global one is the point)
    deployment = Chip(CHIPS[name]).deploy(net, 3)
    logits = deployment.run(x)
    deployment.export(0)
    assert not logits.requires_grad
    assert net.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    for key, p in net.named_parameters():
        assert p.requires_grad == flags[key]
        assert torch.equal(p, values[key])
        assert p.grad is None if grads[key] is None else torch.equal(p.grad, grads[key])


# --- arguments and notes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"instances": 0}, "instances: 0 must be at least 1"),
        ({"instances": -3}, "instances: -3 must be at least 1"),
        ({"limits": "enforced"}, "limits: unknown 'enforced' (did you mean 'enforce'?); allowed: enforce, report"),
        ({"unlisted": "fail"}, "unlisted: unknown 'fail'; allowed: error, ideal"),
        ({"only": "noise"}, "only: unknown 'noise'; allowed: mismatch"),
        (
            {"purpose": "tests"},
            "purpose: unknown 'tests' (did you mean 'test'?); allowed: attack, test, train, validation",
        ),
    ],
)
@pytest.mark.parametrize("name", ["ideal", "dynapse1"])
def test_arguments_outside_their_domain(net, name, arguments, message):
    with pytest.raises(ConfigError) as caught:
        Chip(CHIPS[name]).deploy(net, **arguments)
    assert str(caught.value) == message


def test_limits(net):
    chip = Chip(profile("limits: {fan_in: 9, neurons: 8}"))
    deployment = chip.deploy(net, 1)
    # 4 inputs and 6 neurons; 6 and 3 neurons
    lines = ["layer0: fan-in 10 of at most 9, in 6 of 6 neurons", "neurons: 9 of at most 8"]
    assert deployment.notes[:2] == tuple(f"does not fit, simulated all the same: {line}" for line in lines)
    with pytest.raises(ProfileError, match=f"mine: the network does not fit: {'; '.join(lines)}"):
        chip.deploy(net, 1, limits="enforce")
    chip.deploy(net, 1, limits="enforce", only="mismatch")
    assert exceeded(profile("limits: {fan_in: 10, neurons: 9}"), net.parameter_specs()) == []


def test_only_mismatch_leaves_the_rest_out(net):
    mixed = profile(
        """
        parameters: {weight: {distribution: normal, granularity: per_synapse, components: {device: {cv: 0.1}}}}
        quantization: {weight: {scheme: uniform, bits: 2}}
        limits: {fan_in: 2}
        faults: {dead_neuron: 0.5, dead_synapse: 0.5}
        """
    )
    bare = profile(
        "parameters: {weight: {distribution: normal, granularity: per_synapse, components: {device: {cv: 0.1}}}}"
    )
    found = Chip(mixed).deploy(net, 3, only="mismatch")
    expected = Chip(bare).deploy(net, 3).parameters()
    assert all(torch.equal(p, expected[name]) for name, p in found.parameters().items())
    assert not any("fit" in note or "dead" in note for note in found.notes)
    full = Chip(mixed).deploy(net, 3).parameters()
    assert not torch.equal(full["layer0.weight"], expected["layer0.weight"])


def test_roles_without_a_model(net):
    chip = Chip(CHIPS["dynapse1"])
    assert "ideal, the profile has no model for: gain, v_leak, v_reset" in chip.deploy(net, 1).notes
    with pytest.raises(ProfileError, match="dynapse1: no model for gain, v_leak, v_reset, which the network has"):
        chip.deploy(net, 1, unlisted="error")
    for name in ("ideal", "everything"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            missing = [] if name == "ideal" else ["refractory"]
            notes = Chip(CHIPS[name]).deploy(net, 1).notes
            assert [n for n in notes if "no model" in n] == [
                f"ideal, the profile has no model for: {m}" for m in missing
            ]
    Chip(LEVEL).deploy(net, 1, unlisted="error")


def test_blocks_of_the_profile_that_are_not_simulated(net):
    text = "{distribution: normal, granularity: per_neuron, components: {temporal: {cv: 0.1, redraw: step}}}"
    chip = profile(f"parameters: {{tau_mem: {text}}}")
    (line,) = [n for n in Chip(chip).deploy(net, 1).notes if n.startswith("not simulated yet: ")]
    assert line.removeprefix("not simulated yet: ").split(", ") == chip.not_simulated()
    assert chip.not_simulated() == ["parameters.tau_mem.components.temporal"]


def test_tensors_of_zeros_warn():
    net = Network.recurrent(2, 3, 2)  # biases start at 0
    with pytest.warns(
        UserWarning, match=r"relative spread has no effect on tensors of zeros: layer0\.bias, readout\.bias"
    ):
        deployment = Chip(LEVEL).deploy(net, 1)
    assert deployment.notes == ("relative spread has no effect on zeros: layer0.bias, readout.bias",)


def test_layers_whose_neurons_cannot_be_dead_are_named():
    chip = Chip(profile("faults: {dead_neuron: 0.1}"))
    assert (
        "no dead neurons, which need a gain, in: readout"
        in chip.deploy(Network.recurrent(2, 3, 2, readout="rate"), 1).notes
    )
    assert not any("gain, in" in note for note in chip.deploy(Network.recurrent(2, 3, 2), 1).notes)


def test_fan_in_of_sparse_connections():
    net = Network.recurrent(10, 20, 3, fan_in=8)
    assert exceeded(profile("limits: {fan_in: 20}"), net.parameter_specs()) == []
    assert exceeded(profile("limits: {fan_in: 7}"), net.parameter_specs()) == [
        "layer0: fan-in 8 of at most 7",
        "readout: fan-in 20 of at most 7",
    ]


# --- crossbars at every read -----------------------------------------------------------------------------------


def crossbar_chip(blocks: str):
    return profile(
        "crossbar:\n  technology: any\n  g_min: 0.0\n  g_max: 25.0\n  mapping: {scheme: differential_one_sided}\n"
        + textwrap.indent(textwrap.dedent(blocks), "  "),
        "crossbar",
    )


def test_what_is_on_a_chip_does_not_change_with_the_network(net, x):
    deployment = Chip(CHIPS["everything"]).deploy(net, 2)
    before = deployment.run(x)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    assert torch.equal(deployment.run(x), before)


def test_a_fine_converter_changes_little_and_a_coarse_one_much(net, x):
    nominal = net.run(net.nominal(), x).detach()
    errors = {}
    for bits in (3, 8, 16):
        chip = crossbar_chip(f"adc: {{bits: {bits}, bound: 10.0}}\ntile: [2, 64]")
        errors[bits] = float((Chip(chip).deploy(net, 1).run(x)[0] - nominal).abs().mean())
    assert errors[16] < errors[8] < errors[3]
    plain = Chip(crossbar_chip("adc: {bits: 3, bound: 10.0}")).deploy(net, 1, only="mismatch")
    assert torch.equal(plain.run(x)[0], nominal)


def test_ranges_of_converters_from_data(net, x):
    chip = Chip(crossbar_chip("adc: {bits: 8, bound: 100.0}\ndac: {bits: 8, bound: 1.0}\ntile: [2, 64]"))
    deployment = chip.deploy(net, 1, calibration_data=x)
    w, spikes = net.nominal()["layer0.weight"], net.spikes(net.nominal(), x)
    sums = [(x[..., i : i + 2] @ w[:, i : i + 2].T).abs().amax((0, 1)) for i in range(0, w.shape[1], 2)]
    assert set(deployment.ranges) == {*spikes, "readout"}
    if "layer0.recurrent_weight" not in net.nominal():
        assert torch.allclose(deployment.ranges["layer0"], torch.stack(sums).amax(0))
    assert deployment.largest_input == float(x.abs().max())
    nominal = net.run(net.nominal(), x).detach()
    wide = chip.deploy(net, 1).run(x)[0]
    assert float((deployment.run(x)[0] - nominal).abs().mean()) < float((wide - nominal).abs().mean())


def test_noise_of_reads_is_new_in_every_trial_and_the_same_in_any_batch(net, x):
    chip = crossbar_chip(
        """
        programming: {model: polynomial, variable: g_uS, coefficients: [0.1]}
        read_noise: {model: pcm_1f, coefficient: 0.3, exponent: 0.0, q_max: 1.0, t_read: 250.0e-9, mode: aihwkit}
        """
    )
    deployment = Chip(chip).deploy(net, 3, time=3600.0)
    both = deployment.run(x)
    assert not torch.equal(both, deployment.run(x, trial=1))
    assert len({tuple(row.flatten().tolist()) for row in both}) == 3
    for k in range(3):
        assert torch.equal(deployment.run(x, [k])[0], both[k])
    parts = [deployment.run(x[:, i : i + 2], first_sample=i) for i in range(0, x.shape[1], 2)]
    assert torch.equal(torch.cat(parts, 1), both)


def test_a_pass_goes_in_parts_where_noise_is_slow(net, x):
    deployment = Chip(CHIPS["pcm_ibm"]).deploy(net, 2)
    assert deployment.parts > 1
    assert Chip(CHIPS["dynapse1"]).deploy(net, 2).parts == 1
    assert not torch.equal(deployment.run(x), deployment.run(x, part=1))


@pytest.mark.parametrize(
    "name", [n for n, p in CHIPS.items() if p.crossbar is not None or n in ("dynapse1", "everything")]
)
def test_what_chips_keep_is_drawn_once_or_every_time(net, name):
    deployment = Chip(CHIPS[name]).deploy(net, 6)
    static = deployment.static([4, 2])
    for trial, part in ((0, 0), (0, 3), (1, 1)):
        expected = deployment.parameters([4, 2], trial=trial, part=part)
        found = deployment.parameters([4, 2], trial=trial, part=part, static=static)
        assert all(torch.equal(p, found[key]) for key, p in expected.items())


def test_time_is_that_of_the_deployment(net, x):
    chip = Chip(CHIPS["pcm_ibm"])
    assert torch.equal(chip.deploy(net, 2, time=3600.0).run(x), chip.deploy(net, 2).run(x))
    assert not torch.equal(chip.deploy(net, 2, time=86400.0).run(x), chip.deploy(net, 2).run(x))
    with pytest.raises(ProfileError, match="temperature"):
        chip.deploy(net, 2, temperature=330.0)


@pytest.mark.parametrize("argument", ["instances", "seed"])
@pytest.mark.parametrize("value", [True, 2.5, "3", None])
def test_counts_and_seeds_are_whole_numbers(net, argument, value):
    with pytest.raises(ConfigError, match=f"^{argument}: .* must be a whole number$"):
        Chip(CHIPS["dynapse1"]).deploy(net, **{argument: value})
    Chip(CHIPS["ideal"]).deploy(net, instances=np.int64(2), seed=np.int64(3))


def test_what_has_no_effect_is_said(net):
    bar = load_profile("pcm_ibm")
    new = bar.model_copy(update={"environment": bar.environment.model_copy(update={"time_since_programming": None})})
    assert "no drift: the profile does not state environment.time_since_programming" in Chip(new).deploy(net, 2).notes
    stuck = "no stuck cells (stuck_lrs, stuck_hrs, not_converged), which are those of a crossbar"
    assert stuck in Chip(profile("faults: {stuck_hrs: 0.1}")).deploy(net, 2).notes
    assert not any("no drift" in line or "no stuck" in line for line in Chip(bar).deploy(net, 2).notes)


@pytest.mark.parametrize("name", ["pcm_ibm", "pcm_hermes_1dev", "pcm_hermes_2dev"])
def test_conductances_of_a_power_law_fall_and_are_the_same_when_asked_for_again(net, name):
    before = None
    for time in (0.0, 1.0, 300.0, 3600.0, 1e5, 3e7, 1e9):
        deployment = Chip(CHIPS[name]).deploy(net, 4, time=time)
        now = deployment.conductances()
        assert set(now["layer0.weight"]) == {"g_plus", "g_minus"}
        again = deployment.conductances([3, 1])
        for key, cells in now.items():
            for device, g in cells.items():
                assert g.shape == (4, *net.nominal()[key].shape)
                assert torch.equal(again[key][device], g[[3, 1]])
                assert before is None or bool((g <= before[key][device]).all())
        before = now


def test_conductances_without_a_draw_are_those_of_all_chips(net):
    bar = "crossbar: {technology: any, g_min: 1.0, g_max: 11.0, mapping: {scheme: differential_one_sided}, "
    bar += "read_noise: {model: constant, relative_to_w_max: 0.1}}"
    found = Chip(profile(bar, kind="crossbar")).deploy(net, 3).conductances()["layer0.weight"]
    w = net.nominal()["layer0.weight"].detach()
    assert torch.allclose(found["g_plus"], (1 + 10 * w.clamp_min(0) / w.abs().max()).expand(3, *w.shape))
    assert Chip(CHIPS["dynapse1"]).deploy(net, 3).conductances() == {}
