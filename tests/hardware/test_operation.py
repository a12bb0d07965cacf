"""Energy, time scale, process and area coefficient: absent stays absent, and every number has its evidence."""

from __future__ import annotations

import pytest
from test_schema import HEAD, errors

from snnrobust.hardware.profile import load_profile, parse_profile
from snnrobust.hardware.schema.operation import Energy

ALL = """\
energy: {static_w: 4e-3, pj_per_spike: 50, pj_per_event: 10.5, pj_per_conversion: 2}
time_scale: {value: 1000}
a_vt: {value: 12.5}
process: 65 nm CMOS
"""


def test_all_that_may_be_said():
    chip = parse_profile(HEAD + ALL)
    assert (chip.energy.static_w, chip.energy.pj_per_event) == (4e-3, 10.5)
    assert (chip.time_scale.value, chip.a_vt.value, chip.process) == (1000.0, 12.5, "65 nm CMOS")
    assert [n.path for n in chip.numbers()] == [
        *(("energy", name) for name in ("static_w", "pj_per_spike", "pj_per_event", "pj_per_conversion")),
        ("time_scale", "value"),
        ("a_vt", "value"),
    ]
    assert parse_profile(chip.to_yaml()) == chip
    assert chip.not_simulated() == []


def test_absent_stays_absent():
    chip = parse_profile(HEAD)
    assert (chip.energy, chip.time_scale, chip.a_vt, chip.process) == (None, None, None, None)
    assert not any(word in chip.to_yaml() for word in ("energy", "time_scale", "a_vt", "process"))
    assert Energy(static_w=0.1).pj_per_spike is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("time_scale: {value: 0}", "time_scale.value: 0 must be > 0"),
        ("time_scale: {}", "time_scale.value: is missing"),
        ("time_scale: 1000", "time_scale: 1000 is not a mapping of keys to values"),
        ("a_vt: {value: -1}", "a_vt.value: -1 must be > 0"),
        ("energy: {static_w: -1}", "energy.static_w: -1 must be >= 0"),
        (
            "energy: {pj_per_spik: 1}",
            "energy.pj_per_spik: unknown key 'pj_per_spik' (did you mean 'pj_per_spike'?); allowed: evidence, note, "
            "pj_per_conversion, pj_per_event, pj_per_spike, source, static_w",
        ),
        ("process: 180", "process: 180 is not text; put it in quotes"),
        ("kind: ideal\ntime_scale: {value: 2}", "time_scale: not allowed for kind ideal, which only has `parameters`"),
    ],
)
def test_mistakes(body, expected):
    head = HEAD.replace("kind: analog_asic\n", "") if body.startswith("kind:") else HEAD
    assert errors(body, head) == [expected]


def test_the_evidence_rule_holds_for_them():
    head = HEAD.replace("evidence: assumption\n", "")
    for body in ("energy: {static_w: 1}", "time_scale: {value: 2}", "a_vt: {value: 3}"):
        (line,) = errors(body, head)
        assert "has no `evidence` here or in an enclosing block" in line
        (line,) = errors(body.replace("}", ", evidence: measured}"), head)
        assert line.endswith("evidence measured needs a `source`; only an assumption has none")


def test_what_enters_the_hash():
    base = parse_profile(HEAD).hash
    assert parse_profile(HEAD + "process: 65 nm CMOS\na_vt: {value: 3}\n").hash == base
    assert parse_profile(HEAD + "time_scale: {value: 1000}\n").hash != base
    assert parse_profile(HEAD + "energy: {static_w: 1e-3}\n").hash != base


@pytest.mark.parametrize(
    ("name", "start"),
    [("ideal", "33a1e1dd0497"), ("dynapse1", "4eef9d99c374"), ("generic_subthreshold_180nm_20", "8a33230f2635")],
)
def test_profiles_keep_the_hashes_that_results_carry(name, start):
    # From before these fields were there: results on disk name their profile by its hash.
    assert load_profile(name).hash.startswith(start)
