"""What a smaller spread costs: transistor area by Pelgrom's law, or the bits of a trim.

A single transistor in weak inversion has a current spread s = kappa A_VT / (UT sqrt(2 W L)), UT = kT/q, the standard
deviation of its logarithm (Pelgrom et al. 1989, doi:10.1109/JSSC.1989.572629); so area is in proportion to 1/s^2.
"""

from __future__ import annotations

import math

from snnrobust.hardware.schema.document import Document, Parameter

KAPPA = 0.7
"""Subthreshold slope factor where the profile states none."""
TEMPERATURE = 300.0
"""K, where the profile states none."""
RANGE = 3.0
"""Half of a trim's range in standard deviations where the profile states none."""
_BOLTZMANN_OVER_CHARGE = 8.617333262e-5  # V/K


def log_spread(entry: Parameter, spread: float) -> float:
    """s of a relative spread: sqrt(ln(1 + cv^2)) of a lognormal, the cv itself of a normal, to first order the same."""
    return math.sqrt(math.log1p(spread**2)) if entry.distribution == "lognormal" else spread


def transistor_area(profile: Document, s: float) -> float | None:
    """W L in um^2 of a single transistor whose current has the spread s; None where the profile states no A_VT."""
    if profile.a_vt is None or not s > 0:
        return None
    e = profile.environment
    kappa = KAPPA if e.ageing is None else e.ageing.kappa
    thermal = 1000 * _BOLTZMANN_OVER_CHARGE * (e.reference or TEMPERATURE)  # mV
    return (kappa * profile.a_vt.value / (thermal * s)) ** 2 / 2


def trim_bits(profile: Document, ratio: float) -> int:
    """The fewest bits of a trim that leaves a ratio of the spread: steps of 2 r / 2^bits, an error uniform in a step.

    Its range r is that of the profile's trim, or 3 standard deviations; what lies outside it is not counted.
    """
    if ratio >= 1:
        return 0
    trim = profile.calibration.trim
    half = RANGE if trim is None else trim.range_sigma
    return max(1, math.ceil(math.log2(half / (math.sqrt(3) * ratio)) - 1e-9))
