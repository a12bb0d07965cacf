"""Profiles: shipped files, round trips, hashes, levels, errors on arbitrary input."""

from __future__ import annotations

import math
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken_text import mutate
from hypothesis import given, settings
from hypothesis import strategies as st

from snnrobust.errors import ProfileError
from snnrobust.hardware import profile as profile_module
from snnrobust.hardware.profile import Profile, check_profile, list_profiles, load_profile, parse_profile
from snnrobust.hardware.schema.features import SIMULATED, features

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "hardware_profiles"
NAMES = [
    "brainscales2",
    "dynapse1",
    "dynapse1_conservative",
    "dynapse1_no_threshold_proxy",
    "dynapse2",
    "dynapse2_no_threshold_proxy",
    "generic_subthreshold_180nm_10",
    "generic_subthreshold_180nm_20",
    "generic_subthreshold_180nm_30",
    "ideal",
    "pcm_hermes_1dev",
    "pcm_hermes_2dev",
    "pcm_ibm",
    "reram_cmo",
    "reram_wan2022",
    "rolls",
    "rram_hfox_stuck_hrs_dominant",
    "rram_hfox_stuck_lrs_dominant",
]
TEXTS = {name: (FOLDER / f"{name}.yaml").read_text() for name in NAMES}


def test_the_list_is_the_folder():
    assert [summary.name for summary in list_profiles()] == NAMES == sorted(p.stem for p in FOLDER.glob("*.yaml"))
    for summary in list_profiles():
        loaded = load_profile(summary.name)
        assert summary == (loaded.name, loaded.kind, loaded.description)


@pytest.mark.parametrize("name", NAMES)
class TestShipped:
    def test_its_name_is_its_file_and_it_has_no_error(self, name):
        assert check_profile(FOLDER / f"{name}.yaml") == []
        assert load_profile(name).name == name
        assert load_profile(FOLDER / f"{name}.yaml") == load_profile(name)

    def test_round_trip(self, name):
        loaded = load_profile(name)
        again = parse_profile(loaded.to_yaml())
        assert again == loaded
        assert (again.hash, again.to_yaml(), again.diff(loaded)) == (loaded.hash, loaded.to_yaml(), [])
        assert again.not_simulated() == loaded.not_simulated()
        assert list(again.numbers()) == list(loaded.numbers())

    def test_every_number_is_justified_and_every_source_is_used_or_named(self, name):
        loaded = load_profile(name)
        for number in loaded.numbers():
            assert number.evidence is not None
            assert number.source is not None or number.evidence == "assumption"
        for source in loaded.sources:
            version = re.search(r"\b[0-9a-f]{7}\b|\b\d+\.\d+\.\d+\b", source.citation)
            assert source.doi or source.arxiv or version or "IEEE" in source.citation
        summary = loaded.evidence_summary()
        assert sum(summary.counts.values()) == len(list(loaded.numbers()))
        assert len(summary.assumed) == summary.counts.get("assumption", 0)


def test_hashes_are_unique():
    assert len({load_profile(name).hash for name in NAMES}) == len(NAMES)


def test_numbers_of_dynapse1():
    found = {".".join(map(str, n.path)): n for n in load_profile("dynapse1").numbers()}
    device = found["parameters.weight.components.device.cv"]
    assert (device.value, device.evidence, device.source) == (0.093, "measured", "buchel2021")
    assert device.note.startswith("frozen total 11.4 %")
    # The plane and the device part make the frozen total that was measured at 20.8 mV.
    assert math.hypot(device.value, found["parameters.weight.components.spatial.cv"].value) == pytest.approx(
        0.114, abs=5e-4
    )
    assert found["parameters.tau_mem.outliers.factor"].value == 3.0
    assert load_profile("dynapse1").parameters.weight.center == "median"


@pytest.mark.parametrize(("percent", "area"), [(10, 5.8), (20, 1.46), (30, 0.66)])
def test_generic_spread_follows_from_its_transistor(percent, area):
    s = 0.7 * 12.5e-3 / (25.852e-3 * math.sqrt(2 * area))
    cv = math.sqrt(math.expm1(s**2))
    loaded = load_profile(f"generic_subthreshold_180nm_{percent}")
    assert loaded.parameters.weight.components.device.cv == pytest.approx(cv, rel=0.01)
    assert f"{area} um2" in loaded.description


