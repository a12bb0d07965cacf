"""Profiles and devices for tests: a profile from the lines that matter, and parameters of its chips."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from torch import Tensor

from snnrobust.hardware.mismatch import Placement, draw, place, realise
from snnrobust.hardware.profile import Profile, parse_profile
from snnrobust.snn.specs import spec_of

HEAD = """\
schema_version: "1.0"
name: mine
kind: {kind}
description: A chip.
evidence: assumption
"""

# Everything that deployment simulates, on one chip.
EVERYTHING = """\
parameters:
  weight:
    distribution: lognormal
    granularity: per_neuron_type
    components:
      die: {cv: 0.1}
      spatial: {cv: 0.05, kernel: plane}
      device: {cv: 0.2}
      temporal: {cv: 0.03, redraw: trial}
    level_dependence: {exponent: -0.3, cv_min: 0.1, cv_max: 0.4}
    clip: [0.2, 4.0]
  recurrent_weight: {distribution: normal, granularity: per_synapse, components: {device: {cv: 0.3}}, clip: [0.0, null]}
  bias:
    distribution: normal
    mode: absolute
    unit: v_th_range
    granularity: per_neuron
    components: {device: {sd: 0.1}, temporal: {sd: 0.02, redraw: trial}}
  gain: {distribution: uniform, granularity: per_neuron, components: {die: {cv: 0.05}, device: {cv: 0.1}}}
  tau_mem:
    distribution: lognormal
    center: mean
    granularity: per_neuron
    components: {device: {cv: 0.2}}
    outliers: {fraction: 0.1, factor: 3.0, cv: 0.1}
  tau_syn: {distribution: truncated_normal, granularity: per_neuron, components: {device: {cv: 0.4}}, clip: [0.1, 3.0]}
  v_th:
    distribution: lognormal
    granularity: per_column
    components: {die: {cv: 0.05}, spatial: {cv: 0.03, kernel: plane}, device: {cv: 0.1}}
    level_dependence: {exponent: 0.5, reference: 0.8, reference_of: value}
  v_leak:
    distribution: truncated_normal
    mode: absolute
    unit: v_th_range
    granularity: per_neuron
    components: {device: {sd: 0.1}}
    clip: [-0.2, 0.1]
  v_reset:
    distribution: uniform
    mode: absolute
    unit: v_th_range
    granularity: per_die
    components: {device: {sd: 0.1}}
  adaptation: {distribution: none, granularity: per_neuron}
quantization: {weight: {scheme: uniform, bits: 4, per: column}}
limits: {fan_in: 8, neurons: 8}
faults: {dead_neuron: 0.1, dead_synapse: 0.1}
crossbar:
  technology: pcm
  g_min: 0.5
  g_max: 25.0
  mapping: {scheme: differential_one_sided, scale: per_tile}
  programming: {model: polynomial, variable: g_rel, coefficients: [0.26348, 1.9650, -1.1731], g_max_ref: 25.0}
"""

# What neurons share on a layout of cores of three, and what correlates in one neuron.
ON_CORES = """\
parameters:
  weight:
    distribution: lognormal
    granularity: per_neuron_type
    components:
      die: {cv: 0.05}
      core: {cv: 0.1}
      spatial: {cv: 0.1, kernel: rbf, correlation_length: 0.3}
      device: {cv: 0.2}
  bias: {distribution: normal, granularity: per_core, components: {device: {cv: 0.2}}}
  tau_mem:
    distribution: lognormal
    granularity: per_neuron
    components: {spatial: {cv: 0.1, kernel: exponential, correlation_length: 0.3}, device: {cv: 0.2}}
    level_dependence: {exponent: -0.3, cv_max: 0.4}
  v_th: {distribution: lognormal, granularity: per_column, components: {core: {cv: 0.1}, device: {cv: 0.2}}}
correlation: {order: [weight, tau_mem, v_th], matrix: [[1, 0.3, -0.4], [0.3, 1, 0.2], [-0.4, 0.2, 1]]}
limits: {neurons_per_core: 3}
"""


def profile(body: str = "", kind: str = "analog_asic") -> Profile:
    """A profile from the blocks that follow its head."""
    return parse_profile(HEAD.format(kind=kind) + textwrap.dedent(body) + "\n")


def spread(role: str, entry: str) -> Profile:
    """A profile with one parameter, its entry as a YAML flow mapping without the braces."""
    return profile(f"parameters: {{{role}: {{{entry}}}}}")


def placed(
    chip: Profile, theta: Mapping[str, Tensor], *, only_mismatch: bool = False, calibration: str = "none"
) -> Placement:
    """The placement of tensors called layer.role."""
    specs = {name: spec_of(name.split(".")[1], tuple(p.shape), layer=name.split(".")[0]) for name, p in theta.items()}
    return place(chip, specs, only_mismatch=only_mismatch, calibration=calibration)


def devices(
    chip: Profile,
    theta: Mapping[str, Tensor],
    instances: Sequence[int] | None,
    *,
    seed: int = 1,
    trial: int = 0,
    calibration: str = "none",
) -> dict[str, Tensor]:
    """Parameters of sampled chips."""
    placement = placed(chip, theta, calibration=calibration)
    z = draw(placement, seed=seed, purpose="test", instances=instances, trial=trial)
    return realise(placement, theta, z)
