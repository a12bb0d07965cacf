"""Yield over bits: the same as that of the profile with those bits, and which is the smallest that suffices."""

import numpy as np
import pytest
import torch
from planted import one_sample

from snnrobust.errors import ConfigError, ProfileError
from snnrobust.evaluation import Requirement, bits_needed
from snnrobust.evaluation.bits import Bits, Cell, with_bits
from snnrobust.hardware import Model, Profile, load_profile
from snnrobust.storage import read_run, write_run

ASKED = Requirement(accuracy=1.0, share=0.9)


def stored():
    """Margin 0.01 + 0.3 - w, w = 0.3 beside a weight of 1: 3 signed bits store 1/3, 4 store 2/7, 6 store 9/31."""

    def logits(params, x):
        score = 0.31 - params["w"][0, 0]
        return torch.stack([score, torch.zeros_like(score)]).expand(x.shape[1], 2)

    return Model(logits, {"w": torch.tensor([[0.3, 1.0]], dtype=torch.float64)}, {"w": "weight"})


def test_bits_that_suffice_without_mismatch():
    found = bits_needed(
        stored(), Profile.relative(0.1), one_sample(), ASKED, weight_bits=(3, 4, 6), scales=(0.0,), chips=40
    )
    assert [cell.found.share for cell in found.cells] == [0.0, 1.0, 1.0]
    assert [cell.weight for cell in found.sufficient(0.0)] == [4]
    assert "4 weight bits suffice" in found.statement


def test_with_mismatch_no_bits_suffice():
    found = bits_needed(stored(), Profile.relative(0.1), one_sample(), ASKED, weight_bits=(4, 8), chips=60)
    assert found.scales() == [0.5, 1.0]
    assert not found.sufficient(1.0)
    assert "no number of bits that was tried suffices at 1 times" in found.statement
    # w = 9/31 (1 + 0.1 z) < 0.31 where z < 0.679
    eight = next(cell for cell in found.cells if cell.weight == 8 and cell.scale == 1.0)
    assert eight.found.share == pytest.approx(0.63, abs=0.2)


def cells(shares, asked=ASKED):
    return tuple(Cell(1.0, w, a, asked.observed(passed, 100)) for (w, a), passed in shares.items())


def test_the_smallest_are_those_below_which_nothing_suffices():
    good, bad = 100, 50
    grid = {(2, 4): bad, (2, 6): bad, (3, 4): bad, (3, 6): good, (4, 4): good, (4, 6): good}
    found = Bits(Profile.relative(0.1), cells(grid), ASKED)
    assert [(c.weight, c.adc) for c in found.sufficient(1.0)] == [(3, 6), (4, 4)]
    assert "3 weight bits and 6 ADC bits or 4 weight bits and 4 ADC bits suffice" in found.statement
    lucky = Bits(Profile.relative(0.1), cells({(2, None): good, (3, None): bad, (4, None): good}), ASKED)
    assert [c.weight for c in lucky.sufficient(1.0)] == [4]  # 2 bits pass by luck: 3 do not


def test_converters_of_an_array(network, task, tmp_path):
    asked = Requirement(accuracy=0.2, share=0.6)
    options = {"weight_bits": (3, 8), "adc_bits": (4, 8), "scales": (1.0,), "chips": 6}
    found = bits_needed(network(), load_profile("pcm_ibm"), task, asked, **options)
    assert [(c.weight, c.adc) for c in found.cells] == [(3, 4), (3, 8), (8, 4), (8, 8)]
    assert any("training samples" in line for line in found.notes)
    write_run(tmp_path / "b.h5", found.to_group())
    tree = read_run(tmp_path / "b.h5")
    np.testing.assert_array_equal(tree.array("yield").values, [cell.found.share for cell in found.cells])
    np.testing.assert_array_equal(tree.array("adc_bits").values, [4, 8, 4, 8])


def test_a_profile_keeps_its_scheme_where_it_has_bits():
    assert with_bits(load_profile("brainscales2"), 5, None).quantization.weight.per == "tensor"
    assert with_bits(load_profile("dynapse2"), 3, None).quantization.weight.scheme == "subset_sum"
    assert with_bits(load_profile("dynapse1"), 3, None).quantization.weight.scheme == "uniform"
    assert with_bits(load_profile("pcm_ibm"), 3, 5).crossbar.adc.bits == 5


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight_bits": ()}, ConfigError, r"weight_bits: \[\] must be"),
        ({"weight_bits": (0,)}, ConfigError, "weight_bits"),
        ({"adc_bits": (1,)}, ConfigError, "2 to 16"),
        ({"scales": (-1.0,)}, ConfigError, "scales"),
        ({"chips": 10}, ConfigError, "at least 29 are needed"),
        ({"weight_bits": (9,), "profile": "dynapse2"}, ProfileError, "subset_sum allows 1 to 8"),
    ],
)
def test_mistakes_are_refused(options, error, message):
    profile = load_profile(options.pop("profile")) if "profile" in options else Profile.relative(0.1)
    with pytest.raises(error, match=message):
        bits_needed(stored(), profile, one_sample(), ASKED, **options)