def test_what_is_not_simulated():
    assert load_profile("pcm_ibm").not_simulated() == []
    assert load_profile("dynapse1").not_simulated() == []
    for name in NAMES:
        if name.startswith("generic") or name in ("ideal", "dynapse1_conservative"):
            assert load_profile(name).not_simulated() == []
    assert "time_scale" not in load_profile("brainscales2").not_simulated()


def test_every_simulated_feature_can_occur():
    text = """\
schema_version: "1.0"
name: all
kind: crossbar
description: Every feature that is simulated.
evidence: assumption
parameters:
  weight:
    distribution: lognormal
    granularity: per_synapse
    components:
      die: {cv: 0.1}
      core: {cv: 0.1}
      spatial: {cv: 0.1, kernel: plane}
      device: {cv: 0.1}
      temporal: {cv: 0.1, redraw: trial}
    level_dependence: {exponent: -0.3}
    outliers: {fraction: 0.1, factor: 2}
    clip: [0, 2]
  recurrent_weight: {distribution: lognormal, granularity: per_neuron_type, components: {device: {cv: 0.1}}}
  bias: {distribution: lognormal, granularity: per_neuron, components: {device: {cv: 0.1}}}
  gain: {distribution: lognormal, granularity: per_column, components: {device: {cv: 0.1}}}
  v_th: {distribution: lognormal, granularity: per_die, components: {device: {cv: 0.1}}}
  tau_adapt:
    distribution: lognormal
    granularity: per_core
    components: {device: {cv: 0.1}, spatial: {cv: 0.1, kernel: rbf, correlation_length: 0.2}}
  adaptation:
    distribution: lognormal
    granularity: per_neuron
    components: {device: {cv: 0.1}, spatial: {cv: 0.1, kernel: exponential, correlation_length: 0.2}}
correlation: {order: [bias, gain], matrix: [[1, 0.2], [0.2, 1]]}
quantization:
  weight: {scheme: uniform, bits: 4, per: column}
  bias: {scheme: coarse_fine, coarse: 6, fine_bits: 8, ratio: 8, i_max: 2.3e-6}
limits:
  fan_in: 1
  fan_out: 1
  neurons: 1
  neurons_per_core: 1
  signed_by: row
  inputs: [spikes]
  resets: [hard]
  neuron_kinds: [lif]
  roles: [weight]
faults:
  dead_neuron: 0.1
  dead_synapse: 0.1
  stuck_lrs: 0.1
  stuck_hrs: 0.1
  not_converged: 0.1
  clustered: true
  known: true
events: {loss: 0.1, jitter_std: 0.001, delay_std: 0.001, background_rate: 1.0}
calibration: {mode: core_mean, trim: {bits: 4, range_sigma: 2}, residual: {gain: 0.1}}
energy: {static_w: 1}
time_scale: {value: 2}
environment:
  temperature: 330
  temperature_ref: 300
  bias_law: ptat
  age: 1
  ageing: {amplitude: 0.001, exponent: 0.2}
crossbar:
  technology: pcm
  g_min: 0
  g_max: 25
  levels: 16
  mapping: {scheme: differential_one_sided}
  programming: {model: polynomial, variable: g_uS, coefficients: [1]}
  drift: {model: power_law, t0: 20, nu_mean: {poly: [0.1]}, nu_std: {poly: [0.01]}}
  read_noise: {model: constant, relative_to_w_max: 0.01}
  tile: [16, 16]
  compensation: global
  read: clocked
  iv: {model: cubic, a3: 0.1}
  ir_drop: {model: nodal, r_wire: 1.0, v_read: 0.2}
  dac: {bits: 8, bound: 1.0}
  adc: {bits: 8, bound: 10.0, per_column_gain_cv: 0.02, per_column_offset: 0.1}
"""
    others = {
        "differential_one_sided": ("differential_two_sided", "offset", "single_device", "n_pair, f: [1, 2]"),
        "model: power_law, t0: 20, nu_mean: {poly: [0.1]}, nu_std: {poly: [0.01]}": (
            "model: log_shift, mean_per_ln_t: -0.1, std: {per_ln_t: 0.1, b: 0.1}",
            "model: table, table: [{time: 1, coefficients: [1]}]",
        ),
        "model: constant, relative_to_w_max: 0.01": (
            "model: log10_g, k: 0.1, t_read: 1.0e-6",
            "model: pcm_1f, coefficient: 0.01, exponent: 0.5, q_max: 0.2, t_read: 1.0e-6",
        ),
        "model: nodal": ("model: polynomial",),
        "mode: core_mean": ("mode: trim", "mode: residual", "mode: column_affine"),
        "law: ptat": ("law: constant_current",),
        "compensation: global": ("compensation: per_column",),
        "uniform, bits: 4, per: column": (
            "uniform, bits: 4, per: tensor",
            "uniform, bits: 4, per: core",
            "subset_sum, bits: 4, per: core",
            "per_type, n_types: 4, per: core",
        ),
    }
    texts = [text, *(text.replace(old, new) for old, choices in others.items() for new in choices)]
    chips = [parse_profile(t) for t in texts]
    assert all(chip.not_simulated() == [] for chip in chips)
    assert {feature for chip in chips for _, feature in features(chip)} == SIMULATED
    assert parse_profile(text.replace("trial", "step")).not_simulated() == ["parameters.weight.components.temporal"]


