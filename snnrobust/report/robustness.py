"""Tables of worst cases, landscapes and certificates for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from snnrobust.report.text import percent, table

if TYPE_CHECKING:
    from snnrobust.evaluation.certificates.certificate import Certificate
    from snnrobust.evaluation.landscape_study import LossLandscape
    from snnrobust.evaluation.worst_case import WorstCase


def worst_case_table(label: str, found: WorstCase) -> Table:
    """Score of attacked and random devices over the size of the box."""
    attacks = [f"{name} attack" for name in found.attacked]
    random = ("Gaussian mean", "Gaussian min", "vertices mean", "vertices min")
    rows = [
        (
            f"{radius:g}",
            *(percent(values[n]) for values in found.attacked.values()),
            *map(percent, (found.gaussian[n].mean(), found.gaussian[n].min())),
            *map(percent, (found.vertices[n].mean(), found.vertices[n].min())),
        )
        for n, radius in enumerate(found.radii)
    ]
    unit = f"sigmas of {found.profile}" if found.profile else "fraction"
    title = (
        f"{label}: {found.metric} in percent, without variation {percent(found.nominal)}; "
        f"{found.gaussian.shape[1]} random devices"
    )
    return table(title, dict.fromkeys((f"box ({unit})", *attacks, *random), "number"), rows)


def landscape_table(label: str, found: LossLandscape) -> Table:
    """Slopes of the lines, and how much an attack in each box raises the loss."""
    slopes = found.slopes
    rows = [
        ("slope, random directions", found.size(found.scale), f"{slopes.mean():.3g}", _ends(slopes)),
        ("slope, adversarial direction", found.size(found.scale), f"{found.adversarial_slope:.3g}", ""),
    ]
    rows += [
        ("sharpness, attack in a box", found.size(radius), f"{rise:.3g}", "")
        for radius, rise in zip(found.radii, found.sharpness, strict=True)
    ]
    title = (
        f"{label}: loss landscape, cross-entropy in nats, {found.nominal:.3g} without variation (a guess has "
        f"{np.log(found.classes):.3g})"
    )
    numbers = ("distance", "change of the loss", f"range of {len(slopes)} directions")
    return table(title, {"measure": "name", **dict.fromkeys(numbers, "number")}, rows)


def certificate_table(label: str, found: Sequence[Certificate]) -> Table:
    """Certified samples and certain spikes over the size of the box."""
    rows = [(f"{c.k:g}", percent(c.share), percent(c.certain)) for c in found]
    return table(
        f"{label}: certified for every device in the box, in percent",
        dict.fromkeys(("box k", "samples certified", "spikes certain"), "number"),
        rows,
    )


def _ends(values: NDArray[np.float64]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}" if len(values) > 1 else ""
