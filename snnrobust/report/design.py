"""Tables of sensitivities, specifications and bits for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from snnrobust.report.text import percent, spread_text, table

if TYPE_CHECKING:
    from snnrobust.evaluation.bits import Bits
    from snnrobust.evaluation.sensitivity import Sensitivity
    from snnrobust.evaluation.sensitivity_map import SensitivityMap
    from snnrobust.evaluation.specification import Specification
    from snnrobust.evaluation.statistics.yields import Yield
    from snnrobust.evaluation.tornado import Tornado


def sensitivity_table(label: str, found: Sensitivity) -> Table:
    """What to calibrate first."""
    rows = []
    for rank, part in enumerate(found.ranking(), start=1):
        gain = f"{100 * part.gain.value:+.1f} ({100 * part.gain.low:+.1f} to {100 * part.gain.high:+.1f})"
        share = f"{percent(part.share[0])} ({percent(part.share[1])} to {percent(part.share[2])})"
        place = f"{rank}" + (" tied" if part.tied and rank > 1 else "")
        yields = (percent(part.alone.share), percent(part.without.share))
        rows.append((place, part.name, gain, *yields, share, percent(part.accuracy_share)))
    of_margin, of_accuracy = found.shares()[1], found.shares("accuracy")[1]
    rows.append(("", "interaction", "", "", "", percent(of_margin), percent(of_accuracy)))
    whole, none = found.yield_of(found.everything), found.yield_of(frozenset())
    asked = percent(found.requirement.accuracy)
    title = (
        f"{label} on {found.profile.name}: calibrate first; yield (>= {asked} %) {_interval(whole)} %, "
        f"without any variation {percent(none.share)} %; {found.chips} chips"
    )
    numbers = ("gain in yield if perfect", "yield alone", "all but it", "share of margin's variance", "of accuracy's")
    return table(title, {"": "name", found.by: "name", **dict.fromkeys(numbers, "number")}, rows)


def map_table(found: SensitivityMap, most: int = 5) -> Table:
    """The neurons whose devices matter most."""
    every = [
        (float(value), layer, n, role)
        for layer, roles in found.neurons().items()
        for role, values in roles.items()
        for n, value in enumerate(values)
    ]
    total = sum(float(values.sum()) for values in found.devices.values())
    rows = [
        (f"{layer} neuron {n}", role, percent(value / total if total else 0.0))
        for value, layer, n, role in sorted(every, reverse=True)[:most]
    ]
    heading = "share of E[(dL/dz)^2]"
    return table("most sensitive neurons", {"neuron": "name", "role": "name", heading: "number"}, rows)


def map_line(found: SensitivityMap) -> str:
    """How much is in how few devices."""
    share = 100 * found.concentration()
    return f"half of E[(dL/dz)^2] of single devices lies in {share:.2g} % of them; {found.samples} training samples"


def tornado_table(label: str, found: Tornado) -> Table:
    """The yield at both ends of each uncertain number."""
    rows = []
    for bar in found.bars:
        ends = (_shown(bar.number.low), _shown(bar.number.high))
        word = "flips the verdict" if bar.flips else "moves the yield" if bar.moves else ""
        kind = bar.number.number.evidence or ""
        rows.append((bar.path, kind, " to ".join(ends), percent(bar.low.share), percent(bar.high.share), word))
    columns = {"number": "name", "evidence": "name", "range": "number"}
    columns |= dict.fromkeys(("yield at the low end", "at the high end"), "number")
    return table(f"{label}: yield, {_interval(found.base)} % as it is", {**columns, "": "name"}, rows)


def specification_table(label: str, found: Specification) -> Table:
    """The largest spreads, alone and together, and what they cost."""
    rows = []
    for x in found.limits:
        area = found.area(x)
        more = "> " if x.open else ""
        beside = "none" if x.beside is None else spread_text(x, x.beside)
        rows.append(
            (
                x.knob.role,
                spread_text(x, 1.0),
                more + spread_text(x, x.alone),
                beside,
                spread_text(x, x.joint),
                f"{x.joint:.2f}",
                f"{x.knob.devices}",
                "" if area is None else f"{area:.2f}",
                f"{found.bits(x)}" if found.bits(x) else "none",
            )
        )
    title = f"{label}: largest spreads of {found.base.name} for {found.requirement}"
    numbers = (
        "profile", "alone", "beside the profile's others", "together", "x profile", "devices", "um2 each", "trim bits",
    )  # fmt: skip
    return table(title, {"spread": "name", **dict.fromkeys(numbers, "number")}, rows)


def specification_lines(found: Specification) -> list[str]:
    """What has to be said below the table."""
    total = found.total_area()
    area = "" if total is None else f"; one transistor for each device: {total:.4g} um2"
    return [
        "alone: all other spreads at 0; outliers, faults, noise and quantisation stay as in the profile",
        f"together: sum of cost / sigma^2 is {found.relative_cost:.3g} times that of the profile{area}",
        *found.notes,
        found.population,
        found.statement,
    ]


def bits_table(label: str, found: Bits) -> Table:
    """The yield over bits and mismatch."""
    scales = found.scales()
    choices = dict.fromkeys((cell.weight, cell.adc) for cell in found.cells)
    enough = {(cell.scale, cell.weight, cell.adc) for scale in scales for cell in found.sufficient(scale)}
    of = {(cell.scale, cell.weight, cell.adc): cell.found for cell in found.cells}
    rows = []
    for weight, adc in choices:
        cells = [
            _interval(of[scale, weight, adc]) + (" *" if (scale, weight, adc) in enough else "") for scale in scales
        ]
        rows.append((f"{weight}", "" if adc is None else f"{adc}", *cells))
    title = (
        f"{label}: yield (>= {percent(found.requirement.accuracy)} %) in percent over bits and mismatch; "
        "* the smallest that suffices"
    )
    headings = ("weight bits", "ADC bits", *(f"x {scale:g}" for scale in scales))
    return table(title, dict.fromkeys(headings, "number"), rows)


def _interval(found: Yield) -> str:
    return f"{percent(found.share)} ({percent(found.low)}-{percent(found.high)})"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