def test_hash_is_of_what_is_simulated_and_the_name():
    text = TEXTS["dynapse1"]
    base = parse_profile(text).hash
    assert base == parse_profile(text.replace("frozen total 11.4 %", "some").replace("DYNAP-SE, no", "no")).hash
    assert base == parse_profile(text.replace("mode: relative\n", "center: median\n    mode: relative\n")).hash
    assert base == parse_profile(text.replace("evidence: measured\n", "evidence: simulator\n")).hash
    assert base != parse_profile(text.replace("name: dynapse1", "name: dynapse2")).hash
    assert base != parse_profile(text.replace("cv: 0.093", "cv: 0.0931")).hash
    assert base != parse_profile(text.replace("fan_in: 64", "fan_in: 63")).hash
    # Golden: stored results carry this hash.
    assert Profile.relative(0.3).hash == "4164adc8bb8f098be348cba71247c3036ec6cf56f4634076f66b3c329f34d15d"


def test_diff_names_every_difference():
    a, b = load_profile("generic_subthreshold_180nm_10"), load_profile("generic_subthreshold_180nm_20")
    assert "parameters.weight.components.device.cv: 0.1 -> 0.2" in a.diff(b)
    assert len(a.diff(b)) == 2 + 5  # name, description, five spreads
    assert a.diff(a) == []
    gone = load_profile("ideal").diff(a)
    assert "parameters.weight.components.die.cv: absent -> 0.1" in gone


