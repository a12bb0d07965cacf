"""Parts of a chip's variation: the same chips with some of them perfect, to the bit."""

import pytest
import torch

from snnrobust.errors import ConfigError
from snnrobust.hardware import Chip, load_profile
from snnrobust.hardware.parts import parts_of, varying
from snnrobust.hardware.profile import parse_profile
from snnrobust.snn import Network

CORRELATED = """\
schema_version: "1.0"
name: correlated
kind: analog_asic
description: Time constants and thresholds that deviate together.
evidence: assumption
parameters:
  tau_mem: {distribution: lognormal, granularity: per_neuron, components: {die: {cv: 0.1}, device: {cv: 0.2}}}
  v_th: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.1}}}
correlation: {order: [tau_mem, v_th], matrix: [[1.0, 0.7], [0.7, 1.0]]}
"""


pytestmark = pytest.mark.filterwarnings("ignore:relative spread")


def quiet(deployment):
    """Whether reads of arrays have neither noise nor converters; wires are the same on all chips and stay."""
    reads = deployment.reads(range(2)).values()
    return all(
        not r.weight_noise.any() and not torch.as_tensor(r.noise).any() and not torch.as_tensor(r.step).any()
        for r in reads
    )


def deployed(profile, **options):
    net = Network.recurrent(3, 6, 3, tau_mem=5e-3, tau_syn=2e-3, tau_out=5e-3, seed=0)
    chosen = parse_profile(profile) if "\n" in profile else load_profile(profile)
    return Chip(chosen).deploy(net, 5, **options)


@pytest.mark.parametrize("profile", ["dynapse1", "dynapse2", "pcm_ibm", CORRELATED])
@pytest.mark.parametrize("by", ["role", "layer", "component"])
def test_all_parts_are_the_chip_and_none_is_the_stored_network(profile, by):
    whole = deployed(profile)
    parts = parts_of(whole, by)
    same, perfect = varying(whole, parts, by).parameters(), varying(whole, (), by).parameters()
    specs = whole.net.parameter_specs()
    for name, value in whole.parameters().items():
        assert torch.equal(same[name], value)
        assert perfect[name].ndim == len(specs[name].shape)  # no chip differs
        if profile != "pcm_ibm":  # whose cells drift alike
            assert torch.equal(perfect[name], whole.stored[name])


@pytest.mark.parametrize("profile", ["dynapse1", "brainscales2", CORRELATED])
def test_a_perfect_role_leaves_the_others_as_they_are(profile):
    whole = deployed(profile)
    parts, specs, moved = parts_of(whole), whole.net.parameter_specs(), whole.parameters()
    assert set(parts) <= {spec.role for spec in specs.values()}
    for part in parts:
        rest = varying(whole, set(parts) - {part}).parameters()
        alone = varying(whole, {part}).parameters()
        for name, spec in specs.items():
            stays, goes = (rest, alone) if spec.role != part else (alone, rest)
            assert torch.equal(stays[name], moved[name]), (part, name)
            assert torch.equal(goes[name], whole.stored[name]), (part, name)


def test_layers_that_share_a_die_are_told_apart():
    whole = deployed("generic_subthreshold_180nm_20")
    assert parts_of(whole, "layer") == ("layer0", "readout")
    first = varying(whole, {"layer0"}, "layer").parameters()
    moved = whole.parameters()
    assert torch.equal(first["layer0.weight"], moved["layer0.weight"])
    assert torch.equal(first["readout.weight"], whole.stored["readout.weight"])


def test_components_are_told_apart():
    whole = deployed("dynapse1")
    assert parts_of(whole, "component") == ("die", "spatial", "device", "temporal", "outliers")
    die = varying(whole, {"die"}, "component").parameters()["layer0.weight"]
    factor = die / whole.stored["layer0.weight"]
    assert factor.flatten(1).nan_to_num(1).std(1).max() < 0.02  # one factor a chip, but for the level dependence
    assert die.ndim == 3


def test_parts_of_an_array_and_what_is_around_it():
    whole = deployed("pcm_ibm")
    assert parts_of(whole, "component") == ("programming", "drift", "read noise", "reads", "faults")
    assert parts_of(whole) == ("weight", "recurrent_weight", "reads", "faults")
    assert quiet(varying(whole, {"weight"}))
    assert not quiet(varying(whole, {"reads"}))
    faulty = varying(whole, {"faults"}).parameters()["layer0.recurrent_weight"]
    perfect = varying(whole, ()).parameters()["layer0.recurrent_weight"]
    touched = (~torch.isclose(faulty, perfect.expand_as(faulty), rtol=0.1)).double().mean()
    assert 0 < touched < 0.05  # 0.9 % of the written devices do not converge; compensation moves all a little
    assert not torch.equal(perfect, whole.stored["layer0.recurrent_weight"])  # after an hour of drift


def test_gains_and_offsets_of_converters_belong_to_the_reads():
    profile = load_profile("pcm_ibm")
    adc = profile.crossbar.adc.model_copy(update={"per_column_gain_cv": 0.05, "per_column_offset": 0.01})
    uneven = profile.model_copy(update={"crossbar": profile.crossbar.model_copy(update={"adc": adc})})
    whole = Chip(uneven).deploy(Network.recurrent(3, 6, 3, tau_mem=5e-3, tau_syn=2e-3, tau_out=5e-3, seed=0), 4)
    assert set(parts_of(whole)) == {"weight", "recurrent_weight", "reads", "faults"}
    assert quiet(varying(whole, {"weight"}))
    assert not quiet(varying(whole, {"reads"}))
    gains = varying(whole, {"reads"}).parameters()["layer0.weight"] / varying(whole, ()).parameters()["layer0.weight"]
    torch.testing.assert_close(gains.nan_to_num(1).std(-1), torch.zeros(4, 6), atol=1e-5, rtol=0)


def test_events_are_a_part():
    lossy = CORRELATED + "events: {loss: 0.5}\n"
    whole = deployed(lossy)
    assert parts_of(whole)[-1] == "events"
    x = torch.ones(20, 1, 3)
    assert varying(whole, {"events"}).received(x, range(3)).mean() < 0.9
    assert varying(whole, {"v_th"}).received(x, range(3)) is x
    assert "events" not in parts_of(deployed(lossy, only="mismatch"))


def test_mistakes_are_refused():
    whole = deployed(CORRELATED)
    with pytest.raises(ConfigError, match="by: unknown 'tensor'"):
        parts_of(whole, "tensor")
    with pytest.raises(ConfigError, match="part: unknown 'tau'"):
        varying(whole, {"tau"})
