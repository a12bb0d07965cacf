"""The maps of a standardised deviation to a deviation, and how large it is at a nominal value (variation.py)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from snnrobust.hardware.schema.document import Parameter


def mapped(
    entry: Parameter,
    deviation: Tensor,
    spread: Tensor,
    low: Tensor | float = -math.inf,
    high: Tensor | float = math.inf,
) -> Tensor:
    """ln(factor) of a lognormal, else factor - 1, of a Gaussian deviation S zeta.

    Args:
        entry: Whose distribution it is.
        deviation: S zeta.
        spread: S.
        low: Where a truncated distribution ends.
        high: Its other end.
    """
    kind = entry.distribution
    if kind == "lognormal":
        centred: Tensor = deviation - spread**2 / 2 if entry.center == "mean" else deviation
        return centred
    if kind == "normal":
        return deviation
    safe = spread.clamp_min(1e-12).double()
    probability = torch.special.ndtr(deviation.double() / safe)
    if kind == "uniform":
        level: Tensor = math.sqrt(3) * safe * (2 * probability - 1)
        return level.to(deviation.dtype)
    below, above = torch.special.ndtr(low / safe), torch.special.ndtr(high / safe)
    inside = (below + probability * (above - below)).clamp(1e-300, 1 - 1e-16)
    cut: Tensor = safe * torch.special.ndtri(inside)
    return cut.to(deviation.dtype)


def spread_at(entry: Parameter, total: float, distance: Tensor, factor: float = 1.0) -> Tensor:
    """S of values: `total`, or what level dependence makes of it, cv clip((|theta| / ref)^p, ...), times a factor."""
    law = entry.level_dependence
    if law is None or not total:
        return torch.full((), total * factor, dtype=distance.dtype, device=distance.device)
    lognormal = entry.distribution == "lognormal"
    cv = math.sqrt(math.expm1(total**2)) if lognormal else total
    magnitude = distance.abs()
    reference = torch.full((), law.reference, dtype=distance.dtype, device=distance.device)
    if law.reference_of == "median":
        present = magnitude.detach()[magnitude.detach() > 0]  # a weight of zero is no synapse
        reference = reference * present.median() if present.numel() else reference
    # Bounded away from 0 and infinity, so that the gradient is finite at theta = 0 for any exponent.
    ratio = (magnitude / reference.clamp_min(1e-30)).clamp(1e-6, 1e6)
    at_level = (cv * ratio**law.exponent).clamp(law.cv_min or 0.0, law.cv_max).clamp_min(1e-12)
    spread: Tensor = torch.log1p(at_level**2).sqrt() if lognormal else at_level
    return spread * factor


def reference_spread(entry: Parameter, total: float) -> float:
    """S at T_ref and at the reference level, within the bounds of level dependence."""
    law = entry.level_dependence
    if law is None:
        return total
    lognormal = entry.distribution == "lognormal"
    cv = math.sqrt(math.expm1(total**2)) if lognormal else total
    bounded = min(max(cv, law.cv_min or 0.0), math.inf if law.cv_max is None else law.cv_max)
    return math.sqrt(math.log1p(bounded**2)) if lognormal else bounded
