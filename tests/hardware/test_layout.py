"""Where neurons lie, against places worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from chip_builder import placed, spread
from hypothesis import given
from hypothesis import strategies as st

from snnrobust.hardware.layout import pack
from snnrobust.snn import Network
from snnrobust.snn.specs import spec_of


def specs(*sizes: int) -> dict:
    return {f"l{i}.weight": spec_of("weight", (n, 3), layer=f"l{i}") for i, n in enumerate(sizes)}


def test_every_layer_has_a_core_without_a_limit():
    layout = pack(specs(4, 1))
    assert layout.cores == 2
    assert layout.core.tolist() == [0, 0, 0, 0, 1]
    assert layout.x.tolist() == [0.125, 0.375, 0.125, 0.375, 0.75]  # cores side by side on a grid of 2 x 2
    assert layout.y.tolist() == [0.125, 0.125, 0.375, 0.375, 0.25]
    assert layout.first == {"l0": 0, "l1": 4}


def test_layers_fill_cores_neuron_by_neuron():
    layout = pack(specs(3, 6), neurons_per_core=4)
    assert layout.cores == 3
    assert layout.core.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert layout.core[layout.rows(specs(3, 6)["l1.weight"])].tolist() == [0, 1, 1, 1, 1, 2]
    assert layout.x[4:].tolist() == [0.625, 0.875, 0.625, 0.875, 0.125]
    assert layout.y[4:].tolist() == [0.125, 0.125, 0.375, 0.375, 0.625]


def test_a_core_that_is_not_full_is_as_large_as_its_neurons():
    alone, limited = pack(specs(9)), pack(specs(9), neurons_per_core=256)
    assert limited.cores == 1
    assert torch.equal(alone.x, limited.x)
    assert torch.equal(alone.y, limited.y)
    assert alone.x[:4].tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6, 1 / 6])


@given(sizes=st.lists(st.integers(1, 40), max_size=5), limit=st.none() | st.integers(1, 50))
def test_places_are_distinct_and_cores_are_not_too_full(sizes, limit):
    layout = pack(specs(*sizes), limit)
    total = sum(sizes)
    assert len(layout.core) == len(layout.x) == len(layout.y) == total
    assert layout.cores == (len(sizes) if limit is None else math.ceil(total / limit))
    assert len(set(zip(layout.x.tolist(), layout.y.tolist(), strict=True))) == total
    if total:
        assert float(torch.cat([layout.x, layout.y]).min()) > 0
        assert float(torch.cat([layout.x, layout.y]).max()) < 1
        assert torch.equal(layout.core, layout.core.sort().values)
        assert limit is None or int(layout.core.bincount().max()) <= limit


def test_what_is_off_the_chip_has_no_place():
    own = {
        "norm": spec_of("none", (7,)),
        "a.weight": spec_of("weight", (4, 7), layer="a"),
        "out.weight": spec_of("weight", (2, 4), layer="out", on_chip=False),
    }
    assert pack(own).first == {"a": 0}
    assert pack({}).cores == 0
    assert pack({}, 256).cores == 0


def test_a_tensor_takes_the_first_neurons_of_its_layer():
    own = {"x": spec_of("gain", ()), "y": spec_of("bias", (3,)), "z": spec_of("weight", (5, 3))}
    layout = pack(own)
    assert len(layout.core) == 5
    assert [layout.rows(spec) for spec in own.values()] == [slice(0, 1), slice(0, 3), slice(0, 5)]


def test_a_placement_has_one_layout_for_its_network():
    chip = spread("weight", "distribution: none, granularity: per_neuron")
    net = Network.recurrent(2, 10, 3)
    layout = placed(chip, net.nominal()).layout
    assert layout.first == {"layer0": 0, "readout": 10}
    assert layout.cores == 2
