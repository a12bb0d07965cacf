"""Rules of a profile that relate fields to each other; schema.py checks every field by itself.

Each rule is a generator of problems: the path it is about, and one line that says what is wrong and what is
allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

import numpy as np

from snnrobust.errors import unknown
from snnrobust.hardware.schema import rules_crossbar
from snnrobust.hardware.schema.base import Block, Evidence, Frozen
from snnrobust.hardware.schema.bounds import WEIGHTS, Problem, clip, sizes
from snnrobust.hardware.schema.document import CORRELATED, Document, Parameter
from snnrobust.hardware.schema.evidence import numbers
from snnrobust.hardware.schema.yaml_lines import Path, short, show

# A relative normal wider than this gives negative factors to more than 1 in 30,000 elements.
WIDE_NORMAL = 0.25
# A relative uniform wider than this reaches below a factor of 0.
WIDE_UNIFORM = 1 / math.sqrt(3)

UNITS = {
    "weight": ("parameter",),
    "recurrent_weight": ("parameter",),
    "gain": ("parameter",),
    "adaptation": ("parameter",),
    "bias": ("v_th_range",),
    "v_th": ("v_th_range",),
    "v_leak": ("v_th_range",),
    "v_reset": ("v_th_range",),
    "tau_mem": ("s",),
    "tau_syn": ("s",),
    "tau_adapt": ("s",),
    "refractory": ("s",),
}
_SYNAPTIC = {
    "per_synapse": WEIGHTS,
    "per_neuron_type": (*WEIGHTS, "tau_syn"),
}

# Fields that a choice makes necessary: (block, field that chooses, choice) -> fields.
_NEEDS = {
    ("quantization.weight", "scheme", "uniform"): ("bits",),
    ("quantization.weight", "scheme", "subset_sum"): ("bits",),
    ("quantization.weight", "scheme", "per_type"): ("n_types",),
    ("quantization.bias", "scheme", "coarse_fine"): ("coarse", "fine_bits", "ratio", "i_max"),
    ("crossbar.mapping", "scheme", "n_pair"): ("f",),
    ("crossbar.programming", "variable", "g_rel"): ("g_max_ref",),
    ("crossbar.drift", "model", "power_law"): ("t0", "nu_mean", "nu_std"),
    ("crossbar.drift", "model", "log_shift"): ("mean_per_ln_t", "std"),
    ("crossbar.drift", "model", "table"): ("table",),
    ("crossbar.read_noise", "model", "pcm_1f"): ("t_read",),
    ("crossbar.read_noise", "model", "constant"): ("relative_to_w_max",),
    ("crossbar.read_noise", "model", "log10_g"): ("k", "t_read"),
    ("crossbar.ir_drop", "model", "polynomial"): ("r_wire",),
    ("crossbar.ir_drop", "model", "nodal"): ("r_wire", "v_read"),
    ("calibration", "mode", "trim"): ("trim",),
    ("calibration", "mode", "residual"): ("residual",),
}

# Blocks that do nothing while the field that chooses says none, often by default: (block, field that chooses).
_OFF = (
    ("quantization.weight", "scheme"),
    ("quantization.bias", "scheme"),
    ("crossbar.drift", "model"),
    ("crossbar.read_noise", "model"),
    ("crossbar.ir_drop", "model"),
    ("calibration", "mode"),
)

# Blocks in which each choice has fields of its own, those it needs, and the others' do nothing.
_EXCLUSIVE = (
    ("quantization.weight", "scheme"),
    ("crossbar.mapping", "scheme"),
    ("crossbar.drift", "model"),
    ("crossbar.read_noise", "model"),
)


def problems(document: Document) -> Iterator[Problem]:
    """Everything that is wrong with a profile whose single fields are valid."""
    yield from _kind(document)
    yield from sizes(document)
    yield from _spreads(document)
    for role, parameter in document.parameters.given().items():
        yield from _parameter(("parameters", role), role, parameter, document.kind == "relative")
    yield from _correlation(document)
    yield from _needs(document)
    yield from _off(document)
    yield from _quantization(document)
    yield from _faults(document)
    if document.crossbar is not None:
        yield from rules_crossbar.problems(document.crossbar, document.environment.time_since_programming)
    yield from _environment(document)
    yield from _evidence(document)
    yield from _sources(document)


def _kind(document: Document) -> Iterator[Problem]:
    kind = document.kind
    given = document.model_fields_set - set(Block.model_fields)
    free = {"schema_version", "name", "kind", "description", "sources", "parameters"}
    if kind in ("crossbar", "hybrid") and document.crossbar is None:
        yield ("crossbar",), f"kind {kind} needs this block"
    if kind in ("ideal", "relative"):
        for name in sorted(given - free):
            yield (name,), f"not allowed for kind {kind}, which only has `parameters`"
        for role, parameter in document.parameters.given().items():
            if parameter.distribution != "none" and kind == "ideal":
                yield ("parameters", role), "kind ideal has no spread"
            elif parameter.mode != "relative" or set(parameter.components.given()) - {"device"}:
                yield ("parameters", role), "kind relative has relative `device` components only"


def _spreads(document: Document) -> Iterator[Problem]:
    """Numbers that look like percentages: every coefficient of variation, and sd in units of the range."""
    if document.kind == "relative":
        return
    for number in numbers(document):
        name = str(number.path[-1])
        of_range = name == "sd" and document.parameters.given()[str(number.path[1])].unit == "v_th_range"
        if (name.split("_")[0] == "cv" or name.endswith("_cv") or of_range) and number.value > 1:
            yield number.path, f"{number.value:g} {_percent(number.value)}"


def _percent(value: float) -> str:
    return f"looks like a percentage; spreads are fractions ({value / 100:g} means {value:g} %)"


def _parameter(path: Path, role: str, parameter: Parameter, any_width: bool) -> Iterator[Problem]:
    yield from _mode(path, role, parameter)
    yield from _components(path, parameter)
    yield from clip(path, role, parameter)
    allowed = _SYNAPTIC.get(parameter.granularity)
    if allowed is not None and role not in allowed:
        fits = "per_neuron, per_column, per_core, per_die"
        yield (*path, "granularity"), f"{parameter.granularity} is for {', '.join(allowed)}; {role} allows {fits}"
    level = parameter.level_dependence
    if level is not None and level.cv_min is not None and level.cv_max is not None and level.cv_min > level.cv_max:
        yield (*path, "level_dependence", "cv_min"), f"{level.cv_min:g} must be <= cv_max ({level.cv_max:g})"
    if not any_width:
        yield from _wide_normal(path, parameter)


def _wide_normal(path: Path, parameter: Parameter) -> Iterator[Problem]:
    spreads = [component.spread for component in parameter.components.given().values()]
    widest, level = math.hypot(*spreads), parameter.level_dependence
    if level is not None and level.exponent != 0:
        widest = math.inf if level.cv_max is None else level.cv_max
    most = {"normal": WIDE_NORMAL, "uniform": WIDE_UNIFORM}.get(parameter.distribution, math.inf)
    bounded = parameter.mode == "absolute" or (parameter.clip is not None and parameter.clip[0] is not None)
    percentage = any(spread > 1 for spread in spreads) or 1 < widest < math.inf  # reported by itself
    if widest > most and not bounded and not percentage:
        yield (
            (*path, "distribution"),
            f"a relative {parameter.distribution} with total cv {widest:.3g} > {most:.3g} changes signs; give `clip` "
            f"with a lower bound, {'or `cv_max`, ' if widest == math.inf else ''}or use lognormal",
        )


def _mode(path: Path, role: str, parameter: Parameter) -> Iterator[Problem]:
    units = UNITS[role]
    if parameter.distribution == "none":
        return
    if parameter.mode == "relative":
        if parameter.unit is not None:
            yield (*path, "unit"), f"{parameter.unit} is for mode absolute only; a relative spread has no unit"
        if role in ("v_leak", "v_reset"):
            yield (*path, "mode"), f"relative to {role}, whose zero is arbitrary; use absolute with unit v_th_range"
        return
    if parameter.unit not in units:
        given = "no unit" if parameter.unit is None else f"{parameter.unit!r}"
        yield (*path, "unit"), f"{given}; absolute spread of {role} has unit {' or '.join(units)}"
    if parameter.distribution == "lognormal":
        yield (*path, "distribution"), "lognormal is a factor; mode absolute allows normal, truncated_normal, uniform"
    for name in ("level_dependence", "outliers"):
        if getattr(parameter, name) is not None:
            yield (*path, name), "for mode relative only"


def _components(path: Path, parameter: Parameter) -> Iterator[Problem]:
    fits, wrong = ("cv", "sd") if parameter.mode == "relative" else ("sd", "cv")
    given = parameter.components.given()
    if parameter.distribution == "none":
        for name in given:
            yield (*path, "components", name), "distribution none has no components"
        for name in ("level_dependence", "outliers", "clip"):
            if getattr(parameter, name) is not None:
                yield (*path, name), "has no effect with distribution none"
        return
    if not given and parameter.outliers is None:
        yield (*path, "components"), f"{parameter.distribution} needs at least one component (or outliers)"
    for name, component in given.items():
        here = (*path, "components", name)
        if getattr(component, wrong) is not None:
            yield (*here, wrong), f"mode {parameter.mode} needs `{fits}` instead of `{wrong}`"
        elif getattr(component, fits) is None:
            yield here, f"needs `{fits}`"
        if component.interval is not None and not component.interval[0] <= component.spread <= component.interval[1]:
            low, high = component.interval
            yield (*here, "interval"), f"[{low:g}, {high:g}] must hold `{fits}`, {component.spread:g}"
    if parameter.center == "mean" and parameter.distribution != "lognormal":
        yield path, "`center` mean is for lognormal only; other distributions have the nominal value at their centre"
    temporal, spatial = parameter.components.temporal, parameter.components.spatial
    if temporal is not None and temporal.redraw == "trial" and temporal.correlation_time is not None:
        yield (*path, "components", "temporal", "correlation_time"), "has no effect with redraw trial"
    if spatial is not None and (spatial.kernel == "plane") != (spatial.correlation_length is None):
        verb = "has no" if spatial.kernel == "plane" else "needs a"
        yield (*path, "components", "spatial"), f"kernel {spatial.kernel} {verb} `correlation_length`"


def _correlation(document: Document) -> Iterator[Problem]:
    if document.correlation is None:
        return
    order, rows = document.correlation.order, document.correlation.matrix
    path: Path = ("correlation", "matrix")
    if len(set(order)) != len(order):
        yield ("correlation", "order"), "a role appears twice"
    for role in order:
        entry = document.parameters.get(role)
        if entry is not None and entry.granularity not in CORRELATED:
            yield (
                ("correlation", "order"),
                f"{role} is {entry.granularity}; devices are correlated where they are {', '.join(CORRELATED)}",
            )
    if len(rows) != len(order) or any(len(row) != len(order) for row in rows):
        yield path, f"must be {len(order)} x {len(order)}, one row and column for each role of `order`"
        return
    matrix = np.array(rows)
    if not np.array_equal(matrix, matrix.T) or np.any(np.diag(matrix) != 1) or np.any(np.abs(matrix) > 1):
        yield path, "must be symmetric with 1 on the diagonal and entries in [-1, 1]"
    elif np.linalg.eigvalsh(matrix)[0] < -1e-12:
        yield path, "is not positive semidefinite: no such correlations exist"


def _needs(document: Document) -> Iterator[Problem]:
    for (where, chooser, choice), fields in _NEEDS.items():
        path, block = _block(document, where)
        if block is not None and getattr(block, chooser) == choice:
            for name in fields:
                if getattr(block, name) is None:
                    yield path, f"{chooser} {choice} needs `{name}`"


def _off(document: Document) -> Iterator[Problem]:
    """Fields that would have no effect, such as `bits` without a `scheme`."""
    for where, chooser in _OFF:
        path, block = _block(document, where)
        if block is not None and getattr(block, chooser) == "none":
            for name in sorted(block.model_fields_set - set(Block.model_fields) - {chooser}):
                yield path, f"`{name}` has no effect with {chooser} none"
    for where, chooser in _EXCLUSIVE:
        path, block = _block(document, where)
        choice = getattr(block, chooser) if block is not None else "none"
        if block is not None and choice != "none":
            laws = {key[2]: fields for key, fields in _NEEDS.items() if key[:2] == (where, chooser)}
            foreign = {name for fields in laws.values() for name in fields} - set(laws.get(choice, ()))
            for name in sorted(foreign & block.model_fields_set):
                yield path, f"`{name}` has no effect with {chooser} {choice}"


def _block(document: Document, where: str) -> tuple[Path, Frozen | None]:
    """The block at a dotted path, None where the profile has none there."""
    path = tuple(where.split("."))
    block: Frozen | None = document
    for name in path:
        block = getattr(block, name) if block is not None else None
    return path, block


def _quantization(document: Document) -> Iterator[Problem]:
    """Numbers that no such hardware has, and that would take all memory here; types of both signs; a budget."""
    weight, bias = document.quantization.weight, document.quantization.bias
    path: Path = ("quantization", "weight")
    if weight.scheme == "subset_sum" and (weight.bits or 0) > 8:
        yield (*path, "bits"), f"{weight.bits} base currents; subset_sum allows 1 to 8"
    if weight.scheme in ("subset_sum", "per_type") and weight.per != "core":
        yield (*path, "per"), f"{weight.per}; the currents of {weight.scheme} are a core's: allowed: core"
    if weight.scheme == "per_type" and (weight.n_types or 0) % 2:
        yield (*path, "n_types"), f"{weight.n_types} must be even: half excitatory, half inhibitory"
    if weight.scheme == "per_type" and document.limits.fan_in is None:
        yield ("limits",), "quantization.weight with scheme per_type needs `fan_in`, the entries of a neuron"
    if bias.ratio is not None and bias.ratio <= 1:
        yield ("quantization", "bias", "ratio"), f"{bias.ratio:g} must be > 1, full scale over the next smaller one"
    if (weight.n_types or 0) > 64:
        yield (*path, "n_types"), f"{weight.n_types} synapse types; allowed: 2 to 64"
    for name, most in (("fine_bits", 12), ("coarse", 32)):
        if (getattr(bias, name) or 0) > most:
            yield ("quantization", "bias", name), f"{getattr(bias, name)} must be 1 to {most}"


def _faults(document: Document) -> Iterator[Problem]:
    faults = document.faults
    cell = ("dead_synapse", "stuck_lrs", "stuck_hrs", "not_converged")
    total = sum(getattr(faults, name) for name in cell)
    if total > 1:
        yield ("faults",), f"{' + '.join(cell)} = {total:g}; the probabilities of one cell sum to at most 1"
    if faults.clustered and not total:
        yield ("faults", "clustered"), f"has no effect without {', '.join(cell)}"


def _environment(document: Document) -> Iterator[Problem]:
    e = document.environment
    if e.temperature is not None and e.temperature != e.reference and not e.bias_law:
        yield ("environment", "bias_law"), "needed where temperature differs from temperature_ref"
    if e.bias_law not in (None, "ignore") and e.reference is None:
        yield ("environment",), f"bias_law {e.bias_law} has no effect without `temperature_ref` or `temperature`"
    if e.age and e.ageing is None:
        yield ("environment", "age"), f"{e.age:g} s has no effect without a law; give `ageing`"
    if e.ageing is not None and e.temperature is None:
        yield ("environment", "ageing"), "needs `temperature`, which a threshold is measured against (kT/q)"


def _evidence(document: Document) -> Iterator[Problem]:
    """Every number has evidence, and a source unless it is an assumption; one problem a block."""
    seen: set[Path] = set()
    for number in numbers(document):
        block = number.path[:-1]
        if block in seen:
            continue
        if number.evidence is None:
            seen.add(block)
            allowed = ", ".join(get_args(Evidence))
            yield (
                block,
                f"`{show(number.path[-1:])}` has no `evidence` here or in an enclosing block; allowed: {allowed}",
            )
        elif number.evidence != "assumption" and number.source is None:
            seen.add(block)
            yield block, f"evidence {number.evidence} needs a `source`; only an assumption has none"


def _sources(document: Document) -> Iterator[Problem]:
    keys = [source.key for source in document.sources]
    for i, key in enumerate(keys):
        if key in keys[:i]:
            yield ("sources", i, "key"), f"{short(key)!r} is given twice"
    for path, key in _source_keys(document, ()):
        if key not in keys:
            known = unknown("", short(key), map(short, keys)).removeprefix(": ")
            yield path, known if keys else f"{short(key)!r}, but `sources` is empty"


def _source_keys(block: Frozen, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(block, Block) and block.source is not None:
        yield (*path, "source"), block.source
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, Frozen):
            yield from _source_keys(value, (*path, name))
