"""Modes of calibration: what a lab may have done to a chip before a network runs on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snnrobust.errors import ConfigError, ProfileError, unknown
from snnrobust.hardware.stages import Variation

if TYPE_CHECKING:
    from snnrobust.hardware.mismatch import Placement
    from snnrobust.hardware.schema.document import Document

MODES = ("none", "core_mean", "trim", "residual", "column_affine")
"""Modes that a chip can be simulated in; "profile" is the one that its profile states."""
IN_THE_LOOP = "in_the_loop"
"""What `training.finetune` does to chips that were not calibrated: a mode where there is a task, as in a benchmark."""
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
    if wanted == IN_THE_LOOP:
        raise ConfigError(f"calibration: {IN_THE_LOOP} needs a task: finetune(deployment, task), or a benchmark")
    _check(wanted, (*MODES, "profile"))
    mode = profile.calibration.mode if wanted == "profile" else wanted
    if mode != "none" and profile.kind in UNCALIBRATED:
        raise ProfileError(f"{profile.name}: calibration {mode}: kind {profile.kind} has nothing to calibrate")
    if not _has_numbers(profile, mode):
        needed = _NEEDS[mode][2]
        raise ProfileError(f"{profile.name}: calibration {mode} needs {needed}, which the profile does not have")
    return mode


def modes_of(profile: Document, wanted: Sequence[str]) -> tuple[str, ...]:
    """Each mode once, in order; profiles that have nothing to calibrate are simulated as they are, or in the loop.

    Raises:
        ConfigError: If there is no such mode, or none is given.
        ProfileError: If the profile has no numbers for one.
    """
    allowed = (*MODES, "profile", IN_THE_LOOP)
    if not wanted:
        raise ConfigError(f"calibration: at least one mode is needed; allowed: {', '.join(allowed)}")
    for mode in wanted:
        _check(mode, allowed)
    plain = profile.kind in UNCALIBRATED
    return tuple(dict.fromkeys(m if m == IN_THE_LOOP else "none" if plain else mode_of(profile, m) for m in wanted))


def modes_with_numbers(profile: Document) -> tuple[str, ...]:
    """The modes that say something of a profile, for a table of all: it has their numbers; in the loop needs none.

    Means of cores belong to chips that have cores, so not to crossbars.
    """
    if profile.kind in UNCALIBRATED:
        return ("none", IN_THE_LOOP)
    found = [m for m in MODES if _has_numbers(profile, m) and not (m == "core_mean" and profile.crossbar is not None)]
    return (*found, IN_THE_LOOP)


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


def _has_numbers(profile: Document, mode: str) -> bool:
    if mode not in _NEEDS:
        return True
    outer, name, _ = _NEEDS[mode]
    return getattr(profile if outer is None else getattr(profile, outer), name) is not None


def _check(mode: str, allowed: Sequence[str]) -> None:
    if mode not in allowed:
        raise ConfigError(unknown("calibration", mode, allowed))
