"""Modes of calibration: what a lab may have done to a chip before a network runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snnrobust.errors import ConfigError, ProfileError, unknown
from snnrobust.hardware.stages import Variation

if TYPE_CHECKING:
    from snnrobust.hardware.mismatch import Placement
    from snnrobust.hardware.schema import Document

MODES = ("none", "core_mean", "trim", "residual", "column_affine")
"""Modes that a chip can be simulated in; "profile" is the one that its profile states."""
_NEEDS = {
    "trim": ("calibration", "trim", "`calibration.trim` (bits, range_sigma)"),
    "residual": ("calibration", "residual", "`calibration.residual` (ratios by role)"),
    "column_affine": (None, "crossbar", "`crossbar`, whose columns it would measure"),
}
UNCALIBRATED = ("ideal", "relative")
"""Kinds of profiles that have nothing to calibrate."""


def mode_of(profile: Document, wanted: str) -> str:
    """The mode that a chip of this profile is simulated in.

    Raises:
        ConfigError: If there is no such mode.
        ProfileError: If the profile has no numbers for it.
    """
    _check(wanted)
    mode = profile.calibration.mode if wanted == "profile" else wanted
    if mode != "none" and profile.kind in UNCALIBRATED:
        raise ProfileError(f"{profile.name}: calibration {mode}: kind {profile.kind} has nothing to calibrate")
    if mode in _NEEDS:
        outer, name, what = _NEEDS[mode]
        if getattr(profile if outer is None else getattr(profile, outer), name) is None:
            raise ProfileError(f"{profile.name}: calibration {mode} needs {what}, which the profile does not have")
    return mode


def modes_of(profile: Document, wanted: Sequence[str]) -> tuple[str, ...]:
    """Each mode once, in order; profiles that have nothing to calibrate are simulated as they are.

    Raises:
        ConfigError: If there is no such mode, or none is given.
        ProfileError: If the profile has no numbers for one.
    """
    if not wanted:
        raise ConfigError(f"calibration: at least one mode is needed; allowed: {', '.join((*MODES, 'profile'))}")
    for mode in wanted:
        _check(mode)
    if profile.kind in UNCALIBRATED:
        return ("none",)
    return tuple(dict.fromkeys(mode_of(profile, mode) for mode in wanted))


def remarks(placement: Placement) -> list[str]:
    """What has to be said of how the chips were calibrated."""
    stated, mode = placement.profile.calibration.mode, placement.calibration
    if mode == "none":
        return [] if stated == "none" else [f"not calibrated, although the profile states calibration {stated}"]
    spreads = [s for found in placement.stages.values() for s in found if isinstance(s, Variation) and s.spreads()]
    met = {s.spec.role for s in spreads if s.calibration is not None}
    left = sorted({s.spec.role for s in spreads} - met)
    as_they_are = f"not calibrated: {', '.join(left)}" if left else ""
    if mode == "column_affine":
        return [as_they_are] if left else []
    if not met:
        return [f"calibration {mode} reaches no parameter of this network"]
    return ["; ".join(filter(None, (f"calibration {mode} of {', '.join(sorted(met))}", as_they_are)))]


def _check(mode: str) -> None:
    if mode not in (*MODES, "profile"):
        raise ConfigError(unknown("calibration", mode, (*MODES, "profile")))