class TestRelative:
    def test_it_is_the_mismatch_of_the_paper(self):
        p = Profile.relative(0.3)
        assert (p.name, p.kind) == ("relative_0.3", "relative")
        for role, granularity in [
            ("weight", "per_synapse"),
            ("recurrent_weight", "per_synapse"),
            ("bias", "per_neuron"),
        ]:
            entry = p.parameters.get(role)
            assert (entry.distribution, entry.mode, entry.granularity) == ("normal", "relative", granularity)
            assert entry.components.given() == {"device": entry.components.device}
            assert (entry.components.device.cv, entry.clip, entry.outliers) == (0.3, None, None)
        assert set(p.parameters.given()) == {"weight", "recurrent_weight", "bias"}
        assert p.not_simulated() == []
        assert p.evidence_summary().counts == {"assumption": 3}

    def test_level_zero_changes_nothing(self):
        p = Profile.relative(0)
        assert {entry.distribution for entry in p.parameters.given().values()} == {"none"}
        assert list(features(p)) == []
        assert p.hash == Profile.relative(0.0).hash

    def test_weight_alone_leaves_the_recurrent_weight(self):
        assert Profile.relative(0.1, roles=("weight",)).parameters.get("recurrent_weight").distribution == "none"
        assert Profile.relative(0.1, roles=["tau_mem"]).parameters.get("weight") is None

    @given(level=st.floats(0, 1e6), lognormal=st.booleans())
    def test_round_trip_at_any_level(self, level, lognormal):
        p = Profile.relative(level, distribution="lognormal" if lognormal else "normal")
        assert parse_profile(p.to_yaml()) == p

    def test_names_differ_where_profiles_do(self):
        profiles = [
            Profile.relative(0.1),
            Profile.relative(0.1000001),
            Profile.relative(0.1, distribution="lognormal"),
            Profile.relative(0.1, roles=("weight",)),
            Profile.relative(0.1, roles=("tau_mem", "v_th")),
        ]
        assert len({p.name for p in profiles}) == len({p.hash for p in profiles}) == 5

    @pytest.mark.parametrize("level", [-0.1, math.nan, math.inf, True, "0.1", None])
    def test_a_bad_level(self, level):
        with pytest.raises(ProfileError, match=f"level: {level!r} must be a finite number >= 0"):
            Profile.relative(level)

    def test_a_bad_role_or_distribution(self):
        with pytest.raises(ProfileError, match="role: unknown 'weights'"):
            Profile.relative(0.1, roles=("weights",))
        with pytest.raises(ProfileError, match="distribution: unknown 'uniform'"):
            Profile.relative(0.1, distribution="uniform")
        with pytest.raises(ProfileError, match=r"parameters\.v_leak\.mode: relative to v_leak"):
            Profile.relative(0.1, roles=("v_leak",))


class TestErrors:
    def test_an_unknown_name_gives_the_nearest(self):
        with pytest.raises(
            ProfileError, match=r"profile: unknown 'dynaps1' \(did you mean 'dynapse1'\?\); allowed: brain"
        ):
            load_profile("dynaps1")

    def test_file_line_and_field(self, tmp_path):
        path = tmp_path / "file.yaml"
        path.write_text(TEXTS["dynapse1"].replace("cv: 0.096", "cv: 20"))
        line = next(i for i, t in enumerate(path.read_text().splitlines(), 1) if "cv: 20" in t)
        expected = (
            f"{path}:{line}: parameters.tau_mem.components.device.cv: 20 looks like a percentage; "
            "spreads are fractions (0.2 means 20 %)"
        )
        assert check_profile(path) == check_profile(str(path)) == [expected]
        with pytest.raises(ProfileError) as caught:
            load_profile(path)
        assert str(caught.value) == expected

    def test_all_lines_are_in_the_exception(self):
        text = TEXTS["dynapse1"].replace("cv: 0.096", "cv: 20").replace("fan_in: 64", "fan_in: none")
        with pytest.raises(ProfileError) as caught:
            parse_profile(text)
        assert str(caught.value).splitlines() == check_profile(text)
        assert len(check_profile(text)) == 2

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "1: a profile is a mapping of keys to values (name: ..., kind: ..., ...)"),
            (b"- a\n", "1: a profile is a mapping of keys to values (name: ..., kind: ..., ...)"),
            (b"\xff\xfe\n", "1: not UTF-8 text: invalid start byte"),
            ("\ud800\n", "1: not UTF-8 text: surrogates not allowed"),
            (b"\x00", "1: not valid YAML: control characters are not allowed"),
            (b"a: [\n", "2: not valid YAML: did not find expected node content"),
            (b"[" * 100_000, "1: nested deeper than 16"),
            (b"? " * 100_000, "1: a key must be a word"),
            (b"a: [" + b"1," * 20_000 + b"]", "1: more than 10000 values"),
            (b"#" * 1_000_001, "1: 1000001 bytes; a profile has at most 1000000"),
            (b"---\na: 1\n---\n", "3: a second document (---); a profile is one document"),
        ],
    )
    def test_content_that_is_no_profile(self, content, expected):
        content = content if isinstance(content, bytes) else content + "\n"
        assert check_profile(content) == [f"profile.yaml:{expected}"]

    def test_yaml_that_is_more_than_data(self):
        text = TEXTS["ideal"]
        assert check_profile(text.replace("parameters: {}", "parameters: &a {}\nlimits: *a")) == [
            "profile.yaml:8: anchors and aliases are not allowed: a",
            "profile.yaml:9: anchors and aliases are not allowed: a",
            "profile.yaml:9: limits: None is not a mapping of keys to values",
        ]
        assert check_profile(text.replace("sources: []", "sources: !!python/tuple []")) == [
            "profile.yaml:7: tags are not allowed: tag:yaml.org,2002:python/tuple"
        ]
        assert check_profile(text + "name: again\n") == ["profile.yaml:9: name: duplicate key, first given in line 4"]

    def test_the_schema_version(self):
        assert check_profile(TEXTS["ideal"].replace('"1.0"', '"2.0"')) == [
            "profile.yaml:3: schema_version: unknown '2.0' (did you mean '1.0'?); allowed: 1.0"
        ]
        assert check_profile(TEXTS["ideal"].replace('"1.0"', "1.0")) == [
            "profile.yaml:3: schema_version: 1.0 must be one of '1.0'"
        ]

    def test_files_that_cannot_be_read(self, tmp_path):
        missing = tmp_path / "no.yaml"
        with pytest.raises(ProfileError, match="no such file"):
            load_profile(missing)
        assert check_profile("none.yaml") == ["none.yaml: no such file"]
        assert check_profile("/dev/zero") == ["/dev/zero: not a regular file"]
        assert check_profile("a\0b") == [r"'a\x00b': no such file"]
        with pytest.raises(ProfileError, match="not a regular file"):
            load_profile(tmp_path)

    def test_numbers_of_yaml_1_2(self):
        text = TEXTS["dynapse1"].replace("cv: 0.096", "cv: 9.6e-2")
        assert parse_profile(text).parameters.tau_mem.components.device.cv == 0.096
        note = parse_profile(TEXTS["ideal"].replace("description: No", 'description: "1e5" #')).description
        assert note == "1e5"

    def test_text_that_looks_like_a_number_survives_the_round_trip(self):
        for text in ("1e5", "no", "12:30", "0x10", "null", "~", "a: b", "# c", "é\u2028x", " lead", "multi\nline"):
            p = load_profile("ideal").model_copy(update={"description": text})
            assert parse_profile(p.to_yaml()).description == text


