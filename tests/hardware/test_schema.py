"""What a profile may say: every rule with a file that breaks it, and the exact line that reports it."""

from __future__ import annotations

import textwrap
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from snnrobust.errors import ConfigError
from snnrobust.hardware.profile import check_profile, parse_profile
from snnrobust.hardware.schema import document
from snnrobust.hardware.schema.calibration import Residual
from snnrobust.hardware.schema.crossbar import Crossbar
from snnrobust.hardware.schema.rules import UNITS
from snnrobust.snn import ROLES

HEAD = """\
schema_version: "1.0"
name: mine
kind: analog_asic
description: A chip.
evidence: assumption
"""
PCM = """\
crossbar:
  technology: pcm
  g_min: 0.0
  g_max: 25.0
  mapping: {scheme: differential_one_sided}
"""


def errors(body: str, head: str = HEAD) -> list[str]:
    """Error lines without the file and line number."""
    return [line.split(": ", 1)[1] for line in check_profile(head + textwrap.dedent(body) + "\n")]


def tau_mem(entry: str) -> str:
    return f"parameters: {{tau_mem: {{distribution: normal, granularity: per_neuron, {entry}}}}}"


DEVICE = "components: {device: {cv: 0.1}}"
P = "parameters.tau_mem"

BROKEN = {
    "percentage": (
        tau_mem("components: {device: {cv: 20}}"),
        [f"{P}.components.device.cv: 20 looks like a percentage; spreads are fractions (0.2 means 20 %)"],
    ),
    "negative spread": (
        tau_mem("components: {device: {cv: -0.1}}"),
        [f"{P}.components.device.cv: -0.1 must be >= 0"],
    ),
    "not finite": (tau_mem("components: {device: {cv: .nan}}"), [f"{P}.components.device.cv: nan is not finite"]),
    "infinite": (tau_mem(f"{DEVICE}, clip: [0.1, .inf]"), [f"{P}.clip[1]: inf is not finite"]),
    "text for a number": (
        tau_mem("components: {device: {cv: '0.1'}}"),
        [f"{P}.components.device.cv: '0.1' is not a number"],
    ),
    "true for a number": (
        tau_mem("components: {device: {cv: true}}"),
        [f"{P}.components.device.cv: True is not a number"],
    ),
    "wide normal in total": (
        tau_mem("components: {die: {cv: 0.2}, device: {cv: 0.2}}"),
        [
            f"{P}.distribution: a relative normal with total cv 0.283 > 0.25 changes signs; "
            "give `clip` with a lower bound, or use lognormal"
        ],
    ),
    "wide normal with an upper bound only": (
        tau_mem("components: {device: {cv: 0.3}}, clip: [null, 2]"),
        [
            f"{P}.distribution: a relative normal with total cv 0.3 > 0.25 changes signs; "
            "give `clip` with a lower bound, or use lognormal"
        ],
    ),
    "clip above nominal": (tau_mem(f"{DEVICE}, clip: [1.1, 3]"), [f"{P}.clip: [1.1, 3] excludes the nominal factor 1"]),
    "clip below nominal": (
        tau_mem(f"{DEVICE}, clip: [null, 0]"),
        [f"{P}.clip: [null, 0] excludes the nominal factor 1"],
    ),
    "empty clip": (tau_mem(f"{DEVICE}, clip: [2, 1]"), [f"{P}.clip: [2, 1] is empty; lo must be below hi"]),
    "half a clip": (tau_mem(f"{DEVICE}, clip: [0.1]"), [f"{P}.clip[1]: is missing"]),
    "unit of relative": (
        tau_mem(f"{DEVICE}, unit: s"),
        [f"{P}.unit: s is for mode absolute only; a relative spread has no unit"],
    ),
    "wrong unit": (
        tau_mem("mode: absolute, unit: v_th_range, components: {device: {sd: 0.001}}"),
        [f"{P}.unit: 'v_th_range'; absolute spread of tau_mem has unit s"],
    ),
    "no unit": (
        tau_mem("mode: absolute, components: {device: {sd: 0.001}}"),
        [f"{P}.unit: no unit; absolute spread of tau_mem has unit s"],
    ),
    "cv for absolute": (
        tau_mem("mode: absolute, unit: s, components: {device: {cv: 0.1}}"),
        [f"{P}.components.device.cv: mode absolute needs `sd` instead of `cv`"],
    ),
    "sd for relative": (
        tau_mem("components: {device: {sd: 0.1}}"),
        [f"{P}.components.device.sd: mode relative needs `cv` instead of `sd`"],
    ),
    "no spread": (tau_mem("components: {device: {}}"), [f"{P}.components.device: needs `cv`"]),
    "no component": (
        tau_mem("components: {}"),
        [f"{P}.components: normal needs at least one component (or outliers)"],
    ),
    "granularity of a neuron's parameter": (
        f"parameters: {{tau_mem: {{distribution: normal, granularity: per_synapse, {DEVICE}}}}}",
        [
            f"{P}.granularity: per_synapse is for weight, recurrent_weight; "
            "tau_mem allows per_neuron, per_column, per_core, per_die"
        ],
    ),
    "relative leak": (
        f"parameters: {{v_leak: {{distribution: normal, granularity: per_neuron, {DEVICE}}}}}",
        ["parameters.v_leak.mode: relative to v_leak, whose zero is arbitrary; use absolute with unit v_th_range"],
    ),
    "percentage of the range": (
        "parameters: {v_th: {distribution: normal, mode: absolute, unit: v_th_range, granularity: per_neuron,"
        " components: {device: {sd: 30}}}}",
        ["parameters.v_th.components.device.sd: 30 looks like a percentage; spreads are fractions (0.3 means 30 %)"],
    ),
    "absolute lognormal": (
        "parameters: {tau_mem: {distribution: lognormal, mode: absolute, unit: s, granularity: per_neuron,"
        " components: {device: {sd: 0.001}}}}",
        [f"{P}.distribution: lognormal is a factor; mode absolute allows normal, truncated_normal, uniform"],
    ),
    "truncation without bounds": (
        f"parameters: {{tau_mem: {{distribution: truncated_normal, granularity: per_neuron, {DEVICE}}}}}",
        [f"{P}: truncated_normal needs `clip`, the bounds of the truncation"],
    ),
    "none that varies": (
        f"parameters: {{tau_mem: {{distribution: none, granularity: per_neuron, {DEVICE}}}}}",
        [f"{P}.components.device: distribution none has no components"],
    ),
    "plane with a length": (
        tau_mem("components: {spatial: {cv: 0.1, kernel: plane, correlation_length: 0.1}}"),
        [f"{P}.components.spatial: kernel plane has no `correlation_length`"],
    ),
    "field without a length": (
        tau_mem("components: {spatial: {cv: 0.1, kernel: rbf}}"),
        [f"{P}.components.spatial: kernel rbf needs a `correlation_length`"],
    ),
    "threshold": (
        f"parameters: {{threshold: {{distribution: normal, granularity: per_neuron, {DEVICE}}}}}",
        ["parameters.threshold: the key is v_th, not threshold"],
    ),
    "leak and reset": (
        "parameters: {leak: {}, reset: {}}",
        ["parameters.leak: the key is v_leak, not leak", "parameters.reset: the key is v_reset, not reset"],
    ),
    "misspelt key": (
        tau_mem(f"{DEVICE}, granularty: per_neuron"),
        [
            f"{P}.granularty: unknown key 'granularty' (did you mean 'granularity'?); allowed: center, clip, "
            "components, distribution, evidence, granularity, level_dependence, mode, note, outliers, source, unit"
        ],
    ),
    "misspelt choice": (
        "calibration: {mode: core_men}",
        [
            "calibration.mode: unknown 'core_men' (did you mean 'core_mean'?); "
            "allowed: column_affine, core_mean, none, residual, trim"
        ],
    ),
    "level bounds": (
        tau_mem(f"{DEVICE}, level_dependence: {{exponent: -0.3, cv_min: 0.2, cv_max: 0.1}}"),
        [f"{P}.level_dependence.cv_min: 0.2 must be <= cv_max (0.1)"],
    ),
    "fault above one": ("faults: {dead_neuron: 1.5}", ["faults.dead_neuron: 1.5 must be <= 1"]),
    "faults above one": (
        "faults: {stuck_lrs: 0.6, stuck_hrs: 0.6}",
        [
            "faults: dead_synapse + stuck_lrs + stuck_hrs + not_converged = 1.2; "
            "the probabilities of one cell sum to at most 1"
        ],
    ),
    "conductances": (
        PCM.replace("g_min: 0.0", "g_min: 25.0"),
        ["crossbar.g_min: 25 must be below g_max (25)"],
    ),
    "pcm_1f without t_read": (
        PCM + "  read_noise: {model: pcm_1f, coefficient: 0.0088, exponent: 0.65, q_max: 0.2}",
        ["crossbar.read_noise: model pcm_1f needs `t_read`"],
    ),
    "pcm_1f without Q": (
        PCM + "  read_noise: {model: pcm_1f, t_read: 250e-9, coefficient: 0.0088}",
        ["crossbar.read_noise: pcm_1f needs either `q`, or `coefficient`, `exponent` and `q_max`"],
    ),
    "half a curve": (
        PCM + "  drift: {model: power_law, t0: 20, nu_mean: {a_ln: 1, b: 2}, nu_std: {poly: [0.1]}}",
        ["crossbar.drift.nu_mean: needs either `a_ln`, `b`, `min`, `max`, or `poly`, or `split`, `low`, `high`"],
    ),
    "programming without reference": (
        PCM + "  programming: {model: polynomial, variable: g_rel, coefficients: [0.3]}",
        ["crossbar.programming: variable g_rel needs `g_max_ref`"],
    ),
    "time between table points": (
        PCM
        + "  drift: {model: table, table: [{time: 1, coefficients: [0.3]}, {time: 86400, coefficients: [0.7]}]}\n"
        + "environment: {time_since_programming: 60}",
        ["environment.time_since_programming: 60 is outside crossbar.drift.table; allowed: 1, 86400"],
    ),
    "time after the table": (
        PCM
        + "  drift: {model: table, interpolate: true, table: [{time: 1, coefficients: [0.3]},"
        + " {time: 86400, coefficients: [0.7]}]}\nenvironment: {time_since_programming: 1e6}",
        [
            "environment.time_since_programming: 1e+06 is outside crossbar.drift.table; "
            "allowed: 1, 86400 and all between"
        ],
    ),
    "bits": ("quantization: {weight: {scheme: uniform}}", ["quantization.weight: scheme uniform needs `bits`"]),
    "fractional bits": (
        "quantization: {weight: {scheme: uniform, bits: 4.5}}",
        ["quantization.weight.bits: 4.5 is not a whole number"],
    ),
    "correlation shape": (
        "correlation: {order: [weight, tau_mem], matrix: [[1, 0.2], [0.2]]}",
        ["correlation.matrix: must be 2 x 2, one row and column for each role of `order`"],
    ),
    "correlation that cannot be": (
        "correlation: {order: [weight, tau_mem, v_th], matrix: [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]}",
        ["correlation.matrix: is not positive semidefinite: no such correlations exist"],
    ),
    "temperature without a law": (
        "environment: {temperature: 330, temperature_ref: 300}",
        ["environment.bias_law: needed where temperature differs from temperature_ref"],
    ),
    "kind relative with more": (
        "kind: relative\nfaults: {dead_neuron: 0.1}",
        ["faults: not allowed for kind relative, which only has `parameters`"],
    ),
    "kind ideal with more": (
        "kind: ideal\nlimits: {fan_in: 4}\nparameters: {tau_mem: {distribution: normal, granularity: per_neuron, "
        "components: {device: {cv: 0.1}}}}",
        [
            "limits: not allowed for kind ideal, which only has `parameters`",
            f"{P}: kind ideal has no spread",
        ],
    ),
    "wide normal where values are small": (
        tau_mem(f"{DEVICE}, level_dependence: {{exponent: -0.5}}"),
        [
            f"{P}.distribution: a relative normal with total cv inf > 0.25 changes signs; "
            "give `clip` with a lower bound, or `cv_max`, or use lognormal"
        ],
    ),
    "no distribution, and yet": (
        "parameters: {tau_mem: {distribution: none, granularity: per_neuron, clip: [0, 2], "
        "outliers: {fraction: 0.1, factor: 3}}}",
        [f"{P}.outliers: has no effect with distribution none", f"{P}.clip: has no effect with distribution none"],
    ),
    "centre of a normal": (
        tau_mem(f"{DEVICE}, center: mean"),
        [f"{P}: `center` mean is for lognormal only; other distributions have the nominal value at their centre"],
    ),
    "bits without a scheme": (
        "quantization: {weight: {bits: 4}}",
        ["quantization.weight: `bits` has no effect with scheme none"],
    ),
    "bits with a scheme that fails hide nothing": (
        "quantization: {weight: {scheme: uniforn, bits: 4}}",
        [
            "quantization.weight.scheme: unknown 'uniforn' (did you mean 'uniform'?); "
            "allowed: none, per_type, subset_sum, uniform"
        ],
    ),
    "more base currents than any chip has": (
        "quantization: {weight: {scheme: subset_sum, bits: 9, per: core}}",
        ["quantization.weight.bits: 9 base currents; subset_sum allows 1 to 8"],
    ),
    "types of one sign": (
        "quantization: {weight: {scheme: per_type, n_types: 3, per: core}}\nlimits: {fan_in: 64}",
        ["quantization.weight.n_types: 3 must be even: half excitatory, half inhibitory"],
    ),
    "types without a budget": (
        "quantization: {weight: {scheme: per_type, n_types: 4, per: core}}",
        ["limits: quantization.weight with scheme per_type needs `fan_in`, the entries of a neuron"],
    ),
    "a bias generator that cannot be": (
        "quantization: {bias: {scheme: coarse_fine, coarse: 33, fine_bits: 13, ratio: 1, i_max: 1e-6}}",
        [
            "quantization.bias.ratio: 1 must be > 1, full scale over the next smaller one",
            "quantization.bias.fine_bits: 13 must be 1 to 12",
            "quantization.bias.coarse: 33 must be 1 to 32",
        ],
    ),
    "residual without a mode": (
        "calibration: {residual: {tau_mem: 0.1}}",
        ["calibration: `residual` has no effect with mode none"],
    ),
    "two forms of a read noise": (
        PCM + "  read_noise: {model: pcm_1f, t_read: 1e-6, coefficient: 0.1, q: {poly: [1.0]}}",
        ["crossbar.read_noise: pcm_1f needs either `q`, or `coefficient`, `exponent` and `q_max`"],
    ),
    "clip that bounds nothing": (
        tau_mem(f"{DEVICE}, clip: [null, null]"),
        [f"{P}.clip: [null, null] bounds nothing; give lo or hi, or leave it out"],
    ),
    "clip that flips weights": (
        f"parameters: {{weight: {{distribution: normal, granularity: per_synapse, {DEVICE}, clip: [-1, 3]}}}}",
        ["parameters.weight.clip: [-1, 3] lets a factor change the sign of a weight; lo must be >= 0"],
    ),
    "wide uniform": (
        "parameters: {weight: {distribution: uniform, granularity: per_synapse, components: {device: {cv: 0.6}}}}",
        [
            "parameters.weight.distribution: a relative uniform with total cv 0.6 > 0.577 changes signs; give `clip` "
            "with a lower bound, or use lognormal"
        ],
    ),
    "bounds of drift": (
        PCM + "  drift: {model: log_shift, mean_per_ln_t: -0.1, std: {per_ln_t: 0.1, b: 0.1}, clip: [9, 5]}",
        ["crossbar.drift.clip: [9, 5] is empty; lo must be below hi"],
    ),
    "significance of nothing": (
        PCM.replace("differential_one_sided", "n_pair, f: [1, 0]"),
        ["crossbar.mapping.f: 0 is no significance; all must be > 0"],
    ),
    "many pairs": (
        PCM.replace("differential_one_sided", f"n_pair, f: {[1.0] * 17}"),
        ["crossbar.mapping.f: 17 pairs a weight; allowed: 1 to 16"],
    ),
    "curve without room": (
        PCM + "  read_noise: {model: pcm_1f, t_read: 1e-6, q: {a_ln: 0.1, b: 0.1, min: 0.2, max: 0.1}}",
        ["crossbar.read_noise.q.min: 0.2 must be <= max (0.1)"],
    ),
    "fields of other choices": (
        PCM.replace("one_sided}", "one_sided, f: [1.0]}")
        + "  drift: {model: log_shift, mean_per_ln_t: -0.1, std: {per_ln_t: 0.1, b: 0.1}, t0: 20.0}\n"
        + "  read_noise: {model: constant, relative_to_w_max: 0.01, k: 0.1}\n"
        + "quantization: {weight: {scheme: uniform, bits: 4, n_types: 4}}",
        [
            "crossbar.mapping: `f` has no effect with scheme differential_one_sided",
            "crossbar.drift: `t0` has no effect with model log_shift",
            "crossbar.read_noise: `k` has no effect with model constant",
            "quantization.weight: `n_types` has no effect with scheme uniform",
        ],
    ),
    "many types": (
        "quantization: {weight: {scheme: per_type, n_types: 1000000, per: core}}\nlimits: {fan_in: 64}",
        ["quantization.weight.n_types: 1000000 synapse types; allowed: 2 to 64"],
    ),
    "many neurons": (
        f"limits: {{neurons_per_core: {10**30}}}",
        [f"limits.neurons_per_core: {10**30} must be <= 2.14748e+09"],
    ),
    "a number that overflows": (
        tau_mem("outliers: {fraction: 0.1, factor: 1e308}"),
        [f"{P}.outliers.factor: 1e+308 is too large; numbers are at most 1e+12 in size"],
    ),
    "crossbar without one": ("kind: crossbar", ["crossbar: kind crossbar needs this block"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_profile_gives_exactly_its_lines(case):
    body, expected = BROKEN[case]
    head = HEAD.replace("kind: analog_asic\n", "") if body.startswith("kind:") else HEAD
    assert errors(body, head) == expected


FINE = {
    "relative normal at the limit": tau_mem("components: {device: {cv: 0.25}}"),
    "wide normal with a lower bound": tau_mem("components: {device: {cv: 0.5}}, clip: [0, null]"),
    "absolute seconds": tau_mem("mode: absolute, unit: s, components: {device: {sd: 0.001}}, clip: [0.001, null]"),
    "bounded level dependence": tau_mem(f"{DEVICE}, level_dependence: {{exponent: -0.5, cv_max: 0.2}}"),
    "outliers only": tau_mem("outliers: {fraction: 0.01, factor: 3}"),
    "tau_syn by type": f"parameters: {{tau_syn: {{distribution: lognormal, granularity: per_neuron_type, {DEVICE}}}}}",
    "table time": PCM
    + "  drift: {model: table, table: [{time: 1, coefficients: [0.3]}, {time: 86400, coefficients: [0.7]}]}\n"
    + "environment: {time_since_programming: 86400}",
    "interpolated": PCM
    + "  drift: {model: table, interpolate: true, table: [{time: 1, coefficients: [0.3]},"
    + " {time: 86400, coefficients: [0.7]}]}\nenvironment: {time_since_programming: 60}",
    "two curves": PCM
    + "  read_noise: {model: pcm_1f, t_read: 512e-9, q: {split: 0.16, low: {a_ln: -0.01, b: -0.007, min: 0.015,"
    + " max: 0.04}, high: {poly: [0.0123, 0.0211]}}}",
    "correlation": "correlation: {order: [weight, tau_mem], matrix: [[1, 0.2], [0.2, 1]]}",
    "residual": "calibration: {mode: residual, residual: {v_leak: 0.3, tau_mem: 0.45}}",
}


@pytest.mark.parametrize("case", FINE)
def test_a_valid_profile_has_no_lines(case):
    assert check_profile(HEAD + FINE[case] + "\n") == []


class TestEvidence:
    HEAD = HEAD.replace("evidence: assumption\n", "sources: [{key: smith2020, citation: Smith (2020)}]\n")

    def test_a_number_without_evidence(self):
        allowed = "allowed: measured, measured_secondary, simulator, derived, assumption"
        assert errors(tau_mem(f"{DEVICE}, clip: [0, 2]"), self.HEAD) == [
            f"{P}.components.device: `cv` has no `evidence` here or in an enclosing block; {allowed}",
            f"{P}: `clip` has no `evidence` here or in an enclosing block; {allowed}",
        ]

    def test_measured_needs_a_source(self):
        assert errors(tau_mem("components: {device: {cv: 0.1, evidence: measured}}"), self.HEAD) == [
            f"{P}.components.device: evidence measured needs a `source`; only an assumption has none"
        ]

    def test_an_assumption_needs_none(self):
        assert errors(tau_mem("components: {device: {cv: 0.1, evidence: assumption}}"), self.HEAD) == []

    def test_evidence_and_source_are_inherited(self):
        assert errors(tau_mem(f"evidence: measured, source: smith2020, {DEVICE}"), self.HEAD) == []

    def test_the_outer_source_does_not_vouch_for_an_inner_assumption(self):
        text = self.HEAD + tau_mem(
            "evidence: measured, source: smith2020, "
            "components: {die: {cv: 0.1, evidence: assumption}, device: {cv: 0.2}}"
        )
        found = {number.path[-2]: number[2:4] for number in parse_profile(text).numbers()}
        assert found == {"die": ("assumption", None), "device": ("measured", "smith2020")}

    def test_an_unknown_source(self):
        assert errors(tau_mem("components: {device: {cv: 0.1, evidence: measured, source: smith202}}"), self.HEAD) == [
            f"{P}.components.device.source: unknown 'smith202' (did you mean 'smith2020'?); allowed: smith2020"
        ]

    def test_a_source_given_twice(self):
        head = self.HEAD.replace("]", ", {key: smith2020, citation: again}]")
        assert errors("parameters: {}", head) == ["sources[1].key: 'smith2020' is given twice"]

    def test_misspelt_evidence_is_reported_once(self):
        assert errors(tau_mem("components: {device: {cv: 0.1, evidence: measurd}}"), self.HEAD) == [
            f"{P}.components.device.evidence: unknown 'measurd' (did you mean 'measured'?); "
            "allowed: assumption, derived, measured, measured_secondary, simulator"
        ]


def test_one_error_does_not_hide_another():
    text = HEAD + textwrap.dedent("""\
        parameters:
          tau_mem:
            distribution: norml
            granularity: per_synapse
            unit: s
            components:
              device: {cv: 20}
              die: {cv: abc}
        crossbar:
          technology: 3
          g_min: 5
          g_max: 1
          mapping: {scheme: pairs}
        faults: {dead_neuron: 2}
        limits: {fan_in: 0}
        """)
    places = [line.split(": ")[0] + ": " + line.split(": ")[1] for line in check_profile(text)]
    assert places == [
        f"profile.yaml:{line}: {path}"
        for line, path in [
            (8, f"{P}.distribution"),
            (9, f"{P}.granularity"),
            (10, f"{P}.unit"),
            (12, f"{P}.components.device.cv"),
            (13, f"{P}.components.die.cv"),
            (15, "crossbar.technology"),
            (16, "crossbar.g_min"),
            (18, "crossbar.mapping.scheme"),
            (19, "faults.dead_neuron"),
            (20, "limits.fan_in"),
        ]
    ]


def test_roles_are_the_same_everywhere():
    roles = set(get_args(document.Role))
    assert roles == set(document.Parameters.model_fields) == set(UNITS)
    assert roles == set(Residual.model_fields) - set(document.Block.model_fields)


def test_recurrent_weight_inherits_weight():
    entry = document.Parameter(distribution="none", granularity="per_synapse")
    own = document.Parameter(distribution="none", granularity="per_neuron")
    assert document.Parameters(weight=entry).get("recurrent_weight") is entry
    assert document.Parameters(weight=entry, recurrent_weight=own).get("recurrent_weight") is own
    assert document.Parameters(recurrent_weight=own).get("weight") is None
    assert list(document.Parameters(weight=entry).given()) == ["weight"]
    with pytest.raises(ConfigError, match="role: unknown 'threshold'"):
        document.Parameters().get("threshold")


def test_models_are_frozen_and_lists_become_tuples():
    parameter = document.Parameter.model_validate(
        {"distribution": "normal", "granularity": "per_neuron", "clip": [0, None]}
    )
    assert parameter.clip == (0.0, None)
    with pytest.raises(ValidationError, match="frozen"):
        parameter.mode = "absolute"
    assert hash(parameter) == hash(parameter.model_copy())


def test_defaults_mean_no_effect():
    document = parse_profile(HEAD)
    assert document.not_simulated() == []
    assert document.crossbar is None
    assert document.quantization.weight.scheme == document.quantization.bias.scheme == "none"
    assert document.calibration.mode == "none"
    assert set(document.faults.model_dump(exclude_none=True).values()) == {0.0}


def test_the_crossbar_of_the_pcm_profile_has_the_numbers_of_its_source():
    # aihwkit PCMLikeNoiseModel: sigma(g_rel) at 0, 0.4, 1 of g_max 25 uS.
    crossbar = Crossbar.model_validate(
        yaml.safe_load(PCM)["crossbar"]
        | {
            "programming": {
                "model": "polynomial",
                "variable": "g_rel",
                "coefficients": [0.26348, 1.9650, -1.1731],
                "g_max_ref": 25.0,
            }
        }
    )
    c = crossbar.programming.coefficients
    assert [sum(a * g**i for i, a in enumerate(c)) for g in (0, 0.4, 1)] == pytest.approx(
        [0.26348, 0.86178, 1.05538], abs=1e-5
    )


def test_a_role_of_a_network_is_a_key_of_a_profile_and_the_other_way_round():
    assert get_args(document.Role) == ROLES
    assert tuple(document.Parameters.model_fields) == ROLES
    assert set(Residual.model_fields) - set(document.Block.model_fields) == set(ROLES) == set(UNITS)
