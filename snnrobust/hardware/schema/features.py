"""Which effects a profile has, and which of them this version simulates."""

from __future__ import annotations

from collections.abc import Iterator

from snnrobust.hardware.schema.base import Block
from snnrobust.hardware.schema.crossbar import Crossbar
from snnrobust.hardware.schema.digital import Limits
from snnrobust.hardware.schema.document import Document, Parameter

# Everything that deployment simulates, by feature name; add a name here together with its stage.
SIMULATED = frozenset(
    {
        "components.die",
        "components.core",
        "components.spatial.plane",
        "components.spatial.exponential",
        "components.spatial.rbf",
        "components.device",
        "components.temporal.trial",
        "granularity.per_synapse",
        "granularity.per_neuron_type",
        "granularity.per_neuron",
        "granularity.per_column",
        "granularity.per_core",
        "granularity.per_die",
        "correlation",
        "level_dependence",
        "outliers",
        "clip",
        "quantization.weight.uniform.tensor",
        "quantization.weight.uniform.column",
        "quantization.weight.uniform.core",
        "quantization.weight.subset_sum.core",
        "quantization.weight.per_type.core",
        "quantization.bias.coarse_fine",
        *(f"limits.{name}" for name in Limits.model_fields if name not in Block.model_fields),
        "faults.dead_neuron",
        "faults.dead_synapse",
        "faults.stuck_lrs",
        "faults.stuck_hrs",
        "faults.not_converged",
        "faults.clustered",
        "faults.known",
        "events.loss",
        "events.jitter_std",
        "events.delay_std",
        "events.background_rate",
        "crossbar.mapping.differential_one_sided",
        "crossbar.mapping.differential_two_sided",
        "crossbar.mapping.offset",
        "crossbar.mapping.single_device",
        "crossbar.mapping.n_pair",
        "crossbar.levels",
        "crossbar.programming.polynomial",
        "crossbar.drift.power_law",
        "crossbar.drift.log_shift",
        "crossbar.drift.table",
        "crossbar.read_noise.pcm_1f",
        "crossbar.read_noise.constant",
        "crossbar.read_noise.log10_g",
        "crossbar.iv.cubic",
        "crossbar.ir_drop.polynomial",
        "crossbar.ir_drop.nodal",
        "crossbar.tile",
        "crossbar.dac",
        "crossbar.adc",
        "crossbar.adc.per_column_gain_cv",
        "crossbar.adc.per_column_offset",
        "crossbar.read",
        "crossbar.compensation.global",
        "crossbar.compensation.per_column",
        "calibration.core_mean",
        "calibration.trim",
        "calibration.residual",
        "calibration.column_affine",
        "environment.temperature.constant_current",
        "environment.temperature.ptat",
        "environment.age",
        "energy",
        "time_scale",
    }
)

Feature = tuple[str, str]  # place in the profile, name of the feature


def not_simulated(document: Document) -> list[str]:
    """Places of the profile that have an effect which this version does not simulate yet."""
    return [path for path, feature in features(document) if feature not in SIMULATED]


def features(document: Document) -> Iterator[Feature]:
    """Every effect of a profile: where it stands, and the name that SIMULATED would know it by."""
    for role, parameter in document.parameters.given().items():
        yield from _parameter(f"parameters.{role}", parameter)
    if document.correlation is not None:
        yield "correlation", "correlation"
    weight, bias = document.quantization.weight, document.quantization.bias
    if weight.scheme != "none":
        yield "quantization.weight", f"quantization.weight.{weight.scheme}.{weight.per}"
    if bias.scheme != "none":
        yield "quantization.bias", f"quantization.bias.{bias.scheme}"
    yield from _set("limits", document.limits, tuple(n for n in Limits.model_fields if n not in Block.model_fields))
    faults = ("dead_neuron", "dead_synapse", "stuck_lrs", "stuck_hrs", "not_converged")
    yield from _set("faults", document.faults, faults)
    if any(getattr(document.faults, name) for name in faults):
        yield from _set("faults", document.faults, ("clustered", "known"))
    yield from _set("events", document.events, ("loss", "jitter_std", "delay_std", "background_rate"))
    if document.crossbar is not None:
        yield from _crossbar(document.crossbar)
    if document.calibration.mode != "none":
        yield "calibration", f"calibration.{document.calibration.mode}"
    environment = document.environment
    if environment.temperature != environment.reference and environment.bias_law not in (None, "ignore"):
        yield "environment.temperature", f"environment.temperature.{environment.bias_law}"
    yield from _set("environment", environment, ("age",))
    for name in ("energy", "time_scale"):
        if getattr(document, name) is not None:
            yield name, name


def _parameter(path: str, parameter: Parameter) -> Iterator[Feature]:
    if parameter.distribution == "none":
        return
    for name, component in parameter.components.given().items():
        if component.spread == 0:
            continue
        kind = getattr(component, "kernel", None) or getattr(component, "redraw", None)
        place = f"{path}.components.{name}"
        yield place, f"components.{name}.{kind}" if kind else f"components.{name}"
        if getattr(component, "correlation_time", None) is not None:
            yield f"{place}.correlation_time", "components.temporal.correlation_time"
    yield f"{path}.granularity", f"granularity.{parameter.granularity}"
    for name in ("level_dependence", "outliers", "clip"):
        if getattr(parameter, name) is not None:
            yield f"{path}.{name}", name


def _crossbar(crossbar: Crossbar) -> Iterator[Feature]:
    yield "crossbar.mapping", f"crossbar.mapping.{crossbar.mapping.scheme}"
    yield from _set("crossbar", crossbar, ("levels",))
    for name in ("programming", "drift", "read_noise", "iv", "ir_drop"):
        block = getattr(crossbar, name)
        if block is not None and block.model not in ("none", "linear"):
            yield f"crossbar.{name}", f"crossbar.{name}.{block.model}"
    yield from _set("crossbar", crossbar, ("dac", "adc", "tile"))
    if crossbar.adc is not None:
        yield from _set("crossbar.adc", crossbar.adc, ("per_column_gain_cv", "per_column_offset"))
    if crossbar.read == "clocked":
        yield "crossbar.read", "crossbar.read"
    if crossbar.compensation != "none":
        yield "crossbar.compensation", f"crossbar.compensation.{crossbar.compensation}"


def _set(path: str, block: object, names: tuple[str, ...]) -> Iterator[Feature]:
    """The fields of `block` that are neither None nor zero nor false."""
    for name in names:
        if getattr(block, name):
            yield f"{path}.{name}", f"{path}.{name}"
