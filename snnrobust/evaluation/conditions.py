"""What networks are tested under: a profile or a level, and what a lab did to the chips."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from snnrobust.errors import ConfigError
from snnrobust.hardware.calibration import IN_THE_LOOP, remarks
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.profile import Profile
from snnrobust.tasks import Task
from snnrobust.training.tuning import Tuning


def level_of(profile: Profile) -> float:
    """Relative level of a level sweep's profile; NaN for a chip's."""
    if profile.kind != "relative":
        return float("nan")
    device = [entry.components.device for entry in profile.parameters.given().values()]
    return max((d.spread for d in device if d is not None), default=0.0)


class Condition(NamedTuple):
    """What networks are tested under: a chip, and what a lab did to it."""

    profile: Profile
    calibration: str = "none"

    @property
    def in_the_loop(self) -> bool:
        """Whether chips are calibrated in the loop."""
        return self.calibration == IN_THE_LOOP

    @property
    def name(self) -> str:
        """The profile's name, with the mode of calibration where there is one."""
        return self.profile.name if self.calibration == "none" else f"{self.profile.name} ({self.calibration})"


def profile_of(condition: Profile | float) -> Profile:
    """The profile itself, or that of a relative level.

    Raises:
        ConfigError: If it is a name.
    """
    if isinstance(condition, str):
        raise ConfigError(f"conditions: {condition!r} must be a profile or a level; load_profile(name) gives a profile")
    return condition if isinstance(condition, Profile) else Profile.relative(condition)


def deployments_of(
    nets: Mapping[str, Deployable],
    cells: Sequence[Condition],
    **deploy: Any,  # noqa: ANN401 (keywords of Chip.deploy)
) -> list[list[Deployment]]:
    """Every network under every condition, the chips as they are before a calibration in the loop."""
    with warnings.catch_warnings():  # the notes say the same, once a condition
        warnings.simplefilter("ignore")
        return [
            [
                Chip(cell.profile).deploy(net, calibration="none" if cell.in_the_loop else cell.calibration, **deploy)
                for cell in cells
            ]
            for net in nets.values()
        ]


def tuning_of(tuning: Tuning | None, cells: Sequence[Condition], purpose: str) -> Tuning | None:
    """How chips are calibrated in the loop; None where none are."""
    if not any(cell.in_the_loop for cell in cells):
        if tuning is not None:
            raise ConfigError(f"tuning: no chips are calibrated in the loop; calibration must name {IN_THE_LOOP}")
        return None
    if purpose == "validation":
        raise ConfigError("purpose: validation chips are tested on the data that calibration in the loop chooses by")
    return Tuning() if tuning is None else tuning


def notes_of(task: Task, deployments: Sequence[Deployment], tuning: Tuning | None) -> tuple[str, ...]:
    """What has to be said beside a condition, once for all networks; with how chips are calibrated in the loop."""
    lines = [line for deployment in deployments for line in deployment.notes]
    if tuning is not None:
        before = [line for d in deployments for line in remarks(d.placement)]  # that they are not calibrated
        lines = [line for line in lines if line not in before]
        lines += [line for d in deployments for line in tuning.remarks(task, d)]
    return tuple(dict.fromkeys(lines))
