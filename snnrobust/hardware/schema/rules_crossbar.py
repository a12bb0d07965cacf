"""Rules of a profile's crossbar that relate its fields to each other."""

from __future__ import annotations

from collections.abc import Iterator

from snnrobust.hardware.schema.bounds import Problem, interval
from snnrobust.hardware.schema.crossbar import Crossbar, Curve
from snnrobust.hardware.schema.yaml_lines import Path


def problems(crossbar: Crossbar, time: float | None) -> Iterator[Problem]:
    """Everything that is wrong with an array used at a time in s since programming (None where it is not stated)."""
    if crossbar.g_min >= crossbar.g_max:
        yield ("crossbar", "g_min"), f"{crossbar.g_min:g} must be below g_max ({crossbar.g_max:g})"
    yield from _iv(crossbar)
    if crossbar.mapping.f is not None and min(crossbar.mapping.f) <= 0:
        yield ("crossbar", "mapping", "f"), f"{min(crossbar.mapping.f):g} is no significance; all must be > 0"
    if len(crossbar.mapping.f or ()) > 16:
        yield ("crossbar", "mapping", "f"), f"{len(crossbar.mapping.f or ())} pairs a weight; allowed: 1 to 16"
    read = crossbar.read_noise
    if read is not None and read.model == "pcm_1f":
        given = sum(getattr(read, name) is not None for name in ("coefficient", "exponent", "q_max"))
        if given != (3 if read.q is None else 0):
            yield ("crossbar", "read_noise"), "pcm_1f needs either `q`, or `coefficient`, `exponent` and `q_max`"
    if read is not None and read.q is not None:
        yield from _curve(("crossbar", "read_noise", "q"), read.q)
    if crossbar.drift is None:
        return
    for name in ("nu_mean", "nu_std"):
        curve = getattr(crossbar.drift, name)
        if curve is not None:
            yield from _curve(("crossbar", "drift", name), curve)
    if crossbar.drift.clip is not None:
        yield from interval(("crossbar", "drift", "clip"), crossbar.drift.clip)
    if crossbar.drift.model == "table" and crossbar.drift.table is not None and time is not None:
        times = sorted(point.time for point in crossbar.drift.table)
        inside = times[0] <= time <= times[-1] if crossbar.drift.interpolate else time in times
        if not inside:
            known = ", ".join(f"{t:g}" for t in times)
            between = " and all between" if crossbar.drift.interpolate else ""
            yield (
                ("environment", "time_since_programming"),
                f"{time:g} is outside crossbar.drift.table; allowed: {known}{between}",
            )


def _iv(crossbar: Crossbar) -> Iterator[Problem]:
    """A curve needs a voltage, and a current that rises with it: 1 + 2 a2 v + 3 a3 v^2 > 0 for |v| <= v_read."""
    iv, volt = crossbar.iv, crossbar.read_voltage
    if iv is None or iv.model != "cubic":
        return
    a2, a3 = iv.a2 or 0.0, iv.a3 or 0.0
    if not (a2 or a3):
        yield ("crossbar", "iv"), "model cubic needs `a2` or `a3`"
    if volt is None:
        yield ("crossbar", "iv"), "model cubic needs `v_read`, here or in crossbar.ir_drop"
        return
    lowest = min(max(-a2 / (3 * a3), -volt), volt) if a3 > 0 else volt
    if min(1 + v * (2 * a2 + 3 * a3 * v) for v in (-volt, volt, lowest)) <= 0:
        yield ("crossbar", "iv"), f"a2 {a2:g}, a3 {a3:g}: the current must rise with the voltage up to {volt:g} V"


def _curve(path: Path, curve: Curve) -> Iterator[Problem]:
    forms = ({"a_ln", "b", "min", "max"}, {"poly"}, {"split", "low", "high"})
    given = {name for name in Curve.model_fields if getattr(curve, name) is not None}
    if given not in forms:
        yield path, "needs either `a_ln`, `b`, `min`, `max`, or `poly`, or `split`, `low`, `high`"
    elif curve.min is not None and curve.max is not None and curve.min > curve.max:
        yield (*path, "min"), f"{curve.min:g} must be <= max ({curve.max:g})"
    for name in ("low", "high"):
        part = getattr(curve, name)
        if part is not None:
            yield from _curve((*path, name), part)
