"""Energy of a run: the sum of its four terms, never some of them. Time scale: what a deployment says of it."""

from __future__ import annotations

import math

import pytest
import torch
from chip_builder import profile
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.hardware import Chip, Model
from snnrobust.hardware.energy import TERMS, Counts, deliveries, energy, missing
from snnrobust.hardware.schema.operation import Energy, TimeScale
from snnrobust.hardware.time_scale import step_of, step_on_chip
from snnrobust.snn import Network

COSTS = Energy(static_w=4e-3, pj_per_spike=50, pj_per_event=10.5, pj_per_conversion=2)
RUN = Counts(seconds=0.25, spikes=1000, events=64000, conversions=512)
ENERGY = "energy: {static_w: 4e-3, pj_per_spike: 50, pj_per_event: 10.5, pj_per_conversion: 2}\n"


@pytest.fixture
def net() -> Network:
    return Network.recurrent(3, 5, 2, dt=2e-3)


def own_model() -> Model:
    return Model(lambda params, x: x.sum(0) @ params["w"].T, {"w": torch.ones(2, 3)}, {"w": "weight"})


def test_a_sum_worked_out_by_hand():
    # 1 mJ + 50 nJ + 672 nJ + 1.024 nJ
    assert energy(COSTS, RUN) == pytest.approx(1e-3 + 50e-9 + 672e-9 + 1.024e-9, rel=1e-12)
    assert energy(COSTS, Counts(seconds=0, spikes=0, events=0)) == 0


@pytest.mark.parametrize(("name", "joule"), [("seconds", 4e-3), ("spikes", 5e-11), ("events", 1.05e-11)])
def test_each_count_has_its_own_cost(name, joule):
    alone = Counts(**{**dict.fromkeys(("seconds", "spikes", "events"), 0.0), name: 1.0})
    assert energy(COSTS, alone) == pytest.approx(joule, rel=1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_a_missing_term_is_no_energy_even_where_nothing_is_counted(name):
    lacking = COSTS.model_copy(update={name: None})
    assert energy(lacking, RUN) is None
    assert energy(lacking, Counts(0, 0, 0)) is None
    assert missing(lacking) == [name]
    assert energy(COSTS.model_copy(update={name: 0.0}), RUN) is not None  # zero is a number


def test_no_block_is_no_energy():
    assert energy(None, RUN) is None
    assert missing(None) == list(TERMS) == ["static_w", "pj_per_spike", "pj_per_event", "pj_per_conversion"]
    assert missing(COSTS) == []


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["seconds", "spikes", "events", "conversions"])
def test_counts_are_finite_and_not_negative(name, value):
    with pytest.raises(ConfigError, match=rf"{name}: {value} must be finite and at least 0"):
        Counts(**{"seconds": 1, "spikes": 1, "events": 1, name: value})


def test_deliveries_are_spikes_times_fan_out():
    weight = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])  # fan-out 2, 0, 1
    spikes = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    assert deliveries(spikes, weight) == 3 * 2 + 2 * 0 + 2 * 1
    assert deliveries(torch.stack([spikes, spikes]), weight) == 16  # of two chips


def test_deliveries_need_a_column_for_each_source():
    with pytest.raises(ShapeError, match=r"weight: shape \(2, 3\); must be \[N, 4\], one column a source"):
        deliveries(torch.zeros(5, 1, 4), torch.zeros(2, 3))


@given(scale=st.floats(1e-3, 1e4), dt=st.floats(1e-5, 1e-1))
def test_a_step_of_an_accelerated_chip_is_shorter_by_its_factor(scale, dt):
    assert step_on_chip(dt, TimeScale(value=scale)) * scale == pytest.approx(dt, rel=1e-12)
    assert step_on_chip(dt, None) == step_on_chip(dt, TimeScale(value=1.0)) == dt


def test_a_step_that_nobody_states_is_none(net):
    assert step_of(net, TimeScale(value=100.0)) == pytest.approx(2e-5)
    assert step_of(own_model(), TimeScale(value=100.0)) is None


def test_a_deployment_gives_the_energy_of_its_profile(net):
    assert Chip(profile(ENERGY)).deploy(net, 1).energy(RUN) == energy(COSTS, RUN)
    assert Chip(profile("")).deploy(net, 1).energy(RUN) is None


def notes(body, net, **options):
    return Chip(profile(body)).deploy(net, 1, **options).notes


def test_notes_say_what_is_missing_and_what_is_converted(net):
    plain = notes("", net)
    assert notes(ENERGY + "time_scale: {value: 1}", net) == plain
    assert set(notes("energy: {static_w: 1, pj_per_event: 2}", net)) - set(plain) == {
        "energy not available: the profile lacks pj_per_spike, pj_per_conversion"
    }
    assert set(notes("time_scale: {value: 1000}", net)) - set(plain) == {
        "time_scale 1000: a step takes 2e-06 s on the chip, in which events and static power are counted; times since "
        "programming, of age and of noise are the chip's own and stay as they are"
    }
    assert "time_scale 1000 has no effect: the model does not state its time step" in notes(
        "time_scale: {value: 1000}", own_model()
    )
    assert notes("time_scale: {value: 1000}", net, only="mismatch") == notes("", net, only="mismatch")
