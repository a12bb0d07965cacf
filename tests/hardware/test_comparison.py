"""Two profiles side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from test_profile import NAMES

from snnrobust.hardware.profile import load_profile, parse_profile
from snnrobust.hardware.schema.comparison import Difference, Side, differences


def test_values_evidence_and_what_is_absent():
    rows = {row.path: row for row in differences(load_profile("dynapse1"), load_profile("dynapse2"))}
    dead = rows["faults.dead_synapse"]
    assert dead == Difference("faults.dead_synapse", Side(0.0), Side(0.06, "measured", "maryada2023"))
    device = rows["parameters.weight.components.device.cv"]  # the same number, known in another way
    assert device.here == Side(0.093, "measured", "buchel2021")
    assert device.there == Side(0.093, "assumption", "buchel2021")
    assert rows["parameters.bias.distribution"].there == Side(None)
    assert rows["quantization.weight.scheme"][1:] == (Side("per_type"), Side("subset_sum"))
    assert "limits.signed_by" not in rows


def test_lists_and_tables_have_numbered_places():
    rows = {row.path: row for row in differences(load_profile("pcm_ibm"), load_profile("reram_wan2022"))}
    assert rows["crossbar.drift.table[1].time"].there == Side(86400.0, "simulator", "aihwkit")
    assert rows["crossbar.programming.coefficients"].here == Side((0.26348, 1.965, -1.1731), "simulator", "aihwkit")


def test_explanations_do_not_count():
    text = load_profile("rolls").to_yaml()
    other = parse_profile(text.replace("average mismatch", "mean mismatch").replace("name: rolls", "name: mine"))
    assert other != load_profile("rolls")
    assert differences(load_profile("rolls"), other) == []


@given(st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_the_other_way_round(a, b):
    here, there = load_profile(a), load_profile(b)
    forward = {(path, x, y) for path, x, y in differences(here, there)}
    assert forward == {(path, y, x) for path, x, y in differences(there, here)}
    same = here.model_copy(update={"name": b}).hash == there.hash
    assert same or forward
