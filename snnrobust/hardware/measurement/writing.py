"""A fit as a profile, and as a report to read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from snnrobust.errors import ProfileError
from snnrobust.hardware.measurement.components import Estimate
from snnrobust.hardware.measurement.fit import COMPONENTS, NOT_SEPARABLE, Fit, ParameterFit
from snnrobust.hardware.measurement.spatial import MOST, Alike
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.schema import rules
from snnrobust.hardware.schema.yaml_lines import show


def to_profile(
    fit: Fit, *, name: str | None = None, source_key: str = "measurement", citation: str | None = None
) -> Profile:
    """The fitted spreads as a profile, every number with its evidence, source and interval.

    A component whose estimate is 0 is left out, and a level dependence whose interval holds 0.

    Args:
        fit: What was fitted.
        name: Name of the profile; that of the file by default.
        source_key: Key of the source that the numbers cite.
        citation: What the source is; names the file by default.

    Raises:
        ProfileError: If no valid profile comes out, with one line for every problem.
    """
    file = Path(fit.file).name
    chosen = name or re.sub(r"[^A-Za-z0-9._+-]+", "_", Path(fit.file).stem).lstrip("._+-") or "measured"
    document = {
        "schema_version": "1.0",
        "name": chosen,
        "kind": "analog_asic",
        "description": f"Fitted to {file}: {_count(fit.chips, 'chip')}.",
        "sources": [{"key": source_key, "citation": citation or f"Measurements in {file}"}],
        "parameters": {role: _entry(found, source_key) for role, found in fit.parameters.items()},
    }
    try:
        profile = Profile.model_validate(document)
    except ValidationError as error:
        lines = [f"{show(tuple(e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ProfileError("\n".join(lines)) from None
    problems = [f"{show(path)}: {message}" for path, message in rules.problems(profile)]
    if problems:
        raise ProfileError("\n".join(problems))
    return profile


def report(fit: Fit) -> str:
    """The fit as text: what was found, with intervals, and what could not be told."""
    lines = [f"{fit.file}: {_count(fit.chips, 'chip')}; intervals are 95 %"]
    for role, found in fit.parameters.items():
        lines += ["", f"{role}: {_population(found)}, {found.values} values", *(f"  {line}" for line in _lines(found))]
    for role, counts in fit.sentinels.items():
        lines += ["", f"{role}: values left out: {', '.join(f'{n} {reason}' for reason, n in counts.items())}"]
    for role, why in fit.left_out.items():
        lines += ["", f"{role}: not fitted: {why}"]
    return "\n".join(lines)


def _entry(found: ParameterFit, source: str) -> dict[str, object]:
    """The profile's entry of one parameter."""
    known = {"evidence": "measured", "source": source}
    key = "sd" if found.offset else "cv"
    components = {}
    for name, spread in found.spreads.items():
        if spread.value > 0:
            kernel, more = _kernel(found) if name == "spatial" else ({}, "")
            note = f"{_population(found)}; 95 % {_range(spread)}{more}"
            value = _rounded(spread.value)
            interval = [min(_rounded(spread.low), value), max(_rounded(spread.high), value)]
            components[name] = {key: value, "interval": interval, **kernel, **known, "note": note}
    entry: dict[str, object] = {
        "distribution": found.distribution if components else "none",
        "mode": "absolute" if found.offset else "relative",
        **({"unit": "v_th_range"} if found.offset else {}),
        "granularity": found.granularity,
    }
    if not components:
        return {**entry, "note": _note(found)}
    entry["components"] = components
    law, odd = found.law, found.anomalies
    total = _total(found)
    if law is not None and _away_from_zero(law.exponent):
        reference = dict(found.levels)[found.reference]
        ends = [total * (level / reference) ** law.exponent.value for level in law.levels]
        note = f"{_population(found)}; 95 % {_range(law.exponent)}; levels {law.levels[0]:.3g} to {law.levels[-1]:.3g}"
        bounds = {"cv_min": _rounded(min(*ends, total)), "cv_max": _rounded(max(*ends, total))}
        entry["level_dependence"] = {"exponent": _rounded(law.exponent.value), **bounds, **known, "note": note}
    if not found.offset and odd.fraction.value > 0:
        note = f"{_anomalous(found)}; 95 % of the share {_range(odd.fraction)}, of the factor {_range(odd.factor)}"
        values = {"fraction": odd.fraction.value, "factor": odd.factor.value, "cv": odd.cv}
        entry["outliers"] = {**{k: _rounded(v) for k, v in values.items()}, **known, "note": note}
    if found.distribution == "normal" and not found.offset and total > rules.WIDE_NORMAL:
        entry |= {"clip": [0.0, None], "evidence": "assumption"}
    return {**entry, "note": _note(found)}