def assert_one_line_errors(lines: list[str]) -> None:
    for line in lines:
        assert line.isprintable(), line
        assert len(line) < 1000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t + "\n"))
def test_any_content_gives_lines(content):
    lines = check_profile(content)
    assert lines
    assert_one_line_errors(lines)


def fuzz(seed: int, cases: int) -> None:
    rng = random.Random(seed)
    broken = 0
    for _ in range(cases):
        content = mutate(TEXTS[rng.choice(NAMES)], rng)
        lines = check_profile(content)
        assert_one_line_errors(lines)
        if lines:
            broken += 1
            with pytest.raises(ProfileError):
                parse_profile(content)
        else:
            p = parse_profile(content)
            assert parse_profile(p.to_yaml()) == p
    assert broken > cases / 3


def test_mutated_profiles():
    fuzz(seed=0, cases=400)


@pytest.mark.slow
def test_many_mutated_profiles():
    fuzz(seed=1, cases=5000)


def test_a_user_file_may_have_another_name(tmp_path):
    path = tmp_path / "other.yaml"
    shutil.copy(FOLDER / "ideal.yaml", path)
    assert load_profile(str(path)).name == "ideal"


def test_a_source_checkout_finds_the_folder_beside_the_package(monkeypatch):
    def missing(_name):
        raise ModuleNotFoundError

    monkeypatch.setattr(profile_module.importlib.resources, "files", missing)
    assert [summary.name for summary in list_profiles()] == NAMES


def test_listing_needs_neither_torch_nor_numba():
    code = (
        "import sys, snnrobust.hardware.profile as p; p.list_profiles(); p.load_profile('dynapse1');"
        "import snnrobust.hardware.randomness; print(sorted({'torch', 'numba', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_key_with_a_line_end_is_still_one_line():
    lines = check_profile(TEXTS["dynapse1"].replace("key: buchel2021", 'key: "a\\nb"'))
    assert lines
    assert_one_line_errors(lines)