def _kernel(found: ParameterFit) -> tuple[dict[str, object], str]:
    """What the profile says of a spatial component, and the interval of its length."""
    field = None if found.alike is None else found.alike.field
    if field is None:
        return {"kernel": "plane"}, ""
    length = f"; correlation_length {_range(field.length)}"
    return {"kernel": field.kernel, "correlation_length": _rounded(field.length.value)}, length


def _total(found: ParameterFit) -> float:
    """Spread of all components together."""
    spreads = [spread.value for spread in found.spreads.values()]
    if found.distribution == "lognormal":
        return math.sqrt(math.prod(1 + cv**2 for cv in spreads) - 1)
    return math.hypot(*spreads)


def _lines(found: ParameterFit) -> Iterator[str]:
    """The report on one parameter."""
    unit = " (v_th - v_reset)" if found.offset else ""
    if len(found.levels) > 1:
        levels = ", ".join(f"{name} {value:.4g}" for name, value in found.levels)
        yield f"levels (median): {levels}; components at {found.reference}"
    else:
        yield f"median: {found.levels[0][1]:.4g}"
    for name in COMPONENTS:
        if name in found.spreads:
            yield f"{name:<10} {_shown(found.spreads[name])}{unit}"
        else:
            yield f"{name:<10} not identifiable: {found.missing[name]}"
    if found.noise is None:
        yield "read-out   noise not separable: no trials and one level, so all of it counts as frozen"
    else:
        yield f"read-out   {_shown(found.noise)}{unit} for one reading, by {found.noise_by}"
    if found.explained is not None:
        yield f"plane explains R^2 = {found.explained:.2f} of the variance within chips"
    if found.alike is not None:
        yield from _neighbours(found.alike)
    elif found.explained is not None:
        yield f"beyond the plane: not tested, a chip has more than {MOST} devices"
    if found.shape is not None:
        shape = found.shape
        verdict = shape.chosen if shape.decided else "undecided, lognormal by default"
        yield (
            f"shape: {verdict}; log likelihood of lognormal over normal {shape.gain:+.1f}; distances: lognormal "
            f"{shape.distance_lognormal:.3f}, normal {shape.distance_normal:.3f} (5 % limit {shape.critical:.3f})"
        )
    if found.anomalies.chosen.any():
        yield f"anomalous: {_anomalous(found)}"
    if found.law is not None:
        exponent = found.law.exponent
        verdict = "" if _away_from_zero(exponent) else "; holds 0, so the profile has no level dependence"
        yield f"level dependence: cv ~ level^p, p = {exponent.value:.3f} ({_range(exponent)}){verdict}"


def _neighbours(alike: Alike) -> Iterator[str]:
    """What Moran's test says, and the field."""
    text = f"beyond the plane: Moran's I of neighbours has probability {alike.probability:.2g} for independent devices"
    if alike.field is not None:
        length, kernel = alike.field.length, alike.field.kernel
        yield text
        verdict = kernel if alike.field.decided else f"{kernel} (exponential and rbf are not told apart)"
        yield (
            f"so the spatial part is a field, {verdict}, of correlation length {length.value:.2g} of the die's edge "
            f"({_range(length)})"
        )
    elif alike.significant:
        yield f"{text}; the correlation length of a field is not identifiable, so the profile has the plane"
    else:
        yield text


def _note(found: ParameterFit) -> str:
    """What the numbers of an entry do not say."""
    parts = [f"{name} not identifiable ({found.missing[name]})" for name in COMPONENTS if name in found.missing]
    parts += [f"{name} 0, at most {s.high:.3g}" for name, s in found.spreads.items() if s.value == 0]
    if found.noise_by == NOT_SEPARABLE:
        parts.append("read-out noise not separable")
    if found.shape is not None and not found.shape.decided:
        parts.append("normal and lognormal not told apart")
    if found.distribution == "normal" and not found.offset:
        parts.append("normal fits better than lognormal")
    return "; ".join(["fitted", *parts])


def _population(found: ParameterFit) -> str:
    return f"{_count(found.devices, 'device')} on {_count(found.chips, 'chip')}"


def _anomalous(found: ParameterFit) -> str:
    odd = found.anomalies
    text = f"{odd.above} larger and {odd.below} smaller of {_count(found.devices, 'device')}"
    return text if found.offset else f"{text}, typical factor {odd.factor.value:.3g}"


def _away_from_zero(estimate: Estimate) -> bool:
    return estimate.low > 0 or estimate.high < 0


def _shown(spread: Estimate) -> str:
    return f"{100 * spread.value:5.1f} % ({100 * spread.low:.1f} to {100 * spread.high:.1f} %)"


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.3g} to {estimate.high:.3g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
